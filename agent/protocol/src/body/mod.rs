//! The content of a message, behind its transfer framing: counted, its first bytes kept, the messages inside of it counted.
//!
//! A [`BodyReader`] is chosen at the head. It is given the content as it comes and gives a [`Body`] at the end. The same
//! content split differently gives the same body. Content that nobody wants is not touched.

mod base64;
mod coded;
mod grpc;
mod inspected;
mod messages;
mod sse;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};

pub use inspected::Inspected;

use crate::content::{Codings, Flow};
use crate::media::Media;
use crate::{Body, Content, Counters, Direction, Header, Limits, Request};
use coded::Coded;

/// Reads the content of one message. Framing (chunks, DATA frames), trailers and bytes on the wire are the caller's matter.
#[derive(Debug)]
pub struct BodyReader {
    /// Bytes of content so far.
    decoded: u64,
    /// Most bytes to capture.
    capture: usize,
    /// Set by the first missing byte: what comes behind a hole is not captured.
    holed: bool,
    /// The content coding, where there is one and what is behind it is wanted.
    coded: Option<Box<Coded>>,
    sink: Sink,
}

/// How a body came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where its framing says.
    Complete,
    /// Before, or nobody knows: the connection ended, the stream was reset, the framing broke.
    Cut,
}

/// What came of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// The body; `wire_bytes` is left to the caller, and so are the trailers of HTTP: `trailers` has those inside the content.
    pub body: Body,
    /// What the content is to an application protocol.
    pub inspected: Inspected,
    /// Bytes that were to be captured were left out for the limit: the exchange is `TRUNCATED`.
    pub cut: bool,
}

/// Where content goes.
#[derive(Debug)]
struct Sink {
    /// Bytes given to it.
    seen: u64,
    /// First bytes of the content.
    kept: BytesMut,
    /// How many are kept at most.
    keep: usize,
    messages: Option<Box<messages::Reader>>,
}

impl BodyReader {
    /// Reader of a request's body.
    #[must_use]
    pub fn request(headers: &[Header], limits: &Limits) -> Self {
        Self::new(Direction::Request, headers, limits)
    }

    /// Reader of the body of the response with these header fields to `request`. `inspected`: what the request's content
    /// was, if it is complete; it saves work.
    #[must_use]
    pub fn response(
        _request: &Request,
        _inspected: Option<&Inspected>,
        headers: &[Header],
        limits: &Limits,
    ) -> Self {
        Self::new(Direction::Response, headers, limits)
    }

    fn new(direction: Direction, headers: &[Header], limits: &Limits) -> Self {
        let media = Media::of(headers);
        let sink = Sink {
            seen: 0,
            kept: BytesMut::new(),
            keep: limits.body_bytes,
            messages: messages::Reader::new(direction, media, limits).map(Box::new),
        };
        let coded = if sink.satisfied() {
            None
        } else {
            Coded::new(Codings::of(headers), limits).map(Box::new)
        };
        Self {
            decoded: 0,
            capture: limits.body_bytes,
            holed: false,
            coded,
            sink,
        }
    }

    /// Takes the next bytes of the content.
    pub fn data(&mut self, data: &[u8], counters: &mut Counters) {
        self.decoded = self.decoded.saturating_add(data.len() as u64);
        match &mut self.coded {
            None => self.sink.take(data, counters),
            Some(_) if self.holed => {}
            Some(coded) => coded.data(data, &mut self.sink, counters),
        }
    }

    /// The next bytes of the content are missing, so many of them; `None`: nobody knows how many, and what comes next may be
    /// anything.
    pub fn missing(&mut self, len: Option<u64>, counters: &mut Counters) {
        if let Some(coded) = &mut self.coded
            && !self.holed
        {
            coded.flush(&mut self.sink, counters);
        }
        self.holed = true;
        self.decoded = self.decoded.saturating_add(len.unwrap_or_default());
        self.sink.keep = self.sink.kept.len();
        if let Some(messages) = &mut self.sink.messages {
            // Behind a coding the length of what is missing means nothing.
            messages.missing(len.filter(|_| self.coded.is_none()));
        }
    }

    /// Whether further bytes change nothing but the length of the content.
    #[must_use]
    pub fn satisfied(&self) -> bool {
        match &self.coded {
            None => self.sink.satisfied(),
            Some(coded) => self.holed || coded.satisfied(),
        }
    }

    /// Bytes of content so far, missing ones included.
    #[must_use]
    pub fn decoded_bytes(&self) -> u64 {
        self.decoded
    }

    /// The body as far as it was read.
    #[must_use]
    pub fn finish(self, end: End, counters: &mut Counters) -> Finished {
        let Self {
            decoded,
            capture,
            holed,
            coded,
            mut sink,
        } = self;
        let behind = coded.and_then(|coded| coded.finish(holed, end, &mut sink, counters));
        let kept_all = sink.seen <= sink.kept.len() as u64;
        let (captured, content, cut) = match behind {
            None => {
                let captured = first(sink.kept, capture);
                let cut = decoded > captured.len() as u64;
                (captured, Content::Plain, cut)
            }
            Some(coded::Behind::Encoded(raw)) => {
                let cut = decoded > raw.len() as u64;
                (raw, Content::Encoded, cut)
            }
            Some(coded::Behind::Decoded) => {
                let cut = holed || !kept_all || sink.kept.len() > capture;
                (first(sink.kept, capture), Content::Decoded, cut)
            }
        };
        let (messages, trailers) = sink
            .messages
            .map_or_else(Default::default, |reader| reader.finish(end == End::Cut));
        Finished {
            body: Body {
                decoded_bytes: decoded,
                content: if captured.is_empty() {
                    Content::Plain
                } else {
                    content
                },
                captured,
                messages,
                trailers,
                ..Body::default()
            },
            inspected: Inspected::default(),
            cut: capture > 0 && cut,
        }
    }
}

impl Sink {
    fn take(&mut self, data: &[u8], counters: &mut Counters) {
        self.seen = self.seen.saturating_add(data.len() as u64);
        let room = self.keep.saturating_sub(self.kept.len());
        if room > 0 {
            self.kept.extend_from_slice(data.get(..room).unwrap_or(data));
        }
        if let Some(messages) = &mut self.messages {
            messages.read(data, counters);
        }
    }

    /// Whether it needs no more of plain content.
    fn satisfied(&self) -> bool {
        self.kept.len() >= self.keep && self.messages_over()
    }

    /// As [`Self::satisfied`], and whether there is more than it keeps is known too, which cannot be told from the length.
    fn flow(&self) -> Flow {
        if self.seen > self.keep as u64 && self.messages_over() {
            Flow::Enough
        } else {
            Flow::More
        }
    }

    fn messages_over(&self) -> bool {
        self.messages.as_ref().is_none_or(|messages| messages.over())
    }
}

/// The first bytes of `kept`, without holding on to the others.
fn first(mut kept: BytesMut, len: usize) -> Bytes {
    if kept.len() <= len {
        return kept.freeze();
    }
    kept.truncate(len);
    Bytes::copy_from_slice(&kept)
}
