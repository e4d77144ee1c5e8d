//! WebSocket behind HTTP/1.1.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{Played, deliver};
use crate::http1::tests::delivery::{bounds, cut, length, mix, split, time_of, which};
use crate::http1::tests::script::{GET, Item, OK, Script};
use crate::websocket::written::{frame, masked};
use crate::{
    Application, Boundary, Connection, Content, Counters, Direction, Exchange, Flags, Limits, Messages,
};
use crate::{Start, Want, WebSocket};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n";

fn limits() -> Limits {
    Limits {
        held_bytes: 1 << 20,
        ..Limits::default()
    }
}

fn only(played: Played) -> (Exchange, WebSocket, Counters) {
    let [exchange] = <[Exchange; 1]>::try_from(played.exchanges).unwrap();
    let Application::WebSocket(websocket) = exchange.application.clone() else {
        panic!("{:?}", exchange.application);
    };
    (exchange, *websocket, played.counters)
}

fn messages(exchange: &Exchange) -> (Messages, Messages) {
    let response = exchange.response.as_ref().unwrap();
    (exchange.request.body.messages, response.body.messages)
}

fn bytes(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn a_session_is_one_exchange() {
    let script = Script::default()
        .client(ASK)
        .server([SWITCH.as_bytes(), &frame(0x81, b"welcome")].concat())
        .client(masked(0x81, b"hi"))
        .server(bytes(&[frame(0xc2, &[9; 200]), frame(0x89, b"")]))
        .client(bytes(&[masked(0x8a, b""), masked(0x88, b"\x03\xe9bye")]))
        .server(frame(0x88, b"\x03\xe8"))
        .end();
    let (exchange, websocket, counters) = only(deliver(&script.items, limits(), Start::Fresh));
    assert_eq!(exchange.flags, Flags::default());
    assert_eq!((exchange.index, exchange.request_offset), (0, 0));
    assert_eq!(exchange.request.target, "/chat");
    assert_eq!(websocket.subprotocol.unwrap(), "chat");
    // The client closed first.
    assert_eq!(websocket.close_code, Some(1001));
    let (client, server) = messages(&exchange);
    let text = |count, bytes, control| Messages {
        count,
        bytes,
        bytes_max: bytes,
        text: count,
        control,
        ..Messages::default()
    };
    assert_eq!(client, text(1, 2, 2));
    let server_expected = Messages {
        bytes: 207,
        bytes_max: 200,
        count: 2,
        compressed: 1,
        ..text(1, 0, 2)
    };
    assert_eq!(server, server_expected);
    let response = exchange.response.unwrap();
    assert_eq!(response.status, 101);
    assert_eq!(
        (exchange.request.first_byte, exchange.request.last_byte),
        (10, 50)
    );
    assert_eq!((response.first_byte, response.last_byte), (20, 60));
    assert_eq!(exchange.request.body.wire_bytes, 8 + 6 + 11);
    assert_eq!(
        (response.body.wire_bytes, response.body.decoded_bytes),
        (9 + 204 + 2 + 4, 207)
    );
    assert_eq!(
        (counters.upgraded_websocket, counters.websocket_violations),
        (1, 0)
    );
}

#[test]
fn what_came_before_it_comes_out_before_it() {
    let script = Script::default()
        .client(GET)
        .server(OK)
        .client(ASK)
        .server(SWITCH);
    let mut connection = Connection::new(limits(), Start::Fresh);
    for item in &script.items {
        let Item::Sent(sent) = item else { continue };
        connection.segment(sent.direction, sent.offset, sent.time, &sent.data, sent.boundary);
    }
    assert_eq!(connection.poll().unwrap().index, 0);
    // The session lasts.
    assert_eq!((connection.poll(), connection.over()), (None, None));
    assert!(connection.needs_all());
    connection.close(99);
    let session = connection.poll().unwrap();
    assert_eq!((session.index, session.flags), (1, Flags::default()));
    assert_eq!(connection.poll(), None);
    assert_eq!(connection.wants(Direction::Request), Want::Nothing);
}

#[test]
fn frames_before_the_answer_is_seen_are_not_lost() {
    let script = Script::default()
        .client(ASK)
        .server(SWITCH)
        .client(masked(0x82, &[1; 1000]))
        .client(masked(0x88, b""))
        .end();
    for requests_first in [true, false] {
        let items = mix(&script.items, &[requests_first]);
        let (exchange, _, counters) = only(deliver(&items, limits(), Start::Fresh));
        let (client, _) = messages(&exchange);
        assert_eq!((client.count, client.bytes, client.control), (1, 1000, 1));
        assert_eq!((exchange.flags, counters.held_overflow), (Flags::default(), 0));
    }
    // As much of them as may be held.
    let limits = Limits {
        held_bytes: 900,
        ..limits()
    };
    let (exchange, _, counters) = only(deliver(&mix(&script.items, &[true]), limits, Start::Fresh));
    let (client, server) = messages(&exchange);
    assert!(client.partial && client.count == 0 && !server.partial);
    assert!(exchange.flags.contains(Flags::GAP) && counters.held_overflow == 1);
}

#[test]
fn large_payloads_can_be_skipped() {
    let body = vec![7; 100_000];
    let large = frame(0x82, &body);
    let script = Script::default()
        .client(ASK)
        .server([SWITCH.as_bytes(), &large[..50]].concat());
    let mut connection = Connection::new(limits(), Start::Fresh);
    for item in &script.items {
        let Item::Sent(sent) = item else { continue };
        connection.segment(sent.direction, sent.offset, sent.time, &sent.data, sent.boundary);
    }
    let end = (SWITCH.len() + large.len()) as u64;
    assert_eq!(connection.wants(Direction::Request), Want::All);
    assert_eq!(connection.wants(Direction::Response), Want::SkipTo(end));
    connection.passed(Direction::Response, end, 77);
    connection.segment(
        Direction::Response,
        end,
        80,
        &frame(0x81, b"x"),
        Boundary::Continued,
    );
    connection.close(99);
    let exchange = connection.poll().unwrap();
    let (_, server) = messages(&exchange);
    assert_eq!((server.count, server.bytes, server.partial), (2, 100_001, false));
    assert_eq!(exchange.response.as_ref().unwrap().last_byte, 80);
    assert_eq!(exchange.flags, Flags::TRUNCATED);
}

#[test]
fn after_a_lost_header_nothing_is_wanted_but_the_end() {
    let script = Script::default()
        .client(ASK)
        .server([SWITCH.as_bytes(), &frame(0x81, b"one")].concat())
        .lost(Direction::Response, 1)
        .server(frame(0x81, b"two"));
    let mut connection = Connection::new(limits(), Start::Fresh);
    for item in &script.items {
        let Item::Sent(sent) = item else { continue };
        connection.segment(sent.direction, sent.offset, sent.time, &sent.data, sent.boundary);
    }
    assert_eq!(connection.wants(Direction::Response), Want::SkipTo(u64::MAX));
    connection.close(99);
    let exchange = connection.poll().unwrap();
    let (client, server) = messages(&exchange);
    assert_eq!((server.count, server.partial, client.partial), (1, true, false));
    assert_eq!(exchange.flags, Flags::GAP);
    assert_eq!(connection.take_counters().gap_bytes, 1);
}

#[test]
fn what_is_kept_of_messages_is_unmasked() {
    let limits = Limits {
        body_bytes: 8,
        ..limits()
    };
    let script = Script::default()
        .client(ASK)
        .server(SWITCH)
        .client(bytes(&[
            masked(0x01, b"hel"),
            masked(0x89, b"!"),
            masked(0x80, b"lo"),
            masked(0x81, b"world"),
        ]))
        .server(frame(0xc1, b"\xca\x48"))
        .end();
    let (exchange, ..) = only(deliver(&script.items, limits, Start::Fresh));
    let (request, response) = (exchange.request.body, exchange.response.unwrap().body);
    assert_eq!(
        (&*request.captured, request.content),
        (b"hellowor".as_slice(), Content::Plain)
    );
    assert_eq!(
        (&*response.captured, response.content),
        (b"\xca\x48".as_slice(), Content::Encoded)
    );
    // Two bytes of text were not kept.
    assert_eq!(exchange.flags, Flags::TRUNCATED);
}

#[test]
fn other_answers_are_plain_exchanges() {
    for (answer, over) in [
        ("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", None),
        (
            "HTTP/1.1 101 Fine\r\nUpgrade: foo\r\n\r\n",
            Some(crate::Over::Upgraded(Bytes::from_static(b"foo"))),
        ),
        (
            "HTTP/1.1 101 Fine\r\n\r\n",
            Some(crate::Over::Upgraded(Bytes::new())),
        ),
    ] {
        let script = Script::default().client(ASK).server(answer).client("more").end();
        let played = deliver(&script.items, limits(), Start::Fresh);
        assert_eq!((played.exchanges.len(), played.over), (1, over));
        assert_eq!(played.exchanges[0].application, Application::Http);
    }
}

#[test]
fn an_answer_before_the_end_of_the_request_waits_for_it() {
    let ask = ASK
        .replacen("GET", "POST", 1)
        .replacen("\r\n", "\r\nContent-Length: 6\r\n", 1);
    let script = Script::default()
        .client(ask.clone() + "abc")
        .server(SWITCH)
        .client([b"def".as_slice(), &masked(0x81, b"x")].concat())
        .end();
    let (exchange, ..) = only(deliver(&script.items, limits(), Start::Fresh));
    assert_eq!(messages(&exchange).0.count, 1);
    assert_eq!(exchange.flags, Flags::default());
}

/// What one side says in a session.
#[derive(Clone, Debug)]
enum Say {
    Message {
        text: bool,
        compressed: bool,
        fragments: Vec<usize>,
        control: bool,
    },
    Control,
}

fn say() -> impl Strategy<Value = Say> {
    let len = prop_oneof![4 => 0_usize..40, 1 => select(vec![125_usize, 126, 300, 65_535, 65_536])];
    prop_oneof![
        4 => (any::<bool>(), any::<bool>(), prop::collection::vec(len, 1..4), any::<bool>())
            .prop_map(|(text, compressed, fragments, control)| Say::Message { text, compressed, fragments, control }),
        1 => Just(Say::Control),
    ]
}

fn written(say: &Say, write: fn(u8, &[u8]) -> Vec<u8>) -> Vec<u8> {
    let Say::Message {
        text,
        compressed,
        fragments,
        control,
    } = say
    else {
        return write(0x89, b"ping");
    };
    let mut bytes = Vec::new();
    for (at, &len) in fragments.iter().enumerate() {
        let opcode = match (at, text) {
            (0, true) => 1,
            (0, false) => 2,
            _ => 0,
        };
        let reserved = if *compressed && at == 0 { 0x40 } else { 0 };
        let last = if at + 1 == fragments.len() { 0x80 } else { 0 };
        bytes.extend(write(opcode | reserved | last, &vec![b'm'; len]));
        if *control && last == 0 {
            bytes.extend(write(0x8a, b""));
        }
    }
    bytes
}

fn session() -> impl Strategy<Value = Script> {
    let said = prop::collection::vec((any::<bool>(), say()), 0..12);
    (any::<bool>(), said, any::<bool>()).prop_map(|(before, said, closed)| {
        let mut script = Script::default();
        if before {
            script = script.client(GET).server(OK);
        }
        script = script.client(ASK).server(SWITCH);
        for (client, say) in &said {
            script = if *client {
                script.client(written(say, masked))
            } else {
                script.server(written(say, frame))
            };
        }
        if closed {
            script = script
                .server(frame(0x88, b"\x03\xe8"))
                .client(masked(0x88, b"\x03\xe9"));
        }
        script.end()
    })
}

proptest! {

    #[test]
    fn deliveries_change_nothing(
        script in session(),
        lengths in prop::collection::vec(1_usize..9000, 1..20),
        choices in prop::collection::vec(any::<bool>(), 1..60),
    ) {
        let whole = deliver(&script.items, limits(), Start::Fresh);
        let session = whole.exchanges.last().unwrap();
        prop_assert_eq!(session.flags, Flags::default());
        let (client, server) = messages(session);
        prop_assert!(!client.partial && !server.partial);
        let pieces = split(&script.items, &lengths);
        prop_assert_eq!(&deliver(&pieces, limits(), Start::Fresh).exchanges, &whole.exchanges);
        let mixed = mix(&pieces, &choices);
        prop_assert_eq!(&deliver(&mixed, limits(), Start::Fresh).exchanges, &whole.exchanges);
    }

    #[test]
    fn a_gap_is_marked_and_invents_nothing(
        script in session(),
        request: bool,
        range: (Index, Index),
        lengths in prop::collection::vec(1_usize..9000, 1..20),
        on_purpose: bool,
    ) {
        let whole = deliver(&script.items, limits(), Start::Fresh).exchanges;
        let direction = which(request);
        let (from, to) = bounds(&range, 0, length(&script.items, direction));
        prop_assume!(from < to);
        let mut left = cut(&script.items, direction, from, to);
        if on_purpose {
            let next = left.iter().position(|item| match item {
                Item::Sent(sent) => sent.direction == direction && sent.offset >= to,
                Item::Finish(finished, _) => *finished == direction,
                _ => false,
            });
            left.insert(next.unwrap(), Item::Passed(direction, to, time_of(&script.items, direction, to)));
        }
        let played = deliver(&split(&left, &lengths), limits(), Start::Fresh);
        prop_assert!(played.exchanges.len() <= whole.len());
        for exchange in &played.exchanges {
            let same = whole.iter().find(|other| other.request_offset == exchange.request_offset);
            let same = same.ok_or_else(|| TestCaseError::fail("invented"))?;
            prop_assert_eq!(&same.request.target, &exchange.request.target);
            if exchange.flags == Flags::default() {
                prop_assert_eq!(&Exchange { index: same.index, ..exchange.clone() }, same);
            } else if exchange.response.is_some() && exchange.application != Application::Http {
                let (seen, sent) = (messages(exchange), messages(same));
                for (seen, sent) in [(seen.0, sent.0), (seen.1, sent.1)] {
                    prop_assert!(seen == sent || seen.partial, "{seen:?} {sent:?}");
                    prop_assert!(seen.count <= sent.count && seen.bytes <= sent.bytes && seen.control <= sent.control);
                }
            }
        }
    }
}
