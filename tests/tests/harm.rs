//! The agent does no harm: it is gone within a second whatever ends it, and a process to which capturing would add too much is captured
//! less.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aya::programs::{loaded_links, loaded_programs};
use nix::sys::signal::Signal;
use tests::load::Load;
use tests::servers::{Server, load_server};
use tests::{Agent, AgentOptions, Node, NodeOptions, can_capture, http, only, until, until_within};

/// In which programs and links are gone.
const DETACH_WITHIN: Duration = Duration::from_secs(1);

/// The programs of the test that serve, and those that ask.
const BOTH: &[&str] = &["*/loadserver", "*/harm-*"];

fn server(node: &Node) -> Server {
    load_server(env!("CARGO_BIN_EXE_loadserver"), node.directory())
}

/// Whether a program is one at functions of TLS libraries, which is loaded once and linked for each library.
fn is_of_libraries(id: u32) -> bool {
    let prefixes = ["tls_", "ssl_", "gnutls_", "bio_"];
    loaded_programs()
        .filter_map(Result::ok)
        .filter(|program| program.id() == id)
        .any(|program| {
            let name = program.name_as_str().unwrap_or_default();
            prefixes.iter().any(|prefix| name.starts_with(prefix))
        })
}

/// Those of them that are loaded, and the links of those.
fn left(programs: &[u32]) -> (Vec<u32>, usize) {
    let loaded = loaded_programs()
        .filter_map(Result::ok)
        .map(|program| program.id())
        .filter(|id| programs.contains(id))
        .collect();
    let links = loaded_links()
        .filter_map(Result::ok)
        .filter(|link| programs.contains(&link.program_id()))
        .count();
    (loaded, links)
}

/// Ends an agent in this way and waits until nothing of it is left in the kernel.
fn nothing_is_left_after(signal: Signal, provider: &str) {
    if !can_capture() {
        return;
    }
    tests::mount_tracefs();
    let directory = tests::directory();
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let options = AgentOptions {
        provider: provider.to_owned(),
        ..AgentOptions::default()
    };
    let mut agent = Agent::start(directory.path(), nobody, &options);
    let programs = agent.programs();
    let (loaded, _) = left(&programs);
    assert_eq!(loaded.len(), programs.len());
    let (of_libraries, hooked): (Vec<u32>, Vec<u32>) = programs.iter().partition(|id| is_of_libraries(**id));
    assert!(!of_libraries.is_empty());
    assert_eq!(left(&hooked).1, hooked.len(), "each program has its link");
    // A library stays probed for a while after its last user.
    until("a library is probed", || {
        let mut user = std::process::Command::new(tests::program("openssl").unwrap());
        assert!(user.arg("version").output().unwrap().status.success());
        (left(&of_libraries).1 > 0).then_some(())
    });
    agent.process.signal(signal);
    let signalled = Instant::now();
    if signal != Signal::SIGTERM {
        // One that is killed needs its time to die on a busy machine; who stops in order detaches first.
        agent.process.wait();
    }
    let ended = Instant::now();
    until_within(DETACH_WITHIN, "programs and links are gone", || {
        (left(&programs) == (Vec::new(), 0)).then_some(())
    });
    println!(
        "{signal} with {provider}: {} programs gone {} ms after the signal, {} ms after the end",
        programs.len(),
        signalled.elapsed().as_millis(),
        ended.elapsed().as_millis(),
    );
    let status = agent.process.wait();
    assert_eq!(status.success(), signal == Signal::SIGTERM, "{status}");
}

#[test]
fn it_detaches_when_it_stops() {
    nothing_is_left_after(Signal::SIGTERM, "auto");
    nothing_is_left_after(Signal::SIGTERM, "syscall-exit");
}

#[test]
fn it_is_detached_when_it_crashes() {
    nothing_is_left_after(Signal::SIGABRT, "auto");
    nothing_is_left_after(Signal::SIGABRT, "syscall-exit");
}

#[test]
fn it_is_detached_when_it_is_killed() {
    nothing_is_left_after(Signal::SIGKILL, "auto");
    nothing_is_left_after(Signal::SIGKILL, "syscall-exit");
}

/// Connections that are busy.
const CONNECTIONS: usize = 50;

/// An agent with a budget.
fn with_budget(core_percent: &str, calm_s: &str) -> Node {
    let env = [
        ("EASTWATCH_AGENT__HARM__CPU_PERCENT", "0.01"),
        ("EASTWATCH_AGENT__HARM__CORE_PERCENT", core_percent),
        ("EASTWATCH_AGENT__HARM__CALM_S", calm_s),
    ];
    Node::start(&NodeOptions {
        agent: AgentOptions {
            env: env
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .to_vec(),
            ring_bytes: 64 << 20,
            ..AgentOptions::default()
        },
        policy: only(BOTH),
    })
}

