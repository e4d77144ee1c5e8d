//! Where processes run, and which process has a pid now.

use std::fs;

use super::super::{ExecFacts, Runtime, WorkloadKind};
use super::tests::{GRACE_NS, ID, Node, hint};
use super::*;

#[test]
fn a_container_is_learnt_for_its_whole_cgroup() {
    let mut node = Node::small();
    let path = format!("/system.slice/docker-{ID}.scope");
    let id = node.cgroup(&path);
    let config = node.path("state/var/lib/docker/containers").join(ID);
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("config.v2.json"), r#"{"Name":"/shop"}"#).unwrap();
    node.run(10, 500, "/app", "app", &format!("0::{path}"));
    let alive = node.attribution.process(
        &ProcessHint {
            cgroup_id: id,
            ..hint(10, 500, "app")
        },
        1,
    );
    let container = alive.container.as_deref().unwrap();
    assert_eq!(
        (
            container.id.as_str(),
            container.runtime,
            container.name.as_deref()
        ),
        (ID, Runtime::Docker, Some("shop"))
    );
    assert_eq!(
        (alive.workload.kind, alive.workload.name.as_str()),
        (WorkloadKind::Container, "shop")
    );
    assert_eq!(alive.user, "33", "the node's names are not the container's");
    // The cgroup is gone from the file system as well; what was learnt stays.
    fs::remove_dir(node.path("cgroup").join(path.trim_start_matches('/'))).unwrap();
    let gone = node.attribution.process(
        &ProcessHint {
            cgroup_id: id,
            ..hint(11, 600, "curl")
        },
        2,
    );
    assert_eq!(
        (gone.source, gone.workload.name.as_str()),
        (Source::KernelOnly, "shop")
    );
    assert_eq!(node.attribution.counters().cgroup_walks, 0);
}

#[test]
fn with_v1_the_root_cgroup_says_nothing() {
    let mut node = Node::small();
    let text = format!("4:memory:/docker/{ID}\n0::/");
    node.run(10, 500, "/app", "app", &text);
    let contained = node.attribution.process(
        &ProcessHint {
            cgroup_id: 1,
            ..hint(10, 500, "app")
        },
        1,
    );
    assert!(contained.container.is_some());
    let other = node.attribution.process(
        &ProcessHint {
            cgroup_id: 1,
            ..hint(11, 600, "curl")
        },
        2,
    );
    assert!(other.container.is_none());
    let child = ProcessHint {
        cgroup_id: 1,
        ppid: 10,
        ..hint(12, 600, "curl")
    };
    assert!(
        node.attribution.process(&child, 3).container.is_some(),
        "its parent's, in the same one"
    );
}

#[test]
fn a_container_whose_name_comes_late_gets_it() {
    let mut node = Node::small();
    node.run(10, 500, "/app", "app", &format!("0::/docker/{ID}"));
    assert_eq!(
        node.attribution.process(&hint(10, 500, "app"), 1).workload.name,
        &ID[..12]
    );
    let config = node.path("state/var/lib/docker/containers").join(ID);
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("config.v2.json"), r#"{"Name":"/shop"}"#).unwrap();
    assert_eq!(
        node.attribution
            .process(&hint(10, 500, "app"), 1 + RENAME_NS)
            .workload
            .name,
        "shop"
    );
    assert_eq!(node.attribution.counters().containers_unnamed, 1);
}

#[test]
fn the_path_of_the_control_group_is_told_from_every_source() {
    let mut node = Node::small();
    let unit = "/system.slice/a.service";
    let id = node.cgroup(unit);
    let in_unit = |pid, comm| ProcessHint {
        cgroup_id: id,
        ..hint(pid, 500, comm)
    };
    node.run(10, 500, "/app", "app", &format!("0::{unit}"));
    assert_eq!(node.attribution.process(&in_unit(10, "app"), 1).cgroup, unit);
    // Gone before it could be read: what is known of the group says it.
    let gone = node.attribution.process(&in_unit(11, "gone"), 1);
    assert_eq!((gone.source, gone.cgroup.as_str()), (Source::KernelOnly, unit));
    // With v1 the path is that of a controller.
    node.run(12, 500, "/app", "app", "4:memory:/old/style\n0::/");
    assert_eq!(
        node.attribution.process(&hint(12, 500, "app"), 1).cgroup,
        "/old/style"
    );
    let long = format!("0::/{}", "a/".repeat(1500));
    node.run(13, 500, "/app", "app", &long);
    assert_eq!(
        node.attribution.process(&hint(13, 500, "app"), 1).cgroup.len(),
        1024
    );
}

#[test]
fn the_process_that_has_a_pid_now() {
    let mut node = Node::small();
    // By its start in ticks: `/proc` knows it no better.
    let started = |node: &Node| {
        let hint = node.attribution.hint_of(10)?;
        Some(node.attribution.key(&hint).1)
    };
    assert_eq!(started(&node), None);
    node.run(10, 500, "/app", "app", "0::/");
    let first = hint(10, 500, "app");
    assert_eq!(started(&node), Some(500));
    assert!(node.attribution.runs(first.key()));
    // Told of by a record, and gone from /proc: it may have been short-lived.
    node.attribution.process(&first, 1);
    node.end(10);
    assert_eq!(started(&node), Some(500));
    assert!(!node.attribution.runs(first.key()));
    // Ended, and another has the pid.
    node.attribution.exit(10, first.start_ns, 2);
    node.run(10, 900, "/other", "other", "0::/");
    assert_eq!(started(&node), Some(900));
    assert!(!node.attribution.runs(first.key()) && node.attribution.runs(hint(10, 900, "").key()));
    node.end(10);
    assert_eq!(started(&node), Some(500), "better than nothing");
    node.attribution.exit(99, 0, 3 + GRACE_NS);
    assert_eq!(started(&node), None);
}

#[test]
fn what_a_process_belongs_to_as_long_as_it_is_known_or_runs() {
    let mut node = Node::small();
    node.run(10, 500, "/app", "app", "0::/");
    let key = hint(10, 500, "app").key();
    let of = |node: &mut Node, key, now_ns| {
        let workload = node.attribution.workload_of(key, now_ns);
        workload.map(|workload| workload.name.clone())
    };
    // Never heard of, but it runs.
    assert_eq!(of(&mut node, key, 1).as_deref(), Some("app"));
    let heir = hint(10, 900, "").key();
    assert_eq!(of(&mut node, heir, 1), None);
    node.end(10);
    assert_eq!(of(&mut node, key, 1).as_deref(), Some("app"));
    node.attribution.exit(10, key.start_ns, 2);
    node.attribution.exit(99, 0, 3 + GRACE_NS);
    let process = node.attribution.process(&hint(11, 7, "x"), 3 + GRACE_NS);
    assert_ne!(process.key, key);
    assert_eq!(of(&mut node, key, 3 + GRACE_NS), None);
}

#[test]
fn an_exec_says_whether_there_was_a_description() {
    let mut node = Node::small();
    let facts = ExecFacts {
        hint: hint(10, 500, "app"),
        ..ExecFacts::default()
    };
    assert!(!node.attribution.exec(&facts));
    node.attribution.process(&facts.hint, 1);
    assert!(node.attribution.exec(&facts));
    assert!(!node.attribution.exec(&facts));
}
