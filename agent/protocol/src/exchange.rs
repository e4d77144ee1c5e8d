//! One API call as it went over the wire: a request, what answered it, when, and how complete the record is.

use bytes::Bytes;

/// A point in time on the source's own clock, nanoseconds. Only differences are used inside this crate.
pub type Nanos = u64;

/// Which way bytes flow, seen from the connection: from the client to the server, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Client to server.
    Request,
    /// Server to client.
    Response,
}

/// Completeness of an [`Exchange`], a bit set. Empty means: every byte was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u32);

impl Flags {
    /// Some bytes of a body were left out on purpose (a limit), or the message ended before its framing said so.
    pub const TRUNCATED: Self = Self(1);
    /// Bytes are missing inside the exchange that should have been seen.
    pub const GAP: Self = Self(2);
    /// The connection was joined after it began.
    pub const LATE_JOIN: Self = Self(4);
    /// Only one half was seen.
    pub const UNPAIRED: Self = Self(8);
    /// The connection was inferred, not known (TLS libraries only).
    pub const SOCKET_GUESSED: Self = Self(16);

    /// Names in bit order, as they appear in every output.
    pub const NAMES: [(Self, &'static str); 5] = [
        (Self::TRUNCATED, "truncated"),
        (Self::GAP, "gap"),
        (Self::LATE_JOIN, "late_join"),
        (Self::UNPAIRED, "unpaired"),
        (Self::SOCKET_GUESSED, "socket_guessed"),
    ];

    /// True when every bit of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Sets the bits of `other`.
    pub const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Names of the set bits.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter(move |(bit, _)| self.contains(*bit))
            .map(|(_, name)| name)
    }
}

/// A header field as received: name in its original case, value without surrounding white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Field name, original case.
    pub name: Bytes,
    /// Field value.
    pub value: Bytes,
}

/// A message body: how large it was and, up to the caller's limit, what it held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Bytes on the wire, chunk framing and trailers included.
    pub wire_bytes: u64,
    /// Bytes after removing the transfer coding (chunked), before any content coding.
    pub decoded_bytes: u64,
    /// First bytes of the decoded body, at most `Limits::body_bytes`.
    pub captured: Bytes,
    /// Trailer fields (chunked only).
    pub trailers: Vec<Header>,
}

/// Request half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Method token exactly as sent.
    pub method: Bytes,
    /// Request target exactly as sent.
    pub target: Bytes,
    /// Minor version of HTTP/1.
    pub version: Version,
    /// Header fields in order.
    pub headers: Vec<Header>,
    /// Bytes of the head on the wire, up to and including the empty line.
    pub head_bytes: u64,
    /// Body.
    pub body: Body,
    /// Time of the segment that held the first byte.
    pub first_byte: Nanos,
    /// Time of the segment that held the last byte seen.
    pub last_byte: Nanos,
}

/// Response half: the final (not 1xx, except 101) response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code, 100–999.
    pub status: u16,
    /// Version.
    pub version: Version,
    /// Header fields in order.
    pub headers: Vec<Header>,
    /// Bytes of the head on the wire.
    pub head_bytes: u64,
    /// Body.
    pub body: Body,
    /// Interim 1xx responses that came before it.
    pub interim: u32,
    /// Time of the segment that held the first byte of the first (also interim) response.
    pub first_byte: Nanos,
    /// Time of the segment that held the last byte seen.
    pub last_byte: Nanos,
}

/// Protocol version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// Name as in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// A request and its response. A request without one (connection ended, gap) has `response: None` and `UNPAIRED`.
/// A response whose request was not seen makes no exchange; it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// 0-based index of the request among those seen on the connection.
    pub index: u64,
    /// Stream offset of the request's first byte.
    pub request_offset: u64,
    /// Request.
    pub request: Request,
    /// Response.
    pub response: Option<Response>,
    /// Completeness.
    pub flags: Flags,
}
