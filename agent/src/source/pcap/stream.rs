//! One direction of a connection: segments in any order to bytes in order. The first copy of a byte wins.

use std::collections::BTreeMap;

/// Bytes that wait for earlier ones, of one direction. Beyond, what is missing counts as lost. Holds what is on its way on a
/// fast and long line while a lost segment is sent again.
pub const HELD_BYTES_MAX: usize = 4 << 20;
/// The same in pieces.
pub const HELD_MAX: usize = 8192;
/// What a piece that waits costs besides its bytes.
pub const HELD_COST: usize = 128;
/// A segment that lies farther from the stream's place belongs to something else: the largest window there is (RFC 7323 2.3).
const WINDOW_MAX: u64 = 1 << 30;
/// Offsets begin here: what lies before a stream's begin has one too.
const ORIGIN: u64 = 1 << 32;

/// Bytes at a place of the stream. Places are 64-bit numbers whose lower half is the sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// First byte.
    pub place: u64,
    /// Bytes, at least `data.len()`.
    pub length: u32,
    /// When.
    pub time_ns: u64,
    /// The first of them.
    pub data: &'a [u8],
}

impl<'a> Piece<'a> {
    /// After the last byte.
    pub const fn end(&self) -> u64 {
        self.place.saturating_add(self.length as u64)
    }

    /// What lies in `[from, until)`.
    pub fn part(&self, from: u64, until: u64) -> Self {
        let from = from.clamp(self.place, self.end());
        let until = until.clamp(from, self.end());
        let length = until - from;
        let skip = usize::try_from(from - self.place).unwrap_or(usize::MAX);
        let data = self.data.get(skip..).unwrap_or_default();
        let keep = usize::try_from(length).unwrap_or(usize::MAX);
        Self {
            place: from,
            length: length as u32,
            time_ns: self.time_ns,
            data: data.get(..keep).unwrap_or(data),
        }
    }
}

/// A piece that waits.
#[derive(Debug)]
pub struct Held {
    /// First byte.
    pub place: u64,
    /// Bytes, at least `data.len()`.
    pub length: u32,
    /// When.
    pub time_ns: u64,
    /// In which order it came.
    pub arrival: u64,
    /// The first of them.
    pub data: Box<[u8]>,
}

impl Held {
    /// Without owning the bytes.
    pub fn piece(&self) -> Piece<'_> {
        Piece {
            place: self.place,
            length: self.length,
            time_ns: self.time_ns,
            data: &self.data,
        }
    }

    fn cost(&self) -> usize {
        HELD_COST + self.data.len()
    }
}

/// What is missing at the stream's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The other end has it.
    pub acknowledged: bool,
    /// The packet that said so, by its number in the connection.
    pub arrival: u64,
    /// Lost when the packets' clock says this.
    pub deadline_ns: u64,
    /// Lost when the connection has had so many packets.
    pub deadline_packets: u64,
}

/// Where a segment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    /// It continues the stream.
    Next,
    /// Something is missing before it.
    Ahead,
    /// All of it is known.
    Behind,
    /// It does not belong to the stream.
    Elsewhere,
}

/// What came of holding a piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Bytes that were new.
    pub bytes: u64,
    /// Some that were not were different.
    pub conflict: bool,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Stream {
    /// The place that is next. While it has not begun: any place near the first one.
    next: Option<u64>,
    /// Where the stream begins, as far as it is told.
    began: Option<u64>,
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    /// Highest place that the other end says it has everything before, and the lowest such.
    acknowledged: u64,
    acknowledged_first: Option<u64>,
    /// The packet that said the highest.
    pub acknowledged_by: u64,
    /// Place after the last byte.
    end: Option<u64>,
    /// What is missing now.
    pub hole: Option<Hole>,
}

impl Stream {
    /// Place of a sequence number.
    pub fn place(&self, sequence: u32) -> u64 {
        match self.next {
            None => ORIGIN | u64::from(sequence),
            Some(next) => {
                let ahead = sequence.wrapping_sub(next as u32) as i32;
                next.saturating_add_signed(i64::from(ahead))
            }
        }
    }

    /// The stream begins here.
    pub fn begin(&mut self, place: u64) {
        self.next = Some(place);
        self.began = Some(place);
        // What lies before is not part of it.
        self.held_bytes = 0;
        for held in std::mem::take(&mut self.held).into_values() {
            self.insert(held.piece().part(place, u64::MAX), held.arrival);
        }
    }

    /// Notes a place near to which the stream is.
    pub fn hint(&mut self, place: u64) {
        self.next.get_or_insert(place);
    }

    /// Whether the stream's begin is known.
    pub const fn begun(&self) -> bool {
        self.began.is_some()
    }

    /// Where the stream begins; `None` before that is known.
    pub const fn began(&self) -> Option<u64> {
        self.began
    }

    /// The place that is next; `None` before the begin is known.
    pub fn next(&self) -> Option<u64> {
        self.next.filter(|_| self.begun())
    }

    /// Where a piece lies.
    pub fn lies(&self, piece: &Piece<'_>) -> Lies {
        let Some(next) = self.next else {
            return Lies::Ahead;
        };
        let beyond_end = self.end.is_some_and(|end| piece.end() > end);
        if piece.place.abs_diff(next) > WINDOW_MAX || beyond_end {
            Lies::Elsewhere
        } else if !self.begun() || piece.place > next {
            Lies::Ahead
        } else if piece.end() > next {
            Lies::Next
        } else {
            Lies::Behind
        }
    }

