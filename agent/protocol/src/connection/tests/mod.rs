//! Tests of whole connections: `laws` states properties of random conversations, `sessions` and `http2` are
//! about the protocols of these names.

mod hostile;
mod http2;
mod laws;
mod sessions;

use std::iter::from_fn;

use super::*;
use crate::http1::tests::script::{Item, Sent};
use crate::http2::tests::wire;

/// What came out.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) exchanges: Vec<Exchange>,
    pub(super) counters: Counters,
    pub(super) over: Option<Over>,
}

/// Delivers the items and closes the connection.
pub(super) fn deliver(items: &[Item], limits: Limits, start: Start) -> Played {
    let mut connection = Connection::new(limits, start);
    let mut exchanges = Vec::new();
    for item in items {
        match item {
            Item::Sent(Sent {
                direction,
                offset,
                time,
                boundary,
                data,
            }) => connection.segment(*direction, *offset, *time, data, *boundary),
            Item::LeftOut(direction, until) => connection.left_out(*direction, *until),
            Item::Passed(direction, until, time) => connection.passed(*direction, *until, *time),
            Item::Resume(direction, offset, time) => {
                connection.resume(*direction, *offset, *time);
            }
            Item::Finish(direction, offset) => connection.finish(*direction, *offset, 1 << 40),
        }
        exchanges.extend(from_fn(|| connection.poll()));
    }
    connection.close(1 << 41);
    exchanges.extend(from_fn(|| connection.poll()));
    exchanges.sort_by_key(|exchange| exchange.index);
    Played {
        exchanges,
        counters: connection.take_counters(),
        over: connection.over().cloned(),
    }
}

const PREFACE: &[u8] = crate::detect::HTTP2_PREFACE;

type Said<'a> = (Direction, &'a [u8]);

fn play(start: Start, said: &[Said<'_>]) -> Connection {
    let mut connection = Connection::new(Limits::default(), start);
    let mut offsets = [0_u64; 2];
    for (time, (direction, data)) in (1_u64..).zip(said) {
        let offset = &mut offsets[usize::from(*direction == Direction::Response)];
        connection.segment(*direction, *offset, time, data, Boundary::TurnStart);
        *offset += data.len() as u64;
    }
    connection
}

#[test]
fn what_a_connection_turns_into() {
    use Direction::{Request, Response};
    let upgrade = b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tls/1.0\r\n\r\n";
    let switching = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n\x16\x03";
    let cases: &[(&[Said<'_>], Option<Over>, usize)] = &[
        (&[(Request, b"GET / HTTP/1.1\r\n\r\n")], None, 0),
        (&[(Request, b"\x16\x03\x01\x02\x00")], Some(Over::NotHttp), 0),
        (&[(Response, b"220 mail\r\n")], Some(Over::NotHttp), 0),
        (
            &[
                (Request, b"CONNECT a:443 HTTP/1.1\r\n\r\n"),
                (Response, b"HTTP/1.1 200 OK\r\n\r\n"),
            ],
            Some(Over::Tunnel),
            1,
        ),
        (
            &[(Request, upgrade), (Response, switching)],
            Some(Over::Upgraded(Bytes::from_static(b"TLS/1.0"))),
            1,
        ),
    ];
    for (said, over, exchanges) in cases {
        let mut connection = play(Start::Fresh, said);
        assert_eq!(connection.over(), over.as_ref());
        let nothing = connection.wants(Direction::Request) == Want::Nothing;
        assert_eq!(nothing, over.is_some());
        assert!(!connection.needs_all());
        assert_eq!(from_fn(|| connection.poll()).count(), *exchanges);
    }
}

#[test]
fn a_proxy_header_is_kept() {
    let header = b"PROXY TCP4 1.2.3.4 5.6.7.8 9 80\r\n";
    for said in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), b"\x16\x03\x01"] {
        let connection = play(Start::Fresh, &[(Direction::Request, &[header, said].concat())]);
        let client = connection.proxy_header().unwrap().addresses.unwrap().0;
        assert_eq!(client, "1.2.3.4:9".parse().unwrap());
    }
}

#[test]
fn a_stranger_that_looks_like_data_is_given_up_and_counted() {
    let mut connection = Connection::new(Limits::default(), Start::Late);
    let frames = wire::data(0, 1, "x").repeat(1 << 10);
    let mut offset = 0;
    while connection.over().is_none() {
        assert!(offset < 1 << 20, "too long");
        connection.segment(Direction::Response, offset, 1, &frames, Boundary::TurnStart);
        offset += frames.len() as u64;
    }
    assert_eq!(connection.over(), Some(&Over::NotHttp));
    assert_eq!((connection.counters().not_http, connection.poll()), (1, None));
}

#[test]
fn a_stranger_joined_late_is_given_up() {
    let mut connection = Connection::new(Limits::default(), Start::Late);
    let frame = b"\x81\x05hello";
    let mut offset = 0;
    while connection.over().is_none() {
        assert!(offset < 1000, "never given up");
        for direction in [Direction::Request, Direction::Response] {
            connection.segment(direction, offset, offset, frame, Boundary::TurnStart);
        }
        offset += frame.len() as u64;
    }
    assert_eq!(connection.over(), Some(&Over::NotHttp));
    connection.close(1 << 40);
    assert_eq!(connection.poll(), None);
}

#[test]
fn what_is_undecided_at_the_end_is_read() {
    for said in [b"P".as_slice(), &PREFACE[..5]] {
        let mut connection = play(Start::Fresh, &[(Direction::Request, said)]);
        assert_eq!(connection.counters(), Counters::default());
        connection.close(9);
        let mut http1 = http1::Connection::new(Limits::default(), Start::Fresh);
        http1.segment(Direction::Request, 0, 1, said, Boundary::TurnStart);
        http1.close(9);
        assert_eq!(connection.take_counters(), http1.take_counters());
    }
}
