//! What is known of one direction between two segments.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::body::FramedBody;
use super::head::{Bad, Head, Parsed, ResponseHead, end_of_head};
use crate::Boundary;
use crate::detect::Line;
use crate::{Flags, Limits, Nanos};

/// State of one direction.
#[derive(Debug)]
pub(super) struct Reader {
    /// Stream offset of the next byte; unknown before the first segment of a connection joined late.
    pub(super) next: Option<u64>,
    pub(super) state: State,
    /// Whether the next byte is the first of a turn.
    pub(super) turn: bool,
    /// Time of the last byte of the current message.
    pub(super) last_byte: Nanos,
    /// Completeness of the current message.
    pub(super) flags: Flags,
    /// A message whose end was lost: it lasts until the next one is found.
    pub(super) open: Option<Box<Open>>,
    /// Bytes before this offset that do not come were left out on purpose.
    pub(super) left_out_until: u64,
    /// Turns that did not begin with a start line, while looking for one.
    pub(super) tries: u32,
    held: VecDeque<Held>,
    held_cost: usize,
}

#[derive(Debug)]
pub(super) enum State {
    /// Between two messages.
    Between,
    /// The PROXY header ahead of the first request, incomplete.
    Proxy(Box<Partial>),
    /// In a head.
    Head(Box<Partial>),
    Body(FramedBody),
    /// A response whose request was not seen yet.
    Waiting(Box<Received>),
    /// Looking for the next message: the first turn that begins with a start line.
    Lost,
    /// Nothing more will come, or nothing more is wanted.
    Over,
}

/// Where and when a message began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begin {
    pub(super) offset: u64,
    pub(super) time: Nanos,
    /// Whether it began a turn.
    pub(super) turn: bool,
    /// Whether it was found after being lost; then it may be no message at all.
    pub(super) tentative: bool,
}

/// A response's head that was read.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) head: ResponseHead,
    pub(super) begin: Begin,
    /// Stream offset behind it.
    pub(super) end: u64,
    /// Time of its last byte.
    pub(super) last_byte: Nanos,
}

/// An incomplete head.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) begin: Begin,
    pub(super) buffer: BytesMut,
    /// Time of its last byte so far.
    pub(super) last_byte: Nanos,
    start_line_seen: bool,
}

impl Partial {
    pub(super) fn new(begin: Begin, data: &[u8]) -> Self {
        Self {
            begin,
            buffer: BytesMut::from(data),
            last_byte: begin.time,
            start_line_seen: false,
        }
    }
}

/// A message whose end was lost.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) body: FramedBody,
    pub(super) begin: u64,
    /// Bytes that were lost since, those not counted that were left out on purpose.
    pub(super) lost: u64,
}

/// What came while the other direction was behind.
#[derive(Debug)]
pub(super) enum Held {
    Segment {
        offset: u64,
        time: Nanos,
        boundary: Boundary,
        data: Bytes,
    },
    Passed {
        until: u64,
        time: Nanos,
    },
    Finish {
        final_offset: Option<u64>,
        time: Nanos,
    },
}

impl Held {
    /// What it costs to keep it, as `Limits::held_bytes` counts.
    fn cost(&self) -> usize {
        let data = match self {
            Self::Segment { data, .. } => data.len(),
            Self::Passed { .. } | Self::Finish { .. } => 0,
        };
        data + Limits::HELD_SEGMENT_COST
    }
}

/// Outcome of reading a head.
#[derive(Debug)]
pub(super) enum HeadStep<H> {
    /// Took so many bytes; it goes on.
    More(usize),
    /// Took so many bytes; here it is.
    Complete {
        used: usize,
        head: H,
        begin: Begin,
        lenient: bool,
    },
    /// It is none.
    Bad { bad: Bad, begin: Begin, seen: Bytes },
}

impl Reader {
    pub(super) fn new(next: Option<u64>) -> Self {
        let state = if next.is_some() {
            State::Between
        } else {
            State::Lost
        };
        Self {
            next,
            state,
            turn: false,
            last_byte: 0,
            flags: Flags::default(),
            open: None,
            left_out_until: 0,
            tries: 0,
            held: VecDeque::new(),
            held_cost: 0,
        }
    }

    /// Gives up what looked like the begin of a head: it belongs to the message whose end was lost.
    pub(super) fn drop_tentative(&mut self) {
        if let State::Head(partial) = &self.state
            && partial.begin.tentative
        {
            self.last_byte = partial.last_byte;
            self.state = State::Lost;
        }
    }

