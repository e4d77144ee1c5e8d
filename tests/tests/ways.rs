//! Every way that bytes go through a socket, with every provider that this kernel has: seen, or counted.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use tests::can_capture;
use tests::ways::{Cell, Options, Session, UNSEEN, Verdict, list};

/// Providers of which is known what they cannot read. Of others either is good.
const KNOWN: [&str; 2] = ["sock-length", "syscall-exit"];

/// Ways whose bytes they cannot read: they have to be counted.
const UNREAD: [&str; 8] = [
    "recvmmsg",
    "uring-read",
    "uring-recv",
    "uring-recvmsg",
    "sendfile",
    "splice-out",
    "splice-in",
    "trunc",
];

/// Ways whose bytes are not found where only system calls are seen.
const UNREAD_BY_CALLS: [&str; 5] = [
    "sendmmsg",
    "uring-write",
    "uring-send",
    "uring-sendmsg",
    "uring-send-zc",
];

/// What has to come out of it.
fn check(provider: &str, cell: &Cell) {
    println!("{}", cell.line("this", provider));
    if cell.verdict == Verdict::Impossible {
        return;
    }
    let way = cell.way.as_str();
    let unread = UNREAD.contains(&way) || (provider != "sock-length" && UNREAD_BY_CALLS.contains(&way));
    let good = match (KNOWN.contains(&provider), unread) {
        (true, true) => cell.verdict == Verdict::Counted,
        (true, false) => cell.verdict == Verdict::Captured,
        (false, _) => cell.verdict != Verdict::Unknown,
    };
    assert!(good, "{provider}: {cell:?}");
    if KNOWN.contains(&provider) && cell.verdict == Verdict::Counted {
        // Every byte that is missing has its reason.
        let has_reason = |name: &String| name.starts_with("kernel.") || name == UNSEEN;
        assert!(cell.growth.keys().all(has_reason), "{provider}: {cell:?}");
        let is_unseen = cell.growth.contains_key(UNSEEN);
        assert_eq!(is_unseen, is_never_told(provider, way), "{provider}: {cell:?}");
    }
}

/// Whether no program is told of bytes that go this way.
fn is_never_told(provider: &str, way: &str) -> bool {
    match provider {
        // A receiver that splices calls nothing with a tracepoint.
        "sock-length" => way == "splice-in",
        _ => way.starts_with("uring-"),
    }
}

fn judge(agent: &Path, provider: &str) {
    let ways = PathBuf::from(env!("CARGO_BIN_EXE_ways"));
    let mut session = Session::start(&Options {
        agent: agent.to_owned(),
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

/// Those that attach here, as `doctor` finds by trying.
fn providers(agent: &Path) -> Vec<String> {
    let directory = tests::directory();
    let output = Command::new(agent)
        .args(["doctor", "--output", "json"])
        .env(
            "EASTWATCH_AGENT__CONTROL__SOCKET",
            directory.path().join("agent.sock"),
        )
        .output()
        .unwrap();
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut attached = Vec::new();
    for row in said["providers"].as_array().unwrap() {
        let name = row["name"].as_str().unwrap();
        if row["attached"] == true {
            attached.push(name.to_owned());
        } else {
            println!("skipped: this kernel does not have {name}: {}", row["error"]);
        }
    }
    attached
}

#[test]
fn every_way_is_seen_or_counted_by_every_provider() {
    if !can_capture() {
        return;
    }
    tests::mount_tracefs();
    let agent = tests::binary("eastwatch-agent");
    let providers = providers(&agent);
    assert!(!providers.is_empty(), "no provider works on this kernel");
    for provider in providers {
        judge(&agent, &provider);
    }
}
