//! Server-sent events.

use super::{End, Piece, data, read};
use crate::{Direction, Limits, Messages};

const EVENTS: &[(&str, &str)] = &[("content-type", "text/event-stream")];

fn events(pieces: &[Piece], end: End) -> Messages {
    read(Direction::Response, EVENTS, &Limits::default(), pieces, end)
        .0
        .body
        .messages
}

#[test]
fn events_are_counted() {
    // The stream, its events, bytes of their data, the largest.
    let cases: &[(&str, [u64; 3])] = &[
        ("data: hello\n\n", [1, 5, 5]),
        ("data:hello\r\n\r\ndata: you\r\rdata: all\n\n", [3, 11, 5]),
        ("data: YHOO\ndata: +2\ndata: 10\n\n", [1, 10, 10]),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            [3, 35, 12],
        ),
        ("data\n\ndata\ndata\n\ndata:", [2, 1, 1]),
        ("data:test\n\ndata: test\n\n", [2, 8, 4]),
        ("event: add\nid: 7\n\n", [0, 0, 0]),
        ("data : x\n\ndatum: x\n\n data: x\n\nDATA: x\n\n", [0, 0, 0]),
        ("\u{feff}data: x\n\n", [1, 1, 1]),
        ("\n\u{feff}data: x\n\n", [0, 0, 0]),
        ("\n\n\r\n\r\r", [0, 0, 0]),
        ("data: not ended", [0, 0, 0]),
        ("data: not dispatched\n", [0, 0, 0]),
        (
            "retry: 3000\ndata: {\"choices\":[]}\n\ndata: [DONE]\n\n",
            [2, 20, 14],
        ),
    ];
    for (stream, [count, bytes, bytes_max]) in cases {
        let want = Messages {
            count: *count,
            bytes: *bytes,
            bytes_max: *bytes_max,
            ..Messages::default()
        };
        assert_eq!(events(&[data(stream)], End::Complete), want, "{stream:?}");
    }
    assert!(events(&[data("data: a\n\n")], End::Cut).partial);
}

#[test]
fn missing_bytes_cost_the_event_they_were_in() {
    let cases = [
        ("data: a\n\nda", "xx\ndata: c\n\ndata: d\n\n", 2),
        ("data: a\n\ndata: b", "\n\ndata: d\n\n", 2),
        ("data: a\n\n", "\ndata: c\n\ndata: d\n\n", 2),
        ("data: a\n\n", "data: c\r\rdata: d\r\r", 2),
    ];
    for (before, after, count) in cases {
        let messages = events(
            &[data(before), Piece::Missing(Some(3)), data(after)],
            End::Complete,
        );
        assert_eq!(
            (messages.count, messages.partial),
            (count, true),
            "{before:?} {after:?}"
        );
    }
}

#[test]
fn requests_have_no_events() {
    let (finished, _) = read(
        Direction::Request,
        EVENTS,
        &Limits::default(),
        &[data("data: a\n\n")],
        End::Complete,
    );
    assert_eq!(finished.body.messages, Messages::default());
}
