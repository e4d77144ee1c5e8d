//! A connection: two streams, who is the client, and what the tracker is told.

use agent_common::{Direction as Way, Role, Tuple, chunk_flags};
use protocol::{StartLine, looks_like};

use super::counters::Counters;
use super::stream::{Hole, Lies, Piece, Stream};
use super::tcp::{Endpoint, Segment};
use crate::attribution::ProcessHint;
use crate::source::{Chunk, Close, Event, Open};

/// Bytes that the receiver acknowledged and that are not in the capture come no more after this, nanoseconds: packets of several
/// queues are not captured in the order of the wire.
pub const GRACE_NS: u64 = 50_000_000;
/// … or after so many packets of the connection.
pub const GRACE_PACKETS: u64 = 16;
/// Bytes that nobody acknowledged are waited for so long, nanoseconds: a retransmission may take seconds.
pub const PATIENCE_NS: u64 = 10_000_000_000;
/// Packets after which a connection whose begin is not in the capture is taken as it is.
pub const JOIN_PACKETS: u64 = 8;
/// How far from the sender's place a reset is believed, bytes.
const RESET_WINDOW: u64 = 1 << 20;
/// Ports from here on are what systems give to clients.
const CLIENT_PORTS: u16 = 32768;

/// What all connections add to while they read.
pub struct Env<'a, O> {
    /// Counters.
    pub counters: &'a mut Counters,
    /// What pieces that wait cost, all connections.
    pub held_bytes: &'a mut usize,
    /// Most that they may.
    pub held_bytes_max: usize,
    /// The packets' clock.
    pub now_ns: u64,
    /// Where events go.
    pub out: &'a mut O,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is not known where its streams begin, or who is the client.
    Joining,
    /// It is read.
    Open,
    /// Nobody wants to hear of it; only its end is waited for.
    Ignored,
    /// It is over.
    Ended,
}

/// How it is known who is the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sure {
    /// From the handshake, or a start line.
    Yes,
    /// From the ports.
    Guess,
}

/// Whether a segment belongs to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// It does.
    Yes,
    /// It opens another one between the same ports.
    ToNext,
}

/// See the module's description.
#[derive(Debug)]
pub struct Flow {
    /// Name for the tracker.
    pub id: u64,
    /// Both ends, the lower first.
    pub ends: [Endpoint; 2],
    /// When it is to be looked at next.
    pub timer_ns: u64,
    /// When its last packet came.
    pub active_ns: u64,
    /// What each end sent.
    streams: [Stream; 2],
    /// Sequence numbers of the SYNs.
    syn: [Option<u32>; 2],
    client: Option<(usize, Sure)>,
    phase: Phase,
    announced: bool,
    /// Who sent the last bytes.
    turn: Option<usize>,
    packets: u64,
    begun_ns: u64,
    /// What waits here, as far as it was added to what waits everywhere.
    accounted: usize,
}

const fn other(end: usize) -> usize {
    1 - end
}

impl Flow {
    /// A connection of which nothing is known yet.
    pub fn new(id: u64, ends: [Endpoint; 2], now_ns: u64) -> Self {
        Self {
            id,
            ends,
            timer_ns: u64::MAX,
            active_ns: now_ns,
            streams: [Stream::default(), Stream::default()],
            syn: [None; 2],
            client: None,
            phase: Phase::Joining,
            announced: false,
            turn: None,
            packets: 0,
            begun_ns: now_ns,
            accounted: 0,
        }
    }

    fn stream(&mut self, end: usize) -> &mut Stream {
        let [low, high] = &mut self.streams;
        if end == 0 { low } else { high }
    }

    fn stream_of(&self, end: usize) -> &Stream {
        let [low, high] = &self.streams;
        if end == 0 { low } else { high }
    }

    fn syn_of(&self, end: usize) -> Option<u32> {
        self.syn.get(end).copied().flatten()
    }

    /// Adds what waits here to what waits everywhere.
    fn account(&mut self, held_bytes: &mut usize) {
        let now: usize = self.streams.iter().map(Stream::held_bytes).sum();
        let before = std::mem::replace(&mut self.accounted, now);
        *held_bytes = (*held_bytes + now).saturating_sub(before);
    }

