//! Connections: records of a source in, exchanges with both ends named out.
//!
//! Invariants: bounded (connections, waiting records, time); each loss is counted where it is found; an exchange that both ends on
//! this node saw comes out once, at the server's end.

mod connection;
mod counters;
mod ends;
mod stream;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use agent_common::{Direction as Way, Role, chunk_flags};
use policy::{FilterPolicy, Subject};

use self::connection::{Connection, Losses, Taken};
pub use self::counters::Counters;
pub use self::ends::Side;
use self::ends::{End, Ends};
use self::stream::Segment;
use crate::attribution::{Attribution, Process};
use crate::source::{Chunk, Close, Event, Open};

/// How long a closed connection is kept for bytes that its process has not read yet, nanoseconds.
const CLOSE_LINGER_NS: u64 = 1_000_000_000;

/// Bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections tracked at a time.
    pub connections: usize,
    /// A connection of which nothing was heard for so long is given up, nanoseconds.
    pub idle_ns: u64,
    /// Of each connection's parser.
    pub http: protocol::Limits,
}

/// An exchange and who took part in it.
#[derive(Debug)]
pub struct Call {
    /// What went over the wire.
    pub exchange: protocol::Exchange,
    /// Connection as the source names it.
    pub connection: u64,
    /// Which end saw it.
    pub side: Side,
    /// Who holds that end.
    pub process: Arc<Process>,
    /// Who holds the other end, if it is on this node.
    pub peer: Option<Arc<Process>>,
    /// Client's address.
    pub client: SocketAddr,
    /// Server's address.
    pub server: SocketAddr,
}

/// What the source should do about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Send nothing more of it.
    Ignore {
        /// Connection.
        connection: u64,
    },
    /// Skip up to a sequence number.
    Skip {
        /// Connection.
        connection: u64,
        /// Which way.
        way: Way,
        /// First byte to capture again.
        sequence: u32,
    },
    /// Send nothing more of any connection of this process, which the policy leaves out.
    Exclude {
        /// Process.
        pid: u32,
        /// Its control group, if that is a container's own.
        cgroup: Option<u64>,
    },
}

/// See the module's description.
#[derive(Debug)]
pub struct Tracker {
    limits: Limits,
    filter: FilterPolicy,
    connections: HashMap<u64, Connection>,
    /// Roles of connections that are older than the agent.
    roles: HashMap<u64, Role>,
    /// Closed, but maybe not read to the end; by deadline.
    closing: VecDeque<(u64, Close)>,
    /// Connections with records that wait.
    waiting: HashSet<u64>,
    round: u64,
    swept_ns: u64,
    common: Common,
}

/// What all connections add to.
#[derive(Debug, Default)]
struct Common {
    ends: Ends,
    counters: Counters,
    protocol: protocol::Counters,
    losses: Losses,
    orders: Vec<Order>,
}

fn socket_address(address: [u8; 16], port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::from(address)).to_canonical(), port)
}

impl Tracker {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(limits: Limits, filter: FilterPolicy) -> Self {
        Self {
            limits,
            filter,
            connections: HashMap::new(),
            roles: HashMap::new(),
            closing: VecDeque::new(),
            waiting: HashSet::new(),
            round: 0,
            swept_ns: 0,
            common: Common::default(),
        }
    }

    /// Tells the role of connections that are older than the agent.
    pub fn know_roles(&mut self, roles: impl IntoIterator<Item = (u64, Role)>) {
        self.roles.extend(roles);
    }

    /// A new policy: bounds and filter for connections from now on.
    pub fn set_policy(&mut self, http: protocol::Limits, filter: FilterPolicy) {
        self.limits.http = http;
        self.filter = filter;
    }

    /// Takes an event; exchanges that are complete go to `out`.
    pub fn handle(&mut self, event: &Event<'_>, attribution: &mut Attribution, out: &mut impl FnMut(Call)) {
        match event {
            Event::Chunk(chunk) => self.chunk(chunk, attribution, out),
            Event::Open(open) => self.open(open, attribution),
            Event::Close(close) => self.close(*close, out),
            Event::Exec(_) | Event::Exit { .. } => {}
        }
    }

