//! One rule a case.

use super::script::{Item, Played, Script, play};
use super::talk::{OK, check, talk};
use super::wire::{
    ACK, END_HEADERS, END_STREAM, PADDED, PRIORITY, WHOLE, block, concat, continuation, data, frame, get,
    headers, post, reset, settings, window,
};
use crate::{Application, Direction, Limits, Start, Streaming};

#[test]
fn a_request_and_its_response() {
    let script = talk(&[(
        headers(WHOLE, 1, &get("/a")),
        concat(&[headers(END_HEADERS, 1, OK), data(END_STREAM, 1, "hello")]),
    )]);
    let played = check(&script, &["1 GET /a > 200 14/5"]);
    let exchange = &played.exchanges[0];
    assert_eq!((exchange.index, exchange.request_offset), (0, 33));
    assert_eq!(exchange.request.authority.as_deref(), Some(&b"a"[..]));
    assert_eq!(
        (
            exchange.request.first_byte,
            exchange.response.as_ref().unwrap().last_byte
        ),
        (30, 40)
    );
    assert_eq!(
        exchange.request.head_bytes,
        headers(WHOLE, 1, &get("/a")).len() as u64
    );
    assert_eq!(script.early(), played.lines());
    assert!(played.connection.is_believed());
}

#[test]
fn a_client_that_stops_when_it_was_told_to_said_all_in_whatever_order_it_is_read() {
    let request = concat(&[headers(END_HEADERS, 1, &post("/")), data(0, 1, "half")]);
    let answer = headers(WHOLE, 1, ":status=413");
    let told = Script::begun()
        .client(request.clone())
        .server(answer.clone())
        .server(reset(1, 0));
    let untold = Script::begun().client(request).server(answer);
    for (script, want) in [
        (told, "1 POST / 13/4 > 413"),
        (untold, "1 POST / 13/4 > 413 truncated"),
    ] {
        let items = script.end().items;
        // The client's end is read before what the server says, or before a part of it.
        let (end, others): (Vec<Item>, Vec<Item>) = items
            .into_iter()
            .partition(|item| matches!(item, Item::Finish(Direction::Request, _)));
        for at in 4..=others.len() {
            let mut items = others.clone();
            items.splice(at - 1..at - 1, end.clone());
            let played = play(&items, Limits::default(), Start::Fresh);
            assert_eq!(played.lines(), [want], "{at}: {items:?}");
        }
    }
}

#[test]
fn framing_of_bodies() {
    let padded = frame(0, END_STREAM | PADDED, 1, b"\x03abc\0\0\0");
    let empty = data(END_STREAM, 1, "");
    let trailers = headers(WHOLE, 1, "checksum=1|b=2");
    let cases: &[(Vec<u8>, &str)] = &[
        (data(END_STREAM, 1, "abc"), "12/3"),
        (padded, "16/3"),
        (
            concat(&[data(0, 1, "abc"), data(0, 1, ""), data(END_STREAM, 1, "d")]),
            "31/4",
        ),
        (concat(&[data(0, 1, "abc"), empty.clone()]), "21/3"),
        (empty, "9/0"),
        (concat(&[data(0, 1, "abc"), trailers.clone()]), "12/3 +2"),
        (trailers, "+2"),
        (
            concat(&[
                window(1),
                data(0, 1, "a"),
                frame(0x77, 0xff, 1, "?"),
                data(END_STREAM, 1, "b"),
            ]),
            "20/2",
        ),
    ];
    for (body, want) in cases {
        let script = talk(&[(
            concat(&[headers(END_HEADERS, 1, &post("/")), body.clone()]),
            concat(&[headers(END_HEADERS, 1, OK), body.clone()]),
        )]);
        check(&script, &[&format!("1 POST / {want} > 200 {want}")]);
    }
}

