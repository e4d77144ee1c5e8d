//! Connections that rest: what the programs say that they left out is exactly what went by.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::collections::BTreeSet;

use agent_common::{Counter, Direction, FilterAction, Mode, Role, Settings};
use eastwatch_agent::attribution::{Attribution, Options};
use eastwatch_agent::loader::{self, Loaded, ProviderChoice};
use eastwatch_agent::source::{Event, ebpf};
use eastwatch_agent::tracker::{Fate, Fates, Limits, Order, Tracker};
use nix::time::{ClockId, clock_gettime};
use tests::{Script, can_capture, mount_tracefs, until};

/// Both ends of [`CONNECTIONS`] connections in one process: for each number on its standard input so many exchanges, over one connection
/// after the other, each message in one piece, every other round of one endpoint and of another; then a line on its standard output. 0:
/// it closes them. Records are made inside its system calls, so what it did then is in the ring buffer.
const PEERS: &str = r#"
import socket, sys
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen()
pairs = []
for _ in range(4):
    client = socket.create_connection(listener.getsockname()); pairs.append((client, listener.accept()[0]))
print(listener.getsockname()[1], flush=True)
n = 0
for line in sys.stdin:
    for _ in range(int(line)):
        client, server = pairs[n % 4]
        request = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"odd" if n // 4 % 2 else b"even")
        n += 1
        client.sendall(request)
        assert server.recv(1000) == request
        server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        assert client.recv(1000)
    if int(line) == 0:
        for client, server in pairs: client.close(); server.close()
    print("done", flush=True)
"#;
const CONNECTIONS: usize = 4;
const EVERY: u32 = 8;
/// Exchanges of each connection before it rests: more than it takes until the client's end is no longer captured.
const BEFORE: u32 = 20;

/// A call as it came out.
#[derive(Debug)]
struct Seen {
    target: String,
    weight: u32,
    again: bool,
    flags: u32,
    side: String,
}

/// The clock of records.
fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

struct Watch {
    peers: Script,
    loaded: Loaded,
    tracker: Tracker,
    attribution: Attribution,
    servers: BTreeSet<u64>,
    calls: Vec<Seen>,
}

impl Watch {
    /// What went over the connections so far is known, and their clients' ends are silent.
    fn start(provider: ProviderChoice, ring_bytes: u32) -> Self {
        let settings = Settings {
            epoch: 1,
            turn_bytes_max: 65_536,
            // Only what is included: the node has other traffic.
            include_only: 1,
            reserved: 0,
        };
        let options = loader::Options::new(provider, ring_bytes, settings);
        let mut loaded = loader::load(&options).unwrap_or_else(|error| panic!("{error}"));
        let limits = Limits {
            connections: 1000,
            idle_ns: u64::MAX,
            http: Default::default(),
            parser_bytes: 1 << 30,
            reconcile_ns: u64::MAX,
            rests: true,
        };
        let peers = Script::start(PEERS);
        loaded
            .filters
            .set_pid(peers.pid(), Some(FilterAction::Include))
            .expect("room");
        let mut watch = Self {
            peers,
            loaded,
            tracker: Tracker::new(limits, Default::default()),
            attribution: Attribution::new(Options::default()),
            servers: BTreeSet::new(),
            calls: Vec::new(),
        };
        for _ in 0..BEFORE {
            watch.exchange(CONNECTIONS as u32);
        }
        // Client's ends wait for what their server's ends tell.
        for _ in 0..5 {
            watch.drain();
        }
        assert_eq!(watch.servers.len(), CONNECTIONS);
        assert_eq!(watch.calls.len(), CONNECTIONS * BEFORE as usize);
        assert_eq!(watch.tracker.counters().connections_silenced, CONNECTIONS as u64);
        watch.exchange(CONNECTIONS as u32);
        watch.calls.clear();
        watch
    }

    fn exchange(&mut self, exchanges: u32) {
        self.peers.ask(&exchanges.to_string());
        self.drain();
    }

