//! The chunked transfer coding (RFC 9112 7.1): `size [;extension] CRLF data CRLF`, a chunk of size 0, trailer fields,
//! an empty line. A bare LF ends a line as well.

use bytes::BytesMut;

use crate::Limits;

/// Where in a chunked body the next byte belongs.
#[derive(Debug)]
pub(super) struct Chunked {
    phase: Phase,
    /// Size of the current chunk, as far as it was read; then what remains of its data.
    size: u64,
    /// Bytes of the current line.
    line: usize,
    /// Whether the current trailer line is empty but for a CR.
    line_empty: bool,
    /// Trailer fields so far.
    trailers: BytesMut,
    trailers_too_large: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Hexadecimal digits; none seen yet.
    SizeFirst,
    /// Hexadecimal digits.
    Size,
    /// White space, extensions, end of line.
    Extension,
    Data,
    /// Line end after the data.
    DataEnd,
    Trailer,
}

/// What the bytes at hand are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// So many bytes of framing.
    Framing(usize),
    /// So many bytes of data.
    Data(usize),
    /// The last so many bytes of the body; then these trailer bytes, with their empty line.
    End {
        len: usize,
        trailers: BytesMut,
        too_large: bool,
    },
    /// No chunked body.
    Broken,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::SizeFirst,
            size: 0,
            line: 0,
            line_empty: true,
            trailers: BytesMut::new(),
            trailers_too_large: false,
        }
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.trailers.capacity()
    }

    /// Reads from the begin of `data`, which is not empty; at least one byte, not necessarily all.
    pub(super) fn read(&mut self, data: &[u8], limits: &Limits) -> Part {
        match self.phase {
            Phase::SizeFirst | Phase::Size => self.size_line(data, limits),
            Phase::Extension => self.extension(data, 0, limits),
            Phase::Data => {
                let len = usize::try_from(self.size).unwrap_or(usize::MAX).min(data.len());
                self.advance(len as u64);
                Part::Data(len)
            }
            Phase::DataEnd => self.data_end(data),
            Phase::Trailer => self.trailer(data, limits),
        }
    }

    /// Data bytes of the current chunk that are still to come.
    pub(super) fn rest_of_chunk(&self) -> u64 {
        if self.phase == Phase::Data { self.size } else { 0 }
    }

    /// Passes over `len` data bytes, at most [`Self::rest_of_chunk`].
    pub(super) fn advance(&mut self, len: u64) {
        self.size = self.size.saturating_sub(len);
        if self.size == 0 {
            self.phase = Phase::DataEnd;
            self.line = 0;
        }
    }

    fn size_line(&mut self, data: &[u8], limits: &Limits) -> Part {
        for (at, &byte) in data.iter().enumerate() {
            let Some(digit) = char::from(byte).to_digit(16) else {
                if self.phase == Phase::SizeFirst || !matches!(byte, b';' | b' ' | b'\t' | b'\r' | b'\n') {
                    return Part::Broken;
                }
                self.phase = Phase::Extension;
                return self.extension(data, at, limits);
            };
            let Some(size) = self
                .size
                .checked_mul(16)
                .and_then(|size| size.checked_add(u64::from(digit)))
            else {
                return Part::Broken;
            };
            self.size = size;
            self.phase = Phase::Size;
            self.line += 1;
            // Leading zeros are digits too: an endless row of them is bounded like an extension.
            if self.line > limits.chunk_line_bytes {
                return Part::Broken;
            }
        }
        Part::Framing(data.len())
    }

    fn extension(&mut self, data: &[u8], from: usize, limits: &Limits) -> Part {
        let rest = data.get(from..).unwrap_or_default();
        let end = memchr::memchr(b'\n', rest);
        let len = end.map_or(rest.len(), |at| at + 1);
        self.line += len;
        if self.line > limits.chunk_line_bytes {
            return Part::Broken;
        }
        if end.is_some() {
            self.phase = if self.size == 0 {
                Phase::Trailer
            } else {
                Phase::Data
            };
            self.line = 0;
            self.line_empty = true;
        }
        Part::Framing(from + len)
    }

    fn data_end(&mut self, data: &[u8]) -> Part {
        match (self.line, data) {
            (0, [b'\r', b'\n', ..]) => self.next_chunk(2),
            (_, [b'\n', ..]) => self.next_chunk(1),
            (0, [b'\r']) => {
                self.line = 1;
                Part::Framing(1)
            }
            _ => Part::Broken,
        }
    }

    fn next_chunk(&mut self, len: usize) -> Part {
        self.phase = Phase::SizeFirst;
        self.size = 0;
        self.line = 0;
        Part::Framing(len)
    }

    fn trailer(&mut self, data: &[u8], limits: &Limits) -> Part {
        let end = memchr::memchr(b'\n', data);
        let len = end.map_or(data.len(), |at| at + 1);
        let line = data.get(..end.unwrap_or(data.len())).unwrap_or_default();
        self.line_empty &= matches!((self.line, line), (_, []) | (0, [b'\r']));
        self.line += line.len();
        let last = end.is_some() && self.line_empty;
        if self.trailers.len() + len > limits.head_bytes {
            self.trailers_too_large = true;
        } else if !(last && self.trailers.is_empty()) {
            self.trailers
                .extend_from_slice(data.get(..len).unwrap_or_default());
        }
        if last {
            let trailers = std::mem::take(&mut self.trailers);
            return Part::End {
                len,
                trailers,
                too_large: self.trailers_too_large,
            };
        }
        if end.is_some() {
            self.line = 0;
            self.line_empty = true;
        }
        Part::Framing(len)
    }
}
