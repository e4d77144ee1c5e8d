//! Two clocks: the kernel's monotonic one of the records, and the calendar.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of the monotonic clock, which records carry too.
#[must_use]
pub fn monotonic_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Unix epoch, microseconds, of 0 on the monotonic clock. Changes when the calendar is set, so it is asked often.
#[must_use]
pub fn epoch_of_monotonic_us() -> i64 {
    let wall = read(ClockId::CLOCK_REALTIME) / 1000;
    let monotonic = monotonic_ns() / 1000;
    i64::try_from(wall).unwrap_or(i64::MAX) - i64::try_from(monotonic).unwrap_or(0)
}

fn read(clock: ClockId) -> u64 {
    // Both clocks exist on every Linux; a kernel that refuses them gives 0, which is the epoch.
    clock_gettime(clock).map_or(0, |time| {
        time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs()
    })
}
