//! TLS, as far as its handshake goes over the wire in the clear.

mod facts;

pub use facts::Facts;
