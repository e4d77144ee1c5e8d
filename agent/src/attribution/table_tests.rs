use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command as ChildCommand, Stdio};

use super::super::WorkloadKind;
use super::super::procfs::inode_of;
use super::*;

pub(super) const ID: &str = "4f3c8a1be2d94a0c9d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c";
pub(super) const GRACE_NS: u64 = 1000;

/// A node in a temporary directory: `/proc`, cgroup v2 file system, passwd, engines' state.
pub(super) struct Node {
    root: tempfile::TempDir,
    pub(super) attribution: Attribution,
}

impl Node {
    pub(super) fn new(limits: Limits) -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for dir in ["proc", "cgroup", "state"] {
            fs::create_dir(at(dir)).unwrap();
        }
        fs::write(at("cgroup/cgroup.controllers"), "").unwrap();
        fs::write(at("passwd"), "root:x:0:0::/root:\nweb:x:33:33::/srv:\n").unwrap();
        let attribution = Attribution::new(Options {
            proc_root: at("proc"),
            cgroup_root: at("cgroup"),
            state_root: at("state"),
            passwd: at("passwd"),
            limits,
        });
        Self { root, attribution }
    }

    pub(super) fn small() -> Self {
        Self::new(Limits {
            exit_grace_ns: GRACE_NS,
            ..Limits::default()
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A process as `/proc` shows it. `start` is in ticks.
    pub(super) fn run(&self, pid: u32, start: u64, exe: &str, args: &str, cgroup: &str) {
        let dir = self.path("proc").join(pid.to_string());
        self.end(pid);
        fs::create_dir_all(dir.join("ns")).unwrap();
        let stat = format!("{pid} (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {start} 0 0\n");
        fs::write(dir.join("stat"), stat).unwrap();
        fs::write(dir.join("status"), "Name:\tx\nUid:\t33\t33\t33\t33\n").unwrap();
        fs::write(dir.join("cmdline"), args.replace(' ', "\0")).unwrap();
        fs::write(dir.join("cgroup"), cgroup).unwrap();
        symlink(exe, dir.join("exe")).unwrap();
        symlink("net:[77]", dir.join("ns/net")).unwrap();
    }

    pub(super) fn end(&self, pid: u32) {
        let dir = self.path("proc").join(pid.to_string());
        if dir.exists() {
            fs::remove_dir_all(dir).unwrap();
        }
    }

    /// Makes the directory of a cgroup and tells its id.
    pub(super) fn cgroup(&self, path: &str) -> u64 {
        let dir = self.path("cgroup").join(path.trim_start_matches('/'));
        fs::create_dir_all(&dir).unwrap();
        inode_of(&dir).unwrap()
    }
}

pub(super) fn hint(pid: u32, ticks: u64, comm: &str) -> ProcessHint {
    let mut padded = [0; 16];
    padded[..comm.len()].copy_from_slice(comm.as_bytes());
    ProcessHint {
        pid,
        start_ns: ticks * 10_000_000 + 1_234_567,
        ppid: 0,
        uid: 33,
        cgroup_id: 0,
        netns: 77,
        comm: padded,
    }
}

#[test]
fn a_living_process() {
    let mut node = Node::small();
    node.run(
        10,
        500,
        "/usr/sbin/nginx",
        "nginx -g secret",
        "0::/system.slice/nginx.service",
    );
    let process = node.attribution.process(&hint(10, 500, "nginx"), 1);
    assert_eq!(process.executable, "/usr/sbin/nginx");
    assert_eq!(process.command, "nginx -g …");
    assert_eq!(process.user, "web");
    assert_eq!(process.unit.as_deref(), Some("nginx.service"));
    assert_eq!(
        (process.workload.kind, process.workload.name.as_str()),
        (WorkloadKind::Systemd, "nginx.service")
    );
    assert_eq!(process.source, Source::Proc);
    node.end(10);
    let again = node.attribution.process(&hint(10, 500, "nginx"), 2);
    assert!(Arc::ptr_eq(&process, &again), "known from here on");
}

#[test]
fn start_times_within_a_tick_are_the_same_process_and_others_are_not() {
    for (ticks, source) in [
        (499, Source::Proc),
        (500, Source::Proc),
        (501, Source::Proc),
        (502, Source::KernelOnly),
        (0, Source::KernelOnly),
    ] {
        let mut node = Node::small();
        node.run(10, 500, "/bin/a", "a", "0::/");
        assert_eq!(
            node.attribution.process(&hint(10, ticks, "a"), 1).source,
            source,
            "{ticks}"
        );
        assert_eq!(
            node.attribution.counters().pid_reused,
            u64::from(source != Source::Proc)
        );
    }
}

#[test]
fn a_reused_pid_never_inherits() {
    let mut node = Node::small();
    node.run(10, 500, "/bin/a", "a", "0::/");
    let first = node.attribution.process(&hint(10, 500, "a"), 1);
    node.attribution.exit(10, hint(10, 500, "a").start_ns, 2);
    node.run(10, 900, "/bin/b", "b", "0::/");
    let second = node.attribution.process(&hint(10, 900, "b"), 3);
    let late = node.attribution.process(&hint(10, 500, "a"), 4);
    assert_eq!(
        (second.executable.as_str(), late.executable.as_str()),
        ("/bin/b", "/bin/a")
    );
    assert!(Arc::ptr_eq(&first, &late));
    // After the grace period only the record itself is known: never the new one.
    let forgotten = node.attribution.process(&hint(10, 500, "a"), 2 + GRACE_NS);
    assert_eq!(
        (forgotten.source, forgotten.executable.as_str()),
        (Source::KernelOnly, "a")
    );
}

#[test]
fn a_short_lived_program_is_known_by_its_exec() {
    let mut node = Node::small();
    let id = node.cgroup("/system.slice/cron.service");
    let facts = ExecFacts {
        hint: ProcessHint {
            cgroup_id: id,
            ..hint(20, 600, "curl")
        },
        filename: b"/usr/bin/curl".to_vec(),
        args: b"curl\0-u\0a:b\0".to_vec(),
    };
    node.attribution.exec(&facts);
    node.attribution.exit(20, facts.hint.start_ns, 5);
    let process = node.attribution.process(&facts.hint, 6);
    assert_eq!(
        (process.executable.as_str(), process.command.as_str()),
        ("/usr/bin/curl", "curl -u …")
    );
    assert_eq!(
        process.unit.as_deref(),
        Some("cron.service"),
        "its cgroup was found by its id"
    );
    assert_eq!(process.source, Source::Exec);
    assert_eq!(
        node.attribution.process(&facts.hint, 5 + GRACE_NS).source,
        Source::KernelOnly
    );
}

#[test]
fn scripts_are_run_by_their_interpreter() {
    for (filename, args, expected) in [
        ("./app.py", "/usr/bin/python3\0./app.py\0", "/usr/bin/python3"),
        ("./app.sh", "/bin/sh\0-e\0./app.sh\0", "/bin/sh"),
        ("/bin/a", "/bin/other\0x\0", "/bin/a"),
        ("/bin/a", "a\0/bin/a\0", "/bin/a"),
        ("/bin/a", "", "/bin/a"),
    ] {
        let facts = ExecFacts {
            hint: hint(1, 1, "x"),
            filename: filename.into(),
            args: args.into(),
        };
        assert_eq!(exec_path(&facts), expected.as_bytes(), "{args:?}");
    }
}

#[test]
fn an_exec_replaces_what_was_known() {
    let mut node = Node::small();
    node.run(10, 500, "/bin/sh", "sh /run.sh", "0::/");
    let before = node.attribution.process(&hint(10, 500, "sh"), 1);
    node.run(10, 500, "/usr/bin/node", "node server.js", "0::/");
    node.attribution.exec(&ExecFacts {
        hint: hint(10, 500, "node"),
        filename: b"/usr/bin/node".to_vec(),
        args: vec![],
    });
    let after = node.attribution.process(&hint(10, 500, "node"), 2);
    assert_eq!(
        (before.workload.name.as_str(), after.workload.name.as_str()),
        ("sh:run.sh", "node:server.js")
    );
}

#[test]
fn a_lost_exec_is_noticed_after_a_minute() {
    let mut node = Node::small();
    node.run(10, 500, "/bin/sh", "sh", "0::/");
    node.attribution.process(&hint(10, 500, "sh"), 1);
    node.run(10, 500, "/bin/b", "b", "0::/");
    assert_eq!(
        node.attribution
            .process(&hint(10, 500, "b"), RECHECK_NS)
            .executable,
        "/bin/sh"
    );
    assert_eq!(
        node.attribution
            .process(&hint(10, 500, "b"), 1 + RECHECK_NS)
            .executable,
        "/bin/b"
    );
    node.end(10);
    let gone = node.attribution.process(&hint(10, 500, "b"), 1 + 2 * RECHECK_NS);
    assert_eq!(
        (gone.executable.as_str(), gone.source),
        ("/bin/b", Source::Proc),
        "what was read stays"
    );
}

#[test]
fn a_fork_without_exec_is_its_parent() {
    let mut node = Node::small();
    let (a, b) = (
        node.cgroup("/system.slice/a.service"),
        node.cgroup("/system.slice/b.service"),
    );
    node.run(
        10,
        500,
        "/usr/bin/python3.11",
        "python3 app.py",
        "0::/system.slice/a.service",
    );
    let child = |pid, ticks, comm, cgroup_id| ProcessHint {
        ppid: 10,
        cgroup_id,
        ..hint(pid, ticks, comm)
    };
    let known = node.attribution.process(
        &ProcessHint {
            cgroup_id: a,
            ..hint(10, 500, "python3")
        },
        1,
    );
    let forked = node.attribution.process(&child(11, 600, "python3", a), 2);
    assert_eq!((forked.source, forked.key.pid), (Source::Parent, 11));
    assert_eq!(
        (&forked.executable, &forked.command, &forked.unit),
        (&known.executable, &known.command, &known.unit)
    );
    assert!(Arc::ptr_eq(&forked.workload, &known.workload));
    let moved = node.attribution.process(&child(12, 600, "python3", b), 3);
    assert_eq!(
        (moved.source, moved.unit.as_deref()),
        (Source::Parent, Some("b.service"))
    );
    let named_unlike = node.attribution.process(&child(13, 600, "curl", a), 4);
    assert_eq!(
        (named_unlike.source, named_unlike.executable.as_str()),
        (Source::KernelOnly, "curl")
    );
    let older = node.attribution.process(&child(14, 400, "python3", a), 5);
    assert_eq!(
        older.source,
        Source::KernelOnly,
        "the pid of its parent was reused"
    );
}

#[test]
fn a_parent_nobody_asked_for_yet() {
    let mut node = Node::small();
    node.run(10, 500, "/opt/x", "x", "0::/");
    let living = node.attribution.process(
        &ProcessHint {
            ppid: 10,
            ..hint(11, 600, "x")
        },
        1,
    );
    assert_eq!(
        (living.source, living.executable.as_str()),
        (Source::Parent, "/opt/x")
    );
    let facts = ExecFacts {
        hint: hint(20, 700, "y"),
        filename: b"/opt/y".to_vec(),
        args: vec![],
    };
    node.attribution.exec(&facts);
    let by_exec = node.attribution.process(
        &ProcessHint {
            ppid: 20,
            ..hint(21, 800, "y")
        },
        2,
    );
    assert_eq!(
        (by_exec.source, by_exec.executable.as_str()),
        (Source::Parent, "/opt/y")
    );
    let orphan = node.attribution.process(
        &ProcessHint {
            ppid: 99,
            ..hint(98, 800, "z")
        },
        3,
    );
    assert_eq!(orphan.source, Source::KernelOnly);
    let own_parent = node.attribution.process(
        &ProcessHint {
            ppid: 97,
            ..hint(97, 800, "z")
        },
        3,
    );
    assert_eq!(own_parent.source, Source::KernelOnly);
}

#[test]
fn a_changed_user_or_cgroup_is_looked_at_again() {
    let mut node = Node::small();
    node.run(10, 500, "/app", "app", "0::/");
    let root = ProcessHint {
        uid: 0,
        ..hint(10, 500, "app")
    };
    assert_eq!(node.attribution.process(&root, 1).user, "root");
    let id = node.cgroup("/system.slice/a.service");
    node.run(10, 500, "/app", "app", "0::/system.slice/a.service");
    let record = ProcessHint {
        cgroup_id: id,
        ..hint(10, 500, "app")
    };
    let too_soon = node.attribution.process(&record, RECHECK_CHANGED_NS);
    assert_eq!(
        too_soon.user, "root",
        "threads that differ do not cost a look each time"
    );
    let moved = node.attribution.process(&record, 1 + RECHECK_CHANGED_NS);
    assert_eq!(
        (moved.user.as_str(), moved.unit.as_deref()),
        ("web", Some("a.service"))
    );
}

#[test]
fn workloads_go_to_the_wire() {
    let mut node = Node::small();
    node.run(
        10,
        500,
        "/usr/bin/node",
        "node server.js",
        "0::/user.slice/user-1000.slice/session-3.scope",
    );
    node.attribution.process(&hint(10, 500, "node"), 2_000);
    let changed = node.attribution.take_changed_workloads();
    assert_eq!(changed.len(), 1);
    let message = changed[0].to_wire(1_000_000);
    let expected = wire::v1::Workload {
        name: "node:server.js".into(),
        kind: "process".into(),
        executable: "/usr/bin/node".into(),
        command: "node server.js".into(),
        user: "web".into(),
        systemd_unit: "session-3.scope".into(),
        netns: 77,
        pid: 10,
        first_seen_us: 1_000_002,
        seen_us: 1_000_002,
        ..wire::v1::Workload::default()
    };
    assert_eq!(message, expected);
    assert!(node.attribution.take_changed_workloads().is_empty());
}

#[test]
fn this_process_and_a_child_that_is_gone() {
    let mut attribution = Attribution::new(Options::default());
    let own = attribution.hint(std::process::id()).unwrap();
    let process = attribution.process(&own, 1);
    assert_eq!(Path::new(&process.executable), std::env::current_exe().unwrap());
    assert_eq!(process.source, Source::Proc);
    assert_eq!(process.uid, nix::unistd::getuid().as_raw());

    let mut child = ChildCommand::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let asked_early = attribution.hint(child.id()).unwrap();
    assert_eq!(asked_early.ppid, std::process::id());
    let alive = attribution.process(&asked_early, 2);
    assert_eq!((alive.source, alive.command.as_str()), (Source::Proc, "cat"));
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(attribution.hint(child.id()).is_none());
    let later = attribution.process(&asked_early, 3);
    assert!(Arc::ptr_eq(&alive, &later));
    let never_seen = ProcessHint {
        start_ns: asked_early.start_ns + 50_000_000,
        comm: *b"gone\0\0\0\0\0\0\0\0\0\0\0\0",
        ..asked_early
    };
    let unknown = attribution.process(&never_seen, 4);
    assert_eq!(
        (unknown.source, unknown.executable.as_str()),
        (Source::KernelOnly, "gone")
    );
}
