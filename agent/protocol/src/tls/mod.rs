//! TLS, as far as its handshake goes over the wire in the clear: which version and cipher suite two ends agree on, whom the client asks
//! for, and what it is like.
//!
//! Invariants: nothing is guessed, what is encrypted stays unknown. The same bytes split differently give the same facts. Hostile bytes
//! cannot make it panic, keep more than [`Handshake::BYTES_MAX`] bytes, nor take more than linear time.

mod client;
mod cursor;
mod extensions;
mod facts;
mod handshake;
mod ja4;
mod messages;
mod records;
mod server;
#[cfg(test)]
mod tests;

pub use client::EXTENSIONS_MAX;
pub use extensions::ALPN_OFFERED_MAX;
pub use facts::Facts;
pub use handshake::Handshake;
pub use messages::HELLO_BYTES_MAX;
