//! The policy's filters: what is left out is not stored, the rest is; a change takes effect while both run.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::net::SocketAddr;
use std::process::Command;

use tests::servers::{self, Server, load_server};
use tests::{Node, NodeOptions, UNLIMITED, can_capture, http, until};

fn node_with(filter: &str) -> (Node, Server, Server) {
    let node = Node::start(&NodeOptions {
        policy: format!("{UNLIMITED}{filter}"),
        ..NodeOptions::default()
    });
    let first = load_server(env!("CARGO_BIN_EXE_loadserver"), node.directory());
    let second = servers::python(node.directory(), "127.0.0.1");
    (node, first, second)
}

fn curl(address: SocketAddr, path: &str) {
    let output = Command::new("curl")
        .args(["-s", "-m", "30", &format!("http://{address}{path}")])
        .output()
        .unwrap();
    assert!(output.status.success());
}

fn ask(address: SocketAddr, times: usize) {
    for _ in 0..times {
        curl(address, "/echo");
    }
}

#[test]
fn an_executable_is_left_out() {
    if !can_capture() {
        return;
    }
    let (mut node, excluded, other) = node_with(
        "[[filter.exclude]]\nexecutable = \"loadserver\"\n[[filter.exclude]]\nexecutable = \"*/curl\"\n",
    );
    ask(excluded.address, 5);
    ask(other.address, 5);
    node.all_calls(other.address.port(), 5);
    assert!(node.api().calls(excluded.address.port()).is_empty());
}

#[test]
fn a_port_is_left_out() {
    if !can_capture() {
        return;
    }
    let port = servers::free_port();
    let (mut node, server, other) = node_with(&format!("[[filter.exclude]]\nport = {port}\n"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadserver"));
    command.arg(format!("127.0.0.1:{port}"));
    let mut excluded = node.spawn("excluded", &command);
    excluded.until_line("is ready", |line| line.starts_with("ready ").then_some(()));
    ask(SocketAddr::from(([127, 0, 0, 1], port)), 5);
    ask(server.address, 5);
    ask(other.address, 5);
    node.until_stored(other.address.port(), 5);
    node.all_calls(server.address.port(), 5);
    assert!(node.api().calls(port).is_empty());
}

#[test]
fn only_what_is_included_is_captured() {
    if !can_capture() {
        return;
    }
    let (mut node, included, other) = node_with("[[filter.include]]\nexecutable = \"loadserver\"\n");
    ask(other.address, 5);
    ask(included.address, 5);
    node.all_calls(included.address.port(), 5);
    assert!(node.api().calls(other.address.port()).is_empty());
}

#[test]
fn a_change_takes_effect_while_everything_runs() {
    if !can_capture() {
        return;
    }
    let (mut node, server, _) = node_with("[[filter.exclude]]\nexecutable = \"loadserver\"\n");
    let port = server.address.port();
    let mut kept = http::Client::connect(server.address).unwrap();
    let request = format!(
        "GET /api/items HTTP/1.1\r\nhost: {}\r\nx-seq: 1\r\n\r\n",
        server.address
    );
    for _ in 0..3 {
        kept.ask(&request);
    }
    node.collector.change_policy(UNLIMITED);
    node.until_policy(2);
    // Of this connection the client's end was seen all along: whichever end says it now, each call is there once.
    let request = request.replace("x-seq: 1", "x-seq: 2");
    for _ in 0..6 {
        kept.ask(&request);
    }
    ask(server.address, 3);
    let since_change = |node: &Node| {
        // Who is left out is the server; its clients' ends are still seen.
        let calls = node.api().calls(port);
        let new = |call: &&tests::api::Call| call.side == "server" && call.path == "/echo";
        let kept = |call: &&tests::api::Call| call.response_header("x-seq") == Some("2");
        (
            calls.iter().filter(new).count(),
            calls.iter().filter(kept).count(),
        )
    };
    until("new connections are captured", || {
        (since_change(&node).0 == 3).then_some(())
    });

    // And back, with a text that cannot be used in between: the policy in force stays.
    node.collector.change_policy("[filter]\nexclud = []\n");
    until("the collector refuses it", || {
        node.collector.process.stderr().contains("exclud").then_some(())
    });
    node.collector.change_policy(&format!(
        "{UNLIMITED}[[filter.exclude]]\nexecutable = \"loadserver\"\n"
    ));
    node.until_policy(3);
    ask(server.address, 3);
    node.stop_agent();
    let (new, joined) = since_change(&node);
    assert_eq!(new, 3);
    println!("{joined} of 6 calls on the connection that was left out before");
    assert!((1..=6).contains(&joined), "{joined}");
}

/// The collector sees the agent's connection and its metrics page is asked all the time: none of it is stored.
#[test]
fn the_agents_own_traffic_is_not_captured() {
    if !can_capture() {
        return;
    }
    let (mut node, server, _) = node_with("");
    for _ in 0..10 {
        let _ = node.agent.metrics();
    }
    ask(server.address, 1);
    node.all_calls(server.address.port(), 1);
    let agent = node.agent.process.id();
    let rows = node.api().all("calls");
    let own: Vec<_> = rows
        .iter()
        .filter(|row| row["pid"] == agent || row["server_address"] == node.collector.grpc.to_string())
        .collect();
    assert!(own.is_empty(), "{own:?}");
    assert!(rows.iter().all(|row| row["client_workload"] != "eastwatch-agent"));
}