    /// A record that is none.
    pub fn invalid_record(&mut self) {
        self.common.counters.records_invalid += 1;
    }

    fn open(&mut self, open: &Open, attribution: &mut Attribution) {
        let common = &mut self.common;
        common.counters.connections_opened += 1;
        let process = attribution.process(&open.owner, open.time_ns);
        let subject = subject(&process, open);
        if !self.filter.captures(&subject) {
            common.counters.connections_filtered += 1;
            common.orders.push(Order::Ignore {
                connection: open.connection,
            });
            if !self.filter.captures(&Subject {
                port: None,
                ..subject
            }) {
                let cgroup = process
                    .container
                    .as_ref()
                    .map(|_| process.cgroup_id)
                    .filter(|id| *id > 1);
                common.orders.push(Order::Exclude {
                    pid: process.key.pid,
                    cgroup,
                });
            }
            return;
        }
        if self.connections.len() >= self.limits.connections {
            common.counters.connections_beyond_limit += 1;
            common.orders.push(Order::Ignore {
                connection: open.connection,
            });
            return;
        }
        let known = self.roles.remove(&open.connection);
        let role = if open.role == Role::Unknown {
            known.unwrap_or(Role::Unknown)
        } else {
            open.role
        };
        let connection = Connection::new(open, role, process, self.limits.http);
        common.note_end(&connection);
        self.connections.insert(open.connection, connection);
    }

    fn chunk(&mut self, chunk: &Chunk<'_>, attribution: &mut Attribution, out: &mut impl FnMut(Call)) {
        let common = &mut self.common;
        let Some(connection) = self.connections.get_mut(&chunk.connection) else {
            common.counters.chunks_untracked += 1;
            return;
        };
        common.counters.bytes += chunk.data.len() as u64;
        let side_before = connection.side();
        let mut moved = false;
        if chunk.pid != connection.process.key.pid
            && let Some(hint) = attribution.hint(chunk.pid)
        {
            // The socket was handed to another process (a worker, an inherited descriptor).
            connection.process = attribution.process(&hint, chunk.time_ns);
            moved = true;
        }
        let segment = Segment {
            offset: 0,
            length: chunk.length,
            time_ns: chunk.time_ns,
            turn_start: chunk.flags & chunk_flags::TURN_START != 0,
            on_purpose: chunk.flags & chunk_flags::FAULT == 0,
            data: chunk.data,
        };
        match connection.take(
            chunk.direction,
            chunk.offset,
            segment,
            self.round,
            &mut common.losses,
        ) {
            Taken::Passed => {}
            Taken::Held => {
                common.counters.chunks_held += 1;
                self.waiting.insert(connection.id);
            }
            Taken::Unoriented => common.counters.chunks_unoriented += 1,
            Taken::Unwanted => common.counters.chunks_untracked += 1,
        }
        if moved || connection.side() != side_before {
            common.note_end(connection);
        }
        common.deliver(connection, out);
        if let Some(skip) = connection.skip(chunk.direction) {
            common.counters.skips_ordered += 1;
            common.orders.push(Order::Skip {
                connection: connection.id,
                way: skip.way,
                sequence: skip.sequence,
            });
        }
    }

    fn close(&mut self, close: Close, out: &mut impl FnMut(Call)) {
        let Some(connection) = self.connections.get(&close.connection) else {
            return;
        };
        if connection.all_read(close.bytes_received) && !connection.holds() {
            self.finish(&close, out);
        } else {
            self.closing
                .push_back((close.time_ns.saturating_add(CLOSE_LINGER_NS), close));
        }
    }

    fn finish(&mut self, close: &Close, out: &mut impl FnMut(Call)) {
        let Some(mut connection) = self.connections.remove(&close.connection) else {
            return;
        };
        self.waiting.remove(&close.connection);
        let common = &mut self.common;
        common.counters.connections_closed += 1;
        connection.finish(close.end, close.time_ns, &mut common.losses);
        common.deliver(&mut connection, out);
        common
            .ends
            .close(&connection.tuple, connection.netns, connection.id, close.time_ns);
    }

