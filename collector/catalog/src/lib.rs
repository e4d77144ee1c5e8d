//! The mergeable catalog: what nodes know about APIs, and how a collector merges it.
//!
//! ```text
//! Observation ─▶ NodeCatalog ─take_delta─▶ ApiDelta ─encode─▶ … ─decode─▶ ApiCatalog ─▶ Endpoint (template, Stats)
//! ```
//!
//! - A call's path becomes a [`LeafPath`]: literals where the text is a route word or repeats, types elsewhere
//!   (`classify`, `words`, `repeats`). A [`LeafId`] is a hash of it, the same on every node.
//! - [`NodeCatalog`] counts increments by leaf, method and standing, and gives them away as [`ApiDelta`]s.
//! - [`ApiCatalog`] merges deltas. Every limit keeps the leaves with the least ids of all leaves ever seen and folds the others into
//!   a leaf that is a function of their own path alone; so merging is commutative and associative at the limits too.
//! - Templates (`/users/{user_id}`) are a pure function of the merged leaves (`template`).
//! - What is known is given out as endpoints ([`EndpointReport`]) and as an OpenAPI document ([`openapi`]).
//!
//! The crate has no clock, no I/O and no randomness.

#![forbid(unsafe_code)]

mod api;
mod classify;
mod codec;
mod delta;
mod endpoint;
mod histogram;
mod hll;
mod key;
mod limits;
mod memo;
mod method;
mod names;
mod node;
mod openapi;
mod repeats;
mod report;
mod segment;
mod stats;
mod target;
mod template;
mod tokens;
mod words;

pub use api::{ApiCatalog, Changes, FoldedLeaf, RecordKey};
pub use codec::DecodeError;
pub use delta::{ApiDelta, MINUTE_US, Minute};
pub use endpoint::{ALIASES_MAX, Endpoint, EndpointId, PathParameter};
pub use histogram::ExpHistogram;
pub use hll::HyperLogLog;
pub use key::{ANY_HOST, ApiKey, Side, normalise_host};
pub use limits::{DEPTH_MAX, Fold, Limits};
pub use method::Method;
pub use names::Names;
pub use node::{NodeCatalog, Observation, Recorded};
pub use openapi::openapi;
pub use report::{Counts, EndpointReport, Quantiles, StatusCounts, rfc3339};
pub use segment::{LITERAL_BYTES_MAX, LeafId, LeafPath, Segment, SegmentType};
pub use stats::{Calls, Merge, MinuteCounts, Stats, StatusClass};
pub use target::path_of_target;
