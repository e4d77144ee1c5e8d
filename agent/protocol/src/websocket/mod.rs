//! WebSocket (RFC 6455) with permessage-deflate (RFC 7692): what went over a connection behind its handshake, counted.
//!
//! [`Reader`] reads one direction, over HTTP/1.1 or as the DATA of an HTTP/2 stream (RFC 8441). Messages are counted as they go over
//! the wire: nothing is decompressed, and a payload that is not captured is not even looked at.

mod extensions;
mod frame;
mod reader;
mod session;
#[cfg(test)]
pub(crate) mod written;

pub use extensions::Extensions;
pub use reader::Reader;
pub(crate) use session::Session;
