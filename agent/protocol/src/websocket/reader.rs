//! One direction of a WebSocket session.

#[cfg(test)]
mod tests;

use bytes::BytesMut;

use super::Extensions;
use super::frame::{Frame, HEADER_BYTES_MAX, Opcode, Parsed, parse};
use crate::{Body, Content, Direction, Headers, Messages};

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
            trailers: Headers::new(),
        }
    }

    /// Bytes that it keeps. A message is not inflated: one that is compressed costs what came of it.
    pub(crate) fn kept(&self) -> usize {
        self.capture.bytes.capacity()
    }

    /// Keeps no more than it has.
    pub(crate) fn give_up(&mut self) {
        self.capture.limit = self.capture.bytes.len();
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
