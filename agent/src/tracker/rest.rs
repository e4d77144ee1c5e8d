//! Connections that rest: of their exchanges the source captures one in so many, by chance, and says how many that one stands for.
//!
//! Invariant: the weights of a connection's calls, those told without a record of their own included, add up to the requests that went over
//! it. What an exchange stands for that does not come out, the next one of the connection stands for, or what is told at its end.
//!
//! A connection may rest when each of its turns is one HTTP/1 message, and when this is the end that tells its exchanges. Where the
//! server's end rests, it is believed to tell all: its client's end is not taken for the better witness of what is left out.

use std::collections::VecDeque;
use std::sync::Arc;

use agent_common::Direction as Way;
use bytes::Bytes;
use protocol::{Body, Direction, Exchange, Headers, Request, Response};

use super::Tracker;
use super::connection::{Connection, Parser, opposite};
use super::delivery::{Call, Common};
use super::ends::Side;
use super::order::Order;
use super::stream::Segment;
use crate::source::Close;

/// Requests of a connection that do not show what was ordered, after which the order is given again: it may have been overwritten.
pub const REST_AGAIN: u32 = 64;
/// Times that a rest may begin in the middle of an exchange (records were lost, or its turns are no whole exchanges after all). Then the
/// connection is captured again for good.
pub const REST_INSIDE_MAX: u32 = 4;
/// Requests of a connection that have not come out and stand for others. Of more, the earliest are counted with the next.
pub const PENDING_MAX: usize = 16;

/// What is known of a connection's rest.
#[derive(Debug, Default)]
pub struct Rest {
    /// One exchange in so many was ordered; 0: all.
    every: u32,
    /// It rests no more.
    is_over: bool,
    /// Requests since the order that do not show it.
    unheeded: u32,
    /// Rests that began in the middle of an exchange.
    inside: u32,
    /// Places of requests that have not come out, and what each stands for.
    pending: VecDeque<(u64, u32)>,
    /// What the latest exchange was like.
    latest: Option<Box<Call>>,
}

/// What a request shows of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordered {
    /// All is as it should be.
    Kept,
    /// It has to be given again: one in so many.
    Again(u32),
    /// It rests no more.
    Ended,
}

impl Rest {
    fn stand_for(&mut self, offset: u64, turns: u32) {
        if self.pending.len() >= PENDING_MAX
            && let Some((_, earliest)) = self.pending.pop_front()
            && let Some((_, next)) = self.pending.front_mut()
        {
            *next = next.saturating_add(earliest);
        }
        self.pending.push_back((offset, turns));
    }

    /// What the exchange stands for whose request begins at a stream offset: itself, and what those before it stand for that never came out.
    fn take(&mut self, offset: u64) -> u32 {
        let mut turns = 0_u32;
        while let Some((_, more)) = self.pending.pop_front_if(|(begin, _)| *begin <= offset) {
            turns = turns.saturating_add(more);
        }
        turns.max(1)
    }

    fn take_all(&mut self) -> u32 {
        self.pending
            .drain(..)
            .fold(0, |sum, (_, turns)| sum.saturating_add(turns))
    }

    /// Bytes of memory, about.
    pub fn memory_bytes(&self) -> usize {
        let latest = self
            .latest
            .as_ref()
            .map_or(0, |call| size_of::<Call>() + call.exchange.memory_bytes());
        size_of::<Self>() + self.pending.capacity() * size_of::<(u64, u32)>() + latest
    }
}

impl Connection {
    /// Whether the source may be told to leave exchanges out.
    pub fn can_rest(&self) -> bool {
        let rests_no_more = self.rest.as_ref().is_some_and(|rest| rest.is_over);
        let misses_none = self.told.as_ref().is_none_or(|told| told.missed() == 0);
        match &self.http {
            Parser::Awake(http) => {
                !rests_no_more
                    && misses_none
                    && self.request_way.is_some()
                    && self.closing.is_none()
                    && http.can_rest()
            }
            Parser::Asleep | Parser::Silent | Parser::Gone => false,
        }
    }