#[test]
fn header_blocks() {
    let fields = block(&get("/x"));
    let (one, rest) = fields.split_at(7);
    let (two, three) = rest.split_at(1);
    let priority = b"\x80\0\0\0\x10";
    let cases = [
        frame(1, WHOLE | PRIORITY, 1, [&priority[..], &fields].concat()),
        frame(1, WHOLE | PADDED, 1, [b"\x02", &fields[..], b"\0\0"].concat()),
        frame(
            1,
            WHOLE | PADDED | PRIORITY,
            1,
            [b"\x02", &priority[..], &fields, b"\0\0"].concat(),
        ),
        concat(&[
            frame(1, END_STREAM, 1, one),
            continuation(0, 1, two),
            continuation(END_HEADERS, 1, three),
        ]),
        concat(&[
            frame(1, END_STREAM, 1, ""),
            continuation(0, 1, b""),
            continuation(END_HEADERS, 1, &fields),
        ]),
        concat(&[
            frame(
                1,
                END_STREAM | PADDED | PRIORITY,
                1,
                [b"\x01", &priority[..], one, b"\0"].concat(),
            ),
            continuation(0, 1, two),
            continuation(END_HEADERS, 1, three),
        ]),
    ];
    for bytes in cases {
        let len = bytes.len() as u64;
        let played = check(&talk(&[(bytes, headers(WHOLE, 1, OK))]), &["1 GET /x > 200"]);
        assert_eq!(played.exchanges[0].request.head_bytes, len);
        assert_eq!(played.counters.malformed_frames, 0);
    }
}

#[test]
fn interim_responses() {
    let script = talk(&[(
        headers(WHOLE, 1, &get("/")),
        concat(&[
            headers(END_HEADERS, 1, ":status=100"),
            headers(END_HEADERS, 1, ":status=103|link=x"),
            headers(WHOLE, 1, OK),
        ]),
    )]);
    let played = check(&script, &["1 GET / > 200 interim 2"]);
    assert_eq!(
        (played.counters.interim_responses, played.counters.responses),
        (2, 1)
    );
}

/// RFC 9113 8.1.1: the stream tells where a message ends, and the next one is read whatever its length was said to be.
#[test]
fn lengths_that_are_not_what_was_declared() {
    let ask = |method: &str, length: &str, body: &str| {
        let head = format!(":method={method}|:scheme=http|:authority=a|:path=/{length}");
        concat(&[headers(END_HEADERS, 1, &head), data(END_STREAM, 1, body)])
    };
    let answer = |status: u32, length: &str, body: &str| {
        let head = format!(":status={status}{length}");
        concat(&[headers(END_HEADERS, 1, &head), data(END_STREAM, 1, body)])
    };
    let bare = |status: u32| headers(WHOLE, 1, &format!(":status={status}|content-length=5"));
    let (five, none) = ("|content-length=5", "");
    let get = || ask("GET", none, "");
    // Request, response, counted as wrong, as no number, marked.
    let cases = [
        (
            ask("POST", five, "12345"),
            answer(200, five, "12345"),
            0,
            0,
            false,
        ),
        (ask("POST", five, "1234"), answer(200, none, "12345"), 1, 0, true),
        (
            ask("POST", five, "123456"),
            answer(200, none, "12345"),
            1,
            0,
            false,
        ),
        (get(), answer(200, five, "1234"), 1, 0, true),
        (get(), answer(200, five, "123456"), 1, 0, false),
        (get(), bare(200), 1, 0, true),
        (get(), bare(304), 0, 0, false),
        (get(), bare(204), 0, 0, false),
        (ask("HEAD", none, ""), bare(200), 0, 0, false),
        (
            ask("POST", "|content-length=x", "1"),
            answer(200, "|content-length=5, 5", "12345"),
            0,
            2,
            false,
        ),
        // What ends by a reset says so already.
        (
            ask("POST", five, "12345"),
            concat(&[
                headers(END_HEADERS, 1, ":status=200|content-length=5"),
                data(0, 1, "12"),
                reset(1, 2),
            ]),
            0,
            0,
            true,
        ),
    ];
    for (request, response, wrong, no_number, marked) in cases {
        let next = (
            headers(WHOLE, 3, ":method=GET|:scheme=http|:path=/next"),
            headers(WHOLE, 3, OK),
        );
        let played = talk(&[(request, response), next]).end().play();
        let lines = played.lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[0].ends_with(" truncated"), marked, "{lines:?}");
        assert_eq!(lines[1], "3 GET /next > 200");
        let counters = played.counters;
        assert_eq!(
            (counters.content_lengths_wrong, counters.invalid_content_length),
            (wrong, no_number),
            "{lines:?}"
        );
    }
}

