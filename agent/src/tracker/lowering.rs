//! Connections of processes that are over their budget: the source captures one in so many, which stands for the others, or none.
//!
//! Those that are left out are announced nevertheless, without bytes: the exchanges of their other end on this node are not taken for
//! more than there are, and its peer has a name.

use super::Tracker;
use crate::source::Open;

impl Tracker {
    /// A connection that is tracked is announced again.
    pub(super) fn reopen(&mut self, open: &Open) {
        let id = open.connection;
        if !open.left_out {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.weight = open.weight;
            }
            self.listen_again(id);
            return;
        }
        self.waiting.remove(&id);
        let common = &mut self.common;
        if let Some(connection) = self.connections.get_mut(&id) {
            common.counters.connections_lowered += 1;
            // The exchange that is on its way as well: that of a connection which is captured stands for it.
            connection.fall_still(&mut common.ledger);
            connection.measure(&mut common.ledger);
        }
    }
}
