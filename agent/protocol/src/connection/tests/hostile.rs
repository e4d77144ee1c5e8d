//! Bytes that want to break it, whatever phase they come in.

use proptest::prelude::*;
use proptest::sample::select;

use super::super::Connection;
use crate::http1::tests::delivery::which;
use crate::http2::tests::wire::{self, END_HEADERS, WHOLE};
use crate::websocket::written::{frame, masked};
use crate::{Boundary, Direction, Limits, Start, Want};

fn fragments() -> Vec<Vec<u8>> {
    let text = [
        "GET /chat HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET /up HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        "POST / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 4\r\n\r\n",
        "HTTP/1.1 101 Fine\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        "HTTP/1.1 101 Fine\r\nUpgrade: h2c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "CONNECT a:1 HTTP/1.1\r\n\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
        "PRI * HT",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "P",
    ];
    let mut fragments: Vec<Vec<u8>> = text.iter().map(|text| text.as_bytes().to_vec()).collect();
    fragments.extend([
        wire::settings(&[(3, 100)]),
        wire::headers(WHOLE, 1, &wire::get("/1")),
        wire::headers(
            END_HEADERS,
            3,
            ":method=CONNECT|:protocol=websocket|:scheme=https|:path=/|:authority=a",
        ),
        wire::headers(END_HEADERS, 3, ":status=200"),
        wire::data(0, 3, masked(0x81, b"hello")),
        wire::data(1, 3, frame(0x88, b"\x03\xe8")),
        frame(0x81, b"hello"),
        frame(0xc2, &[7; 200]),
        masked(0x01, b"hel"),
        masked(0x88, b"\x03\xe8"),
        vec![0x82, 0x7f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        vec![0x83, 0xff],
    ]);
    fragments
}

#[derive(Clone, Debug)]
enum Act {
    Send { request: bool, skew: i64, data: Vec<u8> },
    LeftOut { request: bool, until: u64 },
    Passed { request: bool, by: u64 },
    Skip { request: bool },
    Finish { request: bool, known: bool },
}

fn act() -> impl Strategy<Value = Act> {
    let skew =
        prop_oneof![12 => Just(0_i64), 1 => -40_i64..40, 1 => select(vec![i64::MAX, i64::MIN, 1 << 40])];
    let data = prop_oneof![
        8 => prop::collection::vec(select(fragments()), 1..4).prop_map(|parts| parts.concat()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        // Cut anywhere.
        2 => (select(fragments()), any::<prop::sample::Index>()).prop_map(|(data, at)| data[..at.index(data.len())].to_vec()),
    ];
    prop_oneof![
        20 => (any::<bool>(), skew, data).prop_map(|(request, skew, data)| Act::Send { request, skew, data }),
        1 => (any::<bool>(), any::<u64>()).prop_map(|(request, until)| Act::LeftOut { request, until }),
        1 => (any::<bool>(), prop_oneof![0_u64..100, any::<u64>()])
            .prop_map(|(request, by)| Act::Passed { request, by }),
        1 => any::<bool>().prop_map(|request| Act::Skip { request }),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(request, known)| Act::Finish { request, known }),
    ]
}

proptest! {

    #[test]
    fn nothing_panics_or_stays(late: bool, acts in prop::collection::vec(act(), 0..60)) {
        let limits = Limits {
            head_bytes: 300,
            body_bytes: 10,
            pending_requests: 4,
            held_bytes: 500,
            streams: 4,
            ..Limits::default()
        };
        let mut connection = Connection::new(limits, if late { Start::Late } else { Start::Fresh });
        let mut ends = [0_u64; 2];
        let mut exchanges = 0_u64;
        for (time, act) in (1_u64..).zip(acts) {
            match act {
                Act::Send { request, skew, data } => {
                    let end = &mut ends[usize::from(!request)];
                    let offset = end.saturating_add_signed(skew);
                    *end = offset.saturating_add(data.len() as u64);
                    connection.segment(which(request), offset, time, &data, Boundary::TurnStart);
                }
                Act::LeftOut { request, until } => connection.left_out(which(request), until),
                Act::Passed { request, by } => {
                    let end = &mut ends[usize::from(!request)];
                    *end = end.saturating_add(by);
                    connection.passed(which(request), *end, time);
                }
                Act::Skip { request } => {
                    if let Want::SkipTo(until) = connection.wants(which(request)) {
                        ends[usize::from(!request)] = until;
                        connection.passed(which(request), until, time);
                    }
                }
                Act::Finish { request, known } => {
                    let end = known.then_some(ends[usize::from(!request)]);
                    connection.finish(which(request), end, time);
                }
            }
            if connection.over().is_some() {
                prop_assert_eq!(connection.wants(Direction::Request), Want::Nothing);
                prop_assert_eq!(connection.wants(Direction::Response), Want::Nothing);
            }
            exchanges += std::iter::from_fn(|| connection.poll()).count() as u64;
        }
        connection.close(1 << 20);
        exchanges += std::iter::from_fn(|| connection.poll()).count() as u64;
        connection.close(1 << 20);
        prop_assert_eq!(connection.poll(), None);
        prop_assert!(exchanges <= connection.counters().requests + connection.counters().pushes);
    }
}
