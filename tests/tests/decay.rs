//! Less is captured of what is known, and everything is counted.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::net::SocketAddr;
use std::process::Command;
use std::thread;

use tests::http::Client;
use tests::servers::{Server, nginx_of};
use tests::{AgentOptions, Node, NodeOptions, UNLIMITED, can_capture, has_program, program, until};

/// Captured calls without anything new before a step.
const AFTER: u64 = 64;

/// Captures nginx, this test and curl alone.
const PROGRAMS: [&str; 3] = ["*/decay-nginx", "*/decay-*", "*/curl"];

/// Endpoints of the server that have nothing in common.
const HELLO: &str = "/static/hello";
const HEALTH: &str = "/status/health";

fn policy(capture: &str) -> String {
    let include = PROGRAMS.map(|name| format!("[[filter.include]]\nexecutable = \"{name}\"\n"));
    format!("{capture}{UNLIMITED}{}", include.concat())
}

/// An agent, a collector and a server. `enabled`: what the node is configured to.
fn start(enabled: bool, most: u64) -> (Node, Server) {
    let env = [
        ("ENABLED", enabled.to_string()),
        ("AFTER", AFTER.to_string()),
        ("MOST", most.to_string()),
    ];
    let node = Node::start(&NodeOptions {
        agent: AgentOptions {
            env: env
                .map(|(key, value)| (format!("EASTWATCH_AGENT__CAPTURE__DECAY__{key}"), value))
                .to_vec(),
            ring_bytes: 64 << 20,
            ..AgentOptions::default()
        },
        policy: policy(""),
    });
    let binary = node.directory().join("decay-nginx");
    std::fs::copy(program("nginx").unwrap(), &binary).unwrap();
    let server = nginx_of(node.directory(), &binary);
    (node, server)
}

