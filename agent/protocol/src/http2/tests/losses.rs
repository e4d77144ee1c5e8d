//! Bytes that are missing, and connections joined late.

use super::script::{Played, Script, play};
use super::wire::{
    END_HEADERS, END_STREAM, WHOLE, concat, data, frame, get, headers, post, reset, settings, window,
};
use crate::http2::Connection;
use crate::http2::resync::{UNPROVEN_BYTES_MAX, UNPROVEN_FRAMES_MAX};
use crate::{Boundary, Direction, Limits, Start, Want};

const OK: &str = ":status=200";

fn ended(script: &Script) -> Played {
    script.clone().end().play()
}

fn late(script: &Script) -> Played {
    play(&script.items, Limits::default(), Start::Late)
}

/// A response of `bytes` whose part from `from` on, `len` bytes, does not come; another exchange follows.
fn cut(bytes: &[u8], from: usize, len: usize) -> Script {
    Script::begun()
        .client(headers(WHOLE, 1, &get("/a")))
        .server(&bytes[..from])
        .lost(Direction::Response, len as u64)
        .server(&bytes[from + len..])
        .client(headers(WHOLE, 3, &get("/b")))
        .server(concat(&[headers(END_HEADERS, 3, OK), data(END_STREAM, 3, "b")]))
}

#[test]
fn missing_bytes_of_a_response() {
    let head = headers(END_HEADERS, 1, OK);
    let one = data(0, 1, "0123456789");
    let bytes = concat(&[head.clone(), one.clone(), data(END_STREAM, 1, "xyz")]);
    let in_data = head.len() + 9;
    let next = "3 GET /b > 200 10/1";
    // The gap is found only when the stream is open.
    let marked = "3 GET /b > 200 10/1 gap";
    let cases: &[(&str, usize, usize, &str, &str)] = &[
        ("inside DATA", in_data + 2, 4, "1 GET /a > 200 31/13 gap", next),
        ("all of DATA", in_data, 10, "1 GET /a > 200 31/13 gap", next),
        (
            "the last of DATA",
            in_data + 5,
            5,
            "1 GET /a > 200 31/13 gap",
            next,
        ),
        (
            "DATA and its header",
            head.len(),
            19,
            "1 GET /a > 200 12/3 gap",
            next,
        ),
        (
            "a frame header's begin",
            head.len(),
            4,
            "1 GET /a > 200 truncated gap",
            next,
        ),
        (
            "DATA and the next header",
            in_data + 3,
            12,
            "1 GET /a > 200 19/10 truncated gap",
            next,
        ),
        (
            "the last frame",
            head.len() + 19,
            12,
            "1 GET /a > 200 19/10 truncated gap",
            marked,
        ),
        ("the head", 0, head.len(), "1 GET /a > gap unpaired", next),
        ("in the head", 12, 2, "1 GET /a > gap unpaired", next),
        ("in the head's header", 3, 2, "1 GET /a > gap unpaired", next),
        ("everything", 0, bytes.len(), "1 GET /a > gap unpaired", marked),
    ];
    for (name, from, len, one, two) in cases {
        let played = ended(&cut(&bytes, *from, *len));
        assert_eq!(played.lines(), [*one, *two], "{name}");
    }
}

#[test]
fn passed_bytes_inside_data_only_shorten_the_body() {
    let script = Script::begun()
        .client(headers(WHOLE, 1, &get("/")))
        .server(concat(&[
            headers(END_HEADERS, 1, OK),
            data(END_STREAM, 1, [0; 100])[..19].to_vec(),
        ]))
        .passed(Direction::Response, 90);
    assert_eq!(script.early(), ["1 GET / > 200 109/100 truncated"]);
    let played = ended(&script);
    assert_eq!(
        (played.counters.left_out, played.counters.left_out_bytes),
        (1, 90)
    );
    assert_eq!((played.counters.gaps, played.counters.resynchronised), (0, 0));
}

#[test]
fn a_lost_request_takes_its_response_with_it() {
    let one = headers(WHOLE, 1, &get("/a"));
    let script = Script::begun()
        .lost(Direction::Request, one.len() as u64)
        .server(headers(WHOLE, 1, ":status=201"))
        .client(headers(WHOLE, 3, &get("/b")))
        .server(headers(WHOLE, 3, ":status=203"));
    let played = ended(&script);
    assert_eq!(played.lines(), ["3 GET /b > 203"]);
    assert_eq!(played.counters.responses_without_request, 1);
}

#[test]
fn the_table_is_unknown_behind_a_gap() {
    let first = headers(WHOLE, 1, &format!("{}|+x=1|+y=2", get("/a")));
    let script = Script::begun()
        .client(first)
        .server(headers(WHOLE, 1, OK))
        .lost(Direction::Request, 13)
        .client(headers(WHOLE, 3, &format!("{}|#62|+z=3", get("/b"))))
        .server(headers(WHOLE, 3, OK))
        .client(headers(WHOLE, 5, &format!("{}|#62", get("/c"))))
        .server(headers(WHOLE, 5, OK));
    let played = ended(&script);
    assert_eq!(
        played.lines(),
        ["1 GET /a > 200", "3 GET /b ?1 > 200 gap", "5 GET /c > 200"]
    );
    let (name, _) = played.exchanges[2].request.headers.iter().next().unwrap();
    assert_eq!(name, b"z");
}