    /// Whether it is over.
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Takes a segment sent by one of the ends.
    pub fn segment<O: FnMut(&Event<'_>)>(
        &mut self,
        from: usize,
        segment: &Segment<'_>,
        env: &mut Env<'_, O>,
    ) -> Belongs {
        if segment.syn && !segment.reset && self.synchronise(from, segment) == Belongs::ToNext {
            return Belongs::ToNext;
        }
        self.packets += 1;
        self.active_ns = self.active_ns.max(env.now_ns);
        match self.phase {
            Phase::Joining | Phase::Open => self.read(from, segment, env),
            Phase::Ignored => {
                env.counters.segments_unwanted += 1;
                if segment.fin {
                    let place = self.stream(from).place(segment.sequence);
                    self.stream(from).end_at(place);
                }
                if segment.reset || self.streams.iter().all(Stream::ends) {
                    self.end(segment.time_ns, env);
                }
            }
            Phase::Ended => env.counters.segments_after_end += u64::from(segment.length > 0 || segment.fin),
        }
        Belongs::Yes
    }

    fn read<O: FnMut(&Event<'_>)>(&mut self, from: usize, segment: &Segment<'_>, env: &mut Env<'_, O>) {
        if segment.reset {
            if self.is_reset(from, segment) {
                env.counters.resets += 1;
                self.end(segment.time_ns, env);
            } else {
                env.counters.segments_misplaced += 1;
            }
        } else {
            if let Some(acknowledged) = segment.acknowledged {
                self.acknowledge(other(from), acknowledged, env.now_ns);
            }
            self.bytes(from, segment, env);
            if self.phase == Phase::Joining {
                self.try_join(false, env);
            }
            if self.phase == Phase::Open {
                self.lose_overdue(env);
            }
            if self.streams.iter().all(Stream::is_complete) {
                self.end(segment.time_ns, env);
            }
        }
        self.account(env.held_bytes);
    }

    /// A SYN: the begin of this connection, or of the next one.
    fn synchronise(&mut self, from: usize, segment: &Segment<'_>) -> Belongs {
        let known = self.syn_of(from);
        let answers = segment
            .acknowledged
            .is_some_and(|acknowledged| self.syn_of(other(from)) == Some(acknowledged.wrapping_sub(1)));
        let stream = self.stream_of(from);
        let begins = stream.began() == Some(stream.place(segment.sequence.wrapping_add(1)));
        if known == Some(segment.sequence) || (self.phase != Phase::Joining && (answers || begins)) {
            return Belongs::Yes;
        }
        if known.is_some() || self.phase != Phase::Joining {
            return Belongs::ToNext;
        }
        self.synchronised(from, segment.sequence);
        if let Some(acknowledged) = segment.acknowledged {
            self.client = Some((other(from), Sure::Yes));
            let expected = acknowledged.wrapping_sub(1);
            if self.syn_of(other(from)).is_none() {
                self.synchronised(other(from), expected);
            }
        } else {
            self.client.get_or_insert((from, Sure::Yes));
        }
        Belongs::Yes
    }

    fn synchronised(&mut self, end: usize, sequence: u32) {
        if let Some(syn) = self.syn.get_mut(end) {
            *syn = Some(sequence);
        }
        let stream = self.stream(end);
        let place = stream.place(sequence.wrapping_add(1));
        stream.begin(place);
    }

    /// Whether a reset is meant for this connection (RFC 9293 3.5.2): its place is near the sender's, or it answers what the other end sent.
    fn is_reset(&self, from: usize, segment: &Segment<'_>) -> bool {
        let near = |end: usize, sequence: u32| {
            let stream = self.stream_of(end);
            let place = stream.place(sequence);
            stream
                .next()
                .is_none_or(|next| place.abs_diff(next) <= RESET_WINDOW)
        };
        near(from, segment.sequence)
            || segment
                .acknowledged
                .is_some_and(|acknowledged| near(other(from), acknowledged))
    }

    /// The other end has everything of this end's stream up to here.
    fn acknowledge(&mut self, end: usize, acknowledged: u32, now_ns: u64) {
        let packets = self.packets;
        let stream = self.stream(end);
        let place = stream.place(acknowledged);
        stream.acknowledge(place, packets);
        self.watch(end, now_ns);
    }

    /// Notes whether anything is missing at a stream's place, and until when to wait for it.
    fn watch(&mut self, end: usize, now_ns: u64) {
        let packets = self.packets;
        let stream = self.stream(end);
        let before = stream.hole;
        stream.hole = if stream.is_quiet() || !stream.begun() {
            None
        } else if stream.missing(false).is_some() {
            let deadline_ns = now_ns.saturating_add(GRACE_NS);
            let deadline_packets = packets + GRACE_PACKETS;
            Some(Hole {
                acknowledged: true,
                arrival: before
                    .filter(|hole| hole.acknowledged)
                    .map_or(stream.acknowledged_by, |hole| hole.arrival),
                deadline_ns: before.map_or(deadline_ns, |hole| hole.deadline_ns.min(deadline_ns)),
                deadline_packets: before.map_or(deadline_packets, |hole| {
                    hole.deadline_packets.min(deadline_packets)
                }),
            })
        } else if stream.missing(true).is_some() {
            before.filter(|hole| !hole.acknowledged).or(Some(Hole {
                acknowledged: false,
                arrival: packets,
                deadline_ns: now_ns.saturating_add(PATIENCE_NS),
                deadline_packets: u64::MAX,
            }))
        } else {
            None
        };
    }

