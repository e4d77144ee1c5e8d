//! Exchanges handed out: which end's view is the record, and who held the other end.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use protocol::Exchange;

use super::address::Address;
use super::class::Class;
use super::compare::{Own, Stand};
use super::connection::{Connection, Ledger};
use super::counters::Counters;
use super::ends::{End, Ends, Side};
use super::joint;
use super::order::Order;
use super::waiting::Waitings;
use crate::attribution::Process;

/// What is known of the TLS session that an exchange went through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// What its handshake said on the wire; empty where that was not seen.
    pub facts: protocol::tls::Facts,
    /// Whose functions gave the plaintext.
    pub library: Arc<str>,
}

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
    /// Which end tells it.
    pub side: Side,
    /// At which end it was read: also the client's where the server's end tells it, but could not read all of it.
    pub read_at: Side,
    /// Who holds that end.
    pub process: Arc<Process>,
    /// Who holds the other end, if it is on this node.
    pub peer: Option<Arc<Process>>,
    /// Client's address.
    pub client: Address,
    /// Server's address.
    pub server: Address,
    /// The TLS session that it went through; `None`: it went over the socket as it is.
    pub tls: Option<Arc<Tls>>,
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
    /// Exchanges that wait for what the other end saw of them.
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
        read_at: side,
        process: Arc::clone(&connection.process),
        peer: peer.map(Arc::clone),
        client,
        server,
        tls: connection.tls.clone(),
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
            self.ends.insert(connection.place(), end);
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
            connection.count_once(Class::Http, &mut self.ledger);
            let other = self
                .ends
                .other(connection.place(), connection.base, connection.opened_ns);
            let own = Own {
                side,
                name: self.waitings.name(&exchange),
                told: connection.told.as_ref(),
                lacks: joint::lacks(&exchange, connection.is_blind),
                is_answered: joint::is_answered(&exchange),
            };
            let lacks = own.lacks;
            let compared = match own.stand(other) {
                Stand::Alone => None,
                Stand::Compared(told, name) => Some((told, name)),
                Stand::Late => {
                    self.counters.exchanges_late += 1;
                    continue;
                }
                Stand::Joined => {
                    self.counters.exchanges_joined += 1;
                    connection.joined += 1;
                    continue;
                }
            };
            let call = call_of(connection, side, exchange, weight, other);
            self.counters.exchanges_rested += u64::from(weight.saturating_sub(connection.weight));
            self.remember(connection, &call);
            let told = match compared {
                Some((told, name)) => self.compare(call, lacks, name, told),
                None => Some(call),
            };
            if let Some(call) = told {
                let is_needless = side == Side::Client && call.read_at == Side::Server;
                connection.joined += u64::from(is_needless);
                self.counters.exchanges += 1;
                out(call);
            }
        }
        while let Some(decided) = self.waitings.bound() {
            self.counters.waits_cut += 1;
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
                connection.count_once(Class::Other, &mut self.ledger);
                // This end gives no exchange. If the other one does, that is the record.
                self.ends.remove(connection.place(), connection.id);
            }
        }
    }
}
