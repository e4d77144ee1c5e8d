//! A tracked connection.

use std::sync::Arc;

use agent_common::{Direction as Way, Role, Tuple};
use protocol::{Boundary, Direction, Limits, Start, Want, sender};

use super::coverage::Coverage;
use super::demand::Demand;
use super::ends::Side;
use super::fate::Fate;
use super::joint;
use super::reconcile::Books;
use super::stream::{Segment, Stream};
use crate::attribution::Process;
use crate::source::{Close, Open};

/// Rest of a body from which on skipping is worth an order, bytes.
const SKIP_BYTES_MIN: u64 = 64 << 10;
/// Most that one order skips: less than half the sequence number space.
const SKIP_BYTES_MAX: u64 = 1 << 30;
/// Records of a skipped part after which the order is given again: it may have been overwritten.
pub const SKIP_AGAIN: u32 = 64;
/// Records that do not tell who is the client, after which a connection is given up.
pub const UNORIENTED_MAX: u32 = 64;
/// What the waiting records of all connections may cost, bytes. Beyond, nothing waits.
pub const HELD_BYTES_MAX: usize = 32 << 20;

/// State of a connection.
#[derive(Debug)]
pub struct Connection {
    /// As the source names it.
    pub id: u64,
    /// Addresses.
    pub tuple: Tuple,
    /// Network namespace.
    pub netns: u32,
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
    /// First sequence numbers each way, where it was seen from its begin.
    pub base: Option<[u32; 2]>,
    /// What its ends told; `None` when it was not seen from its begin.
    pub told: Option<joint::Shared>,
    /// Which way requests go; `None` while it is not known.
    request_way: Option<Way>,
    role: Role,
    unoriented: u32,
    demand: Demand,
    streams: [Stream; 2],
    /// What became of its bytes.
    pub books: Books,
    http: Parser,
}

#[derive(Debug)]
enum Parser {
    Awake(Box<protocol::Connection>),
    /// Nothing was heard for long. What comes next is read as if the connection had just been joined.
    Asleep,
    /// The server's end, on this node too, speaks for both; or the source leaves the connection out.
    Silent,
    /// It speaks something else.
    Gone,
}

const fn opposite(way: Way) -> Way {
    match way {
        Way::In => Way::Out,
        Way::Out => Way::In,
    }
}

/// What came of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Passed on.
    Passed,
    /// Waits for an earlier one.
    Held,
    /// Nobody knows yet who is the client.
    Unoriented,
    /// The connection speaks something else.
    Unwanted,
    /// The other end speaks for it.
    Silent,
    /// It lies before the connection's begin.
    Misplaced,
}

