//! What is known of the TLS libraries of processes: why a connection is not decrypted.

use std::fmt;

/// No library was found in the process that uses the socket.
pub const NO_LIBRARY: &str = "no_tls_library_found";
/// Nobody has looked at the process: libraries are not looked for, or it was too short.
pub const NOT_LOOKED_AT: &str = "not_looked_at";
/// The library's functions are probed, and none of its sessions that speak HTTP was found to go over the socket: what it carries is
/// no HTTP, or the way from the session to the socket is one that is not known.
pub const NOT_BOUND: &str = "not_bound";
/// As [`NOT_BOUND`], of a connection that is older than the agent: its session began before anybody looked.
pub const OLDER_THAN_AGENT: &str = "older_than_agent";

/// What is known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Name of its library.
    pub library: &'static str,
    /// Why nothing of it is decrypted; `None`: its functions are probed.
    pub reason: Option<&'static str>,
}

impl Finding {
    /// Nobody has looked at the process.
    pub const NOT_LOOKED_AT: Self = Self {
        library: "",
        reason: Some(NOT_LOOKED_AT),
    };
}

/// Who knows that. Asked when bytes of a connection are counted, by the capture thread: an answer takes no system call.
pub trait Findings: fmt::Debug + Send {
    /// Of a process; `None`: it has been looked at, and there is no library. Of a process that has ended what was known last, for a while.
    fn of(&self, pid: u32) -> Option<Finding>;
}

/// Nobody looks for libraries.
#[derive(Debug)]
pub struct NothingFound;

impl Findings for NothingFound {
    fn of(&self, _: u32) -> Option<Finding> {
        Some(Finding::NOT_LOOKED_AT)
    }
}
