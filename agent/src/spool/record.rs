//! One batch as bytes in a segment file, and the search for what is intact in a damaged one.
//!
//! A record is a header of [`HEADER_BYTES`] bytes and a body, the protobuf of a `Batch`. The header, little endian: magic
//! (4), body length (4), calls (4), deltas (4), xxh3 of the body (8), xxh3 of the header's bytes before it (8). The header
//! has a hash of its own so that a damaged body is still counted for what it held.

use xxhash_rust::xxh3::xxh3_64;

/// Size of a record's header.
pub(super) const HEADER_BYTES: usize = 32;

/// Largest body: a payload that zstd could not make smaller, with room for its frame and the batch's other fields.
pub const BATCH_BYTES_MAX: usize = wire::PAYLOAD_BYTES_MAX + (1 << 20);

/// Starts every record; the last byte is the version of this format.
const MAGIC: [u8; 4] = *b"EWS\x01";

/// A damaged file may hold headers that promise long bodies again and again. Hashing them stops at this multiple of the
/// file's size.
const WASTED_HASHING_MAX: usize = 4;

/// What a batch holds, for counting when it is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Single calls.
    pub calls: u32,
    /// Catalog deltas.
    pub deltas: u32,
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) body_bytes: u32,
    pub(super) contents: Contents,
    body_hash: u64,
}

impl Header {
    /// `None` when the bytes are too few or are no valid header.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (fields, rest) = bytes.split_first_chunk::<{ HEADER_BYTES - 8 }>()?;
        let hash = u64::from_le_bytes(*rest.first_chunk()?);
        let (magic, rest) = fields.split_first_chunk()?;
        let (body_bytes, rest) = rest.split_first_chunk()?;
        let (calls, rest) = rest.split_first_chunk()?;
        let (deltas, rest) = rest.split_first_chunk()?;
        let body_hash = u64::from_le_bytes(*rest.first_chunk()?);
        let body_bytes = u32::from_le_bytes(*body_bytes);
        if *magic != MAGIC || xxh3_64(fields) != hash || body_bytes as usize > BATCH_BYTES_MAX {
            return None;
        }
        let contents = Contents {
            calls: u32::from_le_bytes(*calls),
            deltas: u32::from_le_bytes(*deltas),
        };
        Some(Self {
            body_bytes,
            contents,
            body_hash,
        })
    }

    /// Whether `body` is the one that was written.
    pub(super) fn fits(&self, body: &[u8]) -> bool {
        body.len() == self.body_bytes as usize && xxh3_64(body) == self.body_hash
    }
}

/// The whole record. `None` when the body is longer than [`BATCH_BYTES_MAX`].
pub(super) fn encode(body: &[u8], contents: Contents) -> Option<Vec<u8>> {
    let body_bytes = u32::try_from(body.len())
        .ok()
        .filter(|&bytes| bytes as usize <= BATCH_BYTES_MAX)?;
    let mut record = Vec::with_capacity(HEADER_BYTES + body.len());
    record.extend_from_slice(&MAGIC);
    record.extend_from_slice(&body_bytes.to_le_bytes());
    record.extend_from_slice(&contents.calls.to_le_bytes());
    record.extend_from_slice(&contents.deltas.to_le_bytes());
    record.extend_from_slice(&xxh3_64(body).to_le_bytes());
    let hash = xxh3_64(&record);
    record.extend_from_slice(&hash.to_le_bytes());
    record.extend_from_slice(body);
    Some(record)
}

/// The body of a whole record, if it is intact.
pub(super) fn body(record: &[u8]) -> Option<&[u8]> {
    let header = Header::decode(record)?;
    record.get(HEADER_BYTES..).filter(|body| header.fits(body))
}

/// An intact record in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) offset: usize,
    /// With the header.
    pub(super) bytes: usize,
    pub(super) contents: Contents,
}

/// A part of a segment that is no intact record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) bytes: usize,
    /// What it held, where its header survived.
    pub(super) contents: Contents,
    /// Whether writing just stopped there, as at a crash.
    pub(super) torn: bool,
}

/// Splits a segment into intact records and damage. Every byte belongs to exactly one of them. Time is linear.
pub(super) fn scan(segment: &[u8]) -> (Vec<Found>, Vec<Damage>) {
    let (mut records, mut damages) = (Vec::new(), Vec::new());
    let mut wasted = 0;
    let mut at = 0;
    while let Some(rest) = segment.get(at..).filter(|rest| !rest.is_empty()) {
        let header = Header::decode(rest);
        let end = header.map(|header| HEADER_BYTES + header.body_bytes as usize);
        if let (Some(header), Some(end)) = (header, end) {
            if rest.get(HEADER_BYTES..end).is_some_and(|body| header.fits(body)) {
                records.push(Found {
                    offset: at,
                    bytes: end,
                    contents: header.contents,
                });
                at += end;
                continue;
            }
            wasted += end.min(rest.len());
        }
        let searched_from = if header.is_some() { HEADER_BYTES } else { 1 };
        let next = if wasted > segment.len().saturating_mul(WASTED_HASHING_MAX) {
            rest.len()
        } else {
            next_header(rest, searched_from).unwrap_or(rest.len())
        };
        damages.push(Damage {
            bytes: next,
            contents: header.map(|header| header.contents).unwrap_or_default(),
            torn: next == rest.len() && end.map_or(next < HEADER_BYTES, |end| end > next),
        });
        at += next;
    }
    (records, damages)
}

