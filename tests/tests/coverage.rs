//! What is said of the capture rate is what the sockets moved, to the byte.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::Value;
use tests::http::Client;
use tests::servers::{LARGE_BYTES, PAGE_BYTES, load_server, nginx_of};
use tests::{AgentOptions, Node, NodeOptions, can_capture, only, until};

/// Programs with names of their own: what else runs on this machine under the same names does not count with them.
struct Named {
    directory: tempfile::TempDir,
    name: String,
}

impl Named {
    fn new(what: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            directory: tests::directory(),
            name: format!("{what}-{}-{number}", std::process::id()),
        }
    }

    fn copy(&self, binary: impl AsRef<Path>) -> PathBuf {
        let copy = self.directory.path().join(&self.name);
        fs::copy(binary, &copy).unwrap();
        copy
    }

    /// Captures it alone, and whatever else is given.
    fn policy(&self, others: &[&str]) -> String {
        let own = format!("*/{}", self.name);
        only(&[&[own.as_str()], others].concat())
    }
}

/// What is known of a workload.
#[derive(Debug, Default)]
struct Coverage {
    rate: Option<f64>,
    reasons: BTreeMap<String, u64>,
}

impl Coverage {
    fn of(node: &Node, workload: &str) -> Self {
        let found = node.api().all(&format!("coverage?workload={workload}"));
        let [row] = found.as_slice() else {
            return Self::default();
        };
        let reason = |row: &Value| {
            let name = row["reason"].as_str().unwrap().to_owned();
            (name, row["bytes"].as_u64().unwrap())
        };
        Self {
            rate: row["capture_rate"].as_f64(),
            reasons: row["reasons"].as_array().unwrap().iter().map(reason).collect(),
        }
    }

    fn bytes(&self, reason: &str) -> u64 {
        self.reasons.get(reason).copied().unwrap_or_default()
    }

    fn total(&self) -> u64 {
        self.reasons.values().sum()
    }
}

/// Asks and gives the bytes of both directions.
fn ask(client: &mut Client, target: &str, body: usize) -> u64 {
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: coverage.test\r\nx-seq: 7\r\nContent-Length: {body}\r\n\r\n{}",
        "b".repeat(body)
    );
    let response = client.ask(&request);
    assert_eq!(response.status, 200, "{target}");
    request.len() as u64 + response.wire_bytes
}

fn get(client: &mut Client, target: &str) -> u64 {
    let request = format!("GET {target} HTTP/1.1\r\nHost: coverage.test\r\n\r\n");
    let response = client.ask(&request);
    assert_eq!(response.status, 200, "{target}");
    request.len() as u64 + response.wire_bytes
}

fn all_is_read(provider: &str) {
    if !can_capture() {
        return;
    }
    let named = Named::new("whole");
    let binary = named.copy(env!("CARGO_BIN_EXE_loadserver"));
    let mut options = NodeOptions {
        policy: named.policy(&[]),
        ..NodeOptions::default()
    };
    options.agent.provider = provider.to_owned();
    let mut node = Node::start(&options);
    let server = load_server(binary.to_str().unwrap(), node.directory());
    let mut bytes = 0;
    for _ in 0..5 {
        let mut client = Client::connect(server.address).unwrap();
        for i in 0..20 {
            bytes += ask(&mut client, "/api/orders", 100 * i);
        }
    }
    node.until_stored(server.address.port(), 100);
    node.stop_agent();
    let coverage = Coverage::of(&node, &named.name);
    println!("{provider}: {bytes} bytes on the sockets, {coverage:?}");
    assert_eq!(coverage.rate, Some(1.0));
    assert_eq!(coverage.bytes("read"), bytes);
    assert_eq!(coverage.total(), bytes);
}

#[test]
fn a_workload_that_is_read_whole() {
    all_is_read("auto");
}

#[test]
fn a_workload_that_is_read_whole_by_the_fallback_provider() {
    tests::mount_tracefs();
    all_is_read("syscall-exit");
}