    /// Everything before this place is done with.
    pub fn advance(&mut self, place: u64) {
        if self.next.is_none_or(|next| next < place) {
            self.next = Some(place);
        }
        self.hole = None;
    }

    /// Lets a piece wait.
    pub fn hold(&mut self, piece: &Piece<'_>, arrival: u64) -> Kept {
        let mut kept = Kept::default();
        let end = piece.end();
        let mut from = piece.place;
        // The one that may reach in from before, then those that begin inside.
        let before = self
            .held
            .range(..=piece.place)
            .next_back()
            .map(|(place, _)| *place);
        let mut neighbour = before.or_else(|| self.first_from(piece.place));
        while from < end {
            let Some(held) = neighbour.and_then(|place| self.held.get(&place)) else {
                kept.bytes += self.insert(piece.part(from, end), arrival);
                break;
            };
            let (held_from, held_until) = (held.place, held.piece().end());
            if held_from < end && held_until > from {
                let same = (from.max(held_from), end.min(held_until));
                kept.conflict |= differ(&piece.part(same.0, same.1), &held.piece().part(same.0, same.1));
            }
            if held_from > from {
                kept.bytes += self.insert(piece.part(from, held_from), arrival);
            }
            from = from.max(held_until);
            neighbour = self.first_from(held_from.saturating_add(1));
        }
        kept
    }

    fn first_from(&self, place: u64) -> Option<u64> {
        self.held.range(place..).next().map(|(place, _)| *place)
    }

    fn insert(&mut self, part: Piece<'_>, arrival: u64) -> u64 {
        if part.length == 0 {
            return 0;
        }
        let held = Held {
            place: part.place,
            length: part.length,
            time_ns: part.time_ns,
            arrival,
            data: Box::from(part.data),
        };
        self.held_bytes += held.cost();
        self.held.insert(part.place, held);
        u64::from(part.length)
    }

    /// The first piece that waits.
    pub fn first_held(&self) -> Option<&Held> {
        self.held.first_key_value().map(|(_, held)| held)
    }

    /// All pieces that wait.
    pub fn held(&self) -> impl Iterator<Item = &Held> {
        self.held.values()
    }

    /// The first piece that waits, if it continues the stream.
    pub fn release(&mut self) -> Option<Held> {
        let next = self.next()?;
        let entry = self.held.first_entry().filter(|entry| *entry.key() <= next)?;
        let held = entry.remove();
        self.held_bytes -= held.cost();
        Some(held)
    }

    /// What the pieces that wait cost.
    pub const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether too much waits.
    pub fn is_full(&self) -> bool {
        self.held_bytes > HELD_BYTES_MAX || self.held.len() > HELD_MAX
    }

    /// The other end has everything before this place.
    pub fn acknowledge(&mut self, place: u64, arrival: u64) {
        let place = self.end.map_or(place, |end| place.min(end));
        let near = self.next.is_none_or(|next| place.abs_diff(next) <= WINDOW_MAX);
        if near {
            if place > self.acknowledged {
                self.acknowledged = place;
                self.acknowledged_by = arrival;
            }
            let first = self.acknowledged_first.get_or_insert(place);
            *first = place.min(*first);
            self.next.get_or_insert(place);
        }
    }

    /// Where a stream begins of which the begin was not seen: at the first byte that is known of. `None`: nothing is.
    pub fn first_known(&self) -> Option<u64> {
        let held = self.first_held().map(|held| held.place);
        match (held, self.acknowledged_first) {
            (Some(held), Some(acknowledged)) => Some(held.min(acknowledged)),
            (held, acknowledged) => held.or(acknowledged),
        }
    }

    /// Whether nothing waits and nothing is known to be missing.
    pub fn is_quiet(&self) -> bool {
        self.held.is_empty() && self.next.is_some_and(|next| self.acknowledged <= next)
    }

    /// The sender ended the stream here.
    pub fn end_at(&mut self, place: u64) {
        let last_held = self.held.last_key_value().map(|(_, held)| held.piece().end());
        let known = self.next().max(last_held);
        if self.end.is_none() && known.is_none_or(|known| known <= place && place - known <= WINDOW_MAX) {
            self.end = Some(place);
            self.acknowledged = self.acknowledged.min(place);
        }
    }

    /// Whether everything until the end has come.
    pub fn is_complete(&self) -> bool {
        self.end.is_some() && self.end == self.next()
    }

    /// Whether the sender has ended it.
    pub const fn ends(&self) -> bool {
        self.end.is_some()
    }

    /// How far what is missing at the stream's place reaches. `None`: nothing is known to be missing. With `at_last`: nothing more comes,
    /// so that also what nobody acknowledged is missing.
    pub fn missing(&self, at_last: bool) -> Option<u64> {
        let next = self.next()?;
        let held = self.first_held().map(|held| held.place);
        let end = self.end.filter(|_| at_last);
        // Without bytes behind it a single one that was acknowledged is a FIN that was not captured.
        let acknowledged =
            (self.acknowledged > next + u64::from(held.is_none())).then_some(self.acknowledged);
        let until = match (held, acknowledged, at_last) {
            (Some(held), Some(acknowledged), false) => held.min(acknowledged),
            (Some(held), _, true) => held,
            (Some(_), None, false) => return None,
            (None, acknowledged, _) => acknowledged.max(end)?,
        };
        (until > next).then_some(until)
    }
}

fn differ(one: &Piece<'_>, other: &Piece<'_>) -> bool {
    one.data.iter().zip(other.data).any(|(one, other)| one != other)
}
