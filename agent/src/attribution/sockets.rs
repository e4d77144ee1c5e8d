//! Connections that are older than the agent: every TCP socket of every network namespace, which end of its connection it
//! is, and who holds it.
//!
//! Asked of the kernel over `NETLINK_SOCK_DIAG` (sock_diag(7)), not read from `/proc/net/tcp`: only the former tells the
//! socket's cookie, by which the kernel programs name a connection, and it is created by asking. `/proc` is used for what only
//! it knows: which namespaces there are (a namespace is found through the processes in it) and who holds a socket.

mod diag;
mod owners;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sched::{CloneFlags, setns};

pub use owners::{OwnerCounters, OwnerLimits, SocketOwners};

use super::procfs::parse_ns_link;
use diag::{DiagSocket, Family, LISTEN};

/// State of a TCP socket, numbered as in the kernel (`include/net/tcp_states.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TcpState(pub u8);

impl TcpState {
    /// Open in both directions.
    pub const ESTABLISHED: Self = Self(1);

    /// Name as `ss` and the kernel write it, without the prefix.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            1 => "ESTABLISHED",
            2 => "SYN_SENT",
            3 => "SYN_RECV",
            4 => "FIN_WAIT1",
            5 => "FIN_WAIT2",
            6 => "TIME_WAIT",
            7 => "CLOSE",
            8 => "CLOSE_WAIT",
            9 => "LAST_ACK",
            10 => "LISTEN",
            11 => "CLOSING",
            12 => "NEW_SYN_RECV",
            _ => "UNKNOWN",
        }
    }
}

/// One end of a connection that was there before the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExistingSocket {
    /// `bpf_get_socket_cookie` of the socket.
    pub cookie: u64,
    /// Its own address; v4-mapped IPv6 is shown as IPv4, so that both ends of a connection agree.
    pub local: SocketAddr,
    /// Its peer's address, likewise.
    pub remote: SocketAddr,
    /// Inode of its network namespace.
    pub netns: u32,
    /// Inode of the socket, as in `/proc/PID/fd`; 0 when no descriptor refers to it (not accepted yet, or closed already).
    pub inode: u64,
    /// State.
    pub state: TcpState,
    /// User that made it.
    pub uid: u32,
}

/// Which end of a connection a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It accepted the connection.
    Server,
    /// It opened the connection.
    Client,
}

/// Addresses that are listened on, by namespace and port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listeners(HashMap<(u32, u16), Vec<IpAddr>>);

impl Listeners {
    /// Notes a listening socket.
    pub fn insert(&mut self, netns: u32, address: SocketAddr) {
        let addresses = self.0.entry((netns, address.port())).or_default();
        let ip = address.ip().to_canonical();
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }

    /// True when a connection to `address` would be taken by one of them. A wildcard takes both families: whether an IPv6
    /// one is closed to IPv4 is not known, and no client has the port of a listener as its own but by intent.
    #[must_use]
    pub fn accepts(&self, netns: u32, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.0
            .get(&(netns, address.port()))
            .is_some_and(|listening| listening.iter().any(|at| *at == ip || at.is_unspecified()))
    }

    /// How many ports are listened on.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when nothing listens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A socket whose own port is listened on in its namespace is the server's end; any other is the client's. The server of a
/// connection whose listener is gone is therefore taken for a client.
#[must_use]
pub fn role_of(socket: &ExistingSocket, listeners: &Listeners) -> Role {
    if listeners.accepts(socket.netns, socket.local) {
        Role::Server
    } else {
        Role::Client
    }
}

/// Bounds of one look at the node.
#[derive(Clone, Copy, Debug)]
pub struct SocketLimits {
    /// Sockets kept, all namespaces together.
    pub sockets: usize,
    /// Listening sockets kept.
    pub listeners: usize,
    /// Network namespaces looked into.
    pub namespaces: usize,
}

impl Default for SocketLimits {
    fn default() -> Self {
        Self {
            sockets: 262_144,
            listeners: 65_536,
            namespaces: 4096,
        }
    }
}

/// What a look found and what it had to leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketCounters {
    /// Namespaces looked into.
    pub namespaces: u64,
    /// Namespaces that could not be entered (no privilege, or gone meanwhile).
    pub namespaces_skipped: u64,
    /// Namespaces beyond the limit.
    pub namespaces_beyond_limit: u64,
    /// Sockets beyond the limit, listeners included.
    pub sockets_beyond_limit: u64,
    /// Requests that the kernel refused or did not finish.
    pub dumps_failed: u64,
    /// Dumps during which sockets came and went so that some may be missing; those are seen by the kernel programs.
    pub dumps_interrupted: u64,
}

