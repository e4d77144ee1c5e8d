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