/// An order to the source: skip this way up to this sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Which way.
    pub way: Way,
    /// First byte to capture again.
    pub sequence: u32,
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
    fn lose(&mut self, bytes: u64) {
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
            process,
            weight: open.weight,
            pid: open.owner.pid,
            opened_ns: open.time_ns,
            active_ns: open.time_ns,
            exchanges: 0,
            closing: None,
            joined: 0,
            unwanted: 0,
            memory: 0,
            counts: false,
            grows: false,
            dozes: false,
            asked_ns: open.time_ns,
            last_way: Way::In,
            base: open.base,
            told: open.base.map(|_| joint::Shared::default()),
            request_way: None,
            role,
            unoriented: 0,
            demand: Demand::default(),
            streams: [Stream::new(base(Way::In)), Stream::new(base(Way::Out))],
            books: Books::new(open.base),
            http: Parser::Awake(Box::new(protocol::Connection::new(limits, start))),
        }
    }

    /// Which end this is, as far as is known.
    pub fn side(&self) -> Option<Side> {
        match (self.request_way, self.role) {
            (Some(Way::In), _) | (None, Role::Server) => Some(Side::Server),
            (Some(Way::Out), _) | (None, Role::Client) => Some(Side::Client),
            (None, Role::Unknown) => None,
        }
    }

    /// Port of the end that serves. Where nobody knows which one that is, the lower one: clients' ports are picked from high ranges.
    pub fn service_port(&self) -> u16 {
        let Tuple {
            local_port,
            remote_port,
            ..
        } = self.tuple;
        match self.side() {
            Some(Side::Server) => local_port,
            Some(Side::Client) => remote_port,
            None => local_port.min(remote_port),
        }
    }

    pub(super) fn stream(&mut self, way: Way) -> &mut Stream {
        let [incoming, outgoing] = &mut self.streams;
        match way {
            Way::In => incoming,
            Way::Out => outgoing,
        }
    }

    fn direction(&self, way: Way) -> Option<Direction> {
        let request = self.request_way?;
        Some(if request == way {
            Direction::Request
        } else {
            Direction::Response
        })
    }

    fn http(&mut self) -> Option<&mut protocol::Connection> {
        match &mut self.http {
            Parser::Awake(http) => Some(http),
            Parser::Asleep | Parser::Silent | Parser::Gone => None,
        }
    }

    /// Learns which end is the client. At the begin of a stream, and where the kernel did not see the connection begin, the bytes
    /// know best; in the middle of one a body may look like anything.
    fn orient(&mut self, way: Way, data: &[u8], place: Option<u64>) {
        // A stream that was joined late has no place yet.
        let (start, trust_bytes) = match place {
            None => (Start::Late, true),
            Some(0) => (Start::Fresh, true),
            Some(_) => (Start::Late, false),
        };
        let said = sender(data, start).map(|direction| match direction {
            Direction::Request => way,
            Direction::Response => opposite(way),
        });
        let known = match self.role {
            Role::Server => Some(Way::In),
            Role::Client => Some(Way::Out),
            Role::Unknown => None,
        };
        self.request_way = if trust_bytes {
            said.or(known)
        } else {
            known.or(said)
        };
    }

    /// Takes a record. `sequence` is that of its first byte; `limits` are for a parser that has to begin anew.
    pub fn take(
        &mut self,
        way: Way,
        sequence: u32,
        mut segment: Segment<&[u8]>,
        round: u64,
        limits: Limits,
        ledger: &mut Ledger,
    ) -> Taken {
        self.active_ns = self.active_ns.max(segment.time_ns);
        self.dozes = false;
        self.last_way = way;
        match self.http {
            Parser::Awake(_) => {}
            Parser::Asleep => {
                self.streams = [Stream::new(None), Stream::new(None)];
                self.http = Parser::Awake(Box::new(protocol::Connection::new(limits, Start::Late)));
                // The places of its exchanges are told from here on: the other end would not know them again.
                if let Some(told) = self.told.take() {
                    told.believe();
                }
            }
            Parser::Silent => {
                self.unwanted(way, sequence, &segment, ledger);
                return Taken::Silent;
            }
            Parser::Gone => {
                self.unwanted(way, sequence, &segment, ledger);
                return Taken::Unwanted;
            }
        }
        if self.request_way.is_none() {
            let place = self.stream(way).place(sequence);
            self.orient(way, segment.data, place);
            if self.request_way.is_none() {
                self.unoriented += 1;
                self.not_understood(way, sequence, &segment, ledger);
                return Taken::Unoriented;
            }
        }
        let stream = self.stream(way);
        let Some(offset) = stream.offset(sequence) else {
            return Taken::Misplaced;
        };
        segment.offset = offset;
        if !stream.is_next(&segment) {
            let before = stream.held_bytes();
            let room = stream.hold(&segment, round);
            ledger.held_bytes += stream.held_bytes() - before;
            if !room || ledger.held_bytes > HELD_BYTES_MAX {
                self.give_up(way, ledger);
            }
            return Taken::Held;
        }
        self.pass(way, &segment, ledger);
        self.go_on(way, ledger);
        Taken::Passed
    }

    /// Passes on what waited for what has come.
    fn go_on(&mut self, way: Way, ledger: &mut Ledger) {
        while self.pass_held(way, false, ledger) {}
    }

    /// What waits, waits no longer: the bytes before it are lost.
    fn give_up(&mut self, way: Way, ledger: &mut Ledger) {
        while self.pass_held(way, true, ledger) {}
    }

    fn pass_held(&mut self, way: Way, give_up: bool, ledger: &mut Ledger) -> bool {
        let stream = self.stream(way);
        let before = stream.held_bytes();
        let Some(held) = stream.release(give_up) else {
            return false;
        };
        ledger.held_bytes -= before - stream.held_bytes();
        let segment = Segment {
            offset: held.offset,
            length: held.length,
            time_ns: held.time_ns,
            turn_start: held.turn_start,
            on_purpose: held.on_purpose,
            missing: held.missing,
            data: held.data.as_slice(),
        };
        self.pass(way, &segment, ledger);
        true
    }

    fn pass(&mut self, way: Way, segment: &Segment<&[u8]>, ledger: &mut Ledger) {
        let Some(direction) = self.direction(way) else {
            return;
        };
        let stream = self.stream(way);
        let (next, skip_to) = (stream.next(), stream.skip_to);
        stream.unskipped += u32::from(segment.offset < skip_to);
        self.enter(way, segment, ledger);
        let stream = self.stream(way);
        stream.passed(segment);
        let Some(http) = self.http() else {
            return;
        };
        if segment.offset > next {
            let skipped = segment.offset.min(skip_to);
            if skipped > next {
                http.passed(direction, skipped, segment.time_ns);
            }
            ledger.lose(segment.offset - skipped.max(next));
        }
        let boundary = if segment.turn_start {
            Boundary::TurnStart
        } else {
            Boundary::Continued
        };
        http.segment(direction, segment.offset, segment.time_ns, segment.data, boundary);
        if segment.on_purpose && segment.data.len() < segment.length as usize {
            http.passed(direction, segment.end(), segment.time_ns);
        }
    }

    /// Records have waited for a whole round: what is missing before them is lost. True when anything went on.
    pub fn tick(&mut self, round: u64, ledger: &mut Ledger) -> bool {
        let mut moved = false;
        for way in [Way::In, Way::Out] {
            while self.stream(way).overdue(round) {
                moved |= self.pass_held(way, true, ledger);
                self.go_on(way, ledger);
            }
        }
        moved
    }

    /// Whether records wait.
    pub fn holds(&self) -> bool {
        self.streams.iter().any(Stream::holds)
    }

    /// What the source need not send.
    pub fn skip(&mut self, way: Way) -> Option<Skip> {
        let direction = self.direction(way)?;
        let Want::SkipTo(until) = self.http()?.wants(direction) else {
            return None;
        };
        let stream = self.stream(way);
        let next = stream.next();
        let until = if stream.skip_to > next {
            // Ordered already. What is on its way comes nevertheless, but not for ever.
            if stream.unskipped < SKIP_AGAIN {
                return None;
            }
            stream.skip_to
        } else {
            until.min(next + SKIP_BYTES_MAX)
        };
        stream.unskipped = 0;
        if until.saturating_sub(next) < SKIP_BYTES_MIN {
            return None;
        }
        let sequence = stream.sequence(until)?;
        stream.skip_to = until;
        Some(Skip { way, sequence })
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
        match &self.http {
            Parser::Awake(http) => http.memory_bytes(),
            Parser::Asleep | Parser::Silent | Parser::Gone => 0,
        }
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

    /// Whether everything has come that the kernel says went over the connection until its end.
    pub fn is_complete(&self, close: &Close) -> bool {
        let complete = |(stream, end): (&Stream, &u32)| {
            stream
                .place(*end)
                .is_none_or(|end| end <= stream.next().max(stream.skip_to))
        };
        if !matches!(self.http, Parser::Awake(_)) {
            return true;
        }
        close.unread == 0 && !self.holds() && self.streams.iter().zip(&close.end).all(complete)
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

    /// The connection is gone; what is unfinished comes out marked.
    pub fn finish(&mut self, close: &Close, ledger: &mut Ledger) {
        self.give_up(Way::In, ledger);
        self.give_up(Way::Out, ledger);
        self.reconcile(close, true, ledger);
        for way in [Way::In, Way::Out] {
            let Some(direction) = self.direction(way) else {
                continue;
            };
            let stream = self.stream(way);
            let (next, skip_to) = (stream.next(), stream.skip_to);
            let end = close.end.get(way as usize);
            let last = end.and_then(|end| stream.place(*end)).unwrap_or(next).max(next);
            let Some(http) = self.http() else {
                continue;
            };
            let skipped = skip_to.min(last);
            if skipped > next {
                http.passed(direction, skipped, close.time_ns);
            }
            ledger.lose(last - skipped.max(next));
            http.finish(direction, Some(last), close.time_ns);
        }
        if let Some(http) = self.http() {
            http.close(close.time_ns);
        }
    }
}
