//! gRPC and gRPC-Web.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{End, Piece, data, read};
use crate::{Counters, Direction, Limits, Messages};

const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc")];
const WEB: &[(&str, &str)] = &[("content-type", "application/grpc-web+proto")];
const TEXT: &[(&str, &str)] = &[("content-type", "application/grpc-web-text")];

fn message(flags: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap();
    [&[flags][..], &len.to_be_bytes(), body].concat()
}

fn grpc(pieces: &[Piece], end: End) -> (Messages, Counters) {
    let (finished, counters) = read(Direction::Request, GRPC, &Limits::default(), pieces, end);
    (finished.body.messages, counters)
}

fn counted(count: u64, bytes: u64, bytes_max: u64) -> Messages {
    Messages {
        count,
        bytes,
        bytes_max,
        ..Messages::default()
    }
}

fn partial(messages: Messages) -> Messages {
    Messages {
        partial: true,
        ..messages
    }
}

#[test]
fn messages_are_counted() {
    let three = [message(0, b"abc"), message(1, b""), message(0, &[7; 300])].concat();
    let want = Messages {
        compressed: 1,
        ..counted(3, 303, 300)
    };
    assert_eq!(grpc(&[data(&three)], End::Complete), (want, Counters::default()));
    assert_eq!(grpc(&[], End::Complete).0, Messages::default());
    let cut = &three[..three.len() - 1];
    let want = Messages {
        compressed: 1,
        ..partial(counted(2, 3, 3))
    };
    assert_eq!(grpc(&[data(cut)], End::Complete).0, want, "inside a message");
    assert_eq!(
        grpc(&[data(&three[..10])], End::Complete).0,
        partial(counted(1, 3, 3))
    );
    assert_eq!(
        grpc(&[data(&three[..8])], End::Cut).0,
        partial(counted(1, 3, 3)),
        "perhaps more was to come"
    );
}

#[test]
fn lengths_are_not_reserved() {
    let huge = [0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3];
    let pieces = [
        data(huge),
        Piece::Missing(Some(u64::from(u32::MAX) - 3)),
        data(message(0, b"x")),
    ];
    let max = u64::from(u32::MAX);
    assert_eq!(grpc(&pieces, End::Complete).0, counted(2, max + 1, max));
}

#[test]
fn broken_framing_is_counted_once() {
    let pieces = [
        data(message(0, b"a")),
        data(message(2, b"b")),
        data(message(4, b"c")),
    ];
    let (messages, counters) = grpc(&pieces, End::Complete);
    assert_eq!(messages, partial(counted(1, 1, 1)));
    assert_eq!(counters.malformed_grpc, 1);
}

#[test]
fn missing_bytes() {
    let begin = || data([&message(0, b"abc")[..], &message(0, b"0123456789")[..8]].concat());
    let rest = |at: usize| data([&b"0123456789"[at..], &message(0, b"z")].concat());
    let cases = [
        (
            "inside",
            [begin(), Piece::Missing(Some(2)), rest(5)],
            counted(3, 14, 10),
        ),
        (
            "the rest",
            [begin(), Piece::Missing(Some(7)), rest(10)],
            counted(3, 14, 10),
        ),
        (
            "more",
            [begin(), Piece::Missing(Some(8)), rest(10)],
            partial(counted(1, 3, 3)),
        ),
        (
            "who knows",
            [begin(), Piece::Missing(None), rest(3)],
            partial(counted(1, 3, 3)),
        ),
        (
            "between two",
            [
                data(message(0, b"abc")),
                Piece::Missing(Some(6)),
                data(message(0, b"z")),
            ],
            partial(counted(1, 3, 3)),
        ),
    ];
    for (name, pieces, want) in cases {
        assert_eq!(grpc(&pieces, End::Complete).0, want, "{name}");
    }
}

fn fields(trailers: &crate::Headers) -> Vec<String> {
    trailers
        .iter()
        .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()))
        .collect()
}

#[test]
fn web_trailers_are_a_frame() {
    let trailers = message(
        0x80,
        b"grpc-status:0\r\ngrpc-message: all is well \r\nempty:\r\nnone\r\n",
    );
    let body = [message(0, b"abc"), trailers].concat();
    let (finished, counters) = read(
        Direction::Response,
        WEB,
        &Limits::default(),
        &[data(&body)],
        End::Complete,
    );
    assert_eq!(finished.body.messages, counted(1, 3, 3));
    assert_eq!(
        fields(&finished.body.trailers),
        ["grpc-status=0", "grpc-message=all is well", "empty="]
    );
    assert_eq!(counters, Counters::default());
    let (_, counters) = read(
        Direction::Response,
        GRPC,
        &Limits::default(),
        &[data(&body)],
        End::Complete,
    );
    assert_eq!(counters.malformed_grpc, 1, "not in gRPC");
}

#[test]
fn web_trailers_have_a_limit() {
    let limits = Limits {
        head_bytes: 20,
        ..Limits::default()
    };
    let trailers = |len: usize| message(0x80, format!("grpc-status:{}", "0".repeat(len)).as_bytes());
    let (finished, counters) = read(
        Direction::Response,
        WEB,
        &limits,
        &[data(trailers(8))],
        End::Complete,
    );
    assert_eq!(fields(&finished.body.trailers), ["grpc-status=00000000"]);
    assert_eq!(counters.trailers_too_large, 0);
    let (finished, counters) = read(
        Direction::Response,
        WEB,
        &limits,
        &[data(trailers(9))],
        End::Complete,
    );
    assert!(finished.body.trailers.is_empty());
    assert_eq!(counters.trailers_too_large, 1);
}

#[test]
fn base64_is_padded_wherever_it_was_written() {
    // Each write by itself, cut where it hurts.
    let body = [
        message(0, b"abcd"),
        message(0, b""),
        message(0x80, b"grpc-status: 5\r\n"),
    ]
    .concat();
    for cut in 1..body.len() {
        let (a, b) = body.split_at(cut);
        let text = STANDARD.encode(a) + &STANDARD.encode(b);
        let (finished, counters) = read(
            Direction::Response,
            TEXT,
            &Limits::default(),
            &[data(&text)],
            End::Complete,
        );
        assert_eq!(finished.body.messages, counted(2, 4, 4), "{text}");
        assert_eq!(fields(&finished.body.trailers), ["grpc-status=5"]);
        assert_eq!(counters, Counters::default());
    }
    let whole = STANDARD.encode(&body);
    let broken = [
        (&whole[..whole.len() - 1], 0),
        ("AAAA*AAA", 1),
        ("A=AA", 1),
        ("AA=A", 1),
        ("====", 1),
    ];
    for (text, malformed) in broken {
        let (finished, counters) = read(
            Direction::Response,
            TEXT,
            &Limits::default(),
            &[data(text)],
            End::Complete,
        );
        assert!(finished.body.messages.partial, "{text}");
        assert_eq!(counters.malformed_grpc, malformed, "{text}");
    }
}
