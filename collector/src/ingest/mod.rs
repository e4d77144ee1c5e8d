//! Ingest: gRPC streams of agents' batches into the store.
//!
//! Invariant: a batch is acknowledged only after the store made it durable, or after it was refused for good.

mod connected;
mod decode;
mod policy;
mod service;
mod stream;
#[cfg(test)]
mod tests;

pub use connected::Connected;
pub use policy::{PolicyError, PolicyHub};
pub use service::Ingest;

/// A batch as the store gets it, for tests of stores.
#[cfg(test)]
pub(crate) fn decoded(batch: wire::v1::Batch, received: crate::timestamp::Timestamp) -> crate::store::Batch {
    match decode::batch(batch, received, &crate::metrics::Metrics::default()) {
        Ok(decoded) => decoded.batch,
        Err(rejected) => panic!("{}", rejected.reason),
    }
}
