//! HTTP/2 (RFC 9113), read by a passive observer of both directions.
//!
//! `frame` knows frame headers; a `reader` cuts one direction into frames (`feed`), of which header blocks go through
//! HPACK (`block`, `fields`) and DATA to the stream's body. `streams` keeps what is open; `complete` makes exchanges
//! of streams; `resync` handles missing bytes. Exchanges pair by stream identifier, so nothing that is missing can
//! pair them wrongly.

mod block;
mod complete;
mod connection;
mod content;
mod control;
mod feed;
mod fields;
pub(crate) mod frame;
mod messages;
mod reader;
mod resync;
mod stream;
mod streams;
#[cfg(test)]
pub(crate) mod tests;

pub use connection::Connection;
