//! What capturing costs, for people.

use serde::{Deserialize, Serialize};

use super::guard::Load;
use super::lowered::Lowered;
use super::rung::Rung;

/// Processes in a report: those of which less than everything is captured first, then those to which most was added.
pub const SHOWN_MAX: usize = 20;

/// What capturing adds to a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessCost {
    /// Process.
    pub pid: u32,
    /// Its start on the boot-time clock, nanoseconds.
    pub start_ns: u64,
    /// Its name; empty when nobody knows it any more.
    pub command: String,
    /// How much of it is captured: full, headers, sampled-8, sampled-64, detached.
    pub level: String,
    /// Sends and receives per second.
    pub transfers_per_s: u64,
    /// Microseconds per second that capturing added.
    pub added_us_per_s: u64,
    /// Microseconds per second that it may add; 0 without a limit.
    pub allowed_us_per_s: u64,
    /// Microseconds of CPU time per second that the process took, all its threads together.
    pub cpu_us_per_s: u64,
}

/// See the module's description.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What the hook costs each transfer before anything is known of the connection, nanoseconds, measured at start-up.
    pub hook_ns: u64,
    /// Nanoseconds that capturing added to all processes so far.
    pub added_ns: u64,
    /// Transfers of all processes so far, estimated from those that were timed.
    pub transfers: u64,
    /// Processes of which less than everything is captured, by level.
    pub lowered: Vec<(String, u64)>,
    /// What they belong to.
    #[serde(default)]
    pub workloads: Lowered,
    /// Processes, at most [`SHOWN_MAX`].
    pub processes: Vec<ProcessCost>,
}

/// A float for the report: what is no number there is 0.
pub(super) fn whole(value: f64) -> u64 {
    // `as` saturates; what is not finite is no measurement.
    if value.is_finite() { value as u64 } else { 0 }
}

impl ProcessCost {
    pub(super) fn new(pid: u32, start_ns: u64, rung: Rung, load: &Load) -> Self {
        Self {
            pid,
            start_ns,
            command: String::new(),
            level: rung.name().to_owned(),
            transfers_per_s: whole(load.transfers),
            added_us_per_s: whole(load.added_ns / 1e3),
            allowed_us_per_s: whole(load.allowed_ns / 1e3),
            cpu_us_per_s: whole(load.cpu_ns.unwrap_or(0.0) / 1e3),
        }
    }
}
