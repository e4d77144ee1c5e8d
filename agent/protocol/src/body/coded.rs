//! A body behind content codings.

use bytes::{Bytes, BytesMut};

use super::{End, Sink, first};
use crate::content::{Codings, Decoder, Outcome};
use crate::{Counters, Limits};

/// Decodes a body; keeps its first bytes as they came too, in case they cannot be decoded.
#[derive(Debug)]
pub(super) struct Coded {
    /// `None`: the coding is not known.
    decoder: Option<Decoder>,
    raw: BytesMut,
    capture: usize,
}

/// What a coded body gave.
#[derive(Debug)]
pub(super) enum Behind {
    /// What stands behind its codings is in the sink.
    Decoded,
    /// It could not be decoded: its first bytes as they came.
    Encoded(Bytes),
}

impl Coded {
    /// `None`: the body is plain.
    pub(super) fn new(codings: Codings, limits: &Limits) -> Option<Self> {
        (codings != Codings::None).then(|| Self {
            decoder: Decoder::new(&codings, limits),
            raw: BytesMut::new(),
            capture: limits.body_bytes,
        })
    }

    pub(super) fn data(&mut self, data: &[u8], sink: &mut Sink, counters: &mut Counters) {
        let room = self.capture.saturating_sub(self.raw.len());
        if room > 0 {
            self.raw.extend_from_slice(data.get(..room).unwrap_or(data));
        }
        if let Some(decoder) = &mut self.decoder
            && decoder.outcome() == Outcome::Running
        {
            decoder.data(data, |decoded| {
                sink.take(decoded, counters);
                sink.flow()
            });
            self.judge(sink, counters);
        }
    }

    /// Nothing follows what was given.
    pub(super) fn flush(&mut self, sink: &mut Sink, counters: &mut Counters) {
        if let Some(decoder) = &mut self.decoder
            && decoder.outcome() == Outcome::Running
        {
            decoder.flush(|decoded| {
                sink.take(decoded, counters);
                sink.flow()
            });
            self.judge(sink, counters);
        }
    }

    /// Counts, once, why decoding was given up.
    fn judge(&mut self, sink: &mut Sink, counters: &mut Counters) {
        let counter = match self.outcome() {
            Some(Outcome::Broken) => &mut counters.content_broken,
            Some(Outcome::TooLarge) => &mut counters.content_too_large,
            Some(Outcome::WindowTooLarge) => &mut counters.content_windows_too_large,
            Some(Outcome::Running | Outcome::Ended | Outcome::Enough) | None => return,
        };
        *counter += 1;
        if let Some(messages) = &mut sink.messages {
            messages.missing(None);
        }
    }

    fn outcome(&self) -> Option<Outcome> {
        self.decoder.as_ref().map(Decoder::outcome)
    }

    /// Whether further bytes change nothing.
    pub(super) fn satisfied(&self) -> bool {
        match self.outcome() {
            Some(Outcome::Running) => false,
            Some(Outcome::Ended | Outcome::Enough) => true,
            Some(Outcome::Broken | Outcome::TooLarge | Outcome::WindowTooLarge) | None => {
                self.raw.len() >= self.capture
            }
        }
    }

    /// `None`: nothing came.
    pub(super) fn finish(
        mut self,
        holed: bool,
        end: End,
        sink: &mut Sink,
        counters: &mut Counters,
    ) -> Option<Behind> {
        if !holed {
            self.flush(sink, counters);
        }
        let complete = self.decoder.as_ref().is_some_and(Decoder::complete);
        let decoded = match self.outcome() {
            Some(Outcome::Running) => {
                counters.content_cut += u64::from(!complete && !holed && end == End::Complete);
                true
            }
            Some(Outcome::Ended | Outcome::Enough) => true,
            // What is captured was complete before.
            Some(Outcome::Broken | Outcome::TooLarge | Outcome::WindowTooLarge) => {
                sink.seen >= self.capture as u64
            }
            None => {
                counters.content_unknown += 1;
                if let Some(messages) = &mut sink.messages {
                    messages.missing(None);
                }
                false
            }
        };
        Some(if decoded {
            Behind::Decoded
        } else {
            Behind::Encoded(first(self.raw, self.capture))
        })
    }
}
