//! Do no harm: a budget for the time that capturing adds to each traced process.
//!
//! What is added is what the programs take, and what the hook in front of them takes. The programs time one transfer in
//! [`CHARGE_EVERY`] and charge its process for all of them (`agent-ebpf`'s `account`); the hook is measured at start-up (`calibrate`).
//! Once a second this module reads the accounts and the CPU time of their processes. A process to which more was added than its budget
//! allows goes a step down (`rung`: everything → beginnings of messages → one connection in 8 → one in 64 → nothing), and comes up
//! again when it is calm (`guard`, the rule of it). Whatever changes is said in one line of the log; `doctor` and `/metrics` show the
//! present state (`report`), and the collector is told of which workloads less than everything is captured (`lowered`).
//!
//! Why these, and not the kernel's statistics of programs: they know no processes, and cost every run 20 to 60 ns while they are kept.
//!
//! What is captured of a process that is sampled stands for the rest: which connection of each eight is chosen by chance, not by what it
//! carries, and its calls have the weight 8 in rows, inventory and edges, whose sums therefore stay unbiased.
//!
//! What is not charged: opening and closing connections (less than a microsecond each), exec and exit, and what never reaches a
//! connection's state (files, with the providers that hook system calls). No step would lower those.

mod calibrate;
mod guard;
mod guards;
mod lowered;
mod report;
mod rung;

use std::path::Path;

use agent_common::{CHARGE_EVERY, ProcessKey};
use foldhash::HashMap;
use nix::time::{ClockId, clock_gettime};

pub use self::calibrate::{Probe, hook_ns};
pub use self::guard::{Budget, Guard, Load, Look, Lowering};
pub use self::guards::{Change, Counters, Cpu, Guards, Round};
pub use self::lowered::{LOWERED_MAX, Lowered, LoweredRow};
use self::report::whole;
pub use self::report::{ProcessCost, Report, SHOWN_MAX};
pub use self::rung::Rung;
use crate::config;
use crate::loader::Accounts;

/// How often accounts are read, nanoseconds.
const LOOK_NS: u64 = 1_000_000_000;

/// See the module's description.
#[derive(Debug)]
pub struct Harm {
    guards: Guards,
    head_bytes: u32,
    generation: u32,
    due_ns: u64,
    /// Names of the processes in the latest report.
    commands: HashMap<ProcessKey, String>,
    /// Workloads of the processes of which less than everything is captured.
    workloads: HashMap<ProcessKey, String>,
}

impl Harm {
    /// With what the hook was measured to cost, nanoseconds. `head_bytes`: the beginning of a message.
    #[must_use]
    pub fn new(settings: &config::Harm, head_bytes: u32, hook_ns: f64, now_ns: u64) -> Self {
        let share = |percent: f64| percent / 100.0;
        let budget = Budget {
            cpu_share: share(settings.cpu_percent),
            core_share: if settings.cpu_percent > 0.0 {
                share(settings.core_percent)
            } else {
                f64::INFINITY
            },
            hook_ns,
            calm_ns: settings.calm_s.saturating_mul(1_000_000_000),
        };
        Self {
            guards: Guards::new(budget, now_ns),
            head_bytes,
            generation: 0,
            due_ns: now_ns.saturating_add(LOOK_NS),
            commands: HashMap::default(),
            workloads: HashMap::default(),
        }
    }

