//! A connection whatever it speaks: segments of its two byte streams in, exchanges out.
//!
//! The first bytes tell HTTP/1 from HTTP/2 (`detecting`). Where they were not seen both are tried, until a message of one is found.
//! What a connection is upgraded to is read on, if it is known here (`upgrade`).

mod detecting;
mod frames;
#[cfg(test)]
mod tests;
mod upgrade;

use std::collections::VecDeque;

use bytes::Bytes;

use crate::http1::{self, ProtocolHint, ProxyHeader};
use crate::http2;
use crate::input::{Input, Read};
use crate::websocket::Session;
use crate::{Boundary, Counters, Direction, Exchange, Limits, Nanos, Start, Want};
use detecting::{Detecting, Verdict};
pub use frames::sender;

/// Why nothing more is read of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// Its first bytes are no HTTP; or it was joined late and nothing that came was.
    NotHttp,
    /// CONNECT succeeded: what follows is not for this connection's server.
    Tunnel,
    /// 101 Switching Protocols to something that is not read here, or of which nobody can tell where it begins: the value of
    /// `Upgrade`, as sent.
    Upgraded(Bytes),
}

/// One connection.
///
/// Segments of one direction come in order; the two directions may be delivered in any interleaving, and one of them may never come.
/// Times tell the true order, and are used only after a loss.
///
/// Of HTTP/1 the same exchanges come out as of [`http1::Connection`], of HTTP/2 as of [`http2::Connection`]. A WebSocket session over
/// HTTP/1.1 is one exchange, which comes out when both directions have ended: the messages are in its two bodies. A session that was
/// joined late is not read, because nothing in it tells what it is.
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
    Http1(Box<http1::Connection>),
    /// Joined late, and no message was read yet: it may be both.
    Either {
        http1: Box<http1::Connection>,
        http2: Box<http2::Connection>,
    },
    Http2 {
        http: Box<http2::Connection>,
        /// The exchange that upgraded to it.
        upgrade: Option<Box<Exchange>>,
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
            Start::Late => Phase::either(limits, start),
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
        match &mut self.phase {
            Phase::Http1(http) => {
                http.segment(direction, offset, time, data, boundary);
                if http.protocol_hint().is_some() {
                    self.follow();
                }
            }
            Phase::Detecting(_) if data.is_empty() || offset.checked_add(data.len() as u64).is_none() => {}
            Phase::Detecting(detecting) => match detecting.at_once(direction, offset, data) {
                Some(verdict) => {
                    self.begin(verdict, Vec::new());
                    self.read(|reader| reader.segment(direction, offset, time, data, boundary));
                }
                None => self.take(
                    direction,
                    Input::Segment {
                        offset,
                        time,
                        boundary,
                        data: Bytes::copy_from_slice(data),
                    },
                ),
            },
            _ => self.read(|reader| reader.segment(direction, offset, time, data, boundary)),
        }
    }

    /// The bytes of `direction` before stream offset `until` that were not given yet will not come because they were left
    /// out on purpose (capture cap). Call it before the segment behind them.
    pub fn left_out(&mut self, direction: Direction, until: u64) {
        self.take(direction, Input::LeftOut { until });
    }

    /// Bytes of `direction` up to stream offset `until` went by at `time` and were left out on purpose (capture cap, bytes that
    /// never were in readable memory). Unlike [`Self::left_out`] this moves on at once: a body that ends among them is over.
    pub fn passed(&mut self, direction: Direction, until: u64, time: Nanos) {
        self.take(direction, Input::Passed { until, time });
    }

    /// `direction` ended (FIN). `final_offset`: the length of its stream, if known.
    pub fn finish(&mut self, direction: Direction, final_offset: Option<u64>, time: Nanos) {
        self.take(direction, Input::Finish { final_offset, time });
    }

    /// The connection is gone; what is unfinished comes out marked.
    pub fn close(&mut self, time: Nanos) {
        if let Phase::Detecting(detecting) = &self.phase {
            let verdict = detecting.guess(None);
            self.settle(verdict);
        }
        if let Phase::Either { .. } = self.phase {
            // No message of HTTP/2 was read, and none of HTTP/1 either, unless it is unfinished.
            self.phase.keep_http1();
        }
        self.read(|reader| reader.close(time));
    }

    /// The next exchange.
    pub fn poll(&mut self) -> Option<Exchange> {
        if !self.ready.is_empty() {
            return self.ready.pop_front();
        }
        match &mut self.phase {
            Phase::Http1(http) => http.poll(),
            Phase::Http2 { http, upgrade } => {
                let exchange = http.poll()?;
                // It is out, as a stream, and comes out no more if the connection turns out to be none.
                upgrade.take_if(|upgrade| upgrade.index == exchange.index);
                Some(exchange)
            }
            Phase::WebSocket(session) => session.poll(),
            // Where a message was read, it is known what it is.
            Phase::Detecting(_) | Phase::Either { .. } | Phase::Over => None,
        }
    }

    /// Whether exchanges may be left out, and the connection [resumed](Self::resume) behind them: HTTP/1, and each turn so far was one
    /// message.
    #[must_use]
    pub fn can_rest(&self) -> bool {
        matches!(&self.phase, Phase::Http1(http) if http.can_rest())
    }

    /// Whether nothing speaks against that so far, be it known or not.
    #[must_use]
    pub fn alternates(&self) -> bool {
        match &self.phase {
            Phase::Http1(http) => http.alternates(),
            Phase::Detecting(_) | Phase::Either { .. } => true,
            Phase::Http2 { .. } | Phase::WebSocket(_) | Phase::Over => false,
        }
    }

    /// All bytes of `direction` before stream offset `offset` that were not given belong to whole HTTP/1 exchanges that were left out on
    /// purpose; a message begins there, and a turn. First for the requests; for the responses when the next one comes, before its first
    /// segment. Nothing is marked, but for what was unfinished: then it is false. A connection that was joined late is known from here on.
    pub fn resume(&mut self, direction: Direction, offset: u64, time: Nanos) -> bool {
        self.phase.keep_http1();
        match &mut self.phase {
            Phase::Http1(http) => http.resume(direction, offset, time),
            _ => true,
        }
    }

    /// What the caller need not deliver of `direction`.
    #[must_use]
    pub fn wants(&self, direction: Direction) -> Want {
        match &self.phase {
            Phase::Http1(http) => http.wants(direction),
            Phase::Http2 { http, .. } => http.wants(direction),
            Phase::WebSocket(session) => session.wants(direction),
            Phase::Detecting(_) | Phase::Either { .. } => Want::All,
            Phase::Over => Want::Nothing,
        }
    }

    /// Whether every byte is needed that [`Self::wants`] does not leave out: one that is missing costs more than the message that it
    /// belongs to, so the caller should not cut what comes in one piece.
    #[must_use]
    pub fn needs_all(&self) -> bool {
        match &self.phase {
            Phase::Http2 { .. } | Phase::WebSocket(_) => true,
            Phase::Detecting(_) | Phase::Http1(_) | Phase::Either { .. } | Phase::Over => false,
        }
    }

    /// About what is kept of the connection, bytes: what waits, and what readers of bodies hold.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let state = match &self.phase {
            Phase::Detecting(detecting) => detecting.memory_bytes(),
            Phase::Http1(http) => http.memory_bytes(),
            Phase::Either { http1, http2 } => http1.memory_bytes() + http2.memory_bytes(),
            Phase::Http2 { http, upgrade } => {
                http.memory_bytes() + upgrade.as_deref().map_or(0, exchange_bytes)
            }
            Phase::WebSocket(session) => session.memory_bytes(),
            Phase::Over => 0,
        };
        size_of::<Self>() + state + self.ready.iter().map(exchange_bytes).sum::<usize>()
    }

    /// Why nothing more is read; `None` while something is. Exchanges may still have to be [polled](Self::poll).
    #[must_use]
    pub fn over(&self) -> Option<&Over> {
        self.over.as_ref()
    }

    /// What was counted so far; nothing while it is not known what the connection speaks.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut counters = self.counters;
        match &self.phase {
            Phase::Http1(http) => counters += *http.counters(),
            Phase::Http2 { http, .. } => counters += *http.counters(),
            Phase::WebSocket(session) => counters += *session.counters(),
            Phase::Detecting(_) | Phase::Either { .. } | Phase::Over => {}
        }
        counters
    }

    /// What was counted since the last call.
    pub fn take_counters(&mut self) -> Counters {
        let mut counters = std::mem::take(&mut self.counters);
        match &mut self.phase {
            Phase::Http1(http) => counters += http.take_counters(),
            Phase::Http2 { http, .. } => counters += http.take_counters(),
            Phase::WebSocket(session) => counters += session.take_counters(),
            Phase::Detecting(_) | Phase::Either { .. } | Phase::Over => {}
        }
        counters
    }

    /// The PROXY protocol header ahead of the first request.
    #[must_use]
    pub fn proxy_header(&self) -> Option<&ProxyHeader> {
        match &self.phase {
            Phase::Http1(http) => http.proxy_header(),
            _ => self.proxy.as_ref(),
        }
    }

    fn take(&mut self, direction: Direction, input: Input) {
        if let Phase::Detecting(detecting) = &mut self.phase {
            let verdict = detecting.keep(direction, input, &self.limits);
            if let Some(verdict) = verdict {
                self.settle(verdict);
            }
        } else {
            self.read(|reader| reader.take(direction, &input));
        }
    }

    /// Goes on with what was kept while it was not known what the connection speaks.
    fn settle(&mut self, verdict: Verdict) {
        if let Phase::Detecting(detecting) = std::mem::replace(&mut self.phase, Phase::Over) {
            self.begin(verdict, detecting.into_kept());
        }
    }

    fn begin(&mut self, verdict: Verdict, kept: Vec<(Direction, Input)>) {
        self.phase = match verdict {
            Verdict::Http1 => Phase::Http1(Box::new(http1::Connection::new(self.limits, Start::Fresh))),
            Verdict::Joined => Phase::either(self.limits, Start::Fresh),
            Verdict::Http2 { begin, proxy } => {
                self.counters.http2_prefaces += 1;
                self.counters.proxy_headers += u64::from(proxy.is_some());
                self.proxy = proxy;
                Phase::Http2 {
                    http: Box::new(http2::Connection::begin_at(self.limits, begin, 0)),
                    upgrade: None,
                }
            }
        };
        for (direction, input) in kept {
            self.read(|reader| reader.take(direction, &input));
        }
    }

    /// Gives something to whoever reads the connection now, and looks what became of it.
    fn read(&mut self, give: impl Fn(&mut dyn Read)) {
        match &mut self.phase {
            Phase::Http1(http) => give(&mut **http),
            Phase::Either { http1, http2 } => {
                give(&mut **http1);
                give(&mut **http2);
            }
            Phase::Http2 { http, .. } => give(&mut **http),
            Phase::WebSocket(session) => give(&mut **session),
            Phase::Detecting(_) | Phase::Over => {}
        }
        self.follow();
    }

    /// Goes on to the next phase when one is over.
    fn follow(&mut self) {
        if let Phase::Either { http1, http2 } = &self.phase {
            if http1.spoke_http() || http2.not_http2() {
                self.phase.keep_http1();
            } else if http2.is_believed() || http1.protocol_hint().is_some() {
                self.phase.keep_http2();
            }
        }
        match &mut self.phase {
            Phase::Http1(http) => {
                let over = match http.protocol_hint() {
                    None => return,
                    Some(ProtocolHint::Http2Preface | ProtocolHint::NotHttp) => Over::NotHttp,
                    Some(ProtocolHint::Tunnel) => Over::Tunnel,
                    Some(ProtocolHint::Upgraded(to)) => Over::Upgraded(to.clone()),
                };
                match (http.take_behind(), over) {
                    (Some(behind), Over::Upgraded(to)) => {
                        self.leave();
                        self.upgrade(to, *behind);
                    }
                    (_, over) => {
                        self.leave();
                        self.over = Some(over);
                    }
                }
            }
            Phase::Http2 { http, .. } if http.not_http2() => {
                let upgrade = self.leave();
                self.ready.extend(upgrade.map(|exchange| *exchange));
                self.counters.not_http += 1;
                self.over = Some(Over::NotHttp);
            }
            _ => {}
        }
    }

    /// Ends a phase, keeping what came out of it. Returns the exchange that upgraded to it, if that did not come out.
    fn leave(&mut self) -> Option<Box<Exchange>> {
        self.proxy = self.proxy_header().copied();
        self.counters = self.take_counters();
        let ready: VecDeque<_> = std::iter::from_fn(|| self.poll()).collect();
        self.ready = ready;
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Http2 { upgrade, .. } => upgrade,
            _ => None,
        }
    }
}

fn exchange_bytes(exchange: &Exchange) -> usize {
    size_of::<Exchange>() + exchange.memory_bytes()
}

impl Phase {
    fn either(limits: Limits, start: Start) -> Self {
        Self::Either {
            http1: Box::new(http1::Connection::new(limits, start)),
            http2: Box::new(http2::Connection::new(limits, Start::Late)),
        }
    }

    fn keep_http1(&mut self) {
        *self = match std::mem::replace(self, Self::Over) {
            Self::Either { http1, .. } => Self::Http1(http1),
            other => other,
        };
    }

    fn keep_http2(&mut self) {
        if let Self::Either { http2, .. } = std::mem::replace(self, Self::Over) {
            *self = Self::Http2 {
                http: http2,
                upgrade: None,
            };
        }
    }
}
