//! One direction of a connection: 32-bit sequence numbers to stream offsets, records of several CPUs into order.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::fate::Fate;

/// Records that wait for earlier ones, per direction. Beyond, what is missing counts as lost.
pub const HELD_MAX: usize = 32;
/// Their bytes.
const HELD_BYTES_MAX: usize = 128 << 10;
/// What a waiting record costs besides its bytes.
const HELD_COST: usize = 96;
/// Where the offsets of a stream begin that was joined late: far enough from 0 that what was sent before fits below.
const LATE_START: u64 = 1 << 40;

/// A record, in stream offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<D> {
    /// First byte.
    pub offset: u64,
    /// Bytes that it stands for.
    pub length: u32,
    /// When.
    pub time_ns: u64,
    /// Begins a turn.
    pub turn_start: bool,
    /// What is missing at its end was left out on purpose.
    pub on_purpose: bool,
    /// Fate of what is missing at its end.
    pub missing: Fate,
    /// Turns that the one that begins with it stands for; 0 where the connection does not rest.
    pub stands_for: u32,
    /// What is missing before it went by while the connection rested.
    pub behind_rest: bool,
    /// The first bytes.
    pub data: D,
}

impl<D> Segment<D> {
    /// After its last byte.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.length))
    }
}

/// A record that waits, and the drain round in which it came.
#[derive(Debug)]
struct Held {
    segment: Segment<Vec<u8>>,
    since: u64,
}

impl Held {
    fn cost(&self) -> usize {
        HELD_COST + self.segment.data.len()
    }
}

/// State of a direction.
#[derive(Debug)]
pub struct Stream {
    /// Sequence number of offset 0 (fresh) or of `LATE_START`.
    base: Option<u32>,
    start: u64,
    /// Offset after the last record that was passed on.
    next: u64,
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    /// Skipping was ordered up to here.
    pub skip_to: u64,
    /// Records that came since although they lie before it.
    pub unskipped: u32,
    /// The connection rested, and what comes next of this direction is the begin of an answer.
    pub resumes: bool,
}

impl Stream {
    /// `base`: sequence number of the first byte ever, if it was seen.
    pub fn new(base: Option<u32>) -> Self {
        let start = if base.is_some() { 0 } else { LATE_START };
        Self {
            base,
            start,
            next: start,
            held: BTreeMap::new(),
            held_bytes: 0,
            skip_to: 0,
            unskipped: 0,
            resumes: false,
        }
    }

    /// Stream offset of a sequence number near the present place; the first one seen of a stream joined late defines it. `None` for
    /// one that lies before the stream's begin.
    pub fn offset(&mut self, sequence: u32) -> Option<u64> {
        self.base.get_or_insert(sequence);
        self.place(sequence)
    }

    /// As [`Self::offset`], but defines nothing: `None` when nothing was seen yet.
    pub fn place(&self, sequence: u32) -> Option<u64> {
        let expected = self.base?.wrapping_add((self.next - self.start) as u32);
        let ahead = sequence.wrapping_sub(expected) as i32;
        self.next.checked_add_signed(i64::from(ahead))
    }

    /// As [`Self::offset`], of a place less than 2^32 ahead: more than half of that may go by unrecorded.
    pub fn offset_ahead(&mut self, sequence: u32) -> Option<u64> {
        self.base.get_or_insert(sequence);
        self.place_ahead(sequence)
    }

    /// As [`Self::place`], of a place less than 2^32 ahead.
    pub fn place_ahead(&self, sequence: u32) -> Option<u64> {
        let expected = self.sequence(self.next)?;
        self.next.checked_add(u64::from(sequence.wrapping_sub(expected)))
    }

    /// Everything up to an offset went by.
    pub fn pass_to(&mut self, offset: u64) {
        self.next = self.next.max(offset);
    }

    /// Sequence number of a stream offset; `None` before anything was seen.
    pub fn sequence(&self, offset: u64) -> Option<u32> {
        self.base
            .map(|base| base.wrapping_add(offset.wrapping_sub(self.start) as u32))
    }

    /// Offset after the last record that was passed on.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// A record that begins at `next` or continues what was skipped by order may pass; an earlier part missing, it waits.
    pub fn is_next<D>(&self, segment: &Segment<D>) -> bool {
        segment.offset <= self.next.max(self.skip_to)
    }

    /// Notes that a record was passed on.
    pub fn passed<D>(&mut self, segment: &Segment<D>) {
        self.next = self.next.max(segment.end());
    }

    /// Lets a record wait. False when there is no room: then what is missing is lost, and everything held goes on.
    pub fn hold(&mut self, segment: &Segment<&[u8]>, round: u64) -> bool {
        let held = Held {
            segment: Segment {
                data: segment.data.to_vec(),
                offset: segment.offset,
                length: segment.length,
                time_ns: segment.time_ns,
                turn_start: segment.turn_start,
                on_purpose: segment.on_purpose,
                missing: segment.missing,
                stands_for: segment.stands_for,
                behind_rest: segment.behind_rest,
            },
            since: round,
        };
        match self.held.entry(segment.offset) {
            Entry::Vacant(entry) => {
                self.held_bytes += entry.insert(held).cost();
            }
            // The same place twice: a record of no bytes says only how far the stream got.
            Entry::Occupied(mut entry) if entry.get().segment.length < segment.length => {
                self.held_bytes += held.cost();
                self.held_bytes -= entry.insert(held).cost();
            }
            Entry::Occupied(_) => {}
        }
        self.held.len() <= HELD_MAX && self.held_bytes <= HELD_BYTES_MAX
    }