    /// Reads a head from the begin of `data`, which is not empty.
    pub(super) fn head<H: Head>(&mut self, data: &[u8], begin: Begin, limits: &Limits) -> HeadStep<H> {
        if !matches!(self.state, State::Head(_)) {
            match H::parse(data, limits) {
                Parsed::Complete { head, len, lenient } => {
                    return HeadStep::Complete {
                        used: len,
                        head,
                        begin,
                        lenient,
                    };
                }
                Parsed::Bad(bad) => {
                    // A bad start line is told before a head that is too large, as when it comes piece by piece.
                    let start = data.get(..=limits.head_bytes).unwrap_or(data);
                    let bad = if H::start_line(start) == Line::Bad {
                        Bad::StartLine
                    } else {
                        bad
                    };
                    return HeadStep::Bad {
                        bad,
                        begin,
                        seen: seen(data),
                    };
                }
                Parsed::Incomplete => self.state = State::Head(Box::new(Partial::new(begin, &[]))),
            }
        }
        let State::Head(partial) = &mut self.state else {
            return HeadStep::More(data.len());
        };
        let Partial {
            begin,
            buffer,
            start_line_seen,
            ..
        } = &mut **partial;
        let begin = *begin;
        let before = buffer.len();
        let room = (limits.head_bytes + 1).saturating_sub(before);
        let taken = data.len().min(room);
        buffer.extend_from_slice(data.get(..taken).unwrap_or_default());
        if !*start_line_seen {
            match H::start_line(buffer) {
                Line::Bad => {
                    return HeadStep::Bad {
                        bad: Bad::StartLine,
                        begin,
                        seen: seen(buffer),
                    };
                }
                Line::Whole => *start_line_seen = true,
                Line::Short | Line::Plausible => {}
            }
        }
        let Some(end) = end_of_head(buffer, before.saturating_sub(2)) else {
            return if buffer.len() > limits.head_bytes {
                HeadStep::Bad {
                    bad: Bad::TooLarge,
                    begin,
                    seen: Bytes::new(),
                }
            } else {
                HeadStep::More(taken)
            };
        };
        match H::parse(buffer.get(..end).unwrap_or_default(), limits) {
            Parsed::Complete { head, lenient, .. } => HeadStep::Complete {
                used: end.saturating_sub(before),
                head,
                begin,
                lenient,
            },
            Parsed::Bad(bad) => HeadStep::Bad {
                bad,
                begin,
                seen: seen(buffer),
            },
            Parsed::Incomplete => HeadStep::Bad {
                bad: Bad::StartLine,
                begin,
                seen: seen(buffer),
            },
        }
    }

    /// Whether something is held, so that what comes now has to queue.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Queues. `Err`: it would exceed the limit; everything held is gone, and so is this.
    pub(super) fn hold(&mut self, item: Held, limits: &Limits) -> Result<(), u64> {
        let end = match &item {
            Held::Segment { offset, data, .. } => Some(offset.saturating_add(data.len() as u64)),
            Held::Passed { until, .. } => Some(*until),
            // There is one at most, and behind it there is nothing.
            Held::Finish { .. } => None,
        };
        self.held_cost += item.cost();
        if let Some(end) = end.filter(|_| self.held_cost > limits.held_bytes) {
            self.drop_held();
            return Err(end);
        }
        self.held.push_back(item);
        Ok(())
    }

    /// Puts back what could not be read entirely. It was within the limit before.
    pub(super) fn put_back(&mut self, item: Held) {
        self.held_cost += item.cost();
        self.held.push_front(item);
    }

    pub(super) fn release(&mut self) -> Option<Held> {
        let item = self.held.pop_front();
        let cost = item.as_ref().map_or(0, Held::cost);
        self.held_cost = self.held_cost.saturating_sub(cost);
        item
    }

    /// Bytes that are kept, but for bodies.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        let partial = match &self.state {
            State::Head(partial) | State::Proxy(partial) => partial.buffer.len(),
            State::Waiting(received) => (received.end - received.begin.offset) as usize,
            _ => 0,
        };
        partial + self.held_cost
    }

    /// Bytes of memory behind it, about.
    pub(super) fn memory_bytes(&self) -> usize {
        let state = match &self.state {
            State::Head(partial) | State::Proxy(partial) => size_of::<Partial>() + partial.buffer.capacity(),
            State::Waiting(received) => size_of::<Received>() + received.head.headers.memory_bytes(),
            State::Body(body) => body.memory_bytes(),
            State::Between | State::Lost | State::Over => 0,
        };
        let open = self
            .open
            .as_ref()
            .map_or(0, |open| size_of::<Open>() + open.body.memory_bytes());
        state + open + self.held_cost
    }

    pub(super) fn drop_held(&mut self) {
        self.held = VecDeque::new();
        self.held_cost = 0;
    }
}

/// Enough of a bad head to tell what it is.
fn seen(data: &[u8]) -> Bytes {
    Bytes::copy_from_slice(data.get(..32).unwrap_or(data))
}
