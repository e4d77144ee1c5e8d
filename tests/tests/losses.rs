//! What is lost is counted to the request: a ring buffer far too small, an agent that is stopped, an agent that gets no processor; with
//! each provider, and with one end or both ends of the connections captured.
//!
//! The balance: each request is a row that the server's end told, or counted as lost at the server's end, or a row that the client's end
//! told before the server's end had understood it. What only the client's end heard is a row besides.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::cell::Cell;
use std::collections::HashSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use agent_common::Counter;
use aya::maps::{Map, MapData, MapInfo, PerCpuArray};
use aya::programs::loaded_programs;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tests::api::Call;
use tests::load::Load;
use tests::servers::{Server, load_server};
use tests::{
    Agent, AgentOptions, Node, NodeOptions, can_capture, directory, http, only, until, until_within,
};

/// Connections that are busy.
const CONNECTIONS: usize = 100;

/// Far too small for what comes.
const SMALL_RING_BYTES: u32 = 64 << 10;

/// Records that an agent must have missed before it may go on.
const MISSED_MIN: u64 = 5_000;
/// How long that may take.
const MISSED_WITHIN: Duration = Duration::from_secs(120);
/// Seconds that an agent is stopped at least.
const STOP_VARIABLE: &str = "EASTWATCH_STOP_SECONDS";

/// Which ends are captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Serving,
    Both,
}

/// A node, a server and connections to it.
struct Books {
    /// Holds a copy of the server: whatever else goes on on this machine is left out.
    _home: TempDir,
    what: String,
    ends: Ends,
    node: Node,
    server: Server,
    load: Load,
    first: u64,
    probes: Cell<u64>,
}

impl Books {
    fn open(provider: &str, ends: Ends, drain_ms: u32) -> Self {
        tests::mount_tracefs();
        let home = directory();
        let server = home.path().join("loadserver");
        std::fs::copy(env!("CARGO_BIN_EXE_loadserver"), &server).unwrap();
        let client = std::env::current_exe().unwrap();
        let [server, client] = [&server, &client].map(|path| path.to_str().unwrap());
        let programs: &[&str] = match ends {
            Ends::Serving => &[server],
            Ends::Both => &[server, client],
        };
        let node = Node::start(&NodeOptions {
            agent: AgentOptions {
                provider: provider.to_owned(),
                ring_bytes: SMALL_RING_BYTES,
                drain_ms,
                ..AgentOptions::default()
            },
            policy: only(programs),
        });
        let server = load_server(server, node.directory());
        let load = Load::connect(server.address, CONNECTIONS);
        let first = load.next();
        Self {
            _home: home,
            what: format!("{provider}, {ends:?}"),
            ends,
            node,
            server,
            load,
            first,
            probes: Cell::new(0),
        }
    }

    /// Asks until the agent has seen it.
    fn until_drained(&self) {
        let seen = self.node.api().all("calls?path=/api/search").len();
        until("the ring buffer has room", || {
            self.probes.set(self.probes.get() + 1);
            http::get(self.server.address, "/api/search").unwrap();
            (self.node.api().all("calls?path=/api/search").len() > seen).then_some(())
        });
    }

    /// Waits until the agent has caught up, sees that every connection is understood again, closes them, and compares.
    fn balance(mut self, loss_expected: bool) {
        let port = self.server.address.port();
        let burst = self.first..self.load.next();
        self.until_drained();
        // So few at a time that the ring buffer takes them. After a loss a pair is believed once what follows shows that nothing is
        // missing between: the next requests, or the end of the connection.
        let mut number = 0;
        let marked = self.load.one_by_one(&["/api/orders", "/api/users"], || {
            number += 1;
            if number % 10 == 0 {
                self.until_drained();
            }
        });
        let sent = self.load.next() - self.first + self.probes.get();
        drop(self.load);
        self.node.until_path(port, "/api/orders", CONNECTIONS as u64);
        let (node, what) = (&self.node, &self.what);
        let mut seen = 0;
        let late = until("the books balance", || {
            let late = node.agent.metrics().event("tracker", "exchanges_late");
            let sum = Sum::of(node, port, late);
            if seen != sum.accounted() {
                seen = sum.accounted();
                println!("{what}: sent {sent}, accounted {seen}: {sum:?}");
            }
            (seen == sent).then_some(late)
        });
        self.node.stop_agent();

        let calls = self.node.api().calls(port);
        let sum = Sum::of(&self.node, port, late);
        assert_eq!(sum.accounted(), sent, "{what}: {:?}", self.node.api().drops());
        assert!(
            !loss_expected || sum.lost > 0,
            "{what}: nothing was lost: {sum:?}"
        );
        assert!(
            sum.late <= sum.client_rows,
            "{what}: late ones have a row: {sum:?}"
        );
        assert!(
            self.ends == Ends::Both || sum.client_rows == 0,
            "{what}: one end was captured: {sum:?}"
        );
        // Each connection used two numbers, this path the first of them.
        let recovered: HashSet<u64> = sequences(&calls, "/api/orders").into_iter().collect();
        assert_eq!(recovered, (marked.0..marked.1).step_by(2).collect(), "{what}");
        let named: Vec<u64> = sequences(&calls, "/api/items");
        let different: HashSet<u64> = named.iter().copied().collect();
        assert_eq!(different.len(), named.len(), "{what}: one twice");
        assert!(
            different.iter().all(|sequence| burst.contains(sequence)),
            "{what}: exchanges that never were"
        );
    }
}

