//! Messages of gRPC: one byte of flags, four of length, the message
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>, "Length-Prefixed-Message"). In gRPC-Web the trailers
//! follow as a last frame with the highest flag set (PROTOCOL-WEB.md). Lengths are believed, not reserved.

use bytes::BytesMut;

use crate::{Counters, Headers, Limits, Messages};

/// Compressed, as `grpc-encoding` says.
const COMPRESSED: u8 = 1;
/// Trailers (gRPC-Web).
const TRAILERS: u8 = 0x80;

/// Which flags there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Grpc,
    Web,
}

/// Counts the messages of one body.
#[derive(Debug)]
pub(super) struct Grpc {
    dialect: Dialect,
    /// Flags and length, as far as they were read.
    prefix: [u8; 5],
    prefix_len: usize,
    /// The message that is being read.
    open: Option<Open>,
    messages: Messages,
    /// What the frame of trailers holds.
    trailers: BytesMut,
    trailers_max: usize,
    trailers_too_large: bool,
    /// The next message cannot be found any more.
    lost: bool,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    flags: u8,
    len: u64,
    rest: u64,
}

impl Grpc {
    pub(super) fn new(dialect: Dialect, limits: &Limits) -> Self {
        Self {
            dialect,
            prefix: [0; 5],
            prefix_len: 0,
            open: None,
            messages: Messages::default(),
            trailers: BytesMut::new(),
            trailers_max: limits.head_bytes,
            trailers_too_large: false,
            lost: false,
        }
    }

    pub(super) fn read(&mut self, mut data: &[u8], counters: &mut Counters) {
        while !data.is_empty() && !self.lost {
            let mut open = match self.open {
                Some(open) => open,
                None => {
                    let used = self.read_prefix(data);
                    data = data.get(used..).unwrap_or_default();
                    match self.message() {
                        Begun::No => return,
                        Begun::Message(open) => open,
                        Begun::Broken => {
                            counters.malformed_grpc += 1;
                            self.lose();
                            return;
                        }
                    }
                }
            };
            let here = usize::try_from(open.rest).unwrap_or(usize::MAX).min(data.len());
            let (part, rest) = data.split_at(here);
            data = rest;
            if open.flags & TRAILERS != 0 {
                self.keep_trailers(part, counters);
            }
            open.rest -= here as u64;
            self.go_on(open);
        }
    }

    fn read_prefix(&mut self, data: &[u8]) -> usize {
        let room = self.prefix.get_mut(self.prefix_len..).unwrap_or_default();
        let used = room.len().min(data.len());
        for (to, from) in room.iter_mut().zip(data) {
            *to = *from;
        }
        self.prefix_len += used;
        used
    }

    /// The message whose prefix was read.
    fn message(&mut self) -> Begun {
        if self.prefix_len < self.prefix.len() {
            return Begun::No;
        }
        let [flags, a, b, c, d] = self.prefix;
        let allowed = match self.dialect {
            Dialect::Grpc => COMPRESSED,
            Dialect::Web => COMPRESSED | TRAILERS,
        };
        if flags & !allowed != 0 {
            return Begun::Broken;
        }
        let len = u64::from(u32::from_be_bytes([a, b, c, d]));
        Begun::Message(Open {
            flags,
            len,
            rest: len,
        })
    }

    /// The message goes on, or is complete.
    fn go_on(&mut self, open: Open) {
        if open.rest > 0 {
            self.open = Some(open);
            return;
        }
        self.open = None;
        self.prefix_len = 0;
        if open.flags & TRAILERS == 0 {
            self.messages.count += 1;
            self.messages.bytes = self.messages.bytes.saturating_add(open.len);
            self.messages.bytes_max = self.messages.bytes_max.max(open.len);
            self.messages.compressed += u64::from(open.flags & COMPRESSED != 0);
        }
    }

    fn keep_trailers(&mut self, part: &[u8], counters: &mut Counters) {
        if self.trailers_too_large {
            return;
        }
        if self.trailers.len() + part.len() > self.trailers_max {
            self.trailers_too_large = true;
            self.trailers = BytesMut::new();
            counters.trailers_too_large += 1;
        } else {
            self.trailers.extend_from_slice(part);
        }
    }

    /// `len` bytes are missing. Inside of a message they do no harm, its length is known.
    pub(super) fn missing(&mut self, len: Option<u64>) {
        match (self.open, len) {
            (Some(mut open), Some(len)) if len <= open.rest && open.flags & TRAILERS == 0 => {
                open.rest -= len;
                self.go_on(open);
            }
            _ => self.lose(),
        }
    }

    fn lose(&mut self) {
        self.lost = true;
        self.messages.partial = true;
        self.open = None;
        self.prefix_len = 0;
    }

    /// Bytes that it keeps.
    pub(super) fn kept(&self) -> usize {
        self.trailers.capacity()
    }

    /// Whether nothing more can be counted.
    pub(super) fn over(&self) -> bool {
        self.lost
    }

    /// The messages, and the trailers of gRPC-Web. `cut`: the body did not come to its end.
    pub(super) fn finish(mut self, cut: bool) -> (Messages, Headers) {
        self.messages.partial |= cut || self.open.is_some() || self.prefix_len > 0;
        (self.messages, fields(&self.trailers))
    }
}

enum Begun {
    /// Its prefix is incomplete.
    No,
    Message(Open),
    Broken,
}

/// Fields of a frame of trailers: lines as in HTTP/1, without an empty one at the end.
fn fields(block: &[u8]) -> Headers {
    block
        .split(|&byte| byte == b'\n')
        .filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let (name, value) = line.split_at(colon);
            let value = value.get(1..).unwrap_or_default();
            (!name.is_empty()).then(|| (name.trim_ascii(), value.trim_ascii()))
        })
        .take(Limits::HEADERS_MAX)
        .collect()
}
