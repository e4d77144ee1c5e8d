//! What the first bytes of a segment tell about who sent them.

use crate::http2::frame::{FrameHeader, HEADER_BYTES, Kind, PADDED, PRIORITISED};
use crate::{Direction, Start, StartLine, looks_like};

/// Frame headers in a row that have to fit where nothing else says that they are any.
const FRAMES_MIN: u32 = 2;
/// Longest payload believed of such a frame: more than any implementation is known to send by default.
const PAYLOAD_BYTES_MAX: u32 = 1 << 20;
/// Most settings of a server's first frame. A dozen are registered.
const SETTINGS_MAX: u32 = 32;

/// Whether a server's stream begins with the SETTINGS frame that an HTTP/2 server has to send first (RFC 9113 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerPreface {
    No,
    Incomplete,
    Yes,
}

pub(super) fn server_preface(data: &[u8]) -> ServerPreface {
    // Its length is small, and it is neither an acknowledgement nor of a stream.
    const PATTERN: [Option<u8>; HEADER_BYTES] = [
        Some(0),
        Some(0),
        None,
        Some(4),
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
    match FrameHeader::at(data) {
        None => ServerPreface::Incomplete,
        Some(header) if header.len % 6 == 0 && header.len <= SETTINGS_MAX * 6 => ServerPreface::Yes,
        Some(_) => ServerPreface::No,
    }
}

/// Which side sent `data`, as far as it tells. `Fresh`: these are the first bytes of their stream; `Late`: of a segment somewhere
/// in it.
///
/// HTTP/1 tells by its start line. HTTP/2 tells by the client's preface and by the SETTINGS that a server's stream begins with; behind
/// these by the first field of a header block, where it is a pseudo-header field in the static table (RFC 7541 Appendix A), and
/// by frames that only one side may send (RFC 9113 5.1.1, 8.4).
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
    let (mut by_client, mut by_server) = (true, true);
    let (mut frames, mut first_header) = (0, None);
    let mut rest = data;
    while let Some(header) = FrameHeader::at(rest) {
        by_client &= header.fits(Direction::Request, PAYLOAD_BYTES_MAX);
        by_server &= header.fits(Direction::Response, PAYLOAD_BYTES_MAX);
        let payload = rest.get(HEADER_BYTES..).unwrap_or_default();
        if header.kind == Kind::Headers && first_header.is_none() {
            first_header = first_field(header, payload);
        }
        frames += 1;
        let len = usize::try_from(header.len).unwrap_or(usize::MAX);
        if frames < FRAMES_MIN && payload.len() == len && header.kind == Kind::Headers {
            // A whole segment that is one header block is enough.
            frames = FRAMES_MIN;
        }
        rest = payload.get(len..).unwrap_or_default();
    }
    if frames < FRAMES_MIN {
        return None;
    }
    match (by_client, by_server) {
        (true, true) => first_header,
        (true, false) => Some(Direction::Request),
        (false, true) => Some(Direction::Response),
        (false, false) => None,
    }
}

/// Who sends a header block that begins with this field.
fn first_field(header: FrameHeader, payload: &[u8]) -> Option<Direction> {
    let padding = usize::from(header.has(PADDED));
    let priority = if header.has(PRIORITISED) { 5 } else { 0 };
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

    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const PUSH_PROMISE: u8 = 5;
    const WINDOW_UPDATE: u8 = 8;

    fn frame(len: usize, kind: u8, flags: u8, stream: u32) -> Vec<u8> {
        let mut frame = (len as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.resize(HEADER_BYTES + len, 0);
        frame
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
            (
                frame(6 * (SETTINGS_MAX as usize + 1), SETTINGS, 0, 0),
                Start::Fresh,
                None,
            ),
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
            (
                [frame(4, WINDOW_UPDATE, 0, 0), frame(9, 0, 0, 2)].concat(),
                Start::Late,
                server,
            ),
            (
                [frame(4, WINDOW_UPDATE, 0, 0), frame(9, 0, 0, 1)].concat(),
                Start::Late,
                None,
            ),
            (
                [frame(4, WINDOW_UPDATE, 0, 0), frame(9, 0, 2, 1)].concat(),
                Start::Late,
                None,
            ),
            (vec![0; 64], Start::Late, None),
            (vec![0xff; 64], Start::Late, None),
            // A TLS record, a MySQL greeting, a Redis command, a BSON document, WebSocket frames.
            (
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
                Start::Late,
                None,
            ),
            (
                b"\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00abcdefgh\x00".to_vec(),
                Start::Late,
                None,
            ),
            (b"*1\r\n$4\r\nPING\r\n".to_vec(), Start::Late, None),
            (
                b"\x1e\x00\x00\x00\x02a\x00\x05\x00\x00\x00abcd\x00\x00".to_vec(),
                Start::Late,
                None,
            ),
            (
                b"\x81\x05hello\x81\x05hello\x81\x05hello".to_vec(),
                Start::Late,
                None,
            ),
            (b"\x16\x03\x01\x02\x00\x01".to_vec(), Start::Fresh, None),
            (Vec::new(), Start::Fresh, None),
        ];
        for (data, start, want) in cases {
            assert_eq!(sender(&data, start), want, "{} {start:?}", data.escape_ascii());
        }
    }
}
