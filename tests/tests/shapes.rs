//! The shapes that an HTTP/1 exchange can have on the wire, byte for byte, on real servers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use tests::http::{Client, Response};
use tests::servers;
use tests::{Metrics, Node, NodeOptions, can_capture, until};

/// Expected row: method, path, status, request's bytes and body, response's bytes and body.
type Row = (String, String, u16, u64, u64, u64, u64);

fn row(method: &str, path: &str, request: (usize, usize), response: &Response, body: usize) -> Row {
    (
        method.to_owned(),
        path.to_owned(),
        response.status,
        request.0 as u64,
        request.1 as u64,
        response.wire_bytes,
        body as u64,
    )
}

/// Asks, and remembers what the row must say.
fn ask(rows: &mut Vec<Row>, client: &mut Client, request: &str, path: &str, body: usize) -> Response {
    let method = request.split(' ').next().unwrap();
    let response = client.ask(request);
    rows.push(row(
        method,
        path,
        (request.len(), body),
        &response,
        response.body.len(),
    ));
    response
}

fn stored(node: &mut Node, expected: &[(u16, Vec<Row>)]) {
    for (port, rows) in expected {
        node.until_stored(*port, rows.len() as u64);
    }
    node.stop_agent();
    for (port, rows) in expected {
        let calls = node.api().calls(*port);
        let found: Vec<Row> = calls
            .iter()
            .map(|call| {
                // Of a large body only the beginning is looked at.
                let large = call.request_body_bytes.max(call.response_body_bytes) > 1_000_000;
                let flags: &[&str] = if large { &["truncated"] } else { &[] };
                assert_eq!(call.flags, flags, "{}", call.row);
                assert!(call.duration_us > 0 && call.side == "server", "{}", call.row);
                (
                    call.method.clone(),
                    call.path.clone(),
                    call.status,
                    call.request_bytes,
                    call.request_body_bytes,
                    call.response_bytes,
                    call.response_body_bytes,
                )
            })
            .collect();
        assert_eq!(&found, rows);
    }
}