/// Connections, each of which carries one endpoint.
struct Traffic {
    clients: Vec<(Client, &'static str)>,
    host: SocketAddr,
    sent: u64,
}

impl Traffic {
    fn open(server: &Server, paths: &[&'static str]) -> Self {
        let open = |path: &&'static str| (Client::connect(server.address).unwrap(), *path);
        Self {
            clients: paths.iter().map(open).collect(),
            host: server.address,
            sent: 0,
        }
    }

    /// So many requests on each connection, all at a time.
    fn run(&mut self, each: u64) {
        self.run_with("", each);
    }

    /// The same, with one more field.
    fn run_with(&mut self, field: &str, each: u64) {
        let host = self.host;
        thread::scope(|scope| {
            for (client, path) in &mut self.clients {
                scope.spawn(move || ask(client, host, path, field, each));
            }
        });
        self.sent += each * self.clients.len() as u64;
    }

    /// So many on one connection, of another kind.
    fn ask(&mut self, connection: usize, path: &str, field: &str, count: u64) {
        ask(&mut self.clients[connection].0, self.host, path, field, count);
        self.sent += count;
    }
}

fn ask(client: &mut Client, host: SocketAddr, path: &str, field: &str, count: u64) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{field}\r\n");
    for _ in 0..count {
        let status = client.ask(&request).status;
        assert!((200..300).contains(&status), "{path}: {status}");
    }
}

/// Exchanges of which nothing was captured.
fn rested(node: &Node) -> u64 {
    node.agent.metrics().event("tracker", "exchanges_rested")
}

/// Of how many connections not everything is captured.
fn resting(node: &Node) -> u64 {
    node.agent
        .metrics()
        .get("eastwatch_agent_decay_connections_resting")
}

fn until_resting(node: &Node, connections: u64) {
    until(&format!("{connections} connections rest"), || {
        (resting(node) == connections).then_some(())
    });
}

/// Calls of an endpoint in the inventory.
fn counted(node: &Node, path: &str) -> u64 {
    node.api()
        .all("endpoints")
        .iter()
        .filter(|endpoint| endpoint["path"] == path)
        .map(|endpoint| endpoint["total"]["calls"].as_u64().unwrap())
        .sum()
}

/// Weights of the rows, and how many rows there are.
fn rows(node: &Node, port: u16) -> (u64, u64) {
    let calls = node.api().calls(port);
    let weights = calls.iter().map(|call| call.row["weight"].as_u64().unwrap());
    (weights.sum(), calls.len() as u64)
}

#[test]
fn the_inventory_counts_what_is_not_captured() {
    const MOST: u64 = 512;
    const EACH: u64 = 5000;
    if !can_capture() || !has_program("nginx") {
        return;
    }
    let (mut node, server) = start(true, MOST);
    let port = server.address.port();
    let mut traffic = Traffic::open(&server, &[HELLO, HELLO, HEALTH, HEALTH]);
    let lowest = format!("eastwatch_agent_decay_endpoints{{every=\"{MOST}\"}}");
    until("nothing of the endpoints is new", || {
        traffic.run(AFTER);
        (node.agent.metrics().get(&lowest) == 2).then_some(())
    });
    let before = rested(&node);
    traffic.run(EACH);
    let sent = traffic.sent;
    until_resting(&node, 4);
    drop(traffic);
    node.until_stored(port, sent);
    let (weights, rows) = rows(&node, port);
    let rested = until("each request is a row or was left out", || {
        Some(rested(&node)).filter(|rested| rows + rested == sent)
    });
    println!("counted: {}", node.agent.metrics().nonzero_events());
    node.stop_agent();
    println!("{sent} requests: {rested} left out, {rows} rows that stand for {weights}");
    assert!(rested - before > 4 * EACH / 2, "{rested} of {sent}");
    for path in [HELLO, HEALTH] {
        assert_eq!(counted(&node, path), sent / 2, "{path}");
    }
    assert_eq!(node.api().call_count(port), sent);
    // Those after the last captured one of each connection have no row.
    assert!(
        weights <= sent && weights + 4 * (2 * MOST - 2) >= sent,
        "{weights}"
    );
    let calls = node.api().calls(port);
    assert!(calls.iter().all(|call| call.side == "server"));
    let odd = |flag| calls.iter().filter(|call| call.is(flag)).count();
    assert_eq!(["gap", "late_join", "unpaired"].map(odd), [0; 3]);
}

/// Of any so many exchanges in a row of a connection that rests at least one is captured.
const fn surely(most: u64) -> u64 {
    2 * most - 1
}

#[test]
fn what_is_new_is_noticed_and_brings_everything_back() {
    const MOST: u64 = 16;
    if !can_capture() || !has_program("nginx") || !has_program("curl") {
        return;
    }
    let (mut node, server) = start(true, MOST);
    let port = server.address.port();
    let mut traffic = Traffic::open(&server, &[HELLO, HELLO, HELLO]);
    let renewed = |node: &Node| node.agent.metrics().event("decay", "renewals");
    let settle = |node: &Node, traffic: &mut Traffic| {
        until("all connections rest", || {
            traffic.run(AFTER);
            (resting(node) == 3).then_some(())
        });
    };
    settle(&node, &mut traffic);
    assert_eq!(renewed(&node), 0);

    // Another status of a known endpoint.
    traffic.ask(1, HELLO, "range: bytes=1-2\r\n", surely(MOST));
    until("a new status is noticed", || (renewed(&node) == 1).then_some(()));
    until_resting(&node, 0);
    // Everything is captured: each call a row.
    traffic.run_with("user-agent: whole\r\n", 8);
    until("each call is a row", || {
        let calls = node.api().calls(port);
        let named = |call: &&tests::api::Call| call.row["request_headers"].to_string().contains("whole");
        (calls.iter().filter(named).count() == 3 * 8).then_some(())
    });

    // Another consumer.
    settle(&node, &mut traffic);
    let output = Command::new("curl")
        .args(["-s", "-m", "30", &format!("http://{}{HELLO}", server.address)])
        .output()
        .unwrap();
    assert!(output.status.success());
    traffic.sent += 1;
    until("a new consumer is noticed", || {
        (renewed(&node) == 2).then_some(())
    });
    until_resting(&node, 0);

    // Another endpoint, on a connection that rests: that one alone is captured whole.
    settle(&node, &mut traffic);
    traffic.ask(2, HEALTH, "", surely(MOST));
    until("a new endpoint is in the inventory", || {
        (counted(&node, HEALTH) > 0).then_some(())
    });
    until_resting(&node, 2);
    assert_eq!(renewed(&node), 2);

    let sent = traffic.sent;
    drop(traffic);
    node.until_stored(port, sent);
    let rested = rested(&node);
    node.stop_agent();
    println!("{sent} requests, {rested} left out");
    assert!(rested > 0);
    assert_eq!(counted(&node, HELLO) + counted(&node, HEALTH), sent);
    let partial = node
        .api()
        .calls(port)
        .iter()
        .filter(|call| call.status == 206)
        .count();
    assert!(partial > 0);
}

#[test]
fn the_policy_switches_it_on_and_off() {
    if !can_capture() || !has_program("nginx") {
        return;
    }
    let (mut node, server) = start(false, 8);
    let port = server.address.port();
    let mut traffic = Traffic::open(&server, &[HELLO, HEALTH]);
    traffic.run(AFTER * 20);
    node.until_stored(port, traffic.sent);
    assert_eq!((rested(&node), resting(&node)), (0, 0));
    assert_eq!(node.agent.metrics().get("eastwatch_agent_decay_enabled"), 0);

    node.collector.change_policy(&policy("[capture]\ndecay = true\n"));
    node.until_policy(2);
    until("calls are left out", || {
        traffic.run(AFTER);
        (rested(&node) > 0).then_some(())
    });

    node.collector
        .change_policy(&policy("[capture]\ndecay = false\n"));
    node.until_policy(3);
    until_resting(&node, 0);
    let passed = |node: &Node| node.agent.metrics().event("kernel", "rested");
    let before = passed(&node);
    traffic.run(AFTER * 20);
    let sent = traffic.sent;
    drop(traffic);
    node.until_stored(port, sent);
    assert_eq!(passed(&node), before);
    node.stop_agent();
    assert_eq!(counted(&node, HELLO), sent / 2);
    assert_eq!(counted(&node, HEALTH), sent / 2);
}
