//! What is known of one direction between two segments.

use super::frame::{FrameHeader, HEADER_BYTES, PAYLOAD_BYTES_DEFAULT};
use crate::hpack::Decoder;
use crate::{Flags, Limits, Nanos, Start};

/// Where and when a byte came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Stream offset.
    pub(super) offset: u64,
    pub(super) time: Nanos,
}

/// State of one direction.
#[derive(Debug)]
pub(super) struct Reader {
    /// Stream offset of the next byte; unknown before the first segment of a connection joined late.
    pub(super) next: Option<u64>,
    pub(super) state: State,
    /// Bytes before this offset that do not come were left out on purpose.
    pub(super) left_out_until: u64,
    /// Begin of a frame header that came in pieces: bytes, how many, place of the first.
    pub(super) partial: [u8; HEADER_BYTES],
    pub(super) partial_len: usize,
    pub(super) partial_begin: Place,
    /// First bytes of a control frame's payload.
    pub(super) small: [u8; SMALL_BYTES],
    pub(super) small_len: usize,
    pub(super) decoder: Decoder,
    /// A header block in several pieces, and its payloads so far.
    pub(super) block: Option<Block>,
    pub(super) fragments: Vec<u8>,
    /// Whether any frame was read since the begin.
    pub(super) began: bool,
    /// Whether the place was found in the middle of the stream: frames that do not fit mean that it was not.
    pub(super) found: bool,
    /// Whether nothing but a frame header speaks for that place.
    pub(super) tentative: bool,
    /// How often the place was lost.
    pub(super) losses: u32,
    /// Why fields may be unknown.
    pub(super) unknown: Flags,
    /// Largest payload that the receiver said it accepts.
    pub(super) payload_max: u32,
}

/// Bytes of control frames that matter: GOAWAY's identifier and code, a setting.
pub(super) const SMALL_BYTES: usize = 8;

/// Payload length believed of a frame on a connection joined late, whose settings are not known. RFC 9113 4.2 allows
/// 16 MiB; no implementation is known to use more than this by default.
const PAYLOAD_BYTES_LATE: u32 = 1 << 22;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// In the client's preface; so many bytes of it were read.
    Preface(usize),
    /// Between two frames, or in a frame's header.
    Header,
    Payload(Payload),
    /// Looking for the begin of a frame.
    Lost,
    /// Nothing more will come, or nothing more is wanted.
    Over,
}

/// A frame whose header was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) header: FrameHeader,
    /// Of its header's first byte.
    pub(super) begin: Place,
    /// Bytes to come.
    pub(super) rest: u32,
    pub(super) reading: Reading,
}

/// What is done with a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// DATA.
    Data {
        /// Bytes to come before the padding.
        content: u32,
        /// Whether the next byte is the length of the padding.
        padding_due: bool,
    },
    /// Part of a header block.
    Block,
    /// Control frame whose first bytes matter.
    Small,
    /// Nothing.
    Skip,
}

/// A header block that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// HEADERS or PUSH_PROMISE.
    pub(super) opener: FrameHeader,
    pub(super) begin: Place,
    /// Stream that a PUSH_PROMISE promises.
    pub(super) promised: u32,
    /// Bytes of its frames.
    pub(super) wire: u64,
    /// Where the current frame's payload begins in the fragments.
    pub(super) frame_at: usize,
    /// Part of it is missing, or it is too long to be kept.
    pub(super) broken: bool,
}

impl Reader {
    pub(super) fn new(start: Start, begin: u64, preface: bool, limits: &Limits) -> Self {
        let fresh = start == Start::Fresh;
        let mut decoder = Decoder::new(limits.hpack_table_bytes, start);
        // The other direction, which sets the table's size, may be behind: every size is taken.
        decoder.settings_unknown();
        Self {
            next: fresh.then_some(begin),
            state: match (fresh, preface) {
                (true, true) => State::Preface(0),
                (true, false) => State::Header,
                (false, _) => State::Lost,
            },
            left_out_until: 0,
            partial: [0; HEADER_BYTES],
            partial_len: 0,
            partial_begin: Place { offset: 0, time: 0 },
            small: [0; SMALL_BYTES],
            small_len: 0,
            decoder,
            block: None,
            fragments: Vec::new(),
            began: false,
            found: false,
            tentative: false,
            losses: 0,
            unknown: if fresh { Flags::default() } else { Flags::LATE_JOIN },
            payload_max: if fresh {
                PAYLOAD_BYTES_DEFAULT
            } else {
                PAYLOAD_BYTES_LATE
            },
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Bytes that are kept, but for those of HPACK.
    pub(super) fn kept(&self) -> usize {
        self.fragments.capacity()
    }
}
