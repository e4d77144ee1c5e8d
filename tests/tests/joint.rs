//! Both ends of a connection on the node, and a server whose sends cannot be read: the exchange is told whole, by the server's end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tests::servers::{Server, nginx_of};
use tests::{AgentOptions, Node, NodeOptions, can_capture, directory, only, program, until};

/// Copies of nginx and curl: what else runs on this machine under the same names is left out.
struct Programs {
    home: tempfile::TempDir,
}

impl Programs {
    fn new() -> Self {
        let home = directory();
        for name in ["nginx", "curl"] {
            let binary = program(name).unwrap_or_else(|| panic!("{name} is installed by setup"));
            fs::copy(binary, home.path().join(format!("joint-{name}"))).unwrap();
        }
        Self { home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(format!("joint-{name}"))
    }

    /// A node that captures these of them, and nginx.
    fn start(&self, captured: &[&str], provider: &str) -> (Node, Server) {
        let paths: Vec<String> = captured
            .iter()
            .map(|name| self.path(name).to_str().unwrap().to_owned())
            .collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let node = Node::start(&NodeOptions {
            agent: AgentOptions {
                provider: provider.to_owned(),
                // Whole files, but the last.
                env: vec![(
                    "EASTWATCH_AGENT__CAPTURE__TURN_BYTES".to_owned(),
                    TURN_BYTES.to_string(),
                )],
                ring_bytes: 64 << 20,
                ..AgentOptions::default()
            },
            policy: only(&paths),
        });
        let server = nginx_of(node.directory(), &self.path("nginx"));
        (node, server)
    }
}

/// Of each turn so much is captured: the most that there may be.
const TURN_BYTES: usize = 64 << 10;
/// Orders in the files. The last one's JSON has some 100 kB: more than is captured of a turn.
const ORDERS: [usize; 3] = [1, 1_000, 2_300];

/// JSON.
fn orders(count: usize) -> Vec<u8> {
    let order = |number: usize| json!({"id": number, "customer": format!("c{number}"), "items": [1, 2, 3]});
    serde_json::to_vec(&(0..count).map(order).collect::<Vec<_>>()).unwrap()
}

/// Asks for all files on one connection, and for each on one more. Their sizes, by name.
fn fetch(programs: &Programs, node: &Node, server: &Server) -> BTreeMap<String, u64> {
    let mut sizes = BTreeMap::new();
    for (name, count) in ["one", "some", "many"].into_iter().zip(ORDERS) {
        let body = orders(count);
        fs::write(node.directory().join("html").join(name), &body).unwrap();
        sizes.insert(name.to_owned(), body.len() as u64);
    }
    assert!(
        sizes["some"] < TURN_BYTES as u64 && sizes["many"] > 100_000,
        "{sizes:?}"
    );
    let names: Vec<&str> = sizes.keys().map(String::as_str).collect();
    let apart = names.iter().map(|name| vec![*name]);
    for what in std::iter::once(names.clone()).chain(apart) {
        let mut curl = Command::new(programs.path("curl"));
        curl.args(["-sS", "--fail", "-w", "%{size_download} "]);
        for name in &what {
            let url = format!("http://{}/{name}", server.address);
            curl.args(["-o", "/dev/null", url.as_str()]);
        }
        let output = curl.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let expect: String = what.iter().map(|name| format!("{} ", sizes[*name])).collect();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expect);
    }
    sizes
}

fn both_ends(provider: &str) {
    if !can_capture() {
        return;
    }
    tests::mount_tracefs();
    let programs = Programs::new();
    let (mut node, server) = programs.start(&["nginx", "curl"], provider);
    let sizes = fetch(&programs, &node, &server);
    let port = server.address.port();
    let count = 2 * sizes.len() as u64;
    node.until_stored(port, count);
    // The server's end cannot have read any of them.
    until("all are mended", || {
        (node.agent.metrics().event("tracker", "exchanges_mended") == count).then_some(())
    });
    let mut seen = Vec::new();
    for call in node.all_calls(port, count) {
        let (client, server) = (&call.client_workload, &call.server_workload);
        println!(
            "{provider}: {client} > {server} {} {} {} {:?}",
            call.path, call.status, call.response_body_bytes, call.flags
        );
        seen.push(call.response_body_bytes);
        // What the limit left out of the largest is the same at both ends.
        let is_whole = call.response_body_bytes < TURN_BYTES as u64;
        assert_eq!((call.status, call.flags.is_empty()), (200, is_whole), "{call:?}");
        assert_eq!(
            (call.side.as_str(), client.as_str(), server.as_str()),
            ("server", "joint-curl", "joint-nginx"),
            "{call:?}"
        );
    }
    let mut sizes: Vec<u64> = sizes.into_values().flat_map(|size| [size, size]).collect();
    seen.sort_unstable();
    sizes.sort_unstable();
    assert_eq!(seen, sizes);
    let host = server.address.to_string();
    let mut endpoints = node.api().all("endpoints");
    endpoints.retain(|endpoint| endpoint["host"] == host.as_str());
    let of_server = |endpoint: &Value| endpoint["side"] == "server" && endpoint["workload"] == "joint-nginx";
    assert!(
        !endpoints.is_empty() && endpoints.iter().all(of_server),
        "{endpoints:#?}"
    );
}

#[test]
fn files_that_nginx_sends_unread_are_whole_rows() {
    both_ends("auto");
}

#[test]
fn files_that_nginx_sends_unread_are_whole_rows_at_exits_of_system_calls() {
    both_ends("syscall-exit");
}

/// What the server's end tells by itself, so that one knows that it was not whole.
#[test]
fn without_the_client_the_rows_say_that_something_is_missing() {
    if !can_capture() {
        return;
    }
    let programs = Programs::new();
    let (mut node, server) = programs.start(&["nginx"], "auto");
    let sizes = fetch(&programs, &node, &server);
    for call in node.all_calls(server.address.port(), 2 * sizes.len() as u64) {
        assert_eq!(
            (call.side.as_str(), call.server_workload.as_str()),
            ("server", "joint-nginx")
        );
        assert!(call.is("truncated"), "{call:?}");
    }
}
