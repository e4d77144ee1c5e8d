//! Waiting for what can be observed.

use std::time::{Duration, Instant};

/// Long enough for a busy machine, short enough to fail a run.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// A number by which every deadline is multiplied: on an emulated processor everything takes longer. 1 when not set.
const PATIENCE_VARIABLE: &str = "EASTWATCH_TEST_PATIENCE";

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks again and again until `look` gives something.
///
/// # Panics
/// After [`DEADLINE`], naming `what`.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(DEADLINE, what, look)
}

/// As [`until`], with a deadline. `EASTWATCH_TEST_PATIENCE` multiplies it.
///
/// # Panics
/// After `deadline`, naming `what`.
pub fn until_within<T>(deadline: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    found_within(deadline, look)
        .unwrap_or_else(|| panic!("not within {} s: {what}", patient(deadline).as_secs()))
}

/// As [`until_within`], but nothing after `deadline`.
pub fn found_within<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + patient(deadline);
    loop {
        let found = look();
        if found.is_some() || Instant::now() > end {
            return found;
        }
        std::thread::sleep(INTERVAL);
    }
}

/// A deadline on this machine.
fn patient(deadline: Duration) -> Duration {
    deadline * std::env::var(PATIENCE_VARIABLE).map_or(1, |number| number.parse().unwrap())
}
