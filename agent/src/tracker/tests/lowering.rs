//! Connections of processes that are over their budget.

use super::*;

/// The server's end announced anew, as the programs do on a connection that goes on.
fn again(talk: &Talk, weight: u32, left_out: bool) -> Record {
    let Record::Open(open) = talk.server.open(talk.time_ns) else {
        panic!("an announcement")
    };
    Record::Open(Open {
        base: None,
        weight,
        left_out,
        ..open
    })
}

fn weights(desk: &Desk) -> Vec<u32> {
    desk.calls.iter().map(|call| call.weight).collect()
}

#[test]
fn a_server_that_is_left_out_is_not_counted_at_the_clients_end_instead() {
    let mut talk = Talk::new(1);
    let Record::Open(open) = talk.server.open(talk.time_ns) else {
        panic!("an announcement")
    };
    let mut desk = Desk::new();
    desk.play(&[Record::Open(Open {
        left_out: true,
        weight: 1,
        ..open
    })]);
    for i in 0..3 {
        talk.call(&format!("c{i}"), 2);
    }
    talk.close();
    desk.play(&talk.of(&talk.client)).finish();
    assert!(desk.calls.is_empty(), "{:?}", desk.lines());
    let counters = desk.tracker.counters();
    assert_eq!((counters.exchanges_joined, counters.connections_lowered), (3, 1));
    assert_eq!((counters.gaps, desk.tracker.connections()), (0, 0));
}

#[test]
fn a_connection_that_stands_for_others_says_so_from_then_on() {
    let mut talk = Talk::new(1);
    let mut desk = Desk::new();
    talk.call("before", 2);
    desk.play(&talk.of(&talk.server));
    desk.play(&[again(&talk, 8, false)]);
    talk.records.clear();
    talk.call("after", 2);
    desk.play(&talk.of(&talk.server));
    desk.play(&[again(&talk, 1, false)]);
    talk.records.clear();
    talk.call("at-last", 2).close();
    desk.play(&talk.of(&talk.server));
    assert_eq!(weights(&desk), [1, 8, 1]);
    let counters = desk.tracker.counters();
    assert_eq!((counters.connections_reopened, counters.gaps), (2, 0));
}

/// What is on its way when a connection is left out is dropped, what comes when it is captured again is read, and nothing between is lost.
#[test]
fn a_connection_is_left_out_in_its_middle_and_captured_again() {
    let mut talk = Talk::new(1);
    let mut desk = Desk::new();
    talk.call("before", 2);
    talk.say(true, "GET /cut HTTP/1.1\r\nHost: h\r\n\r\n", 1);
    desk.play(&talk.of(&talk.server));
    desk.play(&[again(&talk, 1, true)]);
    talk.say(false, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1);
    talk.call("unseen", 2);
    talk.records.clear();
    desk.tick(1_000_000_000);
    desk.play(&[again(&talk, 64, false)]);
    for i in 0..2 {
        talk.call(&format!("again{i}"), 1);
    }
    talk.close();
    desk.play(&talk.of(&talk.server)).finish();
    let lines = desk.lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines[0].contains("/before") && lines[1].contains("/again0") && lines[2].contains("/again1"),
        "{lines:?}"
    );
    assert_eq!(weights(&desk), [1, 64, 64]);
    assert_eq!(desk.tracker.counters().gaps, 0);
}