    /// One round of the agent's.
    fn drain(&mut self) {
        let calls = &mut self.calls;
        let mut out = |call: eastwatch_agent::tracker::Call| {
            calls.push(Seen {
                target: String::from_utf8_lossy(&call.exchange.request.target).into_owned(),
                weight: call.weight,
                again: call.again,
                flags: call.exchange.flags.0,
                side: format!("{:?}", call.side),
            });
        };
        while let Some(record) = self.loaded.ring.next() {
            let event = ebpf::parse(&record).unwrap_or_else(|| panic!("a record that is none"));
            if let Event::Open(open) = &event
                && open.role == Role::Server
                && open.tuple.local_port == self.peers.port()
            {
                self.servers.insert(open.connection);
            }
            self.tracker
                .handle(&event, &mut self.attribution, monotonic_ns(), &mut out);
        }
        self.tracker.tick(monotonic_ns(), &mut out);
        self.obey();
    }

    /// Gives the orders of the tracker.
    fn obey(&mut self) {
        let control = &mut self.loaded.control;
        for order in self.tracker.take_orders() {
            match order {
                Order::Rest {
                    connection,
                    way,
                    every,
                } => control.order(connection, way, Mode::Rest, every),
                Order::LeaveOut { connection } => control.order_both(connection, Mode::LeaveOut, 1),
                other => panic!("{other:?}"),
            }
            .expect("the map takes it");
        }
    }

    fn rest(&mut self, every: u32) {
        for server in &self.servers {
            assert!(self.tracker.rest(*server, every));
        }
        self.obey();
    }

    fn order(&mut self, mode: Mode, argument: u32) {
        for server in &self.servers {
            self.loaded
                .control
                .order(*server, Direction::In, mode, argument)
                .expect("the map takes it");
        }
    }

    fn close(&mut self) {
        self.peers.ask("0");
        until("all connections are closed", || {
            self.drain();
            (self.tracker.connections() == 0).then_some(())
        });
    }

    fn counted(&self, counter: Counter) -> (u64, u64) {
        self.loaded.counters.read(counter).expect("readable")
    }

    fn weights(&self, target: &str) -> u64 {
        let of_target = self.calls.iter().filter(|call| call.target == target);
        of_target.map(|call| u64::from(call.weight)).sum()
    }

    fn rows(&self) -> u64 {
        self.calls.iter().filter(|call| !call.again).count() as u64
    }

    fn fates(&mut self) -> Fates {
        let mut sum = Fates::default();
        for (_, account) in self.tracker.coverage() {
            for (_, tally) in account.iter() {
                sum.merge(&tally.fates);
            }
        }
        sum
    }
}

/// One exchange in so many is captured, they stand for all of them exactly, and for those of each endpoint about.
fn all_exchanges_are_counted(provider: ProviderChoice) {
    const EXCHANGES: u64 = 10_000;
    const ROUND: u32 = 100;
    let mut watch = Watch::start(provider, 1 << 20);
    watch.rest(EVERY);
    for _ in 0..EXCHANGES / u64::from(ROUND) {
        watch.exchange(ROUND);
    }
    watch.close();
    let (even, odd) = (watch.weights("/even"), watch.weights("/odd"));
    assert_eq!(even + odd, EXCHANGES);
    assert!(
        watch
            .calls
            .iter()
            .all(|call| call.flags == 0 && call.side == "Server")
    );

    // Gaps are 1 … 15 with equal chances: of mean 8 and variance 56 / 3. Five standard deviations each.
    let mean = EXCHANGES as f64 / f64::from(EVERY);
    let rows = watch.rows();
    let spread = 5.0 * (mean * 56.0 / 3.0 / 64.0).sqrt();
    assert!((rows as f64 - mean).abs() < spread, "{rows} rows");
    let halves = (even as f64 - EXCHANGES as f64 / 2.0).abs();
    // Of each endpoint half of the gaps: 8² · (4/3 · 1/2 − 1/4) each, at most.
    let spread = 5.0 * (mean * 64.0 * 5.0 / 12.0).sqrt();
    assert!(halves < spread, "{even} and {odd}");

    // Each message went in one transfer.
    let (transfers, bytes) = watch.counted(Counter::Rested);
    assert_eq!(transfers, 2 * (EXCHANGES - rows));
    let fates = watch.fates();
    assert_eq!(fates.get(Fate::Rested), bytes);
    assert_eq!(fates.capture_rate(), Some(1.0), "{fates:?}");
    let counters = watch.tracker.counters();
    assert_eq!((counters.gaps, counters.rests_ended), (0, 0));
    assert_eq!(counters.rests_ordered, CONNECTIONS as u64);
    assert_eq!(watch.counted(Counter::RingFull).0, 0);
}

