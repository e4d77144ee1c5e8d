//! Delivering bytes to the two readers, and holding them while the other direction is behind.

use bytes::Bytes;

use super::body::Read;
use super::call::{Assign, Loss};
use super::connection::Connection;
use super::reader::{Held, State};
use crate::Boundary;
use crate::{Direction, Flags, Nanos};

/// Bytes of one direction that are known to follow what was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) time: Nanos,
}

/// What became of the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many were taken.
    Used(usize),
    /// They have to wait for the other direction.
    Blocked,
}

impl Connection {
    pub(super) fn pass(&mut self, direction: Direction, until: u64, time: Nanos) {
        if direction == Direction::Response {
            self.answer_unresumed(until);
        }
        let reader = self.reader(direction);
        let next = *reader.next.get_or_insert(until);
        if until > next {
            reader.last_byte = time;
            self.miss(direction, next, until);
        }
    }

    pub(super) fn blocked(&self, direction: Direction) -> bool {
        match direction {
            Direction::Request => self.pairing.request_blocked(),
            Direction::Response => matches!(self.response.state, State::Waiting(_)),
        }
    }

    /// Reads a segment. `held`: the bytes that `data` is, if they are kept already.
    pub(super) fn feed(
        &mut self,
        direction: Direction,
        offset: u64,
        time: Nanos,
        data: &[u8],
        boundary: Boundary,
        held: Option<&Bytes>,
    ) {
        if direction == Direction::Response {
            self.answer_unresumed(offset);
        }
        let reader = self.reader(direction);
        let next = *reader.next.get_or_insert(offset);
        let repeated = usize::try_from(next.saturating_sub(offset)).unwrap_or(usize::MAX);
        let Some(data) = data.get(repeated..).filter(|data| !data.is_empty()) else {
            return;
        };
        let offset = offset.max(next);
        if offset > next {
            self.miss(direction, next, offset);
        }
        if direction == Direction::Request {
            self.pairing.requests_seen_until(time);
        }
        if boundary == Boundary::TurnStart && repeated == 0 {
            if direction == Direction::Request {
                self.turn_unresumed(offset);
            }
            let reader = self.reader(direction);
            reader.turn = true;
            let inside = matches!(reader.state, State::Head(_) | State::Body(_));
            // No head goes on in another turn: what looked like the begin of one was none.
            reader.drop_tentative();
            if direction == Direction::Request
                && let Some(call) = self.pairing.open_request()
            {
                call.turn_inside.get_or_insert(time);
            }
            self.alternates &= !(inside && offset == next);
        }
        let mut taken = 0;
        while self.hint.is_none()
            && let Some(rest) = data.get(taken..).filter(|rest| !rest.is_empty())
        {
            let place = Place {
                offset: offset + taken as u64,
                time,
            };
            let step = match direction {
                Direction::Request => self.request_bytes(rest, place),
                Direction::Response => self.response_bytes(rest, place),
            };
            self.follow_up();
            match step {
                Step::Used(len) => taken += len,
                Step::Blocked => {
                    let boundary = if self.reader(direction).turn {
                        Boundary::TurnStart
                    } else {
                        Boundary::Continued
                    };
                    let copy = || Bytes::copy_from_slice(rest);
                    let data = held.map_or_else(copy, |held| held.slice_ref(rest));
                    self.reader(direction).next = Some(place.offset);
                    self.hold_first(
                        direction,
                        Held::Segment {
                            offset: place.offset,
                            time,
                            boundary,
                            data,
                        },
                    );
                    return;
                }
            }
        }
        self.reader(direction).next = Some(offset + data.len() as u64);
        if self.behind.is_some()
            && let Some(rest) = data.get(taken..).filter(|rest| !rest.is_empty())
        {
            let item = Held::Segment {
                offset: offset + taken as u64,
                time,
                boundary: Boundary::Continued,
                data: held.map_or_else(|| Bytes::copy_from_slice(rest), |held| held.slice_ref(rest)),
            };
            self.more_behind(direction, item);
        }
    }

