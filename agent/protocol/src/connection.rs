//! A connection whatever it speaks: segments of its two byte streams in, exchanges out.
//!
//! The first bytes tell HTTP/1 from HTTP/2 (`detecting`); where they were not seen, a connection is read as HTTP/1 until a
//! message of it is found, and watched for frames of HTTP/2 meanwhile (`late`).

mod detecting;
mod frames;
mod late;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;

use crate::http1::{self, Behind, ProtocolHint, ProxyHeader};
use crate::input::{Input, Read};
use crate::websocket::Session;
use crate::{Boundary, Counters, Direction, Exchange, Limits, Nanos, Start, Want};
use detecting::{Detecting, Verdict};
pub use frames::{frames_look_plausible, sender};
use late::Search;

/// Why nothing more is read of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// Its first bytes are no HTTP; or it was joined late and nothing that came was.
    NotHttp,
    /// CONNECT succeeded: what follows is not for this connection's server.
    Tunnel,
    /// 101 Switching Protocols to something that is not read here: the value of `Upgrade`, as sent.
    Upgraded(Bytes),
}

/// One connection.
///
/// Segments of one direction come in order; the two directions may be delivered in any interleaving, and one of them may never come.
/// Times tell the true order, and are used only after a loss.
#[derive(Debug)]
pub struct Connection {
    limits: Limits,
    phase: Phase,
    /// Exchanges of phases that are over.
    ready: VecDeque<Exchange>,
    /// Counts of phases that are over.
    counters: Counters,
    proxy: Option<ProxyHeader>,
    over: Option<Over>,
}

#[derive(Debug)]
enum Phase {
    Detecting(Box<Detecting>),
    Http1 {
        http: Box<http1::Connection>,
        /// While nothing of HTTP/1 was found in a connection whose first bytes were not seen.
        search: Option<Box<Search>>,
    },
    WebSocket(Box<Session>),
    Over,
}

