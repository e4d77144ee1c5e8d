//! A connection: segments of its two byte streams in, exchanges out.

use bytes::Bytes;

use super::body::Missed;
use super::pairing::{Assign, Loss, Pairing};
use super::proxy::ProxyHeader;
use super::reader::{Begin, Held, Open, Reader, State};
use crate::{Counters, Direction, Exchange, Flags, Limits, Nanos};

/// Whether the connection was seen from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Both streams begin at offset 0.
    Fresh,
    /// Joined after it began: the first segment of each direction may lie anywhere in a message.
    Late,
}

/// Whether the other direction carried bytes since this direction's previous byte. Used only to find the next message
/// after a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// It did: the segment begins a turn.
    TurnStart,
    /// It did not.
    Continued,
}

/// What a direction still has to be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Every byte.
    All,
    /// Nothing before this stream offset; `u64::MAX`: nothing but the end. Bytes up to it are the rest of a body.
    SkipTo(u64),
    /// Nothing: see [`Connection::protocol_hint`].
    Nothing,
}

/// Why a connection carries no HTTP/1, or no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtocolHint {
    /// The HTTP/2 preface.
    Http2Preface,
    /// Its first bytes are no HTTP; or it was joined late and nothing that came was.
    NotHttp,
    /// 101 Switching Protocols: the value of `Upgrade`, for example `websocket`, `h2c`.
    Upgraded(Bytes),
    /// CONNECT succeeded.
    Tunnel,
}

/// One HTTP/1 connection.
///
/// Segments of one direction come in order; the two directions may be delivered in any interleaving: an answer that
/// comes before its request is held until the request comes. Times tell the true order, and are used only after a loss.
///
/// An exchange is out as soon as both halves are complete, but for two cases: a message whose end was lost ends where the
/// next one of its direction begins, and what was paired after a loss waits until the request direction shows that
/// nothing is missing (see `pairing`).
///
/// `LATE_JOIN` is set on the exchanges of a connection joined late until the first pair is certain; from there on it is
/// as good as one seen from its begin.
#[derive(Debug)]
pub struct Connection {
    pub(super) limits: Limits,
    pub(super) counters: Counters,
    pub(super) request: Reader,
    pub(super) response: Reader,
    pub(super) pairing: Pairing,
    pub(super) hint: Option<ProtocolHint>,
    pub(super) proxy: Option<ProxyHeader>,
    /// Whether any message was read.
    pub(super) spoke_http: bool,
}

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

/// Turns without a start line after which a connection joined late, on which no message was ever read, is taken to be
/// something else.
const TRIES_MAX: u32 = 64;

impl Connection {
    /// A connection of which nothing was seen yet.
    #[must_use]
    pub fn new(limits: Limits, start: Start) -> Self {
        let next = (start == Start::Fresh).then_some(0);
        Self {
            limits,
            counters: Counters::default(),
            request: Reader::new(next),
            response: Reader::new(next),
            pairing: Pairing::new(start == Start::Late, limits.pending_requests),
            hint: None,
            proxy: None,
            spoke_http: false,
        }
    }

    /// Takes the bytes of `direction` that begin at stream offset `offset`. Bytes before what was seen are ignored; bytes
    /// between are missing.
    pub fn segment(
        &mut self,
        direction: Direction,
        offset: u64,
        time: Nanos,
        data: &[u8],
        boundary: Boundary,
    ) {
        if self.hint.is_some() || data.is_empty() || offset.checked_add(data.len() as u64).is_none() {
            return;
        }
        if self.reader(direction).holds() || self.blocked(direction) {
            let data = Bytes::copy_from_slice(data);
            self.hold(
                direction,
                Held::Segment {
                    offset,
                    time,
                    boundary,
                    data,
                },
            );
        } else {
            self.feed(direction, offset, time, data, boundary);
        }
        self.pump();
    }

    /// The bytes of `direction` before stream offset `until` that were not given yet will not come because they were left
    /// out on purpose (capture cap). Call it before the segment behind them.
    pub fn left_out(&mut self, direction: Direction, until: u64) {
        let reader = self.reader(direction);
        reader.left_out_until = reader.left_out_until.max(until);
    }

    /// Bytes of `direction` up to stream offset `until` went by at `time` and were left out on purpose (capture cap, bytes that
    /// never were in readable memory). Unlike [`Self::left_out`] this moves on at once: a body that ends among them is over.
    pub fn passed(&mut self, direction: Direction, until: u64, time: Nanos) {
        if self.hint.is_some() {
            return;
        }
        self.left_out(direction, until);
        if self.reader(direction).holds() || self.blocked(direction) {
            self.hold(direction, Held::Passed { until, time });
        } else {
            self.pass(direction, until, time);
        }
        self.pump();
    }

    fn pass(&mut self, direction: Direction, until: u64, time: Nanos) {
        let reader = self.reader(direction);
        let next = *reader.next.get_or_insert(until);
        if until > next {
            reader.last_byte = time;
            self.miss(direction, next, until);
        }
    }

