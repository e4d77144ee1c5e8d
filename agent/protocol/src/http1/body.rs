//! A body in progress: takes its framing off and knows where it ends. What is in it is read by [`BodyReader`].

use super::chunked::{Chunked, Part};
use super::framing::Framing;
use super::head::trailers;
use crate::body::{BodyReader, End, Finished};
use crate::{Counters, Headers, Limits};

/// A body that has begun.
#[derive(Debug)]
pub(super) struct FramedBody {
    framing: Framed,
    wire: u64,
    content: BodyReader,
    trailers: Headers,
    /// Its end was seen.
    complete: bool,
}

#[derive(Debug)]
enum Framed {
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

impl FramedBody {
    /// `None`: there is no body.
    pub(super) fn new(framing: Framing, content: impl FnOnce() -> BodyReader) -> Option<Self> {
        let framing = match framing {
            Framing::None => return None,
            Framing::Length(length) => Framed::Length(length),
            Framing::Chunked => Framed::Chunked(Box::new(Chunked::new())),
            Framing::UntilClose => Framed::Close,
            Framing::Unknown => Framed::Unknown,
        };
        Some(Self {
            framing,
            wire: 0,
            content: content(),
            trailers: Headers::new(),
            complete: false,
        })
    }

    /// Takes the bytes at the begin of `data`, which is not empty.
    pub(super) fn read(&mut self, data: &[u8], limits: &Limits, counters: &mut Counters) -> Read {
        match &mut self.framing {
            Framed::Length(rest) => {
                let len = usize::try_from(*rest).unwrap_or(usize::MAX).min(data.len());
                *rest -= len as u64;
                let done = *rest == 0;
                self.wire += len as u64;
                self.complete = done;
                self.keep(data, len, counters);
                if done { Read::Done(len) } else { Read::More(len) }
            }
            Framed::Chunked(chunked) => match chunked.read(data, limits) {
                Part::Framing(len) => {
                    self.wire += len as u64;
                    Read::More(len)
                }
                Part::Data(len) => {
                    self.wire += len as u64;
                    self.keep(data, len, counters);
                    Read::More(len)
                }
                Part::End {
                    len,
                    trailers: raw,
                    too_large,
                } => {
                    self.complete = true;
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
            Framed::Close | Framed::Unknown => {
                self.wire += data.len() as u64;
                self.keep(data, data.len(), counters);
                Read::More(data.len())
            }
        }
    }

    fn keep(&mut self, data: &[u8], len: usize, counters: &mut Counters) {
        self.content.data(data.get(..len).unwrap_or_default(), counters);
    }

    /// `len` bytes are missing.
    pub(super) fn miss(&mut self, len: u64, counters: &mut Counters) -> Missed {
        let missed = match &mut self.framing {
            Framed::Length(rest) if len < *rest => {
                *rest -= len;
                Missed::Inside
            }
            Framed::Length(rest) => {
                self.complete = true;
                Missed::Last(std::mem::take(rest))
            }
            Framed::Chunked(chunked) if len <= chunked.rest_of_chunk() => {
                chunked.advance(len);
                Missed::Inside
            }
            Framed::Close => Missed::Inside,
            Framed::Chunked(_) | Framed::Unknown => {
                self.content.missing(None, counters);
                return Missed::EndLost;
            }
        };
        let missing = if let Missed::Last(rest) = missed {
            rest
        } else {
            len
        };
        self.wire += missing;
        self.content.missing(Some(missing), counters);
        missed
    }

    /// Where the body ends, as the number of bytes to come; `u64::MAX`: with the connection.
    pub(super) fn rest(&self) -> Option<u64> {
        match self.framing {
            Framed::Length(rest) => Some(rest),
            Framed::Close => Some(u64::MAX),
            Framed::Chunked(_) | Framed::Unknown => None,
        }
    }

    /// Whether the end of the connection completes it.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self.framing, Framed::Close)
    }

    /// Whether further bytes change nothing but lengths.
    pub(super) fn satisfied(&self) -> bool {
        self.content.satisfied()
    }

    /// It lasted `wire` bytes, as was found out.
    pub(super) fn lasts_until(&mut self, wire: u64) {
        self.wire = wire;
    }

    /// Bytes of memory behind it, about.
    pub(super) fn memory_bytes(&self) -> usize {
        let framing = match &self.framing {
            Framed::Chunked(chunked) => chunked.memory_bytes(),
            Framed::Length(_) | Framed::Close | Framed::Unknown => 0,
        };
        framing + self.content.memory_bytes() + self.trailers.memory_bytes()
    }

    /// Bytes on the wire so far.
    pub(super) fn wire(&self) -> u64 {
        self.wire
    }

    /// The body as far as it was read.
    pub(super) fn finish(self, counters: &mut Counters) -> Finished {
        let end = if self.complete || self.ends_with_connection() {
            End::Complete
        } else {
            End::Cut
        };
        let mut finished = self.content.finish(end, counters);
        finished.body.wire_bytes = self.wire;
        // Trailers inside the content (gRPC-Web) come before those around it.
        finished.body.trailers.extend(&self.trailers);
        finished
    }
}
