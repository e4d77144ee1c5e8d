//! All connections, by their addresses and ports.
//!
//! VLAN and tunnel numbers are not part of the name: a capture on several interfaces has a packet with and without them.

use std::collections::BTreeSet;

use foldhash::{HashMap, HashMapExt};

use super::counters::Counters;
use super::flow::{Belongs, Env, Flow};
use super::tcp::{Endpoint, Segment};
use crate::source::Event;

/// Connections at a time; beyond, one that was quiet for long is given up.
pub const CONNECTIONS_MAX: usize = 1 << 16;
/// What pieces of all connections that wait may cost, bytes.
pub const HELD_TOTAL_MAX: usize = 64 << 20;
/// A connection of which nothing was heard for so long has ended, nanoseconds.
pub const IDLE_NS: u64 = 600_000_000_000;
/// A connection that has ended is remembered for so long, nanoseconds: what comes late is not taken for a new one.
pub const LINGER_NS: u64 = 10_000_000_000;
/// Connections among which the one is chosen that is given up.
const EVICTION_CHOICE: usize = 16;
/// Bits of a connection's name that are its place in the table.
const SLOT_BITS: u32 = 20;

const _: () = assert!(CONNECTIONS_MAX <= 1 << SLOT_BITS);

/// Bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time, at most [`CONNECTIONS_MAX`].
    pub connections: usize,
    /// What pieces that wait may cost, bytes.
    pub held_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS_MAX,
            held_bytes: HELD_TOTAL_MAX,
        }
    }
}

type Key = [Endpoint; 2];

/// See the module's description.
#[derive(Debug)]
pub struct Table {
    limits: Limits,
    slots: HashMap<Key, u32>,
    flows: Vec<Option<Flow>>,
    free: Vec<u32>,
    /// When to look at which connection next: one entry each.
    timers: BTreeSet<(u64, u32)>,
    clock_ns: u64,
    held_bytes: usize,
    sequence: u64,
}

