//! The table of processes: answers for each kernel record, from the best source there is.

mod facts;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use self::facts::{Facts, Place};
use super::cgroups::Cgroups;
use super::command::Command;
use super::counters::Counters;
use super::lru::Lru;
use super::options::{Limits, Options};
use super::procfs::{ARGS_BYTES_MAX, ProcFs};
use super::types::{Container, ExecFacts, Process, ProcessHint, ProcessKey, Source, Workload};
use super::users::Users;
use super::workloads::{Member, Workloads};

/// Longest path of an executable that is kept.
const EXECUTABLE_BYTES_MAX: usize = 1024;
/// A process is looked at again after this, ns: its exec event may have been lost.
const RECHECK_NS: u64 = 60_000_000_000;
/// A process whose records change is looked at again at most this often, ns: the threads of one may differ for good.
const RECHECK_CHANGED_NS: u64 = 1_000_000_000;
/// A container without a name is looked up again after this, ns: its engine may have been slower than it.
const RENAME_NS: u64 = 60_000_000_000;

/// Describes the processes of kernel records. Not shared between threads; every call but the first for a process is one
/// look-up in a table.
///
/// All times are nanoseconds of one clock that never goes back; the kernel records' own (boot time) is the natural one.
#[derive(Debug)]
pub struct Attribution {
    proc_fs: ProcFs,
    state_root: PathBuf,
    limits: Limits,
    processes: Lru<Key, Entry>,
    execs: Lru<Key, ExecFacts>,
    exits: VecDeque<(u64, Key)>,
    /// Newest process under each pid that has an entry or an exec event.
    latest: HashMap<u32, Key>,
    cgroups: Cgroups,
    containers: Lru<String, (Arc<Container>, u64)>,
    users: Users,
    workloads: Workloads,
    counters: Counters,
}

/// Pid and start time in ticks, the resolution of `/proc`: records and `/proc` agree on it.
type Key = (u32, u64);

#[derive(Debug)]
struct Entry {
    process: Arc<Process>,
    comm: [u8; 16],
    /// What the workload is named after where it has neither container nor unit.
    program: String,
    checked_ns: u64,
    exited: bool,
}

