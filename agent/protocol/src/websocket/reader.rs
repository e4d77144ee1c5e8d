//! One direction of a WebSocket session.

use bytes::BytesMut;

use super::Extensions;
use super::frame::{Frame, HEADER_BYTES_MAX, Opcode, Parsed, parse};
use crate::{Body, Content, Direction, Messages};

/// Counts the messages of one direction. The bytes come in order and in any pieces; a frame of any length takes no memory.
///
/// Missing bytes inside a payload change nothing, because the frame says how many there are. Where a frame's header is among them, or
/// a header is none, nobody knows where the next frame begins: counting stops there for good, and [`Messages::partial`] says so.
#[derive(Debug)]
pub struct Reader {
    sender: Direction,
    extensions: Extensions,
    state: State,
    /// The message whose last frame did not come yet.
    open: Option<Open>,
    messages: Messages,
    violations: u64,
    close: Close,
    wire: u64,
    payload: u64,
    capture: Capture,
}

#[derive(Debug)]
enum State {
    /// In a header, of which so many bytes came.
    Header([u8; HEADER_BYTES_MAX], usize),
    /// In a payload of which so many bytes came.
    Payload(Frame, u64),
    Lost,
}

/// A message in progress.
#[derive(Clone, Copy, Debug)]
struct Open {
    bytes: u64,
    text: bool,
    compressed: bool,
}

/// First bytes of the messages' payloads.
#[derive(Debug)]
struct Capture {
    bytes: BytesMut,
    limit: usize,
    content: Content,
}

const BEGIN: State = State::Header([0; HEADER_BYTES_MAX], 0);

impl Reader {
    /// Reads what `sender` sends behind the handshake. Keeps the first `body_bytes` bytes of the messages: unmasked, one behind the
    /// other, compressed ones as they are.
    #[must_use]
    pub fn new(sender: Direction, extensions: Extensions, body_bytes: usize) -> Self {
        Self {
            sender,
            extensions,
            state: BEGIN,
            open: None,
            messages: Messages::default(),
            violations: 0,
            close: Close::default(),
            wire: 0,
            payload: 0,
            capture: Capture {
                bytes: BytesMut::new(),
                limit: body_bytes,
                content: Content::Plain,
            },
        }
    }

    /// Takes the next bytes.
    pub fn data(&mut self, mut data: &[u8]) {
        self.wire = self.wire.saturating_add(data.len() as u64);
        loop {
            data = match &mut self.state {
                State::Header(..) if data.is_empty() => return,
                State::Header(partial, have) => {
                    let before = *have;
                    // Nothing is copied where the header is in one piece.
                    let (seen, len) = if before == 0 {
                        (data, data.len())
                    } else {
                        let room = partial.get_mut(before..).unwrap_or_default();
                        let len = room.len().min(data.len());
                        for (to, from) in room.iter_mut().zip(data) {
                            *to = *from;
                        }
                        (partial.get(..before + len).unwrap_or_default(), before + len)
                    };
                    match parse(seen, self.extensions) {
                        Parsed::Frame(frame, header) => {
                            self.begin(frame);
                            data.get(header - before..).unwrap_or_default()
                        }
                        Parsed::Bad => {
                            self.violations += 1;
                            self.lose();
                            return;
                        }
                        Parsed::Incomplete => {
                            if before == 0 {
                                for (to, from) in partial.iter_mut().zip(data) {
                                    *to = *from;
                                }
                            }
                            *have = len;
                            return;
                        }
                    }
                }
                State::Payload(frame, seen) => {
                    let (frame, from) = (*frame, *seen);
                    let rest = frame.len - from;
                    let len = usize::try_from(rest).unwrap_or(usize::MAX).min(data.len());
                    *seen += len as u64;
                    let (payload, behind) = data.split_at_checked(len).unwrap_or((data, &[]));
                    self.payload(frame, from, payload);
                    if len as u64 == rest {
                        self.end(frame);
                    } else {
                        return;
                    }
                    behind
                }
                State::Lost => return,
            };
        }
    }

    /// `len` bytes are missing, on purpose or not.
    pub fn missing(&mut self, len: u64) {
        if len == 0 {
            return;
        }
        self.wire = self.wire.saturating_add(len);
        self.capture.limit = 0;
        match &mut self.state {
            State::Payload(frame, seen) if len <= frame.len - *seen => {
                *seen += len;
                let (frame, seen) = (*frame, *seen);
                if !matches!(frame.opcode, Opcode::Control | Opcode::Close) {
                    self.payload = self.payload.saturating_add(len);
                }
                if seen == frame.len {
                    self.end(frame);
                }
            }
            _ => self.lose(),
        }
    }

