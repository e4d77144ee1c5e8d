//! Every bound, at the bound.

use super::connection::UNORIENTED_MAX;
use super::passing::HELD_BYTES_MAX;
use super::stream::HELD_MAX;
use super::*;

#[test]
fn connections_beyond_the_limit_are_left_out_and_counted() {
    let mut desk = Desk::with(2, FilterPolicy::default());
    for n in 1..=3 {
        let talk = Talk::new(n).call("a", 1).clone();
        desk.play(&talk.of(&talk.server));
    }
    assert_eq!(desk.tracker.connections(), 2);
    assert_eq!(desk.tracker.counters().connections_beyond_limit, 1);
    assert_eq!(desk.tracker.take_orders(), [Order::LeaveOut { connection: 32 }]);
    // Who sleeps makes room.
    desk.tick(2 * IDLE_NS);
    let talk = Talk::new(4).call("a", 1).clone();
    desk.play(&talk.of(&talk.server));
    assert_eq!(desk.tracker.connections(), 2);
    let counters = desk.tracker.counters();
    assert_eq!(
        (counters.connections_beyond_limit, counters.connections_evicted),
        (1, 1)
    );
    assert_eq!(desk.calls.len(), 3);
}

#[test]
fn a_client_whose_servers_end_is_beyond_the_limit_is_the_record() {
    let mut desk = Desk::with(1, FilterPolicy::default());
    desk.play(&Talk::new(1).call("a", 1).close().records);
    assert_eq!(desk.lines(), ["Client shop>- /a 201"]);
}

#[test]
fn records_wait_within_bounds() {
    let mut talk = Talk::new(1);
    let mut desk = Desk::new();
    desk.play([&talk.server.open(1)]);
    talk.server.pass_over(Way::In, 10);
    for n in 1..=HELD_MAX + 1 {
        let record = talk.server.chunk(Way::In, b"x", 1, 0, 1);
        talk.server.pass_over(Way::In, 10);
        desk.play([&record]);
        let waits = desk.tracker.connections[&talk.server.id].holds();
        assert_eq!(waits, n <= HELD_MAX, "{n}");
    }
    assert_eq!(desk.tracker.common.ledger.held_bytes, 0);
    let counters = desk.tracker.counters();
    assert_eq!(counters.gaps, HELD_MAX as u64 + 1);
    assert_eq!(counters.gap_bytes, 10 * (HELD_MAX as u64 + 1));
}

#[test]
fn what_waits_is_bounded_over_all_connections() {
    let mut desk = Desk::new();
    let piece = vec![b'x'; 16_000];
    let mut most = 0;
    for n in 0..600 {
        let mut talk = Talk::new(n);
        desk.play([&talk.server.open(1)]);
        talk.server.pass_over(Way::In, 10);
        for _ in 0..7 {
            let record = talk.server.chunk(Way::In, &piece, piece.len(), 0, 1);
            desk.play([&record]);
            most = most.max(desk.tracker.common.ledger.held_bytes);
        }
    }
    assert!(
        most > HELD_BYTES_MAX - 2 * piece.len() && most <= HELD_BYTES_MAX,
        "{most}"
    );
    assert!(desk.tracker.counters().gaps > 0);
    desk.tick(1).tick(1).tick(1);
    assert_eq!(desk.tracker.common.ledger.held_bytes, 0);
    assert!(desk.tracker.waiting.is_empty());
}

#[test]
fn closes_that_wait_are_no_more_than_connections() {
    let talk = Talk::new(1).call("a", 1).clone();
    let mut desk = Desk::new();
    desk.play(&talk.of(&talk.server));
    let mut socket = talk.server.clone();
    socket.pass_over(Way::In, 5);
    for _ in 0..100 {
        desk.play([&socket.close(talk.time_ns)]);
    }
    assert_eq!(desk.tracker.closing.len(), 1);
}

#[test]
fn a_connection_of_which_nobody_can_tell_the_client_is_given_up() {
    let mut talk = Talk::new(1);
    talk.server.fresh = false;
    talk.server.role = Role::Unknown;
    let mut desk = Desk::new();
    desk.play([&talk.server.open(1)]);
    for _ in 0..2 * UNORIENTED_MAX {
        let record = talk.server.chunk(Way::In, b"no start line", 13, 0, 1);
        desk.play([&record]);
    }
    let counters = desk.tracker.counters();
    assert_eq!(
        (counters.chunks_unoriented, counters.chunks_unwanted),
        (u64::from(UNORIENTED_MAX), u64::from(UNORIENTED_MAX))
    );
    assert_eq!(
        desk.tracker.take_orders(),
        [Order::Ignore {
            connection: talk.server.id
        }]
    );
}