    fn bytes<O: FnMut(&Event<'_>)>(&mut self, from: usize, segment: &Segment<'_>, env: &mut Env<'_, O>) {
        let joining = self.phase == Phase::Joining;
        let packets = self.packets;
        let waits = self.waits(from, packets);
        let stream = self.stream(from);
        let piece = Piece {
            place: stream.place(segment.sequence.wrapping_add(u32::from(segment.syn))),
            length: segment.length,
            time_ns: segment.time_ns,
            data: segment.data,
        };
        if piece.length > 0 {
            env.counters.segments_cut += u64::from(piece.data.len() < piece.length as usize);
            stream.hint(piece.place);
            if !joining && !stream.begun() {
                stream.begin(piece.place);
            }
            match stream.lies(&piece) {
                Lies::Elsewhere => {
                    env.counters.segments_misplaced += 1;
                    return;
                }
                Lies::Behind if piece.length == 1 && stream.next() == Some(piece.end()) => {
                    env.counters.keep_alives += 1;
                }
                Lies::Behind => {
                    env.counters.retransmissions += 1;
                    env.counters.retransmitted_bytes += u64::from(piece.length);
                }
                // What waits and came before this is not overwritten by it.
                Lies::Next if !joining && stream.held_bytes() == 0 && !waits => {
                    let next = stream.next().unwrap_or(piece.place);
                    env.counters.retransmitted_bytes += next - piece.place;
                    self.deliver_next(from, &piece.part(next, u64::MAX), env);
                    if self.stream(other(from)).held_bytes() > 0 {
                        self.drain(env);
                    }
                }
                Lies::Next | Lies::Ahead => {
                    let kept = stream.hold(&piece, packets);
                    env.counters.segments_held += 1;
                    env.counters.retransmissions += u64::from(kept.bytes == 0);
                    env.counters.retransmitted_bytes += u64::from(piece.length) - kept.bytes;
                    env.counters.overlaps_conflicting += u64::from(kept.conflict);
                    if !joining {
                        self.watch(from, env.now_ns);
                        self.drain(env);
                    }
                }
            }
        }
        let stream = self.stream(from);
        if segment.fin {
            stream.end_at(piece.end());
        }
        if !stream.is_quiet() {
            self.watch(from, env.now_ns);
            self.make_room(from, env);
        }
    }

    /// Passes on a piece that continues the stream.
    fn deliver_next<O: FnMut(&Event<'_>)>(&mut self, from: usize, piece: &Piece<'_>, env: &mut Env<'_, O>) {
        self.deliver(from, piece, env);
        self.stream(from).advance(piece.end());
        self.watch(from, env.now_ns);
    }

    /// Whether a piece of a stream waits for what is missing in the other one. The other end has that already and may be answering it: passed on
    /// before it, the answer would seem to belong to something else.
    fn waits(&self, end: usize, arrival: u64) -> bool {
        let hole = self.stream_of(other(end)).hole;
        hole.is_some_and(|hole| hole.acknowledged && arrival >= hole.arrival)
    }

    /// Passes on whatever need not wait, in the order in which it came.
    fn drain<O: FnMut(&Event<'_>)>(&mut self, env: &mut Env<'_, O>) {
        loop {
            let arrival = |end: usize| {
                let stream = self.stream_of(end);
                let next = stream.next()?;
                let held = stream.first_held().filter(|held| held.place <= next)?;
                if self.waits(end, held.arrival) {
                    return None;
                }
                Some((held.arrival, end))
            };
            let Some((_, end)) = [arrival(0), arrival(1)].into_iter().flatten().min() else {
                return;
            };
            let Some(held) = self.stream(end).release() else {
                return;
            };
            let piece = held.piece();
            if let Some(next) = self.stream_of(end).next().filter(|next| *next < piece.end()) {
                self.deliver_next(end, &piece.part(next, u64::MAX), env);
            }
        }
    }

