//! All processes that are charged. Without I/O.
//!
//! Invariants: no more processes than the programs keep accounts of, and those of which less than everything is captured; no more of the
//! latter than the programs can be told of. An account that made room for another and begins anew is read as new.

use agent_common::{ALLOWANCES_MAX, Account, ProcessKey};
use foldhash::{HashMap, HashSet};
use protocol::counters;

use super::guard::{Budget, Guard, Load, Look, Lowering};
use super::rung::Rung;

counters! {
    /// Steps down: a process was over its budget, and less of it is captured.
    steps_down,
    /// Steps up: it was calm, and more of it is captured again.
    steps_up,
    /// Steps down that were not possible because less than everything is captured of too many processes.
    steps_refused,
    /// Accounts of processes that made room for others before they were read again.
    accounts_evicted,
    /// Processes that ended while less than everything was captured of them.
    ended_lowered,
}

/// CPU time of a process since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpu {
    /// Nanoseconds.
    Taken(u64),
    /// It has ended.
    Ended,
}

/// What is captured of a process changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Which.
    pub key: ProcessKey,
    /// So far.
    pub from: Rung,
    /// From now on.
    pub to: Rung,
    /// Why.
    pub load: Load,
    /// Because it has ended.
    pub ended: bool,
}

/// What a round of looking brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// What is to be captured from now on.
    pub changes: Vec<Change>,
    /// Processes that have ended: their accounts are needed no more.
    pub ended: Vec<ProcessKey>,
}

#[derive(Clone, Debug, Default)]
struct Watched {
    guard: Guard,
    account: Account,
    cpu_ns: Option<u64>,
}

/// See the module's description.
#[derive(Debug)]
pub struct Guards {
    budget: Budget,
    watched: HashMap<ProcessKey, Watched>,
    looked_ns: u64,
    lowered: usize,
    charged: Account,
    counters: Counters,
}

impl Guards {
    /// Nobody is watched yet. `now_ns`: the present, on the clock of [`Self::look`].
    #[must_use]
    pub fn new(budget: Budget, now_ns: u64) -> Self {
        Self {
            budget,
            watched: HashMap::default(),
            looked_ns: now_ns,
            lowered: 0,
            charged: Account::default(),
            counters: Counters::default(),
        }
    }

    /// Looks at all processes: `accounts` holds each of them once.
    pub fn look(
        &mut self,
        now_ns: u64,
        accounts: &[(ProcessKey, Account)],
        mut cpu: impl FnMut(ProcessKey) -> Cpu,
    ) -> Round {
        let elapsed_ns = now_ns.saturating_sub(self.looked_ns).max(1);
        self.looked_ns = now_ns;
        let mut round = Round::default();
        let present: HashSet<ProcessKey> = accounts.iter().map(|(key, _)| *key).collect();
        let counters = &mut self.counters;
        self.watched.retain(|key, watched| {
            let stays = present.contains(key);
            counters.accounts_evicted += u64::from(!stays && watched.account != Account::default());
            if !stays {
                watched.account = Account::default();
            }
            stays || watched.guard.rung() != Rung::Full
        });
        let absent: Vec<ProcessKey> = self
            .watched
            .keys()
            .filter(|key| !present.contains(key))
            .copied()
            .collect();
        let silent = absent.into_iter().map(|key| (key, Account::default()));
        for (key, account) in accounts.iter().copied().chain(silent) {
            let Cpu::Taken(cpu_ns) = cpu(key) else {
                round.ended.push(key);
                round.changes.extend(self.forget(key));
                continue;
            };
            let watched = self.watched.entry(key).or_default();
            let (charged, evicted) = since(&mut watched.account, account);
            self.counters.accounts_evicted += u64::from(evicted);
            self.charged.timed += charged.timed;
            self.charged.timed_ns += charged.timed_ns;
            let look = Look {
                now_ns,
                elapsed_ns,
                charged,
                cpu_ns: watched
                    .cpu_ns
                    .replace(cpu_ns)
                    .map(|before| cpu_ns.saturating_sub(before)),
            };
            let from = watched.guard.rung();
            let before = watched.guard.clone();
            if !watched.guard.look(&self.budget, &look) {
                continue;
            }
            let to = watched.guard.rung();
            if from == Rung::Full && self.lowered >= ALLOWANCES_MAX as usize {
                watched.guard = before;
                self.counters.steps_refused += 1;
                continue;
            }
            self.lowered = self.lowered + usize::from(from == Rung::Full) - usize::from(to == Rung::Full);
            if to > from {
                self.counters.steps_down += 1;
            } else {
                self.counters.steps_up += 1;
            }
            round.changes.push(Change {
                key,
                from,
                to,
                load: watched.guard.load(),
                ended: false,
            });
        }
        round
    }

