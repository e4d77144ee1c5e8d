//! Connections of which nothing is heard: they fall asleep, and are the first to go when there is no room.

use super::Tracker;
use super::connection::Connection;
use super::delivery::Call;

impl Tracker {
    /// Makes room. False when there is nobody asleep or dozing.
    pub(super) fn evict(&mut self, now_ns: u64, out: &mut impl FnMut(Call)) -> bool {
        while let Some(id) = self.asleep.pop_front() {
            if self.connections.get(&id).is_some_and(Connection::may_go) {
                self.common.counters.connections_evicted += 1;
                self.give_up(id, now_ns, out);
                return true;
            }
        }
        false
    }

    /// Puts connections to sleep of which nothing was heard for long: their end may not have been reported.
    pub(super) fn sweep(&mut self, now_ns: u64, out: &mut impl FnMut(Call)) {
        if now_ns.saturating_sub(self.swept_ns) < self.limits.idle_ns / 4 {
            return;
        }
        self.swept_ns = now_ns;
        let common = &mut self.common;
        for connection in self.connections.values_mut() {
            if connection.may_go() || now_ns.saturating_sub(connection.active_ns) <= self.limits.idle_ns {
                continue;
            }
            if connection.needs_all() {
                // Its streams may be open for days, and what it has said before is not said again.
                common.counters.connections_dozing += 1;
                connection.dozes = true;
                self.asleep.push_back(connection.id);
                continue;
            }
            // Of a silent end nothing is heard because nothing is asked for, and little of one that rests.
            common.counters.connections_idle += u64::from(!connection.is_silent() && !connection.rests());
            connection.abandon(now_ns, &mut common.ledger);
            common.deliver(connection, out);
            connection.sleep(&mut common.ledger);
            connection.measure(&mut common.ledger);
            self.asleep.push_back(connection.id);
        }
        // Who woke up, or is gone, does not stay in the queue.
        if self.asleep.len() > 2 * self.connections.len() {
            self.asleep
                .retain(|id| self.connections.get(id).is_some_and(Connection::may_go));
        }
    }
}
