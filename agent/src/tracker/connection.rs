//! A tracked connection.

use std::sync::Arc;

use agent_common::{Direction as Way, Role, Tuple};
use protocol::http1::{Boundary, Connection as Http1, Start, Want};
use protocol::{Direction, Limits, StartLine, looks_like};

use super::ends::Side;
use super::stream::{Segment, Stream};
use crate::attribution::Process;

/// Rest of a body from which on skipping is worth an order, bytes.
const SKIP_BYTES_MIN: u64 = 64 << 10;
/// Most that one order skips: less than half the sequence number space.
const SKIP_BYTES_MAX: u64 = 1 << 30;

/// State of a connection.
#[derive(Debug)]
pub struct Connection {
    /// As the source names it.
    pub id: u64,
    /// Addresses.
    pub tuple: Tuple,
    /// Network namespace.
    pub netns: u32,
    /// Who holds this end.
    pub process: Arc<Process>,
    /// When anything was last heard of it.
    pub active_ns: u64,
    /// Which way requests go; `None` while it is not known.
    request_way: Option<Way>,
    role: Role,
    late: bool,
    streams: [Stream; 2],
    /// `None` once it is known to speak something else.
    http: Option<Box<Http1>>,
}

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
}

/// An order to the source: skip this way up to this sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Which way.
    pub way: Way,
    /// First byte to capture again.
    pub sequence: u32,
}

