//! Protocols, sans-io: segments of a connection's two byte streams in, [`Exchange`]s out.
//!
//! Invariants: no clock, no sockets, no files; time comes with each segment. The same bytes split differently give the
//! same exchanges. Hostile bytes cannot make it panic, nor grow beyond [`Limits`].
#![forbid(unsafe_code)]

mod application;
pub mod body;
mod connection;
mod content;
mod counters;
mod detect;
mod exchange;
mod headers;
pub mod hpack;
pub mod http1;
pub mod http2;
mod input;
mod limits;
mod media;
mod memory;
mod segment;
pub mod tls;
pub mod websocket;

pub use application::{
    Application, GraphQlKind, GraphQlOperation, JsonRpcCall, Messages, Rpc, SoapCall, Streaming, WebSocket,
    classify,
};
pub use connection::{Connection, Over, sender};
pub use counters::Counters;
pub use detect::{StartLine, looks_like};
pub use exchange::{Body, Content, Direction, Exchange, Flags, Nanos, Request, Response, Version};
pub use headers::Headers;
pub use limits::Limits;
pub use segment::{Boundary, Start, Want};
