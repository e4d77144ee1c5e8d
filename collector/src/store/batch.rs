//! A batch of one agent, decoded and checked: what the store applies.

use catalog::ApiDelta;

use crate::timestamp::Timestamp;

use super::agents::{DropCount, Lowered};
use super::calls::Call;
use super::coverage::{CoveredBytes, TrafficClass};
use super::rows::{Edge, Workload};

/// Identity of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BatchId {
    /// Node that made it.
    pub node: String,
    /// Run of the agent that made it.
    pub boot: String,
    /// From 1, ascending within a boot.
    pub sequence: u64,
}

/// An increment of an edge: the fields of [`Edge`], its counts to be added.
pub type EdgeIncrement = Edge;

/// A workload's whole state.
pub type WorkloadSeen = Workload;

/// What a workload moved on connections that carry the same, to be added to what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverageIncrement {
    /// As [`super::Coverage::workload`].
    pub workload: String,
    /// As [`super::Coverage::provider`].
    pub provider: String,
    /// What they carry.
    pub class: TrafficClass,
    /// As [`super::Traffic::library`].
    pub library: String,
    /// As [`super::Traffic::reason`].
    pub reason: String,
    /// How many.
    pub connections: u64,
    /// Bytes that their sockets moved.
    pub wire_bytes: u64,
    /// What became of what was said.
    pub bytes: Vec<CoveredBytes>,
}

/// A call with the leaf of the catalog that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallSeen {
    /// The call; its `endpoint` is not known yet.
    pub call: Call,
    /// Its leaf, if the agent knew one.
    pub leaf: Option<[u8; 16]>,
}

/// State of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentState {
    /// As [`super::Agent::provider`].
    pub provider: String,
    /// As [`super::Agent::kernel`].
    pub kernel: String,
    /// As [`super::Agent::hostname`].
    pub hostname: String,
    /// As [`super::Agent::started`].
    pub started: Timestamp,
    /// As [`super::Agent::connections`].
    pub connections: u64,
    /// As [`super::Agent::exchanges`].
    pub exchanges: u64,
    /// As [`super::Agent::resident_bytes`].
    pub resident_bytes: u64,
    /// As [`super::Agent::drops`].
    pub drops: Vec<DropCount>,
    /// As [`super::Agent::lowered`].
    pub lowered: Vec<Lowered>,
    /// As [`super::Agent::lowered_more`].
    pub lowered_more: u64,
}

/// Everything an agent sent at once.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Its identity.
    pub id: BatchId,
    /// When it was made, by the node's clock.
    pub created: Timestamp,
    /// When it arrived.
    pub received: Timestamp,
    /// Increments of the catalog.
    pub deltas: Vec<ApiDelta>,
    /// Calls kept.
    pub calls: Vec<CallSeen>,
    /// Increments of edges.
    pub edges: Vec<EdgeIncrement>,
    /// Workloads that changed.
    pub workloads: Vec<WorkloadSeen>,
    /// State of the agent.
    pub status: Option<AgentState>,
    /// What became of the bytes of workloads.
    pub coverage: Vec<CoverageIncrement>,
}
