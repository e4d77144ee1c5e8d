//! What the policy leaves out, and how the source learns of it.

use policy::FilterPolicy;

use super::Tracker;
use super::delivery::Call;
use super::judge::{Judge, Verdict};
use super::order::Order;
use crate::attribution::{Attribution, Process};

/// How often it is looked whether a process that is left out still runs, nanoseconds: its exit may not have been reported.
pub const EXCLUDED_CHECK_NS: u64 = 60_000_000_000;

impl Tracker {
    /// A new policy: bounds for connections from now on, and the filter for all. The source's filters are empty from here on.
    /// What was complete before goes to `out`.
    pub fn set_policy(&mut self, http: protocol::Limits, filter: FilterPolicy, out: &mut impl FnMut(Call)) {
        self.limits.http = http;
        self.judge = Judge::new(filter);
        self.excluded.clear();
        // The source announces anew what it was told to leave out.
        for connection in self.connections.values_mut().filter(|c| c.is_silent()) {
            connection.joined = 0;
            connection.sleep(&mut self.common.ledger);
        }
        let left_out: Vec<u64> = self
            .connections
            .values()
            .filter(|connection| {
                self.judge.judge(&connection.process, connection.service_port()) != Verdict::Capture
            })
            .map(|connection| connection.id)
            .collect();
        let common = &mut self.common;
        for mut connection in left_out.iter().filter_map(|id| self.connections.remove(id)) {
            self.waiting.remove(&connection.id);
            common.counters.connections_filtered += 1;
            common.orders.push(Order::LeaveOut {
                connection: connection.id,
            });
            // What is unfinished is no longer wanted.
            connection.abandon(connection.active_ns, &mut common.ledger);
            common.deliver_if(&mut connection, |exchange| exchange.response.is_some(), out);
            connection.release(&mut common.ledger);
            common.ends.remove(connection.place(), connection.id);
        }
        let judge = &self.judge;
        self.tls.retain(&mut self.common.ledger, |process, port| {
            judge.judge(process, Some(port)) == Verdict::Capture
        });
    }

    /// Another program in a process, which may have inherited connections. `known`: records told of it before.
    pub(super) fn exec(&mut self, pid: u32, known: bool) {
        if self.excluded.remove(&pid).is_some() {
            self.common.orders.push(Order::Rejudge { pid });
        }
        if known {
            for connection in self.connections.values_mut().filter(|c| c.pid == pid) {
                connection.pid = 0;
            }
        }
    }

    /// Whether the policy captures a connection; if not, orders say so.
    pub(super) fn is_wanted(&mut self, connection: u64, process: &Process, port: Option<u16>) -> bool {
        let verdict = self.judge.judge(process, port);
        if verdict == Verdict::Capture {
            return true;
        }
        let common = &mut self.common;
        common.counters.connections_filtered += 1;
        common.orders.push(Order::LeaveOut { connection });
        let key = process.key;
        match verdict {
            Verdict::Capture | Verdict::Connection => {}
            Verdict::Process => {
                self.excluded.insert(key.pid, key);
                common.orders.push(Order::Exclude { pid: key.pid });
            }
            Verdict::Group { cgroup } => {
                self.excluded.insert(key.pid, key);
                common.orders.push(Order::ExcludeGroup { cgroup, pid: key.pid });
            }
        }
        false
    }

    /// Looks, once in a while, whether the processes that are left out still run.
    pub fn check_excluded(&mut self, now_ns: u64, attribution: &Attribution) {
        if now_ns.saturating_sub(self.checked_ns) < EXCLUDED_CHECK_NS {
            return;
        }
        self.checked_ns = now_ns;
        let orders = &mut self.common.orders;
        self.excluded.retain(|pid, key| {
            let runs = attribution.runs(*key);
            if !runs {
                orders.push(Order::Admit { pid: *pid });
            }
            runs
        });
    }
}
