//! Processes that live for one request.

use std::thread;
use std::time::Instant;

use tests::Node;
use tests::servers::load_server;

use crate::browse::busybox_wget;
use crate::evidence::{Evidence, Losses, Sent};

/// Processes, unless `EASTWATCH_TEST_PROCESSES` names another number.
const PROCESSES: u64 = 1000;

/// Names another number of processes.
const PROCESSES_VARIABLE: &str = "EASTWATCH_TEST_PROCESSES";

/// Processes at the same time.
const THREADS: u64 = 8;

/// As many as the machine can start a second, each with a connection of its own.
pub fn short_lived(node: &Node) -> Evidence {
    let processes = std::env::var(PROCESSES_VARIABLE).map_or(PROCESSES, |number| number.parse().unwrap());
    let server = load_server(env!("CARGO_BIN_EXE_loadserver"), node.directory());
    let address = server.address;
    let started = Instant::now();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for sequence in (thread..processes).step_by(THREADS as usize) {
                    let status = busybox_wget(address, sequence).status().unwrap();
                    assert!(status.success(), "wget {sequence}: {status}");
                }
            });
        }
    });
    let rate = processes as f64 / started.elapsed().as_secs_f64();
    println!("{processes} processes, {rate:.0} a second");
    Evidence {
        port: address.port(),
        sent: (0..processes)
            .map(|sequence| Sent::plain("GET", Some(sequence)))
            .collect(),
        client: "busybox",
        server: "loadserver",
        losses: Losses::Counted,
        _process: Some(server),
    }
}
