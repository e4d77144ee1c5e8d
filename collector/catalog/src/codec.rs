//! Byte encoding of deltas and records: a version byte, then LEB128 varints, zigzag where signed, lengths before bytes.
//!
//! Equal values have equal encodings. Decoding checks every invariant of what it builds, allocates no more than the input
//! is long (times a small constant), and never panics.

use crate::histogram::{BUCKETS_MAX, SHIFT_MAX};
use crate::hll::{RANK_MAX, REGISTERS};
use crate::limits::DEPTH_MAX;
use crate::segment::{LeafPath, Segment, SegmentType, literal_allowed};
use crate::stats::{Calls, MinuteCounts, Stats};
use crate::{ApiKey, ExpHistogram, HyperLogLog, Side};

/// Version of both encodings, their first byte.
pub(crate) const VERSION: u8 = 1;

/// Longest workload or host name, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 1024;

/// Why bytes are not an encoding of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Made by another version.
    #[error("catalog encoding version {found}, this program reads version {expected}")]
    Version {
        /// In the input.
        found: u8,
        /// Read by this program.
        expected: u8,
    },
    /// The input ends inside `what`.
    #[error("catalog encoding ends at byte {at} inside {what}")]
    Truncated {
        /// Offset in the input.
        at: usize,
        /// The part being read.
        what: &'static str,
    },
    /// A value that no encoder writes.
    #[error("catalog encoding has an invalid {what} before byte {at}")]
    Invalid {
        /// Offset in the input, after the value.
        at: usize,
        /// The part being read.
        what: &'static str,
    },
    /// Bytes after the end.
    #[error("catalog encoding has {extra} bytes too many")]
    Trailing {
        /// Number of bytes after the end.
        extra: usize,
    },
}

/// Appends to bytes.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(crate) fn signed(&mut self, value: i64) {
        self.number(((value << 1) ^ (value >> 63)) as u64);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn api(&mut self, api: &ApiKey) {
        self.byte(matches!(api.side, Side::Client).into());
        self.text(&api.workload);
        self.text(&api.host);
    }

    /// Rest is 0, a type its code + 1, a literal its length + 64.
    pub(crate) fn path(&mut self, path: &LeafPath) {
        self.number(path.0.len() as u64);
        for segment in &path.0 {
            match segment {
                Segment::Rest => self.byte(0),
                Segment::Typed(kind) => self.byte(kind.code() + 1),
                Segment::Literal(text) => {
                    self.number(LITERAL_TAG + text.len() as u64);
                    self.0.extend_from_slice(text.as_bytes());
                }
            }
        }
    }

    pub(crate) fn calls(&mut self, calls: &Calls) {
        for (_, count) in calls.iter() {
            self.number(count);
        }
    }

    fn histogram(&mut self, histogram: &ExpHistogram) {
        // One number says: empty, or the shift and whether there are zeros.
        if histogram.is_empty() {
            self.byte(0);
            return;
        }
        self.byte(1 + histogram.shift * 2 + u8::from(histogram.zeros > 0));
        if histogram.zeros > 0 {
            self.number(histogram.zeros);
        }
        self.number(histogram.min);
        self.number(histogram.max - histogram.min);
        self.number(histogram.sum);
        self.number(histogram.buckets.len() as u64);
        if !histogram.buckets.is_empty() {
            self.number(histogram.low.into());
        }
        for bucket in &histogram.buckets {
            self.number(*bucket);
        }
    }

    /// Pairs of (distance to the previous index, rank): `distance * 64 + rank`.
    fn sketch(&mut self, sketch: &HyperLogLog) {
        self.number(sketch.registers().count() as u64);
        let mut next = 0u16;
        for (index, rank) in sketch.registers() {
            self.number(u64::from(index - next) * RANKS + u64::from(rank));
            next = index + 1;
        }
    }

    pub(crate) fn stats(&mut self, stats: &Stats) {
        self.calls(&stats.calls);
        self.histogram(&stats.latency_us);
        self.histogram(&stats.request_bytes);
        self.histogram(&stats.response_bytes);
        self.sketch(&stats.clients);
        self.signed(stats.first_seen_us);
        self.signed(stats.last_seen_us.wrapping_sub(stats.first_seen_us));
    }

    pub(crate) fn minute(&mut self, counts: &MinuteCounts) {
        self.calls(&counts.calls);
        self.number(counts.duration_us_sum);
        self.number(counts.request_bytes_sum);
        self.number(counts.response_bytes_sum);
    }
}

const LITERAL_TAG: u64 = 64;
const RANKS: u64 = 64;