/// Numbers of the rows of this path that have one: of a request whose response was lost nobody knows it.
fn sequences(calls: &[Call], path: &str) -> Vec<u64> {
    calls
        .iter()
        .filter(|call| call.path == path)
        .filter_map(|call| call.response_header("x-seq")?.parse().ok())
        .collect()
}

/// What became of all requests.
#[derive(Debug)]
struct Sum {
    /// Rows of the server's end.
    server_rows: u64,
    /// Rows of the client's end.
    client_rows: u64,
    /// Requests counted as lost at the server's end.
    lost: u64,
    /// Rows of the client's end that the server's end understood later.
    late: u64,
}

impl Sum {
    fn of(node: &Node, port: u16, late: u64) -> Self {
        let calls = node.api().calls(port);
        let rows = |side: &str| calls.iter().filter(|call| call.side == side).count() as u64;
        let drops = node.api().drops();
        let lost = drops
            .iter()
            .find(|(stage, reason, _)| stage == "kernel" && reason == "lost_requests_in")
            .map_or(0, |(_, _, events)| *events);
        Self {
            server_rows: rows("server"),
            client_rows: rows("client"),
            lost,
            late,
        }
    }

    const fn accounted(&self) -> u64 {
        self.server_rows + self.lost + self.late
    }
}

/// More than the ring buffer takes, and seldom emptied.
fn overload(provider: &str, ends: Ends) {
    if !can_capture() {
        return;
    }
    let books = Books::open(provider, ends, 50);
    books.load.run(50, "/api/items");
    books.balance(true);
}

#[test]
fn overload_is_counted_exactly_and_every_connection_recovers() {
    overload("auto", Ends::Serving);
    overload("auto", Ends::Both);
}

#[test]
fn overload_is_counted_exactly_at_exits_of_system_calls() {
    overload("syscall-exit", Ends::Serving);
    overload("syscall-exit", Ends::Both);
}

#[test]
fn overload_is_counted_exactly_at_entries_and_exits_of_system_calls() {
    overload("syscall-enter-exit", Ends::Serving);
    overload("syscall-enter-exit", Ends::Both);
}

/// The map of counters, read past the agent.
fn counters(agent: &Agent) -> PerCpuArray<MapData, u64> {
    let programs = agent.programs();
    let maps = loaded_programs()
        .filter_map(Result::ok)
        .filter(|program| programs.contains(&program.id()))
        .filter_map(|program| program.map_ids().unwrap())
        .flatten();
    let is_counters = |id: &u32| MapInfo::from_id(*id).unwrap().name_as_str() == Some("COUNTERS");
    let id = maps.into_iter().find(is_counters).unwrap();
    PerCpuArray::try_from(Map::PerCpuArray(MapData::from_id(id).unwrap())).unwrap()
}

/// Until so much has gone by that thousands of records found no room, as the programs count meanwhile.
fn stopped(provider: &str, ends: Ends) {
    if !can_capture() {
        return;
    }
    let seconds = std::env::var(STOP_VARIABLE).map_or(0, |seconds| {
        seconds
            .parse()
            .expect("EASTWATCH_STOP_SECONDS: a number of seconds")
    });
    let books = Books::open(provider, ends, 10);
    books.load.run(5, "/api/items");
    let counters = counters(&books.node.agent);
    let missed = || -> u64 {
        counters
            .get(&(2 * Counter::RingFull as u32), 0)
            .unwrap()
            .iter()
            .sum()
    };
    books.load.busy("/api/items", || {
        books.node.agent.process.signal(Signal::SIGSTOP);
        let before = missed();
        until_within(MISSED_WITHIN, "records are missed", || {
            (missed() >= before + MISSED_MIN).then_some(())
        });
        // Where the time is what is tested, nothing waits for it.
        std::thread::sleep(Duration::from_secs(seconds));
        books.node.agent.process.signal(Signal::SIGCONT);
    });
    books.balance(true);
}

#[test]
fn what_goes_by_while_the_agent_is_stopped_is_counted() {
    stopped("auto", Ends::Serving);
    stopped("auto", Ends::Both);
}

#[test]
fn what_goes_by_while_the_agent_is_stopped_is_counted_at_system_calls() {
    stopped("syscall-exit", Ends::Both);
    stopped("syscall-enter-exit", Ends::Both);
}

/// Loops that take all processors. They end with the value.
struct Hogs(Vec<std::process::Child>);

impl Hogs {
    fn start(count: usize) -> Self {
        let hog = || {
            Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "sh", "-c", "while :; do :; done"])
                .stdin(Stdio::null())
                .spawn()
                .unwrap()
        };
        Self((0..count).map(|_| hog()).collect())
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}

fn starved(provider: &str, ends: Ends) {
    if !can_capture() {
        return;
    }
    let books = Books::open(provider, ends, 10);
    let idle = |policy: &str| {
        let pid = books.node.agent.process.id().to_string();
        let set = Command::new("chrt")
            .args(["--all-tasks", policy, "--pid", "0", &pid])
            .status()
            .unwrap();
        assert!(set.success(), "chrt {policy}: {set}");
    };
    idle("--idle");
    let processors = std::thread::available_parallelism().unwrap().get();
    let hogs = Hogs::start(2 * processors);
    books.load.run(20, "/api/items");
    drop(hogs);
    idle("--other");
    books.balance(false);
}

#[test]
fn what_goes_by_while_the_agent_gets_no_processor_is_counted() {
    starved("auto", Ends::Serving);
    starved("auto", Ends::Both);
}

#[test]
fn what_goes_by_while_the_agent_gets_no_processor_is_counted_at_system_calls() {
    starved("syscall-exit", Ends::Both);
    starved("syscall-enter-exit", Ends::Both);
}
