//! Connections: records of a source in, exchanges with both ends named out.
//!
//! Invariants: bounded (connections, waiting records, time); each loss is counted where it is found; an exchange that both ends on
//! this node saw comes out once, at the server's end, as the end saw it that saw more.

mod address;
mod class;
mod compare;
mod connection;
mod counters;
mod coverage;
mod delivery;
mod demand;
mod ends;
mod exclusion;
mod fate;
mod idle;
mod joint;
mod judge;
mod leftover;
mod lowering;
mod memory;
mod order;
mod passing;
mod reconcile;
mod rest;
mod silence;
mod standing;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod waiting;

use std::collections::VecDeque;

use agent_common::{Role, chunk_flags};
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use policy::FilterPolicy;

pub use self::address::Address;
pub use self::class::Class;
use self::connection::Connection;
pub use self::counters::Counters;
pub use self::coverage::{Account, Coverage, NODE, OTHERS, Tally, WORKLOADS_MAX};
use self::delivery::Common;
pub use self::delivery::{Call, Tls};
pub use self::ends::Side;
pub use self::fate::{Fate, Fates, Kind};
use self::judge::Judge;
use self::leftover::{AGAIN, Leftover};
pub use self::memory::PARSER_BYTES_MAX;
pub use self::order::Order;
use self::passing::Taken;
use self::silence::JOINED_ENOUGH;
pub use self::standing::RECONCILE_S;
use self::stream::Segment;
pub use self::tls::{Finding, Findings};
use crate::attribution::{Attribution, ProcessKey};
use crate::source::{Chunk, Close, Event, Open};

/// How long a closed connection is kept for bytes that its process has not read yet, nanoseconds.
const CLOSE_LINGER_NS: u64 = 1_000_000_000;

/// Parsers that have to be asked what they counted, at most; more are asked at the end of a round.
const COUNTING_MAX: usize = 4096;

/// Bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections tracked at a time.
    pub connections: usize,
    /// A connection of which nothing was heard for so long keeps no more than its place, nanoseconds.
    pub idle_ns: u64,
    /// Of each connection's parser.
    pub http: protocol::Limits,
    /// What all parsers may keep, bytes.
    pub parser_bytes: usize,
    /// How often the source is asked where a connection stands that goes on, nanoseconds.
    pub reconcile_ns: u64,
    /// Whether connections may be told to rest: what their latest exchanges were like is remembered for that.
    pub rests: bool,
}

/// See the module's description.
#[derive(Debug)]
pub struct Tracker {
    limits: Limits,
    judge: Judge,
    connections: HashMap<u64, Connection>,
    /// Connections that carry TLS.
    tls: tls::Sockets,
    /// Roles of connections that are older than the agent.
    roles: HashMap<u64, Role>,
    /// Closed, but maybe not read to the end; by deadline. At most one entry for each connection tracked.
    closing: VecDeque<(u64, u64)>,
    /// Connections with records that wait.
    waiting: HashSet<u64>,
    /// Connections that fell asleep, oldest first: the first to go when there is no room.
    asleep: VecDeque<u64>,
    /// Processes that are left out.
    excluded: HashMap<u32, ProcessKey>,
    leftover: Leftover,
    round: u64,
    swept_ns: u64,
    checked_ns: u64,
    /// When connections were last looked for of which to ask where they stand, and those that were found.
    asked_ns: u64,
    to_ask: Vec<u64>,
    common: Common,
}

impl Tracker {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(limits: Limits, filter: FilterPolicy) -> Self {
        Self {
            limits,
            judge: Judge::new(filter),
            connections: HashMap::new(),
            tls: tls::Sockets::default(),
            roles: HashMap::new(),
            closing: VecDeque::new(),
            waiting: HashSet::new(),
            asleep: VecDeque::new(),
            excluded: HashMap::new(),
            leftover: Leftover::default(),
            round: 0,
            swept_ns: 0,
            checked_ns: 0,
            asked_ns: 0,
            to_ask: Vec::new(),
            common: Common {
                rests: limits.rests,
                ..Common::default()
            },
        }
    }

    /// Tells the role of connections that are older than the agent.
    pub fn know_roles(&mut self, roles: impl IntoIterator<Item = (u64, Role)>) {
        self.roles.extend(roles);
    }

    /// Takes an event; exchanges that are complete go to `out`. `now_ns` is the present time.
    pub fn handle(
        &mut self,
        event: &Event<'_>,
        attribution: &mut Attribution,
        now_ns: u64,
        out: &mut impl FnMut(Call),
    ) {
        match event {
            Event::Chunk(chunk) => self.chunk(chunk, attribution, out),
            Event::Open(open) => self.open(open, attribution, out),
            Event::Close(close) => self.close(*close, out),
            Event::Report(report) => self.report(report, out),
            Event::TlsOpen(open) => self.tls_open(open, attribution),
            Event::TlsHello(chunk) => self.tls_hello(chunk, attribution),
            Event::Exec(facts) => {
                let known = attribution.exec(facts);
                self.exec(facts.hint.pid, known);
            }
            Event::Exit { pid, start_ns } => {
                attribution.exit(*pid, *start_ns, now_ns);
                if self.excluded.remove(pid).is_some() {
                    self.common.orders.push(Order::Admit { pid: *pid });
                }
            }
        }
    }

