//! Records of a connection, in order, to its parser.

use agent_common::{Direction as Way, Role};
use protocol::{Boundary, Direction, Limits, Start, Want, sender};

use super::connection::{Connection, Ledger, Parser, opposite};
use super::fate::Kind;
use super::stream::{Segment, Stream};
use crate::source::Close;

/// Rest of a body from which on skipping is worth an order, bytes.
const SKIP_BYTES_MIN: u64 = 64 << 10;
/// Most that one order skips: less than half the sequence number space.
const SKIP_BYTES_MAX: u64 = 1 << 30;
/// Records of a skipped part after which the order is given again: it may have been overwritten.
pub const SKIP_AGAIN: u32 = 64;
/// What the waiting records of all connections may cost, bytes. Beyond, nothing waits.
pub const HELD_BYTES_MAX: usize = 32 << 20;

/// What came of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Passed on.
    Passed,
    /// Waits for an earlier one.
    Held,
    /// Nobody knows yet who is the client.
    Unoriented,
    /// The connection speaks something else.
    Unwanted,
    /// The other end speaks for it.
    Silent,
    /// It lies before the connection's begin.
    Misplaced,
}

/// An order to the source: skip this way up to this sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Which way.
    pub way: Way,
    /// First byte to capture again.
    pub sequence: u32,
}

impl Connection {
    /// Learns which end is the client. At the begin of a stream, and where the kernel did not see the connection begin, the bytes
    /// know best; in the middle of one a body may look like anything.
    fn orient(&mut self, way: Way, data: &[u8], place: Option<u64>) {
        // A stream that was joined late has no place yet.
        let (start, trust_bytes) = match place {
            None => (Start::Late, true),
            Some(0) => (Start::Fresh, true),
            Some(_) => (Start::Late, false),
        };
        let said = sender(data, start).map(|direction| match direction {
            Direction::Request => way,
            Direction::Response => opposite(way),
        });
        let known = match self.role {
            Role::Server => Some(Way::In),
            Role::Client => Some(Way::Out),
            Role::Unknown => None,
        };
        self.request_way = if trust_bytes {
            said.or(known)
        } else {
            known.or(said)
        };
    }

    /// Takes a record. `sequence` is that of its first byte; `limits` are for a parser that has to begin anew.
    pub fn take(
        &mut self,
        way: Way,
        sequence: u32,
        mut segment: Segment<&[u8]>,
        round: u64,
        limits: Limits,
        ledger: &mut Ledger,
    ) -> Taken {
        self.active_ns = self.active_ns.max(segment.time_ns);
        self.dozes = false;
        self.last_way = way;
        match self.http {
            Parser::Awake(_) => {}
            Parser::Asleep => {
                self.streams = [Stream::new(None), Stream::new(None)];
                self.http = Parser::Awake(Box::new(protocol::Connection::new(limits, Start::Late)));
                // The places of its exchanges are told from here on: the other end would not know them again.
                if let Some(told) = self.told.take() {
                    told.believe();
                }
            }
            Parser::Silent => {
                self.unwanted(way, sequence, &segment, ledger);
                return Taken::Silent;
            }
            Parser::Gone => {
                self.unwanted(way, sequence, &segment, ledger);
                return Taken::Unwanted;
            }
        }
        if self.request_way.is_none() {
            let place = self.stream(way).place(sequence);
            self.orient(way, segment.data, place);
            if self.request_way.is_none() {
                self.unoriented += 1;
                self.not_understood(way, sequence, &segment, ledger);
                return Taken::Unoriented;
            }
        }
        segment.behind_rest = self.ends_rest(way, &segment);
        if segment.behind_rest {
            self.give_up(Way::In, ledger);
            self.give_up(Way::Out, ledger);
        }
        let stream = self.stream(way);
        let offset = if segment.behind_rest {
            stream.offset_ahead(sequence)
        } else {
            stream.offset(sequence)
        };
        let Some(offset) = offset else {
            return Taken::Misplaced;
        };
        segment.offset = offset;
        if !segment.behind_rest && !stream.is_next(&segment) {
            let before = stream.held_bytes();
            let room = stream.hold(&segment, round);
            ledger.held_bytes += stream.held_bytes() - before;
            if !room || ledger.held_bytes > HELD_BYTES_MAX {
                self.give_up(way, ledger);
            }
            return Taken::Held;
        }
        self.pass(way, &segment, ledger);
        self.go_on(way, ledger);
        Taken::Passed
    }

    /// Passes on what waited for what has come.
    fn go_on(&mut self, way: Way, ledger: &mut Ledger) {
        while self.pass_held(way, false, ledger) {}
    }

    /// What waits, waits no longer: the bytes before it are lost.
    pub(super) fn give_up(&mut self, way: Way, ledger: &mut Ledger) {
        while self.pass_held(way, true, ledger) {}
    }

