//! Processes that live for one request.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tests::servers::load_server;
use tests::{Node, until};

use crate::browse::{busybox_wget, curl};
use crate::evidence::{Evidence, Losses, Sent};

/// Processes, unless `EASTWATCH_TEST_PROCESSES` names another number.
const PROCESSES: u64 = 1000;

/// Names another number of processes.
const PROCESSES_VARIABLE: &str = "EASTWATCH_TEST_PROCESSES";

/// Processes at the same time.
const THREADS: u64 = 8;

/// Processes that have the same id, one after the other.
const NAMESAKES: u64 = 20;

/// Between the starts of two of them: `/proc` tells starts in ticks of 10 ms, and two are the same for the agent where they are less than
/// two ticks apart. By itself a kernel gives out thousands of other ids first.
const APART: Duration = Duration::from_millis(30);

/// What `same-pid` ends with when the id is in use (`EX_TEMPFAIL`).
const IN_USE: i32 = 75;

/// How many processes a check may start.
pub fn processes() -> u64 {
    std::env::var(PROCESSES_VARIABLE).map_or(PROCESSES, |number| number.parse().unwrap())
}

/// As many as the machine can start a second, each with a connection of its own.
pub fn short_lived(node: &Node) -> Evidence {
    let processes = processes();
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
        clients: &["busybox"],
        server: "loadserver",
        losses: Losses::Counted,
        _process: Some(server),
    }
}

/// Two programs that take turns in having one process id, each for one request.
pub fn same_pid(node: &Node) -> Evidence {
    let server = load_server(env!("CARGO_BIN_EXE_loadserver"), node.directory());
    let address = server.address;
    let mut id = free_id();
    for sequence in 0..NAMESAKES {
        let since = Instant::now();
        until("the next may start", || (since.elapsed() >= APART).then_some(()));
        let client = if sequence % 2 == 0 {
            busybox_wget(address, sequence)
        } else {
            curl(address, sequence)
        };
        loop {
            let mut command = Command::new(env!("CARGO_BIN_EXE_same-pid"));
            command
                .arg(id.to_string())
                .arg(client.get_program())
                .args(client.get_args());
            let status = command.status().unwrap();
            match status.code() {
                Some(0) => break,
                // Another process has come by it.
                Some(IN_USE) => id = free_id(),
                _ => panic!("request {sequence} by process {id}: {status}"),
            }
        }
    }
    Evidence {
        port: address.port(),
        sent: (0..NAMESAKES)
            .map(|sequence| Sent::plain("GET", Some(sequence)))
            .collect(),
        clients: &["busybox", "curl"],
        server: "loadserver",
        losses: Losses::None,
        _process: Some(server),
    }
}

/// That of a process that has ended: others come by it when the kernel has given out all that are higher.
fn free_id() -> u32 {
    let mut child = Command::new("busybox").arg("true").spawn().unwrap();
    let id = child.id();
    assert!(child.wait().unwrap().success());
    id
}