    /// A record that is none.
    pub fn invalid_record(&mut self) {
        self.common.counters.records_invalid += 1;
    }

    fn open(&mut self, open: &Open, attribution: &mut Attribution, out: &mut impl FnMut(Call)) {
        if let Some(known) = self.connections.get(&open.connection) {
            if open.base.is_none() && known.tuple == open.tuple {
                // The source forgot that it had announced the connection, or captures more or less of it: here everything is still known.
                self.common.counters.connections_reopened += 1;
                self.reopen(open);
                return;
            }
            // Another connection under the same name: the end of the first was not reported.
            self.give_up(open.connection, open.time_ns, out);
        }
        self.common.counters.connections_opened += 1;
        let process = attribution.process(&open.owner, open.time_ns);
        let known = self.roles.remove(&open.connection);
        let role = if open.role == Role::Unknown {
            known.unwrap_or(Role::Unknown)
        } else {
            open.role
        };
        let mut connection = Connection::new(open, role, process, self.limits.http);
        if !self.is_wanted(connection.id, &connection.process, connection.service_port()) {
            return;
        }
        if let Some(unix) = &open.unix
            && let Some(hint) = attribution.hint_of(unix.peer_pid)
        {
            connection.peer = Some(attribution.process(&hint, open.time_ns));
        }
        if self.connections.len() >= self.limits.connections && !self.evict(open.time_ns, out) {
            self.common.counters.connections_beyond_limit += 1;
            self.common.orders.push(Order::LeaveOut {
                connection: open.connection,
            });
            return;
        }
        if let Some(session) = open.session {
            self.bind(&mut connection, open, session);
        }
        self.common.note_end(&connection);
        if open.left_out {
            self.common.counters.connections_lowered += 1;
            connection.fall_still(&mut self.common.ledger);
        }
        self.connections.insert(open.connection, connection);
    }

    fn chunk(&mut self, chunk: &Chunk<'_>, attribution: &mut Attribution, out: &mut impl FnMut(Call)) {
        let common = &mut self.common;
        let Some(connection) = self.connections.get_mut(&chunk.connection) else {
            common.counters.chunks_untracked += 1;
            if self.leftover.is_due(chunk.connection) {
                common.orders.push(Order::LeaveOut {
                    connection: chunk.connection,
                });
            }
            return;
        };
        common.counters.bytes += chunk.data.len() as u64;
        let side_before = connection.side();
        let mut moved = false;
        if chunk.pid != connection.pid {
            // The socket was handed to another process (a worker, an inherited descriptor). One that is gone was short-lived: then
            // who held it before is the better answer.
            connection.pid = chunk.pid;
            if let Some(hint) = attribution.hint_of(chunk.pid) {
                connection.count(&mut common.ledger);
                connection.process = attribution.process(&hint, chunk.time_ns);
                moved = true;
            }
        }
        let segment = Segment {
            offset: 0,
            length: chunk.length,
            time_ns: chunk.time_ns,
            turn_start: chunk.flags & chunk_flags::TURN_START != 0,
            on_purpose: chunk.flags & chunk_flags::FAULT == 0,
            missing: Fate::of_missing(chunk.reason, chunk.flags),
            stands_for: chunk.stands_for,
            behind_rest: chunk.flags & chunk_flags::RESTED != 0,
            data: chunk.data,
        };
        let taken = connection.take(
            chunk.direction,
            chunk.offset,
            segment,
            self.round,
            self.limits.http,
            &mut common.ledger,
        );
        match taken {
            Taken::Passed => {}
            Taken::Held => {
                common.counters.chunks_held += 1;
                self.waiting.insert(connection.id);
            }
            Taken::Unoriented => common.counters.chunks_unoriented += 1,
            Taken::Misplaced => common.counters.chunks_misplaced += 1,
            Taken::Unwanted => {
                common.counters.chunks_unwanted += 1;
                connection.unwanted += 1;
                if connection.unwanted.is_multiple_of(AGAIN) {
                    common.orders.push(Order::Ignore {
                        connection: connection.id,
                    });
                }
                return;
            }
            Taken::Silent => {
                common.counters.chunks_silenced += 1;
                connection.unwanted += 1;
                if connection.unwanted.is_multiple_of(AGAIN) {
                    let id = connection.id;
                    self.remain_silent(id);
                }
                return;
            }
        }
        if moved || connection.side() != side_before {
            common.note_end(connection);
        }
        common.deliver(connection, out);
        let cut = chunk.flags & chunk_flags::CAPPED != 0;
        if cut && connection.needs_all() {
            common.counters.full_cut += 1;
            common.counters.full_cut_bytes += u64::from(chunk.length).saturating_sub(chunk.data.len() as u64);
        }
        if connection.demands_all(cut) {
            common.counters.full_ordered += 1;
            common.orders.push(Order::Full {
                connection: connection.id,
            });
        }
        if let Some(skip) = connection.skip(chunk.direction) {
            common.counters.skips_ordered += 1;
            common.orders.push(Order::Skip {
                connection: connection.id,
                way: skip.way,
                sequence: skip.sequence,
            });
        }
        let id = connection.id;
        if let Some(close) = connection.closing
            && close.unread == 0
            && connection.is_complete(&close)
        {
            self.finish(&close, out);
            return;
        }
        let (rests, joined) = (connection.rest.is_some(), connection.joined);
        if rests {
            self.keep_rest(id);
        }
        if joined >= JOINED_ENOUGH {
            self.silence(id);
        }
    }

