//! Whether bytes look like HTTP/2 frames (RFC 9113 4.1, 6), and which side sends such frames.

use crate::{Direction, Start, StartLine, looks_like};

/// Bytes of a frame's header.
pub(crate) const HEADER_BYTES: usize = 9;
/// Longest payload believed of a frame about which nothing else is known. Without a setting that allows more, none is longer than
/// 16 KiB (RFC 9113 4.2); implementations that allow more stay below this.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Frame headers in a row that fit before they are believed.
pub(crate) const FRAMES_MIN: u32 = 2;
/// Most settings of a server's first frame. A dozen are registered.
const SETTINGS_MAX: usize = 32;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITISED: u8 = 0x20;

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) len: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Header {
    pub(crate) fn parse(bytes: [u8; HEADER_BYTES]) -> Self {
        let [high, middle, low, kind, flags, a, b, c, d] = bytes;
        Self {
            len: u32::from_be_bytes([0, high, middle, low]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([a, b, c, d]),
        }
    }

    fn at(data: &[u8], at: usize) -> Option<Self> {
        data.get(at..)?
            .first_chunk::<HEADER_BYTES>()
            .map(|&bytes| Self::parse(bytes))
    }

    /// Whether a sender that keeps to RFC 9113 6 could have sent it. The reserved bit is unset, undefined flags are too, and only
    /// the registered types of that section count, although a receiver must ignore others.
    pub(crate) fn fits(self) -> bool {
        let Self {
            len,
            kind,
            flags,
            stream,
        } = self;
        let flags_within = |known: u8| flags & !known == 0;
        let on_stream = stream != 0;
        stream < 1 << 31
            && len <= PAYLOAD_BYTES_MAX
            && match kind {
                DATA => on_stream && flags_within(END_STREAM | PADDED),
                HEADERS => {
                    on_stream && len > 0 && flags_within(END_STREAM | END_HEADERS | PADDED | PRIORITISED)
                }
                PRIORITY => on_stream && len == 5 && flags == 0,
                RST_STREAM => on_stream && len == 4 && flags == 0,
                SETTINGS => !on_stream && (flags == 0 && len.is_multiple_of(6) || flags == ACK && len == 0),
                PUSH_PROMISE => on_stream && len > 4 && flags_within(END_HEADERS | PADDED),
                PING => !on_stream && len == 8 && flags_within(ACK),
                GOAWAY => !on_stream && len >= 8 && flags == 0,
                WINDOW_UPDATE => len == 4 && flags == 0,
                CONTINUATION => on_stream && flags_within(END_HEADERS),
                _ => false,
            }
    }
}

/// Whether `data` begins with at least two HTTP/2 frame headers in a row, each behind the payload of the one before, that a sender
/// could have sent, and holds none that it could not. The last frame may be cut off.
#[must_use]
pub fn frames_look_plausible(data: &[u8]) -> bool {
    let mut at = 0_usize;
    let mut frames = 0;
    while let Some(header) = Header::at(data, at) {
        if !header.fits() {
            return false;
        }
        frames += 1;
        at = at.saturating_add(HEADER_BYTES + header.len);
    }
    frames >= FRAMES_MIN
}

/// Whether a server's stream begins with the SETTINGS frame that an HTTP/2 server has to send first (RFC 9113 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerPreface {
    No,
    Incomplete,
    Yes,
}

pub(crate) fn server_preface(data: &[u8]) -> ServerPreface {
    // The payload is small, so the first two bytes of its length are 0 and 0, and type, flags and stream follow the third.
    const PATTERN: [Option<u8>; HEADER_BYTES] = [
        Some(0),
        Some(0),
        None,
        Some(SETTINGS),
        Some(0),
        Some(0),
        Some(0),
        Some(0),
        Some(0),
    ];
    let fits = PATTERN
        .iter()
        .zip(data)
        .all(|(want, byte)| want.is_none_or(|want| want == *byte));
    if !fits {
        return ServerPreface::No;
    }
    match Header::at(data, 0) {
        None => ServerPreface::Incomplete,
        Some(header) if header.fits() && header.len <= SETTINGS_MAX * 6 => ServerPreface::Yes,
        Some(_) => ServerPreface::No,
    }
}

