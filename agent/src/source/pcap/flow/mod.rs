//! A connection: two streams, who is the client, and what the tracker is told.

pub mod holes;
mod join;
mod tell;

use self::holes::GRACE_NS;
use self::join::Sure;
use super::counters::Counters;
use super::stream::{Lies, Piece, Stream};
use super::tcp::{Endpoint, Segment};
use crate::source::Event;

/// How far from the sender's place a reset is believed, bytes.
const RESET_WINDOW: u64 = 1 << 20;

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
        if self.phase != Phase::Ended {
            self.active_ns = self.active_ns.max(env.now_ns);
        }
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

    /// Whether a reset is meant for this connection (RFC 9293 3.5.2): its place is near the sender's, or it answers what the other end
    /// sent.
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
