//! `run`, `tail` and `doctor` as people use them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::process::Command;

use eastwatch_agent::loader::Provider;
use serde_json::Value;
use tests::servers::load_server;
use tests::{Agent, AgentOptions, Node, NodeOptions, can_capture, directory, has_program, http, until};

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(text)))
}

/// Ids of the loaded programs, as the kernel's own tool lists them.
fn loaded_programs() -> Vec<u64> {
    let output = Command::new("bpftool")
        .args(["prog", "show", "--json"])
        .output()
        .unwrap();
    let programs = json(&output.stdout);
    let programs = programs.as_array().unwrap();
    programs
        .iter()
        .map(|program| program["id"].as_u64().unwrap())
        .collect()
}

#[test]
fn the_agent_ends_in_order_and_leaves_nothing() {
    if !can_capture() || !has_program("bpftool") {
        return;
    }
    let before = loaded_programs();
    let mut node = Node::start(&NodeOptions::default());
    let server = load_server(env!("CARGO_BIN_EXE_loadserver"), node.directory());
    let programs: Vec<u64> = loaded_programs()
        .into_iter()
        .filter(|id| !before.contains(id))
        .collect();
    assert!(programs.len() >= 5, "{programs:?}");
    let socket = Agent::socket(node.directory());
    assert!(socket.exists());

    http::get(server.address, "/api/items").unwrap();
    // At once: what is known goes out nevertheless.
    let took = node.stop_agent();
    assert!(took.as_secs() < 5, "{took:?}");
    assert!(!socket.exists());
    // The kernel frees programs a moment after their last user is gone.
    until("the programs are unloaded", || {
        let loaded = loaded_programs();
        programs.iter().all(|id| !loaded.contains(id)).then_some(())
    });
    assert_eq!(node.api().calls(server.address.port()).len(), 1);
    println!("ended after {took:?}, {} programs unloaded", programs.len());
}

#[test]
fn tail_shows_calls_of_the_running_agent() {
    if !can_capture() {
        return;
    }
    let node = Node::start(&NodeOptions::default());
    let server = load_server(env!("CARGO_BIN_EXE_loadserver"), node.directory());
    let mut command = Agent::command(node.directory(), node.collector.grpc, &AgentOptions::default());
    command.args(["tail", "--path", "/api/orders", "--output", "json", "-n", "2"]);
    let mut tail = node.spawn("tail", &command);
    until("both calls are shown", || {
        http::get(server.address, "/api/items?name=value").unwrap();
        http::get(server.address, "/api/orders/17").unwrap();
        tail.try_wait()
    });
    assert_eq!(tail.wait().code(), Some(0), "{}", tail.stderr());
    let shown = tail.stdout();
    assert_eq!(shown.lines().count(), 2, "{shown}");
    for line in shown.lines() {
        let call = json(line.as_bytes());
        assert_eq!(call["target"], "/api/orders/17");
        assert_eq!(call["status"], 200);
        assert_eq!(call["server_workload"], "loadserver");
    }

    let refused = node.agent.run(&["tail", "--status", "often"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--status"));
    assert_eq!(node.agent.run(&["tail", "--no-such"]).status.code(), Some(2));
}

#[test]
fn tail_captures_by_itself_where_no_agent_runs() {
    if !can_capture() {
        return;
    }
    let directory = directory();
    let server = load_server(env!("CARGO_BIN_EXE_loadserver"), directory.path());
    let nobody = "127.0.0.1:1".parse().unwrap();
    let mut command = Agent::command(directory.path(), nobody, &AgentOptions::default());
    command.args(["tail", "--workload", "loadserver", "-n", "1"]);
    let mut tail = tests::Process::start("tail", directory.path(), &command);
    tail.until_line("captures", |line| (line == "listening").then_some(()));
    http::get(server.address, "/api/items").unwrap();
    assert_eq!(tail.wait().code(), Some(0), "{}", tail.stderr());
    let shown = tail.stdout();
    assert!(
        shown.lines().count() == 2
            && shown.contains("→ loadserver")
            && shown.contains("GET")
            && shown.contains("/api/items"),
        "{shown}"
    );
    assert!(tail.stderr().contains("no agent answers"), "{}", tail.stderr());
}

#[test]
fn doctor_tells_what_works_and_what_runs() {
    if !can_capture() {
        return;
    }
    let mut node = Node::start(&NodeOptions::default());
    let server = load_server(env!("CARGO_BIN_EXE_loadserver"), node.directory());
    http::get(server.address, "/api/items").unwrap();
    node.until_stored(server.address.port(), 1);
    until("the agent has counted the call", || {
        let exchanges = node.agent.metrics().event("tracker", "exchanges");
        (exchanges > 0).then_some(())
    });
    let report = node.agent.doctor();
    assert!(report["agent"]["exchanges"].as_u64() > Some(0));
    let checks = report["checks"].as_array().unwrap();
    for name in ["privileges", "kernel types", "agent"] {
        let check = checks.iter().find(|check| check["name"] == name).unwrap();
        assert_eq!(check["ok"], true, "{check}");
    }
    let providers = report["providers"].as_array().unwrap();
    assert_eq!(providers.len(), Provider::ALL.len(), "{report:#}");
    assert!(providers.iter().any(|provider| provider["error"] == ""));
    assert_eq!(report["agent"]["export"]["link"], "connected");

    let table = node.agent.run(&["doctor"]);
    let text = String::from_utf8_lossy(&table.stdout);
    assert_eq!(table.status.code(), Some(0), "{text}");
    for part in [
        "HOST",
        "WAY OF CAPTURING",
        "works, in use",
        "ATTACHED PROGRAM",
        "captured",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    node.stop_agent();
    let alone = node.agent.run(&["doctor"]);
    assert_eq!(alone.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&alone.stdout).contains("none answers on"));
}