/// Reads from bytes of unknown origin.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Checks the version byte.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Self { bytes, at: 0 };
        match reader.byte("version")? {
            VERSION => Ok(reader),
            found => Err(DecodeError::Version {
                found,
                expected: VERSION,
            }),
        }
    }

    /// Checks that nothing is left.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { extra }),
        }
    }

    pub(crate) fn invalid(&self, what: &'static str) -> DecodeError {
        DecodeError::Invalid { at: self.at, what }
    }

    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        let byte = self
            .bytes
            .get(self.at)
            .copied()
            .ok_or(DecodeError::Truncated { at: self.at, what })?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn number(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte holds one bit, and no number has a last byte of zero unless it is the only one.
            if (shift == 63 && bits > 1) || (shift > 0 && byte == 0) {
                return Err(self.invalid(what));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.invalid(what))
    }

    /// A number of at most `max`.
    pub(crate) fn at_most(&mut self, max: usize, what: &'static str) -> Result<usize, DecodeError> {
        match usize::try_from(self.number(what)?) {
            Ok(number) if number <= max => Ok(number),
            _ => Err(self.invalid(what)),
        }
    }

    pub(crate) fn signed(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        let value = self.number(what)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn str(&mut self, length: usize, what: &'static str) -> Result<&'a str, DecodeError> {
        let end = self.at.checked_add(length).ok_or_else(|| self.invalid(what))?;
        let bytes = self
            .bytes
            .get(self.at..end)
            .ok_or(DecodeError::Truncated { at: self.at, what })?;
        self.at = end;
        std::str::from_utf8(bytes).map_err(|_| self.invalid(what))
    }

    fn name(&mut self, what: &'static str) -> Result<String, DecodeError> {
        let length = self.at_most(NAME_BYTES_MAX, what)?;
        Ok(self.str(length, what)?.to_owned())
    }

    pub(crate) fn api(&mut self) -> Result<ApiKey, DecodeError> {
        let side = match self.byte("side")? {
            0 => Side::Server,
            1 => Side::Client,
            _ => return Err(self.invalid("side")),
        };
        Ok(ApiKey {
            side,
            workload: self.name("workload")?,
            host: self.name("host")?,
        })
    }

    pub(crate) fn path(&mut self) -> Result<LeafPath, DecodeError> {
        let count = self.at_most(DEPTH_MAX + 1, "path length")?;
        let mut segments = Vec::with_capacity(count);
        for _ in 0..count {
            let tag = self.number("segment")?;
            segments.push(match tag {
                0 => Segment::Rest,
                1..LITERAL_TAG => {
                    let kind = SegmentType::from_code((tag - 1) as u8);
                    Segment::Typed(kind.ok_or_else(|| self.invalid("segment type"))?)
                }
                _ => {
                    let length = usize::try_from(tag - LITERAL_TAG).map_err(|_| self.invalid("literal"))?;
                    let text = self.str(length, "literal")?;
                    if !literal_allowed(text) {
                        return Err(self.invalid("literal"));
                    }
                    Segment::Literal(text.into())
                }
            });
        }
        LeafPath::checked(segments).ok_or_else(|| self.invalid("path"))
    }

    pub(crate) fn calls(&mut self) -> Result<Calls, DecodeError> {
        let mut calls = Calls::default();
        for count in &mut calls.0 {
            *count = self.number("calls")?;
        }
        Ok(calls)
    }

    fn histogram(&mut self) -> Result<ExpHistogram, DecodeError> {
        const WHAT: &str = "histogram";
        let head = self.byte(WHAT)?;
        if head == 0 {
            return Ok(ExpHistogram::default());
        }
        let shift = (head - 1) / 2;
        let mut histogram = ExpHistogram {
            shift,
            ..ExpHistogram::default()
        };
        if shift > SHIFT_MAX {
            return Err(self.invalid(WHAT));
        }
        if (head - 1) % 2 == 1 {
            histogram.zeros = self.number(WHAT)?;
        }
        histogram.min = self.number(WHAT)?;
        let span = self.number(WHAT)?;
        histogram.max = histogram
            .min
            .checked_add(span)
            .ok_or_else(|| self.invalid(WHAT))?;
        histogram.sum = self.number(WHAT)?;
        let count = self.at_most(BUCKETS_MAX, WHAT)?;
        if count > 0 {
            let last = (1023usize >> shift)
                .checked_sub(count - 1)
                .ok_or_else(|| self.invalid(WHAT))?;
            histogram.low = self.at_most(last, WHAT)? as u16;
        }
        histogram.buckets.reserve_exact(count);
        for _ in 0..count {
            histogram.buckets.push(self.number(WHAT)?);
        }
        let ends_filled = histogram.buckets.first() != Some(&0) && histogram.buckets.last() != Some(&0);
        let zeros_told = (histogram.zeros > 0) == ((head - 1) % 2 == 1);
        let shift_needed = count > 0 || shift == 0;
        if histogram.is_empty() || !ends_filled || !zeros_told || !shift_needed {
            return Err(self.invalid(WHAT));
        }
        Ok(histogram)
    }

    fn sketch(&mut self) -> Result<HyperLogLog, DecodeError> {
        const WHAT: &str = "client sketch";
        let count = self.at_most(REGISTERS, WHAT)?;
        let mut sketch = HyperLogLog::default();
        let mut next = 0u64;
        for _ in 0..count {
            let entry = self.number(WHAT)?;
            let (distance, rank) = (entry / RANKS, (entry % RANKS) as u8);
            let index = next.saturating_add(distance);
            if index >= REGISTERS as u64 || rank == 0 || rank > RANK_MAX {
                return Err(self.invalid(WHAT));
            }
            sketch.raise(index as u16, rank);
            next = index + 1;
        }
        Ok(sketch)
    }

    pub(crate) fn stats(&mut self) -> Result<Stats, DecodeError> {
        let calls = self.calls()?;
        let latency_us = self.histogram()?;
        let request_bytes = self.histogram()?;
        let response_bytes = self.histogram()?;
        let clients = self.sketch()?;
        let first_seen_us = self.signed("first seen")?;
        let last_seen_us = first_seen_us.wrapping_add(self.signed("last seen")?);
        Ok(Stats {
            calls,
            latency_us,
            request_bytes,
            response_bytes,
            clients,
            first_seen_us,
            last_seen_us,
        })
    }

    pub(crate) fn minute(&mut self) -> Result<MinuteCounts, DecodeError> {
        Ok(MinuteCounts {
            calls: self.calls()?,
            duration_us_sum: self.number("duration")?,
            request_bytes_sum: self.number("request bytes")?,
            response_bytes_sum: self.number("response bytes")?,
        })
    }
}