    /// Whether it was told to rest.
    pub fn rests(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.every > 1)
    }

    /// Which way the source looks for orders soonest: that which bytes last went, since they will again; of one that rests, that of requests.
    pub fn way_to_ask(&self) -> Way {
        self.request_way.filter(|_| self.rests()).unwrap_or(self.last_way)
    }

    /// Whether a record is the first of its direction behind exchanges that were left out.
    pub(super) fn ends_rest<D>(&mut self, way: Way, segment: &Segment<D>) -> bool {
        let is_request = self.request_way == Some(way);
        let behind = if is_request {
            segment.behind_rest
        } else {
            self.stream(way).resumes
        };
        behind && segment.turn_start
    }

    /// Tells the parser so, before it gets the record.
    pub(super) fn resume(&mut self, way: Way, offset: u64, time_ns: u64) {
        let answers = opposite(way);
        if self.request_way != Some(way) {
            self.stream(way).resumes = false;
            if let Some(http) = self.http() {
                http.resume(Direction::Response, offset, time_ns);
            }
            return;
        }
        for (direction, way) in [(Direction::Request, way), (Direction::Response, answers)] {
            // What was skipped by order went by before.
            let stream = self.stream(way);
            let (next, skip_to) = (stream.next(), stream.skip_to);
            if let Some(http) = self.http().filter(|_| skip_to > next) {
                http.passed(direction, skip_to, time_ns);
            }
        }
        self.stream(answers).resumes = true;
        let whole = self
            .http()
            .is_none_or(|http| http.resume(Direction::Request, offset, time_ns));
        if let Some(rest) = &mut self.rest {
            rest.inside += u32::from(!whole);
        }
    }

    /// A record goes to the parser: what the exchange that begins with it stands for.
    pub(super) fn note_rest<D>(&mut self, way: Way, segment: &Segment<D>) {
        if self.request_way != Some(way) {
            self.stream(way).resumes = false;
            return;
        }
        if segment.stands_for > 0 {
            let rest = self.rest.get_or_insert_default();
            rest.stand_for(segment.offset, segment.stands_for);
        }
        if segment.turn_start && !segment.behind_rest {
            // What comes next is the answer to this request, and not to the one before.
            self.stream(opposite(way)).resumes = false;
        }
        if segment.turn_start
            && let Some(rest) = &mut self.rest
        {
            rest.unheeded += u32::from((rest.every > 1) != (segment.stands_for > 0));
        }
    }

    /// Looks whether the connection rests as it was ordered to, and may go on to.
    pub(super) fn rest_ordered(&mut self) -> Ordered {
        let alternates = match &self.http {
            Parser::Awake(http) => http.alternates(),
            Parser::Asleep | Parser::Silent | Parser::Gone => true,
        };
        let Some(rest) = &mut self.rest else {
            return Ordered::Kept;
        };
        if rest.every > 1 && (!alternates || rest.inside >= REST_INSIDE_MAX) {
            rest.is_over = true;
            rest.every = 0;
            rest.unheeded = 0;
            return Ordered::Ended;
        }
        if rest.unheeded >= REST_AGAIN {
            rest.unheeded = 0;
            return Ordered::Again(rest.every);
        }
        Ordered::Kept
    }

    /// Calls that an exchange stands for.
    pub(super) fn weight_of(&mut self, exchange: &Exchange) -> u32 {
        let turns = self
            .rest
            .as_mut()
            .map_or(1, |rest| rest.take(exchange.request_offset));
        self.weight.saturating_mul(turns)
    }

    /// Nothing was captured of what went by before the connection's end.
    pub(super) fn pass_rest(&mut self, close: &Close) {
        let Some(request) = self.request_way.filter(|_| close.rests) else {
            return;
        };
        for way in [request, opposite(request)] {
            let Some(end) = close.end.get(way as usize) else {
                continue;
            };
            let Some(end) = self.stream(way).place_ahead(*end) else {
                continue;
            };
            self.resume(way, end, close.time_ns);
            self.stream(way).pass_to(end);
        }
    }
}

/// A call like this one, without what is not needed to count it.
fn like(call: &Call) -> Call {
    let Exchange {
        index,
        stream,
        request_offset,
        ref request,
        ref response,
        ref application,
        flags,
    } = call.exchange;
    let mut headers = Headers::new();
    for host in request.headers.all(b"host") {
        headers.push(b"host", host);
    }
    // Copies: the fields of a message are parts of all its bytes.
    let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    let request = Request {
        method: copy(&request.method),
        target: copy(&request.target),
        authority: request.authority.as_ref().map(copy),
        headers,
        body: sizes(&request.body),
        ..*request
    };
    let response = response.as_ref().map(|response| Response {
        headers: Headers::new(),
        body: sizes(&response.body),
        ..*response
    });
    let exchange = Exchange {
        index,
        stream,
        request_offset,
        request,
        response,
        application: application.clone(),
        flags,
    };
    Call {
        exchange,
        process: Arc::clone(&call.process),
        peer: call.peer.clone(),
        client: call.client.clone(),
        server: call.server.clone(),
        tls: call.tls.clone(),
        again: true,
        ..*call
    }
}

