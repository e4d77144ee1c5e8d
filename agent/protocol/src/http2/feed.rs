//! Cutting a direction into frames.

use super::connection::{Belief, Connection};
use super::frame::{END_HEADERS, FrameHeader, HEADER_BYTES, Kind, PADDED};
use super::reader::{Block, Payload, Place, Reading, State};
use crate::Direction;
use crate::detect::HTTP2_PREFACE;

impl Connection {
    /// Reads bytes that follow what was read.
    pub(super) fn read(&mut self, direction: Direction, data: &[u8], begin: Place) {
        let mut taken = 0;
        while let Some(rest) = data.get(taken..).filter(|rest| !rest.is_empty()) {
            let place = Place {
                offset: begin.offset + taken as u64,
                time: begin.time,
            };
            taken += match self.reader(direction).state {
                State::Preface(seen) => self.preface(direction, seen, rest),
                State::Header => self.frame_header(direction, rest, place),
                State::Payload(payload) => self.payload(direction, payload, rest, place),
                State::Lost => self.search(direction, rest, taken == 0),
                State::Over => return,
            };
        }
    }

    fn preface(&mut self, direction: Direction, seen: usize, data: &[u8]) -> usize {
        let due = HTTP2_PREFACE.get(seen..).unwrap_or_default();
        let len = due.len().min(data.len());
        if due.get(..len) != data.get(..len) {
            self.refute();
            return len;
        }
        self.reader(direction).state = if len == due.len() {
            State::Header
        } else {
            State::Preface(seen + len)
        };
        len
    }

    fn frame_header(&mut self, direction: Direction, data: &[u8], place: Place) -> usize {
        let reader = self.reader(direction);
        if reader.partial_len == 0
            && let Some(header) = FrameHeader::at(data)
        {
            self.begin_frame(direction, header, place);
            return HEADER_BYTES;
        }
        if reader.partial_len == 0 {
            reader.partial_begin = place;
        }
        let mut used = 0;
        for (to, &byte) in reader.partial.iter_mut().skip(reader.partial_len).zip(data) {
            *to = byte;
            used += 1;
        }
        reader.partial_len += used;
        if reader.partial_len == HEADER_BYTES {
            reader.partial_len = 0;
            let (header, begin) = (FrameHeader::parse(reader.partial), reader.partial_begin);
            self.begin_frame(direction, header, begin);
        }
        used
    }

    fn begin_frame(&mut self, direction: Direction, header: FrameHeader, begin: Place) {
        let first = !std::mem::replace(&mut self.reader(direction).began, true);
        if first && header.kind != Kind::Settings && !self.reader(direction).found {
            // Both sides begin with SETTINGS (RFC 9113 3.4).
            if self.belief == Belief::Open {
                self.refute();
                return;
            }
            self.counters.malformed_frames += 1;
        }
        let valid = self.is_acceptable(direction, header);
        if !valid && !self.accuse(direction) {
            return;
        }
        // Where the preface was seen there is no doubt.
        let doubtful = self.belief == Belief::Open && self.reader(direction).found;
        if doubtful && !self.may_still_be(header) {
            return;
        }
        self.streams.highest = self.streams.highest.max(if valid { header.stream } else { 0 });
        let continues = self
            .reader(direction)
            .block
            .is_some_and(|block| header.kind == Kind::Continuation && header.stream == block.opener.stream);
        if !continues && self.reader(direction).block.is_some() {
            // RFC 9113 6.10: nothing else may come before END_HEADERS.
            self.counters.malformed_frames += u64::from(valid);
            self.give_up_block(direction);
        }
        let fragment = matches!(
            header.kind,
            Kind::Headers | Kind::PushPromise | Kind::Continuation
        );
        if fragment && !valid || header.kind == Kind::Continuation && !continues {
            // What it would have done to the HPACK table is unknown.
            self.counters.malformed_frames += u64::from(valid);
            self.forget(direction);
        }
        let reading = match header.kind {
            _ if !valid => Reading::Skip,
            Kind::Data => Reading::Data {
                content: header.len - u32::from(header.has(PADDED)),
                padding_due: header.has(PADDED),
            },
            Kind::Headers | Kind::PushPromise => {
                self.reader(direction).block = Some(Block {
                    opener: header,
                    begin,
                    promised: 0,
                    wire: 0,
                    frame_at: 0,
                    broken: false,
                });
                Reading::Block
            }
            Kind::Continuation if continues => Reading::Block,
            Kind::RstStream | Kind::Settings | Kind::GoAway => Reading::Small,
            _ => Reading::Skip,
        };
        let payload = Payload {
            header,
            begin,
            rest: header.len,
            reading,
        };
        let reader = self.reader(direction);
        reader.small_len = 0;
        reader.state = State::Payload(payload);
        if header.len == 0 {
            self.payload(direction, payload, &[], begin);
        }
    }