/// What a record stood for that found the ring buffer full, another one does.
fn nothing_that_is_lost_is_forgotten(provider: ProviderChoice) {
    const UNREAD: u32 = 10_000;
    let mut watch = Watch::start(provider, 1 << 18);
    watch.rest(EVERY);
    watch.peers.ask(&UNREAD.to_string());
    let (lost, _) = watch.counted(Counter::RingFull);
    assert!(lost > 0, "the buffer holds it all");
    for _ in 0..20 {
        watch.exchange(CONNECTIONS as u32);
    }
    watch.close();
    assert_eq!(watch.counted(Counter::CloseLost).0, 0);
    let all = watch.weights("/even") + watch.weights("/odd");
    assert_eq!(all, u64::from(UNREAD) + 20 * CONNECTIONS as u64);
    let fates = watch.fates();
    assert_eq!(fates.get(Fate::Rested), watch.counted(Counter::Rested).1);
    assert_eq!(fates.get(Fate::RingFull), watch.counted(Counter::RingFull).1);
}

/// Orders reach a connection that rests with its next request.
fn other_orders_are_obeyed(provider: ProviderChoice) {
    const SELDOM: u32 = 1 << 16;
    let mut watch = Watch::start(provider, 1 << 20);
    watch.rest(SELDOM);
    watch.exchange(40 * CONNECTIONS as u32);
    let before = watch.rows();
    watch.order(Mode::Report, 0);
    watch.exchange(CONNECTIONS as u32);
    let told = watch.weights("/even") + watch.weights("/odd");
    assert_eq!(told, 41 * CONNECTIONS as u64, "{before} of them captured");

    watch.rest(1);
    watch.exchange(10 * CONNECTIONS as u32);
    let all = watch.weights("/even") + watch.weights("/odd");
    assert_eq!(all, 51 * CONNECTIONS as u64);
    assert!(watch.rows() >= before + 10 * CONNECTIONS as u64);

    watch.rest(SELDOM);
    watch.exchange(CONNECTIONS as u32);
    let (filtered, _) = watch.counted(Counter::Filtered);
    let rows = watch.rows();
    watch.order(Mode::LeaveOut, 1);
    watch.exchange(10 * CONNECTIONS as u32);
    assert_eq!(watch.rows(), rows);
    let filtered = watch.counted(Counter::Filtered).0 - filtered;
    // Both directions of the servers' ends, but for what the clients' ends have on top of it.
    assert!(filtered >= 2 * 10 * CONNECTIONS as u64, "{filtered}");
}

fn rests(provider: ProviderChoice) {
    all_exchanges_are_counted(provider);
    nothing_that_is_lost_is_forgotten(provider);
    other_orders_are_obeyed(provider);
}

#[test]
fn at_socket_tracepoints() {
    if can_capture() {
        rests(ProviderChoice::SockLength);
    }
}

#[test]
fn at_system_call_exits() {
    if can_capture() {
        mount_tracefs();
        rests(ProviderChoice::SyscallExit);
    }
}

#[test]
fn at_system_call_entries_and_exits() {
    if can_capture() {
        mount_tracefs();
        rests(ProviderChoice::SyscallEnterExit);
    }
}
