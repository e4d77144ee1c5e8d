//! Capture that decays as knowledge saturates: of an endpoint whose calls bring nothing new any more, fewer are captured.
//!
//! A call brings something new when one of its facets (`facets`: status, consumer, names of fields and parameters, media types, sizes …)
//! was not seen of its endpoint before. After [`Rules::after`] captured calls in a row without anything new one in 8 is captured, after
//! as many of those one in 64, then one in 512 (`endpoint`). Anything new, and everything is captured at once. So it is for a while
//! every [`Rules::review_ns`], so that what is rare is found too.
//!
//! The kernel lowers connections, not endpoints: a connection is captured as much as the endpoint of its latest calls that needs most
//! (`connection`). It counts what it leaves out, the next captured call stands for it, and what is left over when a connection ends is
//! counted like its latest call ([`Tracker::rest`](crate::tracker::Tracker::rest)). All sums therefore stay exact; which of the
//! endpoints of a connection they go to is exact where it carries one, else an unbiased estimate, since the gaps between captured calls
//! are random.
//!
//! Invariants: nothing is captured less that is not known; bounded in endpoints, facets and connections, and what is beyond a bound is
//! captured whole and counted. No I/O; time is a parameter.

mod connection;
mod endpoint;
mod facets;
mod report;
#[cfg(test)]
mod tests;

use foldhash::{HashMap, HashMapExt, HashSet};
use protocol::{Exchange, Version, counters};

use self::connection::Connection;
pub use self::endpoint::FACETS_MAX;
use self::endpoint::{Endpoint, Outcome};
pub use self::facets::FACETS_PER_CALL_MAX;
use self::facets::Finder;
pub use self::report::{Level, Report};
use crate::tracker::Tls;

/// Endpoints that are watched.
pub const ENDPOINTS_MAX: usize = 8192;
/// Facets of all of them.
pub const FACETS_TOTAL_MAX: usize = 1 << 18;
/// Connections that are watched.
pub const CONNECTIONS_MAX: usize = 1 << 15;

/// Calls of a connection that are captured whatever is known: many have no more, and each begins with what its consumer is.
const CALLS_BEFORE: u64 = 8;
/// An endpoint without calls for so long is forgotten, nanoseconds.
const ENDPOINT_IDLE_NS: u64 = 3_600_000_000_000;
/// How often all endpoints are looked at, nanoseconds.
const LOOK_NS: u64 = 1_000_000_000;

counters! {
    /// Endpoints of which less is captured than before, because nothing was new: steps.
    steps,
    /// Endpoints of which everything is captured again because of something new.
    renewals,
    /// Endpoints that are looked at whole for a while, as they are now and then.
    reviews,
    /// Endpoints with so many facets that they are captured whole for ever.
    endpoints_varied,
    /// Endpoints forgotten because they had no call for an hour.
    endpoints_idle,
    /// Calls of endpoints beyond the limit: those are captured whole.
    calls_beyond_endpoints,
    /// Calls of connections beyond the limit: those are captured whole.
    calls_beyond_connections,
    /// Orders to capture less of a connection.
    orders_less,
    /// Orders to capture more of one.
    orders_more,
    /// Orders to capture less of a connection that cannot be captured less at present: it is asked again later.
    orders_refused,
}

/// When less is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Captured calls without anything new before each step.
    pub after: u32,
    /// Of so many calls at least one is captured.
    pub most: u32,
    /// How often an endpoint is looked at whole, nanoseconds.
    pub review_ns: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            after: 256,
            most: 512,
            review_ns: 300_000_000_000,
        }
    }
}

/// A captured call.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// Connection as the source names it.
    pub connection: u64,
    /// What went over it.
    pub exchange: &'a Exchange,
    /// Who asked.
    pub consumer: &'a str,
    /// The TLS session that it went through.
    pub tls: Option<&'a Tls>,
    /// When, nanoseconds on the clock of [`Decay::tick`].
    pub now_ns: u64,
}

/// An order: of this connection one call in so many is to be captured, 1: all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Which.
    pub connection: u64,
    /// At least 1.
    pub every: u32,
}