/// A stream whose end was lost comes out after `Limits::pending_requests` more requests.
#[test]
fn silent_streams_come_out() {
    let mut script = Script::begun()
        .client(headers(WHOLE, 1, &get("/lost")))
        .lost(Direction::Response, 14)
        .server(window(0));
    for at in 0..200 {
        script = script
            .client(headers(WHOLE, 3 + 2 * at, &get("/")))
            .server(headers(WHOLE, 3 + 2 * at, OK));
    }
    let early = script.early();
    assert_eq!(early[127], "1 GET /lost > gap unpaired");
    assert_eq!(early.len(), 201);
}

#[test]
fn a_late_join_knows_what_came_behind_it() {
    let before = headers(WHOLE, 7, &format!("{}|+x=1", get("/before")));
    let data_before = data(END_STREAM, 5, "tail of something");
    let script = Script::default()
        .lost(Direction::Request, before.len() as u64)
        .lost(Direction::Response, 1000)
        .server(&data_before[15..])
        .server(headers(WHOLE, 7, OK))
        .client(headers(WHOLE, 9, &get("/a")))
        .server(headers(WHOLE, 9, OK))
        .client(headers(WHOLE, 11, ":method=GET|:scheme=http|#62|+k=v"))
        .server(headers(WHOLE, 11, "#70"))
        .client(headers(WHOLE, 13, &format!("{}|#62", get("/b"))))
        .server(headers(WHOLE, 13, OK));
    let played = late(&script);
    assert_eq!(
        played.lines(),
        [
            "9 GET /a > 200 late_join",
            "11 GET  ?1 > 0 ?1 late_join",
            "13 GET /b > 200"
        ]
    );
    let (_, value) = played.exchanges[2].request.headers.iter().next().unwrap();
    assert_eq!(value, b"v");
    assert_eq!(played.counters.responses_without_request, 1);
    assert!(played.connection.is_believed());
}

#[test]
fn a_late_join_in_something_else_believes_nothing() {
    let mut script = Script::default();
    for _ in 0..300 {
        script = script
            .client([0x16, 3, 3, 0, 100, 1, 2, 3, 4, 5, 6, 7])
            .server(b"\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00abcdefgh\x00");
    }
    let played = late(&script);
    assert!(played.connection.not_http2());
    assert_eq!(played.lines(), [""; 0]);
}

/// Lengths that lead from one to the next prove nothing, however long they do.
#[test]
fn what_looks_like_data_alone_is_given_up() {
    let late = || (Connection::new(Limits::default(), Start::Late), 0);
    let say = |(connection, offset): &mut (Connection, u64), bytes: &[u8]| {
        connection.segment(Direction::Response, *offset, 1, bytes, Boundary::Continued);
        *offset += bytes.len() as u64;
    };
    let frames = data(0, 1, "x").repeat(1 << 10);
    let rounds = UNPROVEN_FRAMES_MAX >> 10;

    let mut stranger = late();
    for _ in 0..rounds {
        say(&mut stranger, &frames);
        assert!(!stranger.0.not_http2());
    }
    say(&mut stranger, &data(0, 1, "x"));
    assert!(stranger.0.not_http2());
    assert_eq!(stranger.0.wants(Direction::Response), Want::Nothing);

    // Large ones, most of whose bytes are left out.
    let mut stranger = late();
    let large = [&[0x3f, 0xff, 0xf7, 0, 0, 0, 0, 0, 1][..], b"x"].concat();
    let mut large_frames = 0;
    while !stranger.0.not_http2() {
        let end = stranger.1 + 9 + 0x3f_fff7;
        say(&mut stranger, &large);
        stranger.0.passed(Direction::Response, end, 1);
        stranger.1 = end;
        large_frames += 1;
    }
    assert_eq!(large_frames, UNPROVEN_BYTES_MAX / 0x3f_fff7 + 1);

    // A long download of which the begin was not seen, and the next request.
    let mut download = late();
    for _ in 0..3 * rounds {
        say(&mut download, &frames);
        say(&mut download, &window(0));
    }
    say(&mut download, &headers(WHOLE, 3, ":status=200"));
    assert!(download.0.is_believed());
}

/// Frames alone are not believed, only header blocks with valid pseudo-header fields.
#[test]
fn frames_alone_are_not_believed() {
    let script = Script::default()
        .client(concat(&[
            window(0),
            settings(&[]),
            data(END_STREAM, 1, "x"),
            reset(3, 0),
        ]))
        .server(concat(&[window(0), data(0, 1, "x"), frame(1, WHOLE, 1, [0xbe])]));
    let played = late(&script);
    assert!(!played.connection.is_believed() && !played.connection.not_http2());
    assert_eq!(played.lines(), [""; 0]);
}

/// A place that was found and is none is left again, and what was read there is forgotten.
#[test]
fn a_wrong_place_is_left() {
    let script = Script::begun()
        .client(headers(END_HEADERS, 1, &post("/a")))
        .lost(Direction::Request, 9)
        // Fits as a frame; the next does not.
        .client(concat(&[data(0, 1, "abc"), vec![0xff; 20]]))
        .client(headers(WHOLE, 3, &get("/b")))
        .server(concat(&[headers(WHOLE, 1, OK), headers(WHOLE, 3, OK)]));
    let played = ended(&script);
    assert_eq!(played.lines().len(), 2);
    assert_eq!(played.lines()[1], "3 GET /b > 200");
    assert!(played.lines()[0].contains("gap"));
}
