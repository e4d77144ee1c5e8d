//! The request direction.

use super::body::FramedBody;
use super::call::Loss;
use super::connection::{Connection, ProtocolHint};
use super::feed::{Place, Step};
use super::framing::{Asked, Facts, Framing};
use super::head::{Bad, METHODS, RequestHead};
use super::proxy::{self, Found};
use super::reader::{Begin, HeadStep, Partial, State};
use crate::body::BodyReader;
use crate::{Application, Body, Direction, Exchange, Flags, Nanos, Request};

/// Begin of the HTTP/2 preface up to where it is no HTTP/1 request line.
const HTTP2_START_LINE: &[u8] = b"PRI * HTTP/2";

impl Connection {
    /// Reads from the begin of `data`, which is not empty.
    pub(super) fn request_bytes(&mut self, data: &[u8], place: Place) -> Step {
        match &mut self.request.state {
            State::Between => {
                if self.pairing.request_blocked() {
                    return Step::Blocked;
                }
                if place.offset == 0 {
                    match proxy::find(data) {
                        Found::No => {}
                        Found::Incomplete => {
                            let begin = self.begin(Direction::Request, place);
                            self.request.state = State::Proxy(Box::new(Partial::new(begin, data)));
                            return Step::Used(data.len());
                        }
                        Found::Header(header, len) => return self.proxy_header_read(header, len),
                    }
                }
                // RFC 9112 2.2: empty lines before a request line are ignored.
                match data
                    .iter()
                    .take_while(|&&byte| matches!(byte, b'\r' | b'\n'))
                    .count()
                {
                    0 => self.request_head(data, place),
                    empty => Step::Used(empty),
                }
            }
            State::Proxy(_) => self.proxy_bytes(data),
            State::Head(_) => self.request_head(data, place),
            State::Body(_) => self.body_bytes(Direction::Request, data, place),
            State::Lost => {
                if self.found::<RequestHead>(Direction::Request, data) {
                    return self.request_head(data, place);
                }
                self.request.last_byte = place.time;
                Step::Used(data.len())
            }
            State::Waiting(_) | State::Over => Step::Used(data.len()),
        }
    }

    fn proxy_header_read(&mut self, header: proxy::ProxyHeader, len: usize) -> Step {
        self.counters.proxy_headers += 1;
        self.proxy = Some(header);
        self.request.state = State::Between;
        Step::Used(len)
    }

    fn proxy_bytes(&mut self, data: &[u8]) -> Step {
        let State::Proxy(partial) = &mut self.request.state else {
            return Step::Used(data.len());
        };
        // One byte at a time would be enough; whole segments are, because the first complete header ends it.
        let before = partial.buffer.len();
        partial.buffer.extend_from_slice(data);
        match proxy::find(&partial.buffer) {
            Found::Incomplete => Step::Used(data.len()),
            Found::Header(header, len) => {
                let turn = partial.begin.turn;
                self.request.turn = turn;
                self.proxy_header_read(header, len.saturating_sub(before))
            }
            Found::No => {
                // Not one: what was taken belongs to the first request.
                partial.buffer.truncate(before);
                let empty = partial
                    .buffer
                    .iter()
                    .take_while(|&&byte| matches!(byte, b'\r' | b'\n'))
                    .count();
                let mut begin = partial.begin;
                begin.offset += empty as u64;
                let rest = partial.buffer.split_off(empty);
                if rest.is_empty() {
                    self.request.turn = begin.turn;
                    self.request.state = State::Between;
                    // Not at offset 0 any more, so the next bytes are no candidate for a PROXY header.
                    return Step::Used(0);
                }
                self.request.state = State::Head(Box::new(Partial::new(begin, &rest)));
                Step::Used(0)
            }
        }
    }

