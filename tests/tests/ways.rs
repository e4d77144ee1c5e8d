//! Every way that bytes go through a socket, with every provider that this kernel has: seen, or counted.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::path::PathBuf;

use tests::can_capture;
use tests::ways::{Cell, Options, Session, Verdict, list};

/// Ways whose bytes the provider cannot read: they have to be counted.
const UNREAD: [(&str, &[&str]); 2] = [
    (
        "sock-length",
        &[
            "recvmmsg",
            "sendmmsg",
            "uring-read",
            "uring-recv",
            "uring-recvmsg",
            "uring-write",
            "uring-send",
            "uring-sendmsg",
            "uring-send-zc",
            "sendfile",
            "splice-out",
            "splice-in",
            "trunc",
            "int80",
        ],
    ),
    (
        "syscall-exit",
        &[
            "recvmmsg",
            "sendmmsg",
            "uring-read",
            "uring-recv",
            "uring-recvmsg",
            "uring-write",
            "uring-send",
            "uring-sendmsg",
            "uring-send-zc",
            "sendfile",
            "splice-out",
            "splice-in",
            "trunc",
            "int80",
        ],
    ),
];

fn named(table: &[(&str, &[&str])], provider: &str, way: &str) -> bool {
    table
        .iter()
        .any(|(name, ways)| *name == provider && ways.contains(&way))
}

/// What has to come out of it.
fn check(provider: &str, cell: &Cell) {
    println!("{}", cell.line("this", provider));
    if !cell.is_tcp {
        return;
    }
    let expected = if named(&UNREAD, provider, &cell.way) {
        Verdict::Counted
    } else {
        Verdict::Captured
    };
    let good = cell.verdict == expected || cell.verdict == Verdict::Impossible;
    assert!(good, "{provider}: {cell:?}");
}

fn judge(provider: &str) {
    let ways = PathBuf::from(env!("CARGO_BIN_EXE_ways"));
    let mut session = Session::start(&Options {
        agent: tests::binary("eastwatch-agent"),
        ways: ways.clone(),
        provider: provider.to_owned(),
    });
    assert_eq!(session.provider(), provider);
    let names = list(&ways);
    assert!(names.len() >= 40, "{names:?}");
    let cells: Vec<Cell> = names.iter().map(|name| session.judge(name)).collect();
    for cell in &cells {
        check(provider, cell);
    }
    // A kernel may lack some, but not what every program uses.
    for plain in ["read", "write", "recv", "send", "readv", "writev"] {
        let cell = cells.iter().find(|cell| cell.way == plain).unwrap();
        assert_eq!(cell.verdict, Verdict::Captured, "{provider}: {cell:?}");
    }
}

#[test]
fn of_the_socket_tracepoints() {
    if can_capture() {
        judge("sock-length");
    }
}

#[test]
fn of_the_exits_of_system_calls() {
    if can_capture() {
        tests::mount_tracefs();
        judge("syscall-exit");
    }
}
