//! What is reported besides plain exchanges: counters, parts, hints, wants.

use super::script::{GET, OK, Played, Script, line, play, talk};
use crate::http1::ProtocolHint;
use crate::{Counters, Direction, Flags, Limits};
use crate::{Start, Want};

fn counted(turns: &[(&str, &str)]) -> Counters {
    talk(turns).end().play().counters
}

#[test]
fn what_is_odd_is_counted() {
    type Counter = fn(&Counters) -> u64;
    let post = |headers: &str| format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n");
    let cases: &[(&str, String, &str, Counter)] = &[
        (
            "lengths",
            post("Content-Length: 1\r\nContent-Length: 2"),
            OK,
            |c| c.invalid_content_length,
        ),
        (
            "both",
            post("Content-Length: 1\r\nTransfer-Encoding: chunked"),
            OK,
            |c| c.content_length_with_transfer_encoding,
        ),
        (
            "1.0",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            OK,
            |c| c.transfer_encoding_in_http10,
        ),
        ("gzip", post("Transfer-Encoding: gzip"), OK, |c| {
            c.transfer_encoding_not_chunked
        }),
        ("chunk", post("Transfer-Encoding: chunked") + "g", OK, |c| {
            c.malformed_chunked
        }),
        ("folded", post("A: b\r\n c"), OK, |c| c.lenient_heads),
        ("spaced", post("A : b"), OK, |c| c.lenient_heads),
        ("field", post("no colon") + GET, OK, |c| c.malformed_header),
        (
            "response field",
            GET.into(),
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            |c| c.lenient_heads,
        ),
        ("many", post(&"A: b\r\n".repeat(129)), OK, |c| c.headers_too_many),
        ("large", post(&format!("A: {}", "b".repeat(64 << 10))), OK, |c| {
            c.heads_too_large
        }),
        ("start line", GET.to_owned() + "x\r\n", OK, |c| {
            c.malformed_start_line
        }),
        ("orphan", String::new(), OK, |c| c.responses_without_request),
        ("interim", GET.into(), "HTTP/1.1 100 Continue\r\n\r\n", |c| {
            c.interim_responses
        }),
        ("unanswered", GET.into(), "", |c| c.requests_without_response),
        ("cut head", "GET / HT".into(), "", |c| c.requests_without_head),
        ("cut response head", GET.into(), "HTTP/1.1 200", |c| {
            c.responses_without_head
        }),
        ("proxy", format!("PROXY UNKNOWN\r\n{GET}"), OK, |c| {
            c.proxy_headers
        }),
        ("not HTTP", "\x16\x03\x01".into(), "", |c| c.not_http),
    ];
    for (name, request, response, counter) in cases {
        assert_eq!(counter(&counted(&[(request, response)])), 1, "{name}");
        assert_eq!(counter(&counted(&[(GET, OK)])), 0, "{name}");
    }
}

#[test]
fn the_parts_of_an_exchange() {
    let items = Script::default()
        .client("\r\nPOST /a?b HTTP/1.1\r\nHost:  x \r\nX-Folded: a\r\n  b\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        .server("HTTP/1.1 100 Continue\r\n\r\n")
        .client("ab")
        .client("cd")
        .server("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n")
        .server("0\r\nSum: 1\r\n\r\n")
        .end()
        .items;
    let played = play(
        &items,
        Limits {
            body_bytes: 3,
            ..Limits::default()
        },
        Start::Fresh,
    );
    let [exchange] = played.exchanges.as_slice() else {
        panic!("{:?}", played.lines())
    };
    let text = |headers: &crate::Headers| -> Vec<String> {
        headers
            .iter()
            .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()))
            .collect()
    };
    let (request, response) = (&exchange.request, exchange.response.as_ref().unwrap());
    assert_eq!((exchange.index, exchange.request_offset), (0, 2));
    assert_eq!(
        text(&request.headers),
        [
            "Host=x",
            "X-Folded=a b",
            "Expect=100-continue",
            "Content-Length=4"
        ]
    );
    assert_eq!(
        (request.first_byte, request.last_byte, request.head_bytes),
        (10, 40, 92)
    );
    assert_eq!(&request.body.captured[..], b"abc");
    assert_eq!(
        (response.first_byte, response.last_byte, response.interim),
        (20, 60, 1)
    );
    assert_eq!(&response.body.captured[..], b"xyz");
    assert_eq!((response.body.wire_bytes, response.body.decoded_bytes), (21, 3));
    assert_eq!(text(&response.body.trailers), ["Sum=1"]);
    // The request's body is longer than what was to be kept of it.
    assert_eq!(exchange.flags, Flags::TRUNCATED);
}

