//! Nothing is lost without being counted: volume, and joining connections that are busy already.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::collections::HashSet;

use tests::load::Load;
use tests::servers::{Server, load_server};
use tests::{AgentOptions, Node, NodeOptions, can_capture, only};

const CONNECTIONS: usize = 200;

/// Takes a whole burst: the agent under test may be a debug build on busy processors. What a ring buffer that is too small does, the
/// tests of losses show.
const RING_BYTES: u32 = 256 << 20;

/// Whatever else goes on on this machine is left out: the two programs of the test alone are captured, each for its end.
const BOTH_ENDS: &[&str] = &["*/loadserver", "*/volume-*"];

fn server(node: &Node) -> Server {
    load_server(env!("CARGO_BIN_EXE_loadserver"), node.directory())
}

/// Sends requests and expects each to be one row.
fn every_request_is_a_row(provider: &str, requests_per_connection: u64) {
    if !can_capture() {
        return;
    }
    let mut options = NodeOptions {
        policy: only(BOTH_ENDS),
        ..NodeOptions::default()
    };
    options.agent.provider = provider.to_owned();
    options.agent.ring_bytes = RING_BYTES;
    let mut node = Node::start(&options);
    let server = server(&node);
    let load = Load::connect(server.address, CONNECTIONS);
    let started = std::time::Instant::now();
    let (first, end) = load.run(requests_per_connection, "/api/items");
    println!(
        "{provider}: {} requests in {:.1} s",
        end - first,
        started.elapsed().as_secs_f64()
    );
    let sent = end - first;
    assert_eq!(sent, CONNECTIONS as u64 * requests_per_connection);

    let calls = node.all_calls(server.address.port(), sent);
    let lost: Vec<_> = node.api().drops();
    println!(
        "{provider}: sent {sent} over {CONNECTIONS} connections, stored {}; reported as lost: {lost:?}",
        calls.len()
    );
    let sequences: HashSet<u64> = calls
        .iter()
        .map(|call| call.response_header("x-seq").unwrap().parse().unwrap())
        .collect();
    assert_eq!(sequences, (first..end).collect());
    for call in &calls {
        let row = &call.row;
        assert_eq!((call.method.as_str(), call.status), ("GET", 200), "{row}");
        assert_eq!(call.path, "/api/items", "{row}");
        assert_eq!(call.side, "server", "{row}");
        assert!(call.flags.is_empty() && call.duration_us > 0, "{row}");
        assert_eq!(call.server_workload, "loadserver", "{row}");
        assert!(call.client_workload.starts_with("volume"), "{row}");
    }
}

#[test]
fn a_hundred_thousand_requests_are_a_hundred_thousand_rows() {
    every_request_is_a_row("auto", 500);
}

#[test]
fn the_fallback_provider_loses_nothing_either() {
    tests::mount_tracefs();
    every_request_is_a_row("syscall-exit", 50);
}

#[test]
fn the_last_resort_loses_nothing_either() {
    tests::mount_tracefs();
    every_request_is_a_row("syscall-enter-exit", 50);
}

/// The agent comes when all connections are busy.
#[test]
fn busy_connections_are_joined_at_the_next_message() {
    if !can_capture() {
        return;
    }
    let directory = tests::directory();
    let server = load_server(env!("CARGO_BIN_EXE_loadserver"), directory.path());
    let load = Load::connect(server.address, CONNECTIONS);
    load.run(2, "/api/items");
    let (mut node, joined) = load.busy("/api/items", || {
        let node = Node::start(&NodeOptions {
            agent: AgentOptions {
                ring_bytes: RING_BYTES,
                ..AgentOptions::default()
            },
            policy: only(BOTH_ENDS),
        });
        // From here on everything must be there, on every connection.
        (node, load.next())
    });
    // What was on its way then may have been joined in its middle.
    let joined = joined + CONNECTIONS as u64;
    load.run(2, "/api/items");
    let end = load.next();
    load.run(1, "/api/orders");
    load.run(1, "/api/users");
    node.until_path(server.address.port(), "/api/orders", CONNECTIONS as u64);
    node.stop_agent();

    let calls = node.api().calls(server.address.port());
    let mut sequences = HashSet::new();
    let mut late = 0;
    let calls: Vec<_> = calls
        .iter()
        .filter(|call| call.path == "/api/items" || call.path == "/api/{text}")
        .collect();
    for call in &calls {
        let row = &call.row;
        late += usize::from(call.flags.iter().any(|flag| flag == "late_join"));
        assert_eq!(
            (call.method.as_str(), call.path.as_str()),
            ("GET", "/api/items"),
            "{row}"
        );
        // The policy that lets this header through came a moment after the agent.
        let Some(sequence) = call.response_header("x-seq") else {
            continue;
        };
        assert_eq!((call.status, call.side.as_str()), (200, "server"), "{row}");
        assert!(sequences.insert(sequence.parse::<u64>().unwrap()), "twice: {row}");
    }
    assert!((calls.len() as u64) < end, "exchanges that never were");
    println!(
        "{} rows of {} requests, {late} marked as joined late",
        calls.len(),
        end - 1
    );
    assert!(sequences.iter().all(|sequence| (1..end).contains(sequence)));
    let missed: Vec<u64> = (joined..end)
        .filter(|sequence| !sequences.contains(sequence))
        .collect();
    assert!(missed.is_empty(), "not seen after joining: {missed:?}");
    // At most the first exchange of a connection was joined in its middle.
    assert!(late <= CONNECTIONS, "{late}");
}