    /// `direction` ended (FIN). `final_offset`: the length of its stream, if known.
    pub fn finish(&mut self, direction: Direction, final_offset: Option<u64>, time: Nanos) {
        if self.hint.is_some() {
            return;
        }
        if self.reader(direction).holds() || self.blocked(direction) {
            self.hold(direction, Held::Finish { final_offset, time });
        } else {
            self.end(direction, final_offset, time);
        }
        self.pump();
    }

    /// The connection is gone; what is unfinished comes out marked.
    pub fn close(&mut self, time: Nanos) {
        self.finish(Direction::Request, None, time);
        self.finish(Direction::Response, None, time);
        if self.hint.is_none() {
            self.pairing.end(&mut self.counters);
        }
        self.request.drop_held();
        self.response.drop_held();
        self.request.state = State::Over;
        self.response.state = State::Over;
    }

    /// The next exchange.
    pub fn poll(&mut self) -> Option<Exchange> {
        self.pairing.poll()
    }

    /// What the caller need not deliver of `direction`.
    #[must_use]
    pub fn wants(&self, direction: Direction) -> Want {
        let reader = match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        };
        match (&self.hint, &reader.state) {
            (Some(_), _) | (_, State::Over) => Want::Nothing,
            (None, State::Body(body)) if body.satisfied(&self.limits) => match (body.rest(), reader.next) {
                (Some(rest), Some(next)) => Want::SkipTo(next.saturating_add(rest)),
                _ => Want::All,
            },
            _ => Want::All,
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What was counted since the last call.
    pub fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// Why the connection carries no HTTP/1, or no longer; then it wants nothing.
    #[must_use]
    pub fn protocol_hint(&self) -> Option<&ProtocolHint> {
        self.hint.as_ref()
    }

    /// The PROXY protocol header ahead of the first request.
    #[must_use]
    pub fn proxy_header(&self) -> Option<&ProxyHeader> {
        self.proxy.as_ref()
    }

    /// Bytes and messages that are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize) {
        (self.request.kept() + self.response.kept(), self.pairing.kept())
    }

    pub(super) fn reader(&mut self, direction: Direction) -> &mut Reader {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }

    fn blocked(&self, direction: Direction) -> bool {
        match direction {
            Direction::Request => self.pairing.request_blocked(),
            Direction::Response => matches!(self.response.state, State::Waiting(_)),
        }
    }

