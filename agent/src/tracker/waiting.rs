//! Exchanges that wait for what the other end of their connection saw of them: those of client's ends that the server's end has not told,
//! and those of server's ends in which something is missing. See [`joint`](super::joint).

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use protocol::{Exchange, Version};

use super::delivery::Call;
use super::ends::Side;
use super::joint::{Shared, is_due};

/// Exchanges that wait at a time. Beyond, the first is decided upon at once.
pub const WAITING_MAX: usize = 1024;
/// Rounds that they wait: as long as a record may wait for another one, and one more.
pub const ROUNDS: u64 = 3;

/// An exchange that waits.
#[derive(Debug)]
pub struct Waiting {
    /// It.
    pub call: Box<Call>,
    /// Something is missing in it that the other end may have seen.
    pub lacks: bool,
    /// Its name.
    pub name: u64,
    /// What the ends told.
    pub told: Shared,
    /// Since which round.
    pub since: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Waitings {
    /// By number: the oldest first.
    queue: BTreeMap<u64, Waiting>,
    next: u64,
    names: RandomState,
}

/// What became of an exchange for which the other end's did not come.
#[derive(Debug)]
pub enum Decided {
    /// The server's end told it, or will; this connection is its client's end.
    Joined(u64),
    /// The client's end tells it.
    Unheard(Box<Call>),
    /// The server's end tells it, with what is missing.
    Lacking(Box<Call>),
}

impl Waitings {
    /// What both ends call an exchange; `None` where that may differ.
    pub fn name(&self, exchange: &Exchange) -> Option<u64> {
        let request = &exchange.request;
        let is_http1 = matches!(request.version, Version::Http10 | Version::Http11);
        let is_known = !request.target.is_empty();
        (is_http1 && is_known).then(|| {
            self.names
                .hash_one((&request.method, &request.target, exchange.request_offset))
        })
    }

    /// Lets one wait.
    pub fn push(&mut self, waiting: Waiting) {
        waiting.told.wait(waiting.name, waiting.call.side, self.next);
        self.queue.insert(self.next, waiting);
        self.next += 1;
    }

    /// The exchange of an end, if it waits. It does so no longer.
    pub fn take(&mut self, told: &Shared, name: u64, side: Side) -> Option<Waiting> {
        self.queue.remove(&told.stop_waiting(name, side)?)
    }

    /// Decides upon the oldest, if its time has come, or if `now` is `None`: all have to go.
    pub fn decide(&mut self, now: Option<u64>) -> Option<Decided> {
        let oldest = self.queue.first_entry()?;
        let since = oldest.get().since;
        let is_due = now.is_none_or(|now| now >= since.saturating_add(ROUNDS));
        is_due.then(|| decide(oldest.remove()))
    }

    /// Decides upon the oldest, if there are too many.
    pub fn bound(&mut self) -> Option<Decided> {
        let too_many = self.queue.len() > WAITING_MAX;
        let (_, oldest) = too_many.then(|| self.queue.pop_first()).flatten()?;
        Some(decide(oldest))
    }
}

fn decide(waiting: Waiting) -> Decided {
    let Waiting { call, name, told, .. } = waiting;
    told.stop_waiting(name, call.side);
    match call.side {
        Side::Server => {
            told.server_tells(name);
            Decided::Lacking(call)
        }
        Side::Client if told.has_server_told(name) || !is_due(&call.exchange) => {
            Decided::Joined(call.connection)
        }
        Side::Client => {
            told.client_tells(name);
            Decided::Unheard(call)
        }
    }
}
