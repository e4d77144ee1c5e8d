//! The table of processes: answers for each kernel record, from the best source there is.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::cgroup::CgroupFacts;
use super::cgroups::Cgroups;
use super::command::{Command, describe};
use super::counters::Counters;
use super::engine;
use super::lru::Lru;
use super::options::{Limits, Options};
use super::procfs::{ARGS_BYTES_MAX, ProcFs};
use super::text::{base_name, clean, clean_path};
use super::types::{Container, ExecFacts, Process, ProcessHint, Source, Workload};
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

/// A description before it has a workload.
#[derive(Debug)]
struct Facts {
    executable: String,
    command: Command,
    container: Option<Arc<Container>>,
    unit: Option<String>,
    source: Source,
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

    /// A process runs another program from now on.
    pub fn exec(&mut self, facts: &ExecFacts) {
        let key = self.key(&facts.hint);
        self.processes.remove(&key);
        let mut facts = facts.clone();
        facts.filename.truncate(EXECUTABLE_BYTES_MAX);
        facts.args.truncate(ARGS_BYTES_MAX);
        let evicted = self.execs.insert(key, facts);
        self.counters.execs_evicted += evicted.len() as u64;
        for (key, _) in evicted {
            self.forget_pid(key);
        }
        self.latest.insert(key.0, key);
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
            container,
            unit,
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

    fn facts_from_proc(&mut self, hint: &ProcessHint, now_ns: u64) -> Option<Facts> {
        let dir = self.proc_fs.open(hint.pid)?;
        let stat = dir.stat()?;
        if !self.proc_fs.same_start(&stat, hint.start_ns) {
            self.counters.pid_reused += 1;
            return None;
        }
        // A zombie, like a kernel thread, has no executable; its exec event says more.
        let executable = clean_path(&dir.executable()?, EXECUTABLE_BYTES_MAX);
        let args = dir.args()?;
        let mut cgroup = dir.cgroup()?;
        self.cgroups.learn(hint.cgroup_id, &cgroup, &mut self.counters);
        let hidden = cgroup
            .unified_path
            .as_deref()
            .is_some_and(|path| path.starts_with("/.."));
        if hidden && let Some(whole) = self.cgroups.facts(hint.cgroup_id, now_ns, &mut self.counters) {
            cgroup = whole;
        }
        let (container, unit) = self.container_and_unit(cgroup, hint.uid, now_ns);
        let command = describe(&executable, &args);
        Some(Facts {
            executable,
            command,
            container,
            unit,
            source: Source::Proc,
        })
    }

    fn facts_from_exec(&mut self, key: Key, hint: &ProcessHint, now_ns: u64) -> Option<Facts> {
        let facts = self.execs.get(&key)?;
        let executable = clean_path(exec_path(facts), EXECUTABLE_BYTES_MAX);
        let command = describe(&executable, &facts.args);
        let ppid = facts.hint.ppid;
        let (container, unit) = self.placed(hint, ppid, now_ns);
        Some(Facts {
            executable,
            command,
            container,
            unit,
            source: Source::Exec,
        })
    }

    /// Keeps what was read while it lived, of a process that is gone or has changed since.
    fn facts_from_before(&mut self, key: Key, hint: &ProcessHint, now_ns: u64) -> Option<Facts> {
        let entry = self.processes.peek(&key)?;
        let (before, program) = (Arc::clone(&entry.process), entry.program.clone());
        Some(self.inherited(&before, program, hint, before.source, now_ns))
    }

    /// A fork without exec runs its parent's program. It is the parent if it is the process under that pid, began earlier,
    /// and has the same name: an orphan's record names the process that adopted it.
    fn facts_from_parent(&mut self, hint: &ProcessHint, now_ns: u64) -> Option<Facts> {
        if hint.ppid == 0 || hint.ppid == hint.pid {
            return None;
        }
        let parent = self.hint_of_known(hint.ppid).or_else(|| self.hint(hint.ppid))?;
        let key = self.key(&parent);
        if key.1 > self.proc_fs.ticks(hint.start_ns) {
            return None;
        }
        if self.processes.peek(&key).is_none() {
            // Without its own parent, so that this ends here.
            self.describe(key, &ProcessHint { ppid: 0, ..parent }, now_ns);
        }
        let entry = self.processes.get(&key)?;
        let (parent, program) = (Arc::clone(&entry.process), entry.program.clone());
        let named_alike = entry.comm == hint.comm
            || base_name(&parent.executable)
                .as_bytes()
                .starts_with(comm_of(&hint.comm));
        let usable = named_alike && parent.source != Source::KernelOnly;
        usable.then(|| self.inherited(&parent, program, hint, Source::Parent, now_ns))
    }

    /// Hint of the newest process under a pid that records told of.
    fn hint_of_known(&self, pid: u32) -> Option<ProcessHint> {
        let key = self.latest.get(&pid)?;
        match self.processes.peek(key) {
            Some(entry) => Some(of_process(&entry.process)),
            None => self.execs.peek(key).map(|facts| facts.hint),
        }
    }

    fn inherited(
        &mut self,
        from: &Process,
        program: String,
        hint: &ProcessHint,
        source: Source,
        now_ns: u64,
    ) -> Facts {
        let (container, unit) = if from.cgroup_id == hint.cgroup_id {
            (from.container.clone(), from.unit.clone())
        } else {
            self.placed(hint, 0, now_ns)
        };
        let command = Command {
            shown: from.command.clone(),
            program,
        };
        Facts {
            executable: from.executable.clone(),
            command,
            container,
            unit,
            source,
        }
    }

    fn facts_from_kernel(&mut self, hint: &ProcessHint, now_ns: u64) -> Facts {
        let comm = clean(comm_of(&hint.comm), hint.comm.len() * 3);
        let comm = if comm.is_empty() {
            format!("pid-{}", hint.pid)
        } else {
            comm
        };
        let (container, unit) = self.placed(hint, hint.ppid, now_ns);
        let command = Command {
            shown: comm.clone(),
            program: comm.clone(),
        };
        Facts {
            executable: comm,
            command,
            container,
            unit,
            source: Source::KernelOnly,
        }
    }

    /// Container and unit of a process that is gone: from its cgroup, else, where the cgroup says nothing (v1), from its
    /// parent in the same one.
    fn placed(
        &mut self,
        hint: &ProcessHint,
        ppid: u32,
        now_ns: u64,
    ) -> (Option<Arc<Container>>, Option<String>) {
        if let Some(cgroup) = self.cgroups.facts(hint.cgroup_id, now_ns, &mut self.counters) {
            return self.container_and_unit(cgroup, hint.uid, now_ns);
        }
        let known = self.latest.get(&ppid).and_then(|key| self.processes.peek(key));
        if let Some(parent) = known
            .map(|entry| &entry.process)
            .filter(|p| p.cgroup_id == hint.cgroup_id)
        {
            return (parent.container.clone(), parent.unit.clone());
        }
        let parent = (ppid != 0).then(|| self.proc_fs.open(ppid)).flatten();
        let cgroup = parent.and_then(|dir| {
            let earlier = dir.stat()?.start_ticks <= self.proc_fs.ticks(hint.start_ns);
            dir.cgroup().filter(|_| earlier)
        });
        match cgroup {
            Some(cgroup) if hint.cgroup_id <= 1 || self.cgroups.id_of(&cgroup) == hint.cgroup_id => {
                self.container_and_unit(cgroup, hint.uid, now_ns)
            }
            _ => (None, None),
        }
    }

    fn container_and_unit(
        &mut self,
        cgroup: CgroupFacts,
        uid: u32,
        now_ns: u64,
    ) -> (Option<Arc<Container>>, Option<String>) {
        let Some(container) = cgroup.container else {
            return (None, cgroup.unit);
        };
        if let Some((known, checked_ns)) = self.containers.get(&container.id)
            && (known.name.is_some() || now_ns.saturating_sub(*checked_ns) < RENAME_NS)
        {
            return (Some(Arc::clone(known)), cgroup.unit);
        }
        let home = self.users.home(uid, now_ns);
        let container = Arc::new(engine::complete(container, &self.state_root, home.as_deref()));
        self.counters.containers_unnamed += u64::from(container.name.is_none());
        let evicted = self
            .containers
            .insert(container.id.clone(), (Arc::clone(&container), now_ns));
        self.counters.containers_evicted += evicted.len() as u64;
        (Some(container), cgroup.unit)
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

fn of_process(process: &Process) -> ProcessHint {
    ProcessHint {
        pid: process.key.pid,
        start_ns: process.key.start_ns,
        uid: process.uid,
        cgroup_id: process.cgroup_id,
        netns: process.netns,
        ..ProcessHint::default()
    }
}

fn comm_of(comm: &[u8; 16]) -> &[u8] {
    comm.split(|b| *b == 0).next().unwrap_or_default()
}

/// The program that an exec runs: for a script the interpreter, which the kernel puts in front of the script's path.
fn exec_path(facts: &ExecFacts) -> &[u8] {
    let mut args = facts.args.split(|b| *b == 0);
    match args.next() {
        Some(first) if first.starts_with(b"/") && first != facts.filename => {
            if args.take(2).any(|arg| arg == facts.filename) {
                first
            } else {
                &facts.filename
            }
        }
        _ => &facts.filename,
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "table_limit_tests.rs"]
mod limit_tests;