    fn close(&mut self, close: Close, out: &mut impl FnMut(Call)) {
        self.tls.told(&close, true, &mut self.common.ledger);
        let Some(connection) = self.connections.get_mut(&close.connection) else {
            self.common.counters.exchanges_rested_unknown += u64::from(close.rested);
            return;
        };
        if connection.is_complete(&close) {
            self.finish(&close, out);
        } else if connection.closing.is_none() {
            connection.closing = Some(close);
            self.closing
                .push_back((close.time_ns.saturating_add(CLOSE_LINGER_NS), close.connection));
        }
    }

    fn finish(&mut self, close: &Close, out: &mut impl FnMut(Call)) {
        let Some(mut connection) = self.connections.remove(&close.connection) else {
            return;
        };
        self.waiting.remove(&close.connection);
        let common = &mut self.common;
        common.counters.connections_closed += 1;
        connection.finish(close, &mut common.ledger);
        common.deliver(&mut connection, out);
        common.tell_all_rested(&mut connection, close.rested, out);
        connection.release(&mut common.ledger);
        common
            .ends
            .close(connection.place(), connection.id, close.time_ns);
    }

    /// Call after each round of draining the source, with the time up to which it was drained.
    pub fn tick(&mut self, now_ns: u64, out: &mut impl FnMut(Call)) {
        self.round += 1;
        self.common.round = self.round;
        let common = &mut self.common;
        self.waiting.retain(|id| {
            let Some(connection) = self.connections.get_mut(id) else {
                return false;
            };
            if connection.tick(self.round, &mut common.ledger) {
                common.deliver(connection, out);
            }
            connection.holds()
        });
        self.decide(Some(self.round), out);
        while let Some((_, id)) = self.closing.pop_front_if(|(deadline, _)| *deadline <= now_ns) {
            if let Some(close) = self.connections.get(&id).and_then(|c| c.closing) {
                self.finish(&close, out);
            }
        }
        self.common.ends.expire(now_ns);
        if self.common.counting.len() > COUNTING_MAX {
            self.count();
        }
        self.shed(now_ns, out);
        self.sweep(now_ns, out);
        self.ask(now_ns);
    }

    fn give_up(&mut self, id: u64, now_ns: u64, out: &mut impl FnMut(Call)) {
        let Some(mut connection) = self.connections.remove(&id) else {
            return;
        };
        self.waiting.remove(&id);
        let common = &mut self.common;
        connection.abandon(now_ns, &mut common.ledger);
        common.deliver(&mut connection, out);
        common.tell_all_rested(&mut connection, 0, out);
        connection.release(&mut common.ledger);
        common.ends.close(connection.place(), id, now_ns);
    }

    /// Ends all connections: the source has ended.
    pub fn finish_all(&mut self, now_ns: u64, out: &mut impl FnMut(Call)) {
        let mut ids: Vec<u64> = self.connections.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.give_up(id, now_ns, out);
        }
        self.tls.give_up_all(&mut self.common.ledger);
        self.decide(None, out);
    }

    /// Decides upon exchanges that have waited long enough for the other end's, or upon all.
    fn decide(&mut self, now: Option<u64>, out: &mut impl FnMut(Call)) {
        while let Some(decided) = self.common.waitings.decide(now) {
            if let Some(client) = self.common.settle(decided, out)
                && let Some(connection) = self.connections.get_mut(&client)
            {
                connection.joined += 1;
            }
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
    pub fn counters(&mut self) -> &Counters {
        let common = &mut self.common;
        common.counters.gaps = common.ledger.gaps;
        common.counters.gap_bytes = common.ledger.gap_bytes;
        common.counters.unseen_bytes = common.ledger.coverage.unseen_bytes();
        common.counters.coverage_folded_bytes = common.ledger.coverage.folded_bytes();
        &common.counters
    }

    /// What the parsers counted.
    pub fn protocol_counters(&mut self) -> &protocol::Counters {
        self.count();
        &self.common.ledger.protocol
    }

    /// Asks the parsers that may have something to tell. To ask each after each record would cost as much as reading the record.
    fn count(&mut self) {
        for id in self.common.counting.drain(..) {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.count(&mut self.common.ledger);
            }
        }
    }
}
