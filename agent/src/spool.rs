//! Batches on disk until the collector has acknowledged them.
//!
//! Invariants: oldest first, in the order of appending, batches of earlier runs before those of this one; never more bytes
//! or batches than allowed, the oldest giving way; whatever is lost is counted by reason with what it held. Nothing that
//! the directory contains or the disk does stops the agent: while it cannot be written, batches wait in a bounded memory
//! buffer, and move to the disk as soon as it can be written again.
//!
//! What a crash costs: nothing when only the agent dies (the kernel has the bytes). At a loss of power, with the default
//! [`SyncPolicy::Segment`], at most what was appended since the last full segment.

mod counters;
mod disk;
mod error;
mod identity;
mod record;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prost::Message;
use wire::v1::Batch;

pub use counters::{DropReason, Lost, SpoolCounters};
pub use error::SpoolError;
pub use identity::{Identity, IdentityError};
pub use record::{BATCH_BYTES_MAX, Contents};

use disk::{Disk, Place};

/// Largest [`SpoolOptions::segment_bytes`]; a larger value is taken as this.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// Segments that a full spool is divided into at least: dropping the oldest one loses no larger part than this.
const SEGMENTS_MIN: u64 = 4;

/// How many batches may be removed before the place is remembered on disk.
const REMEMBER_EVERY: usize = 64;

/// First position of batches appended by this run; those of earlier runs are counted downwards from it.
const FIRST_POSITION: u64 = 1 << 40;

/// When bytes are forced to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Never; the kernel writes when it pleases (usually within 30 s).
    Never,
    /// Each segment once it is full, in the background.
    #[default]
    Segment,
    /// Each batch before `append` returns.
    Batch,
}

/// Where and how much.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// Directory, made when missing; for one agent alone.
    pub dir: PathBuf,
    /// Limit of all segment files together, bytes.
    pub max_bytes: u64,
    /// Limit of batches; each takes about 100 bytes of memory.
    pub max_batches: usize,
    /// When a new file is begun. At most [`SEGMENT_BYTES_MAX`] and a quarter of `max_bytes`.
    pub segment_bytes: u64,
    /// Limit of the buffer that is used while the disk cannot be written, bytes.
    pub memory_bytes: usize,
    /// When bytes are forced to the disk.
    pub sync: SyncPolicy,
}

impl SpoolOptions {
    /// 256 MiB or 100,000 batches in segments of 8 MiB; 8 MiB of memory without a disk.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            max_bytes: 256 << 20,
            max_batches: 100_000,
            segment_bytes: 8 << 20,
            memory_bytes: 8 << 20,
            sync: SyncPolicy::default(),
        }
    }
}

/// Names a batch within this spool; ascending in the order of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

/// A batch to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// For [`Spool::remove`].
    pub position: Position,
    /// As it was appended.
    pub batch: Batch,
    /// In the spool.
    pub bytes: usize,
}

/// What waits in the spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Batches.
    pub batches: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Batches of those that are in memory only.
    pub in_memory: usize,
    /// Bytes of all segment files, delivered batches included whose file is still in use.
    pub disk_bytes: u64,
}

/// Why a batch leaves the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The collector has it.
    Acknowledged,
    /// The collector refused it for good.
    Rejected,
}

#[derive(Debug)]
enum Store {
    Disk(Place),
    /// The whole record.
    Memory(Vec<u8>),
}

#[derive(Debug)]
struct Entry {
    store: Store,
    contents: Contents,
}

impl Entry {
    fn bytes(&self) -> usize {
        match &self.store {
            Store::Disk(place) => place.bytes,
            Store::Memory(record) => record.len(),
        }
    }
}

/// See the module's description.
#[derive(Debug)]
pub struct Spool {
    options: SpoolOptions,
    disk: Option<Disk>,
    entries: BTreeMap<u64, Entry>,
    /// Which entries are in memory: always the newest ones.
    in_memory: BTreeSet<u64>,
    memory_bytes: usize,
    pending_bytes: u64,
    next_position: u64,
    removed_since_remembered: usize,
    counters: SpoolCounters,
    trouble: Option<SpoolError>,
}

impl Spool {
    /// Opens the directory and finds what earlier runs left. A directory that cannot be used now (missing rights, full,
    /// read-only) is no error: it is logged, shown by [`Self::trouble`], and tried again at every append.
    ///
    /// # Errors
    /// [`SpoolError::Locked`] when another agent has the directory.
    pub fn open(options: SpoolOptions) -> Result<Self, SpoolError> {
        let segment_bytes = options
            .segment_bytes
            .min(SEGMENT_BYTES_MAX)
            .min(options.max_bytes / SEGMENTS_MIN);
        let mut spool = Self {
            options: SpoolOptions {
                segment_bytes,
                ..options
            },
            disk: None,
            entries: BTreeMap::new(),
            in_memory: BTreeSet::new(),
            memory_bytes: 0,
            pending_bytes: 0,
            next_position: FIRST_POSITION,
            removed_since_remembered: 0,
            counters: SpoolCounters::default(),
            trouble: None,
        };
        match spool.open_disk() {
            Ok(()) => {}
            Err(error @ SpoolError::Locked { .. }) => return Err(error),
            Err(error) => spool.failed(error),
        }
        Ok(spool)
    }

