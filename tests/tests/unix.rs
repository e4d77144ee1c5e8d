//! HTTP over UNIX sockets between real servers and real clients: every exchange is one row, with the name of the socket and both
//! workloads.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::io::{IoSlice, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
use serde_json::Value;
use tempfile::TempDir;
use tests::servers::free_port;
use tests::{Node, NodeOptions, Process, can_capture, only, program, until};

/// Requests over one connection.
const MANY: usize = 10_000;

/// Connections one after the other.
const SHORT: usize = 500;

/// Those that work on hosts without probes of functions; the others are judged in VMs, by the ways.
const PROVIDERS: [&str; 3] = ["sock-length", "syscall-exit", "syscall-enter-exit"];

fn service(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("services/unix")
        .join(name)
}

/// Captures the programs alone whose paths are like this: whatever else runs on this machine may be busy.
fn node_with(provider: &str, programs: &str) -> Node {
    let mut options = NodeOptions {
        policy: only(&[programs]),
        ..NodeOptions::default()
    };
    options.agent.provider = provider.to_owned();
    // Until the policy is in force, everything is captured.
    options.agent.ring_bytes = 64 << 20;
    Node::start(&options)
}

/// Captures the test itself.
fn own_node(provider: &str) -> Node {
    node_with(provider, std::env::current_exe().unwrap().to_str().unwrap())
}

/// Copies of programs, which nothing else runs.
struct Programs(TempDir);

