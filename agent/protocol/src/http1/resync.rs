//! Losing the place in a stream, and finding it again.

use super::body::{FramedBody, Missed};
use super::call::Loss;
use super::connection::{Connection, ProtocolHint};
use super::feed::Place;
use super::head::Head;
use super::reader::{Begin, Open, State};
use crate::detect::Line;
use crate::{Direction, Flags};

/// Turns without a start line after which a connection joined late, on which no message was ever read, is taken to be
/// something else.
const TRIES_MAX: u32 = 64;

impl Connection {
    /// Bytes of `direction` from stream offset `from` to `to` are missing.
    pub(super) fn miss(&mut self, direction: Direction, from: u64, to: u64) {
        let missing = to - from;
        let on_purpose = self.reader(direction).left_out_until.clamp(from, to) - from;
        let left_out = on_purpose == missing;
        let counters = &mut self.counters;
        counters.left_out += u64::from(on_purpose > 0);
        counters.left_out_bytes = counters.left_out_bytes.saturating_add(on_purpose);
        counters.gaps += u64::from(!left_out);
        counters.gap_bytes = counters.gap_bytes.saturating_add(missing - on_purpose);
        let (reader, counters) = match direction {
            Direction::Request => (&mut self.request, &mut self.counters),
            Direction::Response => (&mut self.response, &mut self.counters),
        };
        reader.turn = false;
        reader.next = Some(to);
        reader.drop_tentative();
        if let Some(open) = &mut reader.open {
            open.lost += if left_out { 0 } else { missing };
            reader
                .flags
                .insert(if left_out { Flags::TRUNCATED } else { Flags::GAP });
        }
        match std::mem::replace(&mut reader.state, State::Lost) {
            State::Body(mut body) => {
                let unwanted = body.satisfied() && body.rest().is_some();
                reader.flags.insert(if left_out || unwanted {
                    Flags::TRUNCATED
                } else {
                    Flags::GAP
                });
                let begin = from.saturating_sub(body.wire());
                match body.miss(missing, counters) {
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
            State::Between | State::Proxy(_) | State::Head(_) => self.lose_with_head(direction),
            state @ (State::Waiting(_) | State::Over) => reader.state = state,
            State::Lost => {}
        }
        self.follow_up();
    }

    /// Missing bytes swallowed at least the head of a message.
    pub(super) fn lose_with_head(&mut self, direction: Direction) {
        match direction {
            Direction::Request => self.counters.requests_without_head += 1,
            Direction::Response => self.counters.responses_without_head += 1,
        }
        self.lose(direction, Loss::Bytes);
    }

    pub(super) fn lose(&mut self, direction: Direction, loss: Loss) {
        match direction {
            Direction::Request => self.lose_request(loss),
            Direction::Response => self.lose_response(loss),
        }
    }

    pub(super) fn message_done(&mut self, direction: Direction, body: Option<FramedBody>) {
        match direction {
            Direction::Request => self.request_done(body),
            Direction::Response => self.response_done(body),
        }
    }

    /// Nobody knows where the body ends that was read up to stream offset `offset`.
    pub(super) fn end_unknown(&mut self, direction: Direction, body: FramedBody, offset: u64) {
        let reader = self.reader(direction);
        reader.flags.insert(Flags::TRUNCATED);
        let begin = offset.saturating_sub(body.wire());
        reader.open = Some(Box::new(Open { body, begin, lost: 0 }));
        self.lose(direction, Loss::Framing);
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
    pub(super) fn found<H: Head>(&mut self, direction: Direction, data: &[u8]) -> bool {
        let reader = self.reader(direction);
        let found = reader.turn && H::start_line(data) != Line::Bad;
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
}