    fn is_acceptable(&self, direction: Direction, header: FrameHeader) -> bool {
        let reader = match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        };
        match (reader.found, reader.tentative) {
            (false, _) => header.is_valid(direction),
            (true, false) => header.is_valid(direction) && self.is_near(direction, header),
            (true, true) => self.is_plausible(direction, header),
        }
    }

    /// A frame is none that may be there. True if its payload is to be skipped.
    fn accuse(&mut self, direction: Direction) -> bool {
        if self.reader(direction).tentative {
            self.retract(direction);
            return false;
        }
        if self.reader(direction).found {
            self.lose_place(direction);
            return false;
        }
        if self.belief != Belief::Believed {
            self.refute();
            return false;
        }
        self.counters.malformed_frames += 1;
        true
    }

    /// Reads from the payload of a frame; `data` is empty only if that is.
    fn payload(&mut self, direction: Direction, mut payload: Payload, data: &[u8], place: Place) -> usize {
        let rest = usize::try_from(payload.rest).unwrap_or(usize::MAX);
        let data = data.get(..rest).unwrap_or(data);
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let first = payload.rest == payload.header.len;
        payload.rest -= len.min(payload.rest);
        let done = payload.rest == 0;
        match &mut payload.reading {
            Reading::Data { content, padding_due } => {
                let mut bytes = data;
                if *padding_due && let Some((&padding, rest)) = data.split_first() {
                    *padding_due = false;
                    bytes = rest;
                    // RFC 9113 6.1: padding that fills more than the payload is a connection error.
                    self.counters.malformed_frames += u64::from(u32::from(padding) > *content);
                    *content = content.saturating_sub(u32::from(padding));
                }
                let within = usize::try_from(*content).unwrap_or(usize::MAX);
                let bytes = bytes.get(..within).unwrap_or(bytes);
                *content -= u32::try_from(bytes.len()).unwrap_or(*content);
                let wire = u64::from(len) + if first { HEADER_BYTES as u64 } else { 0 };
                self.data(direction, payload.header, wire, bytes, done, place);
            }
            Reading::Block if first && done && payload.header.kind != Kind::Continuation => {
                self.whole_fragment(direction, payload.header, data, place);
            }
            Reading::Block => self.fragment(direction, data, done, place),
            Reading::Small => self.small(direction, payload.header, data, done, place),
            Reading::Skip => {}
        }
        // What was read may have ended the connection, or shown that the place is wrong.
        let reader = self.reader(direction);
        if matches!(reader.state, State::Payload(_)) {
            reader.state = if done {
                State::Header
            } else {
                State::Payload(payload)
            };
        }
        data.len()
    }

    /// The only frame of a header block, or its first.
    fn whole_fragment(&mut self, direction: Direction, header: FrameHeader, payload: &[u8], place: Place) {
        if header.has(END_HEADERS) {
            self.only_fragment(direction, payload, place);
        } else {
            self.fragment(direction, payload, true, place);
        }
    }
}
