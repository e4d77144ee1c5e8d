//! TCP connections that carry TLS: what their handshakes say, which sessions go over them, and how much of them is decrypted.
//!
//! A session is a connection like any other, with its own id and places. What goes over its socket is ciphertext, which has no part in
//! the capture rate: it is counted by itself, by the socket's own counts, as decrypted from the moment a session over it is known.
//! The records of a socket come in the order in which the kernel moved its bytes, so a handshake comes before the plaintext that
//! follows it, and before the session's announcement, which comes with that.

mod finding;
mod hello;
mod meter;
mod socket;

use std::collections::VecDeque;
use std::sync::Arc;

use agent_common::{Direction as Way, Role};
use foldhash::HashMap;

use self::finding::NothingFound;
pub use self::finding::{Finding, Findings};
use self::hello::Heard;
use self::socket::Socket;
use super::Tracker;
use super::class::family_name;
use super::connection::{Connection, Ledger};
use super::ends::Place;
use super::order::Order;
use crate::attribution::{Attribution, Process};
use crate::source::{Chunk, Close, Open, Session};

/// TLS connections known at a time. Beyond, the oldest is forgotten: its bytes count up to where the kernel last said it stood.
pub const SOCKETS_MAX: usize = 32_768;
/// What unfinished hellos of all connections may keep, bytes. Beyond, the one that would take more is read no further.
pub const HELLOS_BYTES_MAX: usize = 16 << 20;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Sockets {
    sockets: HashMap<u64, Socket>,
    /// By age. Also some that are gone.
    order: VecDeque<u64>,
    /// By place, of the latest there.
    places: HashMap<Place, u64>,
    hello_bytes: usize,
    findings: Box<dyn Findings>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            sockets: HashMap::default(),
            order: VecDeque::new(),
            places: HashMap::default(),
            hello_bytes: 0,
            findings: Box::new(NothingFound),
        }
    }
}

impl Sockets {
    /// How many are known.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// What unfinished hellos keep, bytes.
    #[cfg(test)]
    pub const fn hello_bytes(&self) -> usize {
        self.hello_bytes
    }

    fn insert(&mut self, socket: Socket, ledger: &mut Ledger) -> u64 {
        let mut evicted = 0;
        while self.sockets.len() >= SOCKETS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            evicted += u64::from(self.give_up(oldest, ledger));
        }
        if self.order.len() > 2 * SOCKETS_MAX {
            self.order.retain(|id| self.sockets.contains_key(id));
        }
        self.order.push_back(socket.id);
        self.places.insert(socket.place(), socket.id);
        self.sockets.insert(socket.id, socket);
        evicted
    }

    /// Takes a socket out, with what it keeps.
    fn remove(&mut self, id: u64) -> Option<Socket> {
        let socket = self.sockets.remove(&id)?;
        self.hello_bytes -= socket.hello.as_ref().map_or(0, |hello| hello.bytes());
        let place = socket.place();
        if self.places.get(&place) == Some(&id) {
            self.places.remove(&place);
        }
        Some(socket)
    }

    /// Who uses the other end of a socket, if it is on this node.
    fn peer(&self, socket: &Socket) -> Option<&Arc<Process>> {
        let other = self.places.get(&socket.place().opposite())?;
        self.sockets.get(other).map(|other| &other.process)
    }

    /// Forgets one of which nobody says where it ended. Whether it was known.
    pub fn give_up(&mut self, id: u64, ledger: &mut Ledger) -> bool {
        let Some(mut socket) = self.remove(id) else {
            return false;
        };
        socket.give_up(self.findings.of(socket.pid), ledger);
        true
    }

    /// Forgets all.
    pub fn give_up_all(&mut self, ledger: &mut Ledger) {
        for id in std::mem::take(&mut self.order) {
            self.give_up(id, ledger);
        }
    }

    /// The kernel says where a socket stands; with `last`, where it has ended. Whether it was one of these.
    pub fn told(&mut self, close: &Close, last: bool, ledger: &mut Ledger) -> bool {
        let Some(socket) = self.sockets.get_mut(&close.connection) else {
            return false;
        };
        let finding = self.findings.of(socket.pid);
        socket.told(close, last, finding, ledger);
        if last {
            self.remove(close.connection);
        }
        true
    }

    /// Those of which the kernel has not been asked since this time.
    pub fn due(&self, asked_ns: u64) -> impl Iterator<Item = u64> {
        let due = move |socket: &&Socket| socket.asked_ns <= asked_ns;
        self.sockets.values().filter(due).map(|socket| socket.id)
    }

    /// An order to say where one stands, if it is one of these.
    pub fn ask(&mut self, id: u64, now_ns: u64) -> Option<Order> {
        let socket = self.sockets.get_mut(&id)?;
        socket.asked_ns = now_ns;
        Some(report_of(socket))
    }

    /// Forgets those that are not wanted any more, by process and port of the end that serves.
    pub fn retain(&mut self, ledger: &mut Ledger, is_wanted: impl Fn(&Process, u16) -> bool) {
        let unwanted = |socket: &&Socket| !is_wanted(&socket.process, service_port(socket));
        let unwanted: Vec<&Socket> = self.sockets.values().filter(unwanted).collect();
        let unwanted: Vec<u64> = unwanted.iter().map(|socket| socket.id).collect();
        for id in unwanted {
            self.give_up(id, ledger);
        }
    }
}

