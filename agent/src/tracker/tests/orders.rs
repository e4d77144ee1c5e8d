//! What the source is told.

use super::passing::SKIP_AGAIN;
use super::*;

const BODY: usize = 1 << 20;

/// A server's end in the middle of sending a large body of which `sent` bytes were reported.
fn large(sent: usize) -> (Desk, Talk) {
    let mut talk = Talk::new(1);
    talk.say(true, "GET /large HTTP/1.1\r\n\r\n", 1);
    let mut desk = Desk::new();
    desk.play(&talk.of(&talk.server));
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n{}",
        "b".repeat(sent)
    );
    let record = talk
        .server
        .chunk(Way::Out, head.as_bytes(), head.len(), 0, talk.time_ns);
    desk.play([&record]);
    (desk, talk)
}

#[test]
fn the_rest_of_a_large_body_is_skipped() {
    let (mut desk, mut talk) = large(100);
    let until = talk.server.next[Way::Out as usize].wrapping_add(BODY as u32 - 100);
    let skip = Order::Skip {
        connection: talk.server.id,
        way: Way::Out,
        sequence: until,
    };
    assert_eq!(desk.tracker.take_orders(), [skip]);
    // The programs obey: the next that comes is the end of the part, an empty record.
    talk.server.pass_over(Way::Out, BODY - 100);
    let end = talk
        .server
        .chunk(Way::Out, b"", 0, chunk_flags::CAPPED, talk.time_ns);
    desk.play([&end]);
    assert_eq!(desk.lines(), ["Server ->stock /large 200 truncated"]);
    let body = &desk.calls[0].exchange.response.as_ref().unwrap().body;
    assert_eq!(body.wire_bytes, BODY as u64);
    let gaps = desk.tracker.counters().gaps;
    let protocol = desk.tracker.protocol_counters();
    assert_eq!((gaps, protocol.gaps, protocol.left_out), (0, 0, 1));
    assert_eq!(protocol.left_out_bytes, BODY as u64 - 100);
}

#[test]
fn a_part_that_is_skipped_until_the_close_is_no_loss() {
    let (mut desk, mut talk) = large(100);
    talk.server.pass_over(Way::Out, BODY - 100);
    desk.play([&talk.server.close(talk.time_ns)]);
    assert_eq!(desk.lines(), ["Server ->stock /large 200 truncated"]);
    let body = &desk.calls[0].exchange.response.as_ref().unwrap().body;
    assert_eq!(body.wire_bytes, BODY as u64, "no FIN in it");
    assert_eq!(desk.tracker.counters().gap_bytes, 0);
}

#[test]
fn what_is_lost_behind_a_skipped_part_is_a_loss() {
    let (mut desk, mut talk) = large(100);
    talk.server.pass_over(Way::Out, BODY - 100 + 33);
    desk.play([&talk.server.close(talk.time_ns)])
        .tick(10 * CLOSE_LINGER_NS);
    let counters = desk.tracker.counters();
    assert_eq!((counters.gaps, counters.gap_bytes), (1, 33));
}

#[test]
fn a_skip_that_is_not_obeyed_is_ordered_again_once_in_a_while() {
    let (mut desk, mut talk) = large(0);
    let mut orders = desk.tracker.take_orders();
    assert_eq!(orders.len(), 1);
    let piece = [b'b'; 1000];
    for _ in 0..3 * SKIP_AGAIN {
        let record = talk.server.chunk(Way::Out, &piece, piece.len(), 0, talk.time_ns);
        desk.play([&record]);
    }
    let again = desk.tracker.take_orders();
    assert_eq!(again.len(), 3);
    orders.extend(again);
    assert!(orders.iter().all(|order| *order == orders[0]), "{orders:?}");
}

#[test]
fn a_part_of_more_than_the_half_of_the_sequence_numbers_is_skipped_in_steps() {
    let mut talk = Talk::new(1);
    talk.say(true, "GET /huge HTTP/1.1\r\n\r\n", 1);
    let mut desk = Desk::new();
    desk.play(&talk.of(&talk.server));
    let whole: u64 = 3 << 32;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {whole}\r\n\r\n");
    let mut record = talk
        .server
        .chunk(Way::Out, head.as_bytes(), head.len(), 0, talk.time_ns);
    let mut steps = 0;
    while desk.calls.is_empty() {
        desk.play([&record]);
        for order in desk.tracker.take_orders() {
            let Order::Skip { sequence, .. } = order else {
                panic!("{order:?}")
            };
            let over = sequence.wrapping_sub(talk.server.next[1]);
            assert!(over <= 1 << 30);
            talk.server.pass_over(Way::Out, over as usize);
        }
        record = talk
            .server
            .chunk(Way::Out, b"", 0, chunk_flags::CAPPED, talk.time_ns);
        steps += 1;
        assert!(steps < 100);
    }
    let body = &desk.calls[0].exchange.response.as_ref().unwrap().body;
    assert_eq!(body.wire_bytes, whole);
    assert_eq!(desk.tracker.counters().gaps, 0);
}

#[test]
fn what_speaks_something_else_is_ignored_and_that_order_repeated() {
    let mut talk = Talk::new(1);
    talk.say(true, "EHLO stock\r\n", 1);
    let mut desk = Desk::new();
    desk.play(&talk.of(&talk.server));
    let ignore = Order::Ignore {
        connection: talk.server.id,
    };
    assert_eq!(desk.tracker.take_orders(), [ignore]);
    let before = desk.tracker.counters().chunks_unwanted;
    for _ in 0..2 * AGAIN {
        let record = talk.server.chunk(Way::In, b"frame", 5, 0, talk.time_ns);
        desk.play([&record]);
    }
    assert_eq!(desk.tracker.take_orders(), [ignore, ignore]);
    assert_eq!(
        desk.tracker.counters().chunks_unwanted - before,
        2 * u64::from(AGAIN)
    );
    desk.play([&talk.server.close(talk.time_ns)]);
    assert_eq!(desk.tracker.connections(), 0);
}

#[test]
fn what_nobody_tracks_is_left_out_again_once_in_a_while() {
    let mut talk = Talk::new(1);
    let mut desk = Desk::new();
    for _ in 0..2 * AGAIN {
        let record = talk.server.chunk(Way::In, b"x", 1, 0, talk.time_ns);
        desk.play([&record]);
    }
    let order = Order::LeaveOut {
        connection: talk.server.id,
    };
    assert_eq!(desk.tracker.take_orders(), [order, order]);
}
