//! Bodies behind a content coding.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{End, Piece, data, read};
use crate::body::Finished;
use crate::{Content, Counters, Direction, Limits, Messages};

pub(super) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn kept(body_bytes: usize) -> Limits {
    Limits {
        body_bytes,
        ..Limits::default()
    }
}

fn play(coding: &str, body_bytes: usize, pieces: &[Piece]) -> (Finished, Counters) {
    let fields = [("Content-Encoding", coding), ("content-type", "text/html")];
    read(
        Direction::Response,
        &fields,
        &kept(body_bytes),
        pieces,
        End::Complete,
    )
}

#[test]
fn what_is_captured() {
    let plain = "a longer text, a longer text, a longer text";
    let body = gzip(plain.as_bytes());
    let raw = |len: usize| body[..len].to_vec();
    let half = body.len() / 2;
    let text = |len: usize| plain.as_bytes()[..len].to_vec();
    let mut broken = body.clone();
    broken[10..].fill(0xff);
    let mut late = gzip(&[b'x'; 40_000]);
    late.truncate(late.len() - 8 - 10);
    late.resize(3000, 0xff);
    let cases = [
        (
            "whole",
            "gzip",
            100,
            vec![data(&body)],
            text(43),
            Content::Decoded,
            false,
        ),
        (
            "to the byte",
            "gzip",
            43,
            vec![data(&body)],
            text(43),
            Content::Decoded,
            false,
        ),
        (
            "cut",
            "gzip",
            42,
            vec![data(&body)],
            text(42),
            Content::Decoded,
            true,
        ),
        (
            "none",
            "gzip",
            0,
            vec![data(&body)],
            text(0),
            Content::Plain,
            false,
        ),
        (
            "empty",
            "gzip",
            10,
            vec![data(gzip(b""))],
            text(0),
            Content::Plain,
            false,
        ),
        ("nothing", "gzip", 10, vec![], text(0), Content::Plain, false),
        (
            "unknown",
            "lzma",
            20,
            vec![data(&body)],
            raw(20),
            Content::Encoded,
            true,
        ),
        (
            "garbage",
            "gzip",
            20,
            vec![data(plain)],
            text(20),
            Content::Encoded,
            true,
        ),
        (
            "broken",
            "gzip",
            12,
            vec![data(&broken)],
            broken[..12].to_vec(),
            Content::Encoded,
            true,
        ),
        (
            "broken behind",
            "gzip",
            1000,
            vec![data(&late)],
            vec![b'x'; 1000],
            Content::Decoded,
            true,
        ),
        (
            "early end",
            "gzip",
            100,
            vec![data(raw(half))],
            vec![],
            Content::Decoded,
            false,
        ),
        (
            "hole",
            "gzip",
            5,
            vec![data(raw(half)), Piece::Missing(Some(3)), data(&body[half + 3..])],
            text(5),
            Content::Decoded,
            true,
        ),
    ];
    for (name, coding, body_bytes, pieces, want, content, cut) in cases {
        let (finished, _) = play(coding, body_bytes, &pieces);
        let body = finished.body;
        if name == "early end" {
            assert!(!body.captured.is_empty() && plain.as_bytes().starts_with(&body.captured));
        } else {
            assert_eq!(
                body.captured.escape_ascii().to_string(),
                want.escape_ascii().to_string(),
                "{name}"
            );
        }
        assert_eq!(body.content, content, "{name}");
        assert_eq!(finished.cut, cut, "{name}");
        let given = pieces.iter().map(|piece| match piece {
            Piece::Data(data) => data.len() as u64,
            Piece::Missing(len) => len.unwrap_or_default(),
        });
        assert_eq!(
            body.decoded_bytes,
            given.sum::<u64>(),
            "{name}: the length is that before decoding"
        );
    }
}

#[test]
fn what_went_wrong_is_counted() {
    let zstd_window = {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(24).unwrap();
        encoder.write_all(&[7; 100]).unwrap();
        encoder.finish().unwrap()
    };
    let body = gzip(b"text");
    type Counter = fn(&Counters) -> u64;
    let cases: &[(&str, &[u8], Counter)] = &[
        ("lzma", b"x", |c| c.content_unknown),
        ("gzip, gzip, gzip, gzip", b"x", |c| c.content_unknown),
        ("gzip", b"x", |c| c.content_broken),
        ("gzip", &body[..body.len() - 1], |c| c.content_cut),
        ("gzip", &gzip(&vec![0; 1 << 20]), |c| c.content_too_large),
        ("zstd", &zstd_window, |c| c.content_windows_too_large),
    ];
    for (coding, body, counter) in cases {
        let (_, counters) = play(coding, 1 << 20, &[data(body)]);
        assert_eq!(counter(&counters), 1, "{coding}");
        assert_eq!(
            counters.named().map(|(_, count)| count).sum::<u64>(),
            1,
            "{coding}: and nothing else"
        );
        let (_, counters) = play(coding, 0, &[data(body)]);
        assert_eq!(
            counters,
            Counters::default(),
            "{coding}: what nobody wants is not decoded"
        );
    }
}

#[test]
fn messages_behind_a_coding() {
    let events = "data: one event\n\n".repeat(2000);
    let fields = |coding| {
        [
            ("content-type", "text/event-stream"),
            ("content-encoding", coding),
        ]
    };
    let count = |coding, pieces: &[Piece], end| {
        let (finished, counters) = read(Direction::Response, &fields(coding), &kept(20), pieces, end);
        assert_eq!(
            &finished.body.captured[..4],
            if coding == "lzma" {
                &b"\x1f\x8b\x08\0"[..]
            } else {
                b"data"
            }
        );
        (finished.body.messages, counters)
    };
    let body = gzip(events.as_bytes());
    let want = Messages {
        count: 2000,
        bytes: 18_000,
        bytes_max: 9,
        ..Messages::default()
    };
    assert_eq!(
        count("gzip", &[data(&body)], End::Complete),
        (want, Counters::default())
    );
    let half = body.len() / 2;
    let hole = [
        data(&body[..half]),
        Piece::Missing(Some(1)),
        data(&body[half + 1..]),
    ];
    let (messages, _) = count("gzip", &hole, End::Complete);
    assert!(messages.partial && (1..2000).contains(&messages.count));
    let (messages, counters) = count("lzma", &[data(&body)], End::Complete);
    assert_eq!(
        (messages.count, messages.partial, counters.content_unknown),
        (0, true, 1)
    );
    let mut broken = body.clone();
    broken[half..].fill(0xff);
    let (messages, counters) = count("gzip", &[data(&broken)], End::Complete);
    assert_eq!((messages.partial, counters.content_broken), (true, 1));
}