    fn forget(&mut self, key: ProcessKey) -> Option<Change> {
        let watched = self.watched.remove(&key)?;
        let from = watched.guard.rung();
        if from == Rung::Full {
            return None;
        }
        self.lowered -= 1;
        self.counters.ended_lowered += 1;
        Some(Change {
            key,
            from,
            to: Rung::Full,
            load: watched.guard.load(),
            ended: true,
        })
    }

    /// Every process, how much of it is captured, and what the last look said.
    pub fn processes(&self) -> impl Iterator<Item = (ProcessKey, Rung, Load)> + '_ {
        self.watched
            .iter()
            .map(|(key, watched)| (*key, watched.guard.rung(), watched.guard.load()))
    }

    /// Processes of which less than everything is captured.
    pub fn lowered(&self) -> impl Iterator<Item = (ProcessKey, Rung, Lowering)> + '_ {
        self.watched
            .iter()
            .filter_map(|(key, watched)| Some((*key, watched.guard.rung(), watched.guard.lowering()?)))
    }

    /// What was charged to all processes so far.
    #[must_use]
    pub const fn charged(&self) -> Account {
        self.charged
    }

    /// In force.
    #[must_use]
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// What was charged since it was last read, and whether the account began anew meanwhile.
fn since(read: &mut Account, now: Account) -> (Account, bool) {
    let before = std::mem::replace(read, now);
    let charged = |now: u64, before: u64| now.checked_sub(before);
    match (
        charged(now.timed, before.timed),
        charged(now.timed_ns, before.timed_ns),
    ) {
        (Some(timed), Some(timed_ns)) => (Account { timed, timed_ns }, false),
        _ => (now, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn key(pid: u32) -> ProcessKey {
        ProcessKey {
            pid,
            reserved: 0,
            start_ns: 5,
        }
    }

    fn account(timed: u64) -> Account {
        Account {
            timed,
            timed_ns: timed * 1_000,
        }
    }

    /// A budget of a tenth of a core: 1,640 timed transfers a second at a microsecond.
    fn guards() -> Guards {
        let budget = Budget {
            cpu_share: 0.1,
            core_share: 0.1,
            hook_ns: 0.0,
            calm_ns: 3 * SECOND_NS,
        };
        Guards::new(budget, 0)
    }

    fn alive(_: ProcessKey) -> Cpu {
        Cpu::Taken(0)
    }

    #[test]
    fn each_process_by_itself() {
        let mut guards = guards();
        for second in 1..=2 {
            let accounts = [(key(1), account(10_000 * second)), (key(2), account(10 * second))];
            let round = guards.look(second * SECOND_NS, &accounts, alive);
            assert_eq!(round.changes.len(), usize::from(second == 2));
        }
        let rung = |pid| guards.processes().find(|(of, _, _)| *of == key(pid)).unwrap().1;
        assert_eq!((rung(1), rung(2)), (Rung::Headers, Rung::Full));
        assert_eq!(guards.charged(), account(20_020));
        assert_eq!(guards.counters().steps_down, 1);
        let lowered: Vec<_> = guards.lowered().map(|(of, rung, _)| (of, rung)).collect();
        assert_eq!(lowered, [(key(1), Rung::Headers)]);
    }

    #[test]
    fn another_process_with_the_same_pid_inherits_nothing() {
        let mut guards = guards();
        for second in 1..=2 {
            guards.look(second * SECOND_NS, &[(key(1), account(10_000 * second))], alive);
        }
        let heir = ProcessKey {
            start_ns: 6,
            ..key(1)
        };
        guards.look(
            3 * SECOND_NS,
            &[(key(1), account(20_000)), (heir, account(5))],
            alive,
        );
        let rungs: Vec<Rung> = guards
            .processes()
            .filter(|(of, _, _)| *of == heir)
            .map(|(_, rung, _)| rung)
            .collect();
        assert_eq!(rungs, [Rung::Full]);
    }

    #[test]
    fn who_ends_is_forgotten_and_the_programs_are_told() {
        let mut guards = guards();
        for second in 1..=2 {
            guards.look(second * SECOND_NS, &[(key(1), account(10_000 * second))], alive);
        }
        let round = guards.look(3 * SECOND_NS, &[(key(1), account(20_000))], |_| Cpu::Ended);
        assert_eq!(round.ended, [key(1)]);
        let [change] = round.changes.as_slice() else {
            panic!("one change")
        };
        assert_eq!(
            (change.from, change.to, change.ended),
            (Rung::Headers, Rung::Full, true)
        );
        assert_eq!(
            (guards.processes().count(), guards.counters().ended_lowered),
            (0, 1)
        );
    }

    #[test]
    fn an_account_that_made_room_is_read_as_new() {
        let mut guards = guards();
        guards.look(SECOND_NS, &[(key(1), account(500))], alive);
        guards.look(2 * SECOND_NS, &[(key(1), account(20))], alive);
        assert_eq!(
            (guards.charged(), guards.counters().accounts_evicted),
            (account(520), 1)
        );
        guards.look(3 * SECOND_NS, &[], alive);
        assert_eq!(
            (guards.processes().count(), guards.counters().accounts_evicted),
            (0, 2)
        );
    }

    #[test]
    fn one_that_went_down_comes_up_also_without_an_account() {
        let mut guards = guards();
        for second in 1..=2 {
            guards.look(second * SECOND_NS, &[(key(1), account(10_000 * second))], alive);
        }
        let changes: Vec<Change> = (3..=5)
            .flat_map(|second| guards.look(second * SECOND_NS, &[], alive).changes)
            .collect();
        assert_eq!(
            changes.iter().map(|change| change.to).collect::<Vec<_>>(),
            [Rung::Full]
        );
        assert_eq!(
            (guards.counters().steps_up, guards.counters().accounts_evicted),
            (1, 1)
        );
        guards.look(6 * SECOND_NS, &[], alive);
        assert_eq!(guards.processes().count(), 0);
    }

    #[test]
    fn no_more_go_down_than_the_programs_can_be_told_of() {
        let mut guards = guards();
        let accounts = |second: u64| -> Vec<(ProcessKey, Account)> {
            (0..=ALLOWANCES_MAX)
                .map(|pid| (key(pid), account(10_000 * second)))
                .collect()
        };
        guards.look(SECOND_NS, &accounts(1), alive);
        let round = guards.look(2 * SECOND_NS, &accounts(2), alive);
        assert_eq!(round.changes.len(), ALLOWANCES_MAX as usize);
        assert_eq!(guards.counters().steps_refused, 1);
        // A place is free once one of them has ended.
        let gone = round.changes[0].key;
        let mut down = Vec::new();
        for second in 3..=4 {
            let round = guards.look(second * SECOND_NS, &accounts(second), |key| {
                if key == gone { Cpu::Ended } else { alive(key) }
            });
            down.extend(
                round
                    .changes
                    .into_iter()
                    .filter(|change| change.from == Rung::Full),
            );
        }
        assert_eq!(down.len(), 1);
    }
}
