//! What the ends of a connection have of one exchange, and which of it is the record.

use protocol::Exchange;

use super::delivery::{Call, Common};
use super::ends::{End, Side};
use super::joint::{Shared, completeness};
use super::waiting::{Decided, Waiting};

/// An exchange that an end has.
#[derive(Debug)]
pub struct Own<'a> {
    /// Which end.
    pub side: Side,
    /// What both ends call it.
    pub name: Option<u64>,
    /// What was told, as far as this end can compare.
    pub told: Option<&'a Shared>,
    /// Something is missing in it that the other end may have seen.
    pub lacks: bool,
    /// The answer came.
    pub is_answered: bool,
}

/// How it stands with the other end.
#[derive(Debug)]
pub enum Stand {
    /// This end tells it.
    Alone,
    /// To be compared with what the other end has, by what was told and its name.
    Compared(Shared, u64),
    /// The client's end has told it.
    Late,
    /// The server's end has told it, or will.
    Joined,
}

impl Own<'_> {
    /// Looks what the other end told. Where this end tells it that is noted.
    pub fn stand(&self, other: Option<&End>) -> Stand {
        match (self.side, other, self.told) {
            (Side::Server, other, Some(told)) => {
                let Some(name) = self.name else {
                    return Stand::Alone;
                };
                // Also where no client's end is known: it may be reported later.
                if told.has_client_told(name) {
                    return Stand::Late;
                }
                let has_client = other.is_some_and(|end| end.side == Side::Client);
                if self.lacks && has_client && !told.is_over() {
                    return Stand::Compared(told.clone(), name);
                }
                told.server_tells(name);
                Stand::Alone
            }
            (Side::Client, Some(server), own) if server.side == Side::Server => {
                let told = server.told.as_ref().zip(self.name);
                let open = told.filter(|(told, name)| !told.has_server_told(*name));
                match open.filter(|_| own.is_some() && self.is_answered) {
                    Some((told, name)) => Stand::Compared(told.clone(), name),
                    None => Stand::Joined,
                }
            }
            _ => Stand::Alone,
        }
    }
}

impl Common {
    /// An exchange of an end that may have seen less, or more, than the other one: the record, or `None` if it has to wait for the other
    /// end's. What the client's end saw is told as the server's, so that it counts where all others of that server do.
    pub fn compare(&mut self, call: Call, lacks: bool, name: u64, told: Shared) -> Option<Call> {
        let (call, since) = (Box::new(call), self.round);
        let own = Waiting {
            call,
            lacks,
            name,
            told: told.clone(),
            since,
        };
        let opposite = match own.call.side {
            Side::Server => Side::Client,
            Side::Client => Side::Server,
        };
        let Some(other) = self.waitings.take(&told, name, opposite) else {
            self.waitings.push(own);
            return None;
        };
        let (server, client) = match opposite {
            Side::Client => (own, other),
            Side::Server => (other, own),
        };
        self.counters.exchanges_joined += 1;
        let saw = |end: &Waiting| completeness(&end.call.exchange, end.lacks);
        let client_saw_more = saw(&client) > saw(&server);
        let (server, client) = (*server.call, *client.call);
        if !client_saw_more {
            return Some(server);
        }
        told.mend();
        self.counters.exchanges_mended += 1;
        Some(Call {
            exchange: Exchange {
                index: server.exchange.index,
                ..client.exchange
            },
            read_at: Side::Client,
            ..server
        })
    }

    /// What came of an exchange that waited is told. The client's end of one that the server's end has told.
    pub fn settle(&mut self, decided: Decided, out: &mut impl FnMut(Call)) -> Option<u64> {
        let call = match decided {
            Decided::Joined(client) => {
                self.counters.exchanges_joined += 1;
                return Some(client);
            }
            Decided::Unheard(call) => {
                self.counters.exchanges_unheard += 1;
                call
            }
            Decided::Lacking(call) => call,
        };
        self.counters.exchanges += 1;
        out(*call);
        None
    }
}
