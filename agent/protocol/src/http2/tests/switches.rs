//! What begins as HTTP/1.1, and what HTTP/2 turns into: h2c, WebSocket.

use super::script::{Script, play, play_on};
use super::wire::{END_HEADERS, END_STREAM, PREFACE, WHOLE, concat, data, get, headers, settings};
use crate::http2::Connection;
use crate::{Application, Boundary, Direction, Limits, Start, http1};

#[test]
fn an_upgrade_makes_its_request_stream_1() {
    let mut http1 = http1::Connection::new(Limits::default(), Start::Fresh);
    let request = "GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: AAMAAABk\r\n\r\n";
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    http1.segment(Direction::Request, 0, 1, request.as_bytes(), Boundary::TurnStart);
    http1.segment(Direction::Response, 0, 2, answer.as_bytes(), Boundary::TurnStart);
    let upgrade = http1.poll().unwrap();
    let script = Script::default()
        .lost(Direction::Request, request.len() as u64)
        .lost(Direction::Response, answer.len() as u64)
        .server(concat(&[settings(&[]), headers(END_HEADERS, 1, ":status=200")]))
        .client(concat(&[
            PREFACE.to_vec(),
            settings(&[]),
            headers(WHOLE, 3, &get("/next")),
        ]))
        .server(concat(&[
            data(END_STREAM, 1, "hi"),
            headers(WHOLE, 3, ":status=203"),
        ]));
    let connection = Connection::from_upgrade(
        Limits::default(),
        upgrade,
        &[0, 5, 0, 0, 0x80, 0],
        request.len() as u64,
        answer.len() as u64,
    );
    let played = play_on(connection, &script.items);
    assert_eq!(played.lines(), ["1 GET /up > 200 11/2", "3 GET /next > 203"]);
    assert_eq!((played.exchanges[0].index, played.exchanges[1].index), (0, 1));
}

const WEBSOCKET: &str = ":method=CONNECT|:protocol=websocket|:scheme=https|:path=/chat|:authority=a";

#[test]
fn websocket_over_a_stream() {
    let script = Script::begun()
        .client(headers(END_HEADERS, 1, WEBSOCKET))
        .server(headers(END_HEADERS, 1, ":status=200|sec-websocket-protocol=chat"))
        .client(data(0, 1, b"\x81\x82\0\0\0\0hi"))
        .server(concat(&[data(0, 1, b"\x82\x03a"), data(0, 1, b"bc\x81\x01!")]))
        .client(data(END_STREAM, 1, b"\x88\x82\0\0\0\0\x03\xe8"))
        .server(data(END_STREAM, 1, b"\x88\x02\x03\xe8"));
    let mut swapped = script.clone();
    swapped.items.sort_by_key(|item| match item {
        super::script::Item::Sent(sent) => sent.direction == Direction::Request,
        _ => false,
    });
    for items in [&script.items, &swapped.items] {
        let played = play(items, Limits::default(), Start::Fresh);
        let exchange = &played.exchanges[0];
        let Application::WebSocket(session) = &exchange.application else {
            panic!("{exchange:?}");
        };
        assert_eq!(session.subprotocol.as_deref(), Some(&b"chat"[..]));
        assert_eq!(session.close_code, Some(1000));
        let messages = &exchange.request.body.messages;
        assert_eq!((messages.count, messages.text, messages.control), (1, 1, 1));
        let messages = &exchange.response.as_ref().unwrap().body.messages;
        assert_eq!((messages.count, messages.text, messages.bytes), (2, 1, 4));
        assert_eq!(exchange.request.target, "/chat");
        assert_eq!(exchange.flags.0, 0);
        assert_eq!(played.counters.upgraded_websocket, 1);
    }
}

#[test]
fn a_refused_websocket_is_a_plain_exchange() {
    let script = Script::begun()
        .client(headers(END_HEADERS, 1, WEBSOCKET))
        .server(concat(&[
            headers(END_HEADERS, 1, ":status=403"),
            data(END_STREAM, 1, "no"),
        ]))
        .client(data(END_STREAM, 1, ""));
    let played = script.end().play();
    assert_eq!(played.lines(), ["1 CONNECT /chat 9/0 > 403 11/2"]);
}
