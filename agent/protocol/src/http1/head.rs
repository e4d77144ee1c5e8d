//! Heads: start line and header fields (RFC 9112 2 to 5). The strict grammar is `httparse`'s; what it refuses and real
//! peers accept is read by [`lenient`](super::lenient).

use std::mem::MaybeUninit;

use bytes::Bytes;

use super::lenient;
use crate::detect::{Line, METHOD_BYTES_MAX, plausible_target};
use crate::{Headers, Limits, Version};

/// Head of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestHead {
    pub(super) method: Bytes,
    pub(super) target: Bytes,
    pub(super) version: Version,
    pub(super) headers: Headers,
}

/// Head of a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) version: Version,
    pub(super) headers: Headers,
}

/// Why a complete head is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    StartLine,
    Field,
    TooManyFields,
    TooLarge,
}

/// What was found at the begin of the data.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<T> {
    /// A head of `len` bytes.
    Complete { head: T, len: usize, lenient: bool },
    /// No empty line yet.
    Incomplete,
    /// An empty line, but no head before it.
    Bad(Bad),
}

/// What the two kinds of head have in common.
pub(super) trait Head: Sized {
    /// Reads the head at the begin of `data`, which may hold more.
    fn parse(data: &[u8], limits: &Limits) -> Parsed<Self>;
    /// Judges an incomplete start line.
    fn start_line(data: &[u8]) -> Line;
}

impl Head for RequestHead {
    fn parse(data: &[u8], limits: &Limits) -> Parsed<Self> {
        let mut table = [const { MaybeUninit::uninit() }; Limits::HEADERS_MAX];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(data, within(&mut table, limits)) {
            Ok(httparse::Status::Complete(len)) => {
                let (Some(method), Some(target), Some(version)) =
                    (request.method, request.path, request.version)
                else {
                    return Parsed::Bad(Bad::StartLine);
                };
                if len > limits.head_bytes {
                    return Parsed::Bad(Bad::TooLarge);
                }
                if method.len() > METHOD_BYTES_MAX || plausible_target(target.as_bytes(), true) == Line::Bad {
                    return Parsed::Bad(Bad::StartLine);
                }
                let head = Self {
                    method: method_of(method.as_bytes()),
                    target: Bytes::copy_from_slice(target.as_bytes()),
                    version: version_of(version),
                    headers: headers_of(data, request.headers),
                };
                Parsed::Complete {
                    head,
                    len,
                    lenient: false,
                }
            }
            Ok(httparse::Status::Partial) => Parsed::Incomplete,
            Err(_) => leniently(data, limits, lenient::request),
        }
    }

    fn start_line(data: &[u8]) -> Line {
        crate::detect::request_line(data)
    }
}

impl Head for ResponseHead {
    fn parse(data: &[u8], limits: &Limits) -> Parsed<Self> {
        let mut table = [const { MaybeUninit::uninit() }; Limits::HEADERS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        match config.parse_response_with_uninit_headers(&mut response, data, within(&mut table, limits)) {
            Ok(httparse::Status::Complete(len)) => {
                let (Some(status), Some(version)) = (response.code, response.version) else {
                    return Parsed::Bad(Bad::StartLine);
                };
                // No status begins with 0 (RFC 9110 section 15): 0 is what an exchange says of one that is not known.
                if status < 100 {
                    return Parsed::Bad(Bad::StartLine);
                }
                if len > limits.head_bytes {
                    return Parsed::Bad(Bad::TooLarge);
                }
                let head = Self {
                    status,
                    version: version_of(version),
                    headers: headers_of(data, response.headers),
                };
                Parsed::Complete {
                    head,
                    len,
                    lenient: false,
                }
            }
            Ok(httparse::Status::Partial) => Parsed::Incomplete,
            Err(_) => leniently(data, limits, lenient::response),
        }
    }

    fn start_line(data: &[u8]) -> Line {
        crate::detect::status_line(data)
    }
}

fn within<'a, T>(table: &'a mut [T; Limits::HEADERS_MAX], limits: &Limits) -> &'a mut [T] {
    let len = limits.headers.min(Limits::HEADERS_MAX);
    table.get_mut(..len).unwrap_or_default()
}

fn version_of(minor: u8) -> Version {
    if minor == 0 {
        Version::Http10
    } else {
        Version::Http11
    }
}

fn leniently<T>(data: &[u8], limits: &Limits, parse: fn(&[u8], &Limits) -> Result<T, Bad>) -> Parsed<T> {
    let Some(len) = end_of_head(data, 0) else {
        return Parsed::Incomplete;
    };
    if len > limits.head_bytes {
        return Parsed::Bad(Bad::TooLarge);
    }
    match parse(data.get(..len).unwrap_or_default(), limits) {
        Ok(head) => Parsed::Complete {
            head,
            len,
            lenient: true,
        },
        Err(bad) => Parsed::Bad(bad),
    }
}

/// The fields, which lie in `data`.
fn headers_of<'a>(data: &'a [u8], fields: &[httparse::Header<'a>]) -> Headers {
    let parts = |field: &httparse::Header<'a>| (field.name.as_bytes(), field.value);
    Headers::within(data, fields.iter().map(parts))
}

/// The method as sent; usual ones cost nothing.
pub(super) fn method_of(method: &[u8]) -> Bytes {
    let usual = METHODS.iter().find(|usual| **usual == method);
    usual.map_or_else(
        || Bytes::copy_from_slice(method),
        |usual| Bytes::from_static(usual),
    )
}

/// Those of RFC 9110 9.3 and RFC 5789.
pub(super) const METHODS: [&[u8]; 9] = [
    b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS", b"CONNECT", b"TRACE",
];

/// Reads a trailer section: fields and an empty line.
pub(super) fn trailers(data: &[u8], limits: &Limits) -> Option<Headers> {
    let mut table = [httparse::EMPTY_HEADER; Limits::HEADERS_MAX];
    match httparse::parse_headers(data, within(&mut table, limits)) {
        Ok(httparse::Status::Complete((_, fields))) => Some(headers_of(data, fields)),
        _ => None,
    }
}

/// Offset behind the first empty line, which may end with a bare LF (RFC 9112 2.2), looking from `from` on.
pub(super) fn end_of_head(data: &[u8], from: usize) -> Option<usize> {
    let searched = data.get(from..)?;
    memchr::memchr_iter(b'\n', searched).find_map(|at| match searched.get(at + 1..)? {
        [b'\n', ..] => Some(from + at + 2),
        [b'\r', b'\n', ..] => Some(from + at + 3),
        _ => None,
    })
}
