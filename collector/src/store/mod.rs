//! The store: everything the collector keeps, behind one trait with one contract suite that every backend passes.
//!
//! Invariants every backend holds: a batch is applied whole or not at all, at most once by (node, boot, sequence), and is
//! durable when [`Store::apply`] returns; what `endpoint_minutes` counts is exact under any call budget; retention counts what
//! it removes.

mod agents;
mod batch;
mod calls;
#[cfg(test)]
mod contract;
mod coverage;
mod error;
mod filter;
mod rows;
pub mod sqlite;

use futures::future::BoxFuture;

pub use agents::{Agent, DropCount, Lowered};
pub use batch::{AgentState, Batch, BatchId, CallSeen, CoverageIncrement, EdgeIncrement, WorkloadSeen};
pub use calls::{Call, CallId, Header, Tls, flag_bits, flag_names};
pub use coverage::{Coverage, CoverageKind, CoveredBytes, Traffic, TrafficClass};
pub use error::StoreError;
pub use filter::{
    CallFilter, CoverageFilter, Cursor, CursorPart, EdgeFilter, EndpointFilter, Page, Paging, Scheme,
    StatusFilter, TextMatch, TimeRange, WorkloadFilter,
};
pub use rows::{
    Counts, Edge, Endpoint, EndpointDetail, HistogramBucket, Minute, Quantiles, Side, StatusCounts, Workload,
};

use crate::timestamp::Timestamp;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Applied now.
    Applied,
    /// Applied before; nothing changed.
    Duplicate,
    /// So far behind the newest batch of its boot that nobody knows any more whether it was applied; nothing changed.
    TooOld,
}

/// How far behind the newest sequence of a boot a batch may arrive and still be told apart from a duplicate.
pub const SEQUENCE_WINDOW: u64 = 4096;

/// An agent that said hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentHello {
    /// Its node's name.
    pub node: String,
    /// Identity of this run of it.
    pub boot: String,
    /// Its version.
    pub version: String,
    /// Policy that it has applied, 0 for none.
    pub policy_version: u64,
    /// When it connected.
    pub at: Timestamp,
}

/// What agents are told, as persisted.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredPolicy {
    /// From 1; a change of the text is a higher version.
    pub version: u64,
    /// TOML of the capture policy.
    pub capture_toml: String,
    /// Key for fingerprints.
    pub fingerprint_key: [u8; 32],
    /// Counts changes of the key, from 1.
    pub fingerprint_epoch: u32,
}

impl std::fmt::Debug for StoredPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredPolicy")
            .field("version", &self.version)
            .field("capture_toml", &self.capture_toml)
            .field("fingerprint_key", &"(secret)")
            .field("fingerprint_epoch", &self.fingerprint_epoch)
            .finish()
    }
}

/// What one pass of retention removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Calls older than their age limit.
    pub calls_by_age: u64,
    /// Minutes of endpoints, edges and coverage.
    pub minutes: u64,
    /// Edges, workloads and agents not seen for long.
    pub idle: u64,
}

/// A place that keeps everything. All methods may be called from any task at any time.
pub trait Store: Send + Sync + 'static {
    /// Applies a batch, exactly once. Durable when this returns.
    ///
    /// # Errors
    /// Nothing of the batch was applied; see [`StoreError`].
    fn apply(&self, batch: Batch) -> BoxFuture<'_, Result<Outcome, StoreError>>;

    /// Notes a batch that could not be understood, so that it is visible at its agent. Once, by sequence.
    fn note_rejected(
        &self,
        id: BatchId,
        reason: String,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Notes that an agent connected.
    fn note_hello(&self, hello: AgentHello) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Notes that an agent applied a policy, or why it did not.
    fn note_policy(
        &self,
        node: String,
        version: u64,
        error: String,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The policy last put, if any.
    fn policy(&self) -> BoxFuture<'_, Result<Option<StoredPolicy>, StoreError>>;

    /// Replaces the policy.
    fn put_policy(&self, policy: StoredPolicy) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Removes what is past its age.
    fn evict(&self, now: Timestamp) -> BoxFuture<'_, Result<Evicted, StoreError>>;

    /// Answers a trivial question, to show that it can.
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Endpoints by (host, template, method, workload, side, id).
    fn endpoints(
        &self,
        filter: EndpointFilter,
        paging: Paging,
    ) -> BoxFuture<'_, Result<Page<Endpoint>, StoreError>>;

    /// One endpoint by its id or one of its aliases, with its minutes in the range.
    fn endpoint(
        &self,
        id: String,
        range: TimeRange,
    ) -> BoxFuture<'_, Result<Option<EndpointDetail>, StoreError>>;

    /// Calls, newest first.
    fn calls(&self, filter: CallFilter, paging: Paging) -> BoxFuture<'_, Result<Page<Call>, StoreError>>;

    /// One call.
    fn call(&self, id: CallId) -> BoxFuture<'_, Result<Option<Call>, StoreError>>;

    /// Edges by (client, server, host, …). With a time range their counts are those of the range.
    fn edges(&self, filter: EdgeFilter, paging: Paging) -> BoxFuture<'_, Result<Page<Edge>, StoreError>>;

    /// Workloads by (name, node).
    fn workloads(
        &self,
        filter: WorkloadFilter,
        paging: Paging,
    ) -> BoxFuture<'_, Result<Page<Workload>, StoreError>>;

    /// How much of what workloads said and heard was read, by (workload, node, provider); counts are of the range, or of all minutes
    /// that are kept.
    fn coverage(
        &self,
        filter: CoverageFilter,
        paging: Paging,
    ) -> BoxFuture<'_, Result<Page<Coverage>, StoreError>>;

    /// Agents by node.
    fn agents(&self, paging: Paging) -> BoxFuture<'_, Result<Page<Agent>, StoreError>>;

    /// Finishes what was accepted and closes. Later calls fail with [`StoreError::Closed`].
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}
