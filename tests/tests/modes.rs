//! What user space can tell the eBPF programs about single connections and processes: limits, skips, ignoring, filters.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use agent_common::{Counter, Direction, FilterAction, Mode, Role, Settings};
use eastwatch_agent::loader::{self, Loaded, ProviderChoice};
use eastwatch_agent::source::{Event, ebpf};
use tests::{Script, can_capture, mount_tracefs};

/// Both ends of one connection in one process: for each number on its standard input a request with so long a body, read to its end and
/// answered, then a line on its standard output. A second number: the body is written in so many parts, by one call. What it did then is in
/// the ring buffer, since records are made inside its system calls.
const PEERS: &str = r#"
import socket, sys
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen()
client = socket.create_connection(listener.getsockname()); server, _ = listener.accept()
print(listener.getsockname()[1], flush=True)
for line in sys.stdin:
    n, parts = (*map(int, line.split()), 0)[:2]
    request = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %06d\r\n\r\n" % n + b"b" * n
    if parts: assert client.sendmsg([request[:-n]] + [b"b" * (n // parts)] * parts) == len(request)
    else: client.sendall(request)
    got = 0
    while got < len(request): got += len(server.recv(65536))
    server.sendall(b"HTTP/1.1 204 No Content\r\n\r\n"); client.recv(100)
    print("done", flush=True)
"#;
/// Bytes of the request's head.
const HEAD: u32 = 53;

struct Peers(Script);

impl Peers {
    fn start() -> Self {
        Self(Script::start(PEERS))
    }

    fn request(&mut self, body: u32) {
        self.0.ask(&body.to_string());
    }

    /// Written by one call, the head and each part of the body from a place of its own.
    fn scattered(&mut self, part_bytes: u32, parts: u32) {
        self.0.ask(&format!("{} {parts}", part_bytes * parts));
    }
}

/// What came of one direction of one connection.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    captured: u32,
    stands_for: u32,
    first: Option<u32>,
}

struct Watch {
    loaded: Loaded,
    port: u16,
    client: Option<u64>,
    server: Option<u64>,
}

impl Watch {
    /// Empties the ring; what the server's end received.
    fn received(&mut self) -> Seen {
        let [_, received] = self.seen();
        received
    }

    /// Empties the ring; what the client's end sent, and what the server's received.
    fn seen(&mut self) -> [Seen; 2] {
        let mut seen = [Seen::default(), Seen::default()];
        while let Some(record) = self.loaded.ring.next() {
            match ebpf::parse(&record) {
                Some(Event::Open(open))
                    if open.role == Role::Server && open.tuple.local_port == self.port =>
                {
                    self.server = Some(open.connection);
                }
                Some(Event::Open(open))
                    if open.role == Role::Client && open.tuple.remote_port == self.port =>
                {
                    self.client = Some(open.connection);
                }
                Some(Event::Chunk(chunk)) => {
                    let [sent, received] = &mut seen;
                    let connection = Some(chunk.connection);
                    let seen = match chunk.direction {
                        Direction::Out if connection == self.client => sent,
                        Direction::In if connection == self.server => received,
                        _ => continue,
                    };
                    seen.captured += chunk.data.len() as u32;
                    seen.stands_for += chunk.length;
                    seen.first.get_or_insert(chunk.offset);
                }
                Some(_) => {}
                None => panic!("a record that is none"),
            }
        }
        seen
    }

    fn set(&mut self, peers: &Peers, action: FilterAction) {
        self.loaded
            .filters
            .set_pid(peers.0.pid(), Some(action))
            .expect("room");
    }

    /// Connections that a filter left out are judged again.
    fn judge_again(&mut self, epoch: u32) {
        self.loaded
            .filters
            .write_settings(settings(epoch))
            .expect("writable");
    }

    fn order(&mut self, mode: Mode, argument: u32) {
        let server = self.server.expect("announced");
        self.loaded
            .control
            .order(server, Direction::In, mode, argument)
            .expect("the map takes it");
    }

    fn count(&self, counter: Counter) -> u64 {
        self.counted(counter).0
    }

    /// How often, and how many bytes.
    fn counted(&self, counter: Counter) -> (u64, u64) {
        self.loaded.counters.read(counter).expect("readable")
    }
}

/// Only what is included: the node has other traffic.
fn settings(epoch: u32) -> Settings {
    Settings {
        epoch,
        turn_bytes_max: 65_536,
        include_only: 1,
        reserved: 0,
    }
}

fn watch(provider: ProviderChoice, port: u16) -> Watch {
    let options = loader::Options::new(provider, 1 << 20, settings(1));
    let loaded = loader::load(&options).unwrap_or_else(|error| panic!("{error}"));
    Watch {
        loaded,
        port,
        client: None,
        server: None,
    }
}

fn orders_are_obeyed(provider: ProviderChoice) {
    let mut watch = watch(provider, 0);
    let mut peers = Peers::start();
    watch.port = peers.0.port();
    watch.set(&peers, FilterAction::Include);
    peers.request(5000);
    let whole = watch.received();
    assert_eq!((whole.captured, whole.stands_for), (HEAD + 5000, HEAD + 5000));
    peers.request(150_000);
    let cut = watch.received();
    assert_eq!((cut.captured, cut.stands_for), (65_536, HEAD + 150_000));

    // Headers only: a limit for each turn, everything else reported as gone by.
    watch.order(Mode::Limited, 100);
    for _ in 0..2 {
        peers.request(30_000);
        let limited = watch.received();
        assert_eq!((limited.captured, limited.stands_for), (100, HEAD + 30_000));
    }
    // All of a turn, also beyond what the settings allow.
    watch.order(Mode::Full, 0);
    peers.request(150_000);
    let beyond = watch.received();
    assert_eq!(
        (beyond.captured, beyond.stands_for),
        (HEAD + 150_000, HEAD + 150_000)
    );
    peers.request(7000);
    let again = watch.received();
    assert_eq!((again.captured, again.stands_for), (HEAD + 7000, HEAD + 7000));

    // Skip all but the last ten bytes of the next request.
    let next = again.first.expect("seen").wrapping_add(HEAD + 7000);
    watch.order(Mode::SkipTo, next.wrapping_add(HEAD + 20_000 - 10));
    peers.request(20_000);
    let rest = watch.received();
    assert_eq!(
        (rest.captured, rest.first),
        (10, Some(next.wrapping_add(HEAD + 20_000 - 10)))
    );
    peers.request(100);
    assert_eq!(
        watch.received().captured,
        HEAD + 100,
        "as before when the skip is over"
    );

    watch.order(Mode::Ignore, 0);
    peers.request(100);
    assert_eq!(watch.received(), Seen::default());
    assert_eq!(watch.count(Counter::RingFull), 0);
}

/// One call that writes from more places than are looked at: what is missing is counted, to the byte, and known to be missing.
fn parts_beyond_the_limit_are_counted(provider: ProviderChoice) {
    const PART_BYTES: u32 = 50;
    const PARTS: u32 = 400;
    let mut watch = watch(provider, 0);
    let mut peers = Peers::start();
    watch.port = peers.0.port();
    watch.set(&peers, FilterAction::Include);
    peers.request(10);
    let [sent, _] = watch.seen();
    assert_eq!((sent.captured, sent.stands_for), (HEAD + 10, HEAD + 10));
    let client = watch.client.expect("announced");
    watch
        .loaded
        .control
        .order(client, Direction::Out, Mode::Full, 0)
        .expect("the map takes it");

    let whole = HEAD + PARTS * PART_BYTES;
    let before = watch.counted(Counter::TooManyParts);
    peers.scattered(PART_BYTES, PARTS);
    let [sent, received] = watch.seen();
    assert_eq!(sent.stands_for, whole, "every byte has its place");
    let missing = whole - sent.captured;
    assert!(missing > 0 && sent.captured > HEAD + 200 * PART_BYTES, "{sent:?}");
    assert_eq!(missing % PART_BYTES, 0, "whole parts");
    let counted = (before.0 + 1, before.1 + u64::from(missing));
    assert_eq!(watch.counted(Counter::TooManyParts), counted);
    assert_eq!(
        (received.captured, received.stands_for),
        (whole, whole),
        "the other end reads it into one place"
    );

    // As many as are looked at, and the requests after it.
    let places = (sent.captured - HEAD) / PART_BYTES;
    peers.scattered(PART_BYTES, places);
    let [sent, _] = watch.seen();
    assert_eq!(sent.captured, HEAD + places * PART_BYTES);
    peers.request(7000);
    let [sent, _] = watch.seen();
    assert_eq!((sent.captured, sent.stands_for), (HEAD + 7000, HEAD + 7000));
    assert_eq!(watch.counted(Counter::TooManyParts), counted);
}

fn filters_hold_until_the_epoch_changes(provider: ProviderChoice) {
    let mut watch = watch(provider, 0);
    let mut peers = Peers::start();
    watch.port = peers.0.port();
    peers.request(10);
    assert_eq!(watch.received(), Seen::default(), "not included");
    assert!(watch.count(Counter::Filtered) > 0);
    watch.set(&peers, FilterAction::Include);
    peers.request(10);
    assert_eq!(
        watch.received(),
        Seen::default(),
        "nobody said that filters changed"
    );
    watch.judge_again(2);
    peers.request(10);
    assert_eq!(watch.received().captured, HEAD + 10);

    let mut other = Peers::start();
    watch.port = other.0.port();
    watch.set(&other, FilterAction::Include);
    watch
        .loaded
        .filters
        .set_port(other.0.port(), Some(FilterAction::Exclude))
        .expect("room");
    other.request(10);
    assert_eq!(watch.received(), Seen::default(), "exclusion wins");
    watch.loaded.filters.clear().expect("writable");
    watch
        .loaded
        .filters
        .set_port(other.0.port(), Some(FilterAction::Include))
        .expect("room");
    watch.judge_again(3);
    other.request(10);
    assert_eq!(watch.received().captured, HEAD + 10, "included by its port");
}

/// A control group of its own for a process, in the v2 hierarchy; gone with this value.
struct Cgroup(PathBuf);

impl Cgroup {
    fn of(peers: &Peers) -> Self {
        let root = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
            .into_iter()
            .map(Path::new)
            .find(|root| root.join("cgroup.procs").exists())
            .expect("a cgroup v2 hierarchy is mounted");
        let path = root.join(format!("eastwatch-test-{}", peers.0.pid()));
        std::fs::create_dir(&path).expect("root may make control groups");
        let cgroup = Self(path);
        std::fs::write(cgroup.0.join("cgroup.procs"), peers.0.pid().to_string())
            .expect("root may move processes");
        cgroup
    }

    /// What the programs see: the directory's inode number.
    fn id(&self) -> u64 {
        std::fs::metadata(&self.0).expect("it exists").ino()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

fn control_groups_are_filtered(provider: ProviderChoice) {
    let mut watch = watch(provider, 0);
    let mut peers = Peers::start();
    let cgroup = Cgroup::of(&peers);
    watch.port = peers.0.port();
    watch
        .loaded
        .filters
        .set_cgroup(cgroup.id(), Some(FilterAction::Include))
        .expect("room");
    peers.request(10);
    assert_eq!(watch.received().captured, HEAD + 10);
    // Before the group: a group with a process in it cannot be removed.
    drop(peers);
    drop(cgroup);
}

#[test]
fn socket_tracepoints_obey() {
    if can_capture() {
        orders_are_obeyed(ProviderChoice::SockLength);
        parts_beyond_the_limit_are_counted(ProviderChoice::SockLength);
        filters_hold_until_the_epoch_changes(ProviderChoice::SockLength);
        control_groups_are_filtered(ProviderChoice::SockLength);
    }
}

#[test]
fn system_call_exits_obey() {
    if can_capture() {
        mount_tracefs();
        orders_are_obeyed(ProviderChoice::SyscallExit);
        parts_beyond_the_limit_are_counted(ProviderChoice::SyscallExit);
        filters_hold_until_the_epoch_changes(ProviderChoice::SyscallExit);
        control_groups_are_filtered(ProviderChoice::SyscallExit);
    }
}

#[test]
fn system_call_entries_and_exits_obey() {
    if can_capture() {
        mount_tracefs();
        orders_are_obeyed(ProviderChoice::SyscallEnterExit);
        filters_hold_until_the_epoch_changes(ProviderChoice::SyscallEnterExit);
        control_groups_are_filtered(ProviderChoice::SyscallEnterExit);
    }
}
