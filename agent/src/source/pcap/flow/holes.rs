//! What is missing in a stream: how long it is waited for, what waits with it, and that it is lost.

use agent_common::chunk_flags;

use super::{Env, Flow, Phase, other};
use crate::source::Event;
use crate::source::pcap::stream::{Hole, Piece};

/// Bytes that the receiver acknowledged and that are not in the capture come no more after this, nanoseconds: packets of several
/// queues are not captured in the order of the wire.
pub const GRACE_NS: u64 = 50_000_000;
/// … or after so many packets of the connection.
pub const GRACE_PACKETS: u64 = 16;
/// Bytes that nobody acknowledged are waited for so long, nanoseconds: a retransmission may take seconds.
pub const PATIENCE_NS: u64 = 10_000_000_000;

impl Flow {
    /// The other end has everything of this end's stream up to here.
    pub(super) fn acknowledge(&mut self, end: usize, acknowledged: u32, now_ns: u64) {
        let packets = self.packets;
        let stream = self.stream(end);
        let place = stream.place(acknowledged);
        stream.acknowledge(place, packets);
        self.watch(end, now_ns);
    }

    /// Notes whether anything is missing at a stream's place, and until when to wait for it.
    pub(super) fn watch(&mut self, end: usize, now_ns: u64) {
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

    /// Whether a piece of a stream waits for what is missing in the other one. The end that sends it has that already and may be
    /// answering it: passed on before, the answer would seem to belong to something else.
    pub(super) fn waits(&self, end: usize, arrival: u64) -> bool {
        let hole = self.stream_of(other(end)).hole;
        hole.is_some_and(|hole| hole.acknowledged && arrival >= hole.arrival)
    }

    /// Passes on whatever need not wait, in the order in which it came.
    pub(super) fn drain<O: FnMut(&Event<'_>)>(&mut self, env: &mut Env<'_, O>) {
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
    pub(super) fn make_room<O: FnMut(&Event<'_>)>(&mut self, end: usize, env: &mut Env<'_, O>) {
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

    pub(super) fn lose_overdue<O: FnMut(&Event<'_>)>(&mut self, env: &mut Env<'_, O>) {
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
    pub(super) fn lose<O: FnMut(&Event<'_>)>(
        &mut self,
        end: usize,
        at_last: bool,
        env: &mut Env<'_, O>,
    ) -> bool {
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
}
