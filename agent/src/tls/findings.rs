//! What is known of each process's TLS libraries, shared between the thread that finds out and those that want to know.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::library::Finding;

/// How long what is known of a process is kept after its end, ns: its connections are heard of by another way, and may be late.
pub const GRACE_NS: u64 = 30_000_000_000;
/// Ended processes of which it is kept.
pub const DEPARTED_MAX: usize = 32_768;

/// Findings of one that ended; most have no more than two.
const DEPARTED_FINDINGS_MAX: usize = 16;

/// A process's findings; most have none, few have more than two.
pub type List = Arc<[Arc<Finding>]>;

/// See the module's description. Clones share what they hold.
#[derive(Clone, Debug, Default)]
pub struct Findings(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    live: HashMap<u32, Option<List>>,
    departed: HashMap<u32, (u64, List)>,
    /// Ends, oldest first.
    ends: VecDeque<(u64, u32)>,
}

impl Findings {
    /// What became of the TLS libraries of a process, or of one that ended a short while ago. `None`: not looked at, yet or at all;
    /// empty: there is none.
    #[must_use]
    pub fn of(&self, pid: u32) -> Option<Vec<Finding>> {
        let known = self.lock();
        let list = match known.live.get(&pid) {
            Some(list) => list.clone().unwrap_or_default(),
            None => Arc::clone(&known.departed.get(&pid)?.1),
        };
        drop(known);
        let mut findings: Vec<Finding> = Vec::new();
        for finding in list.iter() {
            if !findings.contains(finding) {
                findings.push(Finding::clone(finding));
            }
        }
        Some(findings)
    }

    pub(super) fn set(&self, pid: u32, findings: Vec<Arc<Finding>>) {
        let list = (!findings.is_empty()).then(|| findings.into());
        self.lock().live.insert(pid, list);
    }

    /// Something more of a process that ended: it was too short to be looked at while it lived.
    pub(super) fn add_departed(&self, pid: u32, findings: &[Arc<Finding>]) {
        if findings.is_empty() {
            return;
        }
        if let Some((_, list)) = self.lock().departed.get_mut(&pid) {
            let all = list.iter().chain(findings).cloned();
            *list = all.take(DEPARTED_FINDINGS_MAX).collect();
        }
    }

    /// The process ended. Gives how many others are forgotten early for that.
    pub(super) fn depart(&self, pid: u32, now_ns: u64) -> u64 {
        let mut known = self.lock();
        let Some(list) = known.live.remove(&pid) else {
            return 0;
        };
        known.departed.insert(pid, (now_ns, list.unwrap_or_default()));
        known.ends.push_back((now_ns, pid));
        let mut early = 0;
        while let Some((end_ns, pid)) = known.ends.front().copied() {
            let old = now_ns.saturating_sub(end_ns) >= GRACE_NS;
            if !old && known.ends.len() <= DEPARTED_MAX {
                break;
            }
            known.ends.pop_front();
            // Unless another process had the same number meanwhile, and ended as well.
            if known.departed.get(&pid).is_some_and(|(at, _)| *at == end_ns) {
                known.departed.remove(&pid);
                early += u64::from(!old);
            }
        }
        early
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::library::State;

    fn finding(reason: &str) -> Arc<Finding> {
        Arc::new(Finding {
            library: None,
            version: None,
            state: State::Rejected(reason.to_owned()),
        })
    }

    fn reasons(findings: &Findings, pid: u32) -> Option<usize> {
        findings.of(pid).map(|list| list.len())
    }

    #[test]
    fn what_is_known_outlives_the_process_for_a_while() {
        let findings = Findings::default();
        assert_eq!(reasons(&findings, 7), None);
        findings.set(7, Vec::new());
        assert_eq!(reasons(&findings, 7), Some(0));
        findings.set(7, vec![finding("a"), finding("b"), finding("a")]);
        assert_eq!(reasons(&findings, 7), Some(2));
        assert_eq!(findings.depart(7, 10), 0);
        assert_eq!(findings.depart(7, 11), 0);
        assert_eq!(reasons(&findings, 7), Some(2));
        // It was too short for all of them to be found while it lived.
        for more in 0..2 * DEPARTED_FINDINGS_MAX {
            findings.add_departed(7, &[finding(&more.to_string())]);
        }
        assert_eq!(reasons(&findings, 7), Some(DEPARTED_FINDINGS_MAX - 1));
        findings.add_departed(9, &[finding("never seen")]);
        assert_eq!(reasons(&findings, 9), None);
        findings.set(8, Vec::new());
        findings.depart(8, 10 + GRACE_NS);
        assert_eq!((reasons(&findings, 7), reasons(&findings, 8)), (None, Some(0)));
        // The number is given to another one.
        findings.set(8, vec![finding("c")]);
        assert_eq!(reasons(&findings, 8), Some(1));
    }

    #[test]
    fn at_the_limit_the_oldest_go_and_are_counted() {
        let findings = Findings::default();
        for pid in 0..DEPARTED_MAX as u32 {
            findings.set(pid, Vec::new());
            assert_eq!(findings.depart(pid, 1), 0);
        }
        findings.set(1 << 30, Vec::new());
        assert_eq!(findings.depart(1 << 30, 1), 1);
        assert_eq!((reasons(&findings, 0), reasons(&findings, 1)), (None, Some(0)));
    }
}
