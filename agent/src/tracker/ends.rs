//! Both ends of a connection on one node, found by the connection's addresses.

use std::collections::VecDeque;
use std::sync::Arc;

use agent_common::Tuple;
use foldhash::HashMap;

use super::joint;
use crate::attribution::Process;

/// How long an end is known after its close, nanoseconds: the other end may still be reading.
const LINGER_NS: u64 = 5_000_000_000;

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that serves.
    Server,
    /// The one that asks.
    Client,
}

/// One end.
#[derive(Clone, Debug)]
pub struct End {
    /// Connection as the source names it.
    pub connection: u64,
    /// Which.
    pub side: Side,
    /// Who holds it.
    pub process: Arc<Process>,
    /// First sequence numbers each way, where it was seen from its begin.
    pub base: Option<[u32; 2]>,
    /// What was told of the connection, where that can be compared.
    pub told: Option<joint::Shared>,
    /// When it closed.
    pub closed_ns: Option<u64>,
}

/// Addresses, and the network namespace where they mean something only within it.
type Key = (Tuple, u32);

/// See the module's description.
#[derive(Debug, Default)]
pub struct Ends {
    ends: HashMap<Key, End>,
    /// Ends to forget, by time.
    closed: VecDeque<(u64, Key, u64)>,
}

/// True for 127.0.0.0/8 (also v4-mapped) and ::1.
fn is_loopback(address: &[u8; 16]) -> bool {
    let address = std::net::Ipv6Addr::from(*address);
    address.is_loopback() || address.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback())
}

fn key(tuple: &Tuple, netns: u32) -> Key {
    let scope = if is_loopback(&tuple.local) || is_loopback(&tuple.remote) {
        netns
    } else {
        0
    };
    (*tuple, scope)
}

impl Ends {
    /// Notes an end.
    pub fn insert(&mut self, tuple: &Tuple, netns: u32, end: End) {
        self.ends.insert(key(tuple, netns), end);
    }

    /// An end has closed; it is known for a while more.
    pub fn close(&mut self, tuple: &Tuple, netns: u32, connection: u64, now_ns: u64) {
        if let Some(end) = self.of(tuple, netns, connection) {
            end.closed_ns = Some(now_ns);
        }
        self.closed
            .push_back((now_ns.saturating_add(LINGER_NS), key(tuple, netns), connection));
    }

    fn of(&mut self, tuple: &Tuple, netns: u32, connection: u64) -> Option<&mut End> {
        self.ends
            .get_mut(&key(tuple, netns))
            .filter(|end| end.connection == connection)
    }

    /// An end says nothing any more: the other one speaks for both.
    pub fn remove(&mut self, tuple: &Tuple, netns: u32, connection: u64) {
        if self.of(tuple, netns, connection).is_some() {
            self.ends.remove(&key(tuple, netns));
        }
    }

    /// The other end of a connection that was announced at `opened_ns`, if it is on this node and seen. One that closed before is that
    /// of an earlier connection between the same addresses, unless the sequence numbers say otherwise: a client's first bytes may be
    /// reported when its server has answered and closed.
    pub fn other(&self, tuple: &Tuple, netns: u32, base: Option<[u32; 2]>, opened_ns: u64) -> Option<&End> {
        let base = base.map(|[first, second]| [second, first]);
        let reverse = Tuple {
            local: tuple.remote,
            remote: tuple.local,
            local_port: tuple.remote_port,
            remote_port: tuple.local_port,
        };
        self.ends.get(&key(&reverse, netns)).filter(|end| {
            end.closed_ns.is_none_or(|closed_ns| closed_ns >= opened_ns)
                || (base.is_some() && end.base == base)
        })
    }

    /// Forgets ends that closed long enough ago.
    pub fn expire(&mut self, now_ns: u64) {
        while let Some((deadline, key, connection)) = self.closed.front() {
            if *deadline > now_ns {
                break;
            }
            // The addresses may be in use by a newer connection.
            if self
                .ends
                .get(key)
                .is_some_and(|end| end.connection == *connection)
            {
                self.ends.remove(key);
            }
            self.closed.pop_front();
        }
    }

    /// How many are known, and how many of them are to be forgotten.
    #[cfg(test)]
    pub fn len(&self) -> (usize, usize) {
        (self.ends.len(), self.closed.len())
    }
}
