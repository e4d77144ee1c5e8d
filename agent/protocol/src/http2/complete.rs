//! Making exchanges of streams.

use bytes::Bytes;

use super::connection::Connection;
use super::reader::State;
use super::stream::{Half, HalfState, Kind, NO_ERROR, Stream};
use super::streams::Lingering;
use crate::body::{End, Finished, Inspected};
use crate::{
    Application, Body, Direction, Exchange, Flags, Headers, Nanos, Response, Version, WebSocket, classify,
};

/// How long something may be on its way to a stream that was reset, nanoseconds.
const LINGER_NS: Nanos = 1_000_000_000;

impl Connection {
    /// Something ended on the stream: perhaps it is complete.
    pub(super) fn settle(&mut self, id: u32, time: Nanos) {
        let losses = self.losses();
        let over = [self.request.is_over(), self.response.is_over()];
        let Some(stream) = self.streams.get(id).filter(|stream| stream.request.is_some()) else {
            return;
        };
        let [request_over, response_over] = over;
        let closed = |half: &Half, over: bool| half.state != HalfState::Open || over;
        let sent = closed(&stream.sending, request_over);
        let answered = closed(&stream.answering, response_over);
        // The end of the request may be missing; a whole response would hardly come before it.
        let sent_doubtful = !sent && stream.is_doubtful(losses);
        // The client has stopped in the middle of its request. What tells whether it was asked to may be on its way.
        let stopped = request_over && stream.sending.state == HalfState::Open;
        let awaits_reset = stopped && !response_over && stream.answering.awaits_reset();
        if sent && answered && !awaits_reset || stream.answering.state == HalfState::Ended && sent_doubtful {
            self.emit(id);
        } else if (stream.is_cut() || awaits_reset) && !stream.lingers {
            stream.lingers = true;
            let from = if sent {
                Direction::Response
            } else {
                Direction::Request
            };
            self.streams.lingering.push_back(Lingering {
                id,
                from,
                since: time,
            });
            if self.streams.lingering.len() > self.limits.pending_requests {
                self.emit_lingering();
            }
        }
    }

    fn emit_lingering(&mut self) {
        if let Some(first) = self.streams.lingering.pop_front() {
            self.emit(first.id);
        }
    }

    /// `direction` was read up to `time`: streams that only waited for what it might still send are over.
    pub(super) fn end_lingering(&mut self, direction: Direction, time: Nanos) {
        while let Some(&Lingering { id, from, since }) = self.streams.lingering.front() {
            let due = from == direction && time > since.saturating_add(LINGER_NS);
            if !due && self.streams.has(id) {
                return;
            }
            self.emit_lingering();
        }
    }

    /// Whether another stream can be followed; one that is only waited for makes room.
    pub(super) fn make_room(&mut self) -> bool {
        if self.streams.len() >= self.limits.streams && self.sweep_at.take().is_some() {
            self.sweep();
        }
        while self.streams.len() >= self.limits.streams {
            if self.streams.lingering.is_empty() {
                if !self.drop_lowest_waiting(u32::MAX) {
                    return false;
                }
            } else {
                self.emit_lingering();
            }
        }
        true
    }

    /// The oldest stream comes out as it is. False: there is none.
    pub(super) fn evict_oldest(&mut self) -> bool {
        let Some(id) = self.streams.oldest() else {
            return false;
        };
        self.counters.streams_beyond_limit += 1;
        self.emit(id);
        true
    }

    /// Keeps the header lists of open streams within their limit.
    pub(super) fn bound_heads(&mut self) {
        while self.streams.heads_bytes > self.limits.open_heads_bytes && self.evict_oldest() {}
    }

    pub(super) fn sweep_if_due(&mut self) {
        if self.sweep_at.is_some_and(|at| self.next_index >= at) {
            self.sweep_at = None;
            self.sweep();
        }
    }

    /// Ends the streams that are silent since the place was lost.
    fn sweep(&mut self) {
        let losses = self.losses();
        for id in self.streams.ids(|stream| stream.is_doubtful(losses)) {
            self.emit(id);
        }
    }

    /// Drops responses to requests below `id`, which cannot come any more.
    pub(super) fn drop_waiting_below(&mut self, id: u32) {
        while self.drop_lowest_waiting(id) {}
    }

    fn drop_lowest_waiting(&mut self, below: u32) -> bool {
        let Some(stream) = self.streams.take_waiting_below(below) else {
            return false;
        };
        self.held -= stream.answering.content.held();
        self.counters.responses_without_request += u64::from(stream.response.is_some());
        true
    }

    /// A direction ended.
    pub(super) fn end(&mut self, direction: Direction, time: Nanos) {
        self.give_up_block(direction);
        self.reader(direction).state = State::Over;
        if direction == Direction::Request {
            self.drop_waiting_below(u32::MAX);
        }
        for id in self.streams.ids(|_| true) {
            self.settle(id, time);
        }
    }

