//! Node agents, as they say of themselves: rows that the store gives out, and the API serves as they are.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::timestamp::Timestamp;

/// A node agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// Its node.
    pub node: String,
    /// Identity of its latest run.
    pub boot: String,
    /// Its version.
    pub version: String,
    /// Whether it is connected to this collector now.
    pub connected: bool,
    /// How it captures.
    pub provider: String,
    /// Its kernel.
    pub kernel: String,
    /// Its host's name.
    pub hostname: String,
    /// When it was first heard of.
    pub first_seen: Timestamp,
    /// When it was last heard of.
    pub last_seen: Timestamp,
    /// When its latest run started.
    pub started: Timestamp,
    /// Policy that it applied, 0 for none.
    pub policy_version: u64,
    /// Why it did not apply the policy offered last; empty when it did.
    pub policy_error: String,
    /// Connections it follows.
    pub connections: u64,
    /// Exchanges since it started.
    pub exchanges: u64,
    /// Its memory, bytes.
    pub resident_bytes: u64,
    /// Batches of its latest run that were applied.
    pub batches: u64,
    /// Batches of its latest run that could not be understood.
    pub batches_rejected: u64,
    /// Batches of its latest run that never came: its spool was full, or they are still on their way.
    pub batches_missing: u64,
    /// Why a batch was last rejected; empty when none was.
    pub last_rejection: String,
    /// What it dropped since it started, and why.
    pub drops: Vec<DropCount>,
    /// Workloads of which it captures less than everything now, those of which it captures least first.
    pub lowered: Vec<Lowered>,
    /// How many more of them there are.
    pub lowered_more: u64,
}

/// Processes of a workload of which an agent captures less than everything, because capturing costs them more than it may add to them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lowered {
    /// Workload; empty when the agent does not know what they belong to.
    pub workload: String,
    /// How much is captured: `headers` (the beginning of each message), `sampled-8` and `sampled-64` (that, of one connection in 8 or 64,
    /// which stands for the others), `detached` (nothing).
    pub level: String,
    /// How many processes there are.
    pub processes: u64,
    /// Since when less than everything is captured of the first of them.
    pub since: Timestamp,
    /// Microseconds per second that capturing added when one of them was lowered last; of the one to which most was added.
    pub added_us_per_s: u64,
    /// Microseconds per second that it may add to that one.
    pub allowed_us_per_s: u64,
}

/// What an agent dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DropCount {
    /// Where.
    pub stage: String,
    /// Why.
    pub reason: String,
    /// How many events.
    pub events: u64,
    /// How many bytes.
    pub bytes: u64,
}
