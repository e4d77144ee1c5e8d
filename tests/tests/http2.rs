//! HTTP/2 between real servers and real clients: every exchange is one row that says what the client saw.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::path::Path;
use std::process::Command;

use tests::api::Call;
use tests::peers::{self, output};
use tests::servers::Server;
use tests::{Node, NodeOptions, can_capture};

/// Bytes of `peers`' answer to what it does not know.
const NOT_FOUND_BYTES: u64 = 14;

/// A request and what its client has to see. Paths are of words that the catalog knows for parts of routes, so rows show them as they
/// are; a number shows as its type.
#[derive(Clone, Copy, Debug)]
struct Ask {
    method: &'static str,
    path: &'static str,
    body: u64,
    shown: &'static str,
    status: u16,
    answer: u64,
}

const fn ask(method: &'static str, path: &'static str, body: u64, status: u16, answer: u64) -> Ask {
    Ask {
        method,
        path,
        body,
        shown: path,
        status,
        answer,
    }
}

/// Of the servers of `services`.
const PROGRAMS: [Ask; 6] = [
    ask("GET", "/echo", 0, 200, 0),
    ask("POST", "/echo", 1000, 200, 1000),
    ask("POST", "/echo", 200_000, 200, 200_000),
    Ask {
        shown: "/status/{integer}",
        ..ask("DELETE", "/status/503", 0, 503, 0)
    },
    ask("GET", "/orders", 0, 404, NOT_FOUND_BYTES),
    ask("PUT", "/echo", 10, 200, 10),
];

/// What a row has to say.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    client: String,
    method: String,
    path: String,
    status: u16,
    request_body_bytes: u64,
    response_body_bytes: u64,
}

impl Seen {
    fn by(client: &str, ask: &Ask) -> Self {
        Self {
            client: client.to_owned(),
            method: ask.method.to_owned(),
            path: ask.shown.to_owned(),
            status: ask.status,
            request_body_bytes: ask.body,
            response_body_bytes: ask.answer,
        }
    }

    fn of(call: &Call) -> Self {
        Self {
            client: call.client_workload.clone(),
            method: call.method.clone(),
            path: call.path.clone(),
            status: call.status,
            request_body_bytes: call.request_body_bytes,
            response_body_bytes: call.response_body_bytes,
        }
    }
}

/// What holds of each exchange that was seen from its connection's begin.
fn is_whole(call: &Call, server: &Server) {
    assert_eq!(call.side, "server", "{}", call.row);
    assert_eq!(call.protocol, "HTTP/2", "{}", call.row);
    assert_eq!(call.application, "http", "{}", call.row);
    assert!(call.server_workload.contains(server.workload), "{}", call.row);
    assert!(call.duration_us > 0, "{}", call.row);
    assert!(call.request_bytes > call.request_body_bytes, "{}", call.row);
    assert!(call.response_bytes > call.response_body_bytes, "{}", call.row);
    let odd: Vec<_> = call.flags.iter().filter(|flag| *flag != "truncated").collect();
    assert!(odd.is_empty(), "{}", call.row);
}

/// The list that clients of `services` take.
fn list(server: &Server, asks: &[Ask]) -> String {
    let one = |ask: &Ask| {
        format!(
            "{} http://{}{} {}",
            ask.method, server.address, ask.path, ask.body
        )
    };
    asks.iter().map(one).collect::<Vec<_>>().join(";")
}

/// Runs a client of `services`, which prints what it saw. Gives what rows must say.
fn scripted(workload: &str, mut command: Command, server: &Server, asks: &[Ask]) -> Vec<Seen> {
    let text = output(command.arg(list(server, asks)));
    let saw: Vec<String> = asks
        .iter()
        .map(|ask| format!("{} {}", ask.status, ask.answer))
        .collect();
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        saw,
        "{workload} at {}",
        server.name
    );
    asks.iter().map(|ask| Seen::by(workload, ask)).collect()
}

fn node_client(server: &Server, _: &Path, asks: &[Ask]) -> Vec<Seen> {
    let mut command = peers::node("http2/peers.mjs");
    command.arg("call");
    scripted("node:peers.mjs", command, server, asks)
}

fn go_client(server: &Server, directory: &Path, asks: &[Ask]) -> Vec<Seen> {
    let mut command = Command::new(peers::go(directory, "http2/peers.go", "gopeers"));
    command.arg("call");
    scripted("gopeers", command, server, asks)
}

