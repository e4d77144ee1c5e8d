//! Every exchange between real servers and real clients is one row that says what the client saw.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::collections::HashMap;
use std::process::{Command, Output};

use tests::api::Call;
use tests::servers::{self, Server};
use tests::{Node, NodeOptions, can_capture, has_program};

/// What a client saw of an exchange; `None`: it cannot tell.
#[derive(Clone, Debug)]
struct Seen {
    client: &'static str,
    method: &'static str,
    /// As in the row: literal.
    path: String,
    status: u16,
    request_bytes: Option<u64>,
    response_bytes: Option<u64>,
    request_body_bytes: u64,
    response_body_bytes: u64,
}

/// A request that the server answers. Its path is of words that the catalog knows for parts of routes, so rows show it as it is.
#[derive(Clone, Copy, Debug)]
struct Ask {
    method: &'static str,
    path: &'static str,
    body: usize,
}

const fn ask(method: &'static str, path: &'static str, body: usize) -> Ask {
    Ask { method, path, body }
}

/// Of the servers that are programs.
const PROGRAMS: [Ask; 7] = [
    ask("GET", "/echo", 0),
    ask("HEAD", "/echo", 0),
    ask("GET", "/chunked", 0),
    ask("POST", "/echo", 1000),
    ask("POST", "/echo", 200_000),
    ask("PUT", "/echo", 10),
    ask("GET", "/orders", 0),
];

/// Of the servers of files.
const FILES: [Ask; 6] = [
    ask("GET", "/echo", 0),
    ask("HEAD", "/echo", 0),
    ask("GET", "/static/hello", 0),
    ask("GET", "/large", 0),
    ask("GET", "/status/health", 0),
    ask("GET", "/orders", 0),
];