#[test]
fn tunnels_are_counted_not_kept() {
    let limits = Limits {
        body_bytes: 100,
        ..Limits::default()
    };
    let connect = ":method=CONNECT|:authority=b:443";
    let script = talk(&[
        (headers(END_HEADERS, 1, connect), headers(END_HEADERS, 1, OK)),
        (data(0, 1, "hello"), data(0, 1, "secret")),
    ]);
    let played = script.play_with(limits);
    assert_eq!(played.lines(), ["1 CONNECT  14/5 > 200 15/6 truncated"]);
    let exchange = &played.exchanges[0];
    assert!(exchange.request.body.captured.is_empty());
    assert!(exchange.response.as_ref().unwrap().body.captured.is_empty());
    assert_eq!(played.counters.tunnels, 1);
}

#[test]
fn nothing_comes_out_of_what_is_no_http2() {
    let cases: &[(&str, Script)] = &[
        ("preface", Script::default().client("PRI * HTTP/2.0\r\n\r\nXX")),
        (
            "first frame",
            Script::default().client(concat(&[super::wire::PREFACE.to_vec(), window(0)])),
        ),
        (
            "server's first frame",
            Script::default().server(headers(WHOLE, 1, OK)),
        ),
        ("a frame", Script::begun().client(data(0, 0, "x"))),
        (
            "a header block",
            Script::begun().client(frame(1, WHOLE, 1, [0xff; 20])),
        ),
    ];
    for (name, script) in cases {
        let played = script.client_after(headers(WHOLE, 3, &get("/")));
        assert!(
            played.connection.not_http2() && !played.connection.is_believed(),
            "{name}"
        );
        assert_eq!(played.lines(), [""; 0], "{name}");
    }
    let silent = Script::begun()
        .client(settings(&[(3, 100)]))
        .server(frame(4, ACK, 0, ""));
    let played = silent.play();
    assert!(!played.connection.not_http2() && !played.connection.is_believed());
}

impl Script {
    fn client_after(&self, bytes: Vec<u8>) -> Played {
        self.clone().say(Direction::Request, &bytes).play()
    }
}

/// What speaks on top is told from both halves, trailers included.
#[test]
fn grpc_over_streams() {
    let ask = |path: &str| format!("{}|content-type=application/grpc|te=trailers", post(path));
    let message = |text: &str| [&[0, 0, 0, 0, text.len() as u8], text.as_bytes()].concat();
    let grpc = ":status=200|content-type=application/grpc";
    let script = talk(&[
        (
            concat(&[
                headers(END_HEADERS, 1, &ask("/shop.Cart/Watch")),
                data(END_STREAM, 1, message("hello")),
            ]),
            concat(&[
                headers(END_HEADERS, 1, grpc),
                // Messages and frames have nothing to do with each other.
                data(0, 1, [message("one"), message("two")].concat()),
                data(0, 1, &message("three")[..3]),
                data(0, 1, &message("three")[3..]),
                headers(WHOLE, 1, "grpc-status=0"),
            ]),
        ),
        (
            concat(&[
                headers(END_HEADERS, 3, &ask("/shop.Cart/Add")),
                data(END_STREAM, 3, ""),
            ]),
            headers(WHOLE, 3, &format!("{grpc}|grpc-status=12")),
        ),
    ]);
    let played = script.end().play();
    let got: Vec<_> = played
        .exchanges
        .iter()
        .map(|exchange| {
            let Application::Grpc(rpc) = &exchange.application else {
                panic!("{exchange:?}");
            };
            let response = exchange.response.as_ref().unwrap();
            let [asked, answered] = [&exchange.request.body, &response.body].map(|body| body.messages.count);
            (
                rpc.method.clone(),
                rpc.status,
                rpc.streaming,
                asked,
                answered,
                exchange.flags.0,
            )
        })
        .collect();
    let want = [
        ("Watch".into(), Some(0), Streaming::Server, 1, 3, 0),
        ("Add".into(), Some(12), Streaming::Unary, 0, 0, 0),
    ];
    assert_eq!(got, want);
}