    fn feed(&mut self, direction: Direction, offset: u64, time: Nanos, data: &[u8], boundary: Boundary) {
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
        if boundary == Boundary::TurnStart && repeated == 0 {
            let reader = self.reader(direction);
            reader.turn = true;
            // No head goes on in another turn: what looked like the begin of one was none.
            if matches!(&reader.state, State::Head(partial) if partial.begin.tentative) {
                reader.state = State::Lost;
            }
            if direction == Direction::Request
                && let Some(call) = self.pairing.open_request()
            {
                call.turn_inside.get_or_insert(time);
            }
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
                    let data = Bytes::copy_from_slice(rest);
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
        if direction == Direction::Request {
            self.pairing.requests_seen_until(time);
        }
    }

    /// What one direction's news mean for the other.
    fn follow_up(&mut self) {
        if self.pairing.take_withdrawn() && !matches!(self.response.state, State::Waiting(_) | State::Over) {
            self.lose_response(Loss::Bytes);
        }
        if self.pairing.take_switch_unknown() && !matches!(self.request.state, State::Over) {
            self.lose_request(Loss::Bytes);
        }
    }

    /// Bytes of `direction` from stream offset `from` to `to` are missing.
    fn miss(&mut self, direction: Direction, from: u64, to: u64) {
        let missing = to - from;
        self.counters.gaps += 1;
        self.counters.gap_bytes = self.counters.gap_bytes.saturating_add(missing);
        let limits = self.limits;
        let reader = self.reader(direction);
        let left_out = to <= reader.left_out_until;
        reader.turn = false;
        reader.next = Some(to);
        if let Some(open) = &mut reader.open {
            open.lost += if left_out { 0 } else { missing };
            reader
                .flags
                .insert(if left_out { Flags::TRUNCATED } else { Flags::GAP });
        }
        match std::mem::replace(&mut reader.state, State::Lost) {
            State::Body(mut body) => {
                let unwanted = body.satisfied(&limits) && body.rest().is_some();
                reader.flags.insert(if left_out || unwanted {
                    Flags::TRUNCATED
                } else {
                    Flags::GAP
                });
                let begin = from.saturating_sub(body.wire());
                match body.miss(missing) {
                    Missed::Inside => reader.state = State::Body(body),
                    Missed::Last(last) => {
                        reader.state = State::Between;
                        self.message_done(direction, Some(body));
                        if last < missing {
                            self.lose_with_head(direction);
                        }
                    }
                    Missed::EndLost => {
                        reader.open = Some(Box::new(Open {
                            body,
                            begin,
                            lost: if left_out { 0 } else { missing },
                        }));
                        self.lose(direction, if left_out { Loss::Framing } else { Loss::Bytes });
                    }
                }
            }
            State::Head(partial) if partial.begin.tentative => {}
            State::Between | State::Proxy(_) | State::Head(_) => self.lose_with_head(direction),
            state @ (State::Waiting(_) | State::Over) => reader.state = state,
            State::Lost => {}
        }
        self.follow_up();
    }

    /// Missing bytes swallowed at least the head of a message.
    fn lose_with_head(&mut self, direction: Direction) {
        match direction {
            Direction::Request => self.counters.requests_without_head += 1,
            Direction::Response => self.counters.responses_without_head += 1,
        }
        self.lose(direction, Loss::Bytes);
    }

    fn lose(&mut self, direction: Direction, loss: Loss) {
        match direction {
            Direction::Request => self.lose_request(loss),
            Direction::Response => self.lose_response(loss),
        }
    }

    fn message_done(&mut self, direction: Direction, body: Option<super::body::BodyReader>) {
        match direction {
            Direction::Request => self.request_done(body),
            Direction::Response => self.response_done(body),
        }
    }

    /// Ends a message whose end was lost, where the next one begins. Whole messages between them that nobody could tell
    /// from it count as its bytes.
    pub(super) fn end_open(&mut self, direction: Direction, offset: u64) {
        let Some(open) = self.reader(direction).open.take() else {
            return;
        };
        let Open {
            mut body,
            begin,
            lost,
        } = *open;
        body.lasts_until(offset.saturating_sub(begin).saturating_sub(lost));
        self.message_done(direction, Some(body));
    }

    /// Looks for the next message of a direction that lost its place: a turn that begins with a start line.
    pub(super) fn found<H: super::head::Head>(&mut self, direction: Direction, data: &[u8]) -> bool {
        let reader = self.reader(direction);
        let found = reader.turn && H::start_line(data) != crate::detect::Line::Bad;
        if !found {
            reader.tries += u32::from(reader.turn);
            reader.turn = false;
            let tries = reader.tries;
            self.counters.skipped_bytes += data.len() as u64;
            if tries > TRIES_MAX && !self.spoke_http {
                self.leave(ProtocolHint::NotHttp);
            }
        }
        found
    }

    /// Where the message begins whose first byte is at `place`.
    pub(super) fn begin(&mut self, direction: Direction, place: Place) -> Begin {
        let reader = self.reader(direction);
        let turn = std::mem::take(&mut reader.turn);
        let tentative = matches!(reader.state, State::Lost);
        Begin {
            offset: place.offset,
            time: place.time,
            turn,
            tentative,
        }
    }

    /// HTTP/1 is over, or never was.
    pub(super) fn leave(&mut self, hint: ProtocolHint) {
        match &hint {
            ProtocolHint::Http2Preface => self.counters.http2_prefaces += 1,
            ProtocolHint::NotHttp => self.counters.not_http += 1,
            ProtocolHint::Tunnel => self.counters.tunnels += 1,
            ProtocolHint::Upgraded(to) if to.eq_ignore_ascii_case(b"websocket") => {
                self.counters.upgraded_websocket += 1
            }
            ProtocolHint::Upgraded(to) if to.eq_ignore_ascii_case(b"h2c") => self.counters.upgraded_h2c += 1,
            ProtocolHint::Upgraded(_) => self.counters.upgraded_other += 1,
        }
        self.pairing.end(&mut self.counters);
        for reader in [&mut self.request, &mut self.response] {
            reader.drop_held();
            reader.open = None;
            reader.state = State::Over;
        }
        self.hint = Some(hint);
    }

    fn end(&mut self, direction: Direction, final_offset: Option<u64>, _time: Nanos) {
        if matches!(self.reader(direction).state, State::Over) {
            return;
        }
        if let (Some(next), Some(end)) = (self.reader(direction).next, final_offset)
            && end > next
        {
            self.miss(direction, next, end);
        }
        let reader = self.reader(direction);
        let lost = matches!(reader.state, State::Lost);
        match std::mem::replace(&mut reader.state, State::Over) {
            State::Body(body) => {
                if !body.ends_with_connection() {
                    reader.flags.insert(Flags::TRUNCATED);
                }
                self.message_done(direction, Some(body));
                self.reader(direction).state = State::Over;
            }
            State::Head(partial) if !partial.begin.tentative => match direction {
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

    fn hold(&mut self, direction: Direction, item: Held) {
        let limits = self.limits;
        if let Err(end) = self.reader(direction).hold(item, &limits) {
            self.overflow(direction, end);
        }
    }

    fn hold_first(&mut self, direction: Direction, item: Held) {
        if self.reader(direction).holds() {
            self.reader(direction).put_back(item);
        } else {
            self.hold(direction, item);
        }
    }

    /// Too much is held: what was is gone, up to stream offset `end`.
    fn overflow(&mut self, direction: Direction, end: u64) {
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
    fn pump(&mut self) {
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
                        self.feed(direction, offset, time, &data, boundary);
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

    fn retry_waiting(&mut self) -> bool {
        let State::Waiting(waiting) = &self.response.state else {
            return false;
        };
        let assign = self.pairing.assign(waiting.begin.time, waiting.begin.turn);
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
