//! The response direction.

use super::body::FramedBody;
use super::call::{Answer, Assign, Loss};
use super::connection::{Connection, ProtocolHint};
use super::feed::{Place, Step};
use super::framing::{Asked, Facts, Framing};
use super::head::{Bad, ResponseHead};
use super::reader::{HeadStep, Received, State};
use crate::body::BodyReader;
use crate::{Body, Direction, Flags, Response};

impl Connection {
    /// Reads from the begin of `data`, which is not empty.
    pub(super) fn response_bytes(&mut self, data: &[u8], place: Place) -> Step {
        match &mut self.response.state {
            State::Between => match data
                .iter()
                .take_while(|&&byte| matches!(byte, b'\r' | b'\n'))
                .count()
            {
                0 => self.response_head(data, place),
                empty => Step::Used(empty),
            },
            State::Head(_) => self.response_head(data, place),
            State::Body(_) => self.body_bytes(Direction::Response, data, place),
            State::Waiting(_) => Step::Blocked,
            State::Lost => {
                if self.found::<ResponseHead>(Direction::Response, data) {
                    return self.response_head(data, place);
                }
                self.response.last_byte = place.time;
                Step::Used(data.len())
            }
            State::Proxy(_) | State::Over => Step::Used(data.len()),
        }
    }

    fn response_head(&mut self, data: &[u8], place: Place) -> Step {
        let begin = match &self.response.state {
            State::Head(partial) => partial.begin,
            _ => self.begin(Direction::Response, place),
        };
        match self.response.head::<ResponseHead>(data, begin, &self.limits) {
            HeadStep::More(used) => {
                if let State::Head(partial) = &mut self.response.state {
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
                self.counters.lenient_heads += u64::from(lenient);
                self.response.state = State::Between;
                let end = place.offset + used as u64;
                self.response_received(Received {
                    head,
                    begin,
                    end,
                    last_byte: place.time,
                });
                Step::Used(used)
            }
            HeadStep::Bad { bad, begin, .. } => {
                self.response.state = State::Lost;
                if begin.tentative {
                    self.response.last_byte = place.time;
                    return Step::Used(data.len());
                }
                if bad == Bad::StartLine && !self.spoke_http {
                    self.leave(ProtocolHint::NotHttp);
                    return Step::Used(data.len());
                }
                self.count_bad_head(bad);
                self.lose_response(Loss::Bytes);
                Step::Used(data.len())
            }
        }
    }

    fn response_received(&mut self, received: Received) {
        self.spoke_http = true;
        let begin = received.begin;
        if begin.tentative {
            self.counters.resynchronised += 1;
            self.end_open(Direction::Response, begin.offset);
        }
        match self.assign(&received) {
            Assign::Wait => self.response.state = State::Waiting(Box::new(received)),
            assign => self.response_assigned(received, assign),
        }
    }

    /// Whom a response answers. One that ends HTTP waits for the rest of its request's body.
    pub(super) fn assign(&self, received: &Received) -> Assign {
        let Received { head, begin, .. } = received;
        match self.pairing.assign(begin.time, begin.turn) {
            Assign::Front if head.status == 101 && matches!(self.request.state, State::Body(_)) => {
                Assign::Wait
            }
            assign => assign,
        }
    }

    /// It is known whom the response answers.
    pub(super) fn response_assigned(&mut self, received: Received, assign: Assign) {
        let Received {
            head,
            begin,
            end,
            last_byte,
        } = received;
        let interim = matches!(head.status, 100..=199) && head.status != 101;
        if interim {
            self.counters.interim_responses += 1;
        } else {
            self.counters.responses += 1;
        }
        match assign {
            Assign::Front => {}
            Assign::ByTurn(at) => self.pairing.resume_at(at, begin.time, &mut self.counters),
            Assign::Orphan | Assign::Wait => {
                self.counters.responses_without_request += u64::from(!interim);
                self.lose_response(Loss::Bytes);
                return;
            }
        }
        let Some(call) = self.pairing.front() else {
            return;
        };
        if interim {
            self.alternates = false;
            call.interim += 1;
            call.interim_first_byte.get_or_insert(begin.time);
            return;
        }
        call.answer = Answer::Open;
        call.switching = false;
        let asked = call.asked;
        let facts = Facts::of(&head.headers);
        let framing = facts.response(head.status, asked, head.version, &mut self.counters);
        let status = head.status;
        let inspected = call.request_done.then_some(&call.request_inspected);
        let body = FramedBody::new(framing, || {
            BodyReader::response(&call.exchange.request, inspected, &head.headers, &self.limits)
        });
        call.exchange.response = Some(Response {
            status,
            version: head.version,
            headers: head.headers,
            headers_unknown: 0,
            head_bytes: end - begin.offset,
            body: Body::default(),
            interim: call.interim,
            first_byte: call.interim_first_byte.unwrap_or(begin.time),
            last_byte,
        });
        self.response.last_byte = last_byte;
        self.response.flags = Flags::default();
        if let Some(hint) = switched(status, asked, &facts) {
            let index = call.exchange.index;
            self.response_done(None);
            if matches!(hint, ProtocolHint::Upgraded(_))
                && let Some(exchange) = self.pairing.take_latest(index)
            {
                self.keep_behind(exchange, end);
            }
            self.leave(hint);
            return;
        }
        match body {
            None => self.response_done(None),
            Some(body) if framing == Framing::Unknown => self.end_unknown(Direction::Response, body, end),
            Some(body) => self.response.state = State::Body(body),
        }
    }

    pub(super) fn response_done(&mut self, body: Option<FramedBody>) {
        let mut flags = std::mem::take(&mut self.response.flags);
        if let Some(call) = self.pairing.front()
            && call.answer == Answer::Open
        {
            if let (Some(body), Some(response)) = (body, &mut call.exchange.response) {
                let finished = body.finish(&mut self.counters);
                if finished.cut {
                    flags.insert(Flags::TRUNCATED);
                }
                response.body = finished.body;
                call.response_inspected = finished.inspected;
                response.last_byte = self.response.last_byte;
            }
            call.exchange.flags.insert(flags);
            call.answer = Answer::Done;
        }
        self.pairing.settle(&mut self.counters);
    }

    /// The response direction lost its place.
    pub(super) fn lose_response(&mut self, loss: Loss) {
        self.response.state = State::Lost;
        self.response.turn = false;
        self.pairing.lose_step(loss);
    }
}

/// What the connection turns into behind this response (RFC 9110 7.8, 9.3.6).
fn switched(status: u16, asked: Asked, facts: &Facts) -> Option<ProtocolHint> {
    match (status, asked) {
        (101, _) => Some(ProtocolHint::Upgraded(facts.upgrade_to())),
        (200..=299, Asked::Connect) => Some(ProtocolHint::Tunnel),
        _ => None,
    }
}
