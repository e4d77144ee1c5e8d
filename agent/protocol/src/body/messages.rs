//! The messages inside a body, whatever their protocol.

use super::base64::{Base64, Decoded};
use super::grpc::{Dialect, Grpc};
use super::sse::Events;
use crate::media::Media;
use crate::{Counters, Direction, Headers, Limits, Messages};

/// Counts the messages of one body.
#[derive(Debug)]
pub(super) enum Reader {
    Grpc(Grpc),
    /// gRPC-Web in base64.
    GrpcText(Base64, Grpc),
    Events(Events),
    /// Behind a content coding that is not known: so many bytes of whatever it is.
    Unreadable(u64),
}

impl Reader {
    /// `None`: a body of this type has no messages.
    pub(super) fn new(direction: Direction, media: Media, limits: &Limits) -> Option<Self> {
        match media {
            Media::Grpc => Some(Self::Grpc(Grpc::new(Dialect::Grpc, limits))),
            Media::GrpcWeb => Some(Self::Grpc(Grpc::new(Dialect::Web, limits))),
            Media::GrpcWebText => Some(Self::GrpcText(Base64::default(), Grpc::new(Dialect::Web, limits))),
            Media::EventStream if direction == Direction::Response => Some(Self::Events(Events::default())),
            _ => None,
        }
    }

    pub(super) fn read(&mut self, data: &[u8], counters: &mut Counters) {
        match self {
            Self::Grpc(grpc) => grpc.read(data, counters),
            Self::GrpcText(base64, grpc) => {
                if !grpc.over() && base64.decode(data, |data| grpc.read(data, counters)) == Decoded::Broken {
                    counters.malformed_grpc += u64::from(!grpc.over());
                    grpc.missing(None);
                }
            }
            Self::Events(events) => events.read(data),
            Self::Unreadable(bytes) => *bytes = bytes.saturating_add(data.len() as u64),
        }
    }

    /// So many bytes are missing; `None`: nobody knows how many.
    pub(super) fn missing(&mut self, len: Option<u64>) {
        match self {
            Self::Grpc(grpc) => grpc.missing(len),
            Self::GrpcText(_, grpc) => grpc.missing(None),
            Self::Events(events) => events.missing(),
            Self::Unreadable(_) => {}
        }
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        let kept = match self {
            Self::Grpc(grpc) | Self::GrpcText(_, grpc) => grpc.kept(),
            Self::Events(_) | Self::Unreadable(_) => 0,
        };
        size_of::<Self>() + kept
    }

    /// Whether nothing more can be counted.
    pub(super) fn over(&self) -> bool {
        match self {
            Self::Grpc(grpc) | Self::GrpcText(_, grpc) => grpc.over(),
            Self::Events(_) => false,
            Self::Unreadable(_) => true,
        }
    }

    /// The messages, and trailers that were among them. `cut`: the body did not come to its end.
    pub(super) fn finish(self, cut: bool) -> (Messages, Headers) {
        match self {
            Self::Grpc(grpc) => grpc.finish(cut),
            Self::GrpcText(base64, grpc) => grpc.finish(cut || base64.inside()),
            Self::Events(events) => (events.finish(cut), Headers::new()),
            Self::Unreadable(bytes) => {
                let messages = Messages {
                    partial: cut || bytes > 0,
                    ..Messages::default()
                };
                (messages, Headers::new())
            }
        }
    }
}