    /// Looks at all processes, if it is time, and has the programs capture less or more of them. `workload`: that of a process, where
    /// it is known.
    pub fn look(
        &mut self,
        now_ns: u64,
        accounts: &mut Accounts,
        workload: impl FnMut(ProcessKey) -> Option<String>,
    ) {
        if now_ns < self.due_ns {
            return;
        }
        self.due_ns = now_ns.saturating_add(LOOK_NS);
        let mut read = match accounts.read() {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(%error, "what capturing costs processes cannot be read");
                return;
            }
        };
        let own = std::process::id();
        read.retain(|(key, _)| key.pid != own);
        let round = self.guards.look(now_ns, &read, cpu);
        for change in &round.changes {
            self.generation = self.generation.wrapping_add(1).max(1);
            let allowance = change.to.allowance(self.generation, self.head_bytes);
            let told = accounts.allow(change.key, allowance);
            say(change);
            if let Err(error) = told {
                tracing::warn!(pid = change.key.pid, %error, "the programs could not be told");
            }
        }
        for key in round.ended {
            if let Err(error) = accounts.close(key) {
                tracing::debug!(pid = key.pid, %error, "the account of a process that has ended stays");
            }
        }
        self.name(workload);
    }

    /// Learns the names of the processes that a report would show, and what those belong to of which less than everything is captured.
    fn name(&mut self, mut workload: impl FnMut(ProcessKey) -> Option<String>) {
        // One of which nothing is captured is forgotten elsewhere in time.
        let known = std::mem::take(&mut self.workloads);
        self.workloads = self
            .guards
            .lowered()
            .filter_map(|(key, _, _)| Some((key, workload(key).or_else(|| known.get(&key).cloned())?)))
            .collect();
        let known = std::mem::take(&mut self.commands);
        self.commands = self
            .shown()
            .into_iter()
            .map(|(key, _, _)| (key, known.get(&key).cloned().unwrap_or_else(|| command(key.pid))))
            .collect();
    }

    fn shown(&self) -> Vec<(ProcessKey, Rung, Load)> {
        let mut shown: Vec<_> = self.guards.processes().collect();
        shown.sort_by(|(key, rung, load), (other_key, other_rung, other_load)| {
            other_rung
                .cmp(rung)
                .then(other_load.added_ns.total_cmp(&load.added_ns))
                .then(key.pid.cmp(&other_key.pid))
        });
        shown.truncate(SHOWN_MAX);
        shown
    }

    /// The present state. `epoch_us`: 0 of the clock of [`Self::look`], Unix epoch microseconds.
    #[must_use]
    pub fn report(&self, epoch_us: i64) -> Report {
        let charged = self.guards.charged();
        let hook_ns = self.guards.budget().hook_ns;
        let transfers = charged.timed.saturating_mul(u64::from(CHARGE_EVERY));
        let body_ns = charged.timed_ns.saturating_mul(u64::from(CHARGE_EVERY));
        let lowered = Rung::ALL.into_iter().skip(1).map(|rung| {
            let count = self.guards.processes().filter(|(_, of, _)| *of == rung).count();
            (rung.name().to_owned(), count as u64)
        });
        Report {
            hook_ns: whole(hook_ns),
            added_ns: body_ns.saturating_add(whole(transfers as f64 * hook_ns)),
            transfers,
            lowered: lowered.collect(),
            workloads: lowered::summarise(
                self.guards.lowered().map(|(key, rung, lowering)| {
                    let workload = self.workloads.get(&key).map_or("", String::as_str);
                    (workload, rung, lowering)
                }),
                epoch_us,
            ),
            processes: self
                .shown()
                .iter()
                .map(|(key, rung, load)| ProcessCost {
                    command: self.commands.get(key).cloned().unwrap_or_default(),
                    ..ProcessCost::new(key.pid, key.start_ns, *rung, load)
                })
                .collect(),
        }
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        self.guards.counters()
    }
}

/// One line for each change.
fn say(change: &Change) {
    let Change {
        key,
        from,
        to,
        load,
        ended,
    } = change;
    if *ended {
        tracing::debug!(
            pid = key.pid,
            level = from.name(),
            "a process ended while less of it was captured"
        );
        return;
    }
    macro_rules! say {
        ($severity:ident, $why:literal) => {
            tracing::$severity!(
                pid = key.pid,
                command = command(key.pid),
                level = to.name(),
                added_us_per_s = whole(load.added_ns / 1e3),
                allowed_us_per_s = whole(load.allowed_ns / 1e3),
                concat!($why, ": {}"),
                to.explanation()
            )
        };
    }
    if to > from {
        say!(
            warn,
            "capturing costs this process more than harm.cpu_percent allows"
        );
    } else {
        say!(info, "this process is calm again");
    }
}

/// Name of a process, as `ps` shows it.
fn command(pid: u32) -> String {
    std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm"))
        .map(|name| name.trim_end().to_owned())
        .unwrap_or_default()
}

/// CPU time of all threads of a process, of the clock that the kernel keeps for it (`MAKE_PROCESS_CPUCLOCK` with `CPUCLOCK_SCHED`,
/// include/linux/posix-timers_types.h).
fn cpu(key: ProcessKey) -> Cpu {
    let Ok(pid) = i32::try_from(key.pid) else {
        return Cpu::Ended;
    };
    match clock_gettime(ClockId::from_raw((!pid << 3) | 2)) {
        Ok(time) => Cpu::Taken(time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs()),
        Err(_) => Cpu::Ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_time_of_a_process_grows_while_it_lives() {
        let key = |pid| ProcessKey {
            pid,
            ..ProcessKey::default()
        };
        let own = key(std::process::id());
        let Cpu::Taken(before) = cpu(own) else {
            panic!("this process lives")
        };
        let mut sum = 0_u64;
        while cpu(own) == Cpu::Taken(before) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let ended = key(child.id());
        child.wait().unwrap();
        assert_eq!(cpu(ended), Cpu::Ended);
        assert_eq!(cpu(key(u32::MAX)), Cpu::Ended);
    }

    #[test]
    fn a_command_by_its_pid() {
        assert!(!command(std::process::id()).is_empty());
        assert_eq!(command(u32::MAX), "");
    }
}
