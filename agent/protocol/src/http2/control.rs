//! Control frames that matter: SETTINGS, RST_STREAM, GOAWAY (RFC 9113 6.4, 6.5, 6.8).

use super::connection::Connection;
use super::frame::{ACK, FrameHeader, Kind};
use super::reader::{Place, SMALL_BYTES};
use super::stream::HalfState;
use crate::{Direction, Nanos};

/// SETTINGS_MAX_FRAME_SIZE.
const MAX_FRAME_SIZE: u16 = 5;
/// GOAWAY frames that are acted on: a server sends two where it shuts down gracefully (RFC 9113 6.8). Each looks at
/// all streams.
const GOAWAYS_MAX: u32 = 8;

/// Bytes of a setting.
const SETTING_BYTES: usize = 6;

impl Connection {
    /// Part of the payload of a control frame; `done`: its last.
    pub(super) fn small(
        &mut self,
        direction: Direction,
        header: FrameHeader,
        data: &[u8],
        done: bool,
        place: Place,
    ) {
        let unit = if header.kind == Kind::Settings {
            SETTING_BYTES
        } else {
            SMALL_BYTES
        };
        for &byte in data {
            let reader = self.reader(direction);
            if let Some(to) = reader
                .small
                .get_mut(reader.small_len)
                .filter(|_| reader.small_len < unit)
            {
                *to = byte;
                reader.small_len += 1;
            } else {
                // Debug data of GOAWAY.
                break;
            }
            if header.kind == Kind::Settings && reader.small_len == SETTING_BYTES {
                reader.small_len = 0;
                let setting = reader.small;
                self.setting(direction, &setting);
            }
        }
        if !done {
            return;
        }
        let reader = self.reader(direction);
        let whole = reader.small_len;
        let [a, b, c, d, ..] = reader.small;
        let first = u32::from_be_bytes([a, b, c, d]);
        match header.kind {
            Kind::RstStream => {
                // The code may be missing; that the stream is reset says the frame's header.
                let code = if whole >= 4 { first } else { u32::MAX };
                self.reset(direction, header.stream, code, place.time);
            }
            Kind::GoAway if whole >= 4 => self.go_away(direction, first & !(1 << 31), place.time),
            Kind::Settings if header.has(ACK) => {}
            _ => {}
        }
    }

    /// A setting that the sender of `direction` has for the other side.
    pub(super) fn setting(&mut self, direction: Direction, setting: &[u8]) {
        let Some(&[a, b, c, d, e, f]) = setting.first_chunk::<SETTING_BYTES>() else {
            return;
        };
        if u16::from_be_bytes([a, b]) == MAX_FRAME_SIZE {
            let other = match direction {
                Direction::Request => Direction::Response,
                Direction::Response => Direction::Request,
            };
            let reader = self.reader(other);
            // Lowered or not, frames of before may be on their way.
            reader.payload_max = reader.payload_max.max(u32::from_be_bytes([c, d, e, f]));
        }
    }

    fn reset(&mut self, direction: Direction, id: u32, code: u32, time: Nanos) {
        if direction == Direction::Response && !self.follows_answer(id) {
            return;
        }
        let losses = self.reader(direction).losses;
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        self.counters.streams_reset += 1;
        if stream.half(direction).state == HalfState::Open {
            stream.seen(direction, losses, time);
            stream.half(direction).state = HalfState::Cut;
        }
        stream.half(direction).reset.get_or_insert(code);
        self.settle(id, time);
    }

    /// The sender will not act on streams above `last` that the other side opened.
    fn go_away(&mut self, direction: Direction, last: u32, time: Nanos) {
        self.counters.goaways += 1;
        self.goaways = self.goaways.saturating_add(1);
        let lower = self.answered_max.is_none_or(|max| last < max);
        if direction == Direction::Request || !lower || self.goaways > GOAWAYS_MAX {
            return;
        }
        self.answered_max = Some(last);
        let refused = self.streams.ids(|stream| stream.id > last && stream.id % 2 == 1);
        for id in refused {
            if let Some(stream) = self.streams.get(id)
                && stream.answering.state == HalfState::Open
            {
                stream.answering.state = HalfState::Cut;
            }
            self.settle(id, time);
        }
    }
}
