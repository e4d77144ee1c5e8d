//! A connection: segments of its two byte streams in, exchanges out.

use bytes::Bytes;

use super::behind::Behind;
use super::pairing::Pairing;
use super::proxy::ProxyHeader;
use super::reader::{Held, Reader, State};
use crate::{Boundary, Counters, Direction, Exchange, Limits, Nanos, Start, Want};

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
    pub(super) behind: Option<Box<Behind>>,
    /// Whether any message was read.
    pub(super) spoke_http: bool,
    /// Each turn so far was one message, as far as it was seen, and none was to change what the connection speaks.
    pub(super) alternates: bool,
    /// Where the request direction was resumed; `None` when the response direction was as well.
    pub(super) resuming: Option<u64>,
}

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
            behind: None,
            spoke_http: false,
            alternates: true,
            resuming: None,
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
            self.feed(direction, offset, time, data, boundary, None);
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
        let next = self.pairing.poll(&self.limits);
        next.or_else(|| self.behind.take().map(|behind| behind.exchange))
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
            (None, State::Body(body)) if body.satisfied() => match (body.rest(), reader.next) {
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

    /// Whether any message was read.
    pub(crate) fn spoke_http(&self) -> bool {
        self.spoke_http
    }

    /// The PROXY protocol header ahead of the first request.
    #[must_use]
    pub fn proxy_header(&self) -> Option<&ProxyHeader> {
        self.proxy.as_ref()
    }

    /// About what is kept, bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let readers = self.request.memory_bytes() + self.response.memory_bytes();
        let behind = self.behind.as_ref().map_or(0, |behind| behind.memory_bytes());
        size_of::<Self>() + readers + self.pairing.memory_bytes() + behind
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
}
