//! What is said: the same on both ends, so that each checks what it gets, and the judge knows every size.

use crate::table::{Receiving, Sending, Way};

/// Exchanges of each way: so many on connections of their own …
pub const ALONE: usize = 4;
/// … and so many more on one that is kept.
pub const KEPT: usize = 4;

/// One exchange.
#[derive(Debug)]
pub struct Exchange {
    /// Its place.
    pub number: usize,
    /// Method.
    pub method: &'static str,
    /// `/ways/WAY/NUMBER`.
    pub path: String,
    /// Status.
    pub status: u16,
    /// The request on the wire, its head's length.
    pub request: (Vec<u8>, usize),
    /// The response on the wire, its head's length.
    pub response: (Vec<u8>, usize),
}

/// Bytes of one chunk of a chunked body.
const CHUNK: usize = 1000;

/// So many bytes that look like no protocol, different from place to place.
fn content(length: usize, seed: usize) -> Vec<u8> {
    let letter = |place: usize| b'a' + ((place * 7 + place / 26 + seed * 11) % 26) as u8;
    (0..length).map(letter).collect()
}

/// Head and body; by length, or chunked.
fn message(first_line: &str, body: &[u8], chunked: bool) -> (Vec<u8>, usize) {
    let framing = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {}", body.len())
    };
    let head = format!("{first_line}\r\nHost: ways.test\r\nContent-Type: text/plain\r\n{framing}\r\n\r\n");
    let mut bytes = head.into_bytes();
    let head_length = bytes.len();
    if chunked {
        // A byte that is not what was sent breaks the framing sooner or later.
        for chunk in body.chunks(CHUNK) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
    } else {
        bytes.extend_from_slice(body);
    }
    (bytes, head_length)
}

impl Exchange {
    /// An exchange of a way. Every other one is chunked, where that is how the way is used; one is larger than most reads.
    pub fn new(way: &Way, number: usize) -> Self {
        let apart = matches!(way.receive, Receiving::SpliceIn | Receiving::Trunc)
            || matches!(way.send, Sending::Sendfile | Sending::SpliceOut);
        let chunked = number % 2 == 1 && !apart;
        let (mut asked, mut answered) = (700 + 333 * number, 1500 + 777 * number);
        if number == 3 {
            (asked, answered) = (20_000, 24_000);
        }
        if way.send == Sending::Partial {
            answered = 60_000 + number;
        }
        let (method, status, reason) = if number.is_multiple_of(2) {
            ("POST", 200, "OK")
        } else {
            ("PUT", 201, "Created")
        };
        let path = format!("/ways/{}/{number}", way.name);
        Self {
            number,
            method,
            status,
            request: message(
                &format!("{method} {path} HTTP/1.1"),
                &content(asked, number),
                chunked,
            ),
            response: message(
                &format!("HTTP/1.1 {status} {reason}"),
                &content(answered, number + 5),
                chunked,
            ),
            path,
        }
    }

    /// All of a way.
    pub fn all(way: &Way) -> Vec<Self> {
        (0..ALONE + KEPT).map(|number| Self::new(way, number)).collect()
    }

    /// The same, by connection.
    pub fn connections(exchanges: &[Self]) -> Vec<&[Self]> {
        let (alone, kept) = exchanges.split_at(ALONE.min(exchanges.len()));
        alone.chunks(1).chain([kept]).collect()
    }

    /// Bytes of the request, and of the response, that the way carries at the server.
    pub fn carried(&self, way: &Way) -> [usize; 2] {
        let part = |(bytes, head): &(Vec<u8>, usize), plain, body_only| match (plain, body_only) {
            (true, _) => 0,
            (false, true) => bytes.len() - head,
            (false, false) => bytes.len(),
        };
        let whole = way.is_carried_whole();
        let plain_in = way.receive == Receiving::Read && way.name != "read" && !whole;
        let plain_out = way.send == Sending::Write && way.name != "write" && !whole;
        let body_in = matches!(way.receive, Receiving::SpliceIn | Receiving::Trunc);
        let body_out = matches!(way.send, Sending::Sendfile | Sending::SpliceOut);
        [
            part(&self.request, plain_in, body_in),
            part(&self.response, plain_out, body_out),
        ]
    }
}
