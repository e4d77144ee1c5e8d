//! A connection of which both ends are on this node is read at one of them.

use super::Tracker;
use super::ends::Side;
use super::order::Order;

/// Exchanges joined with the server's end after which the client's end is no longer captured.
pub const JOINED_ENOUGH: u64 = 16;

impl Tracker {
    /// Captures a client's end no more when the server's end gives the exchanges: about half the kernel's work for it.
    pub(super) fn silence(&mut self, id: u64) {
        if !self.is_spoken_for(id) {
            return;
        }
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.fall_silent(&mut self.common.ledger) {
            connection.measure(&mut self.common.ledger);
            self.common.counters.connections_silenced += 1;
            self.common.orders.push(Order::LeaveOut { connection: id });
        }
    }

    /// Records of a silent end still come: the order may have been overwritten, or the server's end may be gone.
    pub(super) fn remain_silent(&mut self, id: u64) {
        if self.is_spoken_for(id) {
            self.common.orders.push(Order::LeaveOut { connection: id });
        } else {
            self.listen_again(id);
        }
    }

    /// What comes next of a silent end is read as if it had just been joined.
    pub(super) fn listen_again(&mut self, id: u64) {
        if let Some(connection) = self.connections.get_mut(&id).filter(|c| c.is_silent()) {
            connection.joined = 0;
            connection.sleep(&mut self.common.ledger);
        }
    }

    /// Whether the other end of a connection is tracked, serves, and gives all exchanges.
    fn is_spoken_for(&self, id: u64) -> bool {
        let Some(client) = self.connections.get(&id) else {
            return false;
        };
        self.common
            .ends
            .other(client.place(), client.base, client.opened_ns)
            .filter(|end| end.side == Side::Server)
            .and_then(|end| self.connections.get(&end.connection))
            .is_some_and(|server| {
                let is_enough = server.told.as_ref().is_none_or(|told| told.is_enough());
                server.exchanges > 0 && is_enough && server.reads()
            })
    }
}
