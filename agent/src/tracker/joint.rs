//! Exchanges of a connection of which both ends are on this node: each is told once.
//!
//! The server's end tells what both saw. But its way of receiving may be one that the source cannot read, or records of it were lost,
//! while the client's end saw everything: then the client's end tells. Which of the two it is, only shows after a while, because an end
//! may be reported later than the other; until then an exchange of the client's end is kept waiting.
//!
//! Only what the client's end heard from begin to end competes: a server may be busy for long with what its client has given up, and a
//! session ends at one end before the other. Both ends name an exchange by its request and the place of that in the stream. That works
//! for HTTP/1 connections that were seen from their begin. Of others (HTTP/2 fields may be unknown at one end alone) the server's end is
//! believed to tell all.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use protocol::{Exchange, Response, Version};

use super::delivery::Call;

/// Exchanges that one end told and the other has not, per connection. Beyond, the server's end is believed to tell all.
pub const TOLD_MAX: usize = 64;
/// Exchanges of client's ends that wait at a time. Beyond, the first is decided upon at once.
pub const WAITING_MAX: usize = 1024;
/// Rounds that they wait: as long as a record may wait for another one, and one more.
const ROUNDS: u64 = 3;

/// RFC 9110 15.2.2.
const SWITCHING_PROTOCOLS: u16 = 101;

/// What the ends of a connection told.
#[derive(Debug, Default)]
pub struct Told {
    by_server: VecDeque<u64>,
    by_client: VecDeque<u64>,
    /// Exchanges that only the client's end told.
    missed: u64,
    /// Nobody compares any more.
    is_over: bool,
}

/// Shared by a server's end and whoever looks for it; the tracker's thread alone uses it.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Told>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Exchanges that only the client's end told.
    pub fn missed(&self) -> u64 {
        self.lock().missed
    }

    /// The server's end has an exchange: false when the client's end has told it.
    pub fn server_tells(&self, name: u64) -> bool {
        let told = &mut *self.lock();
        if take(&mut told.by_client, name) {
            return false;
        }
        if !told.is_over {
            told.by_server.push_back(name);
            told.bound();
        }
        true
    }

    /// The client's end has an exchange: whether the server's end has told it.
    pub fn has_told(&self, name: u64) -> bool {
        let told = &mut *self.lock();
        told.is_over || take(&mut told.by_server, name)
    }

    /// From here on the server's end is believed to tell all.
    pub fn believe(&self) {
        self.lock().end();
    }

    /// The client's end tells an exchange.
    fn client_tells(&self, name: u64) {
        let told = &mut *self.lock();
        told.missed += 1;
        told.by_client.push_back(name);
        told.bound();
    }
}

impl Told {
    fn bound(&mut self) {
        if self.by_server.len().max(self.by_client.len()) > TOLD_MAX {
            self.end();
        }
    }

    fn end(&mut self) {
        self.is_over = true;
        self.by_server = VecDeque::new();
        self.by_client = VecDeque::new();
    }
}

fn take(names: &mut VecDeque<u64>, name: u64) -> bool {
    let place = names.iter().position(|told| *told == name);
    place.and_then(|place| names.remove(place)).is_some()
}

/// An exchange of a client's end that the server's end has not told yet.
#[derive(Debug)]
pub struct Waiting {
    /// It.
    pub call: Call,
    /// Its name.
    pub name: u64,
    /// What the ends told.
    pub told: Shared,
    /// Since which round.
    pub since: u64,
}

/// All of them, oldest first.
#[derive(Debug, Default)]
pub struct Waitings {
    queue: VecDeque<Waiting>,
    names: RandomState,
}

/// What became of an exchange that waited.
#[derive(Debug)]
pub enum Decided {
    /// The server's end told it; this connection is its client's end.
    Joined(u64),
    /// The client's end tells it.
    Unheard(Box<Call>),
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

    /// Whether an exchange of a client's end is such that the server's end should have told it by now.
    pub fn is_due(exchange: &Exchange) -> bool {
        let is_over = |response: &Response| response.status != SWITCHING_PROTOCOLS;
        exchange.flags.0 == 0 && exchange.response.as_ref().is_some_and(is_over)
    }

    /// Lets one wait.
    pub fn push(&mut self, waiting: Waiting) {
        self.queue.push_back(waiting);
    }

    /// Decides upon the oldest, if its time has come, or if there are too many, or if `now` is `None`: all have to go.
    pub fn decide(&mut self, now: Option<u64>) -> Option<Decided> {
        let too_many = self.queue.len() > WAITING_MAX;
        let due = |waiting: &mut Waiting| too_many || now.is_none_or(|now| now >= waiting.since + ROUNDS);
        let waiting = self.queue.pop_front_if(due)?;
        Some(if waiting.told.has_told(waiting.name) {
            Decided::Joined(waiting.call.connection)
        } else {
            waiting.told.client_tells(waiting.name);
            Decided::Unheard(Box::new(waiting.call))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_exchange_is_told_once() {
        let told = Shared::default();
        assert!(told.server_tells(1));
        assert!(
            told.has_told(1) && !told.has_told(1),
            "one, not two of the same name"
        );
        told.client_tells(2);
        assert!(!told.server_tells(2), "the client's end was first");
        assert!(told.server_tells(2), "another one of this name");
        assert_eq!(told.missed(), 1);
    }

    #[test]
    fn a_server_whose_client_is_not_heard_costs_little() {
        let told = Shared::default();
        for name in 0..TOLD_MAX as u64 {
            assert!(told.server_tells(name));
        }
        assert!(told.has_told(0) && told.server_tells(0));
        assert!(!told.has_told(1_000));
        assert!(told.server_tells(1_000));
        assert!(told.has_told(1_001), "it is believed to have told all");
        assert_eq!(told.lock().by_server.capacity(), 0);
    }
}
