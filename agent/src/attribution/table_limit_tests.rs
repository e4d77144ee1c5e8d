//! Bounds and hostile processes.

use super::tests::{Node, hint};
use super::*;

#[test]
fn every_table_is_bounded_and_says_so() {
    let limits = Limits {
        processes: 8,
        execs: 8,
        exits: 4,
        containers: 2,
        workloads: 4,
        ..Limits::default()
    };
    let mut node = Node::new(limits);
    for pid in 1..=20 {
        let container = format!("{pid:012x}{:052}", 0);
        node.run(pid, 500, "/app", "app", &format!("0::/docker/{container}"));
        node.attribution.process(&hint(pid, 500, "app"), 1);
    }
    let counters = *node.attribution.counters();
    assert_eq!(
        (node.attribution.processes.len(), counters.processes_evicted),
        (8, 12)
    );
    assert_eq!(counters.containers_evicted, 18);
    assert_eq!(counters.workloads_evicted, 16);
    assert_eq!(node.attribution.latest.len(), 8);

    for pid in 100..120 {
        let facts = ExecFacts {
            hint: hint(pid, 500, "x"),
            filename: vec![b'x'; 1 << 20],
            args: vec![b'y'; 1 << 20],
        };
        node.attribution.exec(&facts);
        node.attribution.exit(pid, facts.hint.start_ns, 2);
    }
    let counters = *node.attribution.counters();
    assert!(node.attribution.execs.len() <= 8 && node.attribution.exits.len() <= 4);
    assert_eq!(counters.execs_evicted + counters.exits_cut_short, 16);
    assert!(node.attribution.latest.len() <= 16);
    node.attribution.process(&hint(1, 1, "x"), u64::MAX);
    assert_eq!(
        (node.attribution.exits.len(), node.attribution.execs.len()),
        (0, 0)
    );
}

#[test]
fn exits_of_unknown_processes_and_repeated_ones_cost_nothing() {
    let mut node = Node::small();
    node.attribution.exit(10, 1, 1);
    assert!(node.attribution.exits.is_empty());
    node.attribution.process(&hint(10, 500, "a"), 2);
    for now in 3..6 {
        node.attribution.exit(10, hint(10, 500, "a").start_ns, now);
    }
    assert_eq!(node.attribution.exits.len(), 1);
    assert_eq!(
        node.attribution.process(&hint(10, 500, "a"), 7).source,
        Source::KernelOnly
    );
}

#[test]
fn hostile_processes_are_harmless() {
    let mut node = Node::small();
    node.run(
        10,
        500,
        &format!("/tmp/{}\u{1b}[2J\n (deleted)", "d/".repeat(1500)),
        "\n\u{1b}[31m x",
        "\u{0}garbage\n::::\n0::/../../x\n",
    );
    let process = node.attribution.process(&hint(10, 500, "x"), 1);
    for text in [
        &process.executable,
        &process.command,
        &process.workload.name,
        &process.user,
    ] {
        assert!(
            !text.chars().any(char::is_control) && text.len() <= EXECUTABLE_BYTES_MAX,
            "{text:?}"
        );
    }
    assert!(process.executable.starts_with('…') && !process.executable.contains("deleted"));
    let unnamed = node.attribution.process(&hint(11, 500, ""), 1);
    assert_eq!(unnamed.workload.name, "pid-11");
    let mut raw = hint(12, 500, "");
    raw.comm = [0xff; 16];
    assert_eq!(
        node.attribution.process(&raw, 1).workload.name,
        "\u{fffd}".repeat(16)
    );
}
