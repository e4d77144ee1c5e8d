//! What an exchange may say outside of its process, sans-io.
//!
//! Two audiences: what leaves the node ([`Redactor`]: names and shapes, no values but those of allow-listed headers), and the
//! terminal of someone who is on the node ([`reveal`]: the call as it was, credentials masked).
//!
//! # Invariants
//! - Nothing of a body, no value of a query or a cookie, no credential is in a [`RedactedCall`]. What is in it was taken up
//!   because it is allowed, never left in because nothing forbade it.
//! - No clock, no files, no sockets; hostile bytes cannot make it panic, nor its output longer than the named limits.
#![forbid(unsafe_code)]

mod fields;
mod host;
mod mask;
mod operation;
mod query;
mod redact;
mod reveal;

pub use fields::{Field, FieldList};
pub use host::{HOST_BYTES_MAX, HostCounters, Hosts};
pub use operation::{OPERATION_BYTES_MAX, Operation, Outcome, rpc_status};
pub use query::{NAME_BYTES_MAX, QUERY_NAMES_MAX, query_names};
pub use redact::{HEADERS_MAX, METHOD_BYTES_MAX, RedactCounters, RedactedCall, Redactor, VALUE_BYTES_MAX};
pub use reveal::{Credentials, RevealedCall, TARGET_BYTES_MAX, headers_unknown, reveal};