    /// Gives up what is missing when too much waits for it.
    fn make_room<O: FnMut(&Event<'_>)>(&mut self, end: usize, env: &mut Env<'_, O>) {
        loop {
            self.account(env.held_bytes);
            let stream = self.stream_of(end);
            let full = stream.is_full() || *env.held_bytes > env.held_bytes_max;
            if !full || stream.first_held().is_none() {
                return;
            }
            if self.phase == Phase::Joining {
                self.try_join(true, env);
            } else if self.lose(end, true, env) || self.lose(other(end), true, env) {
                env.counters.gaps_by_limit += 1;
            } else {
                return;
            }
        }
    }

    fn lose_overdue<O: FnMut(&Event<'_>)>(&mut self, env: &mut Env<'_, O>) {
        for end in [0, 1] {
            while let Some(hole) = self.stream(end).hole {
                if env.now_ns < hole.deadline_ns && self.packets < hole.deadline_packets {
                    break;
                }
                let at_last = !hole.acknowledged;
                if !self.lose(end, at_last, env) {
                    break;
                }
            }
        }
    }

    /// What is missing at a stream's place is lost. False when nothing is missing; nothing waits for it any more then.
    fn lose<O: FnMut(&Event<'_>)>(&mut self, end: usize, at_last: bool, env: &mut Env<'_, O>) -> bool {
        let stream = self.stream(end);
        let (Some(next), Some(until)) = (stream.next(), stream.missing(at_last)) else {
            if stream.hole.take().is_some() {
                self.drain(env);
            }
            return false;
        };
        env.counters.gaps += 1;
        env.counters.gap_bytes += until - next;
        let missing = Piece {
            place: next,
            length: u32::try_from(until - next).unwrap_or(u32::MAX),
            time_ns: env.now_ns.min(self.active_ns),
            data: &[],
        };
        self.emit(end, &missing, chunk_flags::FAULT, env);
        self.stream(end).advance(missing.end());
        self.watch(end, env.now_ns);
        self.drain(env);
        true
    }

    /// Begins to read once it is known where the streams begin and who is the client; with `now`, as well as can be told.
    fn try_join<O: FnMut(&Event<'_>)>(&mut self, now: bool, env: &mut Env<'_, O>) {
        let waited = self.packets >= JOIN_PACKETS || env.now_ns.saturating_sub(self.begun_ns) >= GRACE_NS;
        let known = self.streams.iter().all(Stream::begun);
        if !known && !waited && !now {
            return;
        }
        let silent = self.streams.iter().all(|stream| stream.first_held().is_none());
        if silent && !known {
            return;
        }
        // Of an end that is not heard the other one's first acknowledgement tells where its stream begins.
        for end in [0, 1] {
            let stream = self.stream(end);
            if let Some(first) = stream.first_known().filter(|_| !stream.begun()) {
                stream.begin(first);
            }
        }
        if self.client.is_none() {
            self.client = Some(self.client_by_bytes().unwrap_or_else(|| self.client_by_ports()));
        }
        self.phase = Phase::Open;
        for end in [0, 1] {
            self.watch(end, env.now_ns);
        }
        self.drain(env);
    }

    fn client_by_bytes(&self) -> Option<(usize, Sure)> {
        let held = |end: usize| {
            self.stream_of(end)
                .held()
                .map(move |held| (held.arrival, end, held))
        };
        let mut held: Vec<_> = held(0).chain(held(1)).collect();
        held.sort_unstable_by_key(|(arrival, ..)| *arrival);
        held.into_iter()
            .find_map(|(_, end, held)| client_said(end, &held.data))
            .map(|client| (client, Sure::Yes))
    }

    fn client_by_ports(&self) -> (usize, Sure) {
        let [low, high] = self.ends.map(|end| (end.port >= CLIENT_PORTS, end.port));
        (usize::from(high > low), Sure::Guess)
    }

    /// The ports said who is the client; a start line knows better.
    fn reconsider<O: FnMut(&Event<'_>)>(&mut self, from: usize, piece: &Piece<'_>, env: &mut Env<'_, O>) {
        if let Some((guess, Sure::Guess)) = self.client
            && let Some(client) = client_said(from, piece.data)
        {
            if client != guess {
                self.close(piece.time_ns, env);
            }
            self.client = Some((client, Sure::Yes));
        }
    }

