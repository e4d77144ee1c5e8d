//! Which response answers which request.
//!
//! While no byte is missing, the n-th response answers the n-th request, whatever the order in which the two directions
//! are delivered. After a loss counting is over, because nobody knows how many messages the loss swallowed: a [`Entry::Hole`]
//! stands for an unknown number of requests. From then on only turns help: a response that begins a turn answers the
//! first request of the latest burst that began before it, provided that
//! - the client is known to wait for all answers before it sends more (see [`Turns`]), and
//! - no request was lost in between, which only the next bytes of the request direction can tell. Until they come, what
//!   was paired is kept back; if they tell of a loss, the pairs are withdrawn.
//!
//! Where counting and turn agree because all bytes were seen or left out on purpose, and only the end of a message could
//! not be told, there is nothing to confirm.
//!
//! So after a loss there are fewer exchanges, and marked ones, not wrong pairs. What this cannot see is a client that never
//! waited before the loss, whose habit shows only in what was lost, and that from then on keeps exactly in time with the
//! server.

use std::collections::VecDeque;

use super::call::{Answer, Assign, Call, Entry, Loss, Turns};
use super::framing::Asked;
use crate::body::Inspected;
use crate::{Counters, Exchange, Flags, Limits, Nanos};

#[derive(Debug)]
pub(super) struct Pairing {
    entries: VecDeque<Entry>,
    limit: usize,
    requests: u64,
    /// Why responses cannot be counted; `None`: they can, the next one answers the front.
    out_of_step: Option<Loss>,
    /// Time of the last byte of the latest response that was counted.
    answered: Option<Nanos>,
    turns: Turns,
    /// Since when pairs rest on a turn and wait for the request direction to confirm that nothing is missing.
    unconfirmed: Option<Nanos>,
    kept_back: VecDeque<Box<Call>>,
    late: bool,
    requests_over: bool,
    requests_complete: bool,
    responses_over: bool,
    /// A request to switch protocols lost its answer: nobody knows what follows it.
    switch_unknown: bool,
    /// Pairs were withdrawn: the framing of the current response is as uncertain as they were.
    withdrawn: bool,
    ready: VecDeque<Box<Call>>,
}

impl Pairing {
    pub(super) fn new(late: bool, limit: usize) -> Self {
        Self {
            entries: if late {
                VecDeque::from([Entry::Hole(Loss::Bytes)])
            } else {
                VecDeque::new()
            },
            limit: limit.max(1),
            requests: 0,
            out_of_step: late.then_some(Loss::Bytes),
            answered: None,
            turns: Turns::default(),
            unconfirmed: None,
            kept_back: VecDeque::new(),
            late,
            requests_over: false,
            requests_complete: false,
            responses_over: false,
            switch_unknown: false,
            withdrawn: false,
            ready: VecDeque::new(),
        }
    }

    pub(super) fn poll(&mut self, limits: &Limits) -> Option<Exchange> {
        self.ready.pop_front().map(|call| call.into_exchange(limits))
    }

    /// Takes the exchange with this index back if it is the latest that is ready.
    pub(super) fn take_latest(&mut self, index: u64) -> Option<Exchange> {
        let latest = self.ready.pop_back_if(|call| call.exchange.index == index);
        latest.map(|call| call.exchange)
    }

    /// Bytes of memory behind it, about.
    pub(super) fn memory_bytes(&self) -> usize {
        let waiting = self.entries.iter().filter_map(|entry| match entry {
            Entry::Call(call) => Some(call),
            Entry::Hole(_) => None,
        });
        let calls = waiting.chain(&self.kept_back).chain(&self.ready);
        let places = self.entries.capacity() * size_of::<Entry>();
        places + calls.map(|call| call.memory_bytes()).sum::<usize>()
    }

