//! Losing the place in a direction, and finding it again.
//!
//! Every frame's header tells where the next one begins, so missing bytes cost the place only if a header is among
//! them. A new place is a chain of headers that fit, at the begin of a segment, where senders mostly begin a frame,
//! or longer anywhere in it. Until a header block with valid fields was read there, one header that does not fit ends
//! it.

use super::connection::{Belief, Connection};
use super::frame::{FrameHeader, HEADER_BYTES, Kind};
use super::reader::{Payload, Place, Reader, Reading, State};
use crate::detect::HTTP2_PREFACE;
use crate::{Direction, Flags, Nanos, Start};

/// Frame headers in a row that have to fit where a segment does not begin with the first.
const CHAIN_MIN: usize = 3;
/// How far a stream may be above every one seen before: so many may have been opened by bytes that are missing.
const STREAMS_AHEAD: u32 = 1 << 17;
/// Segments without the begin of a frame, places that were none, and header blocks without pseudo-header fields,
/// after which a connection that was never believed is taken to be something else.
const TRIES_MAX: u32 = 256;
/// Frames in a row without a header block that can be read, and without a frame of control, after which such a connection is taken to be
/// something else. Who receives that much says so by WINDOW_UPDATE (RFC 9113 6.9), and most long before.
pub(super) const UNPROVEN_FRAMES_MAX: u32 = 1 << 16;
/// The same for the bytes of their payloads: half of the largest flow-control window.
pub(super) const UNPROVEN_BYTES_MAX: u64 = 1 << 30;

/// What speaks for HTTP/2 only by its length.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unproven {
    frames: u32,
    bytes: u64,
}

impl Connection {
    /// Bytes of `direction` from stream offset `from` to `to` are missing.
    pub(super) fn miss(&mut self, direction: Direction, from: u64, to: u64, time: Nanos) {
        let missing = to - from;
        let on_purpose = self.reader(direction).left_out_until.clamp(from, to) - from;
        let left_out = on_purpose == missing;
        let counters = &mut self.counters;
        counters.left_out += u64::from(on_purpose > 0);
        counters.left_out_bytes = counters.left_out_bytes.saturating_add(on_purpose);
        counters.gaps += u64::from(!left_out);
        counters.gap_bytes = counters.gap_bytes.saturating_add(missing - on_purpose);
        let reader = self.reader(direction);
        reader.next = Some(to);
        match reader.state {
            State::Payload(payload) => {
                let flags = if left_out { Flags::TRUNCATED } else { Flags::GAP };
                let within = u64::from(payload.rest).min(missing);
                let place = Place {
                    offset: from + within,
                    time,
                };
                self.miss_payload(direction, payload, within, flags, place);
                if within < missing {
                    self.lose_place(direction);
                }
            }
            State::Preface(_) | State::Header => self.lose_place(direction),
            State::Lost | State::Over => {}
        }
    }

    /// The next `missing` bytes of a payload, at most its rest.
    fn miss_payload(
        &mut self,
        direction: Direction,
        mut payload: Payload,
        missing: u64,
        flags: Flags,
        place: Place,
    ) {
        let header = payload.header;
        let first = payload.rest == header.len;
        let missing = u32::try_from(missing).unwrap_or(u32::MAX).min(payload.rest);
        payload.rest -= missing;
        let done = payload.rest == 0;
        self.reader(direction).state = State::Payload(payload);
        match &mut payload.reading {
            Reading::Data { content, padding_due } => {
                // How much of it is padding is unknown if the first byte is missing.
                let behind = missing - u32::from(std::mem::take(padding_due));
                let lost = behind.min(*content);
                *content -= lost;
                let wire = u64::from(missing) + if first { HEADER_BYTES as u64 } else { 0 };
                self.data_missing(direction, header, wire, u64::from(lost), flags);
                if done {
                    self.end_stream(direction, header, place.time);
                }
            }
            Reading::Block => {
                self.break_block(direction);
                self.fragment(direction, &[], done, place);
            }
            Reading::Small => {
                // What was read of a setting does not go on behind the hole.
                payload.reading = Reading::Skip;
                self.reader(direction).small_len = 0;
                if header.kind == Kind::RstStream {
                    self.small(direction, header, &[], true, place);
                }
            }
            Reading::Skip => {}
        }
        let reader = self.reader(direction);
        if matches!(reader.state, State::Payload(_)) {
            reader.state = if done {
                State::Header
            } else {
                State::Payload(payload)
            };
        }
    }

    /// Nobody knows where the next frame begins.
    pub(super) fn lose_place(&mut self, direction: Direction) {
        let next_index = self.next_index;
        let reader = self.reader(direction);
        reader.state = State::Lost;
        reader.partial_len = 0;
        reader.found = true;
        reader.tentative = true;
        reader.losses += 1;
        self.give_up_block(direction);
        self.forget(direction);
        self.sweep_at
            .get_or_insert(next_index + self.limits.pending_requests as u64);
    }

