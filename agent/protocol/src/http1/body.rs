//! A body in progress: counts it, keeps its first bytes, and knows where it ends.

use bytes::BytesMut;

use super::chunked::{Chunked, Part};
use super::framing::Framing;
use super::head::trailers;
use crate::{Body, Counters, Header, Limits};

/// A body that has begun.
#[derive(Debug)]
pub(super) struct BodyReader {
    end: End,
    wire: u64,
    decoded: u64,
    captured: BytesMut,
    /// Set by the first missing byte: what comes behind a hole is not captured.
    holed: bool,
    trailers: Vec<Header>,
}

#[derive(Debug)]
enum End {
    /// After so many bytes.
    Length(u64),
    Chunked(Box<Chunked>),
    /// With the connection.
    Close,
    /// Where the next message begins.
    Unknown,
}

/// What became of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// So many bytes belong to the body, which goes on.
    More(usize),
    /// So many bytes belong to the body, which is complete.
    Done(usize),
    /// The body's end can no longer be told.
    Broken,
}

/// What missing bytes did to a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// They were inside.
    Inside,
    /// So many of them were its last.
    Last(u64),
    /// Its end may be among them.
    EndLost,
}

impl BodyReader {
    /// `None`: there is no body.
    pub(super) fn new(framing: Framing) -> Option<Self> {
        let end = match framing {
            Framing::None => return None,
            Framing::Length(length) => End::Length(length),
            Framing::Chunked => End::Chunked(Box::new(Chunked::new())),
            Framing::UntilClose => End::Close,
            Framing::Unknown => End::Unknown,
        };
        Some(Self {
            end,
            wire: 0,
            decoded: 0,
            captured: BytesMut::new(),
            holed: false,
            trailers: Vec::new(),
        })
    }

    /// Takes the bytes at the begin of `data`, which is not empty.
    pub(super) fn read(&mut self, data: &[u8], limits: &Limits, counters: &mut Counters) -> Read {
        match &mut self.end {
            End::Length(rest) => {
                let len = usize::try_from(*rest).unwrap_or(usize::MAX).min(data.len());
                *rest -= len as u64;
                let done = *rest == 0;
                self.wire += len as u64;
                self.keep(data, len, limits);
                if done { Read::Done(len) } else { Read::More(len) }
            }
            End::Chunked(chunked) => match chunked.read(data, limits) {
                Part::Framing(len) => {
                    self.wire += len as u64;
                    Read::More(len)
                }
                Part::Data(len) => {
                    self.wire += len as u64;
                    self.keep(data, len, limits);
                    Read::More(len)
                }
                Part::End {
                    len,
                    trailers: raw,
                    too_large,
                } => {
                    self.wire += len as u64;
                    counters.trailers_too_large += u64::from(too_large);
                    if !too_large && !raw.is_empty() {
                        match trailers(&raw, limits) {
                            Some(fields) => self.trailers = fields,
                            None => counters.malformed_chunked += 1,
                        }
                    }
                    Read::Done(len)
                }
                Part::Broken => {
                    counters.malformed_chunked += 1;
                    Read::Broken
                }
            },
            End::Close | End::Unknown => {
                self.wire += data.len() as u64;
                self.keep(data, data.len(), limits);
                Read::More(data.len())
            }
        }
    }

    fn keep(&mut self, data: &[u8], len: usize, limits: &Limits) {
        self.decoded += len as u64;
        let room = limits.body_bytes.saturating_sub(self.captured.len());
        if room > 0 && !self.holed {
            self.captured
                .extend_from_slice(data.get(..len.min(room)).unwrap_or_default());
        }
    }

    /// `len` bytes are missing.
    pub(super) fn miss(&mut self, len: u64) -> Missed {
        self.holed = true;
        let missed = match &mut self.end {
            End::Length(rest) if len < *rest => {
                *rest -= len;
                Missed::Inside
            }
            End::Length(rest) => Missed::Last(std::mem::take(rest)),
            End::Chunked(chunked) if len <= chunked.rest_of_chunk() => {
                chunked.advance(len);
                Missed::Inside
            }
            End::Close => Missed::Inside,
            End::Chunked(_) | End::Unknown => return Missed::EndLost,
        };
        let missing = if let Missed::Last(rest) = missed {
            rest
        } else {
            len
        };
        self.wire += missing;
        self.decoded += missing;
        missed
    }

    /// Where the body ends, as the number of bytes to come; `u64::MAX`: with the connection.
    pub(super) fn rest(&self) -> Option<u64> {
        match self.end {
            End::Length(rest) => Some(rest),
            End::Close => Some(u64::MAX),
            End::Chunked(_) | End::Unknown => None,
        }
    }

    /// Whether the end of the connection completes it.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self.end, End::Close)
    }

    /// Whether no more bytes are to be captured.
    pub(super) fn satisfied(&self, limits: &Limits) -> bool {
        self.holed || self.captured.len() >= limits.body_bytes
    }

    /// Whether bytes that were to be captured were left out for the limit.
    pub(super) fn cut(&self, limits: &Limits) -> bool {
        limits.body_bytes > 0 && self.decoded > self.captured.len() as u64
    }

    /// It lasted `wire` bytes, as was found out.
    pub(super) fn lasts_until(&mut self, wire: u64) {
        self.wire = wire;
    }

    /// Bytes on the wire so far.
    pub(super) fn wire(&self) -> u64 {
        self.wire
    }

    /// The body as far as it was read.
    pub(super) fn finish(self) -> Body {
        Body {
            wire_bytes: self.wire,
            decoded_bytes: self.decoded,
            captured: self.captured.freeze(),
            trailers: self.trailers,
            ..Body::default()
        }
    }
}