/// Where the next valid header begins, at or after `from`.
fn next_header(bytes: &[u8], from: usize) -> Option<usize> {
    let candidates = bytes.get(from..)?.windows(MAGIC.len()).enumerate();
    candidates
        .filter(|(_, window)| *window == MAGIC)
        .map(|(at, _)| from + at)
        .find(|&at| bytes.get(at..).and_then(Header::decode).is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contents(calls: u32) -> Contents {
        Contents {
            calls,
            deltas: calls / 2,
        }
    }

    #[test]
    fn round_trip() {
        let record = encode(b"body", contents(7)).unwrap();
        assert_eq!(record.len(), HEADER_BYTES + 4);
        assert_eq!(body(&record), Some(&b"body"[..]));
        assert_eq!(Header::decode(&record).unwrap().contents, contents(7));
        assert_eq!(body(record.get(..record.len() - 1).unwrap()), None);
    }

    #[test]
    fn length_limit() {
        assert!(encode(&vec![0; BATCH_BYTES_MAX], Contents::default()).is_some());
        assert!(encode(&vec![0; BATCH_BYTES_MAX + 1], Contents::default()).is_none());
    }

    /// Headers every 32 bytes that all promise the longest body that fits: hashing must stop, not grow with the square.
    #[test]
    fn headers_without_bodies_do_not_take_quadratic_time() {
        let header = encode(&vec![1; 1 << 20], Contents::default()).unwrap();
        let file = header[..HEADER_BYTES].repeat(1 << 17);
        let (records, damages) = scan(&file);
        assert_eq!(records, []);
        assert_eq!(
            damages.iter().map(|damage| damage.bytes).sum::<usize>(),
            file.len()
        );
        assert!(damages.len() < 64, "{}", damages.len());
    }

    fn segment(bodies: &[Vec<u8>]) -> (Vec<u8>, Vec<std::ops::Range<usize>>) {
        let (mut file, mut ranges) = (Vec::new(), Vec::new());
        for body in bodies {
            let start = file.len();
            file.extend(encode(body, contents(body.len() as u32)).unwrap());
            ranges.push(start..file.len());
        }
        (file, ranges)
    }

    proptest! {
        /// Whatever bits flip and wherever the file ends, every record that was not touched is found, and nothing else.
        #[test]
        fn intact_records_survive_damage_around_them(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..12),
            flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 0..6),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let (whole, ranges) = segment(&bodies);
            let mut file = whole.clone();
            for (place, bit) in &flips {
                if !file.is_empty() {
                    let at = place.index(file.len());
                    file[at] ^= 1 << bit;
                }
            }
            if let Some(cut) = cut {
                file.truncate(cut.index(whole.len() + 1));
            }
            let (records, damages) = scan(&file);
            let expect: Vec<usize> =
                ranges.iter().filter(|range| file.get((*range).clone()) == whole.get((*range).clone())).map(|r| r.start).collect();
            prop_assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), expect);
            let total: usize = records.iter().map(|r| r.bytes).chain(damages.iter().map(|d| d.bytes)).sum();
            prop_assert_eq!(total, file.len());
        }

        #[test]
        fn bytes_taken_out_or_put_in_lose_only_the_record_they_hit(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 3..6),
            place in any::<prop::sample::Index>(),
            junk in prop::collection::vec(any::<u8>(), 0..50),
            removed in 0_usize..50,
        ) {
            let (file, ranges) = segment(&bodies);
            let at = place.index(file.len());
            let end = (at + removed).min(file.len());
            let damaged: Vec<u8> = [&file[..at], &junk, &file[end..]].concat();
            let (records, _) = scan(&damaged);
            let untouched = ranges.iter().filter(|range| range.end <= at || range.start >= end.max(at + 1)).count();
            prop_assert!(records.len() >= untouched);
        }

        #[test]
        fn any_bytes_are_scanned_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let (records, damages) = scan(&bytes);
            let total: usize = records.iter().map(|r| r.bytes).chain(damages.iter().map(|d| d.bytes)).sum();
            prop_assert_eq!(total, bytes.len());
        }
    }
}