    fn open_disk(&mut self) -> Result<(), SpoolError> {
        let SpoolOptions {
            dir,
            segment_bytes,
            sync,
            ..
        } = &self.options;
        let (disk, recovery) = Disk::open(dir, *segment_bytes, *sync)?;
        self.disk = Some(disk);
        if !recovery.damages.is_empty() {
            let bytes: usize = recovery.damages.iter().map(|damage| damage.bytes).sum();
            let places = recovery.damages.len();
            tracing::warn!(places, bytes, dir = %dir.display(), "the spool is damaged; all intact batches in it are kept");
        }
        for damage in recovery.damages {
            let reason = if damage.torn {
                DropReason::TornTail
            } else {
                DropReason::Corrupt
            };
            self.counters.drop_batch(reason, damage.contents, damage.bytes);
        }
        self.counters.recovered = recovery.records.len() as u64;
        let first = FIRST_POSITION - recovery.records.len() as u64;
        for (position, (place, contents)) in (first..).zip(recovery.records) {
            self.pending_bytes += place.bytes as u64;
            self.entries.insert(
                position,
                Entry {
                    store: Store::Disk(place),
                    contents,
                },
            );
        }
        self.make_room(0);
        while self.entries.len() > self.options.max_batches {
            self.drop_oldest(DropReason::SpoolFull);
        }
        Ok(())
    }

    /// Keeps a batch until it is removed. Never fails: what cannot be kept is counted.
    pub fn append(&mut self, batch: &Batch, contents: Contents) {
        self.counters.appended += 1;
        let body = batch.encode_to_vec();
        let record = match record::encode(&body, contents) {
            Some(record) if record.len() as u64 <= self.options.max_bytes => record,
            _ => {
                self.counters
                    .drop_batch(DropReason::TooLarge, contents, body.len());
                return;
            }
        };
        while self.entries.len() >= self.options.max_batches.max(1) {
            self.drop_oldest(DropReason::SpoolFull);
        }
        let position = self.next_position;
        self.next_position += 1;
        self.pending_bytes += record.len() as u64;
        self.memory_bytes += record.len();
        self.in_memory.insert(position);
        self.entries.insert(
            position,
            Entry {
                store: Store::Memory(record),
                contents,
            },
        );
        match self.move_to_disk() {
            Ok(()) => self.recovered(),
            Err(error) => {
                self.counters.write_failures += 1;
                self.failed(error);
            }
        }
        while self.memory_bytes > self.options.memory_bytes {
            let Some(&oldest) = self.in_memory.first() else {
                break;
            };
            self.take(oldest, Some(DropReason::MemoryFull));
        }
    }

    /// Writes what waits in memory, oldest first, as far as the disk takes it.
    fn move_to_disk(&mut self) -> Result<(), SpoolError> {
        if self.disk.is_none() {
            self.open_disk()?;
        }
        while let Some(&position) = self.in_memory.first() {
            let Some(bytes) = self.entries.get(&position).map(Entry::bytes) else {
                self.in_memory.remove(&position);
                continue;
            };
            self.make_room(bytes as u64);
            let (Some(entry), Some(disk)) = (self.entries.get_mut(&position), self.disk.as_mut()) else {
                break;
            };
            if let Store::Memory(record) = &entry.store {
                entry.store = Store::Disk(disk.write(record)?);
                self.memory_bytes -= bytes;
            }
            self.in_memory.remove(&position);
        }
        Ok(())
    }

    /// Deletes the oldest segments until `bytes` more fit.
    fn make_room(&mut self, bytes: u64) {
        while let Some(disk) = self.disk.as_mut()
            && disk.bytes() + bytes > self.options.max_bytes
            && let Some(segment) = disk.oldest()
        {
            disk.delete(segment);
            while let Some((
                &position,
                Entry {
                    store: Store::Disk(place),
                    ..
                },
            )) = self.entries.first_key_value()
                && place.segment <= segment
            {
                self.take(position, Some(DropReason::SpoolFull));
            }
        }
    }

    fn drop_oldest(&mut self, reason: DropReason) {
        if let Some((&position, _)) = self.entries.first_key_value() {
            self.take(position, Some(reason));
        }
    }

