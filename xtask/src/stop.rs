//! Ctrl-C and SIGTERM as requests: held back while something must not be left half done, or awaited by a program that
//! cleans up after itself.
//!
//! Signals are handled, never blocked: a child process would inherit a block, but gets the default action instead of a handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, iterator::Signals, low_level};

/// The signals by which people and systems ask a program to end.
const REQUESTS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Holds the requests back until dropped; then one that came meanwhile ends the program.
#[derive(Debug)]
pub struct Held {
    /// From now on requests have their default action again.
    released: Arc<AtomicBool>,
    /// The last request; 0 for none.
    requested: Arc<AtomicUsize>,
}

impl Held {
    pub fn new() -> Result<Self> {
        let held = Self {
            released: Arc::default(),
            requested: Arc::default(),
        };
        for signal in REQUESTS {
            flag::register_conditional_default(signal, Arc::clone(&held.released))
                .with_context(|| format!("handling signal {signal}"))?;
            let number = usize::try_from(signal).context("signal numbers are positive")?;
            flag::register_usize(signal, Arc::clone(&held.requested), number)
                .with_context(|| format!("handling signal {signal}"))?;
        }
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.released.store(true, Ordering::SeqCst);
        let requested = i32::try_from(self.requested.load(Ordering::SeqCst)).unwrap_or(0);
        if requested != 0
            && let Err(error) = low_level::emulate_default_handler(requested)
        {
            eprintln!("warning: signal {requested} came and cannot be acted on: {error}");
        }
    }
}

/// From now on requests do nothing but call `notify`, from another thread, one call each.
pub fn forward(notify: impl Fn() + Send + 'static) -> Result<()> {
    let mut signals = Signals::new(REQUESTS).context("handling signals")?;
    std::thread::spawn(move || signals.forever().for_each(|_| notify()));
    Ok(())
}
