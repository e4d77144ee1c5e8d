//! The same live traffic for every provider that this kernel has: what was sent is what is stored.
//!
//! One agent a provider, because the kernel takes long to verify its programs where it is emulated. Each check is one line of JSON
//! on the standard output, in the shape that `cargo xtask vm-test` reads:
//! `{"provider":…,"check":…,"ok":…,"seconds":…,"detail":…}`, and for the check `load` also `"programs":[{"name":…,"verified":…}]`.
//!
//! `EASTWATCH_TEST_PROVIDERS` (names, separated by commas) chooses providers; a provider that is chosen must load.
//! `EASTWATCH_TEST_CHECKS` chooses checks in the same way; `load` is always one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod blocked;
mod browse;
mod connections;
mod cost;
mod evidence;
mod processes;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use eastwatch_agent::control::client;
use eastwatch_agent::loader::Provider;
use eastwatch_agent::status::Status;
use serde_json::json;
use tests::{Agent, Node, NodeOptions, can_capture, has_program, mount_tracefs};

use crate::evidence::{Evidence, Stored};

/// Names, separated by commas; all when not set.
const CHOICE_VARIABLE: &str = "EASTWATCH_TEST_PROVIDERS";

/// The same of checks.
const CHECKS_VARIABLE: &str = "EASTWATCH_TEST_CHECKS";

/// Takes a whole burst, also from an agent that an emulated processor runs.
const RING_BYTES: u32 = 64 << 20;

/// What sends traffic: how it is called and what it does.
type Check = (&'static str, fn(&Node) -> Evidence);

const CHECKS: &[Check] = &[
    ("keep-alive", browse::keep_alive),
    ("busybox-wget", browse::wget),
    ("busybox-httpd", browse::httpd),
    ("curl-nginx", browse::curl_nginx),
    ("blocked-receives", blocked::blocked_receives),
    ("short-lived-processes", processes::short_lived),
    ("connections", connections::open_at_once),
    ("same-pid", processes::same_pid),
];

/// The names of what a failed check said.
type Failures = Vec<String>;

#[test]
fn every_provider_of_this_kernel_loses_nothing() {
    if !can_capture() || !["busybox", "curl", "nginx"].into_iter().all(has_program) {
        return;
    }
    mount_tracefs();
    // The harness has begun a line.
    println!();
    let chosen = std::env::var(CHOICE_VARIABLE).ok();
    let mut failures = Failures::new();
    let mut worked = 0;
    for provider in Provider::ALL.map(|provider| provider.name()) {
        let named = chosen
            .as_deref()
            .map(|names| names.split(',').any(|name| name == provider));
        if named == Some(false) {
            continue;
        }
        match load(provider) {
            Ok(_) if !CHECKS.iter().any(|(check, _)| is_chosen(check)) => worked += 1,
            Ok(node) => {
                worked += 1;
                failures.extend(drive(provider, node));
            }
            Err(reason) if named == Some(true) => failures.push(format!("{provider}: load: {reason}")),
            Err(reason) => println!("skipped: this kernel does not have {provider}: {reason}"),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(worked > 0, "no provider works on this kernel");
}

/// Starts a node that captures by this provider alone.
fn load(provider: &str) -> Result<Node, String> {
    let mut options = NodeOptions::default();
    options.agent.provider = provider.to_owned();
    options.agent.ring_bytes = RING_BYTES;
    let started = Instant::now();
    let loaded = catch(|| {
        let node = Node::start(&options);
        let status = status(&node);
        // The agent goes on without those at TLS libraries, and says so in its log.
        let has_tls = status.programs.iter().any(|program| program.name == "tls_return");
        assert!(
            has_tls,
            "the programs at TLS libraries: {}",
            node.agent.process.stderr()
        );
        (node, status)
    });
    let seconds = started.elapsed().as_secs_f64();
    let line = match &loaded {
        Ok((_, status)) => {
            let programs: Vec<_> = status
                .programs
                .iter()
                .map(|program| json!({"name": program.name, "verified": program.verified}))
                .collect();
            json!({"provider": provider, "check": "load", "ok": true, "seconds": seconds, "detail": "", "programs": programs})
        }
        Err(detail) => {
            json!({"provider": provider, "check": "load", "ok": false, "seconds": seconds, "detail": detail, "programs": []})
        }
    };
    println!("{line}");
    loaded.map(|(node, _)| node)
}

/// What the agent says of itself on its control socket.
fn status(node: &Node) -> Status {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let status = runtime.block_on(client::status(&Agent::socket(node.directory())));
    status.unwrap().expect("the agent answers on its control socket")
}

/// All traffic, then the end of the agent, which hands over what it knows; only then is judged, so that a call that is stored twice
/// is seen as well.
fn drive(provider: &str, mut node: Node) -> Failures {
    let mut sent: Vec<(&str, f64, Result<Evidence, String>)> = Vec::new();
    let started = Instant::now();
    let measured = catch(|| cost::measure(&node));
    let seconds = started.elapsed().as_secs_f64();
    let before = node.agent.metrics();
    for (check, traffic) in CHECKS.iter().filter(|(check, _)| is_chosen(check)) {
        let started = Instant::now();
        let evidence = catch(|| {
            let evidence = traffic(&node);
            evidence.until_stored(&node);
            evidence
        });
        // Whoever waits for the judgement sees that something goes on.
        println!("{provider}: {check}: all is sent");
        sent.push((check, started.elapsed().as_secs_f64(), evidence));
    }
    let mut counted = String::new();
    let stopped = catch(|| {
        let after = node.agent.metrics();
        counted = after.nonzero_events();
        node.stop_agent();
        Stored::read(&node, [&before, &after])
    });
    let mut failures = Failures::new();
    let mut conclude = |check: &str, seconds: f64, judged: Result<String, String>| {
        let ok = judged.is_ok();
        let detail = judged.unwrap_or_else(|reason| {
            failures.push(format!("{provider}: {check}: {reason}"));
            format!("{reason}\nthe agent counted: {counted}")
        });
        let line =
            json!({"provider": provider, "check": check, "ok": ok, "seconds": seconds, "detail": detail});
        println!("{line}");
    };
    conclude("cost", seconds, measured);
    let stored = match stopped {
        Ok(stored) => stored,
        Err(reason) => {
            conclude("stop", 0.0, Err(reason));
            return failures;
        }
    };
    let books = catch(|| stored.balance(sent.iter().filter_map(|(_, _, evidence)| evidence.as_ref().ok())));
    for (check, seconds, evidence) in sent {
        let judged = evidence.and_then(|evidence| catch(|| evidence.judge(&stored)));
        conclude(check, seconds, judged);
    }
    conclude("books", 0.0, books);
    failures
}

/// Whether a check is to be made.
fn is_chosen(check: &str) -> bool {
    let names = std::env::var(CHECKS_VARIABLE);
    names.map_or(true, |names| names.split(',').any(|name| name == check))
}

/// What a panic said.
fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "a panic without words".to_owned())
    })
}
