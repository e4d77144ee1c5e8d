//! A tracked connection.

use std::sync::Arc;

use agent_common::{Direction as Way, Role, Tuple};
use protocol::{Direction, Limits, Start};

use super::address::Address;
use super::class::{Class, family_name};
use super::coverage::Coverage;
use super::delivery::Tls;
use super::demand::Demand;
use super::ends::{Place, Side};
use super::fate::Fate;
use super::joint;
use super::reconcile::Books;
use super::rest::Rest;
use super::stream::Stream;
use crate::attribution::Process;
use crate::source::{Close, Open};

/// Records that do not tell who is the client, after which a connection is given up.
pub const UNORIENTED_MAX: u32 = 64;
/// State of a connection.
#[derive(Debug)]
pub struct Connection {
    /// As the source names it.
    pub id: u64,
    /// Addresses.
    pub tuple: Tuple,
    /// Network namespace.
    pub netns: u32,
    /// Of a UNIX connection: the address that its server is bound to.
    pub unix: Option<Address>,
    /// Who holds the other end, or held it when it began, as the credentials of its socket say.
    pub peer: Option<Arc<Process>>,
    /// Who holds this end.
    pub process: Arc<Process>,
    /// Connections of its process that it stands for, itself included.
    pub weight: u32,
    /// The pid of the last record; 0: whatever comes is looked up again.
    pub pid: u32,
    /// When it was announced.
    pub opened_ns: u64,
    /// When anything was last heard of it.
    pub active_ns: u64,
    /// Exchanges that came out.
    pub exchanges: u64,
    /// Its end was reported; bytes may still be read from it.
    pub closing: Option<Close>,
    /// Exchanges that came out at the server's end instead, which is on this node too.
    pub joined: u64,
    /// Bytes went over it that the source could not read.
    pub is_blind: bool,
    /// Records that came although none were wanted.
    pub unwanted: u32,
    /// What its parser was found to keep, bytes.
    pub memory: usize,
    /// It is among those whose parsers have to be asked what they counted.
    pub counts: bool,
    /// It is among those whose parsers have to be asked what they keep.
    pub grows: bool,
    /// Nothing was heard of it for long, and its parser was kept.
    pub dozes: bool,
    /// When the source was last asked where it stands, or its begin.
    pub asked_ns: u64,
    /// Which way bytes last went.
    pub last_way: Way,
    /// First sequence numbers each way of its socket, where that was seen from its begin.
    pub base: Option<[u32; 2]>,
    /// What it is before anything else is known of it: HTTP, or TLS that is decrypted.
    pub class: Class,
    /// It counts as a connection of a class.
    pub counted: bool,
    /// Of a TLS session: what its calls say of it.
    pub tls: Option<Arc<Tls>>,
    /// What its ends told; `None` when it was not seen from its begin.
    pub told: Option<joint::Shared>,
    /// Which way requests go; `None` while it is not known.
    pub(super) request_way: Option<Way>,
    pub(super) role: Role,
    pub(super) unoriented: u32,
    demand: Demand,
    pub(super) streams: [Stream; 2],
    /// What became of its bytes.
    pub books: Books,
    pub(super) http: Parser,
    /// Whether and how it rests; `None` where it never was told to, and will not be.
    pub(super) rest: Option<Box<Rest>>,
}

#[derive(Debug)]
pub(super) enum Parser {
    Awake(Box<protocol::Connection>),
    /// Nothing was heard for long. What comes next is read as if the connection had just been joined.
    Asleep,
    /// The server's end, on this node too, speaks for both; or the source leaves the connection out.
    Silent,
    /// It speaks something else.
    Gone,
}

pub(super) const fn opposite(way: Way) -> Way {
    match way {
        Way::In => Way::Out,
        Way::Out => Way::In,
    }
}

/// What all connections add to while they read.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Stretches that are lost.
    pub gaps: u64,
    /// Bytes in them.
    pub gap_bytes: u64,
    /// What waiting records cost now.
    pub held_bytes: usize,
    /// What all parsers keep now.
    pub parser_bytes: usize,
    /// What parsers counted, as far as they were asked.
    pub protocol: protocol::Counters,
    /// What became of the bytes.
    pub coverage: Coverage,
}

