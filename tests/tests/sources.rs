//! The same traffic captured live, replayed from a packet capture, and replayed from an archive of what its client knew, gives the same
//! exchanges.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tests::api::Call;
use tests::peers::{self, output};
use tests::servers::Server;
use tests::{Node, NodeOptions, Process, can_capture, has_program, http as wire, until};
use tokio_tungstenite::tungstenite::Message;

/// What the last request carries: when the capture holds it twice, it holds everything.
const MARK: &str = "427081";

/// What every source has to say of an exchange.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    server: String,
    method: String,
    target: String,
    status: u64,
    protocol: String,
    application: String,
    messages: [u64; 2],
    message_bytes: [u64; 2],
    flags: Vec<String>,
}

/// Request and response on the wire.
type Sizes = [u64; 2];

impl Told {
    fn live(call: &Call) -> (Self, Sizes) {
        let told = Self {
            server: call.server.to_string(),
            method: call.method.clone(),
            target: call.path.clone(),
            status: call.status.into(),
            protocol: call.protocol.clone(),
            application: call.application.clone(),
            messages: call.messages,
            message_bytes: call.message_bytes,
            flags: call
                .flags
                .iter()
                .filter(|flag| *flag != "truncated")
                .cloned()
                .collect(),
        };
        (told, [call.request_bytes, call.response_bytes])
    }

    /// Of a line of `calls.jsonl`.
    fn replayed(line: &Value) -> (Self, Sizes) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let [request, response] = [&line["request"], &line["response"]];
        let both = |name: &str| [request, response].map(|half| half["messages"][name].as_u64().unwrap_or(0));
        let application = text(&line["application"]["type"]);
        let told = Self {
            server: text(&line["server"]),
            method: text(&request["method"]),
            target: text(&request["target"]),
            status: response["status"].as_u64().unwrap_or(0),
            protocol: text(&line["protocol"]),
            application: if application.is_empty() {
                "http".to_owned()
            } else {
                application
            },
            messages: both("count"),
            message_bytes: both("bytes"),
            flags: line["flags"]
                .as_array()
                .unwrap()
                .iter()
                .map(text)
                .filter(|flag| flag != "truncated")
                .collect(),
        };
        (
            told,
            [request, response].map(|half| half["size"].as_u64().unwrap_or(0)),
        )
    }
}

/// Replays a file and gives what is in `calls.jsonl`.
fn replay(node: &Node, file: &Path) -> Vec<(Told, Sizes)> {
    let out = file.with_extension("replayed");
    let done = node.agent.run(&[
        "replay",
        "--reveal",
        "--out-dir",
        out.to_str().unwrap(),
        file.to_str().unwrap(),
    ]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let calls = std::fs::read_to_string(out.join("calls.jsonl")).unwrap();
    let mut told: Vec<_> = calls
        .lines()
        .map(|line| Told::replayed(&serde_json::from_str(line).unwrap()))
        .collect();
    told.sort();
    told
}

/// An archive, entry by entry, as the client of the traffic writes it.
#[derive(Default)]
struct Archive(Vec<Value>);

/// One half of an exchange as its client knows it.
struct Half<'a> {
    headers: &'a [(&'a str, &'a str)],
    body: &'a [u8],
    /// Bytes of its head, where they are known.
    head: Option<usize>,
}

impl Half<'_> {
    fn members(&self, version: &str) -> Value {
        let headers: Vec<Value> = self
            .headers
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        json!({
            "httpVersion": version, "headers": headers, "cookies": [],
            "headersSize": self.head.map_or(-1, |bytes| bytes as i64), "bodySize": self.body.len(),
        })
    }
}

