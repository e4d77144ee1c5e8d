//! Bytes that want to break it.

use proptest::prelude::*;
use proptest::sample::select;

use super::script::{Item, Sent, play};
use crate::http1::Connection;
use crate::{Boundary, Start};
use crate::{Direction, Limits};

const FRAGMENTS: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "HEAD /x HTTP/1.0\n",
    "POST /a HTTP/1.1\r\n",
    "CONNECT a:1 HTTP/1.1\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n",
    "HTTP/1.0 404 No\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 18446744073709551615\r\n",
    "Content-Length: 5, 6\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Connection: Upgrade\r\nUpgrade: websocket\r\n",
    "Folded: a\r\n b\r\n",
    "Spaced : a\r\n",
    "no colon\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "5\r\nhello\r\n",
    "ffffffffffffffff\r\n",
    "0\r\n\r\n",
    "0\r\nA: b\r\n\r\n",
    "hello",
    "\r",
    "\0\u{7f}",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
];

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        8 => select(FRAGMENTS).prop_map(|fragment| fragment.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (select(b"aA:\r\n ".to_vec()), 0_usize..600).prop_map(|(byte, len)| vec![byte; len]),
    ];
    prop::collection::vec(fragment, 0..6).prop_map(|fragments| fragments.concat())
}

#[derive(Clone, Debug)]
enum Act {
    Send {
        request: bool,
        skew: i64,
        time: u64,
        turn: bool,
        data: Vec<u8>,
    },
    LeftOut {
        request: bool,
        by: u64,
    },
    Passed {
        request: bool,
        by: u64,
    },
    Finish {
        request: bool,
        known: bool,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let skew =
        prop_oneof![12 => Just(0_i64), 1 => -40_i64..40, 1 => select(vec![i64::MAX, i64::MIN, 1 << 40])];
    prop_oneof![
        20 => (any::<bool>(), skew, 0_u64..50, any::<bool>(), bytes())
            .prop_map(|(request, skew, time, turn, data)| Act::Send { request, skew, time, turn, data }),
        1 => (any::<bool>(), any::<u64>()).prop_map(|(request, by)| Act::LeftOut { request, by }),
        1 => (any::<bool>(), prop_oneof![0_u64..100, any::<u64>()])
            .prop_map(|(request, by)| Act::Passed { request, by }),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(request, known)| Act::Finish { request, known }),
    ]
}

fn which(request: bool) -> Direction {
    if request {
        Direction::Request
    } else {
        Direction::Response
    }
}

fn tight() -> Limits {
    Limits {
        head_bytes: 300,
        headers: 6,
        body_bytes: 10,
        pending_requests: 4,
        chunk_line_bytes: 20,
        held_bytes: 500,
        ..Limits::default()
    }
}

/// An answer that waits for its request, and of which nothing more is captured: what is noted of it costs too.
#[test]
fn what_passes_behind_an_answer_that_waits_is_bounded() {
    let limits = Limits::default();
    let mut connection = Connection::new(limits, Start::Fresh);
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
    connection.segment(Direction::Response, 0, 1, head, Boundary::TurnStart);
    for n in 1..10_000 {
        connection.passed(Direction::Response, head.len() as u64 + 100 * n, 1 + n);
        assert!(connection.kept().0 <= limits.held_bytes + head.len(), "{n}");
        assert!(connection.memory_bytes() < 2 * limits.held_bytes, "{n}");
    }
    assert_eq!(connection.counters().held_overflow, 1);
}

proptest! {

    #[test]
    fn nothing_panics_and_memory_is_bounded(late: bool, acts in prop::collection::vec(act(), 0..60)) {
        let limits = tight();
        let mut connection = Connection::new(limits, if late { Start::Late } else { Start::Fresh });
        let mut ends = [0_u64; 2];
        let mut requests = 0;
        for act in acts {
            match act {
                Act::Send { request, skew, time, turn, data } => {
                    let end = &mut ends[usize::from(!request)];
                    let offset = end.saturating_add_signed(skew);
                    *end = offset.saturating_add(data.len() as u64);
                    let boundary = if turn { Boundary::TurnStart } else { Boundary::Continued };
                    connection.segment(which(request), offset, time, &data, boundary);
                }
                Act::LeftOut { request, by } => connection.left_out(which(request), by),
                Act::Passed { request, by } => {
                    let end = &mut ends[usize::from(!request)];
                    *end = end.saturating_add(by);
                    connection.passed(which(request), *end, 30);
                }
                Act::Finish { request, known } => {
                    let end = known.then_some(ends[usize::from(!request)]);
                    connection.finish(which(request), end, 60);
                }
            }
            let _ = (connection.wants(Direction::Request), connection.wants(Direction::Response));
            let (bytes, entries) = connection.kept();
            // Two directions, each a head or trailers and what is held.
            prop_assert!(bytes <= 2 * (limits.held_bytes + limits.head_bytes + 1), "{bytes} bytes");
            prop_assert!(entries <= 2 * limits.pending_requests + 2, "{entries} entries");
            requests += std::iter::from_fn(|| connection.poll()).count() as u64;
        }
        connection.close(70);
        requests += std::iter::from_fn(|| connection.poll()).count() as u64;
        prop_assert!(requests <= connection.counters().requests);
        prop_assert_eq!(connection.kept(), (0, 0));
    }

    /// Also streams that are no HTTP read the same however they are cut.
    #[test]
    fn splits_of_anything_change_nothing(
        turns in prop::collection::vec(bytes(), 1..12),
        lengths in prop::collection::vec(1_usize..20, 1..10),
    ) {
        let mut offsets = [0; 2];
        let whole: Vec<Sent> = turns.into_iter().enumerate().filter(|(_, data)| !data.is_empty()).map(|(at, data)| {
            let offset = offsets[at % 2];
            offsets[at % 2] += data.len() as u64;
            let direction = which(at % 2 == 0);
            Sent { direction, offset, time: at as u64, boundary: Boundary::TurnStart, data }
        }).collect();
        let mut lengths = lengths.iter().copied().cycle();
        let mut pieces = Vec::new();
        for sent in &whole {
            let mut at = 0;
            while at < sent.data.len() {
                let to = sent.data.len().min(at + lengths.next().unwrap());
                let boundary = if at == 0 { Boundary::TurnStart } else { Boundary::Continued };
                let data = sent.data[at..to].to_vec();
                pieces.push(Item::Sent(Sent { offset: sent.offset + at as u64, boundary, data, ..*sent }));
                at = to;
            }
        }
        let limits = Limits { held_bytes: 1 << 20, ..tight() };
        let whole: Vec<Item> = whole.into_iter().map(Item::Sent).collect();
        let (one, other) = (play(&whole, limits, Start::Fresh), play(&pieces, limits, Start::Fresh));
        prop_assert_eq!(one.exchanges, other.exchanges);
        prop_assert_eq!(one.connection.protocol_hint(), other.connection.protocol_hint(), "{:?}", whole);
    }
}