    /// The place that was found was none: nothing is lost but what was lost before.
    pub(super) fn retract(&mut self, direction: Direction) {
        let reader = self.reader(direction);
        reader.state = State::Lost;
        reader.partial_len = 0;
        reader.block = None;
        reader.fragments.clear();
        reader.decoder.forget();
        self.tries += 1;
        self.tire();
    }

    /// The HPACK table of a direction is unknown from here on.
    pub(super) fn forget(&mut self, direction: Direction) {
        let reader = self.reader(direction);
        reader.decoder.forget();
        reader.unknown.insert(Flags::GAP);
    }

    /// Looks for the begin of a frame. Returns how many bytes come before it.
    pub(super) fn search(&mut self, direction: Direction, data: &[u8], segment_begins: bool) -> usize {
        if segment_begins && direction == Direction::Request && data.starts_with(HTTP2_PREFACE) {
            let limits = self.limits;
            let old = self.reader(direction);
            let (next, losses) = (old.next, old.losses);
            *old = Reader::new(Start::Fresh, 0, false, &limits);
            (old.next, old.losses) = (next, losses);
            return HTTP2_PREFACE.len();
        }
        let found = if segment_begins && self.chain(direction, data, usize::MAX) {
            Some(0)
        } else {
            let looks = |header: &[u8]| matches!(header, [_, _, _, 0..=0x10, _, 0..=0x7f, ..]);
            data.windows(HEADER_BYTES)
                .enumerate()
                .filter(|(_, header)| looks(header))
                .map(|(at, _)| at)
                .find(|&at| self.chain(direction, data.get(at..).unwrap_or_default(), CHAIN_MIN))
        };
        let skipped = found.unwrap_or(data.len());
        self.counters.skipped_bytes += skipped as u64;
        let reader = self.reader(direction);
        if found.is_some() {
            reader.state = State::Header;
            reader.found = true;
            reader.tentative = true;
            self.counters.resynchronised += 1;
        } else {
            self.tries += 1;
            self.tire();
        }
        skipped
    }

    /// Whether `data` begins with frame headers that fit, each behind the payload of the one before: up to its end,
    /// or `enough` of them.
    fn chain(&self, direction: Direction, mut data: &[u8], enough: usize) -> bool {
        let mut frames = 0;
        let mut block = None;
        while let Some(header) = FrameHeader::at(data) {
            let continues = header.kind == Kind::Continuation;
            if !self.is_plausible(direction, header)
                || continues != block.is_some()
                || continues && block != Some(header.stream)
            {
                return false;
            }
            if matches!(
                header.kind,
                Kind::Headers | Kind::PushPromise | Kind::Continuation
            ) {
                block = (!header.has(super::frame::END_HEADERS)).then_some(header.stream);
            }
            frames += 1;
            if frames >= enough {
                return true;
            }
            let len = usize::try_from(header.len).unwrap_or(usize::MAX);
            data = data
                .get(HEADER_BYTES..)
                .and_then(|data| data.get(len..))
                .unwrap_or_default();
        }
        frames > 0 && enough == usize::MAX
    }

    /// Whether a frame may be there as far as its header and the streams tell.
    pub(super) fn is_plausible(&self, direction: Direction, header: FrameHeader) -> bool {
        let len_max = match direction {
            Direction::Request => self.request.payload_max,
            Direction::Response => self.response.payload_max,
        };
        header.fits(direction, len_max) && self.is_near(direction, header)
    }

    /// Whether its stream and its length are not far from what is known.
    pub(super) fn is_near(&self, direction: Direction, header: FrameHeader) -> bool {
        let len_max = match direction {
            Direction::Request => self.request.payload_max,
            Direction::Response => self.response.payload_max,
        };
        let highest = self.streams.highest;
        header.len <= len_max && (highest == 0 || header.stream <= highest.saturating_add(STREAMS_AHEAD))
    }

    /// A frame of a connection that is not believed yet. False: there were too many that prove nothing, and it is given up.
    pub(super) fn may_still_be(&mut self, header: FrameHeader) -> bool {
        let control = matches!(
            header.kind,
            Kind::RstStream | Kind::Settings | Kind::Ping | Kind::GoAway | Kind::WindowUpdate
        );
        let unproven = &mut self.unproven;
        if control {
            // Their lengths are fixed, and most of their headers: nothing else looks like that for long. An idle connection may say no more.
            *unproven = Unproven::default();
        } else {
            unproven.frames += 1;
            unproven.bytes += u64::from(header.len);
        }
        let may = unproven.frames <= UNPROVEN_FRAMES_MAX && unproven.bytes <= UNPROVEN_BYTES_MAX;
        if !may {
            self.refute();
        }
        may
    }

    /// Gives up a connection that was joined late and shows no HTTP/2.
    pub(super) fn tire(&mut self) {
        if self.belief == Belief::Open && self.tries > TRIES_MAX {
            self.refute();
        }
    }
}
