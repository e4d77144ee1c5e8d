//! HTTP/1.0 and HTTP/1.1 (RFC 9112).
//!
//! Each direction is read on its own by a `Reader`; `Pairing` joins requests with responses and decides, after bytes
//! went missing, what may still be joined. See [`Connection`].

mod behind;
mod body;
mod call;
mod chunked;
mod connection;
mod feed;
mod framing;
mod head;
mod lenient;
mod pairing;
mod proxy;
mod reader;
mod request;
mod response;
mod resume;
mod resync;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use behind::Behind;
pub use connection::{Connection, ProtocolHint};
pub use proxy::ProxyHeader;
pub(crate) use proxy::{Found, find as find_proxy_header};