    /// Call after each round of draining the source, with the time up to which it was drained.
    pub fn tick(&mut self, now_ns: u64, out: &mut impl FnMut(Call)) {
        self.round += 1;
        let common = &mut self.common;
        self.waiting.retain(|id| {
            let Some(connection) = self.connections.get_mut(id) else {
                return false;
            };
            if connection.tick(self.round, &mut common.losses) {
                common.deliver(connection, out);
            }
            connection.holds()
        });
        while let Some((_, close)) = self.closing.pop_front_if(|(deadline, _)| *deadline <= now_ns) {
            self.finish(&close, out);
        }
        self.common.ends.expire(now_ns);
        self.sweep(now_ns, out);
        self.common.counters.gaps = self.common.losses.gaps;
        self.common.counters.gap_bytes = self.common.losses.bytes;
    }

    /// Gives up connections of which nothing was heard for long: their close record may have been lost.
    fn sweep(&mut self, now_ns: u64, out: &mut impl FnMut(Call)) {
        if now_ns.saturating_sub(self.swept_ns) < self.limits.idle_ns / 4 {
            return;
        }
        self.swept_ns = now_ns;
        let idle: Vec<u64> = self
            .connections
            .values()
            .filter(|connection| now_ns.saturating_sub(connection.active_ns) > self.limits.idle_ns)
            .map(|connection| connection.id)
            .collect();
        for id in idle {
            self.common.counters.connections_idle += 1;
            self.give_up(id, now_ns, out);
        }
    }

    fn give_up(&mut self, id: u64, now_ns: u64, out: &mut impl FnMut(Call)) {
        let Some(mut connection) = self.connections.remove(&id) else {
            return;
        };
        self.waiting.remove(&id);
        let common = &mut self.common;
        connection.abandon(now_ns, &mut common.losses);
        common.deliver(&mut connection, out);
        common.ends.close(&connection.tuple, connection.netns, id, now_ns);
    }

    /// Ends all connections: the source has ended.
    pub fn finish_all(&mut self, now_ns: u64, out: &mut impl FnMut(Call)) {
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        for id in ids {
            self.give_up(id, now_ns, out);
        }
    }

    /// Orders to the source since the last call.
    pub fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.common.orders)
    }

    /// Connections tracked now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.common.counters
    }

    /// What the parsers counted.
    #[must_use]
    pub const fn protocol_counters(&self) -> &protocol::Counters {
        &self.common.protocol
    }
}

impl Common {
    fn note_end(&mut self, connection: &Connection) {
        if let Some(side) = connection.side() {
            let end = End {
                connection: connection.id,
                side,
                process: Arc::clone(&connection.process),
            };
            self.ends.insert(&connection.tuple, connection.netns, end);
        }
    }

    /// Hands out what is complete.
    fn deliver(&mut self, connection: &mut Connection, out: &mut impl FnMut(Call)) {
        while let Some(exchange) = connection.poll() {
            let Some(side) = connection.side() else {
                continue;
            };
            let other = self.ends.other(&connection.tuple, connection.netns);
            if side == Side::Client && other.is_some_and(|end| end.side == Side::Server) {
                self.counters.exchanges_joined += 1;
                continue;
            }
            self.counters.exchanges += 1;
            let tuple = &connection.tuple;
            let local = socket_address(tuple.local, tuple.local_port);
            let remote = socket_address(tuple.remote, tuple.remote_port);
            let (client, server) = match side {
                Side::Server => (remote, local),
                Side::Client => (local, remote),
            };
            out(Call {
                exchange,
                connection: connection.id,
                side,
                process: Arc::clone(&connection.process),
                peer: other.map(|end| Arc::clone(&end.process)),
                client,
                server,
            });
        }
        self.protocol += connection.take_counters();
        if connection.left_http() {
            self.counters.connections_other_protocol += 1;
            self.orders.push(Order::Ignore {
                connection: connection.id,
            });
        }
    }
}

fn subject<'a>(process: &'a Process, open: &Open) -> Subject<'a> {
    // Ports below the ephemeral range serve; where the role is not known the local one is asked about.
    let port = if open.role == Role::Client {
        open.tuple.remote_port
    } else {
        open.tuple.local_port
    };
    Subject {
        executable: &process.executable,
        container: process
            .container
            .as_ref()
            .map_or("", |container| container.id.as_str()),
        cgroup: "",
        port: Some(port),
    }
}