/// See the module's description.
#[derive(Debug)]
pub struct Decay {
    rules: Rules,
    /// `false`: everything is captured, and nothing is learnt.
    enabled: bool,
    finder: Finder,
    endpoints: HashMap<u64, Watched>,
    connections: HashMap<u64, Connection>,
    /// Facets of all endpoints.
    facets: usize,
    orders: Vec<Rest>,
    looked_ns: u64,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Watched {
    endpoint: Endpoint,
    /// That carry it.
    connections: HashSet<u64>,
}

impl Decay {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(rules: Rules, enabled: bool) -> Self {
        Self {
            rules,
            enabled,
            finder: Finder::default(),
            endpoints: HashMap::new(),
            connections: HashMap::new(),
            facets: 0,
            orders: Vec::new(),
            looked_ns: 0,
            counters: Counters::default(),
        }
    }

    /// Whether calls are taken.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Switches it on or off. Off, everything is captured again.
    pub fn enable(&mut self, enabled: bool) {
        if self.enabled == enabled {
            return;
        }
        self.enabled = enabled;
        self.endpoints = HashMap::new();
        self.facets = 0;
        let mut lowered: Vec<u64> = Vec::new();
        for (id, connection) in &mut self.connections {
            connection.forget();
            if connection.every > 1 {
                lowered.push(*id);
            }
        }
        lowered.sort_unstable();
        for id in lowered {
            self.order(id, 1);
        }
    }

    /// What names an endpoint here.
    #[must_use]
    pub fn endpoint(&self, name: impl std::hash::Hash) -> u64 {
        self.finder.endpoint(name)
    }

    /// Takes a captured call of an endpoint.
    pub fn take(&mut self, endpoint: u64, seen: &Sighting<'_>) {
        // The kernel can lower what comes one call after the other.
        let in_turns = matches!(seen.exchange.request.version, Version::Http10 | Version::Http11);
        if !self.enabled || !in_turns {
            return;
        }
        self.learn(endpoint, seen);
        let id = seen.connection;
        if seen.exchange.index < CALLS_BEFORE && !self.connections.contains_key(&id) {
            return;
        }
        if self.connections.len() >= CONNECTIONS_MAX && !self.connections.contains_key(&id) {
            self.counters.calls_beyond_connections += 1;
            return;
        }
        let connection = self.connections.entry(id).or_default();
        for forgotten in connection.note(endpoint) {
            if let Some(watched) = self.endpoints.get_mut(&forgotten) {
                watched.connections.remove(&id);
            }
        }
        if let Some(watched) = self.endpoints.get_mut(&endpoint) {
            watched.connections.insert(id);
        }
        let every = self.every(id);
        if every > 1 && !self.connections.get(&id).is_some_and(Connection::may_ask) {
            return;
        }
        self.order(id, every);
    }

    /// What the call says about its endpoint.
    fn learn(&mut self, id: u64, seen: &Sighting<'_>) {
        let full = self.endpoints.len() >= ENDPOINTS_MAX;
        if full && !self.endpoints.contains_key(&id) {
            self.counters.calls_beyond_endpoints += 1;
            return;
        }
        let facets = self.finder.of(seen.exchange, seen.consumer, seen.tls);
        let room = FACETS_TOTAL_MAX.saturating_sub(self.facets);
        let watched = self.endpoints.entry(id).or_default();
        let (every, known) = (watched.endpoint.every(&self.rules), watched.endpoint.facets());
        let outcome = watched.endpoint.take(&facets, room, &self.rules, seen.now_ns);
        self.facets = (self.facets + watched.endpoint.facets()).saturating_sub(known);
        match outcome {
            Outcome::Same | Outcome::Confirmed => {}
            Outcome::Less => self.counters.steps += 1,
            Outcome::Varied => self.counters.endpoints_varied += 1,
            Outcome::New => self.counters.renewals += u64::from(every > 1),
        }
        if watched.endpoint.every(&self.rules) < every {
            self.raise(id);
        }
    }