/// Begins with HTTP/1.1 and asks for an upgrade.
fn java_client(server: &Server, _: &Path, asks: &[Ask]) -> Vec<Seen> {
    scripted("java:Client.java", peers::java("http2/Client.java"), server, asks)
}

/// One curl for all `asks`, on one connection.
fn curl(option: &str, server: &Server, directory: &Path, asks: &[Ask]) -> Vec<Seen> {
    let mut command = Command::new("curl");
    for (number, ask) in asks.iter().enumerate() {
        if number > 0 {
            command.arg("--next");
        }
        command.args([option, "-s", "-o", "/dev/null", "-m", "30", "-X", ask.method]);
        command.args(["-w", "%{http_code} %{size_download}\\n"]);
        if ask.body > 0 {
            let body = directory.join(format!("body{}", ask.body));
            std::fs::write(&body, "x".repeat(ask.body as usize)).unwrap();
            command.args(["--data-binary", &format!("@{}", body.display())]);
        }
        command.arg(format!("http://{}{}", server.address, ask.path));
    }
    let text = output(&mut command);
    let saw: Vec<String> = asks
        .iter()
        .map(|ask| format!("{} {}", ask.status, ask.answer))
        .collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), saw, "curl at {}", server.name);
    asks.iter().map(|ask| Seen::by("curl", ask)).collect()
}

/// A connection for each request: with prior knowledge, curl 7.88 fails to use one again.
fn curl_that_knows(server: &Server, directory: &Path, asks: &[Ask]) -> Vec<Seen> {
    asks.chunks(1)
        .flat_map(|ask| curl("--http2-prior-knowledge", server, directory, ask))
        .collect()
}

fn curl_that_upgrades(server: &Server, directory: &Path, asks: &[Ask]) -> Vec<Seen> {
    curl("--http2", server, directory, asks)
}

/// One connection for each request; only those without a body, which would go before the upgrade.
fn nghttp_that_upgrades(server: &Server, _: &Path, asks: &[Ask]) -> Vec<Seen> {
    asks.iter()
        .filter(|ask| ask.body == 0)
        .map(|ask| {
            let method = format!(":method: {}", ask.method);
            let url = format!("http://{}{}", server.address, ask.path);
            let text = output(Command::new("nghttp").args(["-vnu", "-H", &method, &url]));
            assert!(text.contains(&format!(":status: {}", ask.status)), "{text}");
            Seen::by("nghttp", ask)
        })
        .collect()
}

type Client = fn(&Server, &Path, &[Ask]) -> Vec<Seen>;

/// Starts a server and calls it with each client.
fn rows_of(node: &mut Node, server: &Server, clients: &[Client], asks: &[Ask]) -> (Vec<Seen>, Vec<Call>) {
    let directory = node.directory().to_owned();
    let mut seen: Vec<Seen> = clients
        .iter()
        .flat_map(|client| client(server, &directory, asks))
        .collect();
    let port = server.address.port();
    node.until_stored(port, seen.len() as u64);
    let calls = node.api().calls(port);
    println!("{}: {} sent, {} stored", server.name, seen.len(), calls.len());
    for call in &calls {
        println!("{}", call.row);
    }
    seen.sort();
    (seen, calls)
}

fn rust_server(directory: &Path) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peers"));
    command.arg("http");
    peers::serve("rust", "peers", directory, &command)
}

fn go_server(directory: &Path) -> Server {
    let mut command = Command::new(peers::go(directory, "http2/peers.go", "gopeers"));
    command.arg("serve");
    peers::serve("go", "gopeers", directory, &command)
}

fn node_server(directory: &Path) -> Server {
    let mut command = peers::node("http2/peers.mjs");
    command.arg("serve");
    peers::serve("node", "peers.mjs", directory, &command)
}

/// Ten connections with a hundred streams at a time.
#[test]
fn what_h2load_sends_is_there() {
    const REQUESTS: u64 = 10_000;
    if !can_capture() || !peers::are_installed() {
        return;
    }
    let mut node = Node::start(&NodeOptions::default());
    let server = peers::nghttpd(node.directory());
    let text = output(
        Command::new("h2load")
            .args(["-n", &REQUESTS.to_string(), "-c", "10", "-m", "100"])
            .arg(format!("http://{}/echo", server.address)),
    );
    assert!(text.contains(&format!("{REQUESTS} succeeded")), "{text}");
    let calls = node.all_calls(server.address.port(), REQUESTS);
    for call in &calls {
        is_whole(call, &server);
        let said = (call.method.as_str(), call.path.as_str(), call.status);
        assert_eq!(said, ("GET", "/echo", 200), "{}", call.row);
        assert_eq!(call.response_body_bytes, 5, "{}", call.row);
        assert_eq!(call.client_workload, "h2load", "{}", call.row);
    }
}

