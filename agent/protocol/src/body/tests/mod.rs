//! Bodies: tables of what is in them, and the law that splitting changes nothing.

mod coded;
mod grpc;
mod laws;
mod sse;

use super::{BodyReader, End, Finished};
use crate::{Body, Counters, Direction, Headers, Limits, Request, Version};

pub(super) fn headers(fields: &[(&str, &str)]) -> Headers {
    fields.iter().copied().collect()
}

/// A request with these header fields.
pub(super) fn request(fields: &[(&str, &str)]) -> Request {
    Request {
        method: "POST".into(),
        target: "/".into(),
        authority: None,
        version: Version::Http11,
        headers: headers(fields),
        headers_unknown: 0,
        head_bytes: 0,
        body: Body::default(),
        first_byte: 0,
        last_byte: 0,
    }
}

/// A reader of a message of this type; of the response to such a request, if it is one.
pub(super) fn reader(direction: Direction, fields: &[(&str, &str)], limits: &Limits) -> BodyReader {
    let headers = headers(fields);
    match direction {
        Direction::Request => BodyReader::request(b"POST", &headers, limits),
        Direction::Response => BodyReader::response(&request(fields), None, &headers, limits),
    }
}

/// What is given to a reader.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Data(Vec<u8>),
    Missing(Option<u64>),
}

pub(super) fn data(data: impl AsRef<[u8]>) -> Piece {
    Piece::Data(data.as_ref().to_vec())
}

/// Reads the pieces, cut into bytes, and again whole; both must give the same.
pub(super) fn read(
    direction: Direction,
    fields: &[(&str, &str)],
    limits: &Limits,
    pieces: &[Piece],
    end: End,
) -> (Finished, Counters) {
    let play = |cut: usize| {
        let mut counters = Counters::default();
        let mut reader = reader(direction, fields, limits);
        for piece in pieces {
            match piece {
                Piece::Data(data) => data.chunks(cut).for_each(|data| reader.data(data, &mut counters)),
                Piece::Missing(len) => reader.missing(*len, &mut counters),
            }
        }
        (reader.finish(end, &mut counters), counters)
    };
    let whole = play(usize::MAX);
    assert_eq!(play(1), whole, "byte by byte");
    assert_eq!(play(7), whole, "in pieces of 7");
    whole
}

#[test]
fn plain_bodies_keep_their_first_bytes() {
    let limits = Limits {
        body_bytes: 4,
        ..Limits::default()
    };
    let kept = |pieces: &[Piece]| {
        let (finished, _) = read(Direction::Response, &[], &limits, pieces, End::Complete);
        let captured = String::from_utf8(finished.body.captured.to_vec()).unwrap();
        (captured, finished.body.decoded_bytes, finished.cut)
    };
    assert_eq!(kept(&[data("abc")]), ("abc".into(), 3, false));
    assert_eq!(kept(&[data("abcd")]), ("abcd".into(), 4, false));
    assert_eq!(kept(&[data("abcde")]), ("abcd".into(), 5, true));
    let hole = [data("ab"), Piece::Missing(Some(1)), data("cd")];
    assert_eq!(kept(&hole), ("ab".into(), 5, true), "nothing behind a hole");
}

#[test]
fn a_coded_body_is_wanted_until_its_capture_is_known_to_be_cut() {
    let limits = Limits {
        body_bytes: 100,
        ..Limits::default()
    };
    let counters = &mut Counters::default();
    let fields = [("content-encoding", "gzip")];
    let mut coded = reader(Direction::Response, &fields, &limits);
    let body = coded::gzip(&(0..100_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    coded.data(&body[..1000], counters);
    assert!(!coded.satisfied(), "blocks are decoded whole");
    coded.data(&body[1000..1024], counters);
    assert!(coded.satisfied());
    let mut unwanted = reader(Direction::Response, &fields, &Limits::default());
    assert!(unwanted.satisfied());
    unwanted.data(&body, counters);
    assert_eq!(*counters, Counters::default());
}

#[test]
fn a_reader_is_satisfied_when_nothing_can_change() {
    let limits = Limits {
        body_bytes: 2,
        ..Limits::default()
    };
    let counters = &mut Counters::default();
    let mut plain = reader(Direction::Response, &[("content-type", "text/html")], &limits);
    plain.data(b"a", counters);
    assert!(!plain.satisfied());
    plain.data(b"b", counters);
    assert!(plain.satisfied());
    let mut grpc = reader(
        Direction::Response,
        &[("content-type", "application/grpc")],
        &limits,
    );
    grpc.data(b"\0\0\0\0\x09abc", counters);
    assert!(!grpc.satisfied(), "messages go on");
    grpc.missing(None, counters);
    assert!(grpc.satisfied(), "they cannot be found again");
    let none = reader(Direction::Response, &[], &Limits::default());
    assert!(none.satisfied(), "nothing is wanted");
}