/// The levels to which the agent says it took a process, in their order.
fn levels(node: &Node, server: &Server) -> Vec<String> {
    let of_process = format!("pid={} ", server.process.id());
    let said = node.agent.process.stderr();
    said.lines()
        .filter(|line| line.contains(&of_process))
        .filter_map(|line| Some(line.split_once("level=\"")?.1.split_once('"')?.0.to_owned()))
        .collect()
}

fn until_level(node: &Node, server: &Server, level: &str) {
    until(&format!("{} is at {level}", server.name), || {
        (levels(node, server).last().map(String::as_str) == Some(level)).then_some(())
    });
}

#[test]
fn a_busy_process_is_captured_less_step_by_step_and_a_calm_one_whole() {
    if !can_capture() {
        return;
    }
    let mut node = with_budget("0.01", "1");
    let (busy, calm) = (server(&node), server(&node));
    let ask_calm = || assert_eq!(http::get(calm.address, "/api/items").unwrap().status, 200);
    let load = Load::connect(busy.address, CONNECTIONS);
    let mut asked = 0;
    let lowered = load.busy("/api/items", || {
        for level in ["headers", "sampled-8", "sampled-64", "detached"] {
            until_level(&node, &busy, level);
            ask_calm();
            asked += 1;
        }
        until("what is left out is counted", || {
            (node.agent.metrics().event("kernel", "lowered") > 0).then_some(())
        });
        until("the level is a metric", || {
            let metric = "eastwatch_agent_processes_lowered{level=\"detached\"}";
            (node.agent.metrics().get(metric) > 0).then_some(())
        });
        node.agent.doctor()["agent"]["harm"]["processes"].clone()
    });
    let of_busy = |process: &&serde_json::Value| process["pid"] == busy.process.id();
    let shown = lowered.as_array().unwrap().iter().find(of_busy).unwrap();
    println!("at its lowest: {shown}");
    assert_eq!(
        (&shown["level"], &shown["command"]),
        (&"detached".into(), &"loadserver".into())
    );

    // The load is over.
    until_level(&node, &busy, "full");
    let steps = [
        "headers",
        "sampled-8",
        "sampled-64",
        "detached",
        "sampled-64",
        "sampled-8",
        "headers",
        "full",
    ];
    assert_eq!(levels(&node, &busy), steps);
    assert!(levels(&node, &calm).is_empty());
    // Connections that were left out are joined again, new ones are seen from their begin.
    for _ in 0..5 {
        assert_eq!(http::get(busy.address, "/api/orders").unwrap().status, 200);
    }
    load.run(70, "/api/users");
    node.until_path(busy.address.port(), "/api/orders", 5);
    node.until_path(busy.address.port(), "/api/users", CONNECTIONS as u64);
    drop(load);
    let calls = node.all_calls(calm.address.port(), asked);
    assert!(
        calls
            .iter()
            .all(|call| call.side == "server" && call.flags.is_empty())
    );
    assert!(calls.iter().all(|call| call.row["weight"] == 1));
    let orders = node.api().calls(busy.address.port());
    let orders: Vec<_> = orders.iter().filter(|call| call.path == "/api/orders").collect();
    assert_eq!(orders.len(), 5);
    assert!(
        orders
            .iter()
            .all(|call| call.flags.is_empty() && call.row["weight"] == 1)
    );
}

/// One connection in eight stands for all: exactly one of each eight that follow each other.
#[test]
fn the_weights_of_sampled_connections_add_up() {
    const SAMPLED: u64 = 8;
    const ASKED: u64 = 400;
    if !can_capture() {
        return;
    }
    let mut node = with_budget("0.2", "600");
    let server = server(&node);
    let load = Load::connect(server.address, CONNECTIONS);
    load.busy("/api/items", || until_level(&node, &server, "sampled-8"));
    for _ in 0..ASKED {
        assert_eq!(http::get(server.address, "/api/orders").unwrap().status, 200);
    }
    assert_eq!(levels(&node, &server), ["headers", "sampled-8"]);
    drop(load);
    let port = server.address.port();
    node.until_path(port, "/api/orders", ASKED / SAMPLED - 1);
    node.stop_agent();
    let calls = node.api().calls(port);
    let orders: Vec<_> = calls.iter().filter(|call| call.path == "/api/orders").collect();
    let weights: u64 = orders
        .iter()
        .map(|call| call.row["weight"].as_u64().unwrap())
        .sum();
    println!("{} rows of {ASKED} connections, weights {weights}", orders.len());
    assert!(
        orders
            .iter()
            .all(|call| call.row["weight"] == SAMPLED && call.flags.is_empty())
    );
    // The other end of those that are left out is on this node too, and is not counted instead.
    assert!(orders.iter().all(|call| call.side == "server"));
    // The first and the last eight may be shared with other connections.
    assert!(weights.abs_diff(ASKED) <= SAMPLED, "{weights}");
    let endpoints = node.api().all("endpoints");
    let counted: u64 = endpoints
        .iter()
        .filter(|endpoint| endpoint["path"] == "/api/orders")
        .map(|endpoint| endpoint["total"]["calls"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, weights);
}