/// What is lost, for the counters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Losses {
    /// Stretches.
    pub gaps: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Connection {
    /// A connection of which only the announcement is known.
    pub fn new(open: &crate::source::Open, role: Role, process: Arc<Process>, limits: Limits) -> Self {
        let base = |way: Way| open.base.and_then(|base| base.get(way as usize).copied());
        let start = if open.base.is_some() {
            Start::Fresh
        } else {
            Start::Late
        };
        Self {
            id: open.connection,
            tuple: open.tuple,
            netns: open.owner.netns,
            process,
            active_ns: open.time_ns,
            request_way: None,
            role,
            late: open.base.is_none(),
            streams: [Stream::new(base(Way::In)), Stream::new(base(Way::Out))],
            http: Some(Box::new(Http1::new(limits, start))),
        }
    }

    /// Which end this is, as far as is known.
    pub fn side(&self) -> Option<Side> {
        match (self.request_way, self.role) {
            (Some(Way::In), _) | (None, Role::Server) => Some(Side::Server),
            (Some(Way::Out), _) | (None, Role::Client) => Some(Side::Client),
            (None, Role::Unknown) => None,
        }
    }

    fn stream(&mut self, way: Way) -> &mut Stream {
        let [incoming, outgoing] = &mut self.streams;
        match way {
            Way::In => incoming,
            Way::Out => outgoing,
        }
    }

    fn direction(&self, way: Way) -> Option<Direction> {
        let request = self.request_way?;
        Some(if request == way {
            Direction::Request
        } else {
            Direction::Response
        })
    }

    /// Learns which end is the client: what the bytes say, else what the kernel saw.
    fn orient(&mut self, way: Way, data: &[u8]) {
        let other = match way {
            Way::In => Way::Out,
            Way::Out => Way::In,
        };
        self.request_way = match looks_like(data) {
            StartLine::Request | StartLine::Http2Preface | StartLine::ProxyHeader => Some(way),
            StartLine::Response => Some(other),
            StartLine::Neither | StartLine::TooShort => match self.role {
                Role::Server => Some(Way::In),
                Role::Client => Some(Way::Out),
                Role::Unknown => None,
            },
        };
    }

    /// Takes a record. `sequence` is that of its first byte.
    pub fn take(
        &mut self,
        way: Way,
        sequence: u32,
        mut segment: Segment<&[u8]>,
        round: u64,
        losses: &mut Losses,
    ) -> Taken {
        self.active_ns = self.active_ns.max(segment.time_ns);
        if self.http.is_none() {
            return Taken::Unwanted;
        }
        if self.request_way.is_none() {
            self.orient(way, segment.data);
            if self.request_way.is_none() {
                return Taken::Unoriented;
            }
        }
        let stream = self.stream(way);
        segment.offset = stream.offset(sequence);
        if !stream.is_next(&segment) {
            let room = stream.hold(segment, round);
            if !room {
                self.give_up(way, losses);
            }
            return Taken::Held;
        }
        self.pass(way, &segment, losses);
        while let Some(held) = self.stream(way).release(false) {
            self.pass_owned(way, &held, losses);
        }
        Taken::Passed
    }

    fn pass_owned(&mut self, way: Way, held: &Segment<Vec<u8>>, losses: &mut Losses) {
        let segment = Segment {
            offset: held.offset,
            length: held.length,
            time_ns: held.time_ns,
            turn_start: held.turn_start,
            on_purpose: held.on_purpose,
            data: held.data.as_slice(),
        };
        self.pass(way, &segment, losses);
    }

    /// What waits, waits no longer: the bytes before it are lost.
    fn give_up(&mut self, way: Way, losses: &mut Losses) {
        while let Some(held) = self.stream(way).release(true) {
            self.pass_owned(way, &held, losses);
        }
    }

    fn pass(&mut self, way: Way, segment: &Segment<&[u8]>, losses: &mut Losses) {
        let Some(direction) = self.direction(way) else {
            return;
        };
        let stream = self.stream(way);
        let (next, skip_to) = (stream.next(), stream.skip_to);
        stream.passed(segment);
        let Some(http) = &mut self.http else {
            return;
        };
        if segment.offset > next {
            let skipped = segment.offset.min(skip_to);
            if skipped > next {
                http.passed(direction, skipped, segment.time_ns);
            }
            let lost = segment.offset - skipped.max(next);
            if lost > 0 {
                losses.gaps += 1;
                losses.bytes += lost;
            }
        }
        let boundary = if segment.turn_start {
            Boundary::TurnStart
        } else {
            Boundary::Continued
        };
        http.segment(direction, segment.offset, segment.time_ns, segment.data, boundary);
        if segment.on_purpose && segment.data.len() < segment.length as usize {
            http.passed(direction, segment.end(), segment.time_ns);
        }
    }

    /// Records have waited for a whole round: what is missing before them is lost. True when anything went on.
    pub fn tick(&mut self, round: u64, losses: &mut Losses) -> bool {
        let mut moved = false;
        for way in [Way::In, Way::Out] {
            if self.stream(way).overdue(round) {
                self.give_up(way, losses);
                moved = true;
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
        let want = self.http.as_ref()?.wants(direction);
        let Want::SkipTo(until) = want else {
            return None;
        };
        let stream = self.stream(way);
        let next = stream.next();
        if until <= stream.skip_to || until.saturating_sub(next) < SKIP_BYTES_MIN || stream.skip_to > next {
            return None;
        }
        let until = until.min(next + SKIP_BYTES_MAX);
        let sequence = stream.sequence(until)?;
        stream.skip_to = until;
        Some(Skip { way, sequence })
    }

    /// The next exchange.
    pub fn poll(&mut self) -> Option<protocol::Exchange> {
        self.http.as_mut()?.poll()
    }

    /// What the parser counted since the last call.
    pub fn take_counters(&mut self) -> protocol::Counters {
        self.http
            .as_mut()
            .map(|http| http.take_counters())
            .unwrap_or_default()
    }

    /// Whether it turned out to speak something else. True once; the parser is gone then.
    pub fn left_http(&mut self) -> bool {
        let left = self
            .http
            .as_ref()
            .is_some_and(|http| http.protocol_hint().is_some());
        if left {
            self.http = None;
        }
        left
    }

    /// Whether all that the kernel received has been read by the process, as far as the records tell.
    pub fn all_read(&self, bytes_received: u64) -> bool {
        let [incoming, _] = &self.streams;
        // A FIN counts one.
        !self.late && bytes_received <= incoming.next() + 1
    }

    /// Nothing more is heard of the connection; what is unfinished comes out marked.
    pub fn abandon(&mut self, time_ns: u64, losses: &mut Losses) {
        self.give_up(Way::In, losses);
        self.give_up(Way::Out, losses);
        if let Some(http) = &mut self.http {
            http.close(time_ns);
        }
    }

    /// The connection is gone; what is unfinished comes out marked. `end`: sequence numbers after the last byte, a FIN included.
    pub fn finish(&mut self, end: [u32; 2], time_ns: u64, losses: &mut Losses) {
        for way in [Way::In, Way::Out] {
            self.give_up(way, losses);
            let Some(direction) = self.direction(way) else {
                continue;
            };
            let stream = self.stream(way);
            let end = end.get(way as usize).map(|sequence| stream.offset(*sequence));
            let next = stream.next();
            // One byte more than was seen is the FIN.
            let last = end.filter(|end| *end > next + 1);
            let skipped = stream.skip_to > next;
            let Some(http) = &mut self.http else {
                continue;
            };
            if let Some(last) = last {
                if skipped {
                    http.passed(direction, last, time_ns);
                } else {
                    losses.gaps += 1;
                    losses.bytes += last - next;
                }
            }
            http.finish(direction, Some(last.unwrap_or(next)), time_ns);
        }
        if let Some(http) = &mut self.http {
            http.close(time_ns);
        }
    }
}
