//! Who calls whom, counted between two deltas.
//!
//! An edge is named by texts, of which most calls need none: the edges of the latest calls are known by who took part in them.

use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::HashMap;
use foldhash::fast::RandomState;
use wire::v1::EdgeDelta;

use crate::attribution::Workload;

/// Edges counted at a time. More are counted as one edge without addresses.
pub const EDGES_MAX: usize = 4096;

/// Edges known by who took part; each has one place, and the latest edge of a place stays.
const RECENT: usize = 256;

/// One end of an edge.
#[derive(Clone, Debug)]
pub enum End {
    /// On this node.
    Here(Arc<Workload>),
    /// Elsewhere.
    There(IpAddr),
    /// Nobody knows who: the name of its UNIX socket.
    Named(Arc<str>),
}

impl End {
    /// Something that differs where ends differ, mostly.
    fn sketch(&self, state: &mut impl std::hash::Hasher) {
        match self {
            Self::Here(workload) => Arc::as_ptr(workload).hash(state),
            Self::There(address) => address.hash(state),
            Self::Named(name) => name.hash(state),
        }
    }
}

/// Descriptions of one workload that follow each other are not the same here: their edges have the same key.
impl PartialEq for End {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Here(one), Self::Here(other)) => Arc::ptr_eq(one, other),
            (Self::There(one), Self::There(other)) => one == other,
            (Self::Named(one), Self::Named(other)) => one == other,
            _ => false,
        }
    }
}

/// All that an [`EdgeKey`] follows from.
#[derive(Clone, Debug, PartialEq)]
pub struct Parties {
    /// Who asks.
    pub client: End,
    /// Who serves.
    pub server: End,
    /// Port that serves.
    pub server_port: u16,
    /// Host that the client asked for.
    pub host: Arc<str>,
    /// Seen at the server's end.
    pub server_side: bool,
    /// Protocol version.
    pub protocol: &'static str,
    /// What speaks on top of it.
    pub application: &'static str,
}

/// An edge of the latest calls, and what was counted of it there.
#[derive(Debug)]
struct Recent {
    parties: Parties,
    key: Arc<EdgeKey>,
    sums: Sums,
}

/// What makes an edge one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EdgeKey {
    /// Workload that asks; empty when it is not on this node.
    pub client_workload: String,
    /// Workload that serves; empty when it is not on this node.
    pub server_workload: String,
    /// Bare address of a client that is not on this node.
    pub client_address: String,
    /// Bare address of a server that is not on this node.
    pub server_address: String,
    /// Port that serves.
    pub server_port: u16,
    /// Host that the client asked for.
    pub host: String,
    /// Seen at the server's end.
    pub server_side: bool,
    /// Protocol version.
    pub protocol: &'static str,
    /// What speaks on top of it; empty for nothing that is known.
    pub application: &'static str,
}

/// One call on an edge.
#[derive(Clone, Copy, Debug)]
pub struct EdgeCall {
    /// Calls that it stands for, itself included.
    pub weight: u64,
    /// Failed: no response, a status of 500 and above, or a failure that the application blames on the server.
    pub error: bool,
    /// Bytes of the request.
    pub request_bytes: u64,
    /// Bytes of the response.
    pub response_bytes: u64,
    /// First request byte to last response byte, microseconds.
    pub duration_us: u64,
    /// When, Unix epoch microseconds.
    pub ts_us: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    calls: u64,
    errors: u64,
    request_bytes: u64,
    response_bytes: u64,
    duration_us: u64,
    first_us: i64,
    last_us: i64,
}

impl Sums {
    fn add(&mut self, call: EdgeCall) {
        let times = |value: u64| value.saturating_mul(call.weight);
        self.merge(&Self {
            calls: call.weight,
            errors: times(u64::from(call.error)),
            request_bytes: times(call.request_bytes),
            response_bytes: times(call.response_bytes),
            duration_us: times(call.duration_us),
            first_us: call.ts_us,
            last_us: call.ts_us,
        });
    }

