//! Frame headers (RFC 9113 4.1, 6): `length (24) type (8) flags (8) reserved (1) stream identifier (31)`.

use crate::Direction;

/// Bytes of a frame's header.
pub(crate) const HEADER_BYTES: usize = 9;
/// Largest payload that every endpoint accepts, and the most of one that nothing else is known of (RFC 9113 4.2).
pub(crate) const PAYLOAD_BYTES_DEFAULT: u32 = 1 << 14;

/// END_STREAM of DATA and HEADERS.
pub(crate) const END_STREAM: u8 = 0x1;
/// ACK of SETTINGS and PING.
pub(crate) const ACK: u8 = 0x1;
/// END_HEADERS of HEADERS, PUSH_PROMISE and CONTINUATION.
pub(crate) const END_HEADERS: u8 = 0x4;
/// PADDED of DATA, HEADERS and PUSH_PROMISE.
pub(crate) const PADDED: u8 = 0x8;
/// PRIORITY of HEADERS.
pub(crate) const PRIORITISED: u8 = 0x20;

/// Type of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// RFC 7838 4.
    AltSvc,
    /// RFC 8336.
    Origin,
    /// RFC 9218 7.1.
    PriorityUpdate,
    /// Any other: a receiver ignores it (RFC 9113 4.1).
    Unknown,
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Bytes of the payload.
    pub(crate) len: u32,
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    /// 0: the connection.
    pub(crate) stream: u32,
    /// The reserved bit, which a sender leaves unset and a receiver ignores.
    pub(crate) reserved: bool,
}

impl FrameHeader {
    pub(crate) fn parse(bytes: [u8; HEADER_BYTES]) -> Self {
        let [high, middle, low, kind, flags, a, b, c, d] = bytes;
        let stream = u32::from_be_bytes([a, b, c, d]);
        Self {
            len: u32::from_be_bytes([0, high, middle, low]),
            kind: match kind {
                0 => Kind::Data,
                1 => Kind::Headers,
                2 => Kind::Priority,
                3 => Kind::RstStream,
                4 => Kind::Settings,
                5 => Kind::PushPromise,
                6 => Kind::Ping,
                7 => Kind::GoAway,
                8 => Kind::WindowUpdate,
                9 => Kind::Continuation,
                0xa => Kind::AltSvc,
                0xc => Kind::Origin,
                0x10 => Kind::PriorityUpdate,
                _ => Kind::Unknown,
            },
            flags,
            stream: stream & !(1 << 31),
            reserved: stream >> 31 == 1,
        }
    }

    /// The header at the begin of `data`, if it is whole.
    pub(crate) fn at(data: &[u8]) -> Option<Self> {
        data.first_chunk::<HEADER_BYTES>()
            .map(|&bytes| Self::parse(bytes))
    }

    pub(crate) const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether no more DATA, and no more header block but this, follow on the stream in this direction.
    pub(crate) const fn ends_stream(self) -> bool {
        matches!(self.kind, Kind::Data | Kind::Headers) && self.has(END_STREAM)
    }

    /// Whether a receiver of frames of `direction` may accept it as far as the header tells: the frame belongs to a
    /// stream or to the connection, its length and its sender are as RFC 9113 6 has them. Undefined flags and the
    /// reserved bit are ignored.
    pub(crate) fn is_valid(self, direction: Direction) -> bool {
        let Self { len, stream, .. } = self;
        let by_server = direction == Direction::Response;
        // Streams of even numbers are the server's (RFC 9113 5.1.1); a client sends nothing on them but resets and
        // windows.
        let may_send = by_server || stream % 2 == 1;
        let pad = u32::from(self.has(PADDED));
        match self.kind {
            Kind::Data => stream != 0 && may_send && len >= pad,
            Kind::Headers => {
                let priority = if self.has(PRIORITISED) { 5 } else { 0 };
                stream != 0 && may_send && len >= pad + priority
            }
            Kind::Priority => stream != 0 && len == 5,
            Kind::RstStream => stream != 0 && len == 4,
            Kind::Settings => stream == 0 && if self.has(ACK) { len == 0 } else { len % 6 == 0 },
            Kind::PushPromise => stream % 2 == 1 && by_server && len >= 4 + pad,
            Kind::Ping => stream == 0 && len == 8,
            Kind::GoAway => stream == 0 && len >= 8,
            Kind::WindowUpdate => len == 4,
            Kind::Continuation => stream != 0,
            Kind::AltSvc | Kind::Origin | Kind::PriorityUpdate | Kind::Unknown => true,
        }
    }

