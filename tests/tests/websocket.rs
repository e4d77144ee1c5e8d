//! WebSocket between real servers and real clients: every session is one row that counts what the client sent and received.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::path::Path;
use std::process::Command;

use futures::{SinkExt, StreamExt};
use tests::api::Call;
use tests::peers::{self, output};
use tests::servers::Server;
use tests::{Node, NodeOptions, can_capture};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Messages of a session each way, and their bytes: `one`, `two`, `three`, 1,000 and 200,000 bytes.
const MESSAGES: u64 = 5;
const BYTES: u64 = 3 + 3 + 5 + 1000 + 200_000;

type Session = WebSocketStream<MaybeTlsStream<TcpStream>>;

fn rust_server(directory: &Path) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peers"));
    command.arg("websocket");
    peers::serve("tungstenite", "peers", directory, &command)
}

fn node_server(directory: &Path) -> Server {
    let mut command = peers::node("websocket/peers.mjs");
    command.arg("serve");
    peers::serve("ws", "peers.mjs", directory, &command)
}

/// Makes a session. Gives part of the client's workload name.
type Client = fn(&str) -> &'static str;

fn node_client(url: &str) -> &'static str {
    output(peers::node("websocket/peers.mjs").args(["call", url]));
    "peers.mjs"
}

fn java_client(url: &str) -> &'static str {
    output(peers::java("websocket/Client.java").arg(url));
    "Client"
}

fn rust_client(url: &str) -> &'static str {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut session = connect(url).await;
        talk(&mut session).await;
        close(session).await;
    });
    "websocket"
}

async fn connect(url: &str) -> Session {
    tokio_tungstenite::connect_async(url).await.unwrap().0
}

/// A ping, and messages each of which is answered with itself.
async fn talk(session: &mut Session) {
    session.send(Message::Ping("x".into())).await.unwrap();
    let texts = ["one", "two", "three"].map(Message::text);
    let bytes = [1000, 200_000].map(|size| Message::binary(vec![1; size]));
    for message in texts.into_iter().chain(bytes) {
        session.send(message.clone()).await.unwrap();
        let answer = loop {
            let answer = session.next().await.unwrap().unwrap();
            if !answer.is_pong() {
                break answer;
            }
        };
        assert_eq!(answer, message);
    }
}

async fn close(mut session: Session) {
    let normal = CloseFrame {
        code: 1000.into(),
        reason: "".into(),
    };
    session.close(Some(normal)).await.unwrap();
    while let Some(Ok(_)) = session.next().await {}
}

fn url(server: &Server) -> String {
    format!("ws://{}/live", server.address)
}

/// What holds of each session that was seen from its connection's begin. `compressed`: fewer bytes went over the wire than were said.
fn is_whole(call: &Call, server: &Server, client: &str, compressed: bool) {
    let said = (call.method.as_str(), call.path.as_str(), call.status);
    assert_eq!(said, ("GET", "/live", 101), "{}", call.row);
    assert_eq!(
        (call.side.as_str(), call.protocol.as_str()),
        ("server", "HTTP/1.1"),
        "{}",
        call.row
    );
    assert_eq!(call.application, "websocket", "{}", call.row);
    assert_eq!(call.rpc_status, Some(1000), "{}", call.row);
    assert_eq!(call.messages, [MESSAGES; 2], "{}", call.row);
    if compressed {
        assert!(
            call.message_bytes
                .iter()
                .all(|bytes| (1..BYTES / 10).contains(bytes)),
            "{}",
            call.row
        );
    } else {
        assert_eq!(call.message_bytes, [BYTES; 2], "{}", call.row);
    }
    assert!(call.server_workload.contains(server.workload), "{}", call.row);
    assert!(call.client_workload.contains(client), "{}", call.row);
    let odd: Vec<_> = call.flags.iter().filter(|flag| *flag != "truncated").collect();
    assert!(odd.is_empty(), "{}", call.row);
}

#[test]
fn sessions_of_two_servers_and_three_clients() {
    const TIMES: u64 = 2;
    if !can_capture() || !peers::are_installed() {
        return;
    }
    let node = Node::start(&NodeOptions::default());
    for start in [rust_server, node_server] {
        let server = start(node.directory());
        let port = server.address.port();
        let mut sent = 0;
        let clients: [Client; 3] = [rust_client, node_client, java_client];
        for client in clients {
            let mut name = "";
            for _ in 0..TIMES {
                name = client(&url(&server));
            }
            node.until_stored(port, sent + TIMES);
            let calls = node.api().calls(port);
            assert_eq!(calls.len() as u64, sent + TIMES, "{name} at {}", server.name);
            println!(
                "{name} at {}: {TIMES} sent, {} stored",
                server.name,
                calls.len() as u64 - sent
            );
            for call in &calls[sent as usize..] {
                is_whole(call, &server, name, (server.name, name) == ("ws", "peers.mjs"));
            }
            sent += TIMES;
        }
    }
}

/// Of a session whose handshake was not seen nothing can be said; the next one on the same server is whole.
#[test]
fn a_session_is_joined_in_the_middle() {
    if !can_capture() || !peers::are_installed() {
        return;
    }
    let directory = tests::directory();
    let server = rust_server(directory.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut old = runtime.block_on(connect(&url(&server)));
    runtime.block_on(talk(&mut old));

    let mut node = Node::start(&NodeOptions::default());
    runtime.block_on(async {
        talk(&mut old).await;
        talk(&mut old).await;
        close(old).await;
    });
    rust_client(&url(&server));
    let calls = node.all_calls(server.address.port(), 1);
    is_whole(&calls[0], &server, "websocket", false);
}

/// A session that goes on when the agent ends is a row of what was seen.
#[test]
fn an_open_session_is_counted_when_the_agent_ends() {
    if !can_capture() || !peers::are_installed() {
        return;
    }
    let mut node = Node::start(&NodeOptions::default());
    let server = node_server(node.directory());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut session = runtime.block_on(connect(&url(&server)));
    runtime.block_on(talk(&mut session));
    node.stop_agent();
    let calls = node.api().calls(server.address.port());
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].messages, [MESSAGES; 2], "{}", calls[0].row);
    assert_eq!(calls[0].message_bytes, [BYTES; 2], "{}", calls[0].row);
    assert_eq!(
        (calls[0].path.as_str(), calls[0].status),
        ("/live", 101),
        "{}",
        calls[0].row
    );
}