impl Attribution {
    /// Reads nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let limits = options.limits;
        Self {
            proc_fs: ProcFs::new(&options.proc_root),
            state_root: options.state_root,
            processes: Lru::new(limits.processes),
            execs: Lru::new(limits.execs),
            exits: VecDeque::new(),
            latest: HashMap::new(),
            cgroups: Cgroups::new(&options.cgroup_root, limits.cgroups),
            containers: Lru::new(limits.containers),
            users: Users::new(&options.passwd),
            workloads: Workloads::new(limits.workloads),
            counters: Counters::default(),
            limits,
        }
    }

    /// A process runs another program from now on. True when it had been described: somebody may hold the old description.
    pub fn exec(&mut self, facts: &ExecFacts) -> bool {
        let key = self.key(&facts.hint);
        let described = self.processes.remove(&key).is_some();
        let mut facts = facts.clone();
        facts.filename.truncate(EXECUTABLE_BYTES_MAX);
        facts.args.truncate(ARGS_BYTES_MAX);
        let evicted = self.execs.insert(key, facts);
        self.counters.execs_evicted += evicted.len() as u64;
        for (key, _) in evicted {
            self.forget_pid(key);
        }
        self.latest.insert(key.0, key);
        described
    }

    /// A process has ended. It is known for the grace period more, for records that come late.
    pub fn exit(&mut self, pid: u32, start_ns: u64, now_ns: u64) {
        self.expire(now_ns);
        let key = (pid, self.proc_fs.ticks(start_ns));
        let entry = self.processes.get(&key);
        if entry.is_none() && self.execs.peek(&key).is_none() {
            return;
        }
        if let Some(entry) = entry {
            if entry.exited {
                return;
            }
            entry.exited = true;
            self.workloads.ended(&entry.process.workload, entry.process.key);
        }
        if self.exits.len() >= self.limits.exits.max(1)
            && let Some((_, oldest)) = self.exits.pop_front()
        {
            self.counters.exits_cut_short += 1;
            self.forget(oldest);
        }
        self.exits
            .push_back((now_ns.saturating_add(self.limits.exit_grace_ns), key));
    }

    /// Who the process of a kernel record is. Always answers; [`Process::source`] says how well.
    pub fn process(&mut self, hint: &ProcessHint, now_ns: u64) -> Arc<Process> {
        self.expire(now_ns);
        let key = self.key(hint);
        if let Some(entry) = self.processes.get(&key) {
            let interval_ns = if unchanged(&entry.process, hint) {
                RECHECK_NS
            } else {
                RECHECK_CHANGED_NS
            };
            if entry.exited || now_ns.saturating_sub(entry.checked_ns) < interval_ns {
                entry
                    .process
                    .workload
                    .seen_ns
                    .fetch_max(now_ns, Ordering::Relaxed);
                return Arc::clone(&entry.process);
            }
        }
        self.describe(key, hint, now_ns)
    }

    /// What a kernel record would say of a running process: for sockets that are older than the agent. `None` when there is
    /// no such process.
    #[must_use]
    pub fn hint(&self, pid: u32) -> Option<ProcessHint> {
        self.proc_fs.hint(pid, |facts| self.cgroups.id_of(facts))
    }

    /// What is known of the process that has this pid now: from its records, where they told of one that has not ended; else from
    /// `/proc`; else, when it is gone, from its records again. `None`: nothing was ever heard of it.
    #[must_use]
    pub fn hint_of(&self, pid: u32) -> Option<ProcessHint> {
        let ended = |key: &Key| self.processes.peek(key).is_some_and(|entry| entry.exited);
        let known = || self.hint_of_known(pid);
        match self.latest.get(&pid) {
            Some(key) if !ended(key) => known(),
            _ => self.hint(pid).or_else(known),
        }
    }

    /// Whether this very process runs.
    #[must_use]
    pub fn runs(&self, key: ProcessKey) -> bool {
        self.running(key).is_some()
    }

    /// What a process belongs to that is known or runs.
    pub fn workload_of(&mut self, key: ProcessKey, now_ns: u64) -> Option<Arc<Workload>> {
        let known = self.processes.peek(&(key.pid, self.proc_fs.ticks(key.start_ns)));
        if let Some(entry) = known {
            return Some(Arc::clone(&entry.process.workload));
        }
        let hint = self.running(key)?;
        Some(Arc::clone(&self.process(&hint, now_ns).workload))
    }

    fn running(&self, key: ProcessKey) -> Option<ProcessHint> {
        self.hint(key.pid)
            .filter(|hint| self.key(hint).1.abs_diff(self.proc_fs.ticks(key.start_ns)) <= 1)
    }

    /// Workloads that are new, changed, or seen again a minute after they were last taken; see [`Workload::to_wire`].
    pub fn take_changed_workloads(&mut self) -> Vec<Arc<Workload>> {
        self.workloads.take_changed()
    }

    /// What was resolved, dropped and evicted so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    const fn key(&self, hint: &ProcessHint) -> Key {
        (hint.pid, self.proc_fs.ticks(hint.start_ns))
    }

    fn describe(&mut self, key: Key, hint: &ProcessHint, now_ns: u64) -> Arc<Process> {
        let exited = self.processes.peek(&key).is_some_and(|entry| entry.exited);
        let facts = self
            .facts_from_proc(hint, now_ns)
            .or_else(|| self.facts_from_exec(key, hint, now_ns))
            .or_else(|| self.facts_from_before(key, hint, now_ns))
            .or_else(|| self.facts_from_parent(hint, now_ns))
            .unwrap_or_else(|| self.facts_from_kernel(hint, now_ns));
        match facts.source {
            Source::Proc => {
                // From here on what was read is the better memory.
                self.execs.remove(&key);
                self.counters.resolved_proc += 1;
            }
            Source::Exec => self.counters.resolved_exec += 1,
            Source::Parent => self.counters.resolved_parent += 1,
            Source::KernelOnly => self.counters.resolved_kernel_only += 1,
        }
        let Facts {
            executable,
            command: Command {
                shown: command,
                program,
            },
            place:
                Place {
                    container,
                    unit,
                    cgroup,
                },
            source,
        } = facts;
        // Another system's user names: only the superuser is called the same everywhere.
        let user = match (&container, hint.uid) {
            (Some(_), uid) if uid != 0 => uid.to_string(),
            (_, uid) => self.users.name(uid, now_ns),
        };
        let member = Member {
            key: hint.key(),
            executable: &executable,
            command: &command,
            program: &program,
            user: &user,
            container: container.as_ref(),
            unit: unit.as_deref(),
            cgroup_id: hint.cgroup_id,
            netns: hint.netns,
        };
        let workload = self.workloads.of(&member, now_ns, &mut self.counters);
        let process = Arc::new(Process {
            key: hint.key(),
            executable,
            command,
            user,
            uid: hint.uid,
            container,
            unit,
            cgroup,
            cgroup_id: hint.cgroup_id,
            netns: hint.netns,
            workload,
            source,
        });
        let entry = Entry {
            process: Arc::clone(&process),
            comm: hint.comm,
            program,
            checked_ns: now_ns,
            exited,
        };
        for (evicted, entry) in self.processes.insert(key, entry) {
            self.counters.processes_evicted += u64::from(!entry.exited);
            self.forget_pid(evicted);
        }
        // A late record of an earlier process under the pid does not make it the newest.
        let latest = self.latest.entry(key.0).or_insert(key);
        *latest = (*latest).max(key);
        process
    }

    fn expire(&mut self, now_ns: u64) {
        while let Some((_, key)) = self.exits.pop_front_if(|(until_ns, _)| *until_ns <= now_ns) {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: Key) {
        self.processes.remove(&key);
        self.execs.remove(&key);
        self.forget_pid(key);
    }

    fn forget_pid(&mut self, key: Key) {
        let in_use = self.processes.peek(&key).is_some() || self.execs.peek(&key).is_some();
        if !in_use && self.latest.get(&key.0) == Some(&key) {
            self.latest.remove(&key.0);
        }
    }
}

/// Also true when the record does not know the cgroup. The network namespace is the thread's and may differ from record to
/// record in one that serves several.
fn unchanged(process: &Process, hint: &ProcessHint) -> bool {
    process.uid == hint.uid && (hint.cgroup_id == 0 || process.cgroup_id == hint.cgroup_id)
}

#[cfg(test)]
use self::facts::exec_path;
#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "table_place_tests.rs"]
mod place_tests;

#[cfg(test)]
#[path = "table_limit_tests.rs"]
mod limit_tests;
