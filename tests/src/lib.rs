//! What the end-to-end tests share: a node of one collector and one agent, servers, clients, and waiting without sleeping blindly.
//!
//! Invariants: each test has directories and ports of its own; whatever it starts ends with it, also when it panics or is killed;
//! nothing is waited for by time, only by what can be observed, with a deadline.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "support for tests: a panic is how a test fails"
)]

mod agent;
pub mod api;
mod collector;
/// Messages, client and server of `services/grpc/echo.proto`.
pub mod echo {
    #![allow(missing_docs, clippy::all, reason = "generated")]
    tonic::include_proto!("test");
}
pub mod http;
pub mod load;
mod metrics;
mod node;
pub mod peers;
mod preflight;
mod process;
mod script;
pub mod servers;
mod wait;
pub mod ways;

pub use agent::{Agent, AgentOptions};
pub use collector::{Collector, binary};
pub use metrics::Metrics;
pub use node::{Node, NodeOptions, UNLIMITED, directory, only};
pub use preflight::{can_capture, has_file, has_program, mount_tracefs};
pub use process::{Process, program};
pub use script::Script;
pub use wait::{DEADLINE, found_within, until, until_within};