/// Which side sent `data`, as far as its first bytes tell. `Fresh`: they are the first of their stream; `Late`: of a segment
/// somewhere in it.
///
/// HTTP/1 tells by its start line, HTTP/2 by the client's preface, by the server's SETTINGS that begin its stream, by a promise, or by the
/// first field of a header block where it is a pseudo-header field in the static table (RFC 7541 Appendix A).
#[must_use]
pub fn sender(data: &[u8], start: Start) -> Option<Direction> {
    match looks_like(data) {
        StartLine::Request | StartLine::Http2Preface | StartLine::ProxyHeader => {
            return Some(Direction::Request);
        }
        StartLine::Response => return Some(Direction::Response),
        StartLine::TooShort => return None,
        StartLine::Neither => {}
    }
    if start == Start::Fresh {
        return (server_preface(data) == ServerPreface::Yes).then_some(Direction::Response);
    }
    let single = Header::at(data, 0).is_some_and(|header| {
        header.fits() && header.kind == HEADERS && header.len + HEADER_BYTES == data.len()
    });
    if !single && !frames_look_plausible(data) {
        return None;
    }
    let mut at = 0_usize;
    while let Some(header) = Header::at(data, at) {
        let payload = data.get(at + HEADER_BYTES..).unwrap_or_default();
        match header.kind {
            PUSH_PROMISE => return Some(Direction::Response),
            HEADERS => {
                if let Some(told) = first_field(header, payload) {
                    return Some(told);
                }
            }
            _ => {}
        }
        at = at.saturating_add(HEADER_BYTES + header.len);
    }
    None
}

