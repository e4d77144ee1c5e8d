//! A client's end of which the server's end on the same node gives the exchanges.

use super::*;

/// A conversation of `calls` exchanges that goes on: nobody has closed.
fn talk(calls: u64) -> Talk {
    let mut talk = Talk::new(1);
    for i in 0..calls {
        talk.call(&format!("c{i}"), 2);
    }
    talk
}

fn left_out(desk: &mut Desk, connection: u64) -> usize {
    let order = Order::LeaveOut { connection };
    let orders = desk.tracker.take_orders();
    orders.iter().filter(|given| **given == order).count()
}

#[test]
fn a_busy_client_end_is_left_out_and_nothing_is_missing() {
    let calls = 3 * JOINED_ENOUGH;
    let mut desk = Desk::new();
    let mut talk = talk(calls);
    // Records of the client's end that were on their way when the order was given come nevertheless.
    desk.play(&talk.close().records);
    assert_eq!(left_out(&mut desk, talk.client.id), 1);
    let expect: Vec<_> = (0..calls)
        .map(|i| format!("Server shop>stock /c{i} 201"))
        .collect();
    assert_eq!(desk.lines(), expect);
    let counters = desk.tracker.counters();
    assert_eq!((counters.connections_silenced, counters.gaps), (1, 0));
    assert_eq!(counters.exchanges_joined, JOINED_ENOUGH);
    assert!(counters.chunks_silenced > 0);
    assert_eq!(desk.tracker.connections(), 0);
}

#[test]
fn a_client_end_whose_server_is_elsewhere_is_never_left_out() {
    let mut desk = Desk::new();
    let talk = talk(3 * JOINED_ENOUGH);
    desk.play(&talk.of(&talk.client));
    assert_eq!(left_out(&mut desk, talk.client.id), 0);
    assert_eq!(desk.calls.len() as u64, 3 * JOINED_ENOUGH);
}

#[test]
fn the_order_is_repeated_while_records_come() {
    let mut desk = Desk::new();
    // Five records a call at the client's end: as many as make two repetitions, and some.
    let calls = JOINED_ENOUGH + 2 * u64::from(AGAIN) / 5 + 10;
    let talk = talk(calls);
    desk.play(&talk.records);
    assert_eq!(left_out(&mut desk, talk.client.id), 3);
    assert_eq!(desk.calls.len() as u64, calls);
}

#[test]
fn a_client_end_is_heard_again_when_the_server_is_no_longer() {
    let mut desk = Desk::new();
    let mut talk = talk(JOINED_ENOUGH);
    desk.play(&talk.records);
    assert_eq!(left_out(&mut desk, talk.client.id), 1);
    talk.records.clear();
    talk.call("forgotten", 1);
    let server_closes = talk.server.close(talk.time_ns);
    desk.play(&talk.of(&talk.server)).play([&server_closes]);
    desk.tick(10_000_000_000);
    assert_eq!(
        desk.lines().last().map(String::as_str),
        Some("Server shop>stock /forgotten 201")
    );
    // The server's socket is a new one to the source, which reports the client's end again.
    let before = desk.calls.len();
    talk.records.clear();
    for i in 0..u64::from(AGAIN) {
        talk.call(&format!("d{i}"), 1);
    }
    desk.play(&talk.of(&talk.client));
    let heard = desk.calls.len() - before;
    assert!(heard > 0, "records that keep coming are read");
    assert_eq!(left_out(&mut desk, talk.client.id), 0);
    assert!(
        desk.lines()[before..]
            .iter()
            .all(|line| line.starts_with("Client shop>"))
    );
}

#[test]
fn a_new_policy_hears_it_again() {
    let mut desk = Desk::new();
    let mut talk = talk(JOINED_ENOUGH);
    desk.play(&talk.records);
    assert_eq!(left_out(&mut desk, talk.client.id), 1);
    desk.tracker
        .set_policy(protocol::Limits::default(), FilterPolicy::default(), &mut |_| {});
    talk.records.clear();
    for i in 0..JOINED_ENOUGH {
        talk.call(&format!("d{i}"), 1);
    }
    desk.play(&talk.records);
    assert_eq!(desk.calls.len() as u64, 2 * JOINED_ENOUGH, "each once");
    assert_eq!(left_out(&mut desk, talk.client.id), 1, "and left out again");
}