    /// Takes an entry out, counting it where there is a reason to.
    fn take(&mut self, position: u64, reason: Option<DropReason>) -> bool {
        let Some(entry) = self.entries.remove(&position) else {
            return false;
        };
        let bytes = entry.bytes();
        self.pending_bytes -= bytes as u64;
        if let Some(reason) = reason {
            self.counters.drop_batch(reason, entry.contents, bytes);
        }
        match entry.store {
            Store::Disk(place) => {
                if let Some(disk) = self.disk.as_mut() {
                    disk.release(place);
                }
            }
            Store::Memory(_) => {
                self.in_memory.remove(&position);
                self.memory_bytes -= bytes;
            }
        }
        true
    }

    /// The oldest batch that is not in `skip` (those already on their way), if any. Batches that turn out to be damaged
    /// are counted and passed over.
    ///
    /// # Errors
    /// When the disk cannot be read at the moment; nothing is lost by that.
    pub fn next_pending(&mut self, skip: &BTreeSet<Position>) -> Result<Option<Pending>, SpoolError> {
        loop {
            let next = self
                .entries
                .iter()
                .find(|(position, _)| !skip.contains(&Position(**position)));
            let Some((&position, entry)) = next else {
                return Ok(None);
            };
            let bytes = entry.bytes();
            let read = match (&entry.store, &self.disk) {
                (Store::Disk(place), Some(disk)) => disk.read(*place)?,
                (Store::Disk(_), None) => None,
                (Store::Memory(record), _) => Some(record.clone()),
            };
            match read.as_deref().and_then(record::body).map(Batch::decode) {
                Some(Ok(batch)) => {
                    return Ok(Some(Pending {
                        position: Position(position),
                        batch,
                        bytes,
                    }));
                }
                _ => {
                    self.take(position, Some(DropReason::Corrupt));
                    tracing::warn!(bytes, "a batch in the spool was damaged after it was written");
                }
            }
        }
    }

    /// A batch need not be sent again. `false` when the spool no longer had it, having dropped it to stay within its
    /// limits (it is counted as dropped then, although it may have arrived).
    pub fn remove(&mut self, position: Position, why: Removal) -> bool {
        let reason = match why {
            Removal::Acknowledged => None,
            Removal::Rejected => Some(DropReason::Rejected),
        };
        let had = self.take(position.0, reason);
        if had && why == Removal::Acknowledged {
            self.counters.acknowledged += 1;
        }
        self.removed_since_remembered += 1;
        if self.removed_since_remembered >= REMEMBER_EVERY {
            self.remember_done();
        }
        had
    }

    /// Writes down what is delivered, so that another run does not send it again. Happens now and then by itself.
    pub fn remember_done(&mut self) {
        self.removed_since_remembered = 0;
        let first = self.entries.values().find_map(|entry| match entry.store {
            Store::Disk(place) => Some(place),
            Store::Memory(_) => None,
        });
        if let Some(Err(error)) = self.disk.as_ref().map(|disk| disk.remember_done(first)) {
            tracing::debug!(%error, "cannot remember which batches are delivered; some will be sent again");
        }
    }

    /// Something was lost before it became a batch.
    pub(crate) fn count_lost(&mut self, reason: DropReason, contents: Contents, bytes: usize) {
        self.counters.drop_batch(reason, contents, bytes);
    }

    /// What waits.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        Backlog {
            batches: self.entries.len(),
            bytes: self.pending_bytes,
            in_memory: self.in_memory.len(),
            disk_bytes: self.disk.as_ref().map_or(0, Disk::bytes),
        }
    }

    /// Sums since opening.
    #[must_use]
    pub fn counters(&self) -> SpoolCounters {
        let mut counters = self.counters.clone();
        counters.sync_failures = self.disk.as_ref().map_or(0, Disk::sync_failures);
        counters
    }

    /// Why batches wait in memory only, while they do.
    #[must_use]
    pub fn trouble(&self) -> Option<&SpoolError> {
        self.trouble.as_ref()
    }

    fn failed(&mut self, error: SpoolError) {
        if !self
            .trouble
            .as_ref()
            .is_some_and(|known| known.same_cause(&error))
        {
            let memory_bytes = self.options.memory_bytes;
            tracing::error!(
                "{error}. Batches wait in memory, at most {memory_bytes} bytes, until the spool can be written"
            );
        }
        self.trouble = Some(error);
    }

    fn recovered(&mut self) {
        if self.trouble.take().is_some() {
            tracing::info!(dir = %self.options.dir.display(), "the spool can be written again");
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.remember_done();
    }
}

/// The spool, shared by those who fill it and the exporter.
#[derive(Clone, Debug)]
pub struct SharedSpool(Arc<Mutex<Spool>>);

impl SharedSpool {
    /// Shares it.
    #[must_use]
    pub fn new(spool: Spool) -> Self {
        Self(Arc::new(Mutex::new(spool)))
    }

    /// Held for one operation; never across an await.
    pub fn lock(&self) -> MutexGuard<'_, Spool> {
        // Every operation leaves the spool consistent at each step that could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
