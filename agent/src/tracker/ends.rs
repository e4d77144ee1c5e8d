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

/// Where an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Addresses.
    pub tuple: Tuple,
    /// Network namespace; 0 where the addresses mean the same in all.
    netns: u32,
    /// It is a TLS session over the connection between these addresses: the connection itself may be tracked too, if it said something
    /// in plaintext first (CONNECT).
    is_session: bool,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Ends {
    ends: HashMap<Place, End>,
    /// Ends to forget, by time.
    closed: VecDeque<(u64, Place, u64)>,
}

/// True for 127.0.0.0/8 (also v4-mapped) and ::1.
fn is_loopback(address: &[u8; 16]) -> bool {
    let address = std::net::Ipv6Addr::from(*address);
    address.is_loopback() || address.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback())
}

impl Place {
    /// An end with these addresses in this network namespace.
    pub fn new(tuple: Tuple, netns: u32, is_session: bool) -> Self {
        let is_local = is_loopback(&tuple.local) || is_loopback(&tuple.remote);
        Self {
            tuple,
            netns: if is_local { netns } else { 0 },
            is_session,
        }
    }

    /// Where the other end is.
    pub fn opposite(&self) -> Self {
        let tuple = Tuple {
            local: self.tuple.remote,
            remote: self.tuple.local,
            local_port: self.tuple.remote_port,
            remote_port: self.tuple.local_port,
        };
        Self { tuple, ..*self }
    }
}

impl Ends {
    /// Notes an end.
    pub fn insert(&mut self, place: Place, end: End) {
        self.ends.insert(place, end);
    }

    /// An end has closed; it is known for a while more.
    pub fn close(&mut self, place: Place, connection: u64, now_ns: u64) {
        if let Some(end) = self.of(place, connection) {
            end.closed_ns = Some(now_ns);
        }
        let deadline = now_ns.saturating_add(LINGER_NS);
        self.closed.push_back((deadline, place, connection));
    }

    fn of(&mut self, place: Place, connection: u64) -> Option<&mut End> {
        self.ends
            .get_mut(&place)
            .filter(|end| end.connection == connection)
    }

    /// An end says nothing any more: the other one speaks for both.
    pub fn remove(&mut self, place: Place, connection: u64) {
        if self.of(place, connection).is_some() {
            self.ends.remove(&place);
        }
    }

    /// The other end of a connection that was announced at `opened_ns`, if it is on this node and seen. One that closed before is that
    /// of an earlier connection between the same addresses, unless the sequence numbers say otherwise: a client's first bytes may be
    /// reported when its server has answered and closed.
    pub fn other(&self, place: Place, base: Option<[u32; 2]>, opened_ns: u64) -> Option<&End> {
        let base = base.map(|[first, second]| [second, first]);
        self.ends.get(&place.opposite()).filter(|end| {
            end.closed_ns.is_none_or(|closed_ns| closed_ns >= opened_ns)
                || (base.is_some() && end.base == base)
        })
    }

    /// Forgets ends that closed long enough ago.
    pub fn expire(&mut self, now_ns: u64) {
        while let Some((deadline, place, connection)) = self.closed.front() {
            if *deadline > now_ns {
                break;
            }
            // The addresses may be in use by a newer connection.
            if self
                .ends
                .get(place)
                .is_some_and(|end| end.connection == *connection)
            {
                self.ends.remove(place);
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
