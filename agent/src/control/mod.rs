//! The control socket: people on the node ask the running agent.
//!
//! A UNIX stream socket that only root can open. The client sends one line of JSON, a [`Request`]; the agent answers with one JSON object a
//! line: the status once, or calls as they happen.

pub mod client;
pub mod server;

use serde::{Deserialize, Serialize};

use crate::tap::{TapCall, TapFilter};

/// Longest request line, bytes.
pub const REQUEST_BYTES_MAX: usize = 4096;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// One [`crate::status::Status`].
    Status,
    /// A [`Line`] for each call that the filter matches, until the client goes.
    Tail(TapFilter),
}

/// A line of a tail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// A call.
    Call(Box<TapCall>),
    /// So many calls went by too fast to be shown.
    Missed(u64),
    /// The request was not understood.
    Error(String),
}
