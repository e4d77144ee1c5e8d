//! Counting.

use agent_common::Counter;

use crate::maps::COUNTERS;

/// Adds one event and `bytes`.
///
/// Plain additions to per-CPU memory: the BPF target of the stable compiler has no atomic read-modify-write. Where BPF programs are
/// preemptible, one that preempts another between load and store can lose a count; what must be exact is kept per connection.
#[inline(always)]
pub fn count(what: Counter, bytes: u64) {
    count_number(what as u32, bytes);
}

/// The same by the counter's number.
#[inline(always)]
pub fn count_number(what: u32, bytes: u64) {
    let slot = 2 * what;
    if let Some(events) = COUNTERS.get_ptr_mut(slot) {
        // SAFETY: a live, aligned per-CPU value.
        unsafe { *events += 1 };
    }
    if bytes != 0
        && let Some(sum) = COUNTERS.get_ptr_mut(slot + 1)
    {
        // SAFETY: as above.
        unsafe { *sum += bytes };
    }
}