impl Programs {
    fn new() -> Self {
        let programs = Self(tests::directory());
        for name in ["curl", "nginx", "node", "python3"] {
            let binary = match name {
                // Others of this name may be scripts that choose among several.
                "python3" => "/usr/bin/python3".into(),
                name => program(name).unwrap(),
            };
            std::fs::copy(binary, programs.path(name)).unwrap();
        }
        programs
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn curl(&self, arguments: &[&str]) {
        let output = Command::new(self.path("curl"))
            .args(["--silent", "--fail", "--max-time", "20"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

fn ready(node: &Node, name: &str, command: &Command) -> Process {
    let mut process = node.spawn(name, command);
    process.until_line("is ready", |line| (line == "ready").then_some(()));
    process
}

/// nginx in front of the application at a UNIX socket.
fn proxy(node: &Node, binary: &Path, application: &Path) -> (Process, u16) {
    let (home, port) = (node.directory().join("nginx"), free_port());
    std::fs::create_dir_all(&home).unwrap();
    let configuration = format!(
        "daemon off; worker_processes 1; user root; pid {home}/pid; error_log stderr notice;
events {{ worker_connections 64; }}
http {{ access_log off; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
 uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
 upstream application {{ server unix:{application}; keepalive 4; }}
 server {{ listen 127.0.0.1:{port};
  location / {{ proxy_pass http://application; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}
 }} }}\n",
        home = home.display(),
        application = application.display(),
    );
    std::fs::write(home.join("nginx.conf"), configuration).unwrap();
    let mut command = Command::new(binary);
    command.args(["-e", "stderr", "-p"]).arg(&home);
    command.arg("-c").arg(home.join("nginx.conf"));
    let mut process = node.spawn("nginx", &command);
    process.until_line("is ready", |line| {
        line.contains("start worker process ").then_some(())
    });
    (process, port)
}

/// Rows whose server's address is this.
fn rows(node: &Node, address: &str) -> Vec<Value> {
    let mut rows = node.api().all("calls");
    rows.retain(|row| row["server_address"] == address);
    rows
}

/// Waits until so many are stored for one address, ends the agent, and gives those of each: no more came.
fn all_rows(node: &mut Node, wanted: &[(&str, usize)]) -> Vec<Vec<Value>> {
    for (address, count) in wanted {
        until(&format!("{count} rows of {address}"), || {
            (rows(node, address).len() >= *count).then_some(())
        });
    }
    println!("counted: {}", node.agent.metrics().nonzero_events());
    node.stop_agent();
    let all = |(address, count): &(&str, usize)| {
        let rows = rows(node, address);
        assert_eq!(rows.len(), *count, "{address}: {rows:#?}");
        rows
    };
    wanted.iter().map(all).collect()
}

/// What rows of complete exchanges say.
fn check(rows: &[Value], client: &str, server: &str) {
    for row in rows {
        assert_eq!(row["status"], 200, "{row:#}");
        assert_eq!(row["flags"], serde_json::json!([]), "{row:#}");
        assert_eq!(row["side"], "server", "{row:#}");
        assert_eq!(row["client_address"], "unix:", "{row:#}");
        let workload = |field: &str| row[field].as_str().unwrap().to_owned();
        assert!(workload("client_workload").contains(client), "{row:#}");
        assert!(workload("server_workload").contains(server), "{row:#}");
    }
}

#[test]
fn real_servers_and_clients() {
    if !can_capture() {
        return;
    }
    tests::mount_tracefs();
    let programs = Programs::new();
    let pattern = programs.path("*");
    for provider in PROVIDERS {
        println!("--- {provider}");
        let mut node = node_with(provider, pattern.to_str().unwrap());
        let path = |name: &str| node.directory().join(name);
        let (path_of_node, path_of_python) = (path("node.sock"), path("python.sock"));
        let name = format!("@eastwatch-test-{}-{provider}", std::process::id());
        let mut command = Command::new(programs.path("node"));
        command.arg(service("server.mjs")).arg(&path_of_node);
        let _node = ready(&node, "node", &command);
        let mut _pythons = Vec::new();
        for address in [path_of_python.to_str().unwrap(), &name] {
            let mut command = Command::new(programs.path("python3"));
            command.arg(service("server.py")).arg(address);
            _pythons.push(ready(&node, "python", &command));
        }
        let (_nginx, port) = proxy(&node, &programs.path("nginx"), &path_of_python);

        // A connection each.
        for word in ["one", "two", "three"] {
            let url = format!("http://node/{word}");
            programs.curl(&["--unix-socket", path_of_node.to_str().unwrap(), &url]);
        }
        // One connection.
        let urls = ["http://app/red", "http://app/green", "http://app/blue"];
        programs.curl(&[&["--abstract-unix-socket", &name[1..]], &urls[..]].concat());
        for word in ["apples", "pears"] {
            programs.curl(&[&format!("http://127.0.0.1:{port}/{word}")]);
        }

        let address_of = |path: &Path| format!("unix:{}", path.display());
        let found = all_rows(
            &mut node,
            &[
                (&address_of(&path_of_node), 3),
                (&format!("unix:{name}"), 3),
                (&address_of(&path_of_python), 2),
            ],
        );
        check(&found[0], "curl", "server.mjs");
        check(&found[1], "curl", "server.py");
        check(&found[2], "nginx", "server.py");
        assert_eq!(node.api().calls(port).len(), 2, "what nginx was asked over TCP");
        let shown = node.cli(&["calls", "--workload", "nginx", "--output", "json"]);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains(&address_of(&path_of_python)), "{shown}");
    }
}

/// Answers requests of a fixed size with responses of another.
fn serve(mut stream: UnixStream, requests: usize) {
    let mut request = [0; REQUEST_BYTES];
    for _ in 0..requests {
        stream.read_exact(&mut request).unwrap();
        stream.write_all(RESPONSE).unwrap();
    }
}

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const REQUEST_BYTES: usize = 37;

fn request(number: usize) -> Vec<u8> {
    let request = format!("GET /many/{number:05} HTTP/1.1\r\nHost: u\r\n\r\n");
    assert_eq!(request.len(), REQUEST_BYTES);
    request.into_bytes()
}

fn ask(stream: &mut UnixStream, number: usize) {
    stream.write_all(&request(number)).unwrap();
    let mut response = vec![0; RESPONSE.len()];
    stream.read_exact(&mut response).unwrap();
    assert_eq!(response, RESPONSE);
}

#[test]
fn ten_thousand_requests_over_one_connection() {
    if !can_capture() {
        return;
    }
    tests::mount_tracefs();
    let mut node = own_node("auto");
    let path = node.directory().join("many.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || serve(listener.accept().unwrap().0, MANY));
    let mut client = UnixStream::connect(&path).unwrap();
    for number in 0..MANY {
        ask(&mut client, number);
    }
    drop(client);
    server.join().unwrap();
    let address = format!("unix:{}", path.display());
    let found = all_rows(&mut node, &[(&address, MANY)]);
    assert!(found[0].iter().all(|row| row["flags"] == serde_json::json!([])));
    let coverage = node.api().all("coverage");
    println!("{coverage:?}");
}

/// Sockets of theirs get the addresses of earlier ones, whose end shows in nothing else.
#[test]
fn short_connections_whose_end_nobody_reads() {
    if !can_capture() {
        return;
    }
    tests::mount_tracefs();
    for provider in PROVIDERS {
        println!("--- {provider}");
        let mut node = own_node(provider);
        let path = node.directory().join("short.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            for _ in 0..SHORT {
                serve(listener.accept().unwrap().0, 1);
            }
        });
        for number in 0..SHORT {
            ask(&mut UnixStream::connect(&path).unwrap(), number);
        }
        server.join().unwrap();
        let address = format!("unix:{}", path.display());
        let found = all_rows(&mut node, &[(&address, SHORT)]);
        assert!(found[0].iter().all(|row| row["flags"] == serde_json::json!([])));
    }
}

#[test]
fn descriptors_that_are_passed_do_not_break_it_and_other_kinds_of_sockets_are_left_alone() {
    if !can_capture() {
        return;
    }
    let mut node = own_node("auto");
    let path = node.directory().join("passing.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || serve(listener.accept().unwrap().0, 3));
    let mut client = UnixStream::connect(&path).unwrap();
    ask(&mut client, 0);
    // With the second request, a descriptor.
    let bytes = request(1);
    let descriptors = [client.as_raw_fd()];
    let sent = sendmsg::<()>(
        client.as_raw_fd(),
        &[IoSlice::new(&bytes)],
        &[ControlMessage::ScmRights(&descriptors)],
        MsgFlags::empty(),
        None,
    );
    assert_eq!(sent.unwrap(), bytes.len());
    let mut response = vec![0; RESPONSE.len()];
    client.read_exact(&mut response).unwrap();
    ask(&mut client, 2);
    server.join().unwrap();

    let (left, right) = UnixDatagram::pair().unwrap();
    left.send(&request(7)).unwrap();
    right.recv(&mut [0; 100]).unwrap();
    right.send(RESPONSE).unwrap();
    left.recv(&mut [0; 100]).unwrap();
    let (left, right) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .unwrap();
    nix::unistd::write(&left, &request(8)).unwrap();
    nix::unistd::read(&right, &mut [0; 100]).unwrap();
    nix::unistd::write(&right, RESPONSE).unwrap();
    nix::unistd::read(&left, &mut [0; 100]).unwrap();

    // And a pair of streams, which has no name.
    let (mut left, right) = UnixStream::pair().unwrap();
    let server = std::thread::spawn(move || serve(right, 1));
    ask(&mut left, 9);
    server.join().unwrap();

    let address = format!("unix:{}", path.display());
    until("3 rows", || (rows(&node, &address).len() >= 3).then_some(()));
    let pid = std::process::id();
    let nameless = |node: &Node| {
        let mut rows = rows(node, "unix:");
        rows.retain(|row| row["pid"] == pid);
        rows
    };
    until("a row of the pair", || {
        (!nameless(&node).is_empty()).then_some(())
    });
    node.stop_agent();
    let found = rows(&node, &address);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(
        found.iter().all(|row| row["flags"] == serde_json::json!([])),
        "{found:#?}"
    );
    assert_eq!(nameless(&node).len(), 1);
}