#[test]
fn every_framing_has_its_exact_size() {
    if !can_capture() {
        return;
    }
    let mut node = Node::start(&NodeOptions::default());
    let server = servers::node(node.directory(), "127.0.0.1");
    let host = server.address;
    let mut rows = Vec::new();

    // One connection, kept alive.
    let mut client = Client::connect(host).unwrap();
    for (method, path) in [
        ("GET", "/echo"),
        ("GET", "/chunked"),
        ("HEAD", "/echo"),
        ("HEAD", "/chunked"),
        ("GET", "/orders"),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        ask(&mut rows, &mut client, &request, path, 0);
    }
    for code in [204, 304, 500] {
        let request = format!("GET /status/{code} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        ask(&mut rows, &mut client, &request, "/status/{integer}", 0);
    }
    let request = format!("POST /echo HTTP/1.1\r\nhost: {host}\r\ncontent-length: 5\r\n\r\nhello");
    ask(&mut rows, &mut client, &request, "/echo", 5);
    let request = format!(
        "POST /echo HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"
    );
    let answer = ask(&mut rows, &mut client, &request, "/echo", 11);
    assert_eq!(answer.text(), "hello world");
    let large = 3_000_000;
    let request = format!("GET /large/{large} HTTP/1.1\r\nhost: {host}\r\n\r\n");
    let answer = ask(&mut rows, &mut client, &request, "/large/{integer}", 0);
    assert_eq!(answer.body.len(), large);
    let request = format!(
        "POST /echo HTTP/1.1\r\nhost: {host}\r\ncontent-length: {large}\r\n\r\n{}",
        "y".repeat(large)
    );
    ask(&mut rows, &mut client, &request, "/echo", large);

    // Three requests before the first response.
    let pipelined: Vec<String> = ["/echo", "/chunked", "/orders"]
        .iter()
        .map(|path| format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"))
        .collect();
    client.send(pipelined.concat().as_bytes());
    for (request, path) in pipelined.iter().zip(["/echo", "/chunked", "/orders"]) {
        let response = client.response(false);
        rows.push(row(
            "GET",
            path,
            (request.len(), 0),
            &response,
            response.body.len(),
        ));
    }

    // The body follows when the server has asked for it.
    let head =
        format!("PUT /echo HTTP/1.1\r\nhost: {host}\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    client.send(head.as_bytes());
    let mut interim = vec![0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    client.read_raw(&mut interim);
    assert!(interim.starts_with(b"HTTP/1.1 100 "));
    client.send(b"body");
    let response = client.response(false);
    rows.push(row("PUT", "/echo", (head.len() + 4, 4), &response, 4));

    // The last one on this connection, and HTTP/1.0 on another.
    let request = format!("GET /echo HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    ask(&mut rows, &mut client, &request, "/echo", 0);
    assert!(client.rest().is_empty());
    let mut client = Client::connect(host).unwrap();
    let request = format!("GET /chunked HTTP/1.0\r\nhost: {host}\r\n\r\n");
    ask(&mut rows, &mut client, &request, "/chunked", 0);
    drop(client);

    stored(&mut node, &[(host.port(), rows)]);
}

#[test]
fn every_kind_of_address_is_the_same() {
    if !can_capture() {
        return;
    }
    let mut node = Node::start(&NodeOptions::default());
    let six = servers::python(node.directory(), "::1");
    let both = servers::go(node.directory(), "::");
    let mut expected = Vec::new();
    for server in [&six, &both] {
        let mut rows = Vec::new();
        let mut client = Client::connect(server.address).unwrap();
        let host = server.address;
        for path in ["/echo", "/chunked"] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
            ask(&mut rows, &mut client, &request, path, 0);
        }
        expected.push((host.port(), rows));
    }
    stored(&mut node, &expected);
    // An IPv4 client of an IPv6 socket has its IPv4 address.
    let call = &node.api().calls(both.address.port())[0];
    assert_eq!(call.server, both.address);
    assert!(call.client.is_ipv4(), "{}", call.row);
    assert!(call.client_workload.starts_with("shapes"), "{}", call.row);
    assert!(node.api().calls(six.address.port())[0].client.is_ipv6());
}

/// After the switch nothing is HTTP, even if it looks like it.
fn nothing_is_invented_after_a_switch(protocol: &str, is_counted: impl Fn(&Metrics) -> bool) {
    let mut node = Node::start(&NodeOptions::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let switch = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: {protocol}\r\nconnection: upgrade\r\n\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).unwrap();
        stream.write_all(switch.as_bytes()).unwrap();
        let length = stream.read(&mut buffer).unwrap();
        stream.write_all(&buffer[..length]).unwrap();
        let _ = stream.read(&mut buffer);
    });
    let mut client = Client::connect(address).unwrap();
    let response = client.ask(&format!(
        "GET /api/events HTTP/1.1\r\nhost: {address}\r\nupgrade: {protocol}\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    assert_eq!(response.status, 101);
    let invented = b"\x81\x34GET /invented HTTP/1.1\r\nhost: nobody\r\n\r\n0123456789012";
    client.send(invented);
    let mut echoed = vec![0; invented.len()];
    client.read_raw(&mut echoed);
    client.send(b"GET /invented HTTP/1.1\r\nhost: nobody\r\n\r\n");
    client.finish_sending();
    client.rest();
    server.join().unwrap();

    until("the switch is counted", || {
        is_counted(&node.agent.metrics()).then_some(())
    });
    let calls = node.all_calls(address.port(), 1);
    assert_eq!((calls[0].status, calls[0].path.as_str()), (101, "/api/events"));
}

#[test]
fn a_websocket_is_one_exchange() {
    if can_capture() {
        nothing_is_invented_after_a_switch("websocket", |metrics| {
            metrics.event("protocol", "upgraded_websocket") > 0
        });
    }
}

#[test]
fn after_a_switch_to_another_protocol_nothing_more_is_read() {
    if can_capture() {
        nothing_is_invented_after_a_switch("chat/1", |metrics| {
            metrics.event("protocol", "upgraded_other") > 0
                && metrics.event("tracker", "connections_other_protocol") > 0
        });
    }
}