impl Archive {
    fn add(
        &mut self,
        version: &str,
        method: &str,
        url: &str,
        request: &Half<'_>,
        status: u16,
        response: &Half<'_>,
    ) {
        let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
        let mut asked = request.members(version);
        asked["method"] = method.into();
        asked["url"] = url.into();
        if !request.body.is_empty() {
            asked["postData"] = json!({"mimeType": "application/json", "text": text(request.body)});
        }
        let mut answered = response.members(version);
        answered["status"] = status.into();
        answered["content"] =
            json!({"size": response.body.len(), "mimeType": "", "text": text(response.body)});
        let address = url.split('/').nth(2).unwrap();
        let server = address.split(':').next().unwrap();
        self.0.push(json!({
            "startedDateTime": "2026-01-01T00:00:00Z", "time": 1, "serverIPAddress": server,
            "request": asked, "response": answered, "cache": {}, "timings": {"send": 0, "wait": 1, "receive": 0},
        }));
    }

    fn write(&self, file: &Path) {
        let log = json!({"log": {"version": "1.2", "creator": {"name": "test", "version": "1"}, "entries": self.0}});
        std::fs::write(file, log.to_string()).unwrap();
    }
}

/// Method, path, content type and body.
type Ask = (&'static str, &'static str, &'static str, &'static str);

const ASKS: [Ask; 5] = [
    ("GET", "/echo", "", ""),
    ("GET", "/orders", "", ""),
    (
        "POST",
        "/echo",
        "application/json",
        r#"{"jsonrpc":"2.0","id":1,"method":"add","params":[1,2]}"#,
    ),
    (
        "POST",
        "/graphql",
        "application/json",
        r#"{"query":"query Orders { orders { total } }"}"#,
    ),
    ("PUT", "/echo", "text/plain", "text that is nobody's protocol"),
];

/// Over one HTTP/1.1 connection.
fn http1(server: &Server, archive: &mut Archive) {
    let mut client = wire::Client::connect(server.address).unwrap();
    let host = server.address.to_string();
    let mark = ("GET", "/echo", "", "");
    for (number, (method, path, kind, body)) in ASKS.into_iter().chain([mark]).enumerate() {
        let length = body.len().to_string();
        let sequence = if number < ASKS.len() { "1" } else { MARK };
        let mut headers = vec![("host", host.as_str()), ("x-seq", sequence)];
        if !body.is_empty() {
            headers.extend([("content-type", kind), ("content-length", &length)]);
        }
        let fields: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let head = format!("{method} {path} HTTP/1.1\r\n{fields}\r\n");
        let answer = client.ask(&format!("{head}{body}"));
        let request = Half {
            headers: &headers,
            body: body.as_bytes(),
            head: Some(head.len()),
        };
        let fields: Vec<_> = answer
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let response = Half {
            headers: &fields,
            body: &answer.body,
            head: Some(answer.wire_bytes as usize - answer.body.len()),
        };
        let url = format!("http://{host}{path}");
        archive.add("HTTP/1.1", method, &url, &request, answer.status, &response);
    }
}

/// Over one HTTP/2 connection.
async fn http2(server: &Server, archive: &mut Archive) {
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    for (method, path, kind, body) in ASKS {
        let url = format!("http://{}{path}", server.address);
        let mut request = Request::builder().method(method).uri(&url);
        let mut headers = Vec::new();
        if !body.is_empty() {
            request = request.header("content-type", kind);
            headers.push(("content-type", kind));
        }
        let request = request
            .body(Full::new(Bytes::from_static(body.as_bytes())))
            .unwrap();
        let (head, answer) = sender.send_request(request).await.unwrap().into_parts();
        let answer = answer.collect().await.unwrap().to_bytes();
        let request = Half {
            headers: &headers,
            body: body.as_bytes(),
            head: None,
        };
        let response = Half {
            headers: &[],
            body: &answer,
            head: None,
        };
        archive.add("HTTP/2", method, &url, &request, head.status.as_u16(), &response);
    }
    drop(sender);
    connection.await.unwrap().unwrap();
}

