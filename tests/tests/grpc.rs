//! gRPC between real servers and real clients, with all four kinds of streaming: every call is one row that says what the client saw.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::path::Path;
use std::process::Command;

use futures::StreamExt;
use tests::api::Call;
use tests::echo::Note;
use tests::echo::echo_client::EchoClient;
use tests::peers::{self, output};
use tests::servers::Server;
use tests::{Node, NodeOptions, Process, can_capture};
use tonic::Code;
use tonic::transport::Channel;

/// Bytes of the note that is sent.
const NOTE: u64 = 7;
/// Bytes of the one that there is none of.
const MISSING: u64 = 9;

/// What a row has to say.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    operation: String,
    status: i64,
    streaming: String,
    messages: [u64; 2],
    message_bytes: [u64; 2],
}

fn seen(method: &str, status: i64, streaming: &str, messages: [u64; 2], bytes: u64) -> Seen {
    Seen {
        operation: format!("test.Echo/{method}"),
        status,
        streaming: streaming.to_owned(),
        messages,
        message_bytes: messages.map(|count| count * bytes),
    }
}

/// The calls of one round, in the order of their sorting.
fn round() -> Vec<Seen> {
    let mut calls: Vec<Seen> = (0..5).map(|_| seen("Send", 0, "unary", [1, 1], NOTE)).collect();
    calls.push(seen("Upload", 0, "client_streaming", [4, 1], NOTE));
    calls.push(seen("List", 0, "server_streaming", [1, 3], NOTE));
    calls.push(seen("Chat", 0, "bidi_streaming", [6, 6], NOTE));
    calls.push(seen("Send", 5, "unary", [1, 0], MISSING));
    calls.sort();
    calls
}

impl Seen {
    fn of(call: &Call) -> Self {
        Self {
            operation: call.operation.clone(),
            status: call.rpc_status.unwrap_or(-1),
            streaming: call.streaming.clone(),
            messages: call.messages,
            message_bytes: call.message_bytes,
        }
    }
}

/// What holds of each call that was seen from its connection's begin.
fn is_whole(call: &Call, server: &Server, client: &str) {
    assert_eq!((call.side.as_str(), call.status), ("server", 200), "{}", call.row);
    assert_eq!(call.method, "POST", "{}", call.row);
    assert_eq!(call.protocol, "HTTP/2", "{}", call.row);
    assert_eq!(call.application, "grpc", "{}", call.row);
    assert!(call.path.starts_with("/test.Echo/"), "{}", call.row);
    assert!(call.server_workload.contains(server.workload), "{}", call.row);
    assert!(call.client_workload.contains(client), "{}", call.row);
    assert!(call.duration_us > 0, "{}", call.row);
    let odd: Vec<_> = call.flags.iter().filter(|flag| *flag != "truncated").collect();
    assert!(odd.is_empty(), "{}", call.row);
}

fn rust_server(directory: &Path) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peers"));
    command.arg("grpc");
    peers::serve("tonic", "peers", directory, &command)
}

fn python_server(directory: &Path) -> Server {
    let mut command = peers::python("grpc/echo.py");
    command.arg("serve");
    peers::serve("grpcio", "echo.py", directory, &command)
}

fn go_server(directory: &Path) -> Server {
    let mut command = Command::new(peers::go(directory, "grpc/echo.go", "goecho"));
    command.arg("serve");
    peers::serve("grpc-go", "goecho", directory, &command)
}

/// Makes `times` rounds on one connection. Gives part of the client's workload name.
type Client = fn(&Server, &Path, u32) -> &'static str;

fn python_client(server: &Server, _: &Path, times: u32) -> &'static str {
    let mut command = peers::python("grpc/echo.py");
    output(command.args(["call", &server.address.to_string(), &times.to_string()]));
    "echo.py"
}

fn go_client(server: &Server, directory: &Path, times: u32) -> &'static str {
    let mut command = Command::new(peers::go(directory, "grpc/echo.go", "goecho"));
    output(command.args(["call", &server.address.to_string(), &times.to_string()]));
    "goecho"
}

fn rust_client(server: &Server, _: &Path, times: u32) -> &'static str {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut client = connect(server).await;
        for _ in 0..times {
            calls(&mut client).await;
        }
    });
    "grpc"
}

async fn connect(server: &Server) -> EchoClient<Channel> {
    EchoClient::connect(format!("http://{}", server.address))
        .await
        .unwrap()
}

fn note(text: &str) -> Note {
    Note {
        text: text.to_owned(),
    }
}

/// One round.
async fn calls(client: &mut EchoClient<Channel>) {
    for _ in 0..5 {
        let answer = client.send(note("hello")).await.unwrap();
        assert_eq!(answer.into_inner(), note("hello"));
    }
    let four = tokio_stream::iter((0..4).map(|_| note("hello")));
    assert_eq!(client.upload(four).await.unwrap().into_inner(), note("hello"));
    let again = client.list(note("hello")).await.unwrap().into_inner();
    assert_eq!(again.count().await, 3);
    let six = tokio_stream::iter((0..6).map(|_| note("hello")));
    let echoes = client.chat(six).await.unwrap().into_inner();
    assert_eq!(echoes.count().await, 6);
    let missing = client.send(note("missing")).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
}