    /// Bytes to come, next of all, that need not: the rest of a payload.
    #[must_use]
    pub fn rest(&self) -> u64 {
        match &self.state {
            // The status code of a Close frame is wanted.
            State::Payload(frame, seen) if frame.opcode != Opcode::Close && !self.captures() => {
                frame.len - seen
            }
            _ => 0,
        }
    }

    /// Whether it cannot be told any more where a frame begins: what follows changes nothing.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// Status code of the first Close frame (RFC 6455 7.4), if it has one and it was seen.
    #[must_use]
    pub const fn close_code(&self) -> Option<u16> {
        self.close.code
    }

    /// Rules of RFC 6455 that the sender broke: a frame that is none, one masked by a server or not masked by a client (5.1), a
    /// message inside another or the continuation of none (5.4), a length in more bytes than it takes (5.2).
    #[must_use]
    pub const fn violations(&self) -> u64 {
        self.violations
    }

    /// What was counted so far; `partial` does not yet say that a message is incomplete.
    #[must_use]
    pub const fn messages(&self) -> &Messages {
        &self.messages
    }

    /// The direction ended: what was counted.
    pub fn finish(&mut self) -> Messages {
        let between = matches!(self.state, State::Header(_, 0) | State::Lost);
        if !between || self.open.take().is_some() {
            self.lose();
        }
        self.messages
    }

    /// The direction ended: everything behind the handshake. Its `decoded_bytes` are the payloads of messages. Once: what was captured is
    /// moved.
    pub fn take_body(&mut self) -> Body {
        Body {
            messages: self.finish(),
            wire_bytes: self.wire,
            decoded_bytes: self.payload,
            captured: std::mem::take(&mut self.capture.bytes).freeze(),
            content: self.capture.content,
            trailers: Vec::new(),
        }
    }

    fn captures(&self) -> bool {
        self.capture.bytes.len() < self.capture.limit
    }

    /// A frame's header was read.
    fn begin(&mut self, frame: Frame) {
        let masks = self.sender == Direction::Request;
        self.violations += u64::from(frame.mask.is_some() != masks) + u64::from(frame.long);
        match (frame.opcode, &self.open) {
            (Opcode::Text | Opcode::Binary, open) => {
                if open.is_some() {
                    self.violations += 1;
                    self.messages.partial = true;
                }
                self.open = Some(Open {
                    bytes: 0,
                    text: frame.opcode == Opcode::Text,
                    compressed: frame.compressed,
                });
            }
            (Opcode::Continuation, None) => {
                self.violations += 1;
                self.messages.partial = true;
            }
            // Nobody knows whether it is a message.
            (Opcode::Unknown, _) => self.messages.partial = true,
            (Opcode::Continuation | Opcode::Control | Opcode::Close, _) => {}
        }
        if frame.len == 0 {
            self.end(frame);
        } else {
            self.state = State::Payload(frame, 0);
        }
    }

    /// `data` are bytes of a frame's payload, beginning with the one at `from`.
    fn payload(&mut self, frame: Frame, from: u64, data: &[u8]) {
        let unmasked = (from..).zip(data).map(|(at, byte)| {
            let key = frame.mask.and_then(|mask| mask.get((at % 4) as usize).copied());
            byte ^ key.unwrap_or_default()
        });
        match frame.opcode {
            Opcode::Control => {}
            Opcode::Close => self.close.payload(frame.len, from, unmasked),
            Opcode::Continuation | Opcode::Text | Opcode::Binary | Opcode::Unknown => {
                self.payload = self.payload.saturating_add(data.len() as u64);
                let room = self.capture.limit.saturating_sub(self.capture.bytes.len());
                if room > 0 && !data.is_empty() {
                    self.capture.bytes.extend(unmasked.take(room));
                    if self.open.is_some_and(|open| open.compressed) {
                        self.capture.content = Content::Encoded;
                    }
                }
            }
        }
    }

