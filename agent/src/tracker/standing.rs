//! Keeping the books of connections: what of a record, an order and the kernel's word goes where; and asking the kernel where
//! connections stand that live long.

use agent_common::Direction as Way;

use super::Tracker;
use super::class::Class;
use super::connection::{Connection, Ledger};
use super::coverage::{Account, NODE};
use super::delivery::Call;
use super::fate::Fate;
use super::order::Order;
use super::reconcile::Entry;
use super::stream::{Segment, Stream};
use crate::source::Close;

/// How often the kernel is asked where a connection stands that goes on, unless the configuration says otherwise, seconds.
pub const RECONCILE_S: u64 = 60;
/// Most connections about which the kernel is asked in one round.
pub const ASKED_MAX: usize = 256;

fn entry(sequence: u32, segment: &Segment<&[u8]>) -> Entry {
    Entry {
        sequence,
        captured: segment.data.len(),
        length: segment.length,
        missing: segment.missing,
        behind_rest: segment.behind_rest,
    }
}

/// Sequence number up to which a direction is skipped by order, if it is.
fn skipped(stream: &Stream) -> Option<u32> {
    let ahead = stream.skip_to > stream.next();
    ahead.then(|| stream.sequence(stream.skip_to)).flatten()
}

impl Connection {
    /// A record goes to the parser.
    pub fn enter(&mut self, way: Way, segment: &Segment<&[u8]>, ledger: &mut Ledger) {
        let stream = self.stream(way);
        let skipped = skipped(stream);
        if let Some(sequence) = stream.sequence(segment.offset) {
            let out = &mut ledger.coverage.of(&self.process.workload.name, self.class);
            self.books.read(way, &entry(sequence, segment), skipped, out);
        }
    }

    /// A record came while nobody knew who is the client.
    pub fn not_understood(&mut self, way: Way, sequence: u32, segment: &Segment<&[u8]>, ledger: &mut Ledger) {
        let out = &mut ledger.coverage.of(&self.process.workload.name, self.class);
        self.books.not_understood(way, &entry(sequence, segment), out);
    }

    /// A record came although none are wanted.
    pub fn unwanted(&mut self, way: Way, sequence: u32, segment: &Segment<&[u8]>, ledger: &mut Ledger) {
        let out = &mut ledger.coverage.of(&self.process.workload.name, self.class);
        self.books.unwanted(way, &entry(sequence, segment), out);
    }

    /// The parser was asked what it understood.
    pub fn understood(&mut self, fate: Fate, not_understood: u64, ledger: &mut Ledger) {
        let out = &mut ledger.coverage.of(&self.process.workload.name, self.class);
        self.books.understood(fate, not_understood, out);
    }

    /// The kernel says where it stands; with `last`, where it has ended.
    pub fn reconcile(&mut self, close: &Close, last: bool, ledger: &mut Ledger) {
        let skipped = [Way::In, Way::Out].map(|way| skipped(self.stream(way)));
        let out = &mut ledger.coverage.of(&self.process.workload.name, self.class);
        self.books.reconcile(close, skipped, last, out);
    }

    /// It is known what it carries, or nothing more is heard of it. A session counts with the socket below it.
    pub fn count_once(&mut self, class: Class, ledger: &mut Ledger) {
        if !std::mem::replace(&mut self.counted, true) && self.class == Class::Http {
            ledger.coverage.of(&self.process.workload.name, class).wire(1, 0);
        }
    }

    /// Nobody will say where it ended.
    pub fn close_books(&mut self, ledger: &mut Ledger) {
        let out = &mut ledger.coverage.of(&self.process.workload.name, self.class);
        self.books.give_up(out);
    }
}

impl Tracker {
    /// The kernel says where a connection stands that goes on.
    pub(super) fn report(&mut self, report: &Close, out: &mut impl FnMut(Call)) {
        let common = &mut self.common;
        let is_tls = self.tls.told(report, false, &mut common.ledger);
        match self.connections.get_mut(&report.connection) {
            None if is_tls => common.counters.reports += 1,
            Some(connection) => {
                common.counters.reports += 1;
                connection.reconcile(report, false, &mut common.ledger);
                common.tell_rested(connection, report.rested, out);
            }
            None => common.counters.exchanges_rested_unknown += u64::from(report.rested),
        }
    }

    /// Asks where connections stand that have lived long and were heard of since they were last asked.
    pub(super) fn ask(&mut self, now_ns: u64) {
        let interval = self.limits.reconcile_ns;
        if now_ns.saturating_sub(self.asked_ns) >= interval / 4 {
            self.asked_ns = now_ns;
            let due = |connection: &&Connection| {
                connection.reads()
                    && connection.active_ns > connection.asked_ns
                    && now_ns.saturating_sub(connection.asked_ns) >= interval
            };
            let due = self.connections.values().filter(due);
            let tls = self.tls.due(now_ns.saturating_sub(interval));
            self.to_ask = due.map(|connection| connection.id).chain(tls).collect();
        }
        let rest = self.to_ask.len().saturating_sub(ASKED_MAX);
        for id in self.to_ask.drain(rest..) {
            let Some(connection) = self.connections.get_mut(&id) else {
                self.common.orders.extend(self.tls.ask(id, now_ns));
                continue;
            };
            connection.asked_ns = now_ns;
            self.common.orders.push(Order::Report {
                connection: id,
                way: connection.way_to_ask(),
            });
        }
    }

    /// Connections and bytes of a class that the source counted without saying whose they were.
    pub fn count_unnamed(&mut self, class: Class, connections: u64, wire_bytes: u64) {
        let row = &mut self.common.ledger.coverage.of(NODE, class);
        row.wire(connections, wire_bytes);
    }

    /// Connections and bytes by workload and class since the last call.
    pub fn take_coverage(&mut self) -> Vec<(String, Account)> {
        self.count();
        self.common.ledger.coverage.take()
    }

    /// Connections and bytes by workload and class since the start.
    pub fn coverage(&mut self) -> Vec<(String, Account)> {
        self.count();
        self.common.ledger.coverage.all()
    }
}
