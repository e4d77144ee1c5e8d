//! Exchanges of a connection of which both ends are on this node: each is told once.
//!
//! The server's end tells what both saw. But its way of sending or receiving may be one that the source cannot read, or records of it were
//! lost, while the client's end saw everything. Then, if the server's end has an exchange with something missing, the record is the
//! server's with what the client's end saw of it; and if the server's end has none, the client's end tells. Which it is, only shows after
//! a while, because an end may be reported later than the other; until then the exchange is kept waiting.
//!
//! Only what the client's end heard from begin to end competes with a server's end that says nothing: a server may be busy for long with
//! what its client has given up, and a session ends at one end before the other. Both ends name an exchange by its request and the place
//! of that in the stream. That works for HTTP/1 connections that were seen from their begin. Of others (HTTP/2 fields may be unknown at
//! one end alone) the server's end is believed to tell all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::{Exchange, Flags, Response};

use super::ends::Side;

/// Exchanges that one end told and the other has not, per connection. Beyond, the server's end is believed to tell all.
pub const TOLD_MAX: usize = 64;

/// RFC 9110 15.2.2.
const SWITCHING_PROTOCOLS: u16 = 101;

/// Whether the answer came, and ends the exchange: else the client's end is no witness of how it went on.
pub fn is_answered(exchange: &Exchange) -> bool {
    let is_over = |response: &Response| response.status != SWITCHING_PROTOCOLS;
    exchange.response.as_ref().is_some_and(is_over)
}

/// Whether an exchange of a client's end is such that the server's end should have told it by now.
pub fn is_due(exchange: &Exchange) -> bool {
    exchange.flags.0 == 0 && is_answered(exchange)
}

/// Whether something is missing in an exchange that was not left out on purpose, so that the other end may have seen it. `is_blind`: bytes
/// went over this end's socket that the source could not read.
pub fn lacks(exchange: &Exchange, is_blind: bool) -> bool {
    let is_session = |response: &Response| response.status == SWITCHING_PROTOCOLS;
    let flags = exchange.flags;
    (flags.contains(Flags::GAP) || (is_blind && flags.0 != 0))
        && !exchange.response.as_ref().is_some_and(is_session)
}

/// How much an end saw of an exchange; more is greater. `lacks`: see [`lacks`].
pub fn completeness(exchange: &Exchange, lacks: bool) -> impl PartialOrd + use<> {
    let answer = exchange.response.as_ref();
    let captured = answer.map_or(0, |answer| answer.body.captured.len());
    (
        answer.is_some(),
        !lacks,
        !exchange.flags.contains(Flags::GAP),
        captured + exchange.request.body.captured.len(),
    )
}

/// What the ends of a connection told.
#[derive(Debug, Default)]
struct Told {
    by_server: VecDeque<u64>,
    by_client: VecDeque<u64>,
    /// Names and ends of exchanges that wait, and under which number.
    waiting: VecDeque<(u64, Side, u64)>,
    /// Exchanges that only the client's end told.
    missed: u64,
    /// Exchanges of which the client's end saw more.
    mended: u64,
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

    /// Whether the server's end can do without its client's: what that saw was never more, or nobody wants to know.
    pub fn is_enough(&self) -> bool {
        let told = &*self.lock();
        told.missed == 0 && (told.mended == 0 || told.is_over)
    }

    /// The server's end has an exchange: whether the client's end has told it.
    pub fn has_client_told(&self, name: u64) -> bool {
        take(&mut self.lock().by_client, name)
    }

    /// The server's end tells an exchange.
    pub fn server_tells(&self, name: u64) {
        let told = &mut *self.lock();
        if !told.is_over {
            told.by_server.push_back(name);
            told.bound();
        }
    }

    /// The client's end has an exchange: whether the server's end has told it.
    pub fn has_server_told(&self, name: u64) -> bool {
        let told = &mut *self.lock();
        told.is_over || take(&mut told.by_server, name)
    }

    /// From here on the server's end is believed to tell all.
    pub fn believe(&self) {
        self.lock().end();
    }

    /// Whether it is.
    pub fn is_over(&self) -> bool {
        self.lock().is_over
    }

    /// The client's end tells an exchange.
    pub fn client_tells(&self, name: u64) {
        let told = &mut *self.lock();
        told.missed += 1;
        told.by_client.push_back(name);
        told.bound();
    }

    /// The client's end saw more of an exchange than the server's.
    pub fn mend(&self) {
        self.lock().mended += 1;
    }

    /// An exchange of an end waits under a number.
    pub fn wait(&self, name: u64, side: Side, number: u64) {
        self.lock().waiting.push_back((name, side, number));
    }

    /// The exchange of an end that waits, if it does: it will no longer. Its number.
    pub fn stop_waiting(&self, name: u64, side: Side) -> Option<u64> {
        let waiting = &mut self.lock().waiting;
        let place = waiting
            .iter()
            .position(|(its, end, _)| (*its, *end) == (name, side))?;
        waiting.remove(place).map(|(_, _, number)| number)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the server's end does with an exchange of which nothing is missing: false when the client's end has told it.
    fn server_tells(told: &Shared, name: u64) -> bool {
        let tells = !told.has_client_told(name);
        if tells {
            told.server_tells(name);
        }
        tells
    }

    #[test]
    fn each_exchange_is_told_once() {
        let told = Shared::default();
        assert!(server_tells(&told, 1));
        assert!(
            told.has_server_told(1) && !told.has_server_told(1),
            "one, not two of the same name"
        );
        told.client_tells(2);
        assert!(!server_tells(&told, 2), "the client's end was first");
        assert!(server_tells(&told, 2), "another one of this name");
        assert_eq!(told.missed(), 1);
    }

    #[test]
    fn a_server_whose_client_is_not_heard_costs_little() {
        let told = Shared::default();
        for name in 0..TOLD_MAX as u64 {
            assert!(server_tells(&told, name));
        }
        assert!(told.has_server_told(0) && server_tells(&told, 0));
        assert!(!told.has_server_told(1_000));
        assert!(server_tells(&told, 1_000));
        assert!(told.has_server_told(1_001), "it is believed to have told all");
        assert_eq!(told.lock().by_server.capacity(), 0);
    }

    #[test]
    fn what_waits_is_found_by_its_end_and_name() {
        let told = Shared::default();
        told.wait(7, Side::Client, 1);
        told.wait(7, Side::Server, 2);
        told.wait(7, Side::Client, 3);
        assert_eq!(told.stop_waiting(8, Side::Client), None);
        assert_eq!(told.stop_waiting(7, Side::Server), Some(2));
        assert_eq!(told.stop_waiting(7, Side::Server), None);
        assert_eq!(told.stop_waiting(7, Side::Client), Some(1), "the first of two");
    }

    #[test]
    fn a_client_that_sees_more_is_needed_while_anybody_compares() {
        let told = Shared::default();
        assert!(told.is_enough());
        told.mend();
        assert!(!told.is_enough());
        told.believe();
        assert!(told.is_enough());
        let told = Shared::default();
        told.client_tells(1);
        told.believe();
        assert!(!told.is_enough(), "the server's end does not tell all");
    }
}