    fn merge(&mut self, more: &Self) {
        let Self {
            calls,
            errors,
            request_bytes,
            response_bytes,
            duration_us,
            first_us,
            last_us,
        } = self;
        *first_us = if *calls == 0 {
            more.first_us
        } else {
            (*first_us).min(more.first_us)
        };
        *calls += more.calls;
        *errors += more.errors;
        *request_bytes += more.request_bytes;
        *response_bytes += more.response_bytes;
        *duration_us += more.duration_us;
        *last_us = (*last_us).max(more.last_us);
    }
}

/// See the module's description.
#[derive(Debug)]
pub struct Edges {
    edges: HashMap<EdgeKey, Sums>,
    recent: Box<[Option<Recent>]>,
    places: RandomState,
    folded: u64,
}

impl Default for Edges {
    fn default() -> Self {
        Self {
            edges: HashMap::default(),
            recent: std::iter::repeat_with(|| None).take(RECENT).collect(),
            places: RandomState::default(),
            folded: 0,
        }
    }
}

impl Edges {
    /// Counts a call between these parties, whose edge is named by `key`. Gives the edge's key.
    pub fn add_between(
        &mut self,
        parties: Parties,
        call: EdgeCall,
        key: impl FnOnce() -> EdgeKey,
    ) -> Arc<EdgeKey> {
        let at = self.place(&parties);
        if let Some(Some(known)) = self.recent.get_mut(at)
            && known.parties == parties
        {
            known.sums.add(call);
            return Arc::clone(&known.key);
        }
        let key = Arc::new(key());
        let mut sums = Sums::default();
        sums.add(call);
        let latest = Recent {
            parties,
            key: Arc::clone(&key),
            sums,
        };
        if let Some(place) = self.recent.get_mut(at)
            && let Some(before) = place.replace(latest)
        {
            self.merge((*before.key).clone(), &before.sums);
        }
        key
    }

    fn place(&self, parties: &Parties) -> usize {
        let mut state = self.places.build_hasher();
        parties.client.sketch(&mut state);
        parties.server.sketch(&mut state);
        (parties.server_port, parties.server_side, &*parties.host).hash(&mut state);
        std::hash::Hasher::finish(&state) as usize % RECENT
    }

    /// Counts a call.
    pub fn add(&mut self, key: EdgeKey, call: EdgeCall) {
        let mut sums = Sums::default();
        sums.add(call);
        self.merge(key, &sums);
    }

    fn merge(&mut self, key: EdgeKey, more: &Sums) {
        if more.calls == 0 {
            return;
        }
        let key = if self.edges.len() < EDGES_MAX || self.edges.contains_key(&key) {
            key
        } else {
            self.folded += more.calls;
            EdgeKey {
                client_address: String::new(),
                server_address: String::new(),
                host: String::new(),
                server_port: 0,
                ..key
            }
        };
        self.edges.entry(key).or_default().merge(more);
    }

    /// Calls whose edge lost its addresses because there were too many edges.
    pub const fn folded(&self) -> u64 {
        self.folded
    }