    /// A frame is complete.
    fn end(&mut self, frame: Frame) {
        self.state = BEGIN;
        match frame.opcode {
            Opcode::Control | Opcode::Close => {
                self.messages.control += 1;
                // RFC 6455 5.5.1: a status code of two bytes, or nothing.
                self.violations += u64::from(frame.opcode == Opcode::Close && frame.len == 1);
            }
            Opcode::Unknown => {}
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                let Some(open) = &mut self.open else {
                    return;
                };
                open.bytes = open.bytes.saturating_add(frame.len);
                if frame.last {
                    let Open {
                        bytes,
                        text,
                        compressed,
                    } = *open;
                    let messages = &mut self.messages;
                    messages.count += 1;
                    messages.bytes = messages.bytes.saturating_add(bytes);
                    messages.bytes_max = messages.bytes_max.max(bytes);
                    messages.text += u64::from(text);
                    messages.compressed += u64::from(compressed);
                    self.open = None;
                }
            }
        }
    }

    /// What follows cannot be counted.
    fn lose(&mut self) {
        self.state = State::Lost;
        self.open = None;
        self.messages.partial = true;
    }
}

/// Status code of the first Close frame.
#[derive(Debug, Default)]
struct Close {
    high: Option<u8>,
    code: Option<u16>,
}

