//! `eastwatch-agent replay`: files in, results out.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::replay::{Options, Outcome, Progress, RUN_BYTES, replay};

/// Some input could not be read, or not to its end; results of all the rest are written.
const EXIT_INCOMPLETE: u8 = 3;
/// Added to the number of the signal that ended the reading; results of what was read are written.
const EXIT_SIGNAL: u8 = 128;

/// Replays files. Gives the exit code.
///
/// # Errors
/// Results cannot be written.
pub fn run(files: Vec<PathBuf>, out_dir: PathBuf, reveal: bool) -> Result<ExitCode> {
    let stop = stop_by_signal().context("cannot listen for signals")?;
    let options = Options {
        reveal,
        out_dir,
        files,
        run_bytes: RUN_BYTES,
    };
    let bar = bar(&options.files);
    let begin = Instant::now();
    let outcome = replay(&options, &stop, &mut |progress| show(&bar, progress));
    bar.finish_and_clear();
    let outcome = outcome?;
    let mut err = std::io::stderr().lock();
    for failure in &outcome.failures {
        writeln!(err, "eastwatch-agent: {failure}")?;
    }
    writeln!(err, "{}", summary(&outcome, begin.elapsed(), &options))?;
    Ok(
        match (stop.load(Ordering::Relaxed), outcome.failures.is_empty()) {
            (0, true) => ExitCode::SUCCESS,
            (0, false) => ExitCode::from(EXIT_INCOMPLETE),
            (signal, _) => ExitCode::from(EXIT_SIGNAL.saturating_add(u8::try_from(signal).unwrap_or(0))),
        },
    )
}

/// The first signal ends the reading, the second one the process.
fn stop_by_signal() -> std::io::Result<Arc<AtomicUsize>> {
    let stop = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM] {
        let number = usize::try_from(signal).unwrap_or(1);
        let second = Arc::new(AtomicBool::new(false));
        flag::register_conditional_shutdown(signal, i32::from(EXIT_SIGNAL) + signal, Arc::clone(&second))?;
        flag::register(signal, second)?;
        flag::register_usize(signal, Arc::clone(&stop), number)?;
    }
    Ok(stop)
}

fn bar(files: &[PathBuf]) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bytes = files
        .iter()
        .filter_map(|path| path.metadata().ok())
        .map(|file| file.len())
        .sum();
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr_with_hz(5));
    let style = ProgressStyle::with_template(
        "{bar:30} {bytes}/{total_bytes}  {binary_bytes_per_sec}  {msg}  eta {eta}",
    );
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(bar: &ProgressBar, progress: Progress) {
    if bar.is_hidden() {
        return;
    }
    let seconds = bar.elapsed().as_secs_f64();
    bar.set_position(progress.bytes);
    bar.set_message(format!(
        "{} exchanges, {}/s",
        progress.exchanges,
        rate(progress.exchanges, seconds)
    ));
}

fn rate(count: u64, seconds: f64) -> u64 {
    if seconds > 0.0 {
        (count as f64 / seconds) as u64
    } else {
        0
    }
}

fn summary(outcome: &Outcome, took: Duration, options: &Options) -> String {
    let seconds = took.as_secs_f64();
    let Progress { bytes, exchanges } = outcome.done;
    format!(
        "{}{exchanges} exchanges of {} in {seconds:.2} s ({} exchanges/s, {:.1} MB/s); results are in {}",
        if outcome.stopped { "stopped: " } else { "" },
        HumanBytes(bytes),
        rate(exchanges, seconds),
        if seconds > 0.0 {
            bytes as f64 / 1e6 / seconds
        } else {
            0.0
        },
        options.out_dir.display(),
    )
}