impl Table {
    /// No connections.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            slots: HashMap::new(),
            flows: Vec::new(),
            free: Vec::new(),
            timers: BTreeSet::new(),
            clock_ns: 0,
            held_bytes: 0,
            sequence: 0,
        }
    }

    /// No connection so far has a higher name.
    pub const fn newest(&self) -> u64 {
        if self.sequence == 0 {
            0
        } else {
            self.sequence << SLOT_BITS | ((1 << SLOT_BITS) - 1)
        }
    }

    /// The packets' clock: the latest time seen.
    pub const fn clock_ns(&self) -> u64 {
        self.clock_ns
    }

    /// Takes a segment.
    pub fn segment<O: FnMut(&Event<'_>)>(
        &mut self,
        segment: &Segment<'_>,
        counters: &mut Counters,
        out: &mut O,
    ) {
        self.clock_ns = self.clock_ns.max(segment.time_ns);
        self.expire(counters, out);
        let from = usize::from(segment.source > segment.destination);
        let key = if from == 0 {
            [segment.source, segment.destination]
        } else {
            [segment.destination, segment.source]
        };
        let known = self.slots.get(&key).copied();
        // A reset, or the last acknowledgement, of a connection that nobody knows begins none.
        if known.is_none() && (segment.reset || (segment.length == 0 && !segment.syn)) {
            return;
        }
        let slot = known.unwrap_or_else(|| self.add(key, counters, out));
        if self.pass(slot, from, segment, counters, out) == Belongs::ToNext {
            counters.connections_reused += u64::from(!self.has_ended(slot));
            self.remove(slot, segment.time_ns, counters, out);
            let slot = self.add(key, counters, out);
            self.pass(slot, from, segment, counters, out);
        }
    }

    fn flow(&mut self, slot: u32) -> Option<&mut Flow> {
        self.flows.get_mut(slot as usize)?.as_mut()
    }

    fn has_ended(&mut self, slot: u32) -> bool {
        self.flow(slot).is_some_and(|flow| flow.has_ended())
    }

    fn pass<O: FnMut(&Event<'_>)>(
        &mut self,
        slot: u32,
        from: usize,
        segment: &Segment<'_>,
        counters: &mut Counters,
        out: &mut O,
    ) -> Belongs {
        let Some(Some(flow)) = self.flows.get_mut(slot as usize) else {
            return Belongs::Yes;
        };
        let mut env = Env {
            counters,
            held_bytes: &mut self.held_bytes,
            held_bytes_max: self.limits.held_bytes,
            now_ns: self.clock_ns,
            out,
        };
        let belongs = flow.segment(from, segment, &mut env);
        arm(flow, slot, &mut self.timers);
        belongs
    }

    fn add<O: FnMut(&Event<'_>)>(&mut self, key: Key, counters: &mut Counters, out: &mut O) -> u32 {
        if self.slots.len() >= self.limits.connections
            && let Some(slot) = self.quietest()
        {
            counters.connections_evicted += u64::from(!self.has_ended(slot));
            let now_ns = self.clock_ns;
            self.remove(slot, now_ns, counters, out);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.flows.push(None);
            self.flows.len() as u32 - 1
        });
        self.sequence += 1;
        let id = self.sequence << SLOT_BITS | u64::from(slot);
        let flow = Flow::new(id, key, self.clock_ns);
        if let Some(place) = self.flows.get_mut(slot as usize) {
            arm(place.insert(flow), slot, &mut self.timers);
        }
        self.slots.insert(key, slot);
        slot
    }

    /// Of the connections that are to be looked at next, one that has ended, or the one that was quiet for longest.
    fn quietest(&self) -> Option<u32> {
        let quiet = |slot: u32| {
            let flow = self.flows.get(slot as usize)?.as_ref()?;
            Some((!flow.has_ended(), flow.active_ns, slot))
        };
        let due = self.timers.iter().take(EVICTION_CHOICE);
        let (.., slot) = due.filter_map(|(_, slot)| quiet(*slot)).min()?;
        Some(slot)
    }

    fn remove<O: FnMut(&Event<'_>)>(
        &mut self,
        slot: u32,
        time_ns: u64,
        counters: &mut Counters,
        out: &mut O,
    ) {
        let Some(mut flow) = self.flows.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
        self.timers.remove(&(flow.timer_ns, slot));
        self.slots.remove(&flow.ends);
        self.free.push(slot);
        if !flow.has_ended() {
            let mut env = Env {
                counters,
                held_bytes: &mut self.held_bytes,
                held_bytes_max: self.limits.held_bytes,
                now_ns: self.clock_ns,
                out,
            };
            flow.end(time_ns, &mut env);
        }
    }

    /// Does what is due.
    fn expire<O: FnMut(&Event<'_>)>(&mut self, counters: &mut Counters, out: &mut O) {
        while let Some((due_ns, slot)) = self.timers.first().copied() {
            if due_ns > self.clock_ns {
                return;
            }
            let Some(Some(flow)) = self.flows.get_mut(slot as usize) else {
                self.timers.pop_first();
                continue;
            };
            let idle_ns = if flow.has_ended() { LINGER_NS } else { IDLE_NS };
            if flow.active_ns.saturating_add(idle_ns) <= self.clock_ns {
                counters.connections_idle += u64::from(!flow.has_ended());
                let last_ns = flow.active_ns;
                self.remove(slot, last_ns, counters, out);
                continue;
            }
            let mut env = Env {
                counters,
                held_bytes: &mut self.held_bytes,
                held_bytes_max: self.limits.held_bytes,
                now_ns: self.clock_ns,
                out,
            };
            flow.tick(&mut env);
            self.timers.pop_first();
            flow.timer_ns = u64::MAX;
            arm(flow, slot, &mut self.timers);
        }
    }

    /// Ends all connections.
    pub fn finish<O: FnMut(&Event<'_>)>(&mut self, counters: &mut Counters, out: &mut O) {
        let mut slots: Vec<(u64, u32)> = (0..)
            .zip(&self.flows)
            .filter_map(|(slot, flow)| Some((flow.as_ref()?.id, slot)))
            .collect();
        slots.sort_unstable();
        for (_, slot) in slots {
            let last_ns = self.flow(slot).map_or(0, |flow| flow.active_ns);
            self.remove(slot, last_ns, counters, out);
        }
    }

    /// The next packet is of a file that does not continue this one.
    pub fn restart<O: FnMut(&Event<'_>)>(&mut self, counters: &mut Counters, out: &mut O) {
        self.finish(counters, out);
        self.clock_ns = 0;
    }

    /// Nobody wants to hear of a connection any more.
    pub fn ignore(&mut self, connection: u64) {
        let slot = (connection & ((1 << SLOT_BITS) - 1)) as usize;
        if let Some(Some(flow)) = self.flows.get_mut(slot)
            && flow.id == connection
        {
            flow.ignore(&mut self.held_bytes);
        }
    }
}

/// Notes when to look at a connection next.
fn arm(flow: &mut Flow, slot: u32, timers: &mut BTreeSet<(u64, u32)>) {
    let idle_ns = if flow.has_ended() { LINGER_NS } else { IDLE_NS };
    let idle_ns = flow.active_ns.saturating_add(idle_ns);
    let due_ns = flow.deadline_ns().unwrap_or(u64::MAX).min(idle_ns);
    // A timer that is early is looked at and set anew.
    if due_ns < flow.timer_ns {
        timers.remove(&(flow.timer_ns, slot));
        flow.timer_ns = due_ns;
        timers.insert((due_ns, slot));
    }
}