fn matrix(provider: &str) {
    let mut options = NodeOptions::default();
    options.agent.provider = provider.to_owned();
    let mut node = Node::start(&options);
    for start in [rust_server, go_server, node_server] {
        let server = start(node.directory());
        let clients: [Client; 3] = [node_client, go_client, curl_that_knows];
        let (seen, calls) = rows_of(&mut node, &server, &clients, &PROGRAMS);
        let mut rows: Vec<Seen> = calls.iter().map(Seen::of).collect();
        rows.sort();
        assert_eq!(rows, seen, "{}", server.name);
        for call in &calls {
            is_whole(call, &server);
        }
    }
}

#[test]
fn three_servers_and_three_clients() {
    if can_capture() && peers::are_installed() {
        matrix("auto");
    }
}

#[test]
fn the_fallback_provider_sees_the_same() {
    if can_capture() && peers::are_installed() {
        tests::mount_tracefs();
        matrix("syscall-exit");
    }
}

/// Connections that begin with HTTP/1.1 and are upgraded with their first request.
#[test]
fn upgrades_are_followed() {
    if !can_capture() || !peers::are_installed() {
        return;
    }
    let mut node = Node::start(&NodeOptions::default());
    let server = go_server(node.directory());
    let clients: [Client; 3] = [java_client, curl_that_upgrades, nghttp_that_upgrades];
    let (seen, calls) = rows_of(&mut node, &server, &clients, &PROGRAMS);
    let mut rows: Vec<Seen> = calls.iter().map(Seen::of).collect();
    rows.sort();
    assert_eq!(rows, seen);
    let upgraded: Vec<&Call> = calls.iter().filter(|call| call.protocol == "HTTP/1.1").collect();
    for call in calls.iter().filter(|call| call.protocol != "HTTP/1.1") {
        is_whole(call, &server);
    }

    // The first of Java and of curl, each of nghttp.
    assert_eq!(upgraded.len(), 5, "{upgraded:?}");
}

/// Fields said before the agent came are not known, and not guessed; those said since are, also when only their number in the table
/// is sent again.
#[test]
fn a_connection_is_joined_in_the_middle() {
    if !can_capture() || !peers::are_installed() {
        return;
    }
    let directory = tests::directory();
    let server = go_server(directory.path());
    let mut command = Command::new(peers::go(directory.path(), "http2/peers.go", "gopeers"));
    command.args(["call", "-"]);
    let mut client = tests::Process::start("client", directory.path(), &command);
    let [early, late] = [&PROGRAMS[..4], &PROGRAMS[4..]];
    for _ in 0..3 {
        client.order(&list(&server, early));
    }

    let mut node = Node::start(&NodeOptions::default());
    for _ in 0..4 {
        client.order(&list(&server, early));
        client.order(&list(&server, late));
    }
    let port = server.address.port();
    node.until_stored(port, 4 * PROGRAMS.len() as u64);
    let joined = node.api().calls(port);
    assert_eq!(joined.len(), 4 * PROGRAMS.len());
    for (call, ask) in joined.iter().zip(PROGRAMS.iter().cycle()) {
        let known = [
            call.path.is_empty() || call.path == ask.shown,
            call.method.is_empty() || call.method == ask.method,
            call.status == 0 || call.status == ask.status,
        ];
        assert_eq!(known, [true; 3], "{ask:?}: {}", call.row);
        assert!(call.is("late_join"), "{}", call.row);
    }
    // Nobody had asked for it before.
    let orders = joined
        .iter()
        .filter(|call| call.path == "/orders" && call.method == "GET");
    assert_eq!(orders.count(), 4);

    // A new connection is seen from its begin.
    drop(client);
    go_client(&server, directory.path(), &PROGRAMS);
    let calls = node.all_calls(port, 5 * PROGRAMS.len() as u64);
    for (call, ask) in calls[4 * PROGRAMS.len()..].iter().zip(&PROGRAMS) {
        is_whole(call, &server);
        assert_eq!(
            (call.path.as_str(), call.method.as_str()),
            (ask.shown, ask.method),
            "{}",
            call.row
        );
    }
}
