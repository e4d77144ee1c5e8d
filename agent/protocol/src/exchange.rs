//! One API call as it went over the wire: a request, what answered it, when, and how complete the record is.

use bytes::Bytes;

use crate::{Application, Headers, Messages};

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

/// A message body: how large it was and, up to the caller's limit, what it held. For WebSocket: everything after the handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Bytes on the wire, framing (chunks, DATA frames with their headers and padding) and HTTP/1 trailers included.
    pub wire_bytes: u64,
    /// Bytes after removing the transfer framing, before any content coding.
    pub decoded_bytes: u64,
    /// First bytes of the content, at most `Limits::body_bytes`: the content coding is removed where `content` says so.
    pub captured: Bytes,
    /// What `captured` is.
    pub content: Content,
    /// Messages inside of it, where the application protocol has any.
    pub messages: Messages,
    /// Trailer fields (chunked coding, HTTP/2, gRPC-Web).
    pub trailers: Headers,
}

/// What [`Body::captured`] holds (RFC 9110 8.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// The bytes as they came: there was no content coding, or nothing was captured.
    #[default]
    Plain,
    /// The bytes behind the content coding.
    Decoded,
    /// The bytes as they came, because their coding is unknown, broken, or grew beyond the limits of decoding.
    Encoded,
}

/// Request half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Method token exactly as sent. Empty: not known (HTTP/2 joined late).
    pub method: Bytes,
    /// Request target (`:path` in HTTP/2) exactly as sent. Empty: not known (HTTP/2 joined late), or there is none (CONNECT).
    pub target: Bytes,
    /// `:authority` of HTTP/2; `None` in HTTP/1, where the target or `Host` says it.
    pub authority: Option<Bytes>,
    /// Version.
    pub version: Version,
    /// Header fields in order, without pseudo-header fields.
    pub headers: Headers,
    /// Header fields that refer to an HPACK table entry from before the connection was joined: their name, or their value too, is
    /// not known and they are not in `headers`. Pseudo-header fields are counted too.
    pub headers_unknown: u32,
    /// Bytes of the head on the wire: up to and including the empty line; in HTTP/2 the frames of the header block.
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
    /// Status code, 100–999; 0: not known (HTTP/2 joined late).
    pub status: u16,
    /// Version.
    pub version: Version,
    /// Header fields in order, without pseudo-header fields.
    pub headers: Headers,
    /// As [`Request::headers_unknown`].
    pub headers_unknown: u32,
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
    /// HTTP/2.
    Http2,
    /// HTTP/3. It runs over UDP, so that only archives tell of it.
    Http3,
}

impl Version {
    /// Name as in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Http3 => "HTTP/3",
        }
    }
}

/// A request and its response. A request without one (connection ended, gap) has `response: None` and `UNPAIRED`.
/// A response whose request was not seen makes no exchange; it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// 0-based index of the request among those seen on the connection; those that an HTTP/2 server pushed are counted by themselves,
    /// from 2^32.
    pub index: u64,
    /// HTTP/2 stream identifier.
    pub stream: Option<u32>,
    /// Stream offset of the request's first byte.
    pub request_offset: u64,
    /// Request.
    pub request: Request,
    /// Response.
    pub response: Option<Response>,
    /// What speaks on top of HTTP.
    pub application: Application,
    /// Completeness.
    pub flags: Flags,
}
