//! The streams that are followed.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};

use foldhash::fast::RandomState;

use super::stream::Stream;
use crate::{Direction, Nanos};

/// A stream that was reset, and may still be answered by what is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lingering {
    pub(super) id: u32,
    /// Where something may come from.
    pub(super) from: Direction,
    /// When it was reset.
    pub(super) since: Nanos,
}

/// All of a connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    map: HashMap<u32, Box<Stream>, RandomState>,
    /// Those whose request was not seen yet.
    waiting: BTreeSet<u32>,
    /// In the order of their resets; some may be gone.
    pub(super) lingering: VecDeque<Lingering>,
    /// Bytes of the header lists of all.
    pub(super) heads_bytes: usize,
    /// Memory of the readers of bodies of all.
    pub(super) bodies_bytes: usize,
    /// Some of them in the order in which room is made; some may be gone.
    oldest: VecDeque<u32>,
    /// Highest that a request was seen of, the client's and the server's (pushed).
    pub(super) requested: u32,
    pub(super) promised: u32,
    /// Highest that any frame was seen of.
    pub(super) highest: u32,
}

impl Streams {
    pub(super) fn get(&mut self, id: u32) -> Option<&mut Stream> {
        self.map.get_mut(&id).map(|stream| &mut **stream)
    }

    pub(super) fn has(&self, id: u32) -> bool {
        self.map.contains_key(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// About what all of them cost, bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.map.len() * size_of::<Stream>() + self.heads_bytes + self.bodies_bytes
    }

    /// The stream, which is made if there is none. `None` of the request: it waits for it.
    pub(super) fn open(&mut self, id: u32, losses: [u32; 2]) -> &mut Stream {
        match self.map.entry(id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Box::new(Stream::new(id, losses))),
        }
    }

    /// As [`Self::open`], for a response that was seen before its request.
    pub(super) fn open_waiting(&mut self, id: u32, losses: [u32; 2]) -> &mut Stream {
        self.waiting.insert(id);
        self.open(id, losses)
    }

    /// The request of a stream came.
    pub(super) fn waits_no_more(&mut self, id: u32) {
        if !self.waiting.is_empty() {
            self.waiting.remove(&id);
        }
    }

    /// Takes the lowest stream out whose request was not seen, if it is below `id`: requests come in ascending order.
    pub(super) fn take_waiting_below(&mut self, id: u32) -> Option<Box<Stream>> {
        let first = *self.waiting.first().filter(|&&first| first < id)?;
        self.remove(first)
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Box<Stream>> {
        self.waits_no_more(id);
        let stream = self.map.remove(&id)?;
        self.heads_bytes -= stream.heads_bytes;
        self.bodies_bytes -= stream.sending.memory_bytes + stream.answering.memory_bytes;
        Some(stream)
    }

    /// Counts the memory of a body anew. Whether it grew.
    pub(super) fn keep_body(&mut self, id: u32, direction: Direction) -> bool {
        let Some(stream) = self.map.get_mut(&id) else {
            return false;
        };
        let half = stream.half(direction);
        let before = std::mem::replace(&mut half.memory_bytes, half.content.memory_bytes());
        self.bodies_bytes = self.bodies_bytes - before + half.memory_bytes;
        half.memory_bytes > before
    }

    /// The body that takes most memory, of those that were not given up.
    pub(super) fn largest_body(&self) -> Option<(u32, Direction)> {
        let bodies = self.map.values().flat_map(|stream| {
            [
                (&stream.sending, Direction::Request),
                (&stream.answering, Direction::Response),
            ]
            .map(|(half, direction)| (half, stream.id, direction))
        });
        bodies
            .filter(|(half, ..)| !half.given_up)
            .max_by_key(|&(half, id, direction)| (half.memory_bytes, id, direction == Direction::Response))
            .map(|(_, id, direction)| (id, direction))
    }

    /// The stream keeps a header list of that many bytes.
    pub(super) fn keep_head(&mut self, id: u32, bytes: usize) {
        if let Some(stream) = self.map.get_mut(&id) {
            stream.heads_bytes += bytes;
            self.heads_bytes += bytes;
        }
    }

    /// The stream that makes room first: pushed ones, which may never be sent, then the oldest. Takes constant time
    /// on average, since half of all are put into order at a time.
    pub(super) fn oldest(&mut self) -> Option<u32> {
        loop {
            while let Some(id) = self.oldest.pop_front() {
                if self.map.contains_key(&id) {
                    return Some(id);
                }
            }
            let mut ids = self.ids(|_| true);
            ids.sort_by_key(|id| id % 2);
            ids.truncate(ids.len().div_ceil(2));
            if ids.is_empty() {
                return None;
            }
            self.oldest = ids.into();
        }
    }

    /// Identifiers of those that `wanted` tells, ascending.
    pub(super) fn ids(&self, wanted: impl Fn(&Stream) -> bool) -> Vec<u32> {
        let mut ids: Vec<u32> = self
            .map
            .values()
            .filter(|stream| wanted(stream))
            .map(|stream| stream.id)
            .collect();
        ids.sort_unstable();
        ids
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