    /// Reads body bytes from the begin of `data`, which is not empty.
    pub(super) fn body_bytes(&mut self, direction: Direction, data: &[u8], place: Place) -> Step {
        let (reader, counters) = match direction {
            Direction::Request => (&mut self.request, &mut self.counters),
            Direction::Response => (&mut self.response, &mut self.counters),
        };
        let State::Body(body) = &mut reader.state else {
            return Step::Used(data.len());
        };
        reader.turn = false;
        reader.last_byte = place.time;
        let (used, next) = match body.read(data, &self.limits, counters) {
            Read::More(used) => return Step::Used(used),
            Read::Done(used) => (used, State::Between),
            Read::Broken => (data.len(), State::Lost),
        };
        let broken = matches!(next, State::Lost);
        if let State::Body(body) = std::mem::replace(&mut reader.state, next) {
            if broken {
                self.end_unknown(direction, body, place.offset);
            } else {
                self.message_done(direction, Some(body));
            }
        }
        Step::Used(used)
    }

    /// What one direction's news mean for the other.
    pub(super) fn follow_up(&mut self) {
        if self.pairing.take_withdrawn() && !matches!(self.response.state, State::Waiting(_) | State::Over) {
            self.lose_response(Loss::Bytes);
        }
        if self.pairing.take_switch_unknown() && !matches!(self.request.state, State::Over) {
            self.lose_request(Loss::Bytes);
        }
    }

    pub(super) fn end(&mut self, direction: Direction, final_offset: Option<u64>, _time: Nanos) {
        if matches!(self.reader(direction).state, State::Over) {
            return;
        }
        self.end_unresumed(direction, final_offset);
        if let (Some(next), Some(end)) = (self.reader(direction).next, final_offset)
            && end > next
        {
            self.miss(direction, next, end);
        }
        let reader = self.reader(direction);
        reader.drop_tentative();
        let lost = matches!(reader.state, State::Lost);
        match std::mem::replace(&mut reader.state, State::Over) {
            State::Body(body) => {
                if !body.ends_with_connection() {
                    reader.flags.insert(Flags::TRUNCATED);
                }
                self.message_done(direction, Some(body));
                self.reader(direction).state = State::Over;
            }
            State::Head(_) => match direction {
                Direction::Request => self.counters.requests_without_head += 1,
                Direction::Response => self.counters.responses_without_head += 1,
            },
            _ => {}
        }
        let end = self.reader(direction).next.unwrap_or_default();
        self.end_open(direction, end);
        self.reader(direction).state = State::Over;
        match direction {
            Direction::Request => self
                .pairing
                .end_requests(final_offset.is_some() && !lost, &mut self.counters),
            Direction::Response => self.pairing.end_responses(&mut self.counters),
        }
        self.follow_up();
    }

    pub(super) fn hold(&mut self, direction: Direction, item: Held) {
        let limits = self.limits;
        if let Err(end) = self.reader(direction).hold(item, &limits) {
            self.overflow(direction, end);
        }
    }

    pub(super) fn hold_first(&mut self, direction: Direction, item: Held) {
        if self.reader(direction).holds() {
            self.reader(direction).put_back(item);
        } else {
            self.hold(direction, item);
        }
    }

    /// Too much is held: what was is gone, up to stream offset `end`.
    pub(super) fn overflow(&mut self, direction: Direction, end: u64) {
        self.counters.held_overflow += 1;
        if matches!(self.response.state, State::Waiting(_)) && direction == Direction::Response {
            self.counters.responses_without_request += 1;
        }
        self.lose(direction, Loss::Bytes);
        let reader = self.reader(direction);
        reader.turn = false;
        reader.next = Some(end);
        self.follow_up();
    }

    /// Goes on with what is held, as far as it goes.
    pub(super) fn pump(&mut self) {
        loop {
            let mut moved = self.retry_waiting();
            for direction in [Direction::Request, Direction::Response] {
                if self.hint.is_some() || self.blocked(direction) {
                    continue;
                }
                let Some(item) = self.reader(direction).release() else {
                    continue;
                };
                moved = true;
                match item {
                    Held::Segment {
                        offset,
                        time,
                        boundary,
                        data,
                    } => {
                        self.feed(direction, offset, time, &data, boundary, Some(&data));
                    }
                    Held::Passed { until, time } => self.pass(direction, until, time),
                    Held::Finish { final_offset, time } => self.end(direction, final_offset, time),
                }
            }
            if !moved {
                return;
            }
        }
    }

    pub(super) fn retry_waiting(&mut self) -> bool {
        let State::Waiting(waiting) = &self.response.state else {
            return false;
        };
        let assign = self.assign(waiting);
        if assign == Assign::Wait {
            return false;
        }
        if let State::Waiting(waiting) = std::mem::replace(&mut self.response.state, State::Between) {
            self.response_assigned(*waiting, assign);
            self.follow_up();
        }
        true
    }
}
