//! The thread that discovery has for itself: files may be slow to read, and putting in probes takes the kernel a while.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Attach, Discovery, Inspect, Report};
use crate::tls::counters::Counters;
use crate::tls::findings::Findings;

/// How often events are looked at. A program that has just begun needs longer to get to its first byte of plaintext.
const INTERVAL: Duration = Duration::from_millis(5);
/// Longest look at what waits before events are taken again and the processor is left to others: a third of a core at most.
const BUDGET: Duration = Duration::from_millis(2);
/// How often the picture for others is made.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);

/// See the module's description. Dropping ends the thread and takes out all probes.
#[derive(Debug)]
pub struct Worker {
    shared: Arc<Shared>,
    findings: Findings,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    latest: Mutex<(Counters, Report)>,
}

impl Worker {
    /// Begins.
    ///
    /// # Errors
    /// There is no room for another thread.
    pub fn start<I, A>(mut discovery: Discovery<I, A>) -> io::Result<Self>
    where
        I: Inspect + Send + 'static,
        A: Attach + Send + 'static,
    {
        let findings = discovery.findings();
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            latest: Mutex::new((discovery.counters(), discovery.report())),
        });
        let others = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("tls-discovery".to_owned())
            .spawn(move || others.work(&mut discovery))?;
        Ok(Self {
            shared,
            findings,
            thread: Some(thread),
        })
    }

    /// What is known of processes.
    #[must_use]
    pub const fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Counters and picture of a second ago at most.
    #[must_use]
    pub fn latest(&self) -> (Counters, Report) {
        let latest = &self.shared.latest;
        latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it, and takes out all probes before it returns.
    pub fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the search for TLS libraries ended before");
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn work<I: Inspect, A: Attach>(&self, discovery: &mut Discovery<I, A>) {
        let mut published: Option<Instant> = None;
        while !self.stop.load(Ordering::Acquire) {
            discovery.poll();
            discovery.step(BUDGET);
            if published.is_none_or(|at| at.elapsed() >= PUBLISH_INTERVAL) {
                published = Some(Instant::now());
                let latest = (discovery.counters(), discovery.report());
                *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = latest;
            }
            std::thread::park_timeout(INTERVAL);
        }
    }
}