fn text(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// All requests in one curl: one connection, kept alive.
fn curl(server: &Server, asks: &[Ask]) -> Vec<Seen> {
    let mut command = Command::new("curl");
    // An argument has less than 128 KiB.
    let bodies = tempfile::tempdir().unwrap();
    for (number, ask) in asks.iter().enumerate() {
        if number > 0 {
            command.arg("--next");
        }
        command.args(["-s", "-o", "/dev/null", "-m", "30"]).args([
            "-w",
            "%{http_code} %{size_request} %{size_upload} %{size_header} %{size_download}\\n",
        ]);
        match (ask.method, ask.body) {
            ("HEAD", _) => {
                command.arg("-I");
            }
            (method, 0) => {
                command.args(["-X", method]);
            }
            (method, length) => {
                let body = bodies.path().join(length.to_string());
                std::fs::write(&body, "x".repeat(length)).unwrap();
                command.args(["-X", method, "--data-binary", &format!("@{}", body.display())]);
            }
        }
        command.arg(format!("http://{}{}", server.address, ask.path));
    }
    let output = text(&command.output().unwrap());
    assert_eq!(output.lines().count(), asks.len(), "{output}");
    asks.iter()
        .zip(output.lines())
        .map(|(ask, line)| {
            let numbers: Vec<u64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
            let [status, request, upload, header, download] = numbers[..] else {
                panic!("{line}");
            };
            Seen {
                client: "curl",
                method: ask.method,
                path: ask.path.to_owned(),
                status: status.try_into().unwrap(),
                // With a body, curl counts as much of it as went out together with the head.
                request_bytes: (upload == 0).then_some(request),
                // The framing of chunks is not among what curl counts.
                response_bytes: (ask.path != "/chunked").then_some(header + download),
                request_body_bytes: upload,
                response_body_bytes: download,
            }
        })
        .collect()
}

/// One process and one connection for each request.
fn wget(server: &Server, asks: &[Ask]) -> Vec<Seen> {
    let one = |ask: &Ask| {
        let mut command = Command::new("wget");
        command.args(["-q", "-O", "-", "--tries=1", "--content-on-error", "-S"]);
        command.arg(format!("--method={}", ask.method));
        if ask.body > 0 {
            command.arg(format!("--body-data={}", "x".repeat(ask.body)));
        }
        command.arg(format!("http://{}{}", server.address, ask.path));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let status = said
            .split("HTTP/1.")
            .nth(1)
            .and_then(|line| line.split(' ').nth(1));
        Seen {
            client: "wget",
            method: ask.method,
            path: ask.path.to_owned(),
            status: status.unwrap_or_else(|| panic!("{said}")).trim().parse().unwrap(),
            request_bytes: None,
            response_bytes: None,
            request_body_bytes: ask.body as u64,
            response_body_bytes: output.stdout.len() as u64,
        }
    };
    asks.iter()
        // As with curl.
        .filter(|ask| ask.body < 100_000)
        .map(one)
        .collect()
}

/// A script that prints `STATUS BODY_BYTES` for each request.
fn scripted(client: &'static str, mut command: Command, server: &Server, asks: &[Ask]) -> Vec<Seen> {
    let list: Vec<String> = asks
        .iter()
        .map(|ask| {
            format!(
                "{} http://{}{} {}",
                ask.method, server.address, ask.path, ask.body
            )
        })
        .collect();
    let output = text(&command.arg(list.join(";")).output().unwrap());
    assert_eq!(output.lines().count(), asks.len(), "{output}");
    asks.iter()
        .zip(output.lines())
        .map(|(ask, line)| {
            let (status, length) = line.split_once(' ').unwrap();
            Seen {
                client,
                method: ask.method,
                path: ask.path.to_owned(),
                status: status.parse().unwrap(),
                request_bytes: None,
                response_bytes: None,
                request_body_bytes: ask.body as u64,
                response_body_bytes: length.parse().unwrap(),
            }
        })
        .collect()
}

fn requests(server: &Server, asks: &[Ask]) -> Vec<Seen> {
    let script = "import requests, sys
session = requests.Session()
for line in sys.argv[1].split(';'):
    method, url, size = line.split(' ')
    answer = session.request(method, url, data=b'x' * int(size) or None, headers={'accept-encoding': 'identity'}, timeout=30)
    print(answer.status_code, len(answer.content))
";
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", script]);
    scripted("python", command, server, asks)
}

fn fetch(server: &Server, asks: &[Ask]) -> Vec<Seen> {
    let script = "(async () => { for (const line of process.argv[1].split(';')) {
        const [method, url, size] = line.split(' ');
        const body = +size ? 'x'.repeat(+size) : undefined;
        const answer = await fetch(url, { method, body });
        console.log(answer.status, (await answer.arrayBuffer()).byteLength);
    } })();";
    let mut command = Command::new("node");
    command.args(["-e", script]);
    scripted("node", command, server, asks)
}

type Client = fn(&Server, &[Ask]) -> Vec<Seen>;

const CLIENTS: [Client; 4] = [curl, wget, requests, fetch];

fn programs_are_installed() -> bool {
    ["nginx", "apache2", "curl", "wget", "wrk", "node", "go", "java"]
        .into_iter()
        .all(has_program)
}

/// The row says what the client saw.
fn compare(server: &Server, seen: &Seen, call: &Call) {
    let context = format!("{} asked by {seen:?}\n{}", server.name, call.row);
    assert_eq!(call.method, seen.method, "{context}");
    assert_eq!(call.path, seen.path, "{context}");
    assert_eq!(call.status, seen.status, "{context}");
    assert_eq!(call.side, "server", "{context}");
    assert_eq!(call.request_body_bytes, seen.request_body_bytes, "{context}");
    assert_eq!(call.response_body_bytes, seen.response_body_bytes, "{context}");
    if let Some(bytes) = seen.request_bytes {
        assert_eq!(call.request_bytes, bytes, "{context}");
    }
    if let Some(bytes) = seen.response_bytes {
        assert_eq!(call.response_bytes, bytes, "{context}");
    }
    assert!(call.duration_us > 0, "{context}");
    assert!(call.client_workload.contains(seen.client), "{context}");
    assert!(call.server_workload.contains(server.workload), "{context}");
    let odd: Vec<_> = call.flags.iter().filter(|flag| *flag != "truncated").collect();
    assert!(odd.is_empty(), "{context}");
}