    /// Messages that are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.entries.len() + self.kept_back.len()
    }

    /// Whether all requests are answered, and nothing speaks against counting the next ones.
    pub(super) fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.kept_back.is_empty() && self.is_certain()
    }

    /// Whether it is known what belongs together.
    pub(super) fn is_certain(&self) -> bool {
        self.out_of_step.is_none() && self.unconfirmed.is_none() && !self.late
    }

    /// Whether a request has no complete answer that is certain.
    pub(super) fn waits(&self) -> bool {
        !self.kept_back.is_empty() || self.entries.iter().any(|entry| matches!(entry, Entry::Call(_)))
    }

    /// Knows nothing but what is [over](Self::end), and how many requests there were.
    pub(super) fn begin_anew(&mut self) {
        let ready = std::mem::take(&mut self.ready);
        *self = Self {
            requests: self.requests,
            ready,
            ..Self::new(false, self.limit)
        };
    }

    /// The request that waits for its answer will not get it: nobody can tell which bytes are that.
    pub(super) fn give_up_answer(&mut self, counters: &mut Counters) {
        if let Some(call) = self.front()
            && call.answer == Answer::Waiting
        {
            call.answer = Answer::Lost;
            call.exchange.flags.insert(Flags::GAP);
        }
        self.settle(counters);
    }

    /// Index of the next request.
    pub(super) fn next_index(&mut self) -> u64 {
        self.requests += 1;
        self.requests - 1
    }

    /// A request whose head was read.
    pub(super) fn push(
        &mut self,
        exchange: Exchange,
        asked: Asked,
        turn: bool,
        switching: bool,
        counters: &mut Counters,
    ) {
        let first_byte = exchange.request.first_byte;
        let after_burst = self.turns.burst > 1;
        self.turns.burst = if turn {
            1
        } else {
            self.turns.burst.saturating_add(1)
        };
        self.turns.pipelines |= self.turns.burst > 1;
        // A later burst that began before the response that was paired by its turn: another request was meant.
        if turn && self.unconfirmed.is_some_and(|since| first_byte <= since) {
            self.withdraw(counters);
        }
        if self.entries.len() >= self.limit {
            counters.pipeline_overflow += 1;
            let countable =
                self.out_of_step.is_none() && matches!(self.entries.front(), Some(Entry::Call(_)));
            if countable {
                self.push_hole(Loss::Bytes, counters);
                return;
            }
            // Without counting, the oldest has the least hope.
            self.give_up_front(counters);
        }
        let answer = if self.responses_over {
            Answer::Lost
        } else {
            Answer::Waiting
        };
        let call = Call {
            exchange,
            asked,
            turn,
            turn_inside: None,
            request_done: false,
            answer,
            switching,
            interim: 0,
            interim_first_byte: None,
            after_burst,
            resumed: None,
            request_inspected: Inspected::default(),
            response_inspected: Inspected::default(),
        };
        self.entries.push_back(Entry::Call(Box::new(call)));
        if self.entries.len() == 1 {
            self.judge_turn();
        }
    }

    /// Requests are missing, perhaps.
    pub(super) fn push_hole(&mut self, loss: Loss, counters: &mut Counters) {
        self.withdraw(counters);
        match self.entries.back_mut() {
            Some(Entry::Hole(known)) => *known = loss.max(*known),
            _ if self.responses_over => {}
            _ => self.entries.push_back(Entry::Hole(loss)),
        }
    }

    /// The request whose body is being read.
    pub(super) fn open_request(&mut self) -> Option<&mut Call> {
        // Where the end of the body was lost, a hole follows already.
        let call = self
            .entries
            .iter_mut()
            .rev()
            .take(2)
            .find_map(|entry| match entry {
                Entry::Call(call) => Some(call),
                Entry::Hole(_) => None,
            });
        call.map(|call| &mut **call).filter(|call| !call.request_done)
    }

    /// The request that is being answered.
    pub(super) fn front(&mut self) -> Option<&mut Call> {
        match self.entries.front_mut() {
            Some(Entry::Call(call)) => Some(call),
            _ => None,
        }
    }

    /// Whether the bytes behind the latest request cannot be read before it is answered.
    pub(super) fn request_blocked(&self) -> bool {
        match self.entries.back() {
            Some(Entry::Call(call)) => {
                call.switching && call.request_done && matches!(call.answer, Answer::Waiting)
            }
            _ => false,
        }
    }

    /// Whom a response answers that began at `time`, at the begin of a turn or not.
    pub(super) fn assign(&self, time: Nanos, turn: bool) -> Assign {
        let nobody = if self.requests_over {
            Assign::Orphan
        } else {
            Assign::Wait
        };
        match self.entries.front() {
            None => nobody,
            Some(Entry::Call(call)) if self.out_of_step.is_none() => {
                if call.answer == Answer::Waiting {
                    Assign::Front
                } else {
                    nobody
                }
            }
            _ if turn => self.by_turn(time).map_or(Assign::Orphan, Assign::ByTurn),
            _ => Assign::Orphan,
        }
    }

    /// The first request of the latest burst that began at or before `time`.
    fn by_turn(&self, time: Nanos) -> Option<usize> {
        if !self.turns.tell() {
            return None;
        }
        let mut followers = 0;
        let mut turn_inside = false;
        for (at, entry) in self.entries.iter().enumerate().rev() {
            let Entry::Call(call) = entry else {
                return None;
            };
            if call.exchange.request.first_byte > time {
                continue;
            }
            turn_inside |= call.turn_inside.is_some();
            if call.turn {
                // Several requests, and the server spoke between their bytes: the turn may be a later one's.
                let clear = followers == 0 || !turn_inside;
                return (clear && call.answer == Answer::Waiting).then_some(at);
            }
            followers += 1;
        }
        None
    }

    /// Makes the request at `at` the front, its response having begun at `time`.
    pub(super) fn resume_at(&mut self, at: usize, time: Nanos, counters: &mut Counters) {
        // As long as no bytes are missing, the next request in the row, if it is also the turn's, is certain.
        let known = |entry: &Entry| matches!(entry, Entry::Hole(Loss::Framing));
        let certain = self.out_of_step != Some(Loss::Bytes) && self.entries.iter().take(at).all(known);
        for _ in 0..at {
            self.give_up_front(counters);
        }
        let late = self.late;
        if let Some(call) = self.front() {
            call.resumed = Some(time);
            if late {
                call.exchange.flags.insert(Flags::LATE_JOIN);
            }
        }
        self.out_of_step = None;
        self.answered = None;
        if !certain && !self.requests_complete {
            self.unconfirmed = Some(self.unconfirmed.map_or(time, |since| since.max(time)));
        }
    }

    /// Responses cannot be counted any longer.
    pub(super) fn lose_step(&mut self, loss: Loss) {
        self.out_of_step = self.out_of_step.max(Some(loss));
        self.answered = None;
    }

    /// The request direction was seen without a loss up to `time`.
    pub(super) fn requests_seen_until(&mut self, time: Nanos) {
        if self.unconfirmed.is_some_and(|since| time > since) {
            self.confirm();
        }
    }

    /// What was paired by its turn is certain.
    fn confirm(&mut self) {
        self.unconfirmed = None;
        self.late = false;
        self.ready.extend(self.kept_back.drain(..));
    }

    /// What was paired by its turn is uncertain.
    fn withdraw(&mut self, counters: &mut Counters) {
        if self.unconfirmed.take().is_none() {
            return;
        }
        self.withdrawn = true;
        for mut call in std::mem::take(&mut self.kept_back) {
            unpair(&mut call.exchange, counters);
            self.ready.push_back(call);
        }
        if let Some(call) = self.front() {
            call.interim = 0;
            call.interim_first_byte = None;
            if matches!(call.answer, Answer::Open | Answer::Done) {
                call.answer = Answer::Lost;
                call.exchange.response = None;
                call.exchange.flags.insert(Flags::GAP);
                counters.pairings_withdrawn += 1;
                counters.responses_without_request += 1;
            }
        }
        self.lose_step(Loss::Bytes);
        self.settle(counters);
    }

    /// Moves what is complete from the front to the output.
    pub(super) fn settle(&mut self, counters: &mut Counters) {
        loop {
            match self.entries.front() {
                Some(Entry::Call(call))
                    if call.request_done && matches!(call.answer, Answer::Done | Answer::Lost) => {}
                Some(Entry::Hole(_)) if self.responses_over => {
                    self.entries.pop_front();
                    continue;
                }
                _ => return,
            }
            if let Some(Entry::Call(call)) = self.entries.pop_front() {
                self.emit(call, counters);
                self.judge_turn();
            }
        }
    }

    fn give_up_front(&mut self, counters: &mut Counters) {
        if let Some(Entry::Call(mut call)) = self.entries.pop_front() {
            if call.answer != Answer::Done {
                call.answer = Answer::Lost;
                call.exchange.flags.insert(Flags::GAP);
            }
            if !call.request_done {
                call.exchange.flags.insert(Flags::TRUNCATED);
            }
            self.emit(call, counters);
        }
    }

    fn emit(&mut self, mut call: Box<Call>, counters: &mut Counters) {
        let exchange = &mut call.exchange;
        // The server spoke before the request was complete, and what it said then may be among what was lost.
        let spoke = call.turn_inside.zip(call.resumed);
        if spoke.is_some_and(|(turn, answer)| turn < answer) {
            exchange.flags.insert(Flags::GAP);
        }
        if self.late {
            exchange.flags.insert(Flags::LATE_JOIN);
        }
        match &exchange.response {
            Some(response) if call.answer == Answer::Done => {
                self.answered = self.out_of_step.is_none().then_some(response.last_byte);
                if self.unconfirmed.is_some() {
                    if self.kept_back.len() < self.limit {
                        self.kept_back.push_back(call);
                        return;
                    }
                    unpair(exchange, counters);
                }
            }
            _ => {
                exchange.response = None;
                exchange.flags.insert(Flags::UNPAIRED);
                counters.requests_without_response += 1;
                self.switch_unknown |= call.switching;
            }
        }
        self.ready.push_back(call);
    }

    /// A request became the front: did the client wait for the answer before it?
    fn judge_turn(&mut self) {
        let (Some(Entry::Call(call)), Some(answered)) = (self.entries.front(), self.answered) else {
            return;
        };
        if !call.turn {
            return;
        }
        if call.exchange.request.first_byte < answered {
            self.turns.overlaps = Turns::MEMORY;
        } else {
            self.turns.overlaps = self.turns.overlaps.saturating_sub(1);
            self.turns.waits |= call.after_burst;
        }
    }

    /// Whether the request direction has to look for its next message, because it may carry another protocol now.
    pub(super) fn take_switch_unknown(&mut self) -> bool {
        std::mem::take(&mut self.switch_unknown)
    }

    /// Whether the current response has to be given up.
    pub(super) fn take_withdrawn(&mut self) -> bool {
        std::mem::take(&mut self.withdrawn)
    }

    /// No more requests. `complete`: none of their bytes is missing at the end.
    pub(super) fn end_requests(&mut self, complete: bool, counters: &mut Counters) {
        self.requests_over = true;
        self.requests_complete = complete;
        if complete && self.unconfirmed.is_some() {
            self.confirm();
        } else if !complete {
            self.withdraw(counters);
        }
    }

    /// No more responses.
    pub(super) fn end_responses(&mut self, counters: &mut Counters) {
        self.responses_over = true;
        let missing = self.out_of_step.is_some();
        for entry in &mut self.entries {
            if let Entry::Call(call) = entry
                && call.answer != Answer::Done
            {
                call.answer = Answer::Lost;
                self.switch_unknown |= call.switching;
                if missing {
                    call.exchange.flags.insert(Flags::GAP);
                }
            }
        }
        self.settle(counters);
    }

    /// HTTP is over on this connection.
    pub(super) fn end(&mut self, counters: &mut Counters) {
        self.withdraw(counters);
        self.end_responses(counters);
        while !self.entries.is_empty() {
            self.give_up_front(counters);
        }
    }
}

/// Takes the response back from a pair that is uncertain.
fn unpair(exchange: &mut Exchange, counters: &mut Counters) {
    exchange.response = None;
    exchange.flags.insert(Flags::UNPAIRED);
    exchange.flags.insert(Flags::GAP);
    counters.pairings_withdrawn += 1;
    counters.responses_without_request += 1;
    counters.requests_without_response += 1;
}
