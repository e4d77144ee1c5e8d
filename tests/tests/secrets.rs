//! Canaries: what is secret stays on the node. Planted in every place of a request and a response, searched for in everything that the
//! agent and the collector keep, say and send.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use tests::http::Client;
use tests::{Collector, Node, NodeOptions, UNLIMITED, can_capture, until};

/// Each is unlike anything else on this machine.
const SECRETS: [(&str, &str); 16] = [
    ("query value", "canaryQueryValue7Zk1"),
    ("token in the query", "canaryAccessToken8Yw2"),
    ("bearer token", "eyJhbGciOiJIUzI1NiJ9.canaryBearer9Xv3"),
    ("cookie", "canarySessionCookie1Wu4"),
    ("custom request header", "canaryCustomHeader2Vt5"),
    ("API key header", "canaryApiKey3Us6"),
    ("request body", "canaryRequestBody4Tr7"),
    ("form password", "canaryPassword5Sq8"),
    ("path value", "canaryPathValue6Rp9x"),
    ("path of one call", "f3b1canary40ad9be77c02"),
    ("basic credentials", "Y2FuYXJ5VXNlcjpjYW5hcnlQYXNz"),
    ("set-cookie", "canarySetCookie7Qo1"),
    ("custom response header", "canaryResponseHeader8Pn2"),
    ("response body", "canaryResponseBody9Om3"),
    ("referer", "canaryReferer1Nl4"),
    ("location", "canaryLocation2Mk5"),
];

fn secret(place: &str) -> &'static str {
    SECRETS
        .iter()
        .find(|(name, _)| *name == place)
        .unwrap_or_else(|| panic!("{place}"))
        .1
}

/// Answers each connection's requests with secrets of its own.
fn start_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let body = format!("{{\"token\":\"{}\"}}", secret("response body"));
    let answer = format!(
        "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nset-cookie: session={}; HttpOnly\r\nx-internal: {}\r\n\
         location: /accounts/{}?key={}\r\ncontent-length: {}\r\n\r\n{body}",
        secret("set-cookie"),
        secret("custom response header"),
        secret("location"),
        secret("location"),
        body.len()
    );
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut received = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                received.extend_from_slice(&buffer[..length]);
                if received.ends_with(b"\n.") {
                    received.clear();
                    let _ = stream.write_all(answer.as_bytes());
                }
            }
        }
    });
    address
}

fn request(address: SocketAddr, path: &str) -> String {
    let body = format!(
        "user=me&password={}&note={}\n.",
        secret("form password"),
        secret("request body")
    );
    format!(
        "POST {path}?name={}&access_token={} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
         proxy-authorization: Basic {}\r\ncookie: session={}; theme=dark\r\nx-api-key: {}\r\nx-customer: {}\r\n\
         referer: http://{address}/reset/{}?token={}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n\r\n{body}",
        secret("query value"),
        secret("token in the query"),
        secret("bearer token"),
        secret("basic credentials"),
        secret("cookie"),
        secret("API key header"),
        secret("custom request header"),
        secret("referer"),
        secret("referer"),
        body.len()
    )
}

/// Every file below a directory, with its content.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn search(place: &str, bytes: &[u8]) {
    for (name, secret) in SECRETS {
        assert!(!contains(bytes, secret), "the {name} is in {place}");
    }
}

#[test]
fn no_secret_leaves_the_node() {
    if !can_capture() {
        return;
    }
    let mut options = NodeOptions::default();
    // All that the agent can say.
    let level = "debug,h2=info,hyper=info,tower=info,tonic=info".to_owned();
    options
        .agent
        .env
        .push(("EASTWATCH_AGENT__LOG__LEVEL".to_owned(), level));
    let mut node = Node::start(&options);
    let address = start_server();
    let mut client = Client::connect(address).unwrap();
    let constant = format!("/accounts/{}/orders", secret("path value"));
    let mut sent = 0;
    // Seen often a value may be taken for part of a route; this one is a value each time.
    for path in [
        constant.clone(),
        format!("/reset/{}", secret("path of one call")),
        constant,
    ] {
        let response = client.ask(&request(address, &path));
        assert_eq!(response.status, 201);
        sent += 1;
    }
    node.until_stored(address.port(), sent);

    // What waits for a collector that is away is as clean.
    node.collector.process.terminate();
    client.ask(&request(address, "/orders"));
    until("a batch waits", || {
        (node.agent.metrics().get("eastwatch_agent_spool_batches") > 0).then_some(())
    });
    let metrics = http_text(node.agent.metrics);
    search("the agent's metrics", metrics.as_bytes());
    let doctor = node.agent.run(&["doctor", "--output", "json"]);
    search("doctor's report", &doctor.stdout);

    // The spool is compressed: a collector takes it in.
    let (grpc, count) = (node.collector.grpc.to_string(), sent + 1);
    let early = files(node.directory());
    node.collector = Collector::start(node.directory(), UNLIMITED, &grpc);
    node.until_stored(address.port(), count);

    let mut searched = 0;
    let mut names = Vec::new();
    for (path, bytes) in early.into_iter().chain(files(node.directory())) {
        search(&path.display().to_string(), &bytes);
        searched += bytes.len();
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    for expected in ["eastwatch.db", "agent.err", "collector.err"] {
        assert!(
            names.iter().any(|name| name == expected),
            "{expected} is not among {names:?}"
        );
    }
    assert!(names.iter().any(|name| name.ends_with(".spool")), "{names:?}");
    names.sort();
    names.dedup();
    println!("{searched} bytes are clean: {names:?}");
}

fn http_text(address: SocketAddr) -> String {
    tests::http::get(address, "/metrics").unwrap().text()
}

#[test]
fn what_the_collector_answers_holds_no_secret() {
    if !can_capture() {
        return;
    }
    let mut node = Node::start(&NodeOptions::default());
    let address = start_server();
    let mut client = Client::connect(address).unwrap();
    for path in [
        format!("/accounts/{}/orders", secret("path value")),
        format!("/reset/{}", secret("path of one call")),
    ] {
        client.ask(&request(address, &path));
    }
    node.all_calls(address.port(), 2);
    for list in ["calls", "endpoints", "edges", "workloads", "agents"] {
        let rows = node.api().all(list);
        assert!(!rows.is_empty(), "{list}");
        search(list, serde_json::to_string(&rows).unwrap().as_bytes());
        for form in ["table", "json"] {
            let name = if list == "edges" { "graph" } else { list };
            let output = node.cli(&[name, "--output", form]);
            assert!(
                output.status.success() && !output.stdout.is_empty(),
                "{name}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            search(name, &output.stdout);
        }
    }
    // The rows do say what they may.
    let call = &node.api().calls(address.port())[0];
    assert_eq!(
        call.row["query_names"],
        serde_json::json!(["access_token", "name"]),
        "{}",
        call.row
    );
    assert!(
        call.path.starts_with("/accounts/{") && call.path.ends_with("}/orders"),
        "{}",
        call.path
    );
}
