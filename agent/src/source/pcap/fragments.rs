//! IP packets in pieces (RFC 791 3.2, RFC 8200 4.5).
//!
//! A piece that came already is ignored; pieces that overlap otherwise spoil their packet (RFC 5722 for IPv6; for IPv4 as Linux does it
//! since nobody but attackers sends such pieces).

use std::collections::{BTreeMap, VecDeque};

use foldhash::HashMap;

use super::ip::{Fragment, Packet};

/// Packets of which pieces are missing, at a time. Beyond, the oldest is given up.
pub const PACKETS_MAX: usize = 1024;
/// What their pieces may cost, bytes.
pub const BYTES_MAX: usize = 16 << 20;
/// How long the missing pieces are waited for, nanoseconds, as Linux waits.
pub const WAIT_NS: u64 = 30_000_000_000;
/// Longest payload of a packet.
const PACKET_BYTES_MAX: usize = 65535;
/// What a piece costs besides its bytes.
const PIECE_COST: usize = 96;

type Key = ([u128; 2], u8, u32);

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// It waits for the others.
    Waits,
    /// It came already.
    Again,
    /// It was cut off, or breaks the rules: its packet is given up.
    Spoils,
}

#[derive(Debug, Default)]
struct Partial {
    /// Pieces by their first byte.
    pieces: BTreeMap<usize, Box<[u8]>>,
    bytes: usize,
    /// Length of the whole, once the last piece has come.
    total: Option<usize>,
    /// Pieces of it are of no use any more.
    spoilt: bool,
    /// Of several packets with one name, which.
    generation: u64,
}

impl Partial {
    fn cost(&self) -> usize {
        self.bytes + PIECE_COST * (self.pieces.len() + 1)
    }

    fn add(&mut self, fragment: Fragment, data: &[u8]) -> Piece {
        let end = fragment.offset + data.len();
        let total = if fragment.more { self.total } else { Some(end) };
        let misfit = data.is_empty()
            || (fragment.more && !data.len().is_multiple_of(8))
            || end > total.unwrap_or(PACKET_BYTES_MAX)
            || (self.total.is_some() && self.total != total);
        let before = self.pieces.range(..=fragment.offset).next_back();
        let before_end = before.map_or(0, |(offset, piece)| offset + piece.len());
        let after = self
            .pieces
            .range(fragment.offset..)
            .next()
            .map(|(offset, _)| *offset);
        let last = self
            .pieces
            .last_key_value()
            .map_or(0, |(offset, piece)| offset + piece.len());
        if misfit || last > total.unwrap_or(PACKET_BYTES_MAX) {
            return Piece::Spoils;
        }
        if before_end >= end {
            return Piece::Again;
        }
        if before_end > fragment.offset || after.is_some_and(|after| after < end) {
            return Piece::Spoils;
        }
        self.total = total;
        self.bytes += data.len();
        self.pieces.insert(fragment.offset, data.into());
        Piece::Waits
    }

    /// The packet's payload, if nothing is missing.
    fn whole(&mut self) -> Option<Vec<u8>> {
        // Pieces do not overlap.
        if self.total != Some(self.bytes) {
            return None;
        }
        Some(std::mem::take(&mut self.pieces).into_values().flatten().collect())
    }
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Fragments {
    partial: HashMap<Key, Partial>,
    /// When they are given up.
    deadlines: VecDeque<(u64, Key, u64)>,
    bytes: usize,
    generation: u64,
    /// Packets given up because pieces did not come.
    pub expired: u64,
    /// Packets given up to make room.
    pub evicted: u64,
}

impl Fragments {
    /// Takes a piece; gives the payload of the packet if it was the last one.
    pub fn take(&mut self, packet: &Packet<'_>, fragment: Fragment, now_ns: u64) -> Result<Vec<u8>, Piece> {
        self.expire(now_ns);
        let key = (packet.addresses, packet.protocol, fragment.identification);
        let payload = packet.payload;
        if !self.partial.contains_key(&key) {
            self.generation += 1;
            let partial = Partial {
                generation: self.generation,
                ..Partial::default()
            };
            self.bytes += partial.cost();
            self.partial.insert(key, partial);
            self.deadlines
                .push_back((now_ns.saturating_add(WAIT_NS), key, self.generation));
        }
        let Some(partial) = self.partial.get_mut(&key) else {
            return Err(Piece::Spoils);
        };
        let before = partial.cost();
        let cut = payload.data.len() < payload.wire_bytes;
        let piece = if partial.spoilt || cut {
            Piece::Spoils
        } else {
            partial.add(fragment, payload.data)
        };
        if piece == Piece::Spoils {
            // The name is kept: what comes of the packet yet is of no use.
            *partial = Partial {
                spoilt: true,
                generation: partial.generation,
                ..Partial::default()
            };
        }
        let whole = partial.whole();
        self.bytes = self.bytes + partial.cost() - before;
        if let Some(whole) = whole {
            self.remove(&key);
            return Ok(whole);
        }
        self.make_room();
        Err(piece)
    }

    fn remove(&mut self, key: &Key) -> Option<Partial> {
        let partial = self.partial.remove(key)?;
        self.bytes -= partial.cost();
        Some(partial)
    }

    fn remove_oldest(&mut self) -> Option<Partial> {
        let (_, key, generation) = self.deadlines.pop_front()?;
        let same = self
            .partial
            .get(&key)
            .is_some_and(|known| known.generation == generation);
        if same { self.remove(&key) } else { None }
    }

    fn expire(&mut self, now_ns: u64) {
        while self
            .deadlines
            .front()
            .is_some_and(|(deadline_ns, ..)| *deadline_ns <= now_ns)
        {
            self.expired += u64::from(self.remove_oldest().is_some_and(|partial| !partial.spoilt));
        }
    }

    fn make_room(&mut self) {
        while self.partial.len() > PACKETS_MAX || self.bytes > BYTES_MAX {
            self.evicted += u64::from(self.remove_oldest().is_some_and(|partial| !partial.spoilt));
        }
        // Names of packets that are whole now.
        if self.deadlines.len() > 4 * PACKETS_MAX {
            let partial = &self.partial;
            self.deadlines.retain(|(_, key, generation)| {
                partial
                    .get(key)
                    .is_some_and(|known| known.generation == *generation)
            });
        }
    }
}
