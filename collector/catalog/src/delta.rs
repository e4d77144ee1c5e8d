//! What one node learnt about one API since it last said so.

use crate::codec::{DecodeError, Reader, VERSION, Writer};
use crate::segment::LeafPath;
use crate::stats::{Merge, MinuteCounts, Stats};
use crate::{ApiKey, LeafId, Method};

/// Most records in a delta that is decoded, far above what a node puts into one.
pub const DELTA_RECORDS_MAX: usize = 100_000;

/// Whether a call shows that its endpoint exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Standing {
    /// Answered other than 4xx.
    Served,
    /// Answered 4xx or not at all: perhaps a scan.
    Missed,
}

impl Standing {
    pub(crate) const ALL: [Standing; 2] = [Standing::Served, Standing::Missed];

    pub(crate) fn of(status: Option<u16>) -> Self {
        match status.unwrap_or(0) / 100 {
            1..=3 | 5 => Standing::Served,
            _ => Standing::Missed,
        }
    }
}

/// Counters of one leaf, method and standing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) stats: Stats,
    /// Calls that were counted in the generalised leaf before this leaf's words had repeated often enough.
    pub(crate) withheld: u64,
}

impl Counts {
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.stats(&self.stats);
        writer.number(self.withheld);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            stats: reader.stats()?,
            withheld: reader.number("withheld calls")?,
        })
    }
}

impl Merge for Counts {
    fn merge(&mut self, other: &Self) {
        self.stats.merge(&other.stats);
        self.withheld = self.withheld.saturating_add(other.withheld);
    }
}

/// Increments of one leaf, method and standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeltaRecord {
    pub(crate) path: LeafPath,
    pub(crate) id: LeafId,
    pub(crate) method: Method,
    pub(crate) standing: Standing,
    pub(crate) counts: Counts,
    /// By minute since the epoch, ascending.
    pub(crate) minutes: Vec<(i64, MinuteCounts)>,
}

/// Increments of one API, self-contained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiDelta {
    /// The API.
    pub api: ApiKey,
    /// Sorted by path, method and standing; each once.
    pub(crate) records: Vec<DeltaRecord>,
}

/// Counters of one leaf and method in one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minute {
    /// The leaf.
    pub leaf: LeafId,
    /// The method.
    pub method: Method,
    /// Start of the minute, Unix epoch microseconds.
    pub minute_us: i64,
    /// The increments.
    pub counts: MinuteCounts,
}

/// Microseconds in a minute.
pub const MINUTE_US: i64 = 60_000_000;

impl ApiDelta {
    /// Number of records: (leaf, method, served or missed).
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Calls of all records.
    pub fn calls(&self) -> u64 {
        self.records.iter().fold(0, |sum, record| {
            sum.saturating_add(record.counts.stats.calls.total())
        })
    }

    /// The leaves in it and their renderings; a leaf comes once for each of its records.
    pub fn leaves(&self) -> impl Iterator<Item = (LeafId, &LeafPath)> {
        self.records.iter().map(|record| (record.id, &record.path))
    }

    /// Counters by leaf, method and minute. One such key can come twice (served and missed); the rows add up.
    pub fn minutes(&self) -> impl Iterator<Item = Minute> + '_ {
        self.records.iter().flat_map(|record| {
            record.minutes.iter().map(|(minute, counts)| Minute {
                leaf: record.id,
                method: record.method,
                minute_us: minute.saturating_mul(MINUTE_US),
                counts: *counts,
            })
        })
    }

    /// Bytes for [`Self::decode`]; equal deltas have equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer(Vec::with_capacity(64 + self.records.len() * 128));
        writer.byte(VERSION);
        writer.api(&self.api);
        writer.number(self.records.len() as u64);
        for record in &self.records {
            writer.path(&record.path);
            writer.byte(record.method.code() * 2 + record.standing as u8);
            record.counts.write(&mut writer);
            writer.number(record.minutes.len() as u64);
            let mut previous = 0;
            for (minute, counts) in &record.minutes {
                writer.signed(minute.wrapping_sub(previous));
                writer.minute(counts);
                previous = *minute;
            }
        }
        writer.0
    }

    /// From bytes of unknown origin.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes)?;
        let api = reader.api()?;
        let count = reader.at_most(DELTA_RECORDS_MAX, "record count")?;
        let mut records: Vec<DeltaRecord> = Vec::new();
        for _ in 0..count {
            let path = reader.path()?;
            let code = reader.byte("method")?;
            let method = Method::from_code(code / 2);
            let standing = if code % 2 == 0 {
                Standing::Served
            } else {
                Standing::Missed
            };
            let counts = Counts::read(&mut reader)?;
            let mut minutes = Vec::new();
            let mut previous = 0i64;
            for _ in 0..reader.at_most(bytes.len(), "minute count")? {
                let minute = previous.wrapping_add(reader.signed("minute")?);
                if !minutes.is_empty() && minute <= previous {
                    return Err(reader.invalid("minute"));
                }
                minutes.push((minute, reader.minute()?));
                previous = minute;
            }
            let id = path.id();
            records.push(DeltaRecord {
                path,
                id,
                method,
                standing,
                counts,
                minutes,
            });
        }
        reader.finish()?;
        Ok(Self { api, records })
    }
}
