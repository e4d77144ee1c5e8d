//! Who is behind a socket: pid and start time → executable, command, user, container, systemd unit, network namespace,
//! workload.
//!
//! # Workload names
//! 1. A container's: `namespace/pod/container` in Kubernetes (the pod's generated suffixes cut, the container left out where
//!    it is named like its pod), the engine's name elsewhere, the first 12 characters of the id where no name can be read.
//! 2. A systemd unit's, but for those that hold a login and not a service: `session-N.scope`, `user@N.service`, `init.scope`
//!    and transient scopes with generated names.
//! 3. The base name of the executable; for interpreters followed by the base name of what they run, so that two services of
//!    one host are told apart: `python3:app.py`, `java:app.jar`, `java:Main`, `node:server.js`, `busybox:httpd`.
//!
//! # What may leave the node
//! [`Process::command`] shows the program, the script and the names of flags; every value and every positional argument is
//! replaced by `…`, see [`command`].
//!
//! # Invariants
//! - A process is keyed by pid *and* start time: a reused pid never inherits. `/proc` is read through one descriptor of
//!   `/proc/PID`, which the kernel binds to that process, and believed only when the start time agrees.
//! - `/proc/PID/maps` is never read (it takes the target's `mmap_lock`), nor is anything inside a container's file system.
//! - Every read and table is bounded; a process that goes away while it is read is normal and silent.
//! - Whatever comes from a process is hostile: names are sanitised before they are stored.

mod cgroup;
mod cgroups;
mod command;
mod counters;
mod engine;
mod interpreter;
mod lru;
mod options;
mod procfs;
pub mod sockets;
mod table;
mod text;
mod types;
mod users;
mod workloads;

pub use counters::Counters;
pub use options::{Limits, Options};
pub use table::Attribution;
pub use types::{
    Container, ExecFacts, Process, ProcessHint, ProcessKey, Runtime, Source, Workload, WorkloadKind,
};

/// Longest workload name, bytes.
pub const WORKLOAD_NAME_BYTES_MAX: usize = 128;
