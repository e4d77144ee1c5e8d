//! Canaries: what is secret stays on the node. Planted in every place of a request and a response, searched for in everything that the
//! agent and the collector keep, say and send.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use tests::http::Client;
use tests::{Collector, Node, NodeOptions, UNLIMITED, can_capture, until};

/// Each is unlike anything else on this machine.
const SECRETS: [(&str, &str); 26] = [
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
    ("GraphQL variable", "canaryVariable3Lj6"),
    ("GraphQL literal", "canaryLiteral4Ki7"),
    ("JSON-RPC parameter", "canaryParameter5Jh8"),
    ("JSON-RPC error", "canaryRpcError6Ig9"),
    ("SOAP element", "canaryElement7Hf1"),
    ("message of a WebSocket", "canaryMessage8Ge2"),
    ("answer of a WebSocket", "canaryAnswer9Fd3"),
    ("metadata of gRPC", "canaryMetadata1Ec4"),
    ("message of gRPC", "canaryGrpcMessage2Db5"),
    ("grpc-message", "canaryTrailer3Ca6"),
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

/// What applications send over HTTP/1, each with secrets where they have their values.
fn spoken(address: SocketAddr) -> [String; 3] {
    let post = |path: &str, fields: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\n{fields}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let graphql = format!(
        r#"{{"operationName":"GetUser","query":"query GetUser($id: ID) {{ user(id: $id, key: \"{}\") {{ name }} }}","variables":{{"id":"{}"}}}}"#,
        secret("GraphQL literal"),
        secret("GraphQL variable")
    );
    let json_rpc = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"orders.list","params":["{}"]}}"#,
        secret("JSON-RPC parameter")
    );
    let soap = format!(
        "<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body><GetOrder><id>{}</id></GetOrder>\
         </soap:Body></soap:Envelope>",
        secret("SOAP element")
    );
    let json = "content-type: application/json\r\n";
    let xml = "content-type: text/xml\r\nsoapaction: \"urn:orders#GetOrder\"\r\n";
    [
        post("/graphql", json, &graphql),
        post("/rpc", json, &json_rpc),
        post("/soap", xml, &soap),
    ]
}

/// Answers whatever `spoken` and `converse` send.
fn start_applications() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || drop(answer(stream)));
        }
    });
    address
}

/// Serves one connection until it ends.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut input = BufReader::new(stream.try_clone()?);
    if input.fill_buf()?.starts_with(b"PRI") {
        return answer_grpc(input, stream);
    }
    loop {
        let (mut length, mut socket) = (0, false);
        loop {
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap_or_default();
            }
            socket |= line == "upgrade: websocket";
            if line.is_empty() {
                break;
            }
        }
        if socket {
            let handshake = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: graphql-ws\r\n\r\n";
            stream.write_all(handshake.as_bytes())?;
            let mut frame = vec![0; masked(secret("message of a WebSocket")).len()];
            input.read_exact(&mut frame)?;
            let text = secret("answer of a WebSocket");
            stream.write_all(&[0x81, text.len() as u8])?;
            stream.write_all(text.as_bytes())?;
            // Close, 1000.
            return stream.write_all(&[0x88, 2, 0x03, 0xe8]);
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body)?;
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":7,"error":{{"code":-32000,"message":"{}"}}}}"#,
            secret("JSON-RPC error")
        );
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes())?;
    }
}

/// A text frame of a client (RFC 6455 section 5.2) whose mask changes nothing.
fn masked(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    frame.extend(text.as_bytes());
    frame
}

/// A frame of HTTP/2 (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    let mut frame = length.to_vec();
    frame.extend([kind, flags, 0, 0, 0, stream]);
    frame.extend(payload);
    frame
}

/// Literal fields, names and values as they are (RFC 7541 section 6.2.1: they enter the table).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let string = |text: &str| [vec![text.len() as u8], text.as_bytes().to_vec()].concat();
    let field = |(name, value): &(&str, &str)| [vec![0x40], string(name), string(value)].concat();
    fields.iter().flat_map(field).collect()
}