    fn announce<O: FnMut(&Event<'_>)>(&mut self, time_ns: u64, env: &mut Env<'_, O>) {
        let Some((client, _)) = self.client else {
            return;
        };
        self.announced = true;
        env.counters.connections += 1;
        let [low, high] = self.ends;
        let (remote, local) = if client == 0 { (low, high) } else { (high, low) };
        // Both begins must be known: an end whose handshake was not seen may have been heard in the middle.
        let handshake = self.syn.iter().any(Option::is_some);
        let begin = |end: usize| self.stream_of(end).began().map(|place| place as u32);
        let base = begin(client)
            .zip(begin(other(client)))
            .filter(|_| handshake)
            .map(|(client, server)| [client, server]);
        env.counters.connections_late += u64::from(base.is_none());
        (env.out)(&Event::Open(Open {
            connection: self.id,
            time_ns,
            role: Role::Server,
            base,
            tuple: Tuple {
                local: local.octets(),
                remote: remote.octets(),
                local_port: local.port,
                remote_port: remote.port,
            },
            owner: ProcessHint::default(),
        }));
    }

    fn deliver<O: FnMut(&Event<'_>)>(&mut self, from: usize, piece: &Piece<'_>, env: &mut Env<'_, O>) {
        let flags = if piece.data.len() < piece.length as usize {
            chunk_flags::CAPPED
        } else {
            0
        };
        env.counters.bytes += piece.data.len() as u64;
        self.emit(from, piece, flags, env);
    }

    fn emit<O: FnMut(&Event<'_>)>(
        &mut self,
        from: usize,
        piece: &Piece<'_>,
        flags: u8,
        env: &mut Env<'_, O>,
    ) {
        self.reconsider(from, piece, env);
        if !self.announced {
            self.announce(piece.time_ns, env);
        }
        let Some((client, _)) = self.client else {
            return;
        };
        let turn = if self.turn == Some(from) {
            0
        } else {
            chunk_flags::TURN_START
        };
        self.turn = Some(from);
        (env.out)(&Event::Chunk(Chunk {
            connection: self.id,
            time_ns: piece.time_ns,
            direction: if from == client { Way::In } else { Way::Out },
            flags: flags | turn,
            pid: 0,
            offset: piece.place as u32,
            length: piece.length,
            data: piece.data,
        }));
    }

    /// Nothing more comes: what is missing is lost, and the tracker is told of the end.
    pub fn end<O: FnMut(&Event<'_>)>(&mut self, time_ns: u64, env: &mut Env<'_, O>) {
        if self.phase == Phase::Joining {
            self.try_join(true, env);
        }
        if self.phase == Phase::Open {
            while self.lose(0, true, env) || self.lose(1, true, env) {}
        }
        self.phase = Phase::Ended;
        self.close(time_ns, env);
        self.streams = [Stream::default(), Stream::default()];
        self.account(env.held_bytes);
    }

    /// Tells the tracker that it has ended.
    fn close<O: FnMut(&Event<'_>)>(&mut self, time_ns: u64, env: &mut Env<'_, O>) {
        let Some((client, _)) = self.client.filter(|_| self.announced) else {
            return;
        };
        self.announced = false;
        self.turn = None;
        let end = [client, other(client)].map(|end| self.stream_of(end).next().map_or(0, |next| next as u32));
        (env.out)(&Event::Close(Close {
            connection: self.id,
            time_ns,
            end,
            unread: 0,
        }));
    }

    /// Nobody wants to hear of it.
    pub fn ignore(&mut self, held_bytes: &mut usize) {
        if let Phase::Joining | Phase::Open = self.phase {
            self.streams = [Stream::default(), Stream::default()];
            self.account(held_bytes);
            self.phase = Phase::Ignored;
        }
    }

    /// Time has passed without a packet.
    pub fn tick<O: FnMut(&Event<'_>)>(&mut self, env: &mut Env<'_, O>) {
        if self.phase == Phase::Joining {
            self.try_join(false, env);
        }
        if self.phase == Phase::Open {
            self.lose_overdue(env);
        }
        self.account(env.held_bytes);
    }

    /// When something is to be done if no packet comes, its end apart.
    pub fn deadline_ns(&self) -> Option<u64> {
        match self.phase {
            Phase::Joining => self
                .streams
                .iter()
                .any(|stream| stream.first_held().is_some())
                .then(|| self.begun_ns.saturating_add(GRACE_NS)),
            Phase::Open => {
                let holes = self.streams.iter().filter_map(|stream| stream.hole);
                holes.map(|hole| hole.deadline_ns).min()
            }
            Phase::Ignored | Phase::Ended => None,
        }
    }
}

/// Who is the client, if these bytes say so.
fn client_said(from: usize, data: &[u8]) -> Option<usize> {
    match looks_like(data) {
        StartLine::Request | StartLine::Http2Preface | StartLine::ProxyHeader => Some(from),
        StartLine::Response => Some(other(from)),
        StartLine::Neither | StartLine::TooShort => None,
    }
}