    fn pass_held(&mut self, way: Way, give_up: bool, ledger: &mut Ledger) -> bool {
        let stream = self.stream(way);
        let before = stream.held_bytes();
        let Some(held) = stream.release(give_up) else {
            return false;
        };
        ledger.held_bytes -= before - stream.held_bytes();
        let segment = Segment {
            offset: held.offset,
            length: held.length,
            time_ns: held.time_ns,
            turn_start: held.turn_start,
            on_purpose: held.on_purpose,
            missing: held.missing,
            stands_for: held.stands_for,
            behind_rest: held.behind_rest,
            data: held.data.as_slice(),
        };
        self.pass(way, &segment, ledger);
        true
    }

    fn pass(&mut self, way: Way, segment: &Segment<&[u8]>, ledger: &mut Ledger) {
        let Some(direction) = self.direction(way) else {
            return;
        };
        let is_cut = segment.data.len() < segment.length as usize;
        self.is_blind |= is_cut && segment.missing.kind() == Kind::Missed;
        let stream = self.stream(way);
        let (next, skip_to) = (stream.next(), stream.skip_to);
        stream.unskipped += u32::from(segment.offset < skip_to);
        self.enter(way, segment, ledger);
        if segment.behind_rest {
            self.resume(way, segment.offset, segment.time_ns);
        }
        self.note_rest(way, segment);
        let stream = self.stream(way);
        stream.passed(segment);
        let begin = if segment.behind_rest {
            next
        } else {
            segment.offset.max(next)
        };
        let skipped = begin.min(skip_to).max(next);
        let lost = begin - skipped;
        self.is_blind |= lost > 0;
        let Some(http) = self.http() else {
            return;
        };
        if skipped > next {
            http.passed(direction, skipped, segment.time_ns);
        }
        ledger.lose(lost);
        let boundary = if segment.turn_start {
            Boundary::TurnStart
        } else {
            Boundary::Continued
        };
        http.segment(direction, segment.offset, segment.time_ns, segment.data, boundary);
        if segment.on_purpose && is_cut {
            http.passed(direction, segment.end(), segment.time_ns);
        }
    }

    /// Records have waited for a whole round: what is missing before them is lost. True when anything went on.
    pub fn tick(&mut self, round: u64, ledger: &mut Ledger) -> bool {
        let mut moved = false;
        for way in [Way::In, Way::Out] {
            while self.stream(way).overdue(round) {
                moved |= self.pass_held(way, true, ledger);
                self.go_on(way, ledger);
            }
        }
        moved
    }

    /// Whether records wait.
    pub fn holds(&self) -> bool {
        self.streams.iter().any(Stream::holds)
    }

    /// What the source need not send.
    pub fn skip(&mut self, way: Way) -> Option<Skip> {
        let direction = self.direction(way)?;
        let Want::SkipTo(until) = self.http()?.wants(direction) else {
            return None;
        };
        let stream = self.stream(way);
        let next = stream.next();
        let until = if stream.skip_to > next {
            // Ordered already. What is on its way comes nevertheless, but not for ever.
            if stream.unskipped < SKIP_AGAIN {
                return None;
            }
            stream.skip_to
        } else {
            until.min(next + SKIP_BYTES_MAX)
        };
        stream.unskipped = 0;
        if until.saturating_sub(next) < SKIP_BYTES_MIN {
            return None;
        }
        let sequence = stream.sequence(until)?;
        stream.skip_to = until;
        Some(Skip { way, sequence })
    }

    /// Whether everything has come that the kernel says went over the connection until its end.
    pub fn is_complete(&self, close: &Close) -> bool {
        let complete = |(stream, end): (&Stream, &u32)| {
            stream
                .place(*end)
                .is_none_or(|end| end <= stream.next().max(stream.skip_to))
        };
        if !matches!(self.http, Parser::Awake(_)) {
            return true;
        }
        if close.rests {
            // Nothing was captured of what went by last.
            return close.unread == 0 && !self.holds();
        }
        close.unread == 0 && !self.holds() && self.streams.iter().zip(&close.end).all(complete)
    }

    /// The connection is gone; what is unfinished comes out marked.
    pub fn finish(&mut self, close: &Close, ledger: &mut Ledger) {
        self.give_up(Way::In, ledger);
        self.give_up(Way::Out, ledger);
        self.reconcile(close, true, ledger);
        self.pass_rest(close);
        for way in [Way::In, Way::Out] {
            let Some(direction) = self.direction(way) else {
                continue;
            };
            let stream = self.stream(way);
            let (next, skip_to, resumes) = (stream.next(), stream.skip_to, stream.resumes);
            let end = close.end.get(way as usize);
            let last = end.and_then(|end| stream.place(*end)).unwrap_or(next).max(next);
            let skipped = skip_to.min(last).max(next);
            let lost = if resumes { 0 } else { last - skipped };
            self.is_blind |= lost > 0;
            let Some(http) = self.http() else {
                continue;
            };
            if skipped > next {
                http.passed(direction, skipped, close.time_ns);
            }
            ledger.lose(lost);
            http.finish(direction, Some(last), close.time_ns);
        }
        if let Some(http) = self.http() {
            http.close(close.time_ns);
        }
    }
}