    /// Whether a sender that keeps to the RFC could have sent it: valid, the reserved bit and undefined flags unset,
    /// of a registered type, and not above `len_max`. For bytes of which it is not certain that they are frames.
    pub(crate) fn fits(self, direction: Direction, len_max: u32) -> bool {
        let known = match self.kind {
            Kind::Data => END_STREAM | PADDED,
            Kind::Headers => END_STREAM | END_HEADERS | PADDED | PRIORITISED,
            Kind::PushPromise => END_HEADERS | PADDED,
            Kind::Continuation => END_HEADERS,
            Kind::Settings | Kind::Ping => ACK,
            _ => 0,
        };
        let len = self.len;
        let len_fits = match self.kind {
            // An empty header block says nothing, and an empty frame that does not end anything neither.
            Kind::Headers => len > 0 && len <= len_max,
            Kind::Data => len <= len_max && (len > 0 || self.has(END_STREAM)),
            Kind::Unknown => false,
            _ => len <= PAYLOAD_BYTES_DEFAULT,
        };
        let sender_fits = match self.kind {
            Kind::AltSvc | Kind::Origin => direction == Direction::Response,
            Kind::PriorityUpdate => direction == Direction::Request && self.stream == 0,
            _ => true,
        };
        !self.reserved && self.flags & !known == 0 && len_fits && sender_fits && self.is_valid(direction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(len: u32, kind: u8, flags: u8, stream: u32) -> FrameHeader {
        let [_, high, middle, low] = len.to_be_bytes();
        let [a, b, c, d] = stream.to_be_bytes();
        FrameHeader::parse([high, middle, low, kind, flags, a, b, c, d])
    }

    #[test]
    fn parts() {
        let header = header(0x0001_0203, 0, 9, 0x8000_0005);
        let want = FrameHeader {
            len: 0x0001_0203,
            kind: Kind::Data,
            flags: END_STREAM | PADDED,
            stream: 5,
            reserved: true,
        };
        assert_eq!(header, want);
        assert!(header.ends_stream());
    }

    /// Length, type, flags, stream; whether a client's, and a server's, may be accepted; whether they could have been
    /// sent.
    type Case = (u32, u8, u8, u32, [bool; 2], [bool; 2]);

    #[test]
    fn rules() {
        const YES: [bool; 2] = [true, true];
        const NO: [bool; 2] = [false, false];
        const SERVER: [bool; 2] = [false, true];
        const CLIENT: [bool; 2] = [true, false];
        let cases: &[Case] = &[
            (10, 0, 0, 1, YES, YES),
            (10, 0, 0, 2, SERVER, SERVER),
            (10, 0, 0, 0, NO, NO),
            (0, 0, 1, 1, YES, YES),
            (0, 0, 0, 1, YES, NO),
            (0, 0, 8, 1, NO, NO),
            (1, 0, 8, 1, YES, YES),
            (10, 0, 2, 1, YES, NO),
            (1 << 20, 0, 0, 1, YES, NO),
            (10, 0, 0, 0x8000_0001, YES, NO),
            (10, 1, 0x2d, 1, YES, YES),
            (5, 1, 0x28, 1, NO, NO),
            (6, 1, 0x28, 1, YES, YES),
            (10, 1, 4, 2, SERVER, SERVER),
            (0, 1, 4, 1, YES, NO),
            (5, 2, 0, 3, YES, YES),
            (4, 2, 0, 3, NO, NO),
            (5, 2, 0, 0, NO, NO),
            (4, 3, 0, 3, YES, YES),
            (4, 3, 0, 2, YES, YES),
            (5, 3, 0, 3, NO, NO),
            (4, 3, 0, 0, NO, NO),
            (12, 4, 0, 0, YES, YES),
            (0, 4, 1, 0, YES, YES),
            (6, 4, 1, 0, NO, NO),
            (7, 4, 0, 0, NO, NO),
            (6, 4, 0, 1, NO, NO),
            (20, 5, 4, 1, SERVER, SERVER),
            (20, 5, 4, 2, NO, NO),
            (4, 5, 12, 1, NO, NO),
            (8, 6, 0, 0, YES, YES),
            (8, 6, 1, 0, YES, YES),
            (8, 6, 0, 1, NO, NO),
            (7, 6, 0, 0, NO, NO),
            (8, 7, 0, 0, YES, YES),
            (7, 7, 0, 0, NO, NO),
            (8, 7, 0, 1, NO, NO),
            (4, 8, 0, 0, YES, YES),
            (4, 8, 0, 6, YES, YES),
            (5, 8, 0, 0, NO, NO),
            (10, 9, 4, 1, YES, YES),
            (10, 9, 4, 0, NO, NO),
            (10, 10, 0, 0, YES, SERVER),
            (10, 12, 0, 0, YES, SERVER),
            (10, 16, 0, 0, YES, CLIENT),
            (10, 0xbb, 0xff, 7, YES, NO),
        ];
        for &(len, kind, flags, stream, valid, fits) in cases {
            let header = header(len, kind, flags, stream);
            for (at, direction) in [Direction::Request, Direction::Response].into_iter().enumerate() {
                assert_eq!(header.is_valid(direction), valid[at], "{direction:?} {header:?}");
                let sent = header.fits(direction, PAYLOAD_BYTES_DEFAULT);
                assert_eq!(sent, fits[at], "could {direction:?} be {header:?}");
            }
        }
    }
}
