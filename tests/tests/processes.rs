//! Who took part: short-lived processes, forks, workers, other network namespaces.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::collections::HashSet;
use std::net::SocketAddr;
use std::process::Command;

use tests::servers::{self, load_server};
use tests::{Node, NodeOptions, can_capture, has_program, program};

#[test]
fn three_hundred_short_lived_clients_are_all_named() {
    if !can_capture() || !has_program("curl") {
        return;
    }
    let mut node = Node::start(&NodeOptions::default());
    let server = load_server(env!("CARGO_BIN_EXE_loadserver"), node.directory());
    let url = format!("http://{}/api/items", server.address);
    for number in 0..300 {
        let sequence = format!("x-seq: {number}");
        let status = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-H", &sequence, &url])
            .status();
        assert!(status.unwrap().success());
    }
    let calls = node.all_calls(server.address.port(), 300);
    let sequences: HashSet<_> = calls.iter().map(|call| call.response_header("x-seq")).collect();
    assert_eq!(sequences.len(), 300);
    for call in &calls {
        assert_eq!(call.client_workload, "curl", "{}", call.row);
        assert_eq!(call.server_workload, "loadserver", "{}", call.row);
    }
    let workloads = node.api().all("workloads");
    let curl = workloads
        .iter()
        .find(|workload| workload["name"] == "curl")
        .unwrap();
    let path = program("curl").unwrap().canonicalize().unwrap();
    assert_eq!(curl["executable"], path.to_str().unwrap(), "{curl}");
}

/// A child that never becomes another program is what its parent is, with a process id of its own.
#[test]
fn a_fork_without_exec_is_its_parents_program() {
    if !can_capture() {
        return;
    }
    let mut node = Node::start(&NodeOptions::default());
    let script = "import os, socket
listener = socket.socket()
listener.bind(('127.0.0.1', 0))
listener.listen()
print('ready', listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    if os.fork() == 0:
        connection.recv(4096)
        connection.sendall(b'HTTP/1.1 200 OK\\r\\nx-seq: %d\\r\\ncontent-length: 0\\r\\n\\r\\n' % os.getpid())
        os._exit(0)
    connection.close()
    os.wait()
";
    let path = node.directory().join("forking.py");
    std::fs::write(&path, script).unwrap();
    let mut command = Command::new("/usr/bin/python3");
    command.arg(&path);
    let mut process = node.spawn("forking", &command);
    let port: u16 = process.until_line("is ready", |line| line.strip_prefix("ready ")?.parse().ok());
    for _ in 0..20 {
        tests::http::get(SocketAddr::from(([127, 0, 0, 1], port)), "/api/items").unwrap();
    }
    let calls = node.all_calls(port, 20);
    let named: Vec<&str> = calls.iter().map(|call| call.server_workload.as_str()).collect();
    println!("{named:?}");
    let mut pids = HashSet::new();
    for call in &calls {
        assert!(call.server_workload.contains("forking.py"), "{}", call.row);
        let pid = call.row["pid"].as_u64().unwrap();
        assert_eq!(
            call.response_header("x-seq"),
            Some(pid.to_string().as_str()),
            "{}",
            call.row
        );
        pids.insert(pid);
    }
    assert_eq!(pids.len(), 20);
    assert!(!pids.contains(&u64::from(process.id())));
}

#[test]
fn calls_name_the_worker_that_served_them() {
    if !can_capture() || !has_program("nginx") {
        return;
    }
    let mut node = Node::start(&NodeOptions::default());
    let server = servers::nginx(node.directory());
    for _ in 0..20 {
        tests::http::get(server.address, "/echo").unwrap();
    }
    let children = format!("/proc/{0}/task/{0}/children", server.process.id());
    let workers: HashSet<u64> = std::fs::read_to_string(children)
        .unwrap()
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect();
    assert_eq!(workers.len(), 2);
    for call in node.all_calls(server.address.port(), 20) {
        assert!(
            workers.contains(&call.row["pid"].as_u64().unwrap()),
            "{}",
            call.row
        );
        assert_eq!(call.server_workload, "nginx");
    }
}

/// Two network namespaces and the cable between them; gone with this value.
struct Namespaces {
    names: [String; 2],
}

impl Namespaces {
    const ADDRESSES: [&str; 2] = ["10.231.77.1", "10.231.77.2"];

    fn new() -> Self {
        let id = std::process::id();
        let made = Self {
            names: [format!("eastwatch-a-{id}"), format!("eastwatch-b-{id}")],
        };
        let [a, b] = &made.names;
        let (end_a, end_b) = (format!("ewa{id}"), format!("ewb{id}"));
        ip(&["netns", "add", a]);
        ip(&["netns", "add", b]);
        ip(&[
            "link", "add", &end_a, "netns", a, "type", "veth", "peer", "name", &end_b, "netns", b,
        ]);
        for ((namespace, end), address) in made.names.iter().zip([end_a, end_b]).zip(Self::ADDRESSES) {
            ip(&[
                "-n",
                namespace,
                "address",
                "add",
                &format!("{address}/24"),
                "dev",
                &end,
            ]);
            ip(&["-n", namespace, "link", "set", &end, "up"]);
        }
        made
    }

    fn inside(&self, which: usize, words: &[&str]) -> Command {
        let mut command = Command::new(program("ip").unwrap());
        command.args(["netns", "exec", &self.names[which]]).args(words);
        command
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "delete", name]).output();
        }
    }
}

fn ip(words: &[&str]) {
    let output = Command::new(program("ip").unwrap()).args(words).output().unwrap();
    assert!(
        output.status.success(),
        "ip {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn two_network_namespaces_are_one_call_with_both_ends_named() {
    if !can_capture() || !has_program("ip") || !has_program("curl") {
        return;
    }
    let namespaces = Namespaces::new();
    let mut node = Node::start(&NodeOptions::default());
    let listen = format!("{}:0", Namespaces::ADDRESSES[1]);
    let server = namespaces.inside(1, &[env!("CARGO_BIN_EXE_loadserver"), &listen]);
    let mut server = node.spawn("server", &server);
    let port: u16 = server.until_line("is ready", |line| line.strip_prefix("ready ")?.parse().ok());
    let url = format!("http://{}:{port}/api/items", Namespaces::ADDRESSES[1]);
    for _ in 0..5 {
        let status = namespaces
            .inside(0, &["curl", "-s", "-o", "/dev/null", "-m", "30", &url])
            .status();
        assert!(status.unwrap().success());
    }
    for call in node.all_calls(port, 5) {
        let row = &call.row;
        assert_eq!(call.client_workload, "curl", "{row}");
        assert_eq!(call.server_workload, "loadserver", "{row}");
        assert_eq!(call.side, "server", "{row}");
        assert_eq!(call.client.ip().to_string(), Namespaces::ADDRESSES[0], "{row}");
    }
    let edges = node.api().edges(port);
    assert_eq!(edges.len(), 1, "{edges:?}");
    assert_eq!(edges[0]["client_workload"], "curl");
    assert_eq!(edges[0]["server_workload"], "loadserver");
    assert_eq!(edges[0]["calls"], 5);
    let graph = node.cli(&["graph", "--output", "json"]);
    let text = String::from_utf8_lossy(&graph.stdout);
    assert!(
        graph.status.success() && text.contains("curl") && text.contains("loadserver"),
        "{text}"
    );
}