/// The node's sockets at one time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Connections.
    pub sockets: Vec<ExistingSocket>,
    /// What is listened on.
    pub listeners: Listeners,
    /// What was left out.
    pub counters: SocketCounters,
}

/// Looks into every network namespace that a process is in. Blocks for the time of the look; a thread of its own enters the
/// namespaces and ends, so the caller's never changes.
#[must_use]
pub fn existing_sockets(proc_root: &Path, limits: &SocketLimits) -> Snapshot {
    let look = || {
        let mut snapshot = Snapshot::default();
        for (netns, file) in namespaces(proc_root, limits, &mut snapshot.counters) {
            if setns(&file, CloneFlags::CLONE_NEWNET).is_err() {
                snapshot.counters.namespaces_skipped += 1;
                continue;
            }
            snapshot.counters.namespaces += 1;
            snapshot.add_current(netns, limits);
        }
        // A dump comes in parts; what moves between two of them may come twice.
        snapshot.sockets.sort_unstable_by_key(|socket| socket.cookie);
        snapshot.sockets.dedup_by_key(|socket| socket.cookie);
        snapshot
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("existing-sockets".to_owned())
            .spawn_scoped(scope, look);
        thread
            .ok()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_else(|| {
                let counters = SocketCounters {
                    dumps_failed: 1,
                    ..SocketCounters::default()
                };
                Snapshot {
                    counters,
                    ..Snapshot::default()
                }
            })
    })
}

impl Snapshot {
    /// Adds the sockets of the calling thread's namespace.
    fn add_current(&mut self, netns: u32, limits: &SocketLimits) {
        for family in [Family::V4, Family::V6] {
            let dumped = diag::dump(family, |found| self.add(netns, found, limits));
            match dumped {
                Ok(end) => self.counters.dumps_interrupted += u64::from(end == diag::End::Interrupted),
                Err(_) => self.counters.dumps_failed += 1,
            }
        }
    }

    fn add(&mut self, netns: u32, found: &DiagSocket, limits: &SocketLimits) {
        if found.state == LISTEN {
            if self.listeners.len() < limits.listeners {
                self.listeners.insert(netns, found.local);
            } else {
                self.counters.sockets_beyond_limit += 1;
            }
        } else if self.sockets.len() < limits.sockets {
            self.sockets.push(ExistingSocket {
                cookie: found.cookie,
                local: canonical(found.local),
                remote: canonical(found.remote),
                netns,
                inode: u64::from(found.inode),
                state: TcpState(found.state),
                uid: found.uid,
            });
        } else {
            self.counters.sockets_beyond_limit += 1;
        }
    }
}

const fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// One open file per namespace. An open file holds its namespace, so its inode is asked again after opening.
fn namespaces(proc_root: &Path, limits: &SocketLimits, counters: &mut SocketCounters) -> Vec<(u32, File)> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(proc_root) else {
        return found;
    };
    for entry in entries
        .flatten()
        .filter(|entry| is_pid(entry.file_name().as_bytes()))
    {
        let path = entry.path().join("ns/net");
        let Some(netns) = std::fs::read_link(&path)
            .ok()
            .and_then(|to| parse_ns_link(to.as_os_str().as_bytes()))
        else {
            continue;
        };
        if seen.contains(&netns) {
            continue;
        }
        if found.len() >= limits.namespaces {
            seen.insert(netns);
            counters.namespaces_beyond_limit += 1;
            continue;
        }
        // Another process of the namespace may succeed where this one is gone.
        let Ok(file) = File::open(&path) else { continue };
        let same = file.metadata().is_ok_and(|meta| meta.ino() == u64::from(netns));
        if same && seen.insert(netns) {
            found.push((netns, file));
        }
    }
    found
}

fn is_pid(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
#[path = "sockets/tests.rs"]
mod tests;