/// Who sends a header block that begins with this field.
fn first_field(header: Header, payload: &[u8]) -> Option<Direction> {
    let padding = usize::from(header.flags & PADDED != 0);
    let priority = if header.flags & PRIORITISED != 0 { 5 } else { 0 };
    let block = payload.get(padding + priority..)?;
    // Dynamic table size updates may come first (RFC 7541 4.2); an update of one byte is enough to look past.
    let field = block.iter().find(|&&byte| byte & 0xe0 != 0x20)?;
    match field {
        // Indexed :authority, :method, :path, :scheme; the same as literals with an indexed name.
        0x81..=0x87 | 0x41..=0x47 | 0x01..=0x07 | 0x11..=0x17 => Some(Direction::Request),
        // :status.
        0x88..=0x8e | 0x48..=0x4e | 0x08..=0x0e | 0x18..=0x1e => Some(Direction::Response),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize, kind: u8, flags: u8, stream: u32) -> Vec<u8> {
        let mut frame = (len as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.resize(HEADER_BYTES + len, 0);
        frame
    }

    #[test]
    fn frames_a_sender_could_have_sent() {
        let cases: &[(usize, u8, u8, u32, bool)] = &[
            (0, DATA, 1, 1, true),
            (10, DATA, 9, 1, true),
            (10, DATA, 0, 0, false),
            (10, DATA, 2, 1, false),
            (PAYLOAD_BYTES_MAX, DATA, 0, 1, true),
            (PAYLOAD_BYTES_MAX + 1, DATA, 0, 1, false),
            (10, DATA, 0, 1 << 31, false),
            (10, HEADERS, 0x2d, 1, true),
            (10, HEADERS, 0x10, 1, false),
            (0, HEADERS, 4, 1, false),
            (5, PRIORITY, 0, 3, true),
            (4, PRIORITY, 0, 3, false),
            (4, RST_STREAM, 0, 3, true),
            (4, RST_STREAM, 0, 0, false),
            (12, SETTINGS, 0, 0, true),
            (0, SETTINGS, 1, 0, true),
            (6, SETTINGS, 1, 0, false),
            (7, SETTINGS, 0, 0, false),
            (6, SETTINGS, 0, 1, false),
            (20, PUSH_PROMISE, 4, 1, true),
            (8, PING, 1, 0, true),
            (7, PING, 0, 0, false),
            (8, GOAWAY, 0, 0, true),
            (4, WINDOW_UPDATE, 0, 0, true),
            (4, WINDOW_UPDATE, 0, 7, true),
            (10, CONTINUATION, 4, 1, true),
            (10, 10, 0, 1, false),
        ];
        for &(len, kind, flags, stream, want) in cases {
            let header = Header::at(&frame(len, kind, flags, stream), 0).unwrap();
            assert_eq!(header.fits(), want, "{header:?}");
        }
    }

    #[test]
    fn plausible() {
        let window = frame(4, WINDOW_UPDATE, 0, 0);
        let headers = frame(20, HEADERS, 4, 5);
        let two = [window.as_slice(), &headers].concat();
        let cases: Vec<(Vec<u8>, bool)> = vec![
            (two.clone(), true),
            (two[..window.len() + HEADER_BYTES].to_vec(), true),
            (two[..window.len() + HEADER_BYTES - 1].to_vec(), false),
            (window.clone(), false),
            ([two.as_slice(), b"GET / HTTP/1.1\r\n"].concat(), false),
            (vec![0; 200], false),
            (vec![0xff; 200], false),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(), false),
            // A TLS record, a MySQL greeting, a Redis command, a BSON document, a WebSocket frame.
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), false),
            (
                b"\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00abcdefgh\x00".to_vec(),
                false,
            ),
            (b"*1\r\n$4\r\nPING\r\n".to_vec(), false),
            (
                b"\x1e\x00\x00\x00\x02a\x00\x05\x00\x00\x00abcd\x00\x00".to_vec(),
                false,
            ),
            (b"\x81\x05hello\x81\x05hello\x81\x05hello".to_vec(), false),
        ];
        for (data, want) in cases {
            assert_eq!(frames_look_plausible(&data), want, "{}", data.escape_ascii());
        }
    }

    #[test]
    fn who_sends() {
        let preface = frame(18, SETTINGS, 0, 0);
        let block = |flags: u8, block: &[u8]| {
            let mut bytes = frame(block.len(), HEADERS, flags, 1);
            bytes[HEADER_BYTES..].copy_from_slice(block);
            bytes
        };
        let client = Some(Direction::Request);
        let server = Some(Direction::Response);
        let cases: Vec<(Vec<u8>, Start, Option<Direction>)> = vec![
            (b"GET / HTTP/1.1\r\n".to_vec(), Start::Late, client),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Start::Fresh, client),
            (b"HTTP/1.1 200 OK\r\n".to_vec(), Start::Fresh, server),
            (preface.clone(), Start::Fresh, server),
            (preface.clone(), Start::Late, None),
            // An acknowledgement is not what a server says first.
            (frame(0, SETTINGS, 1, 0), Start::Fresh, None),
            (frame(6 * (SETTINGS_MAX + 1), SETTINGS, 0, 0), Start::Fresh, None),
            (block(4, &[0x82, 0x86]), Start::Late, client),
            (block(4, &[0x20, 0x83, 0x86]), Start::Late, client),
            (block(0x2c, &[0, 0, 0, 0, 0, 0, 0x88, 0x86]), Start::Late, server),
            (block(5, &[0x88]), Start::Late, server),
            (block(5, &[0x48, 0x82, 0x64, 0x02]), Start::Late, server),
            (block(5, &[0xbe]), Start::Late, None),
            (
                [frame(4, WINDOW_UPDATE, 0, 0), block(5, &[0xbe])].concat(),
                Start::Late,
                None,
            ),
            (
                [frame(4, WINDOW_UPDATE, 0, 0), frame(9, PUSH_PROMISE, 4, 1)].concat(),
                Start::Late,
                server,
            ),
            (vec![0; 64], Start::Late, None),
            (b"\x16\x03\x01\x02\x00\x01".to_vec(), Start::Fresh, None),
            (Vec::new(), Start::Fresh, None),
        ];
        for (data, start, want) in cases {
            assert_eq!(sender(&data, start), want, "{} {start:?}", data.escape_ascii());
        }
    }
}