/// An order to say where a socket stands. Either way will do: who asks is answered, as a rule.
const fn report_of(socket: &Socket) -> Order {
    let way = match socket.role {
        Role::Client => Way::Out,
        Role::Server | Role::Unknown => Way::In,
    };
    Order::Report {
        connection: socket.id,
        way,
    }
}

impl Tracker {
    /// Tells who knows the libraries of processes.
    pub fn know_libraries(&mut self, findings: Box<dyn Findings>) {
        self.tls.findings = findings;
    }

    /// TLS connections known now.
    #[must_use]
    pub fn tls_sockets(&self) -> usize {
        self.tls.len()
    }

    /// A TCP connection carries TLS.
    pub(super) fn tls_open(&mut self, open: &Open, attribution: &mut Attribution) {
        if let Some(known) = self.tls.sockets.get_mut(&open.connection) {
            self.common.counters.connections_reopened += 1;
            known.pid = open.owner.pid;
            return;
        }
        let process = attribution.process(&open.owner, open.time_ns);
        let mut open = open.clone();
        if open.role == Role::Unknown {
            open.role = self.roles.remove(&open.connection).unwrap_or(Role::Unknown);
        }
        let has_books = self.connections.contains_key(&open.connection);
        let socket = Socket::new(open.connection, &open, process, has_books);
        if self.is_wanted(socket.id, &socket.process, Some(service_port(&socket))) {
            self.insert(socket);
        }
    }

    fn insert(&mut self, socket: Socket) {
        let common = &mut self.common;
        common.counters.tls_sockets_opened += 1;
        common.counters.tls_sockets_evicted += self.tls.insert(socket, &mut common.ledger);
    }

    /// Bytes of its handshake.
    pub(super) fn tls_hello(&mut self, chunk: &Chunk<'_>, attribution: &mut Attribution) {
        let counters = &mut self.common.counters;
        let Some(socket) = self.tls.sockets.get_mut(&chunk.connection) else {
            counters.tls_hellos_untracked += 1;
            return;
        };
        if chunk.pid != socket.pid {
            // As with plaintext: the socket was handed to another process.
            socket.pid = chunk.pid;
            if let Some(hint) = attribution.hint_of(chunk.pid) {
                socket.process = attribution.process(&hint, chunk.time_ns);
            }
        }
        let (Some(hello), Some(base)) = (&mut socket.hello, socket.base) else {
            return;
        };
        let before = hello.bytes();
        let heard = hello.take(chunk, base);
        self.tls.hello_bytes = self.tls.hello_bytes + hello.bytes() - before;
        let too_much = self.tls.hello_bytes > HELLOS_BYTES_MAX;
        if heard == Heard::Read {
            socket.facts = hello.facts().clone();
        }
        let is_over = hello.is_over() || too_much;
        counters.tls_hellos_cut += u64::from(heard == Heard::Cut || too_much || (is_over && hello.is_cut()));
        if is_over {
            self.tls.hello_bytes -= hello.bytes();
            socket.hello = None;
        }
        if heard == Heard::Read
            && let Some(session) = socket.session.and_then(|id| self.connections.get_mut(&id))
            && let Some(tls) = &session.tls
        {
            session.tls = Some(socket.tls(Arc::clone(&tls.library)));
        }
    }

    /// A session that is tracked goes over a socket: the session's calls say what that said.
    pub(super) fn bind(&mut self, connection: &mut Connection, open: &Open, session: Session) {
        let library = family_name(session.family);
        let is_announced = self.tls.sockets.contains_key(&session.socket);
        if !is_announced {
            // Its announcement was lost, or it was HTTP before (CONNECT).
            self.common.counters.tls_sockets_unannounced += 1;
            let has_books = self.connections.contains_key(&session.socket);
            let process = Arc::clone(&connection.process);
            self.insert(Socket::new(session.socket, open, process, has_books));
        }
        let Some(socket) = self.tls.sockets.get_mut(&session.socket) else {
            return;
        };
        // Two sessions between the same addresses are told apart as their sockets are: their own places all begin at 0.
        connection.base = socket.base;
        connection.tls = Some(socket.tls(library.into()));
        socket.process = Arc::clone(&connection.process);
        socket.pid = open.owner.pid;
        let is_fresh = open.base.is_some() && (socket.base.is_some() || !is_announced);
        if socket.bind(connection.id, library, is_fresh) {
            socket.asked_ns = open.time_ns;
            self.common.orders.push(report_of(socket));
        }
        // A client's plaintext is told when its call returns, and the server may have answered by then. The handshake came before.
        let peer = self.tls.sockets.get(&session.socket);
        connection.peer = peer.and_then(|socket| self.tls.peer(socket)).map(Arc::clone);
    }
}

/// Port of the end that serves: where nobody knows which one that is, the lower one.
fn service_port(socket: &Socket) -> u16 {
    let (local, remote) = (socket.tuple.local_port, socket.tuple.remote_port);
    match socket.role {
        Role::Server => local,
        Role::Client => remote,
        Role::Unknown => local.min(remote),
    }
}