/// A session of two texts.
async fn websocket(server: &Server, archive: &mut Archive) {
    let url = format!("ws://{}/live", server.address);
    let (mut session, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    let mut messages = Vec::new();
    for text in ["one", "three"] {
        session.send(Message::text(text)).await.unwrap();
        assert_eq!(session.next().await.unwrap().unwrap(), Message::text(text));
        messages.extend(["send", "receive"].map(|kind| json!({"type": kind, "opcode": 1, "data": text})));
    }
    session.close(None).await.unwrap();
    while let Some(Ok(_)) = session.next().await {}
    let nothing = Half {
        headers: &[],
        body: b"",
        head: None,
    };
    archive.add(
        "HTTP/1.1",
        "GET",
        &url.replace("ws:", "http:"),
        &nothing,
        101,
        &nothing,
    );
    archive.0.last_mut().unwrap()["_webSocketMessages"] = messages.into();
}

#[test]
fn live_capture_and_archive_tell_the_same() {
    if !can_capture() || !peers::are_installed() || !has_program("tcpdump") {
        return;
    }
    let mut node = Node::start(&NodeOptions::default());
    let directory = node.directory().to_owned();
    let server = |kind: &'static str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peers"));
        command.arg(kind);
        peers::serve(kind, "peers", &directory, &command)
    };
    let servers = ["http", "websocket", "grpc"].map(server);
    let [web, sessions, notes] = &servers;

    let capture = directory.join("capture.pcap");
    let ports: Vec<String> = servers
        .iter()
        .map(|server| format!("tcp port {}", server.address.port()))
        .collect();
    let mut command = Command::new(tests::program("tcpdump").unwrap());
    command
        .args([
            "-i",
            "lo",
            "-s",
            "0",
            "-U",
            "--immediate-mode",
            "-B",
            "16384",
            "-w",
        ])
        .arg(&capture)
        .arg(ports.join(" or "));
    let mut tcpdump = Process::start("tcpdump", &directory, &command);
    tcpdump.until_line("listens", |line| line.contains("listening on").then_some(()));

    let mut archive = Archive::default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        http2(web, &mut archive).await;
        websocket(sessions, &mut archive).await;
    });
    let mut python = peers::python("grpc/echo.py");
    output(python.args(["call", &notes.address.to_string(), "1"]));
    http1(web, &mut archive);
    until("the capture holds the last answer", || {
        let bytes = std::fs::read(&capture).unwrap();
        let marks = bytes
            .windows(MARK.len())
            .filter(|window| *window == MARK.as_bytes())
            .count();
        (marks == 2).then_some(())
    });
    tcpdump.terminate();
    let file = directory.join("archive.har");
    archive.write(&file);

    let expected = archive.0.len() as u64;
    let counts = [(web, expected - 1), (sessions, 1), (notes, 9)];
    for (server, count) in counts {
        node.until_stored(server.address.port(), count);
    }
    node.stop_agent();
    let mut live: Vec<(Told, Sizes)> = servers
        .iter()
        .flat_map(|server| node.api().calls(server.address.port()))
        .map(|call| Told::live(&call))
        .collect();
    live.sort();
    assert_eq!(live.len() as u64, expected + 9);
    for application in ["http", "json-rpc", "graphql", "websocket", "grpc"] {
        assert!(
            live.iter().any(|(told, _)| told.application == application),
            "{application}: {live:?}"
        );
    }

    assert_eq!(replay(&node, &capture), live, "capture (left) and live");

    // An archive holds no gRPC, and no sizes of HTTP/2 heads.
    let sizes_are_known = |told: &Told| told.protocol == "HTTP/1.1" && told.application != "websocket";
    let comparable = |all: Vec<(Told, Sizes)>| -> Vec<(Told, Sizes)> {
        let told = all.into_iter().filter(|(told, _)| told.application != "grpc");
        let mut told: Vec<_> = told
            .map(|(told, sizes)| {
                if sizes_are_known(&told) {
                    (told, sizes)
                } else {
                    (told, [0; 2])
                }
            })
            .collect();
        told.sort();
        told
    };
    println!("{} exchanges from three sources", live.len());
    assert_eq!(
        comparable(replay(&node, &file)),
        comparable(live),
        "archive (left) and live"
    );
}
