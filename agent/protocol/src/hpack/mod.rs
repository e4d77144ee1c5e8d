//! HPACK (RFC 7541), read by a passive observer.
//!
//! A [`Decoder`] follows the encoder of one direction of an HTTP/2 connection. Unlike an endpoint it may have joined
//! late, or have missed bytes; then it resolves what it can and says of the rest that it is unknown.
//!
//! Invariant: a field that is given is what the encoder meant, or says that it is unknown; it is never a guess. See
//! `table` for why that holds whatever the true size of the encoder's table is.

mod decoder;
mod error;
mod huffman;
mod huffman_code;
mod integer;
mod static_table;
mod table;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Field, ListLimits, Summary};
pub use error::Error;
