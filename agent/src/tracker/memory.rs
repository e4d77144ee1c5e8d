//! What all parsers keep together. Each is bounded by itself, but not so low that as many as there may be connections could have that much:
//! an HTTP/2 connection keeps up to `protocol::Limits::open_heads_bytes` and `open_bodies_bytes` and two header tables.

use super::Tracker;
use super::connection::{Connection, Ledger};
use super::delivery::Call;

/// What all parsers may keep, bytes. An HTTP/2 connection whose peers use tables of the default size keeps about 12 KiB between requests.
pub const PARSER_BYTES_MAX: usize = 256 << 20;

impl Connection {
    /// Notes what the parser keeps now.
    pub fn measure(&mut self, ledger: &mut Ledger) {
        let now = self.parser_bytes();
        ledger.parser_bytes = (ledger.parser_bytes - self.memory) + now;
        self.memory = now;
    }

    /// The connection is gone.
    pub fn release(&mut self, ledger: &mut Ledger) {
        self.count(ledger);
        ledger.parser_bytes -= std::mem::take(&mut self.memory);
    }
}

impl Tracker {
    /// When parsers keep too much, those that keep most begin anew: half of the bound is shared equally, and who has more is put to
    /// sleep. What they had not finished comes out marked.
    pub(super) fn shed(&mut self, now_ns: u64, out: &mut impl FnMut(Call)) {
        if self.common.ledger.parser_bytes <= self.limits.parser_bytes {
            return;
        }
        let share = self.limits.parser_bytes / 2 / self.connections.len().max(1);
        let common = &mut self.common;
        for connection in self.connections.values_mut().filter(|c| c.memory > share) {
            common.counters.parsers_shed += 1;
            connection.abandon(now_ns, &mut common.ledger);
            common.deliver(connection, out);
            connection.sleep(&mut common.ledger);
            connection.measure(&mut common.ledger);
            self.asleep.push_back(connection.id);
        }
    }
}
