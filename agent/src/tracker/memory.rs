//! What all parsers keep together. Each is bounded by itself, but not so low that as many as there may be connections could have that much:
//! an HTTP/2 connection keeps up to `protocol::Limits::open_heads_bytes` and `open_bodies_bytes` and two header tables, an HTTP/1 one
//! up to `pending_requests` heads and bodies.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Tracker;
use super::class::Class;
use super::connection::{Connection, Ledger};
use super::delivery::Call;

/// What all parsers may keep, bytes. An HTTP/2 connection whose peers use tables of the default size keeps about 12 KiB between requests.
pub const PARSER_BYTES_MAX: usize = 256 << 20;

/// This part of the bound is made free when it is exceeded, so that connections are not looked through for each record that comes.
pub const FREED_PART: usize = 8;

impl Connection {
    /// Notes what the parser keeps now.
    pub fn measure(&mut self, ledger: &mut Ledger) {
        self.grows = false;
        let now = self.parser_bytes();
        ledger.parser_bytes = (ledger.parser_bytes - self.memory) + now;
        self.memory = now;
    }

    /// The connection is gone.
    pub fn release(&mut self, ledger: &mut Ledger) {
        self.count(ledger);
        self.close_books(ledger);
        self.count_once(Class::Http, ledger);
        ledger.parser_bytes -= std::mem::take(&mut self.memory);
    }
}

impl Tracker {
    /// Asks the parsers that took anything since the last call what they keep. To look through all that one keeps costs as much as to
    /// read a short record, so it is done once a round, however many came, before the bound is enforced.
    pub(super) fn measure(&mut self) {
        for id in self.common.growing.drain(..) {
            if let Some(connection) = self.connections.get_mut(&id).filter(|c| c.grows) {
                connection.measure(&mut self.common.ledger);
            }
        }
    }

    /// The programs have no room for a connection any more: what comes of it has another name.
    pub fn forget(&mut self, id: u64, now_ns: u64, out: &mut impl FnMut(Call)) {
        self.tls.give_up(id, &mut self.common.ledger);
        self.give_up(id, now_ns, out);
    }

    /// When parsers keep too much, as many begin anew as it takes: those that keep most, of equal ones those first of which nothing was
    /// heard for longest. What they had not finished comes out marked.
    pub(super) fn shed(&mut self, now_ns: u64, out: &mut impl FnMut(Call)) {
        self.measure();
        let limit = self.limits.parser_bytes;
        if self.common.ledger.parser_bytes <= limit {
            return;
        }
        let enough = limit - limit / FREED_PART;
        let common = &mut self.common;
        let keeping = self.connections.values().filter(|c| c.memory > 0);
        let mut largest: BinaryHeap<_> = keeping
            .map(|c| (c.memory, Reverse((c.active_ns, c.id))))
            .collect();
        while common.ledger.parser_bytes > enough
            && let Some((_, Reverse((_, id)))) = largest.pop()
        {
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            common.counters.parsers_shed += 1;
            connection.abandon(now_ns, &mut common.ledger);
            common.deliver(connection, out);
            connection.sleep(&mut common.ledger);
            connection.measure(&mut common.ledger);
            self.asleep.push_back(id);
        }
    }
}
