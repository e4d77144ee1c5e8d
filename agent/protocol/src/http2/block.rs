//! Header blocks: HEADERS or PUSH_PROMISE, and the CONTINUATION frames that follow it (RFC 9113 4.3, 6.2, 6.6, 6.10).

use super::connection::Connection;
use super::frame::{END_HEADERS, FrameHeader, HEADER_BYTES, Kind, PADDED, PRIORITISED};
use super::reader::{Block, Place};
use crate::Direction;

/// Room for fragments that is kept between header blocks.
const FRAGMENTS_KEPT: usize = 4 << 10;
/// Longest padding, with its length, and what else may stand around a fragment.
const AROUND_BYTES_MAX: usize = 256 + 5;

/// The fragment in a payload, and the stream that is promised.
fn fragment(header: FrameHeader, payload: &[u8]) -> Option<(u32, &[u8])> {
    let (padding, payload) = if header.kind != Kind::Continuation && header.has(PADDED) {
        let (&padding, rest) = payload.split_first()?;
        (usize::from(padding), rest)
    } else {
        (0, payload)
    };
    let (promised, payload) = match header.kind {
        Kind::PushPromise => {
            let (promised, rest) = payload.split_first_chunk::<4>()?;
            (u32::from_be_bytes(*promised) & !(1 << 31), rest)
        }
        Kind::Headers if header.has(PRIORITISED) => (0, payload.get(5..)?),
        _ => (0, payload),
    };
    let len = payload.len().checked_sub(padding)?;
    Some((promised, payload.get(..len)?))
}

impl Connection {
    /// The whole payload of the only frame of a header block.
    pub(super) fn only_fragment(&mut self, direction: Direction, payload: &[u8], place: Place) {
        let Some(mut block) = self.reader(direction).block.take() else {
            return;
        };
        block.wire = (HEADER_BYTES + payload.len()) as u64;
        let found = fragment(block.opener, payload);
        // RFC 9113 6.2: padding that does not fit is a connection error.
        self.counters.malformed_frames += u64::from(found.is_none());
        match found {
            Some((promised, fragment)) if fragment.len() <= self.limits.head_bytes => {
                block.promised = promised;
                self.header_block(direction, block, fragment, place);
            }
            Some(_) => {
                self.counters.heads_too_large += 1;
                self.header_block_lost(direction, block, place);
            }
            None => self.header_block_lost(direction, block, place),
        }
    }

    /// Part of the payload of a frame of a header block; `done`: its last.
    pub(super) fn fragment(&mut self, direction: Direction, data: &[u8], done: bool, place: Place) {
        let limit = self.limits.head_bytes;
        let reader = self.reader(direction);
        let Some(block) = &mut reader.block else {
            return;
        };
        if !block.broken && reader.fragments.len() + data.len() > limit + AROUND_BYTES_MAX {
            block.broken = true;
            reader.fragments = Vec::new();
            self.counters.heads_too_large += 1;
        }
        let reader = self.reader(direction);
        let (Some(block), super::reader::State::Payload(payload)) = (&mut reader.block, reader.state) else {
            return;
        };
        if !block.broken {
            reader.fragments.extend_from_slice(data);
        }
        if !done {
            return;
        }
        let header = payload.header;
        block.wire += HEADER_BYTES as u64 + u64::from(header.len);
        if !block.broken {
            // What stands around the fragment is taken out, so that the next one follows.
            let at = block.frame_at;
            match fragment(header, reader.fragments.get(at..).unwrap_or_default()) {
                Some((promised, fragment)) => {
                    if header.kind == Kind::PushPromise {
                        block.promised = promised;
                    }
                    let len = fragment.len();
                    let from = fragment.as_ptr() as usize - reader.fragments.as_ptr() as usize;
                    reader.fragments.truncate(from + len);
                    reader.fragments.drain(at..from);
                    block.frame_at = at + len;
                    if block.frame_at > limit {
                        block.broken = true;
                        self.counters.heads_too_large += 1;
                    }
                }
                None => {
                    block.broken = true;
                    self.counters.malformed_frames += 1;
                }
            }
        }
        if header.has(END_HEADERS) {
            self.end_block(direction, place);
        }
    }

    fn end_block(&mut self, direction: Direction, place: Place) {
        let reader = self.reader(direction);
        let Some(block) = reader.block.take() else {
            return;
        };
        let mut fragments = std::mem::take(&mut reader.fragments);
        if block.broken {
            self.header_block_lost(direction, block, place);
        } else {
            self.header_block(direction, block, &fragments, place);
        }
        if fragments.capacity() > FRAGMENTS_KEPT {
            fragments = Vec::new();
        }
        fragments.clear();
        self.reader(direction).fragments = fragments;
    }

    /// The rest of the header block that was begun will not come.
    pub(super) fn give_up_block(&mut self, direction: Direction) {
        let reader = self.reader(direction);
        reader.fragments.clear();
        if let Some(block) = reader.block.take() {
            let place = block.begin;
            self.header_block_lost(direction, block, place);
        }
    }

    /// Bytes of the header block are missing.
    pub(super) fn break_block(&mut self, direction: Direction) {
        if let Some(block) = &mut self.reader(direction).block {
            block.broken = true;
        }
    }

    /// A header block cannot be read, so its direction's HPACK table is unknown from now on.
    pub(super) fn header_block_lost(&mut self, direction: Direction, block: Block, place: Place) {
        self.forget(direction);
        self.message_lost(direction, &block, place);
    }
}
