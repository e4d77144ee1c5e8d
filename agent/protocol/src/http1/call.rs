//! What pairing knows of a request, of the client's habits, and of losses.

use super::framing::Asked;
use crate::body::Inspected;
use crate::{Exchange, Limits, Nanos, classify};

/// A request and what is known of its answer.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) exchange: Exchange,
    pub(super) asked: Asked,
    /// Whether it is the first of a burst: it began a turn.
    pub(super) turn: bool,
    /// When a turn first began inside it: the server had said something before it was complete.
    pub(super) turn_inside: Option<Nanos>,
    pub(super) request_done: bool,
    pub(super) answer: Answer,
    /// Whether the answer may end HTTP on this connection (Upgrade, CONNECT), so that nothing behind it may be read.
    pub(super) switching: bool,
    /// Interim responses so far, and the time of the first.
    pub(super) interim: u32,
    pub(super) interim_first_byte: Option<Nanos>,
    /// Whether the burst before it had several requests.
    pub(super) after_burst: bool,
    /// When its answer began that was found by its turn.
    pub(super) resumed: Option<Nanos>,
    /// What its contents are to an application protocol.
    pub(super) request_inspected: Inspected,
    pub(super) response_inspected: Inspected,
}

impl Call {
    /// Bytes of memory that it takes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        let inspected = [&self.request_inspected, &self.response_inspected].map(Inspected::memory_bytes);
        size_of::<Self>() + self.exchange.memory_bytes() + inspected.iter().sum::<usize>()
    }

    /// The exchange, which is complete.
    pub(super) fn into_exchange(self, limits: &Limits) -> Exchange {
        let mut exchange = self.exchange;
        classify(
            &mut exchange,
            self.request_inspected,
            self.response_inspected,
            limits,
        );
        exchange
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Waiting,
    /// Its head was read.
    Open,
    Done,
    /// It will not come, or cannot be told.
    Lost,
}

/// A place in the row of requests.
#[derive(Debug)]
pub(super) enum Entry {
    Call(Box<Call>),
    /// An unknown number of requests.
    Hole(Loss),
}

/// What makes counting impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Loss {
    /// All that was to be seen was; only the end of a message is unknown.
    Framing,
    /// Bytes are missing.
    Bytes,
}

/// What to do with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assign {
    /// It answers the front.
    Front,
    /// It answers the request at this position, which is known by its turn.
    ByTurn(usize),
    /// Its request may still come.
    Wait,
    /// No request can be told.
    Orphan,
}

/// What is known of the client's habits.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Requests of the current burst.
    pub(super) burst: u32,
    /// A burst had several requests.
    pub(super) pipelines: bool,
    /// Such a burst was seen to be answered entirely before the next.
    pub(super) waits: bool,
    /// Above zero: the client sent while answers were outstanding; turns mean nothing then. Falls with every burst that
    /// was in order, so that a single event out of order does not spoil a long connection.
    pub(super) overlaps: u8,
}

impl Turns {
    /// In-order bursts that make an overlap forgotten.
    pub(super) const MEMORY: u8 = 32;

    /// Whether turns tell which requests are answered.
    pub(super) fn tell(&self) -> bool {
        self.overlaps == 0 && (!self.pipelines || self.waits)
    }
}