    fn request_head(&mut self, data: &[u8], place: Place) -> Step {
        let begin = match &self.request.state {
            State::Head(partial) => partial.begin,
            _ => self.begin(Direction::Request, place),
        };
        match self.request.head::<RequestHead>(data, begin, &self.limits) {
            HeadStep::More(used) => {
                if let State::Head(partial) = &mut self.request.state {
                    partial.last_byte = place.time;
                }
                Step::Used(used)
            }
            HeadStep::Complete {
                used,
                head,
                begin,
                lenient,
            } => {
                if begin.tentative && !self.spoke_http && !registered(&head.method) {
                    self.request.last_byte = place.time;
                    self.request.state = State::Lost;
                    return Step::Used(data.len());
                }
                self.counters.lenient_heads += u64::from(lenient);
                self.request.state = State::Between;
                self.request_begun(head, begin, place.offset + used as u64, place.time);
                Step::Used(used)
            }
            HeadStep::Bad { bad, begin, seen } => {
                self.request.state = State::Lost;
                if begin.tentative {
                    self.request.last_byte = place.time;
                    return Step::Used(data.len());
                }
                if bad == Bad::StartLine && !self.spoke_http {
                    let http2 = seen.starts_with(HTTP2_START_LINE);
                    self.leave(if http2 {
                        ProtocolHint::Http2Preface
                    } else {
                        ProtocolHint::NotHttp
                    });
                    return Step::Used(data.len());
                }
                self.count_bad_head(bad);
                self.lose_request(Loss::Framing);
                Step::Used(data.len())
            }
        }
    }

    pub(super) fn count_bad_head(&mut self, bad: Bad) {
        match bad {
            Bad::StartLine => self.counters.malformed_start_line += 1,
            Bad::Field => self.counters.malformed_header += 1,
            Bad::TooManyFields => self.counters.headers_too_many += 1,
            Bad::TooLarge => self.counters.heads_too_large += 1,
        }
    }

    /// A request's head was read, up to stream offset `end` at `time`.
    fn request_begun(&mut self, head: RequestHead, begin: Begin, end: u64, time: Nanos) {
        let offset = begin.offset;
        self.spoke_http = true;
        self.counters.requests += 1;
        if begin.tentative {
            self.counters.resynchronised += 1;
            self.end_open(Direction::Request, offset);
        }
        self.request.flags = Flags::default();
        self.request.last_byte = time;
        let facts = Facts::of(&head.headers);
        let framing = facts.request(head.version, &mut self.counters);
        let asked = Asked::by(&head.method);
        let switching = asked == Asked::Connect || facts.upgrade().is_some();
        let body = FramedBody::new(framing, || {
            BodyReader::request(&head.method, &head.headers, &self.limits)
        });
        let exchange = Exchange {
            index: self.pairing.next_index(),
            stream: None,
            request_offset: offset,
            request: Request {
                method: head.method,
                target: head.target,
                authority: None,
                version: head.version,
                headers: head.headers,
                headers_unknown: 0,
                head_bytes: end - offset,
                body: Body::default(),
                first_byte: begin.time,
                last_byte: time,
            },
            response: None,
            application: Application::default(),
            flags: Flags::default(),
        };
        self.alternates &= begin.turn && !switching;
        self.pairing
            .push(exchange, asked, begin.turn, switching, &mut self.counters);
        match body {
            None => self.request_done(None),
            Some(body) if framing == Framing::Unknown => self.end_unknown(Direction::Request, body, end),
            Some(body) => self.request.state = State::Body(body),
        }
    }

    pub(super) fn request_done(&mut self, body: Option<FramedBody>) {
        let mut flags = std::mem::take(&mut self.request.flags);
        if let Some(call) = self.pairing.open_request() {
            if let Some(body) = body {
                let finished = body.finish(&mut self.counters);
                if finished.cut {
                    flags.insert(Flags::TRUNCATED);
                }
                call.exchange.request.body = finished.body;
                call.request_inspected = finished.inspected;
                call.exchange.request.last_byte = self.request.last_byte;
            }
            call.exchange.flags.insert(flags);
            call.request_done = true;
        }
        self.pairing.settle(&mut self.counters);
    }

    /// The request direction lost its place; an unknown number of requests may be missing.
    pub(super) fn lose_request(&mut self, loss: Loss) {
        self.request.state = State::Lost;
        self.request.turn = false;
        self.pairing.push_hole(loss, &mut self.counters);
    }
}

/// Whether the method is one of RFC 9110 9.3 or RFC 5789. The first bytes of a connection joined late may be the end of a
/// method that was cut in two (`ET / HTTP/1.1`).
fn registered(method: &[u8]) -> bool {
    METHODS.contains(&method)
}