/// Calls of one client on one server, in order.
fn matrix(provider: &str, clients: &[Client], start: &[fn(&Node) -> Server]) {
    let mut options = NodeOptions::default();
    options.agent.provider = provider.to_owned();
    let mut node = Node::start(&options);
    let servers: Vec<Server> = start.iter().map(|start| start(&node)).collect();
    let mut seen: HashMap<u16, Vec<Seen>> = HashMap::new();
    for server in &servers {
        let asks: &[Ask] = if ["nginx", "apache"].contains(&server.name) {
            &FILES
        } else {
            &PROGRAMS
        };
        let mut calls = Vec::new();
        for client in clients {
            calls.extend(client(server, asks));
        }
        seen.insert(server.address.port(), calls);
    }
    for server in &servers {
        let port = server.address.port();
        node.until_stored(port, seen[&port].len() as u64);
    }
    node.stop_agent();
    for server in &servers {
        let port = server.address.port();
        let calls = node.api().calls(port);
        let seen = &seen[&port];
        println!(
            "{provider} {}: {} exchanges, {} rows",
            server.name,
            seen.len(),
            calls.len()
        );
        assert_eq!(calls.len(), seen.len(), "{}", server.name);
        for (seen, call) in seen.iter().zip(&calls) {
            compare(server, seen, call);
        }
    }
}

const SERVERS: [fn(&Node) -> Server; 6] = [
    |node| servers::nginx(node.directory()),
    |node| servers::apache(node.directory()),
    |node| servers::python(node.directory(), "127.0.0.1"),
    |node| servers::node(node.directory(), "127.0.0.1"),
    |node| servers::java(node.directory(), "127.0.0.1"),
    |node| servers::go(node.directory(), "127.0.0.1"),
];

#[test]
fn six_servers_and_four_clients() {
    if can_capture() && programs_are_installed() {
        matrix("auto", &CLIENTS, &SERVERS);
    }
}

#[test]
fn the_fallback_provider_sees_the_same() {
    if can_capture() && programs_are_installed() {
        tests::mount_tracefs();
        matrix(
            "syscall-exit",
            &[curl, fetch],
            &[SERVERS[0], SERVERS[2], SERVERS[3], SERVERS[5]],
        );
    }
}

/// wrk counts the responses that came in time; what was on its way at the end is a row as well.
#[test]
fn what_wrk_counts_is_there() {
    const CONNECTIONS: u64 = 4;
    if !can_capture() || !programs_are_installed() {
        return;
    }
    let mut node = Node::start(&NodeOptions::default());
    let server = servers::nginx(node.directory());
    let pace = node.directory().join("pace.lua");
    std::fs::write(&pace, "function delay() return 5 end\n").unwrap();
    let mut command = Command::new("wrk");
    command.args(["-t", "1", "-c", &CONNECTIONS.to_string(), "-d", "1s", "-s"]);
    let url = format!("http://{}/echo", server.address);
    let output = text(&command.arg(&pace).arg(url).output().unwrap());
    let counted: u64 = output
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
        .unwrap_or_else(|| panic!("{output}"));
    node.until_stored(server.address.port(), counted);
    node.stop_agent();
    let calls = node.api().calls(server.address.port());
    println!("wrk counted {counted}, {} rows", calls.len());
    assert!((counted..=counted + CONNECTIONS).contains(&(calls.len() as u64)));
    for call in &calls {
        assert_eq!(
            (call.method.as_str(), call.path.as_str()),
            ("GET", "/echo"),
            "{}",
            call.row
        );
        assert_eq!(call.client_workload, "wrk", "{}", call.row);
        assert_eq!(call.server_workload, "nginx", "{}", call.row);
    }
    let answered = calls
        .iter()
        .filter(|call| call.status == 200 && call.duration_us > 0);
    assert!(answered.count() as u64 >= counted);
}