    /// The next held record, if its turn has come, or if `give_up`.
    pub fn release(&mut self, give_up: bool) -> Option<Segment<Vec<u8>>> {
        let entry = self.held.first_entry()?;
        let in_turn = entry.get().segment.offset <= self.next.max(self.skip_to);
        if !give_up && !in_turn {
            return None;
        }
        let held = entry.remove();
        self.held_bytes -= held.cost();
        Some(held.segment)
    }

    /// Whether a record has waited for a whole drain round: all CPUs' earlier records have been seen, what is missing is lost.
    pub fn overdue(&self, round: u64) -> bool {
        self.held.values().any(|held| round > held.since + 1)
    }

    /// Whether any record waits.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// What the records that wait cost.
    pub const fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(offset: u64, data: &[u8]) -> Segment<&[u8]> {
        Segment {
            offset,
            length: data.len() as u32,
            time_ns: 0,
            turn_start: false,
            on_purpose: false,
            missing: Fate::Unseen,
            stands_for: 0,
            behind_rest: false,
            data,
        }
    }

    #[test]
    fn offsets_go_on_beyond_32_bits() {
        let mut stream = Stream::new(Some(u32::MAX - 9));
        assert_eq!(stream.offset(u32::MAX - 9), Some(0));
        stream.passed(&segment(0, &[0; 20]));
        assert_eq!(stream.offset(10), Some(20), "the sequence number has wrapped");
        for i in 0..5 {
            let at = stream.next();
            let wide = Segment {
                length: 1 << 30,
                ..segment(at, b"")
            };
            stream.passed(&wide);
            let sequence = stream.sequence(stream.next()).unwrap();
            assert_eq!(stream.offset(sequence), Some(20 + ((i + 1) << 30)));
        }
    }

    #[test]
    fn what_lies_before_the_begin_has_no_place() {
        let mut stream = Stream::new(Some(1000));
        assert_eq!((stream.offset(999), stream.offset(1000)), (None, Some(0)));
    }

    #[test]
    fn a_late_stream_begins_where_it_is_first_seen() {
        let mut stream = Stream::new(None);
        assert_eq!(stream.place(1000), None);
        let first = stream.offset(1000).unwrap();
        stream.passed(&segment(first, b"0123456789"));
        assert_eq!(stream.offset(1010), Some(first + 10));
        assert_eq!(
            stream.offset(900),
            Some(first - 100),
            "an earlier record that came late"
        );
        assert_eq!(stream.sequence(first + 10), Some(1010));
    }

    #[test]
    fn records_wait_for_earlier_ones() {
        let mut stream = Stream::new(Some(0));
        assert!(!stream.is_next(&segment(5, b"world")));
        assert!(stream.hold(&segment(5, b"world"), 1));
        assert_eq!(stream.release(false), None);
        assert!(!stream.overdue(2) && stream.overdue(3));
        stream.passed(&segment(0, b"hello"));
        assert_eq!(stream.release(false).unwrap().data, b"world");
        assert!(!stream.overdue(9));
        assert_eq!(stream.held_bytes(), 0);
    }

    #[test]
    fn each_record_waits_its_own_time() {
        let mut stream = Stream::new(Some(0));
        stream.hold(&segment(5, b"world"), 1);
        stream.hold(&segment(90, b"x"), 2);
        stream.passed(&segment(0, b"hello"));
        stream.release(false);
        assert!(!stream.overdue(3), "the other one came a round later");
        assert!(stream.overdue(4));
    }

    #[test]
    fn two_records_of_one_place() {
        for twice in [[&b""[..], b"data"], [b"data", b""]] {
            let mut stream = Stream::new(Some(0));
            for data in twice {
                assert!(stream.hold(&segment(5, data), 0));
            }
            assert_eq!(stream.release(true).unwrap().data, b"data");
            assert_eq!((stream.held_bytes(), stream.holds()), (0, false));
        }
    }

    #[test]
    fn holding_is_bounded() {
        let mut stream = Stream::new(Some(0));
        let room = (1..)
            .take_while(|i| stream.hold(&segment(i * 10, b"x"), 0))
            .count();
        assert_eq!(room, HELD_MAX);
        assert_eq!(stream.release(true).unwrap().offset, 10);
        let mut stream = Stream::new(Some(0));
        let large = vec![0; HELD_BYTES_MAX / 2 - HELD_COST];
        assert!(stream.hold(&segment(1, &large), 0));
        assert!(stream.hold(&segment(1 << 20, &large), 0));
        assert!(!stream.hold(&segment(2 << 20, b"x"), 0));
    }
}
