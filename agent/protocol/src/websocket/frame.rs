//! A frame's header (RFC 6455 5.2).

use super::Extensions;

/// Longest header: two bytes, a length of eight, a key of four.
pub(super) const HEADER_BYTES_MAX: usize = 14;
/// Longest payload of a control frame (RFC 6455 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// What a frame is (RFC 6455 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    /// Ping or pong.
    Control,
    /// Of an extension.
    Unknown,
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) opcode: Opcode,
    /// The last of its message.
    pub(super) last: bool,
    pub(super) compressed: bool,
    pub(super) mask: Option<[u8; 4]>,
    /// Bytes of its payload.
    pub(super) len: u64,
    /// Whether its length takes more bytes than it has to.
    pub(super) long: bool,
}

/// What the first bytes of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Incomplete,
    /// No frame that was negotiated: nobody knows where the next one begins.
    Bad,
    /// A header of so many bytes.
    Frame(Frame, usize),
}

pub(super) fn parse(data: &[u8], extensions: Extensions) -> Parsed {
    let (&[first, second], rest) = match data.split_first_chunk::<2>() {
        Some(parts) => parts,
        None => return Parsed::Incomplete,
    };
    let (short, rest) = match (second & 0x7f, rest) {
        (126, rest) => match rest.split_first_chunk::<2>() {
            Some((len, rest)) => ((u64::from(u16::from_be_bytes(*len)), 126), rest),
            None => return Parsed::Incomplete,
        },
        (127, rest) => match rest.split_first_chunk::<8>() {
            Some((len, rest)) => ((u64::from_be_bytes(*len), 0x1_0000), rest),
            None => return Parsed::Incomplete,
        },
        (len, rest) => ((u64::from(len), 0), rest),
    };
    let (len, least) = short;
    let (mask, rest) = match (second & 0x80 != 0, rest.split_first_chunk::<4>()) {
        (false, _) => (None, rest),
        (true, Some((mask, rest))) => (Some(*mask), rest),
        (true, None) => return Parsed::Incomplete,
    };
    let Some(opcode) = opcode(first & 0xf, extensions) else {
        return Parsed::Bad;
    };
    let last = first & 0x80 != 0;
    let control = matches!(opcode, Opcode::Control | Opcode::Close);
    // RSV1 belongs to a message's first frame (RFC 7692 6); the other two bits to extensions nobody registered.
    let starts = matches!(opcode, Opcode::Text | Opcode::Binary);
    let reserved = first & 0x30 != 0 || first & 0x40 != 0 && !(extensions.deflate && starts);
    if len > i64::MAX as u64
        || control && (!last || len > CONTROL_BYTES_MAX)
        || reserved && !extensions.unknown
    {
        return Parsed::Bad;
    }
    let frame = Frame {
        opcode,
        last,
        compressed: starts && first & 0x40 != 0,
        mask,
        len,
        long: len < least,
    };
    Parsed::Frame(frame, data.len() - rest.len())
}

fn opcode(bits: u8, extensions: Extensions) -> Option<Opcode> {
    match bits {
        0 => Some(Opcode::Continuation),
        1 => Some(Opcode::Text),
        2 => Some(Opcode::Binary),
        8 => Some(Opcode::Close),
        9 | 10 => Some(Opcode::Control),
        _ if extensions.unknown => Some(Opcode::Unknown),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Extensions = Extensions {
        deflate: false,
        unknown: false,
    };
    const DEFLATE: Extensions = Extensions {
        deflate: true,
        unknown: false,
    };

    #[test]
    fn headers() {
        let plain = |opcode, last, len| Frame {
            opcode,
            last,
            compressed: false,
            mask: None,
            len,
            long: false,
        };
        let text = plain(Opcode::Text, true, 5);
        let cases: Vec<(&[u8], Extensions, Parsed)> = vec![
            (b"\x81\x05", NONE, Parsed::Frame(text, 2)),
            (b"\x81", NONE, Parsed::Incomplete),
            (b"", NONE, Parsed::Incomplete),
            (b"\x81\x85\x01\x02\x03", NONE, Parsed::Incomplete),
            (
                b"\x81\x85\x01\x02\x03\x04rest",
                NONE,
                Parsed::Frame(
                    Frame {
                        mask: Some([1, 2, 3, 4]),
                        ..text
                    },
                    6,
                ),
            ),
            (b"\x82\x7e\x01", NONE, Parsed::Incomplete),
            (
                b"\x82\x7e\x01\x00",
                NONE,
                Parsed::Frame(plain(Opcode::Binary, true, 256), 4),
            ),
            (
                b"\x82\x7e\x00\x7d",
                NONE,
                Parsed::Frame(
                    Frame {
                        long: true,
                        ..plain(Opcode::Binary, true, 125)
                    },
                    4,
                ),
            ),
            (
                b"\x82\x7e\x00\x7e",
                NONE,
                Parsed::Frame(plain(Opcode::Binary, true, 126), 4),
            ),
            (b"\x02\x7f\0\0\0\0\0\x01\0", NONE, Parsed::Incomplete),
            (
                b"\x02\x7f\0\0\0\0\0\x01\0\0",
                NONE,
                Parsed::Frame(plain(Opcode::Binary, false, 65536), 10),
            ),
            (
                b"\x02\x7f\0\0\0\0\0\0\xff\xff",
                NONE,
                Parsed::Frame(
                    Frame {
                        long: true,
                        ..plain(Opcode::Binary, false, 65535)
                    },
                    10,
                ),
            ),
            (
                b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff",
                NONE,
                Parsed::Frame(plain(Opcode::Binary, true, i64::MAX as u64), 10),
            ),
            (b"\x82\x7f\x80\0\0\0\0\0\0\0", NONE, Parsed::Bad),
            (
                b"\x00\x00",
                NONE,
                Parsed::Frame(plain(Opcode::Continuation, false, 0), 2),
            ),
            (b"\x88\x02", NONE, Parsed::Frame(plain(Opcode::Close, true, 2), 2)),
            (
                b"\x89\x00",
                NONE,
                Parsed::Frame(plain(Opcode::Control, true, 0), 2),
            ),
            (
                b"\x8a\x7d",
                NONE,
                Parsed::Frame(plain(Opcode::Control, true, 125), 2),
            ),
            (b"\x8a\x7e\x00\x7e", NONE, Parsed::Bad),
            (b"\x09\x00", NONE, Parsed::Bad),
            (b"\x83\x00", NONE, Parsed::Bad),
            (b"\x8b\x00", DEFLATE, Parsed::Bad),
            (
                b"\x83\x00",
                Extensions::UNKNOWN,
                Parsed::Frame(plain(Opcode::Unknown, true, 0), 2),
            ),
            (b"\xc1\x05", NONE, Parsed::Bad),
            (
                b"\xc1\x05",
                DEFLATE,
                Parsed::Frame(
                    Frame {
                        compressed: true,
                        ..text
                    },
                    2,
                ),
            ),
            (b"\xa1\x05", DEFLATE, Parsed::Bad),
            (b"\xa1\x05", Extensions::UNKNOWN, Parsed::Frame(text, 2)),
            (b"\xc0\x05", DEFLATE, Parsed::Bad),
            (b"\xc9\x05", DEFLATE, Parsed::Bad),
        ];
        for (data, extensions, want) in cases {
            assert_eq!(parse(data, extensions), want, "{}", data.escape_ascii());
        }
    }
}
