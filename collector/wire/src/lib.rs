//! The wire contract between agents and collector, and its version.
//!
//! Generated from `proto/eastwatch.proto`. This crate also owns the encoding of a batch's payload, because both ends must
//! agree on its compression and on its limit.
#![forbid(unsafe_code)]

/// Messages and the gRPC service, generated.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("eastwatch.wire.v1");
}

mod payload;

pub use payload::{PAYLOAD_FIELDS_MAX, PAYLOAD_ITEMS_MAX, PayloadError, decode_payload, encode_payload};

/// Version of the contract. A collector accepts agents of the same version and the one before.
pub const WIRE_VERSION: u32 = 1;

/// Largest decoded payload, bytes. Agents split before it, collectors refuse beyond it: a compressed bomb stops here.
pub const PAYLOAD_BYTES_MAX: usize = 8 << 20;