impl Connection {
    /// A connection of which nothing was seen yet.
    #[must_use]
    pub fn new(limits: Limits, start: Start) -> Self {
        let phase = match start {
            Start::Fresh => Phase::Detecting(Box::default()),
            Start::Late => Phase::Http1 {
                http: Box::new(http1::Connection::new(limits, start)),
                search: Some(Box::default()),
            },
        };
        Self {
            limits,
            phase,
            ready: VecDeque::new(),
            counters: Counters::default(),
            proxy: None,
            over: None,
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
        if let Phase::Http1 { http, search: None } = &mut self.phase {
            http.segment(direction, offset, time, data, boundary);
            self.follow_http1();
            return;
        }
        if let Phase::WebSocket(session) = &mut self.phase {
            session.segment(direction, offset, time, data);
            return;
        }
        if data.is_empty() || offset.checked_add(data.len() as u64).is_none() {
            return;
        }
        if let Phase::Detecting(detecting) = &self.phase
            && let Some(verdict) = detecting.at_once(direction, offset, data)
        {
            self.begin(verdict, []);
            self.segment(direction, offset, time, data, boundary);
            return;
        }
        self.input(direction, || Input::Segment {
            offset,
            time,
            boundary,
            data: Bytes::copy_from_slice(data),
        });
    }

    /// The bytes of `direction` before stream offset `until` that were not given yet will not come because they were left
    /// out on purpose (capture cap). Call it before the segment behind them.
    pub fn left_out(&mut self, direction: Direction, until: u64) {
        self.input(direction, || Input::LeftOut { until });
    }

    /// Bytes of `direction` up to stream offset `until` went by at `time` and were left out on purpose (capture cap, bytes that
    /// never were in readable memory). Unlike [`Self::left_out`] this moves on at once: a body that ends among them is over.
    pub fn passed(&mut self, direction: Direction, until: u64, time: Nanos) {
        self.input(direction, || Input::Passed { until, time });
    }

    /// `direction` ended (FIN). `final_offset`: the length of its stream, if known.
    pub fn finish(&mut self, direction: Direction, final_offset: Option<u64>, time: Nanos) {
        self.input(direction, || Input::Finish { final_offset, time });
    }

    /// The connection is gone; what is unfinished comes out marked.
    pub fn close(&mut self, time: Nanos) {
        if let Phase::Detecting(detecting) = &self.phase {
            let verdict = detecting.guess(None);
            self.settle(verdict);
        }
        match &mut self.phase {
            Phase::Http1 { http, search } => {
                *search = None;
                http.close(time);
                self.follow_http1();
            }
            Phase::WebSocket(session) => session.close(),
            Phase::Detecting(_) | Phase::Over => {}
        }
    }

    /// The next exchange.
    pub fn poll(&mut self) -> Option<Exchange> {
        if let Some(exchange) = self.ready.pop_front() {
            return Some(exchange);
        }
        match &mut self.phase {
            Phase::Http1 { http, .. } => http.poll(),
            Phase::WebSocket(session) => session.poll(),
            Phase::Detecting(_) | Phase::Over => None,
        }
    }

    /// What the caller need not deliver of `direction`.
    #[must_use]
    pub fn wants(&self, direction: Direction) -> Want {
        match &self.phase {
            Phase::Http1 { http, .. } => http.wants(direction),
            Phase::WebSocket(session) => session.wants(direction),
            Phase::Detecting(_) => Want::All,
            Phase::Over => Want::Nothing,
        }
    }

    /// Whether every byte is needed that [`Self::wants`] does not leave out: one that is missing costs more than the message that it
    /// belongs to, so the caller should not cut what comes in one piece.
    #[must_use]
    pub fn needs_all(&self) -> bool {
        match &self.phase {
            Phase::WebSocket(_) => true,
            Phase::Detecting(_) | Phase::Http1 { .. } | Phase::Over => false,
        }
    }

    /// Why nothing more is read; `None` while something is. Exchanges may still have to be [polled](Self::poll).
    #[must_use]
    pub fn over(&self) -> Option<&Over> {
        self.over.as_ref()
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut counters = self.counters;
        match &self.phase {
            Phase::Http1 { http, .. } => counters += *http.counters(),
            Phase::WebSocket(session) => counters += *session.counters(),
            Phase::Detecting(_) | Phase::Over => {}
        }
        counters
    }

    /// What was counted since the last call.
    pub fn take_counters(&mut self) -> Counters {
        let mut counters = std::mem::take(&mut self.counters);
        match &mut self.phase {
            Phase::Http1 { http, .. } => counters += http.take_counters(),
            Phase::WebSocket(session) => counters += session.take_counters(),
            Phase::Detecting(_) | Phase::Over => {}
        }
        counters
    }

    /// The PROXY protocol header ahead of the first request.
    #[must_use]
    pub fn proxy_header(&self) -> Option<&ProxyHeader> {
        match &self.phase {
            Phase::Http1 { http, .. } => http.proxy_header(),
            Phase::Detecting(_) | Phase::WebSocket(_) | Phase::Over => self.proxy.as_ref(),
        }
    }

    fn input(&mut self, direction: Direction, input: impl FnOnce() -> Input) {
        match &mut self.phase {
            Phase::Detecting(detecting) => {
                let verdict = detecting.keep(direction, input(), &self.limits);
                if let Some(verdict) = verdict {
                    self.settle(verdict);
                }
            }
            Phase::Http1 { http, search } => {
                let input = input();
                http.take(direction, &input);
                if http.spoke_http() {
                    *search = None;
                }
                let frames = search
                    .as_mut()
                    .is_some_and(|search| search.look(direction, input, &self.limits));
                if frames {
                    self.end(Over::NotHttp);
                    self.counters.not_http += 1;
                } else {
                    self.follow_http1();
                }
            }
            Phase::WebSocket(session) => session.take(direction, &input()),
            Phase::Over => {}
        }
    }

    /// Goes on with what was kept while it was not known what the connection speaks.
    fn settle(&mut self, verdict: Verdict) {
        if let Phase::Detecting(detecting) = std::mem::replace(&mut self.phase, Phase::Over) {
            self.begin(verdict, detecting.into_kept());
        }
    }

    fn begin(&mut self, verdict: Verdict, kept: impl IntoIterator<Item = (Direction, Input)>) {
        match verdict {
            Verdict::Http1 | Verdict::Joined => {
                self.phase = Phase::Http1 {
                    http: Box::new(http1::Connection::new(self.limits, Start::Fresh)),
                    search: (verdict == Verdict::Joined).then(Box::default),
                };
            }
            Verdict::Http2 { .. } => {
                self.phase = Phase::Over;
                self.counters.http2_prefaces += 1;
                self.over = Some(Over::NotHttp);
            }
        }
        for (direction, input) in kept {
            self.input(direction, || input);
        }
    }

    /// Leaves HTTP/1 when it is over.
    fn follow_http1(&mut self) {
        let Phase::Http1 { http, .. } = &mut self.phase else {
            return;
        };
        let Some(hint) = http.protocol_hint() else {
            return;
        };
        let over = match hint {
            ProtocolHint::Http2Preface | ProtocolHint::NotHttp => Over::NotHttp,
            ProtocolHint::Tunnel => Over::Tunnel,
            ProtocolHint::Upgraded(to) => Over::Upgraded(to.clone()),
        };
        match (http.take_behind(), &over) {
            (Some(behind), Over::Upgraded(to)) => {
                let to = to.clone();
                self.leave_http1();
                self.upgrade(to, *behind);
            }
            _ => self.end(over),
        }
    }

    /// Goes on behind a 101 Switching Protocols.
    fn upgrade(&mut self, to: Bytes, behind: Behind) {
        let Behind {
            exchange,
            request,
            response,
        } = behind;
        if !to.eq_ignore_ascii_case(b"websocket") {
            self.ready.push_back(exchange);
            self.over = Some(Over::Upgraded(to));
            return;
        }
        let mut session = Session::new(exchange, request.begin, response.begin, &self.limits);
        session.lost(Direction::Request, request.lost_until);
        self.phase = Phase::WebSocket(Box::new(session));
        let both = [(Direction::Request, request), (Direction::Response, response)];
        for (direction, rest) in both {
            for input in rest.inputs {
                self.input(direction, || input);
            }
        }
    }

    fn leave_http1(&mut self) {
        if let Phase::Http1 { mut http, .. } = std::mem::replace(&mut self.phase, Phase::Over) {
            self.ready.extend(std::iter::from_fn(|| http.poll()));
            self.counters += http.take_counters();
            self.proxy = http.proxy_header().copied();
        }
    }

    fn end(&mut self, over: Over) {
        self.leave_http1();
        self.over = Some(over);
    }
}

impl Read for http1::Connection {
    fn segment(&mut self, direction: Direction, offset: u64, time: Nanos, data: &[u8], boundary: Boundary) {
        Self::segment(self, direction, offset, time, data, boundary);
    }

    fn left_out(&mut self, direction: Direction, until: u64) {
        Self::left_out(self, direction, until);
    }

    fn passed(&mut self, direction: Direction, until: u64, time: Nanos) {
        Self::passed(self, direction, until, time);
    }

    fn finish(&mut self, direction: Direction, final_offset: Option<u64>, time: Nanos) {
        Self::finish(self, direction, final_offset, time);
    }
}

impl Read for Session {
    fn segment(&mut self, direction: Direction, offset: u64, time: Nanos, data: &[u8], _: Boundary) {
        Self::segment(self, direction, offset, time, data);
    }

    fn left_out(&mut self, direction: Direction, until: u64) {
        Self::left_out(self, direction, until);
    }

    fn passed(&mut self, direction: Direction, until: u64, time: Nanos) {
        Self::passed(self, direction, until, time);
    }

    fn finish(&mut self, direction: Direction, final_offset: Option<u64>, _: Nanos) {
        Self::finish(self, direction, final_offset);
    }
}
