//! A session over HTTP/1.1: the handshake's exchange and what followed it.

use bytes::Bytes;

use super::{Extensions, Reader};
use crate::Boundary;
use crate::{
    Application, Body, Counters, Direction, Exchange, Flags, Headers, Limits, Nanos, Want, WebSocket,
};

/// Reads both directions behind a handshake that succeeded, which is known by the status 101 and `Upgrade: websocket` alone. The
/// exchange comes out when both directions have ended, its two bodies being everything that was said.
#[derive(Debug)]
pub(crate) struct Session {
    exchange: Option<Box<Exchange>>,
    ended: Option<Box<Exchange>>,
    request: Side,
    response: Side,
    body_bytes: usize,
    counters: Counters,
}

/// One direction.
#[derive(Debug)]
struct Side {
    reader: Reader,
    /// Stream offset of the next byte.
    next: u64,
    /// Bytes before this offset that do not come were left out on purpose.
    left_out_until: u64,
    last_byte: Option<Nanos>,
    /// When its Close frame came.
    closed: Option<Nanos>,
    flags: Flags,
    over: bool,
}

impl Session {
    /// Behind the handshake `exchange`, whose request ends at stream offset `request_end` and whose answer at `response_end`.
    pub(crate) fn new(exchange: Exchange, request_end: u64, response_end: u64, limits: &Limits) -> Self {
        let answer = exchange.response.as_ref();
        let extensions = answer.map_or(Extensions::UNKNOWN, |answer| {
            Extensions::accepted(&answer.headers)
        });
        let side = |sender, next| Side {
            reader: Reader::new(sender, extensions, limits.body_bytes),
            next,
            left_out_until: 0,
            last_byte: None,
            closed: None,
            flags: Flags::default(),
            over: false,
        };
        Self {
            exchange: Some(Box::new(exchange)),
            ended: None,
            request: side(Direction::Request, request_end),
            response: side(Direction::Response, response_end),
            body_bytes: limits.body_bytes,
            counters: Counters::default(),
        }
    }

    /// As [`Connection::segment`](crate::Connection::segment).
    pub(crate) fn segment(
        &mut self,
        direction: Direction,
        offset: u64,
        time: Nanos,
        data: &[u8],
        _: Boundary,
    ) {
        let (side, counters) = self.side(direction);
        if side.over || offset.checked_add(data.len() as u64).is_none() {
            return;
        }
        let repeated = usize::try_from(side.next.saturating_sub(offset)).unwrap_or(usize::MAX);
        let Some(data) = data.get(repeated..).filter(|data| !data.is_empty()) else {
            return;
        };
        side.miss(offset, counters);
        side.reader.data(data);
        side.next += data.len() as u64;
        side.last_byte = Some(time);
        if side.reader.close_code().is_some() {
            side.closed.get_or_insert(time);
        }
    }

    /// As [`Connection::left_out`](crate::Connection::left_out).
    pub(crate) fn left_out(&mut self, direction: Direction, until: u64) {
        let (side, _) = self.side(direction);
        side.left_out_until = side.left_out_until.max(until);
    }

    /// As [`Connection::passed`](crate::Connection::passed).
    pub(crate) fn passed(&mut self, direction: Direction, until: u64, time: Nanos) {
        self.left_out(direction, until);
        let (side, counters) = self.side(direction);
        if !side.over && until > side.next {
            side.miss(until, counters);
            side.last_byte = Some(time);
        }
    }

    /// Bytes of `direction` up to stream offset `until` came and could not be kept.
    pub(crate) fn lost(&mut self, direction: Direction, until: u64) {
        let (side, counters) = self.side(direction);
        side.miss(until, counters);
    }

    /// As [`Connection::finish`](crate::Connection::finish).
    pub(crate) fn finish(&mut self, direction: Direction, final_offset: Option<u64>, _: Nanos) {
        let (side, counters) = self.side(direction);
        if side.over {
            return;
        }
        if let Some(end) = final_offset {
            side.miss(end, counters);
        }
        side.end(counters);
        if self.request.over && self.response.over {
            self.end();
        }
    }