fn sizes(body: &Body) -> Body {
    Body {
        wire_bytes: body.wire_bytes,
        decoded_bytes: body.decoded_bytes,
        ..Body::default()
    }
}

impl Common {
    /// Remembers what the latest exchange of a connection was like, where it may be told to rest.
    pub(super) fn remember(&self, connection: &mut Connection, call: &Call) {
        if self.rests && (connection.can_rest() || connection.rest.is_some()) {
            connection.rest.get_or_insert_default().latest = Some(Box::new(like(call)));
        }
    }

    /// The source says how many exchanges went by since the last that was captured: they are counted as what that was like.
    pub(super) fn tell_rested(
        &mut self,
        connection: &mut Connection,
        turns: u32,
        out: &mut impl FnMut(Call),
    ) {
        if turns == 0 {
            return;
        }
        let weight = connection.weight.saturating_mul(turns);
        let other = self
            .ends
            .other(connection.place(), connection.base, connection.opened_ns);
        if connection.side() == Some(Side::Client) && other.is_some_and(|end| end.side == Side::Server) {
            // The server's end tells them.
            return;
        }
        match connection.rest.as_ref().and_then(|rest| rest.latest.as_deref()) {
            Some(latest) => {
                self.counters.exchanges_rested += u64::from(weight);
                out(Call {
                    weight,
                    ..like(latest)
                });
            }
            None => self.counters.exchanges_rested_unknown += u64::from(weight),
        }
    }

    /// As [`Self::tell_rested`], at the end of a connection: also what exchanges stood for that never came out.
    pub(super) fn tell_all_rested(
        &mut self,
        connection: &mut Connection,
        turns: u32,
        out: &mut impl FnMut(Call),
    ) {
        let pending = connection.rest.as_mut().map_or(0, |rest| rest.take_all());
        self.tell_rested(connection, turns.saturating_add(pending), out);
    }
}

impl Tracker {
    /// Whether connections may be told to rest from now on. Those that rest do so until they are told otherwise.
    pub fn allow_rests(&mut self, allowed: bool) {
        self.common.rests = allowed;
    }

    /// Whether this connection is known.
    #[must_use]
    pub fn tracks(&self, connection: u64) -> bool {
        self.connections.contains_key(&connection)
    }

    /// Lets a connection rest: of its exchanges about one in `every` is captured from its next request on, and stands for the others; of 0
    /// and 1, all again. False when it may not: see [`Connection::can_rest`]; also where [`Limits::rests`](super::Limits) says no.
    pub fn rest(&mut self, connection: u64, every: u32) -> bool {
        let every = if every > 1 { every } else { 0 };
        let common = &mut self.common;
        let Some(connection) = self.connections.get_mut(&connection) else {
            return false;
        };
        let rests = connection.rest.as_ref().map_or(0, |rest| rest.every);
        if rests == every {
            return true;
        }
        let Some(way) = connection.request_way else {
            return false;
        };
        if every > 0 {
            let client = connection.side() == Some(Side::Client);
            let told_elsewhere = client
                && common
                    .ends
                    .other(connection.place(), connection.base, connection.opened_ns)
                    .is_some();
            if !common.rests || told_elsewhere || !connection.can_rest() {
                return false;
            }
            if let Some(told) = &connection.told {
                told.believe();
            }
        }
        let rest = connection.rest.get_or_insert_default();
        rest.every = every;
        rest.unheeded = 0;
        common.counters.rests_ordered += 1;
        common.orders.push(Order::Rest {
            connection: connection.id,
            way,
            every,
        });
        true
    }

    /// Gives the order about a connection's rest again where it is not kept, or ends the rest.
    pub(super) fn keep_rest(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let counters = &mut self.common.counters;
        let every = match connection.rest_ordered() {
            Ordered::Kept => return,
            Ordered::Again(every) => every,
            Ordered::Ended => {
                counters.rests_ended += 1;
                0
            }
        };
        if let Some(way) = connection.request_way {
            counters.rests_ordered += 1;
            self.common.orders.push(Order::Rest {
                connection: id,
                way,
                every,
            });
        }
    }
}
