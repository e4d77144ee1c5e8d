//! Connections that are open at the same time.

use std::process::Command;

use tests::http::Client;
use tests::servers::load_server;
use tests::{Node, program};

use crate::evidence::{Evidence, Losses, Sent};
use crate::processes::processes;

/// Connections for each short-lived process of that check: 10,000 unless another number of processes is asked for.
const FOR_EACH_PROCESS: u64 = 10;

/// Descriptors of each end besides.
const OTHER_DESCRIPTORS: u64 = 256;

/// As many as asked for, or as this machine lets a program have. A request on each as it is opened, and another one when all are open, the last first; both ends are captured.
pub fn open_at_once(node: &Node) -> Evidence {
    let wanted = FOR_EACH_PROCESS * processes();
    let count = wanted.min(descriptors(wanted + OTHER_DESCRIPTORS) - OTHER_DESCRIPTORS);
    let server = load_server(env!("CARGO_BIN_EXE_loadserver"), node.directory());
    let address = server.address;
    let mut sent = Vec::new();
    let mut ask = |client: &mut Client, sequence: u64| {
        let request = format!("GET /api/items HTTP/1.1\r\nhost: {address}\r\nx-seq: {sequence}\r\n\r\n");
        let response = client.ask(&request);
        assert_eq!(response.status, 200);
        sent.push(Sent::counted(&request, Some(sequence), &response));
    };
    let mut clients: Vec<Client> = (0..count)
        .map(|sequence| {
            let mut client = Client::connect(address).unwrap();
            ask(&mut client, sequence);
            client
        })
        .collect();
    for (sequence, client) in (count..).zip(clients.iter_mut().rev()) {
        ask(client, sequence);
    }
    println!("{count} connections open at once");
    Evidence {
        port: address.port(),
        sent,
        clients: &["providers"],
        server: "loadserver",
        losses: Losses::None,
        _process: Some(server),
    }
}

/// How many descriptors this program may have, children too, once so many have been asked for.
fn descriptors(needed: u64) -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let allowed: u64 = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(u64::MAX);
    // A machine that lives for the tests alone may lack it.
    match program("prlimit") {
        Some(prlimit) if allowed < needed => {
            let status = Command::new(prlimit)
                .arg(format!("--pid={}", std::process::id()))
                .arg(format!("--nofile={needed}:{needed}"))
                .status()
                .unwrap();
            assert!(
                status.success(),
                "{needed} open files are needed: prlimit {status}"
            );
            needed
        }
        _ => allowed,
    }
}
