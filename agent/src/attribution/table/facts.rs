//! Where a description comes from: `/proc`, the exec event, what was known before, the parent, the kernel's record.

use std::sync::Arc;

use super::{Attribution, EXECUTABLE_BYTES_MAX, Key, RENAME_NS};
use crate::attribution::cgroup::CgroupFacts;
use crate::attribution::command::{Command, describe};
use crate::attribution::engine;
use crate::attribution::text::{base_name, clean, clean_path};
use crate::attribution::types::{Container, ExecFacts, Process, ProcessHint, Source};

/// Longest path of a control group that is kept.
const CGROUP_BYTES_MAX: usize = 1024;

/// A description before it has a workload.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) executable: String,
    pub(super) command: Command,
    pub(super) place: Place,
    pub(super) source: Source,
}

/// Where a process runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) container: Option<Arc<Container>>,
    pub(super) unit: Option<String>,
    /// Path of the control group; empty when it is not known.
    pub(super) cgroup: String,
}

impl Place {
    fn of(process: &Process) -> Self {
        Self {
            container: process.container.clone(),
            unit: process.unit.clone(),
            cgroup: process.cgroup.clone(),
        }
    }
}

impl Attribution {
    pub(super) fn facts_from_proc(&mut self, hint: &ProcessHint, now_ns: u64) -> Option<Facts> {
        let dir = self.proc_fs.open(hint.pid)?;
        let stat = dir.stat()?;
        if !self.proc_fs.same_start(&stat, hint.start_ns) {
            self.counters.pid_reused += 1;
            return None;
        }
        // A zombie, like a kernel thread, has no executable; its exec event says more.
        let executable = clean_path(&dir.executable()?, EXECUTABLE_BYTES_MAX);
        let args = dir.args()?;
        if args.is_empty() {
            // Nothing, or the process has given up its memory since its executable was read: then that is gone as well.
            dir.executable()?;
        }
        let mut cgroup = dir.cgroup()?;
        self.cgroups.learn(hint.cgroup_id, &cgroup, &mut self.counters);
        let hidden = cgroup
            .unified_path
            .as_deref()
            .is_some_and(|path| path.starts_with("/.."));
        if hidden && let Some(whole) = self.cgroups.facts(hint.cgroup_id, now_ns, &mut self.counters) {
            cgroup = whole;
        }
        let place = self.place(cgroup, hint.uid, now_ns);
        let command = describe(&executable, &args);
        Some(Facts {
            executable,
            command,
            place,
            source: Source::Proc,
        })
    }

    pub(super) fn facts_from_exec(&mut self, key: Key, hint: &ProcessHint, now_ns: u64) -> Option<Facts> {
        let facts = self.execs.get(&key)?;
        let executable = clean_path(exec_path(facts), EXECUTABLE_BYTES_MAX);
        let command = describe(&executable, &facts.args);
        let ppid = facts.hint.ppid;
        let place = self.placed(hint, ppid, now_ns);
        Some(Facts {
            executable,
            command,
            place,
            source: Source::Exec,
        })
    }

    /// Keeps what was read while it lived, of a process that is gone or has changed since.
    pub(super) fn facts_from_before(&mut self, key: Key, hint: &ProcessHint, now_ns: u64) -> Option<Facts> {
        let entry = self.processes.peek(&key)?;
        let (before, program) = (Arc::clone(&entry.process), entry.program.clone());
        Some(self.inherited(&before, program, hint, before.source, now_ns))
    }

    /// A fork without exec runs its parent's program. It is the parent if it is the process under that pid, began earlier,
    /// and has the same name: an orphan's record names the process that adopted it.
    pub(super) fn facts_from_parent(&mut self, hint: &ProcessHint, now_ns: u64) -> Option<Facts> {
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
    pub(super) fn hint_of_known(&self, pid: u32) -> Option<ProcessHint> {
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
        let place = if from.cgroup_id == hint.cgroup_id {
            Place::of(from)
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
            place,
            source,
        }
    }

    pub(super) fn facts_from_kernel(&mut self, hint: &ProcessHint, now_ns: u64) -> Facts {
        let comm = clean(comm_of(&hint.comm), hint.comm.len() * 3);
        let comm = if comm.is_empty() {
            format!("pid-{}", hint.pid)
        } else {
            comm
        };
        let place = self.placed(hint, hint.ppid, now_ns);
        let command = Command {
            shown: comm.clone(),
            program: comm.clone(),
        };
        Facts {
            executable: comm,
            command,
            place,
            source: Source::KernelOnly,
        }
    }

    /// Container and unit of a process that is gone: from its cgroup, else, where the cgroup says nothing (v1), from its
    /// parent in the same one.
    fn placed(&mut self, hint: &ProcessHint, ppid: u32, now_ns: u64) -> Place {
        if let Some(cgroup) = self.cgroups.facts(hint.cgroup_id, now_ns, &mut self.counters) {
            return self.place(cgroup, hint.uid, now_ns);
        }
        let known = self.latest.get(&ppid).and_then(|key| self.processes.peek(key));
        if let Some(parent) = known
            .map(|entry| &entry.process)
            .filter(|p| p.cgroup_id == hint.cgroup_id)
        {
            return Place::of(parent);
        }
        let parent = (ppid != 0).then(|| self.proc_fs.open(ppid)).flatten();
        let cgroup = parent.and_then(|dir| {
            let earlier = dir.stat()?.start_ticks <= self.proc_fs.ticks(hint.start_ns);
            dir.cgroup().filter(|_| earlier)
        });
        match cgroup {
            Some(cgroup) if hint.cgroup_id <= 1 || self.cgroups.id_of(&cgroup) == hint.cgroup_id => {
                self.place(cgroup, hint.uid, now_ns)
            }
            _ => Place::default(),
        }
    }

    fn place(&mut self, facts: CgroupFacts, uid: u32, now_ns: u64) -> Place {
        Place {
            container: facts
                .container
                .map(|container| self.named(container, uid, now_ns)),
            unit: facts.unit,
            cgroup: clean(facts.path.as_bytes(), CGROUP_BYTES_MAX),
        }
    }

    /// A container with its names.
    fn named(&mut self, container: Container, uid: u32, now_ns: u64) -> Arc<Container> {
        if let Some((known, checked_ns)) = self.containers.get(&container.id)
            && (known.name.is_some() || now_ns.saturating_sub(*checked_ns) < RENAME_NS)
        {
            return Arc::clone(known);
        }
        let home = self.users.home(uid, now_ns);
        let container = Arc::new(engine::complete(container, &self.state_root, home.as_deref()));
        self.counters.containers_unnamed += u64::from(container.name.is_none());
        let evicted = self
            .containers
            .insert(container.id.clone(), (Arc::clone(&container), now_ns));
        self.counters.containers_evicted += evicted.len() as u64;
        container
    }
}

pub(super) fn of_process(process: &Process) -> ProcessHint {
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
pub(super) fn exec_path(facts: &ExecFacts) -> &[u8] {
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
