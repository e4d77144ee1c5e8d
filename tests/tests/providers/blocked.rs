//! Many threads that wait in a receive at the same time, on both ends.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use tests::Node;
use tests::http::Client;

use crate::evidence::{Evidence, Losses, Sent};

/// Connections, each with a thread on both ends.
const CONNECTIONS: u64 = 60;

/// Requests on each connection.
const ROUNDS: u64 = 3;

/// Every server thread waits for its request while every client thread waits for its response: the first is answered only when all
/// have been read, then in the reverse order.
pub fn blocked_receives(_: &Node) -> Evidence {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    // All connections are there before anything is sent on any of them.
    let ends: Vec<(Client, TcpStream)> = (0..CONNECTIONS)
        .map(|_| (Client::connect(address).unwrap(), listener.accept().unwrap().0))
        .collect();
    let (read, has_read) = mpsc::channel();
    let mut may_answer = Vec::new();
    let mut clients = Vec::new();
    let mut servers = Vec::new();
    for (number, (mut client, mut server)) in (0..).zip(ends) {
        let (answer, answered) = mpsc::channel::<()>();
        may_answer.push(answer);
        let read = read.clone();
        servers.push(thread::spawn(move || {
            let mut pending = Vec::new();
            for _ in 0..ROUNDS {
                let sequence = receive(&mut server, &mut pending);
                read.send(()).unwrap();
                answered.recv().unwrap();
                let answer = format!("HTTP/1.1 200 OK\r\nx-seq: {sequence}\r\ncontent-length: 3\r\n\r\nok\n");
                server.write_all(answer.as_bytes()).unwrap();
            }
        }));
        clients.push(thread::spawn(move || {
            (0..ROUNDS)
                .map(|round| {
                    let sequence = round * CONNECTIONS + number;
                    let request =
                        format!("GET /api/items HTTP/1.1\r\nhost: {address}\r\nx-seq: {sequence}\r\n\r\n");
                    let response = client.ask(&request);
                    assert_eq!(response.header("x-seq"), Some(sequence.to_string().as_str()));
                    Sent::counted(&request, Some(sequence), &response)
                })
                .collect::<Vec<_>>()
        }));
    }
    for _ in 0..ROUNDS {
        (0..CONNECTIONS).for_each(|_| has_read.recv().unwrap());
        may_answer
            .iter()
            .rev()
            .for_each(|answer| answer.send(()).unwrap());
    }
    let sent = clients
        .into_iter()
        .flat_map(|client| client.join().unwrap())
        .collect();
    servers.into_iter().for_each(|server| server.join().unwrap());
    Evidence {
        port: address.port(),
        sent,
        clients: &["providers"],
        server: "providers",
        losses: Losses::None,
        _process: None,
    }
}

/// Reads one request and gives its number.
fn receive(stream: &mut TcpStream, pending: &mut Vec<u8>) -> String {
    loop {
        if let Some(end) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = pending.drain(..end + 4).collect();
            let head = String::from_utf8(head).unwrap();
            let sequence = head.lines().find_map(|line| line.strip_prefix("x-seq: "));
            return sequence.unwrap().to_owned();
        }
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "the client went away");
        pending.extend_from_slice(&buffer[..length]);
    }
}
