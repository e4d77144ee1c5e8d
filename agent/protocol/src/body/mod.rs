//! The content of a message, behind its transfer framing: counted, its first bytes kept, the messages inside of it counted.
//!
//! A [`BodyReader`] is chosen at the head. It is given the content as it comes and gives a [`Body`] at the end. The same
//! content split differently gives the same body. Content that nobody wants is not touched.

mod base64;
mod coded;
mod grpc;
mod inspect;
mod inspected;
mod messages;
mod sse;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};

pub(crate) use inspected::Found;
pub use inspected::Inspected;

use crate::content::{Codings, Flow};
use crate::media::Media;
use crate::{Body, Content, Counters, Direction, Headers, Limits, Request};
use coded::{Behind, Coded};
use inspect::{FirstByte, Inspect};

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
    plain: Plain,
    media: Media,
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

/// What content is that is not decoded here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plain {
    /// As it came, without coding; or nobody wants it.
    Uncoded,
    /// The source took the coding off before.
    Decoded,
    /// Its coding is not known.
    Unknown,
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
    inspection: Option<Box<Inspection>>,
}

/// What the first bytes are looked at for.
#[derive(Debug)]
struct Inspection {
    inspect: Inspect,
    limits: Limits,
    /// Bytes to capture, should they turn out to be nothing that is looked for.
    capture: usize,
    first_byte: FirstByte,
}

impl BodyReader {
    /// Reader of the body of a request with this method, which is empty where it is not known, and these header fields.
    #[must_use]
    pub fn request(method: &[u8], headers: &Headers, limits: &Limits) -> Self {
        let media = Media::of(headers);
        let inspect = Inspect::request(method, media);
        Self::new(Direction::Request, media, inspect, headers, limits)
    }

    /// Reader of the body of the response with these header fields to `request`. `inspected`: what the request's content
    /// was, if it is complete; it saves work.
    #[must_use]
    pub fn response(
        request: &Request,
        inspected: Option<&Inspected>,
        headers: &Headers,
        limits: &Limits,
    ) -> Self {
        let media = Media::of(headers);
        let inspect = Inspect::response(request, inspected, media);
        Self::new(Direction::Response, media, inspect, headers, limits)
    }

    fn new(
        direction: Direction,
        media: Media,
        inspect: Option<Inspect>,
        headers: &Headers,
        limits: &Limits,
    ) -> Self {
        let capture = limits.body_bytes;
        let mut sink = Sink {
            seen: 0,
            kept: BytesMut::new(),
            keep: if inspect.is_some() {
                capture.max(limits.inspect_bytes)
            } else {
                capture
            },
            messages: messages::Reader::new(direction, media, limits).map(Box::new),
            inspection: inspect.map(|inspect| {
                Box::new(Inspection {
                    inspect,
                    limits: *limits,
                    capture,
                    first_byte: FirstByte::None,
                })
            }),
        };
        let (mut coded, mut plain) = (None, Plain::Uncoded);
        if !sink.satisfied() {
            match Codings::of(headers) {
                Codings::None => {}
                Codings::Known(codings) => coded = Some(Box::new(Coded::new(codings, limits))),
                Codings::Unknown => {
                    plain = Plain::Unknown;
                    if let Some(messages) = &mut sink.messages {
                        **messages = messages::Reader::Unreadable(0);
                    }
                }
            }
        }
        Self {
            decoded: 0,
            capture,
            holed: false,
            coded,
            plain,
            media,
            sink,
        }
    }

    /// For sources whose content is given without its coding although the header fields name one (HAR).
    #[must_use]
    pub fn decoded_before(mut self) -> Self {
        if self.coded.take().is_some() {
            self.plain = Plain::Decoded;
        }
        self
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
        self.sink.keep_no_more();
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

    /// Bytes of memory that it takes, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let sink = &self.sink;
        let messages = sink
            .messages
            .as_ref()
            .map_or(0, |messages| messages.memory_bytes());
        let inspection = sink.inspection.as_ref().map_or(0, |_| size_of::<Inspection>());
        let coded = self.coded.as_ref().map_or(0, |coded| coded.memory_bytes());
        sink.kept.capacity() + messages + inspection + coded
    }

    /// Keeps and decodes no more, for there is no memory for it. Length and, where there is no coding, messages are counted
    /// still.
    pub fn give_up(&mut self, counters: &mut Counters) {
        self.sink.keep_no_more();
        if let Some(coded) = &mut self.coded {
            coded.give_up(&mut self.sink, counters);
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
            plain,
            media,
            mut sink,
        } = self;
        let behind = coded.map(|coded| coded.finish(holed, end, &mut sink, counters));
        counters.content_unknown += u64::from(plain == Plain::Unknown);
        let kept_all = sink.seen <= sink.kept.len() as u64;
        let inspected = Inspected {
            found: sink
                .inspect(kept_all && !holed && end == End::Complete)
                .map(Box::new),
            media: Some(media),
        };
        let (captured, content, cut) = match behind {
            None => {
                let captured = first(sink.kept, capture);
                let content = match plain {
                    Plain::Uncoded => Content::Plain,
                    Plain::Decoded => Content::Decoded,
                    Plain::Unknown => Content::Encoded,
                };
                let cut = decoded > captured.len() as u64;
                (captured, content, cut)
            }
            Some(Behind::Encoded(raw)) => {
                let cut = decoded > raw.len() as u64;
                (raw, Content::Encoded, cut)
            }
            Some(Behind::Decoded) => {
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
            inspected,
            cut: capture > 0 && cut,
        }
    }
}

impl Sink {
    fn take(&mut self, data: &[u8], counters: &mut Counters) {
        self.seen = self.seen.saturating_add(data.len() as u64);
        if let Some(inspection) = &mut self.inspection
            && inspection.first_byte == FirstByte::None
        {
            inspection.first_byte = inspection.inspect.first_byte(data);
            if inspection.first_byte == FirstByte::Misfits {
                self.keep = inspection.capture;
                self.inspection = None;
            }
        }
        let room = self.keep.saturating_sub(self.kept.len());
        if room > 0 {
            self.kept.extend_from_slice(data.get(..room).unwrap_or(data));
        }
        if let Some(messages) = &mut self.messages {
            messages.read(data, counters);
        }
    }

    /// What comes from here on is not kept, whatever it begins with.
    fn keep_no_more(&mut self) {
        self.keep = self.kept.len();
        if let Some(inspection) = &mut self.inspection {
            inspection.capture = inspection.capture.min(self.keep);
        }
    }

    /// What the kept bytes are to an application protocol. `whole`: they are all.
    fn inspect(&self, whole: bool) -> Option<Found> {
        let Inspection { inspect, limits, .. } = self.inspection.as_deref()?;
        let begin = self.kept.get(..limits.inspect_bytes);
        let whole = whole && begin.is_none_or(|begin| begin.len() == self.kept.len());
        inspect.inspect(begin.unwrap_or(&self.kept), whole, limits)
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
