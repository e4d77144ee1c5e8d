//! Telling HTTP/1 and HTTP/2 apart by the first bytes of a connection, and keeping these until it is told.

use bytes::BytesMut;

use super::frames::{ServerPreface, server_preface};
use crate::http1::{Found, ProxyHeader, find_proxy_header};
use crate::input::Input;
use crate::{Direction, Limits};

/// Begin of the HTTP/2 preface (RFC 9113 3.4) up to where it is no HTTP/1 request line.
const HTTP2_START_LINE: &[u8] = b"PRI * HTTP/2";

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// HTTP/1, or nothing that is known here: its reader finds out.
    Http1,
    /// HTTP/1 or HTTP/2: the bytes that would tell are missing.
    Joined,
    /// HTTP/2, its preface being at stream offset `begin` of the request direction, behind a PROXY header.
    Http2 { begin: u64, proxy: Option<ProxyHeader> },
}

/// What came of both directions so far, and their first bytes in one piece.
#[derive(Debug, Default)]
pub(super) struct Detecting {
    kept: Vec<(Direction, Input)>,
    cost: usize,
    request: BytesMut,
    response: BytesMut,
}

impl Detecting {
    /// Tells by a segment that comes before everything else, if that is enough; nothing is kept then.
    pub(super) fn at_once(&self, direction: Direction, offset: u64, data: &[u8]) -> Option<Verdict> {
        if self.kept.is_empty() && offset == 0 {
            told(direction, data)
        } else {
            None
        }
    }

    /// Keeps what came, and tells if that is enough.
    pub(super) fn keep(&mut self, direction: Direction, input: Input, limits: &Limits) -> Option<Verdict> {
        let seen = match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        };
        let verdict = match &input {
            Input::Segment { offset, data, .. } => match (seen.len() as u64).checked_sub(*offset) {
                None => Some(Verdict::Joined),
                Some(known) => {
                    let known = usize::try_from(known).unwrap_or(usize::MAX);
                    seen.extend_from_slice(data.get(known..).unwrap_or_default());
                    told(Direction::Request, &self.request)
                        .or_else(|| told(Direction::Response, &self.response))
                }
            },
            Input::Passed { until, .. } => (*until > seen.len() as u64).then_some(Verdict::Joined),
            // The rest of the request direction will not come to tell.
            Input::Finish { .. } => (direction == Direction::Request).then_some(Verdict::Http1),
            Input::LeftOut { .. } => None,
        };
        self.cost += input.cost();
        self.kept.push((direction, input));
        let full = self.cost > limits.held_bytes;
        match verdict {
            Some(Verdict::Http2 { .. }) => verdict,
            Some(_) => Some(self.guess(verdict)),
            None => full.then(|| self.guess(None)),
        }
    }

    /// The best that can be told if nothing more comes, unless it is told already.
    pub(super) fn guess(&self, verdict: Option<Verdict>) -> Verdict {
        if server_preface(&self.response) == ServerPreface::Yes {
            Verdict::Http2 {
                begin: 0,
                proxy: None,
            }
        } else {
            verdict.unwrap_or(Verdict::Http1)
        }
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.cost + self.request.capacity() + self.response.capacity()
    }

    /// What came, in order.
    pub(super) fn into_kept(self) -> Vec<(Direction, Input)> {
        self.kept
    }
}

/// Tells by the first bytes of one direction. A server that speaks HTTP/2 first does not end it: the request direction may begin
/// with a PROXY header, and its preface is what counts.
fn told(direction: Direction, data: &[u8]) -> Option<Verdict> {
    match direction {
        _ if data.is_empty() => None,
        Direction::Request => match find_proxy_header(data) {
            Found::Incomplete => None,
            Found::Header(proxy, len) => {
                told_by_request(data.get(len..).unwrap_or_default(), len as u64, Some(proxy))
            }
            Found::No => told_by_request(data, 0, None),
        },
        Direction::Response => (server_preface(data) == ServerPreface::No).then_some(Verdict::Http1),
    }
}