/// All clients at all servers.
#[test]
fn four_kinds_of_streaming_in_three_languages() {
    const TIMES: u32 = 3;
    if !can_capture() || !peers::are_installed() {
        return;
    }
    let node = Node::start(&NodeOptions::default());
    let directory = node.directory().to_owned();
    for start in [rust_server, python_server, go_server] {
        let server = start(&directory);
        let port = server.address.port();
        let mut sent = 0;
        let clients: [Client; 3] = [rust_client, python_client, go_client];
        for client in clients {
            let name = client(&server, &directory, TIMES);
            let before = sent;
            sent += TIMES as usize * round().len();
            node.until_stored(port, sent as u64);
            let calls = node.api().calls(port);
            println!(
                "{name} at {}: {} sent, {} stored",
                server.name,
                sent - before,
                calls.len() - before
            );
            assert_eq!(calls.len(), sent, "{name} at {}", server.name);
            let mut rows: Vec<Seen> = calls[before..].iter().map(Seen::of).collect();
            rows.sort();
            let mut expected: Vec<Seen> = (0..TIMES).flat_map(|_| round()).collect();
            expected.sort();
            assert_eq!(rows, expected, "{name} at {}", server.name);
            for call in &calls[before..] {
                is_whole(call, &server, name);
            }
        }
    }
}

/// Messages compressed by their sender are counted as they are on the wire.
#[test]
fn compressed_messages_are_counted() {
    if !can_capture() || !peers::are_installed() {
        return;
    }
    let mut node = Node::start(&NodeOptions::default());
    let server = python_server(node.directory());
    let mut command = peers::python("grpc/echo.py");
    output(command.args(["call", &server.address.to_string(), "1", "gzip"]));
    let calls = node.all_calls(server.address.port(), round().len() as u64);
    for call in &calls {
        is_whole(call, &server, "echo.py");
        assert!(call.messages[0] > 0, "{}", call.row);
    }
    let talk = calls
        .iter()
        .find(|call| call.operation.ends_with("/Chat"))
        .unwrap();
    assert_eq!(talk.messages, [6, 6], "{}", talk.row);
}

/// Streams that are open and paths said before when the agent comes: nothing is invented, what comes later is known.
#[test]
fn a_connection_is_joined_in_the_middle() {
    if !can_capture() || !peers::are_installed() {
        return;
    }
    let directory = tests::directory();
    let server = python_server(directory.path());
    let mut command = peers::python("grpc/echo.py");
    command.args(["call", &server.address.to_string(), "-"]);
    let mut client = Process::start("client", directory.path(), &command);
    client.order("");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut other = runtime.block_on(connect(&server));
    let (talk, notes) = tokio::sync::mpsc::channel(1);
    let mut echoes = runtime.block_on(async {
        talk.send(note("hello")).await.unwrap();
        let notes = tokio_stream::wrappers::ReceiverStream::new(notes);
        let mut echoes = other.chat(notes).await.unwrap().into_inner();
        assert_eq!(echoes.message().await.unwrap(), Some(note("hello")));
        echoes
    });

    let mut node = Node::start(&NodeOptions::default());
    let round = round().len() as u64;
    client.order("");
    client.order("");
    // The open stream goes on and ends; then others of its connection.
    runtime.block_on(async {
        talk.send(note("hello")).await.unwrap();
        assert_eq!(echoes.message().await.unwrap(), Some(note("hello")));
        drop(talk);
        assert_eq!(echoes.message().await.unwrap(), None);
        calls(&mut other).await;
    });
    let port = server.address.port();
    node.until_stored(port, 3 * round);
    let joined = node.api().calls(port);
    let paths = ["Send", "Upload", "List", "Chat"].map(|method| format!("/test.Echo/{method}"));
    for call in &joined {
        assert!(call.path.is_empty() || paths.contains(&call.path), "{}", call.row);
        assert!(["", "POST"].contains(&call.method.as_str()), "{}", call.row);
        assert!([0, 200].contains(&call.status), "{}", call.row);
        assert!(call.is("late_join"), "{}", call.row);
    }
    // At most the stream that was open is a row as well.
    assert!(
        (3 * round..=3 * round + 1).contains(&(joined.len() as u64)),
        "{}",
        joined.len()
    );

    drop(client);
    python_client(&server, directory.path(), 1);
    let calls = node.all_calls(port, joined.len() as u64 + round);
    let mut rows: Vec<Seen> = calls[joined.len()..].iter().map(Seen::of).collect();
    rows.sort();
    assert_eq!(rows, self::round());
    for call in &calls[joined.len()..] {
        is_whole(call, &server, "echo.py");
    }
}
