//! A body behind content codings.

use bytes::{Bytes, BytesMut};

use super::{End, Sink, first};
use crate::content::{Coding, Decoder, Outcome};
use crate::{Counters, Limits};

/// Decodes a body; keeps its first bytes as they came too, in case they cannot be decoded.
#[derive(Debug)]
pub(super) struct Coded {
    decoder: Decoder,
    raw: BytesMut,
    /// Most of them.
    keep: usize,
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
    pub(super) fn new(codings: Vec<Coding>, limits: &Limits) -> Self {
        Self {
            decoder: Decoder::new(codings, limits),
            raw: BytesMut::new(),
            keep: limits.body_bytes,
            capture: limits.body_bytes,
        }
    }

    pub(super) fn data(&mut self, data: &[u8], sink: &mut Sink, counters: &mut Counters) {
        let room = self.keep.saturating_sub(self.raw.len());
        if room > 0 {
            self.raw.extend_from_slice(data.get(..room).unwrap_or(data));
        }
        if self.decoder.outcome() == Outcome::Running {
            self.decoder.data(data, |decoded| {
                sink.take(decoded, counters);
                sink.flow()
            });
            self.judge(sink, counters);
        }
    }

    /// Nothing follows what was given.
    pub(super) fn flush(&mut self, sink: &mut Sink, counters: &mut Counters) {
        if self.decoder.outcome() == Outcome::Running {
            self.decoder.flush(|decoded| {
                sink.take(decoded, counters);
                sink.flow()
            });
            self.judge(sink, counters);
        }
    }

    /// Counts, once, why decoding was given up.
    fn judge(&self, sink: &mut Sink, counters: &mut Counters) {
        let counter = match self.decoder.outcome() {
            Outcome::Broken => &mut counters.content_broken,
            Outcome::TooLarge => &mut counters.content_too_large,
            Outcome::WindowTooLarge => &mut counters.content_windows_too_large,
            Outcome::Running | Outcome::Ended | Outcome::Enough => return,
        };
        *counter += 1;
        if let Some(messages) = &mut sink.messages {
            messages.missing(None);
        }
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.raw.capacity() + self.decoder.memory_bytes()
    }

    /// Decodes and keeps no more.
    pub(super) fn give_up(&mut self, sink: &mut Sink, counters: &mut Counters) {
        self.keep = self.raw.len();
        if self.decoder.outcome() == Outcome::Running {
            self.decoder.give_up();
            self.judge(sink, counters);
        }
    }

    /// Whether further bytes change nothing.
    pub(super) fn satisfied(&self) -> bool {
        match self.decoder.outcome() {
            Outcome::Running => false,
            Outcome::Ended | Outcome::Enough => true,
            Outcome::Broken | Outcome::TooLarge | Outcome::WindowTooLarge => self.raw.len() >= self.keep,
        }
    }

    /// Gives the rest to `sink`.
    pub(super) fn finish(
        mut self,
        holed: bool,
        end: End,
        sink: &mut Sink,
        counters: &mut Counters,
    ) -> Behind {
        if !holed {
            self.flush(sink, counters);
        }
        let decoded = match self.decoder.outcome() {
            Outcome::Running => {
                let cut = !self.decoder.complete() && !holed && end == End::Complete;
                counters.content_cut += u64::from(cut);
                true
            }
            Outcome::Ended | Outcome::Enough => true,
            // Perhaps what is captured was complete before.
            Outcome::Broken | Outcome::TooLarge | Outcome::WindowTooLarge => sink.seen >= self.capture as u64,
        };
        if decoded {
            Behind::Decoded
        } else {
            Behind::Encoded(first(self.raw, self.capture))
        }
    }
}