/// A message of gRPC.
fn message(text: &str) -> Vec<u8> {
    [vec![0, 0, 0, 0, text.len() as u8], text.as_bytes().to_vec()].concat()
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;

/// A call of gRPC on a connection of its own.
fn call_grpc(address: SocketAddr) {
    let authority = address.to_string();
    let bearer = format!("Bearer {}", secret("bearer token"));
    let request = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/shop.v1.Orders/GetOrder"),
        (":authority", &authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", &bearer),
        ("x-customer", secret("custom request header")),
        ("trace-bin", secret("metadata of gRPC")),
    ]);
    let mut client = Client::connect(address).unwrap();
    client.send(PREFACE);
    client.send(&frame(SETTINGS, 0, 0, &[]));
    client.send(&frame(HEADERS, END_HEADERS, 1, &request));
    client.send(&frame(0, END_STREAM, 1, &message(secret("message of gRPC"))));
    assert!(contains(&client.rest(), secret("grpc-message")));
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Answers the one call of [`call_grpc`].
fn answer_grpc(mut input: impl Read, mut stream: TcpStream) -> std::io::Result<()> {
    input.read_exact(&mut vec![0; PREFACE.len()])?;
    loop {
        let mut head = [0; 9];
        input.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        input.read_exact(&mut vec![0; length as usize])?;
        if head[3] == 0 && head[4] & END_STREAM != 0 {
            break;
        }
    }
    let response = block(&[(":status", "200"), ("content-type", "application/grpc")]);
    let trailers = block(&[("grpc-status", "5"), ("grpc-message", secret("grpc-message"))]);
    stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, &response))?;
    stream.write_all(&frame(0, 0, 1, &message(secret("message of gRPC"))))?;
    stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers))
}

/// A WebSocket session, to its end.
fn converse(address: SocketAddr) {
    let mut client = Client::connect(address).unwrap();
    let handshake = format!(
        "GET /feed HTTP/1.1\r\nhost: {address}\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: graphql-ws\r\n\r\n"
    );
    assert_eq!(client.ask(&handshake).status, 101);
    client.send(&masked(secret("message of a WebSocket")));
    let rest = client.rest();
    assert!(contains(&rest, secret("answer of a WebSocket")));
}

#[test]
fn no_secret_leaves_through_an_application() {
    if !can_capture() {
        return;
    }
    let mut node = Node::start(&NodeOptions::default());
    let address = start_applications();
    let mut client = Client::connect(address).unwrap();
    for request in spoken(address) {
        assert_eq!(client.ask(&request).status, 200);
    }
    converse(address);
    call_grpc(address);
    drop(client);
    let rows = node.all_calls(address.port(), 5);
    let said: Vec<String> = rows
        .iter()
        .map(|call| {
            let field = |name: &str| call.row[name].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", call.path, field("application"), field("operation"))
        })
        .collect();
    for expected in [
        "/graphql graphql query GetUser",
        "/rpc json-rpc orders.list",
        "/soap soap GetOrder",
        "/feed websocket graphql-ws",
        "/shop.v1.Orders/GetOrder grpc shop.v1.Orders/GetOrder",
    ] {
        assert!(
            said.iter().any(|said| said == expected),
            "{expected} is not in {said:?}"
        );
    }
    let grpc = rows
        .iter()
        .find(|call| call.row["application"] == "grpc")
        .unwrap();
    assert_eq!(
        (&grpc.row["rpc_status"], &grpc.row["rpc_error"], &grpc.row["host"]),
        (&5.into(), &true.into(), &address.to_string().into())
    );
    for form in ["table", "json"] {
        let output = node.cli(&["calls", "--output", form]);
        assert!(output.status.success());
        println!("{}", String::from_utf8_lossy(&output.stdout));
        search("calls", &output.stdout);
    }
    for (path, bytes) in files(node.directory()) {
        search(&path.display().to_string(), &bytes);
    }
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