impl Ledger {
    pub fn lose(&mut self, bytes: u64) {
        if bytes > 0 {
            self.gaps += 1;
            self.gap_bytes += bytes;
        }
    }
}

impl Connection {
    /// A connection of which only the announcement is known.
    pub fn new(open: &Open, role: Role, process: Arc<Process>, limits: Limits) -> Self {
        let base = |way: Way| open.base.and_then(|base| base.get(way as usize).copied());
        let start = if open.base.is_some() {
            Start::Fresh
        } else {
            Start::Late
        };
        Self {
            id: open.connection,
            tuple: open.tuple,
            netns: open.owner.netns,
            unix: open.unix.as_ref().map(|unix| Address::unix(&unix.name)),
            peer: None,
            process,
            weight: open.weight,
            pid: open.owner.pid,
            opened_ns: open.time_ns,
            active_ns: open.time_ns,
            exchanges: 0,
            closing: None,
            joined: 0,
            is_blind: false,
            unwanted: 0,
            memory: 0,
            counts: false,
            grows: false,
            dozes: false,
            asked_ns: open.time_ns,
            last_way: Way::In,
            base: open.base,
            class: match open.session {
                None => Class::Http,
                Some(session) => Class::Decrypted {
                    library: family_name(session.family),
                },
            },
            counted: false,
            tls: None,
            told: open.base.map(|_| joint::Shared::default()),
            request_way: None,
            role,
            unoriented: 0,
            demand: Demand::default(),
            streams: [Stream::new(base(Way::In)), Stream::new(base(Way::Out))],
            books: Books::new(open.base),
            http: Parser::Awake(Box::new(protocol::Connection::new(limits, start))),
            rest: None,
        }
    }

    /// Where it is found by its other end.
    pub fn place(&self) -> Place {
        Place::new(self.tuple, self.netns, self.class != Class::Http)
    }

    /// Which end this is, as far as is known.
    pub fn side(&self) -> Option<Side> {
        match (self.request_way, self.role) {
            (Some(Way::In), _) | (None, Role::Server) => Some(Side::Server),
            (Some(Way::Out), _) | (None, Role::Client) => Some(Side::Client),
            (None, Role::Unknown) => None,
        }
    }

    /// Port of the end that serves; `None` of a UNIX connection. Where nobody knows which one that is, the lower one: clients' ports are picked from high ranges.
    pub fn service_port(&self) -> Option<u16> {
        if self.unix.is_some() {
            return None;
        }
        let Tuple {
            local_port,
            remote_port,
            ..
        } = self.tuple;
        Some(match self.side() {
            Some(Side::Server) => local_port,
            Some(Side::Client) => remote_port,
            None => local_port.min(remote_port),
        })
    }

    pub(super) fn stream(&mut self, way: Way) -> &mut Stream {
        let [incoming, outgoing] = &mut self.streams;
        match way {
            Way::In => incoming,
            Way::Out => outgoing,
        }
    }

    pub(super) fn direction(&self, way: Way) -> Option<Direction> {
        let request = self.request_way?;
        Some(if request == way {
            Direction::Request
        } else {
            Direction::Response
        })
    }

    pub(super) fn http(&mut self) -> Option<&mut protocol::Connection> {
        match &mut self.http {
            Parser::Awake(http) => Some(http),
            Parser::Asleep | Parser::Silent | Parser::Gone => None,
        }
    }

    /// The next exchange.
    pub fn poll(&mut self) -> Option<protocol::Exchange> {
        self.http()?.poll()
    }