fn told_by_request(data: &[u8], begin: u64, proxy: Option<ProxyHeader>) -> Option<Verdict> {
    if data.starts_with(HTTP2_START_LINE) {
        Some(Verdict::Http2 { begin, proxy })
    } else if HTTP2_START_LINE.starts_with(data) {
        None
    } else {
        Some(Verdict::Http1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64";

    const PREFACE: Verdict = Verdict::Http2 {
        begin: 0,
        proxy: None,
    };

    fn segment(offset: u64, data: &[u8]) -> Input {
        Input::Segment {
            offset,
            time: 1,
            boundary: crate::Boundary::Continued,
            data: bytes::Bytes::copy_from_slice(data),
        }
    }

    #[test]
    fn by_the_first_bytes() {
        let proxy_v1 = b"PROXY TCP4 1.2.3.4 5.6.7.8 9 80\r\n".as_slice();
        let proxy_v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01\x0a\0\0\x02\x1f\x90\0\x50".as_slice();
        let preface = crate::detect::HTTP2_PREFACE;
        let request = Direction::Request;
        let response = Direction::Response;
        let http2 = |begin| match find_proxy_header(if begin == proxy_v1.len() as u64 {
            proxy_v1
        } else {
            proxy_v2
        }) {
            Found::Header(proxy, _) if begin > 0 => Some(Verdict::Http2 {
                begin,
                proxy: Some(proxy),
            }),
            _ => Some(PREFACE),
        };
        let http1 = Some(Verdict::Http1);
        let cases: Vec<(Direction, Vec<u8>, Option<Verdict>)> = vec![
            (request, b"G".to_vec(), http1),
            (request, b"P".to_vec(), None),
            (request, b"PO".to_vec(), http1),
            (request, b"PRI".to_vec(), None),
            (request, b"PRI * HTTP/1.1\r\n".to_vec(), http1),
            (request, b"PRI * HTTP/2".to_vec(), http2(0)),
            (request, preface.to_vec(), http2(0)),
            (
                request,
                [proxy_v1, preface].concat(),
                http2(proxy_v1.len() as u64),
            ),
            (
                request,
                [proxy_v2, preface].concat(),
                http2(proxy_v2.len() as u64),
            ),
            (request, [proxy_v2, b"PRI *"].concat(), None),
            (request, [proxy_v1, b"GET "].concat(), http1),
            (request, proxy_v1.to_vec(), None),
            (request, b"PROXY TCP4".to_vec(), None),
            (request, b"PROXY /x HTTP/1.1\r\n".to_vec(), http1),
            (request, b"\r\n".to_vec(), None),
            (request, b"\r\nGET".to_vec(), http1),
            (request, b"\x16\x03\x01".to_vec(), http1),
            (request, b"\0\0\x12\x04\0\0\0\0\0".to_vec(), http1),
            (response, b"H".to_vec(), http1),
            (response, b"220 mail ESMTP\r\n".to_vec(), http1),
            (response, b"\0".to_vec(), None),
            (response, SETTINGS.to_vec(), None),
            (response, b"\0\0\x06\x04\x01".to_vec(), http1),
        ];
        for (direction, data, want) in cases {
            let mut parts = Detecting::default();
            assert_eq!(
                parts.at_once(direction, 0, &data),
                want,
                "{}",
                data.escape_ascii()
            );
            // Byte by byte it is told as early as it can be, and the same.
            let found = (0..data.len())
                .find_map(|at| parts.keep(direction, segment(at as u64, &data[at..=at]), &Limits::default()));
            assert_eq!(found, want, "{}", data.escape_ascii());
        }
    }

    #[test]
    fn a_server_that_speaks_first() {
        let limits = Limits::default();
        for (request, want) in [
            (b"PRI * HTTP/2.0\r\n".as_slice(), PREFACE),
            (b"GET / HTTP/1.1\r\n", PREFACE),
        ] {
            let mut detecting = Detecting::default();
            assert_eq!(
                detecting.keep(Direction::Response, segment(0, SETTINGS), &limits),
                None
            );
            assert_eq!(
                detecting.keep(Direction::Request, segment(0, request), &limits),
                Some(want)
            );
        }
        let mut detecting = Detecting::default();
        assert_eq!(
            detecting.keep(Direction::Response, segment(0, SETTINGS), &limits),
            None
        );
        let end = Input::Finish {
            final_offset: None,
            time: 2,
        };
        assert_eq!(detecting.keep(Direction::Response, end.clone(), &limits), None);
        assert_eq!(detecting.keep(Direction::Request, end, &limits), Some(PREFACE));
    }

    #[test]
    fn what_is_missing_is_not_told() {
        let limits = Limits::default();
        for direction in [Direction::Request, Direction::Response] {
            let mut detecting = Detecting::default();
            assert_eq!(
                detecting.keep(direction, segment(1, b"PRI * HTTP/2"), &limits),
                Some(Verdict::Joined)
            );
            let mut detecting = Detecting::default();
            let passed = Input::Passed { until: 5, time: 1 };
            assert_eq!(detecting.keep(direction, passed, &limits), Some(Verdict::Joined));
            assert_eq!(detecting.into_kept().len(), 1);
        }
    }

    #[test]
    fn keeps_at_most_the_limit() {
        let exact = SETTINGS.len() + Limits::HELD_SEGMENT_COST;
        for (held_bytes, want) in [(exact, None), (exact - 1, Some(PREFACE))] {
            let limits = Limits {
                held_bytes,
                ..Limits::default()
            };
            let mut detecting = Detecting::default();
            assert_eq!(
                detecting.keep(Direction::Response, segment(0, SETTINGS), &limits),
                want
            );
        }
    }
}
