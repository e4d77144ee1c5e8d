//! Frames in every piece, and with every gap.

use super::*;
use crate::websocket::written::{frame, masked};

const DEFLATE: Extensions = Extensions {
    deflate: true,
    unknown: false,
};

/// A server's reader behind these bytes, which come in pieces of every size with the same result.
fn server(data: &[u8]) -> Reader {
    let whole = read(Direction::Response, data, data.len());
    for size in 1..data.len().min(40) {
        let pieces = read(Direction::Response, data, size);
        assert_eq!(format!("{pieces:?}"), format!("{whole:?}"), "pieces of {size}");
    }
    whole
}

fn read(sender: Direction, data: &[u8], size: usize) -> Reader {
    let mut reader = Reader::new(sender, DEFLATE, 16);
    for piece in data.chunks(size.max(1)) {
        reader.data(piece);
    }
    reader
}

#[test]
fn counts_messages() {
    let data = [
        frame(0x81, b"hello"),
        frame(0x82, &[0; 300]),
        frame(0x89, b"ping"),
        frame(0xc1, b"\xca\x48"),
        frame(0x82, &[1; 70_000]),
        frame(0x81, b""),
    ]
    .concat();
    let mut reader = server(&data);
    let messages = Messages {
        count: 5,
        bytes: 5 + 300 + 2 + 70_000,
        bytes_max: 70_000,
        compressed: 1,
        text: 3,
        control: 1,
        partial: false,
    };
    assert_eq!((reader.finish(), reader.violations()), (messages, 0));
    let body = reader.take_body();
    assert_eq!(body.wire_bytes, data.len() as u64);
    assert_eq!(body.decoded_bytes, messages.bytes);
    assert_eq!(
        (&*body.captured, body.content),
        (b"hello\0\0\0\0\0\0\0\0\0\0\0".as_slice(), Content::Plain)
    );
}

#[test]
fn fragments_with_control_frames_between() {
    let mut reader = server(
        &[
            frame(0x41, b"Hel"),
            frame(0x89, b""),
            frame(0x00, b""),
            frame(0x8a, b"x"),
            frame(0x80, b"lo"),
            frame(0x02, b"a"),
            frame(0x80, b"bc"),
        ]
        .concat(),
    );
    let messages = reader.finish();
    assert_eq!((messages.count, messages.bytes, messages.bytes_max), (2, 8, 5));
    assert_eq!((messages.compressed, messages.text, messages.control), (1, 1, 2));
    assert!(!messages.partial && reader.violations() == 0);
    let body = reader.take_body();
    assert_eq!(
        (&*body.captured, body.content),
        (b"Helloabc".as_slice(), Content::Encoded)
    );
}

#[test]
fn a_client_masks_and_a_server_does_not() {
    let data = [masked(0x81, b"hello"), masked(0x88, b"\x03\xe8bye")].concat();
    for size in 1..data.len() {
        let mut reader = read(Direction::Request, &data, size);
        assert_eq!((reader.finish().count, reader.violations()), (1, 0));
        assert_eq!(reader.close_code(), Some(1000));
        assert_eq!(reader.take_body().captured, "hello");
    }
    assert_eq!(server(&data).violations(), 2);
    assert_eq!(server(&data).close_code(), Some(1000));
    assert_eq!(read(Direction::Request, &frame(0x81, b"a"), 9).violations(), 1);
}

#[test]
fn close_codes() {
    let cases: &[(&[u8], Option<u16>, u64)] = &[
        (b"", None, 0),
        (b"\x03", None, 1),
        (b"\x03\xe9", Some(1001), 0),
        (b"\x0f\xa0reason", Some(4000), 0),
    ];
    for (payload, code, violations) in cases {
        let reader = server(&frame(0x88, payload));
        assert_eq!((reader.close_code(), reader.violations()), (*code, *violations));
        assert_eq!(reader.messages().control, 1);
    }
    // The first one counts.
    let two = [frame(0x88, b"\x03\xe8"), frame(0x88, b"\x03\xe9")].concat();
    assert_eq!(server(&two).close_code(), Some(1000));
}