    /// As [`Connection::close`](crate::Connection::close).
    pub(crate) fn close(&mut self, time: Nanos) {
        self.finish(Direction::Request, None, time);
        self.finish(Direction::Response, None, time);
    }

    /// The exchange, once.
    pub(crate) fn poll(&mut self) -> Option<Exchange> {
        self.ended.take().map(|exchange| *exchange)
    }

    /// As [`Connection::wants`](crate::Connection::wants).
    pub(crate) fn wants(&self, direction: Direction) -> Want {
        let side = match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        };
        match side.reader.rest() {
            _ if side.over => Want::Nothing,
            _ if side.reader.is_lost() => Want::SkipTo(u64::MAX),
            0 => Want::All,
            rest => Want::SkipTo(side.next.saturating_add(rest)),
        }
    }

    /// What was counted so far.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What was counted since the last call.
    pub(crate) fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// About what is kept, bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let exchanges = self.exchange.iter().chain(&self.ended);
        let handshake = exchanges.map(|exchange| size_of::<Exchange>() + exchange.memory_bytes());
        let readers = self.request.reader.kept() + self.response.reader.kept();
        size_of::<Self>() + handshake.sum::<usize>() + readers
    }

    fn side(&mut self, direction: Direction) -> (&mut Side, &mut Counters) {
        let side = match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        };
        (side, &mut self.counters)
    }

    fn end(&mut self) {
        let Some(mut exchange) = self.exchange.take() else {
            return;
        };
        let (request, response) = (&mut self.request, &mut self.response);
        let code = |side: &Side| side.closed.zip(side.reader.close_code());
        let first = [code(request), code(response)]
            .into_iter()
            .flatten()
            .min_by_key(|(time, _)| *time);
        let answer = exchange.response.as_ref();
        exchange.application = Application::WebSocket(Box::new(WebSocket {
            subprotocol: answer.and_then(|answer| subprotocol(&answer.headers)),
            close_code: first.map(|(_, code)| code),
        }));
        exchange.flags.insert(request.flags);
        exchange.flags.insert(response.flags);
        exchange.request.last_byte = request.last_byte.unwrap_or(exchange.request.last_byte);
        exchange.request.body = request.reader.take_body();
        if let Some(answer) = &mut exchange.response {
            answer.last_byte = response.last_byte.unwrap_or(answer.last_byte);
            answer.body = response.reader.take_body();
        }
        let answered = exchange.response.as_ref().map(|answer| &answer.body);
        let cut = |body: &Body| self.body_bytes > 0 && body.decoded_bytes > body.captured.len() as u64;
        if cut(&exchange.request.body) || answered.is_some_and(cut) {
            exchange.flags.insert(Flags::TRUNCATED);
        }
        self.ended = Some(exchange);
    }
}

impl Side {
    /// Bytes from the next one to stream offset `to` are missing.
    fn miss(&mut self, to: u64, counters: &mut Counters) {
        let Some(missing) = to.checked_sub(self.next).filter(|&missing| missing > 0) else {
            return;
        };
        let on_purpose = self.left_out_until.clamp(self.next, to) - self.next;
        counters.left_out += u64::from(on_purpose > 0);
        counters.left_out_bytes = counters.left_out_bytes.saturating_add(on_purpose);
        counters.gaps += u64::from(on_purpose < missing);
        counters.gap_bytes = counters.gap_bytes.saturating_add(missing - on_purpose);
        let unwanted = missing <= self.reader.rest() || self.reader.is_lost();
        self.flags.insert(if on_purpose == missing || unwanted {
            Flags::TRUNCATED
        } else {
            Flags::GAP
        });
        self.reader.missing(missing);
        self.next = to;
    }

    fn end(&mut self, counters: &mut Counters) {
        self.over = true;
        let lost = self.reader.is_lost();
        if self.reader.finish().partial && !lost {
            // A message, or a frame, has no end.
            self.flags.insert(Flags::TRUNCATED);
        }
        counters.websocket_violations += self.reader.violations();
    }
}

/// What the server chose (RFC 6455 4.2.2).
fn subprotocol(headers: &Headers) -> Option<Bytes> {
    headers.get(b"sec-websocket-protocol").map(Bytes::copy_from_slice)
}