    /// What was counted since the last call.
    pub fn take(&mut self) -> Vec<EdgeDelta> {
        for at in 0..self.recent.len() {
            let waiting = self.recent.get_mut(at).and_then(Option::as_mut).map(|recent| {
                let sums = std::mem::take(&mut recent.sums);
                (Arc::clone(&recent.key), sums)
            });
            if let Some((key, sums)) = waiting.filter(|(_, sums)| sums.calls > 0) {
                self.merge((*key).clone(), &sums);
            }
        }
        self.edges
            .drain()
            .map(|(key, sums)| EdgeDelta {
                client_workload: key.client_workload,
                server_workload: key.server_workload,
                client_address: key.client_address,
                server_address: key.server_address,
                server_port: u32::from(key.server_port),
                host: key.host,
                protocol: key.protocol.to_owned(),
                application: key.application.to_owned(),
                calls: sums.calls,
                errors: sums.errors,
                request_bytes: sums.request_bytes,
                response_bytes: sums.response_bytes,
                duration_us_sum: sums.duration_us,
                first_seen_us: sums.first_us,
                last_seen_us: sums.last_us,
                side: if key.server_side {
                    wire::v1::Side::Server
                } else {
                    wire::v1::Side::Client
                }
                .into(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(ts_us: i64) -> EdgeCall {
        EdgeCall {
            weight: 1,
            error: ts_us % 2 == 0,
            request_bytes: 1,
            response_bytes: 2,
            duration_us: 3,
            ts_us,
        }
    }

    #[test]
    fn edges_beyond_the_limit_fold_and_lose_no_call() {
        let mut edges = Edges::default();
        let many = EDGES_MAX as i64 + 500;
        for i in 0..many {
            let key = EdgeKey {
                client_address: format!("10.0.{}.{}", i / 256, i % 256),
                ..EdgeKey::default()
            };
            edges.add(key, call(i + 1));
        }
        assert_eq!(edges.folded(), 500);
        let taken = edges.take();
        assert_eq!(taken.len(), EDGES_MAX + 1);
        assert_eq!(taken.iter().map(|edge| edge.calls).sum::<u64>(), many as u64);
        assert!(edges.take().is_empty());
    }

    /// A remote client of a remote server.
    fn parties(client: u8, port: u16) -> Parties {
        Parties {
            client: End::There(IpAddr::from([10, 0, 0, client])),
            server: End::There(IpAddr::from([10, 0, 1, 1])),
            server_port: port,
            host: "api.test".into(),
            server_side: true,
            protocol: "HTTP/1.1",
            application: "",
        }
    }

    fn key_of(parties: &Parties) -> EdgeKey {
        let End::There(client) = parties.client else {
            panic!("a remote client")
        };
        EdgeKey {
            client_address: client.to_string(),
            server_port: parties.server_port,
            ..EdgeKey::default()
        }
    }

    #[test]
    fn calls_by_parties_are_those_by_keys() {
        let (mut by_parties, mut by_keys) = (Edges::default(), Edges::default());
        // More edges than places, in an order in which they push each other out; and all of it again after a delta.
        for _ in 0..2 {
            for i in 0..8 * RECENT {
                let parties = parties((i * 7 % 200) as u8, (i % 5) as u16);
                let key = key_of(&parties);
                let call = call(i as i64 + 1);
                assert_eq!(*by_parties.add_between(parties, call, || key.clone()), key);
                by_keys.add(key, call);
            }
            let sorted = |edges: &mut Edges| {
                let mut taken = edges.take();
                taken.sort_by(|a, b| {
                    (&a.client_address, a.server_port).cmp(&(&b.client_address, b.server_port))
                });
                taken
            };
            assert_eq!(sorted(&mut by_parties), sorted(&mut by_keys));
        }
    }

    #[test]
    fn a_key_is_made_once() {
        let mut edges = Edges::default();
        let mut made = 0;
        for ts_us in 1..=9 {
            edges.add_between(parties(1, 80), call(ts_us), || {
                made += 1;
                EdgeKey::default()
            });
        }
        assert_eq!(made, 1);
        assert_eq!(edges.take().iter().map(|edge| edge.calls).sum::<u64>(), 9);
        assert!(edges.take().is_empty());
    }

    #[test]
    fn sums_and_times() {
        let mut edges = Edges::default();
        for ts_us in [5, 2, 9] {
            edges.add(EdgeKey::default(), call(ts_us));
        }
        let taken = edges.take();
        let [edge] = taken.as_slice() else {
            panic!("one edge")
        };
        assert_eq!(
            (edge.calls, edge.errors, edge.first_seen_us, edge.last_seen_us),
            (3, 1, 2, 9)
        );
        assert_eq!(
            (edge.request_bytes, edge.response_bytes, edge.duration_us_sum),
            (3, 6, 9)
        );
    }
}