#[test]
fn bodies_that_go_by_sendfile_are_missed_to_the_byte() {
    if !can_capture() {
        return;
    }
    const PAGES: u64 = 30;
    const LARGE: u64 = 5;
    let named = Named::new("pages");
    let binary = named.copy(tests::program("nginx").expect("nginx is installed by setup"));
    let mut node = Node::start(&NodeOptions {
        policy: named.policy(&[]),
        ..NodeOptions::default()
    });
    let server = nginx_of(node.directory(), &binary);
    let mut client = Client::connect(server.address).unwrap();
    let mut bytes = 0;
    for _ in 0..PAGES {
        bytes += get(&mut client, "/page");
    }
    node.until_stored(server.address.port(), PAGES);
    // All of it is known before the connection ends.
    let pages = until("coverage of the pages", || {
        let coverage = Coverage::of(&node, &named.name);
        (coverage.total() == bytes).then_some(coverage)
    });
    println!("{bytes} bytes on the sockets, {pages:?}");
    let bodies = PAGES * PAGE_BYTES as u64;
    assert_eq!(pages.bytes("opaque_call"), bodies);
    assert_eq!(pages.bytes("read"), bytes - bodies);
    assert_eq!(pages.rate, Some((bytes - bodies) as f64 / bytes as f64));

    let table = node.cli(&["coverage", "--workload", &named.name, "--below", "0.5"]);
    let table = String::from_utf8(table.stdout).unwrap();
    println!("{table}");
    assert!(
        table.contains(&named.name) && table.contains("opaque_call"),
        "{table}"
    );
    let doctor = node.agent.doctor();
    let rows = doctor["agent"]["coverage"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["workload"] == named.name.as_str())
        .unwrap();
    assert_eq!(row["missed"][0], serde_json::json!(["opaque_call", bodies]));
    let table = node.agent.run(&["doctor"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.contains("CAPTURE RATE") && table.contains(&named.name),
        "{table}"
    );

    // The rest of a large body is not asked for once its length is known.
    for _ in 0..LARGE {
        bytes += get(&mut client, "/large");
    }
    drop(client);
    node.until_stored(server.address.port(), PAGES + LARGE);
    node.stop_agent();
    let all = Coverage::of(&node, &named.name);
    println!("{bytes} bytes on the sockets, {all:?}");
    let bodies = bodies + LARGE * LARGE_BYTES as u64;
    assert_eq!(all.bytes("opaque_call") + all.bytes("skipped"), bodies);
    assert_eq!(all.total(), bytes);
}

/// A ring buffer far too small.
#[test]
fn what_the_ring_buffer_had_no_room_for_is_counted_to_the_byte() {
    if !can_capture() {
        return;
    }
    const CONNECTIONS: usize = 20;
    const REQUESTS: u64 = 200;
    let named = Named::new("flood");
    let binary = named.copy(env!("CARGO_BIN_EXE_loadserver"));
    let mut node = Node::start(&NodeOptions {
        agent: AgentOptions {
            ring_bytes: 64 << 10,
            drain_ms: 100,
            // Connections are compared while they are open.
            env: vec![(
                "EASTWATCH_AGENT__CAPTURE__RECONCILE_SECONDS".to_owned(),
                "1".to_owned(),
            )],
            ..AgentOptions::default()
        },
        policy: named.policy(&[]),
    });
    let server = load_server(binary.to_str().unwrap(), node.directory());
    let connect = |_| Client::connect(server.address).unwrap();
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(connect).collect();
    let mut sent = thread::scope(|scope| {
        let floods: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(|| {
                    (0..REQUESTS)
                        .map(|_| ask(client, "/api/items", 2000))
                        .sum::<u64>()
                })
            })
            .collect();
        floods.into_iter().map(|flood| flood.join().unwrap()).sum::<u64>()
    });
    // Once in a while each connection says something, so that it can be asked where it stands; none is closed.
    let open = until("lost bytes are known of open connections", || {
        for client in &mut clients {
            sent += ask(client, "/api/orders", 0);
        }
        let coverage = Coverage::of(&node, &named.name);
        let reports = node.agent.metrics().event("tracker", "reports");
        (coverage.bytes("ring_full") > 0 && reports >= CONNECTIONS as u64).then_some(coverage)
    });
    println!("open: {sent} bytes on the sockets, {open:?}");
    // One after the other, so that the ends find room.
    let port = server.address.port();
    for mut client in clients {
        let seen = node.api().all("calls?path=/api/search").len();
        until("the ring buffer has room", || {
            sent += ask(&mut client, "/api/search", 0);
            (node.api().all("calls?path=/api/search").len() > seen).then_some(())
        });
    }
    node.until_stored(port, CONNECTIONS as u64);
    node.stop_agent();
    let coverage = Coverage::of(&node, &named.name);
    println!("closed: {sent} bytes on the sockets, {coverage:?}");
    assert_eq!(coverage.total(), sent);
    let known = ["read", "ring_full", "not_understood"];
    assert!(
        coverage
            .reasons
            .keys()
            .all(|reason| known.contains(&reason.as_str()))
    );
    assert!(coverage.rate.unwrap() < 1.0);
}

/// Both ends on this node: what is read at the server's is left out at the client's.
#[test]
fn the_end_that_is_not_read_is_left_out_and_not_missed() {
    if !can_capture() {
        return;
    }
    const REQUESTS: u64 = 300;
    let served = Named::new("served");
    let server = served.copy(env!("CARGO_BIN_EXE_loadserver"));
    let asking = Named::new("asking");
    let curl = asking.copy(tests::program("curl").expect("curl is installed by setup"));
    let mut node = Node::start(&NodeOptions {
        policy: served.policy(&[curl.to_str().unwrap()]),
        ..NodeOptions::default()
    });
    let server = load_server(server.to_str().unwrap(), node.directory());
    let url = format!("http://{}/api/orders?n=[1-{REQUESTS}]", server.address);
    let sizes = "%{size_request} %{size_header} %{size_download} %{num_connects}\n";
    let output = Command::new(curl)
        .args(["-sS", "-o", "/dev/null", "-w", sizes, &url])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let numbers = String::from_utf8(output.stdout).unwrap();
    let mut connections = 0;
    let mut bytes = 0;
    for line in numbers.lines() {
        let [request, head, body, connects] = *line
            .split(' ')
            .map(|number| number.parse::<u64>().unwrap())
            .collect::<Vec<_>>()
        else {
            panic!("{line}")
        };
        bytes += request + head + body;
        connections += connects;
    }
    assert_eq!(connections, 1, "one connection for all requests");
    node.until_stored(server.address.port(), REQUESTS);
    node.stop_agent();
    let at_server = Coverage::of(&node, &served.name);
    let at_client = Coverage::of(&node, &asking.name);
    println!("{bytes} bytes on each socket; server {at_server:?}; client {at_client:?}");
    assert_eq!((at_server.rate, at_server.bytes("read")), (Some(1.0), bytes));
    assert_eq!(at_server.total(), bytes);
    assert_eq!(at_client.rate, Some(1.0));
    assert_eq!(at_client.total(), bytes);
    assert!(at_client.bytes("other_end") > bytes / 2, "{at_client:?}");
    assert_eq!(at_client.bytes("read") + at_client.bytes("other_end"), bytes);
}