    /// Everything is captured of an endpoint from here on: so it is of the connections that carry it.
    fn raise(&mut self, endpoint: u64) {
        let Some(watched) = self.endpoints.get(&endpoint) else {
            return;
        };
        let mut carriers: Vec<u64> = watched.connections.iter().copied().collect();
        carriers.sort_unstable();
        for connection in carriers {
            self.order(connection, 1);
        }
    }

    /// As much as the endpoint that needs most.
    fn every(&self, connection: u64) -> u32 {
        let Some(connection) = self.connections.get(&connection) else {
            return 1;
        };
        let each = connection.endpoints().map(|endpoint| {
            let watched = self.endpoints.get(&endpoint);
            watched.map_or(1, |watched| watched.endpoint.every(&self.rules))
        });
        each.min().unwrap_or(1)
    }

    fn order(&mut self, id: u64, every: u32) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(&mut connection.every, every);
        if before == every {
            return;
        }
        if every > before {
            self.counters.orders_less += 1;
        } else {
            self.counters.orders_more += 1;
        }
        self.orders.push(Rest {
            connection: id,
            every,
        });
    }

    /// Orders since the last call, in their order.
    pub fn take_orders(&mut self) -> Vec<Rest> {
        std::mem::take(&mut self.orders)
    }

    /// An order to capture less of a connection cannot be obeyed: all of it is captured. It is asked again after more calls.
    pub fn refused(&mut self, connection: u64) {
        self.counters.orders_refused += 1;
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.refused();
        }
    }

    fn forget(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        for endpoint in connection.endpoints() {
            if let Some(watched) = self.endpoints.get_mut(&endpoint) {
                watched.connections.remove(&id);
            }
        }
    }

    /// Call now and then: looks at endpoints whose time has come, forgets those without calls, and connections that are not `alive`.
    pub fn tick(&mut self, now_ns: u64, alive: impl Fn(u64) -> bool) {
        if now_ns.saturating_sub(self.looked_ns) < LOOK_NS {
            return;
        }
        self.looked_ns = now_ns;
        let (mut reviewed, mut idle) = (Vec::new(), Vec::new());
        for (id, watched) in &mut self.endpoints {
            if now_ns.saturating_sub(watched.endpoint.seen_ns) >= ENDPOINT_IDLE_NS {
                idle.push(*id);
            } else if watched.endpoint.review(&self.rules, now_ns) {
                reviewed.push(*id);
            }
        }
        self.counters.reviews += reviewed.len() as u64;
        self.counters.endpoints_idle += idle.len() as u64;
        reviewed.extend(&idle);
        reviewed.sort_unstable();
        for endpoint in reviewed {
            self.raise(endpoint);
        }
        for endpoint in idle {
            if let Some(watched) = self.endpoints.remove(&endpoint) {
                self.facets = self.facets.saturating_sub(watched.endpoint.facets());
            }
        }
        let gone: Vec<u64> = self
            .connections
            .keys()
            .copied()
            .filter(|id| !alive(*id))
            .collect();
        for connection in gone {
            self.forget(connection);
        }
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The present state.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut levels: Vec<Level> = Vec::new();
        for watched in self.endpoints.values() {
            let every = watched.endpoint.every(&self.rules);
            match levels.iter_mut().find(|level| level.every == every) {
                Some(level) => level.endpoints += 1,
                None => levels.push(Level { every, endpoints: 1 }),
            }
        }
        levels.sort_unstable_by_key(|level| level.every);
        let resting = self.connections.values().filter(|it| it.every > 1).count();
        let carried: usize = self.endpoints.values().map(|it| it.connections.capacity()).sum();
        let bytes = self.endpoints.capacity() * size_of::<(u64, Watched)>()
            + self.connections.capacity() * size_of::<(u64, Connection)>()
            + (self.facets + carried) * 2 * size_of::<u64>();
        Report {
            enabled: self.enabled,
            levels,
            connections: self.connections.len() as u64,
            connections_resting: resting as u64,
            bytes: bytes as u64,
        }
    }
}
