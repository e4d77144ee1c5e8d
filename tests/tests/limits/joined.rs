//! An agent whose table of states is too small for the connections there are.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use serde_json::{Value, json};
use tests::{Node, NodeOptions, can_capture, only, until};

/// States that there is room for, the least that can be configured; a connection within a node needs two.
const ROOM: u64 = 64;
/// Connections that are opened before it is looked whether others had to make room.
const BATCH: usize = 32;
/// The host's other processes have states too: when so many have made room, those that were not used meanwhile have.
const EVICTED: u64 = 2 * ROOM;

// Paths of words that leave the node as they are.
const BEFORE: &str = "/api/users";
const OTHERS: &str = "/api/items";
const AGAIN: &str = "/api/orders";
const LAST: &str = "/api/search";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

struct Pair(UnixStream, UnixStream);

impl Pair {
    fn ask(&mut self, path: &str) -> usize {
        let request = format!("GET {path} HTTP/1.1\r\nHost: u\r\n\r\n");
        self.0.write_all(request.as_bytes()).unwrap();
        self.1.read_exact(&mut vec![0; request.len()]).unwrap();
        self.1.write_all(RESPONSE).unwrap();
        self.0.read_exact(&mut [0; RESPONSE.len()]).unwrap();
        request.len() + RESPONSE.len()
    }
}

fn small(provider: &str) -> Node {
    let mut options = NodeOptions {
        policy: only(&[std::env::current_exe().unwrap().to_str().unwrap()]),
        ..NodeOptions::default()
    };
    options.agent.provider = provider.to_owned();
    // Until the policy is in force, everything is captured.
    options.agent.ring_bytes = 64 << 20;
    let room = (
        "EASTWATCH_AGENT__CAPTURE__STATES_MAX".to_owned(),
        ROOM.to_string(),
    );
    options.agent.env.push(room);
    Node::start(&options)
}

fn rows(node: &Node, address: &str, path: &str) -> Vec<Value> {
    let mut rows = node.api().all(&format!("calls?path={path}"));
    rows.retain(|row| row["server_address"] == address);
    rows
}

fn goes_on(provider: &str) {
    println!("--- {provider}");
    let mut node = small(provider);
    let path = node.directory().join("small.sock");
    let address = format!("unix:{}", path.display());
    let listener = UnixListener::bind(&path).unwrap();
    let connect = || Pair(UnixStream::connect(&path).unwrap(), listener.accept().unwrap().0);
    let mut old = connect();
    old.ask(BEFORE);
    until("the connection is known", || {
        (!rows(&node, &address, BEFORE).is_empty()).then_some(())
    });
    let mut others = Vec::new();
    let mut sent = 1;
    until("others made room", || {
        for _ in 0..BATCH {
            let mut other = connect();
            other.ask(OTHERS);
            others.push(other);
        }
        sent += BATCH;
        let before = node.agent.metrics().event("kernel", "states_evicted");
        until("room is made", || {
            let now = node.agent.metrics().event("kernel", "states_evicted");
            (now > before).then_some(())
        });
        (before >= EVICTED).then_some(())
    });
    let mut exchange = 0;
    until("it is captured again", || {
        exchange = old.ask(AGAIN);
        sent += 1;
        (!rows(&node, &address, AGAIN).is_empty()).then_some(())
    });
    old.ask(LAST);
    sent += 1;
    until("and goes on", || {
        (!rows(&node, &address, LAST).is_empty()).then_some(())
    });
    let metrics = node.agent.metrics();
    println!("counted: {}", metrics.nonzero_events());
    let shown = node.agent.doctor().to_string();
    for counter in ["states_full", "states_evicted"] {
        assert!(metrics.event("kernel", counter) > 0, "{counter}");
        assert!(shown.contains(counter), "{counter} in doctor");
    }
    node.stop_agent();

    let flags = |path: &str| -> Vec<Value> {
        let rows = rows(&node, &address, path);
        rows.iter().map(|row| row["flags"].clone()).collect()
    };
    let (whole, late) = (json!([]), json!(["late_join"]));
    assert_eq!(flags(BEFORE), std::slice::from_ref(&whole));
    let again = flags(AGAIN);
    let joined = again.iter().filter(|flags| **flags == late).count();
    assert_eq!(joined, 1, "with the first of them it is joined: {again:?}");
    assert!(
        again.iter().all(|flags| [&whole, &late].contains(&flags)),
        "{again:?}"
    );
    assert_eq!(flags(LAST), [whole]);
    // What is no row was counted, at both ends.
    let seen = node.api().all("calls");
    let seen = seen
        .iter()
        .filter(|row| row["server_address"] == address.as_str());
    let missing = (sent - seen.count()) as u64;
    let bytes = metrics.get("eastwatch_agent_bytes_total{stage=\"kernel\",what=\"states_full\"}");
    println!("{missing} of {sent} are no rows, {bytes} bytes found no room");
    assert!(missing > 0, "the limit was reached");
    assert!(bytes >= missing * exchange as u64);
}

#[test]
fn a_connection_that_had_to_make_room_goes_on_as_one_joined_late() {
    if !can_capture() {
        return;
    }
    tests::mount_tracefs();
    for provider in ["sock-length", "syscall-exit"] {
        goes_on(provider);
    }
}
