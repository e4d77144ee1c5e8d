//! Where the DATA of a stream goes.

use crate::body::{BodyReader, End, Finished, Inspected};
use crate::{Body, Counters, Limits, websocket};

/// Content of one direction of a stream.
#[derive(Debug)]
pub(super) enum Content {
    /// There is none, or its head was not seen.
    None,
    /// Waits for the other half's head, which tells how it is read.
    Held(Vec<u8>),
    /// Another protocol's, or too much to be held: counted only.
    Counted(u64),
    Body(BodyReader),
    WebSocket(Box<websocket::Reader>),
}

impl Content {
    /// Takes the next bytes.
    pub(super) fn data(&mut self, data: &[u8], counters: &mut Counters) {
        match self {
            Self::None => {}
            Self::Held(held) => held.extend_from_slice(data),
            Self::Counted(bytes) => *bytes += data.len() as u64,
            Self::Body(body) => body.data(data, counters),
            Self::WebSocket(reader) => reader.data(data),
        }
    }

    /// So many bytes are missing; `None`: nobody knows how many.
    pub(super) fn missing(&mut self, len: Option<u64>, counters: &mut Counters) {
        match self {
            Self::None => {}
            Self::Held(held) => *self = Self::Counted(held.len() as u64 + len.unwrap_or_default()),
            Self::Counted(bytes) => *bytes += len.unwrap_or_default(),
            Self::Body(body) => body.missing(len, counters),
            // It is lost for good by any number that does not end in a payload.
            Self::WebSocket(reader) => reader.missing(len.unwrap_or(u64::MAX)),
        }
    }

    /// Bytes that wait.
    pub(super) const fn held(&self) -> usize {
        match self {
            Self::Held(held) => held.len(),
            _ => 0,
        }
    }

    /// Bytes of memory that a body's reader takes.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Body(body) => body.memory_bytes(),
            Self::WebSocket(reader) => size_of::<websocket::Reader>() + reader.kept(),
            Self::None | Self::Held(_) | Self::Counted(_) => 0,
        }
    }

    /// There is no memory for more of the body.
    pub(super) fn give_up(&mut self, counters: &mut Counters) {
        match self {
            Self::Body(body) => body.give_up(counters),
            Self::WebSocket(reader) => reader.give_up(),
            Self::None | Self::Held(_) | Self::Counted(_) => {}
        }
    }

    /// Status code of the first Close frame of a WebSocket.
    pub(super) const fn close_code(&self) -> Option<u16> {
        match self {
            Self::WebSocket(reader) => reader.close_code(),
            _ => None,
        }
    }

    /// The content as far as it was read.
    pub(super) fn finish(self, end: End, limits: &Limits, counters: &mut Counters) -> Finished {
        let counted = |decoded_bytes| Finished {
            body: Body {
                decoded_bytes,
                ..Body::default()
            },
            ..Finished::default()
        };
        match self {
            Self::None => Finished::default(),
            Self::Held(held) => counted(held.len() as u64),
            Self::Counted(bytes) => counted(bytes),
            Self::Body(body) => body.finish(end, counters),
            Self::WebSocket(mut reader) => {
                let body = reader.take_body();
                counters.websocket_violations += reader.violations();
                let cut = limits.body_bytes > 0 && body.decoded_bytes > body.captured.len() as u64;
                Finished {
                    body,
                    inspected: Inspected::default(),
                    cut,
                }
            }
        }
    }
}