#[test]
fn broken_rules() {
    // Data, violations, messages, partial, lost.
    let cases: &[(Vec<u8>, u64, u64, bool, bool)] = &[
        ([frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1, 1, true, false),
        ([frame(0x80, b"a"), frame(0x81, b"b")].concat(), 1, 1, true, false),
        (b"\x81\x7e\0\x01a".to_vec(), 1, 1, false, false),
        ([frame(0x83, b"a"), frame(0x81, b"b")].concat(), 1, 0, true, true),
        (
            [frame(0x81, b"a"), frame(0x91, b"b"), frame(0x81, b"c")].concat(),
            1,
            1,
            true,
            true,
        ),
        (frame(0x09, b""), 1, 0, true, true),
    ];
    for (data, violations, count, partial, lost) in cases {
        let mut reader = server(data);
        let messages = reader.finish();
        assert_eq!(
            (reader.violations(), messages.count),
            (*violations, *count),
            "{data:?}"
        );
        assert_eq!(
            (messages.partial, reader.is_lost()),
            (*partial, *lost),
            "{data:?}"
        );
    }
}

#[test]
fn an_incomplete_message_at_the_end_is_partial() {
    let whole = frame(0x81, b"hello");
    for end in 0..whole.len() {
        let mut reader = server(&whole[..end]);
        assert_eq!(
            (reader.finish().count, reader.finish().partial),
            (0, end > 0),
            "{end}"
        );
    }
    assert!(server(&frame(0x01, b"a")).finish().partial);
    assert!(!server(&whole).finish().partial);
}

#[test]
fn missing_bytes_inside_a_payload_cost_nothing() {
    let data = [
        frame(0x82, &[0; 300]),
        frame(0x81, b"hello"),
        frame(0x88, b"\x03\xe8"),
    ]
    .concat();
    let whole = server(&data).finish();
    let mut kept = 0;
    for from in 0..data.len() {
        for to in from + 1..=data.len() {
            let mut reader = read(Direction::Response, &data[..from], 1000);
            reader.missing((to - from) as u64);
            reader.data(&data[to..]);
            let messages = reader.finish();
            let inside = |begin, end| begin <= from && to <= end;
            if inside(4, 304) || inside(306, 311) || inside(313, 315) {
                assert_eq!(messages, whole, "{from} to {to}");
                kept += 1;
            } else {
                assert!(
                    messages.partial && messages.count <= whole.count,
                    "{from} to {to}"
                );
            }
            let code = reader.close_code();
            assert!(code.is_none() || code == Some(1000));
            let body = reader.take_body();
            assert_eq!(body.wire_bytes, data.len() as u64);
            assert!(body.captured.len() <= from);
        }
    }
    assert!(kept > 300);
}

#[test]
fn a_huge_frame_takes_no_memory_and_can_be_skipped() {
    let mut reader = Reader::new(Direction::Response, DEFLATE, 0);
    let len = 1_u64 << 62;
    reader.data(&[b"\x82\x7f".as_slice(), &len.to_be_bytes(), b"abc"].concat());
    assert_eq!(reader.rest(), len - 3);
    reader.missing(len - 4);
    assert_eq!((reader.rest(), reader.messages().count), (1, 0));
    reader.data(b"d\x81\x01");
    assert_eq!(reader.rest(), 1);
    reader.data(b"x");
    assert_eq!((reader.rest(), reader.finish().bytes_max), (0, len));
    assert!(!reader.finish().partial);
}

#[test]
fn what_is_captured_is_not_skipped() {
    let mut reader = Reader::new(Direction::Response, DEFLATE, 3);
    reader.data(b"\x81\x05he");
    assert_eq!(reader.rest(), 0);
    reader.data(b"l");
    assert_eq!(reader.rest(), 2);
    let mut close = Reader::new(Direction::Response, DEFLATE, 0);
    close.data(b"\x88\x05");
    assert_eq!(close.rest(), 0);
}