    /// Asks the parser what it counted since the last call.
    pub fn count(&mut self, ledger: &mut Ledger) {
        self.counts = false;
        let mut not_understood = 0;
        let mut fate = Fate::Read;
        let gave_any = self.exchanges > 0;
        if let Some(http) = self.http() {
            let counters = http.take_counters();
            not_understood = counters.skipped_bytes;
            ledger.protocol += counters;
            if http.over().is_some() && !gave_any {
                // It never was HTTP.
                fate = Fate::OtherProtocol;
            }
        }
        self.understood(fate, not_understood, ledger);
    }

    /// Whether nothing more is to be read, because it speaks something else or nobody can tell who is the client. True once; the parser
    /// is gone then.
    pub fn is_over(&mut self, ledger: &mut Ledger) -> bool {
        let unclear = self.unoriented >= UNORIENTED_MAX;
        let over = self.http().is_some_and(|http| unclear || http.over().is_some());
        if over {
            self.count(ledger);
            self.http = Parser::Gone;
            self.books.want_no_records(Fate::OtherProtocol);
        }
        over
    }

    /// What its parser keeps, bytes.
    pub fn parser_bytes(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.memory_bytes());
        let parser = match &self.http {
            Parser::Awake(http) => http.memory_bytes(),
            Parser::Asleep | Parser::Silent | Parser::Gone => 0,
        };
        parser + rest
    }

    /// Whether it must not be cut, because what is behind the cut is lost with it (HTTP/2, WebSocket).
    pub fn needs_all(&self) -> bool {
        match &self.http {
            Parser::Awake(http) => http.needs_all(),
            Parser::Asleep | Parser::Silent | Parser::Gone => false,
        }
    }

    /// Whether the source is to be told so. `cut`: the latest record lacked bytes beyond a limit.
    pub fn demands_all(&mut self, cut: bool) -> bool {
        self.needs_all() && self.demand.is_due(cut)
    }

    /// Nothing more is heard of the connection; what is unfinished comes out marked.
    pub fn abandon(&mut self, time_ns: u64, ledger: &mut Ledger) {
        self.give_up(Way::In, ledger);
        self.give_up(Way::Out, ledger);
        if let Some(http) = self.http() {
            http.close(time_ns);
        }
    }

    /// After [`Self::abandon`], or of a silent connection: it may live, and waits for more without a parser.
    pub fn sleep(&mut self, ledger: &mut Ledger) {
        self.count(ledger);
        if let Parser::Awake(_) | Parser::Silent = self.http {
            self.http = Parser::Asleep;
        }
    }

    /// Reads no more: the source sends nothing more of it. What is unfinished is dropped.
    pub fn fall_still(&mut self, ledger: &mut Ledger) {
        self.count(ledger);
        ledger.held_bytes -= self.streams.iter().map(Stream::held_bytes).sum::<usize>();
        self.streams = [Stream::new(None), Stream::new(None)];
        if !matches!(self.http, Parser::Gone) {
            self.http = Parser::Silent;
            self.books.want_no_records(Fate::Lowered);
        }
        if let Some(told) = &self.told {
            // What it does not tell, others stand for.
            told.believe();
        }
    }

    /// Reads no more: the server's end speaks for both. False while records wait, or when there is nothing to be read any more.
    pub fn fall_silent(&mut self, ledger: &mut Ledger) -> bool {
        let can = matches!(self.http, Parser::Awake(_)) && !self.holds() && self.closing.is_none();
        if can {
            self.streams = [Stream::new(None), Stream::new(None)];
            self.count(ledger);
            self.http = Parser::Silent;
            self.books.want_no_records(Fate::OtherEnd);
        }
        can
    }

    /// Whether it is read as HTTP.
    pub const fn reads(&self) -> bool {
        matches!(self.http, Parser::Awake(_))
    }

    /// Whether nothing is expected of it: the server's end speaks for it, or the source leaves it out.
    pub const fn is_silent(&self) -> bool {
        matches!(self.http, Parser::Silent)
    }

    /// Whether it is asleep.
    pub const fn is_asleep(&self) -> bool {
        matches!(self.http, Parser::Asleep)
    }

    /// Whether it is the first to go when there is no room.
    pub const fn may_go(&self) -> bool {
        self.is_asleep() || self.dozes
    }
}
