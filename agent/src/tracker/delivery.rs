//! Exchanges handed out: which end's view is the record, and who held the other end.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use protocol::Exchange;

use super::address::Address;
use super::connection::{Connection, Ledger};
use super::counters::Counters;
use super::ends::{End, Ends, Side};
use super::joint::{Decided, Waiting, Waitings};
use super::order::Order;
use crate::attribution::Process;

/// An exchange and who took part in it.
#[derive(Debug)]
pub struct Call {
    /// What went over the wire.
    pub exchange: protocol::Exchange,
    /// Connection as the source names it.
    pub connection: u64,
    /// Calls that it stands for, itself included: more than 1 where the process's budget lets through one connection in so many, and where
    /// the connection rests ([`Tracker::rest`](super::Tracker::rest)). The weights of a connection's calls add up to its calls.
    pub weight: u32,
    /// It is not a call of its own: `weight` more went by like one of this connection that was given before, without bodies and fields.
    pub again: bool,
    /// Which end saw it.
    pub side: Side,
    /// Who holds that end.
    pub process: Arc<Process>,
    /// Who holds the other end, if it is on this node.
    pub peer: Option<Arc<Process>>,
    /// Client's address.
    pub client: Address,
    /// Server's address.
    pub server: Address,
}

/// What all connections add to.
#[derive(Debug, Default)]
pub(super) struct Common {
    pub ends: Ends,
    pub counters: Counters,
    /// Connections whose parsers have to be asked what they counted.
    pub counting: Vec<u64>,
    /// Connections whose parsers may keep more or less than when they were last asked.
    pub growing: Vec<u64>,
    pub ledger: Ledger,
    pub orders: Vec<Order>,
    /// Exchanges of client's ends that the server's ends have not told.
    pub waitings: Waitings,
    /// Rounds so far.
    pub round: u64,
    /// Whether connections may be told to rest.
    pub rests: bool,
}

fn socket_address(address: [u8; 16], port: u16) -> Address {
    Address::Ip(SocketAddr::new(Ipv6Addr::from(address).to_canonical(), port))
}

/// Addresses of client and server.
fn addresses(connection: &Connection, side: Side) -> (Address, Address) {
    if let Some(server) = &connection.unix {
        // That clients are bound to names is as good as unheard of, and no one calls them by those.
        return (Address::unix(b""), server.clone());
    }
    let tuple = &connection.tuple;
    let local = socket_address(tuple.local, tuple.local_port);
    let remote = socket_address(tuple.remote, tuple.remote_port);
    match side {
        Side::Server => (remote, local),
        Side::Client => (local, remote),
    }
}

fn call_of(
    connection: &Connection,
    side: Side,
    exchange: Exchange,
    weight: u32,
    other: Option<&End>,
) -> Call {
    let (client, server) = addresses(connection, side);
    let peer = other.map(|end| &end.process).or(connection.peer.as_ref());
    Call {
        exchange,
        connection: connection.id,
        weight,
        again: false,
        side,
        process: Arc::clone(&connection.process),
        peer: peer.map(Arc::clone),
        client,
        server,
    }
}

impl Common {
    pub fn note_end(&mut self, connection: &Connection) {
        if let Some(side) = connection.side() {
            let end = End {
                connection: connection.id,
                side,
                process: Arc::clone(&connection.process),
                base: connection.base,
                told: connection.told.clone(),
                closed_ns: None,
            };
            self.ends.insert(&connection.tuple, connection.netns, end);
        }
    }

    /// Hands out what is complete.
    pub fn deliver(&mut self, connection: &mut Connection, out: &mut impl FnMut(Call)) {
        self.deliver_if(connection, |_| true, out);
    }

    /// Hands out what is complete and wanted.
    pub fn deliver_if(
        &mut self,
        connection: &mut Connection,
        wanted: impl Fn(&Exchange) -> bool,
        out: &mut impl FnMut(Call),
    ) {
        while let Some(exchange) = connection.poll() {
            let weight = connection.weight_of(&exchange);
            if !wanted(&exchange) {
                continue;
            }
            let Some(side) = connection.side() else {
                continue;
            };
            connection.exchanges += 1;
            let other = self.ends.other(
                &connection.tuple,
                connection.netns,
                connection.base,
                connection.opened_ns,
            );
            let name = self.waitings.name(&exchange);
            let mut waits = None;
            match (side, other, &connection.told) {
                // Also where no client's end is known: it may be reported later.
                (Side::Server, _, Some(told)) if name.is_some_and(|name| !told.server_tells(name)) => {
                    self.counters.exchanges_late += 1;
                    continue;
                }
                (Side::Client, Some(server), own) if server.side == Side::Server => {
                    let compares = own.is_some() && Waitings::is_due(&exchange);
                    let told = server.told.as_ref().zip(name);
                    match told.filter(|(told, name)| !told.has_told(*name) && compares) {
                        Some((told, name)) => waits = Some((told.clone(), name)),
                        None => {
                            self.counters.exchanges_joined += 1;
                            connection.joined += 1;
                            continue;
                        }
                    }
                }
                _ => {}
            }
            let call = call_of(connection, side, exchange, weight, other);
            self.counters.exchanges_rested += u64::from(weight.saturating_sub(connection.weight));
            self.remember(connection, &call);
            match waits {
                Some((told, name)) => {
                    let since = self.round;
                    self.waitings.push(Waiting {
                        call,
                        name,
                        told,
                        since,
                    });
                }
                None => {
                    self.counters.exchanges += 1;
                    out(call);
                }
            }
        }
        // Those beyond the limit.
        while let Some(decided) = self.waitings.decide(Some(0)) {
            self.settle(decided, out);
        }
        if !std::mem::replace(&mut connection.counts, true) {
            self.counting.push(connection.id);
        }
        if !std::mem::replace(&mut connection.grows, true) {
            self.growing.push(connection.id);
        }
        if connection.is_over(&mut self.ledger) {
            connection.measure(&mut self.ledger);
            self.counters.connections_other_protocol += 1;
            self.orders.push(Order::Ignore {
                connection: connection.id,
            });
            if connection.exchanges == 0 {
                // This end gives no exchange. If the other one does, that is the record.
                self.ends
                    .remove(&connection.tuple, connection.netns, connection.id);
            }
        }
    }

    /// What came of an exchange that waited is told. The client's end of one that the server's end has told.
    pub fn settle(&mut self, decided: Decided, out: &mut impl FnMut(Call)) -> Option<u64> {
        match decided {
            Decided::Joined(client) => {
                self.counters.exchanges_joined += 1;
                Some(client)
            }
            Decided::Unheard(call) => {
                self.counters.exchanges_unheard += 1;
                self.counters.exchanges += 1;
                out(*call);
                None
            }
        }
    }
}