    /// Nothing more will come.
    pub(super) fn end_all(&mut self) {
        for id in self.streams.ids(|_| true) {
            self.emit(id);
        }
    }

    fn emit(&mut self, id: u32) {
        if let Some(stream) = self.streams.remove(id) {
            self.complete(*stream);
        }
    }

    /// A stream is over, in whatever state.
    fn complete(&mut self, stream: Stream) {
        let Stream {
            index,
            request_offset,
            request,
            response,
            kind,
            sending,
            answering,
            interim,
            interim_first_byte,
            mut flags,
            ..
        } = stream;
        self.held -= sending.content.held() + answering.content.held();
        let Some(mut request) = request else {
            self.counters.responses_without_request += u64::from(response.is_some());
            return;
        };
        for (half, losses) in [&sending, &answering].into_iter().zip(self.losses()) {
            if half.state == HalfState::Open && half.losses != losses {
                flags.insert(Flags::GAP);
            }
        }
        // RFC 9113 8.1: a server that has said all may ask the client to stop.
        let enough = answering.state == HalfState::Ended && answering.reset == Some(NO_ERROR);
        if sending.state != HalfState::Ended && !enough {
            flags.insert(Flags::TRUNCATED);
        }
        if response.is_none() {
            flags.insert(Flags::UNPAIRED);
            self.counters.requests_without_response += 1;
        } else if answering.state != HalfState::Ended {
            flags.insert(Flags::TRUNCATED);
        }
        let application = match &response {
            Some(response) if kind == Kind::WebSocket && matches!(response.status, 200..=299) => {
                websocket(response, &sending, &answering)
            }
            _ => Application::Http,
        };
        let asked_whole = sending.state == HalfState::Ended && request.version == Version::Http2;
        let answered_whole = answering.state == HalfState::Ended;
        let asked = self.body(sending, &mut flags);
        if kind == Kind::Plain && asked_whole {
            self.judge_length(&request.headers, &asked.body, &mut flags);
        }
        // That of a request before an upgrade came with it.
        if asked.body.wire_bytes > 0 || !asked.body.trailers.is_empty() {
            request.body = asked.body;
        }
        let (response, answered) = match response {
            Some(mut response) => {
                let answered = self.body(answering, &mut flags);
                // Where the method is not known it may have been HEAD (RFC 9110 8.6).
                let has_content = !matches!(request.method.as_ref(), b"HEAD" | b"CONNECT" | b"")
                    && !matches!(response.status, 0 | 204 | 304);
                if kind == Kind::Plain && answered_whole && has_content {
                    self.judge_length(&response.headers, &answered.body, &mut flags);
                }
                response.body = answered.body;
                response.interim = interim;
                response.first_byte = interim_first_byte.unwrap_or(response.first_byte);
                (Some(response), answered.inspected)
            }
            None => (None, Inspected::default()),
        };
        self.out.push_back(Exchange {
            index,
            stream: Some(stream.id),
            request_offset,
            request,
            response,
            application,
            flags,
        });
        if let Some(exchange) = self.out.back_mut() {
            classify(exchange, asked.inspected, answered, &self.limits);
        }
    }

    /// Compares the DATA of a message, which has ended, with the length that it declares (RFC 9113 8.1.1). Its end is known by the
    /// stream, so whatever it declares, the next message is where it is.
    fn judge_length(&mut self, headers: &Headers, body: &Body, flags: &mut Flags) {
        let Some(declared) = headers.get(b"content-length") else {
            return;
        };
        // Where bytes are missing nobody knows how many came.
        if flags.contains(Flags::GAP) {
            return;
        }
        let declared = std::str::from_utf8(declared)
            .ok()
            .and_then(|text| text.parse::<u64>().ok());
        let Some(declared) = declared else {
            self.counters.invalid_content_length += 1;
            return;
        };
        self.counters.content_lengths_wrong += u64::from(declared != body.decoded_bytes);
        if body.decoded_bytes < declared {
            flags.insert(Flags::TRUNCATED);
        }
    }

    /// The body of a message.
    fn body(&mut self, half: Half, flags: &mut Flags) -> Finished {
        let end = if half.state == HalfState::Ended {
            End::Complete
        } else {
            End::Cut
        };
        let mut finished = half.content.finish(end, &self.limits, &mut self.counters);
        if finished.cut {
            flags.insert(Flags::TRUNCATED);
        }
        finished.body.wire_bytes = half.wire;
        finished.body.trailers.extend(&half.trailers);
        finished
    }
}

/// The session of a WebSocket that was accepted.
fn websocket(response: &Response, sending: &Half, answering: &Half) -> Application {
    let subprotocol = response.headers.get(b"sec-websocket-protocol");
    let first = [sending, answering]
        .into_iter()
        .filter_map(|half| half.closed.zip(half.content.close_code()))
        .min_by_key(|(time, _)| *time);
    Application::WebSocket(Box::new(WebSocket {
        subprotocol: subprotocol.map(Bytes::copy_from_slice),
        close_code: first.map(|(_, code)| code),
    }))
}
