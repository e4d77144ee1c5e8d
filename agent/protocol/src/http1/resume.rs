//! Going on after whole exchanges that were left out on purpose.
//!
//! Where one ends and the next begins is known without their bytes, so nothing is marked and nothing has to be found again. What was not
//! over when they began is: it ends there as if its rest were lost. A request that comes behind them never gets an answer from before.

use super::call::Loss;
use super::connection::Connection;
use super::reader::{Reader, State};
use crate::{Direction, Flags, Nanos};

impl Connection {
    /// Whether exchanges may be left out: each turn so far was one message. Not so where requests were sent before the one before was
    /// answered, and after interim responses, CONNECT and requests to switch protocols; nor while it is not known what belongs together.
    #[must_use]
    pub fn can_rest(&self) -> bool {
        self.alternates() && self.spoke_http && self.pairing.is_certain()
    }

    /// Whether each turn so far was one message, as far as it was seen.
    #[must_use]
    pub fn alternates(&self) -> bool {
        self.hint.is_none() && self.alternates
    }

    fn is_between(&self) -> bool {
        let idle = |reader: &Reader| matches!(reader.state, State::Between) && !reader.holds();
        self.hint.is_none()
            && self.resuming.is_none()
            && idle(&self.request)
            && idle(&self.response)
            && self.pairing.is_idle()
    }

    /// All bytes of `direction` before stream offset `offset` that were not given belong to whole exchanges that were left out on purpose;
    /// a message begins there, and a turn. First for the requests; for the responses when the next one comes, before its first segment.
    /// False when they begin in the middle of one that was read.
    pub fn resume(&mut self, direction: Direction, offset: u64, time: Nanos) -> bool {
        if self.hint.is_some() {
            return true;
        }
        match direction {
            Direction::Request => {
                let unfinished = !self.is_between() && self.begin_anew(time);
                self.request.next = Some(offset);
                self.resuming = Some(offset);
                !unfinished
            }
            Direction::Response => {
                // Exchanges were left out, so there are bytes between.
                let ahead = self.response.next.is_none_or(|next| next < offset);
                if self.resuming.is_some() && ahead {
                    self.resuming = None;
                    self.response.next = Some(offset);
                }
                true
            }
        }
    }

    /// Ends what is unfinished, marked, and begins like a connection of which nothing was seen. Whether anything was.
    fn begin_anew(&mut self, time: Nanos) -> bool {
        let inside = |reader: &Reader| {
            reader.holds() || matches!(reader.state, State::Head(_) | State::Body(_) | State::Waiting(_))
        };
        let unfinished = inside(&self.request) || inside(&self.response) || self.pairing.waits();
        self.counters.resumed_inside += u64::from(unfinished);
        let waits = matches!(self.response.state, State::Waiting(_)) || self.response.holds();
        self.counters.responses_without_request += u64::from(waits);
        self.resuming = None;
        for direction in [Direction::Request, Direction::Response] {
            let reader = self.reader(direction);
            reader.drop_held();
            if matches!(reader.state, State::Body(_)) {
                reader.flags.insert(Flags::GAP);
            }
        }
        self.pairing.lose_step(Loss::Bytes);
        self.end(Direction::Request, None, time);
        self.end(Direction::Response, None, time);
        self.pairing.end(&mut self.counters);
        self.pairing.begin_anew();
        // The places are those of the messages to come.
        self.request = Reader::new(Some(0));
        self.response = Reader::new(Some(self.response.next.unwrap_or_default()));
        unfinished
    }

    /// Bytes of the response direction come up to or from `offset`, and it was not [resumed](Self::resume): the begin of the answer is
    /// missing, or they are older than its request.
    pub(super) fn answer_unresumed(&mut self, offset: u64) {
        if self.resuming.take().is_none() {
            return;
        }
        self.counters.gaps += 1;
        self.response.next = Some(self.response.next.map_or(offset, |next| next.max(offset)));
        self.lose_with_head(Direction::Response);
        self.pairing.give_up_answer(&mut self.counters);
        self.follow_up();
    }

    /// A turn of requests begins at `offset`. Where the one before was not answered, its answer is lost.
    pub(super) fn turn_unresumed(&mut self, offset: u64) {
        if self.resuming.is_some_and(|resumed| resumed < offset) {
            self.answer_unresumed(0);
        }
    }

    /// The response direction ends, and it was not [resumed](Self::resume): nobody can tell whether there was an answer.
    pub(super) fn end_unresumed(&mut self, direction: Direction, end: Option<u64>) {
        if direction == Direction::Response && self.resuming.take().is_some() && end.is_some() {
            self.response.next = end;
            self.pairing.lose_step(Loss::Bytes);
        }
    }
}