impl Close {
    fn payload(&mut self, len: u64, from: u64, unmasked: impl Iterator<Item = u8>) {
        if self.code.is_some() || len < 2 {
            return;
        }
        for (at, byte) in (from..2).zip(unmasked) {
            if at == 0 {
                self.high = Some(byte);
            } else {
                self.code = self.high.map(|high| u16::from_be_bytes([high, byte]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::written::{frame, masked};

    const DEFLATE: Extensions = Extensions {
        deflate: true,
        unknown: false,
    };

    /// A server's reader behind these bytes, which come in pieces of every size with the same result.
    fn server(data: &[u8]) -> Reader {
        let whole = read(Direction::Response, data, data.len());
        for size in 1..data.len().min(40) {
            let pieces = read(Direction::Response, data, size);
            assert_eq!(format!("{pieces:?}"), format!("{whole:?}"), "pieces of {size}");
        }
        whole
    }

    fn read(sender: Direction, data: &[u8], size: usize) -> Reader {
        let mut reader = Reader::new(sender, DEFLATE, 16);
        for piece in data.chunks(size.max(1)) {
            reader.data(piece);
        }
        reader
    }

    #[test]
    fn counts_messages() {
        let data = [
            frame(0x81, b"hello"),
            frame(0x82, &[0; 300]),
            frame(0x89, b"ping"),
            frame(0xc1, b"\xca\x48"),
            frame(0x82, &[1; 70_000]),
            frame(0x81, b""),
        ]
        .concat();
        let mut reader = server(&data);
        let messages = Messages {
            count: 5,
            bytes: 5 + 300 + 2 + 70_000,
            bytes_max: 70_000,
            compressed: 1,
            text: 3,
            control: 1,
            partial: false,
        };
        assert_eq!((reader.finish(), reader.violations()), (messages, 0));
        let body = reader.take_body();
        assert_eq!(body.wire_bytes, data.len() as u64);
        assert_eq!(body.decoded_bytes, messages.bytes);
        assert_eq!(
            (&*body.captured, body.content),
            (b"hello\0\0\0\0\0\0\0\0\0\0\0".as_slice(), Content::Plain)
        );
    }

    #[test]
    fn fragments_with_control_frames_between() {
        let mut reader = server(
            &[
                frame(0x41, b"Hel"),
                frame(0x89, b""),
                frame(0x00, b""),
                frame(0x8a, b"x"),
                frame(0x80, b"lo"),
                frame(0x02, b"a"),
                frame(0x80, b"bc"),
            ]
            .concat(),
        );
        let messages = reader.finish();
        assert_eq!((messages.count, messages.bytes, messages.bytes_max), (2, 8, 5));
        assert_eq!((messages.compressed, messages.text, messages.control), (1, 1, 2));
        assert!(!messages.partial && reader.violations() == 0);
        let body = reader.take_body();
        assert_eq!(
            (&*body.captured, body.content),
            (b"Helloabc".as_slice(), Content::Encoded)
        );
    }

    #[test]
    fn a_client_masks_and_a_server_does_not() {
        let data = [masked(0x81, b"hello"), masked(0x88, b"\x03\xe8bye")].concat();
        for size in 1..data.len() {
            let mut reader = read(Direction::Request, &data, size);
            assert_eq!((reader.finish().count, reader.violations()), (1, 0));
            assert_eq!(reader.close_code(), Some(1000));
            assert_eq!(reader.take_body().captured, "hello");
        }
        assert_eq!(server(&data).violations(), 2);
        assert_eq!(server(&data).close_code(), Some(1000));
        assert_eq!(read(Direction::Request, &frame(0x81, b"a"), 9).violations(), 1);
    }

    #[test]
    fn close_codes() {
        let cases: &[(&[u8], Option<u16>, u64)] = &[
            (b"", None, 0),
            (b"\x03", None, 1),
            (b"\x03\xe9", Some(1001), 0),
            (b"\x0f\xa0reason", Some(4000), 0),
        ];
        for (payload, code, violations) in cases {
            let reader = server(&frame(0x88, payload));
            assert_eq!((reader.close_code(), reader.violations()), (*code, *violations));
            assert_eq!(reader.messages().control, 1);
        }
        // The first one counts.
        let two = [frame(0x88, b"\x03\xe8"), frame(0x88, b"\x03\xe9")].concat();
        assert_eq!(server(&two).close_code(), Some(1000));
    }

    #[test]
    fn broken_rules() {
        // Data, violations, messages, partial, lost.
        let cases: &[(Vec<u8>, u64, u64, bool, bool)] = &[
            ([frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1, 1, true, false),
            ([frame(0x80, b"a"), frame(0x81, b"b")].concat(), 1, 1, true, false),
            (b"\x81\x7e\0\x01a".to_vec(), 1, 1, false, false),
            ([frame(0x83, b"a"), frame(0x81, b"b")].concat(), 1, 0, true, true),
            (
                [frame(0x81, b"a"), frame(0x91, b"b"), frame(0x81, b"c")].concat(),
                1,
                1,
                true,
                true,
            ),
            (frame(0x09, b""), 1, 0, true, true),
        ];
        for (data, violations, count, partial, lost) in cases {
            let mut reader = server(data);
            let messages = reader.finish();
            assert_eq!(
                (reader.violations(), messages.count),
                (*violations, *count),
                "{data:?}"
            );
            assert_eq!(
                (messages.partial, reader.is_lost()),
                (*partial, *lost),
                "{data:?}"
            );
        }
    }

    #[test]
    fn an_incomplete_message_at_the_end_is_partial() {
        let whole = frame(0x81, b"hello");
        for end in 0..whole.len() {
            let mut reader = server(&whole[..end]);
            assert_eq!(
                (reader.finish().count, reader.finish().partial),
                (0, end > 0),
                "{end}"
            );
        }
        assert!(server(&frame(0x01, b"a")).finish().partial);
        assert!(!server(&whole).finish().partial);
    }

    #[test]
    fn missing_bytes_inside_a_payload_cost_nothing() {
        let data = [
            frame(0x82, &[0; 300]),
            frame(0x81, b"hello"),
            frame(0x88, b"\x03\xe8"),
        ]
        .concat();
        let whole = server(&data).finish();
        let mut kept = 0;
        for from in 0..data.len() {
            for to in from + 1..=data.len() {
                let mut reader = read(Direction::Response, &data[..from], 1000);
                reader.missing((to - from) as u64);
                reader.data(&data[to..]);
                let messages = reader.finish();
                let inside = |begin, end| begin <= from && to <= end;
                if inside(4, 304) || inside(306, 311) || inside(313, 315) {
                    assert_eq!(messages, whole, "{from} to {to}");
                    kept += 1;
                } else {
                    assert!(
                        messages.partial && messages.count <= whole.count,
                        "{from} to {to}"
                    );
                }
                let code = reader.close_code();
                assert!(code.is_none() || code == Some(1000));
                let body = reader.take_body();
                assert_eq!(body.wire_bytes, data.len() as u64);
                assert!(body.captured.len() <= from);
            }
        }
        assert!(kept > 300);
    }

    #[test]
    fn a_huge_frame_takes_no_memory_and_can_be_skipped() {
        let mut reader = Reader::new(Direction::Response, DEFLATE, 0);
        let len = 1_u64 << 62;
        reader.data(&[b"\x82\x7f".as_slice(), &len.to_be_bytes(), b"abc"].concat());
        assert_eq!(reader.rest(), len - 3);
        reader.missing(len - 4);
        assert_eq!((reader.rest(), reader.messages().count), (1, 0));
        reader.data(b"d\x81\x01");
        assert_eq!(reader.rest(), 1);
        reader.data(b"x");
        assert_eq!((reader.rest(), reader.finish().bytes_max), (0, len));
        assert!(!reader.finish().partial);
    }

    #[test]
    fn what_is_captured_is_not_skipped() {
        let mut reader = Reader::new(Direction::Response, DEFLATE, 3);
        reader.data(b"\x81\x05he");
        assert_eq!(reader.rest(), 0);
        reader.data(b"l");
        assert_eq!(reader.rest(), 2);
        let mut close = Reader::new(Direction::Response, DEFLATE, 0);
        close.data(b"\x88\x05");
        assert_eq!(close.rest(), 0);
    }
}