fn hint(turns: &[(&str, &str)]) -> Played {
    let played = talk(turns).play();
    assert_eq!(played.connection.wants(Direction::Request), Want::Nothing);
    assert_eq!(played.connection.wants(Direction::Response), Want::Nothing);
    played
}

#[test]
fn other_protocols() {
    let upgrade = "GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let switch = "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n\x01\x02";
    type Case<'a> = (&'a [(&'a str, &'a str)], ProtocolHint, &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (
            &[("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "")],
            ProtocolHint::Http2Preface,
            &[],
        ),
        (&[("\x16\x03\x01\x02", "")], ProtocolHint::NotHttp, &[]),
        (&[("", "SSH-2.0-OpenSSH\r\n")], ProtocolHint::NotHttp, &[]),
        (
            &[(upgrade, switch), ("\u{81}\x05", "")],
            ProtocolHint::Upgraded("WebSocket".into()),
            &["GET /ws > 101"],
        ),
        (
            &[
                (GET, OK),
                (
                    "CONNECT a:1 HTTP/1.1\r\n\r\n",
                    "HTTP/1.1 200 Yes\r\nContent-Length: 5\r\n\r\n\x16",
                ),
                ("\x16", ""),
            ],
            ProtocolHint::Tunnel,
            &["GET / > 200 2/2", "CONNECT a:1 > 200"],
        ),
    ];
    for (turns, want, lines) in cases {
        let played = hint(turns);
        assert_eq!(played.connection.protocol_hint(), Some(want));
        assert_eq!(played.lines(), *lines);
    }
    assert_eq!(hint(&[(upgrade, switch)]).counters.upgraded_websocket, 1);
    let both = upgrade.to_owned() + "\u{81}frames";
    let mut items = talk(&[(&both, switch)]).items;
    assert_eq!(
        play(&items, Limits::default(), Start::Fresh).lines(),
        ["GET /ws > 101"],
        "frames in the same segment"
    );
    items.reverse();
    assert_eq!(
        play(&items, Limits::default(), Start::Fresh).lines(),
        ["GET /ws > 101"],
        "answer first"
    );
}

#[test]
fn a_late_join_that_never_speaks_http_is_given_up() {
    let script = (0..70).fold(Script::default(), |script, _| {
        script.client("\x01\x02").server("\x03")
    });
    let played = play(&script.items, Limits::default(), Start::Late);
    assert_eq!(played.connection.protocol_hint(), Some(&ProtocolHint::NotHttp));
}

#[test]
fn what_is_wanted() {
    let mut connection = crate::http1::Connection::new(
        Limits {
            body_bytes: 4,
            ..Limits::default()
        },
        Start::Fresh,
    );
    let mut give = |direction, offset, data: &str| {
        connection.segment(
            direction,
            offset,
            offset,
            data.as_bytes(),
            crate::Boundary::TurnStart,
        );
        connection.wants(direction)
    };
    let head = "POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n";
    let len = head.len() as u64;
    assert_eq!(give(Direction::Request, 0, head), Want::All);
    assert_eq!(give(Direction::Request, len, "abc"), Want::All);
    assert_eq!(give(Direction::Request, len + 3, "d"), Want::SkipTo(len + 10));
    assert_eq!(give(Direction::Request, len + 10, ""), Want::SkipTo(len + 10));
    assert_eq!(give(Direction::Request, len + 10, GET), Want::All);
    assert_eq!(
        give(Direction::Response, 0, "HTTP/1.1 200 OK\r\n\r\nabcd"),
        Want::SkipTo(u64::MAX)
    );
    connection.close(1);
    let exchanges: Vec<_> = std::iter::from_fn(|| connection.poll()).collect();
    let lines: Vec<_> = exchanges.iter().map(line).collect();
    assert_eq!(lines, ["POST / 10/10 > 200 4/4 truncated", "GET / > unpaired"]);
    assert_eq!(connection.wants(Direction::Request), Want::Nothing);
}

#[test]
fn overlapping_segments_are_trimmed() {
    let mut items = talk(&[(GET, OK), (GET, OK)]).end().items;
    for at in (0..4).rev() {
        items.insert(at, items[at].clone());
    }
    let played = play(&items, Limits::default(), Start::Fresh);
    assert_eq!(played.lines(), ["GET / > 200 2/2", "GET / > 200 2/2"]);
    assert_eq!(played.counters.gaps, 0);
}
