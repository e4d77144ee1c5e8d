//! Segment files in the spool's directory.
//!
//! A segment is a run of records, appended to until it is long enough, then only read. It is deleted as a whole when none
//! of its records is wanted any more. The file `done` remembers before which place nothing is wanted; it is written now and
//! then and may lag, which costs nothing but sending some batches again.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use xxhash_rust::xxh3::xxh3_64;

use super::record::{self, BATCH_BYTES_MAX, Damage, Found, HEADER_BYTES};
use super::{SEGMENT_BYTES_MAX, SpoolError, SyncPolicy};

/// Longest file that is taken for a segment: the last record may reach beyond the limit that ends a segment.
const FILE_BYTES_MAX: u64 = SEGMENT_BYTES_MAX + (BATCH_BYTES_MAX + HEADER_BYTES) as u64;

/// Numbers beyond are no segment of ours, so that counting on from the highest cannot overflow.
const SEGMENT_ID_MAX: u64 = u64::MAX / 2;

const SUFFIX: &str = ".spool";

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
    /// With the header.
    pub(super) bytes: usize,
}

#[derive(Debug)]
struct Segment {
    bytes: u64,
    /// Records that are still wanted.
    wanted: usize,
}

#[derive(Debug)]
struct Active {
    id: u64,
    file: File,
}

/// What opening found in the directory.
pub(super) struct Recovery {
    /// In the order of writing.
    pub(super) records: Vec<(Place, record::Contents)>,
    pub(super) damages: Vec<Damage>,
}

#[derive(Debug)]
pub(super) struct Disk {
    dir: PathBuf,
    sync: SyncPolicy,
    segment_bytes: u64,
    segments: BTreeMap<u64, Segment>,
    active: Option<Active>,
    next_id: u64,
    sync_failures: Arc<AtomicU64>,
    /// Held as long as this lives.
    _lock: Flock<File>,
}

impl Disk {
    /// Takes the directory, makes it where it does not exist (for the agent's user alone), and reads what is in it.
    pub(super) fn open(
        dir: &Path,
        segment_bytes: u64,
        sync: SyncPolicy,
    ) -> Result<(Self, Recovery), SpoolError> {
        make_dir(dir)?;
        let lock = lock(dir)?;
        let ids = segment_ids(dir)?;
        let done = read_done(dir).unwrap_or((0, 0));
        let next_id = ids.last().copied().unwrap_or(0).max(done.0) + 1;
        let mut disk = Self {
            dir: dir.to_owned(),
            sync,
            segment_bytes,
            segments: BTreeMap::new(),
            active: None,
            next_id,
            sync_failures: Arc::default(),
            _lock: lock,
        };
        let mut recovery = Recovery {
            records: Vec::new(),
            damages: Vec::new(),
        };
        for id in ids {
            disk.recover(id, done, &mut recovery)?;
        }
        Ok((disk, recovery))
    }

    fn recover(&mut self, id: u64, done: (u64, u64), recovery: &mut Recovery) -> Result<(), SpoolError> {
        let path = self.path(id);
        let (bytes, beyond) = read_bounded(&path).map_err(SpoolError::io("read", &path))?;
        let (records, damages) = record::scan(&bytes);
        let wanted = |found: &Found| (id, found.offset as u64) >= done;
        let before = recovery.records.len();
        recovery
            .records
            .extend(records.iter().filter(|found| wanted(found)).map(|found| {
                let place = Place {
                    segment: id,
                    offset: found.offset as u64,
                    bytes: found.bytes,
                };
                (place, found.contents)
            }));
        let wanted = recovery.records.len() - before;
        // What is damaged in a segment that was delivered in full is no loss.
        if wanted > 0 || id >= done.0 {
            recovery.damages.extend(damages);
        }
        self.segments.insert(
            id,
            Segment {
                bytes: bytes.len() as u64 + beyond,
                wanted,
            },
        );
        if wanted == 0 {
            self.delete(id);
        }
        Ok(())
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    /// The segment that was begun first.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.segments.first_key_value().map(|(&id, _)| id)
    }

    pub(super) fn sync_failures(&self) -> u64 {
        self.sync_failures.load(Ordering::Relaxed)
    }

    /// Appends a whole record. After an error nothing of it remains, or what remains is damage that the next scan cuts.
    pub(super) fn write(&mut self, record: &[u8]) -> Result<Place, SpoolError> {
        if let Some(active) = &self.active
            && self
                .segments
                .get(&active.id)
                .is_none_or(|segment| segment.bytes >= self.segment_bytes)
        {
            self.seal();
        }
        let active = match self.active.take() {
            Some(active) => self.active.insert(active),
            None => {
                let active = self.begin()?;
                self.active.insert(active)
            }
        };
        let id = active.id;
        let segment = self.segments.entry(id).or_insert(Segment { bytes: 0, wanted: 0 });
        let offset = segment.bytes;
        let written = active.file.write_all(record).and_then(|()| match self.sync {
            SyncPolicy::Batch => active.file.sync_data(),
            SyncPolicy::Segment | SyncPolicy::Never => Ok(()),
        });
        if let Err(error) = written {
            let cut = active
                .file
                .set_len(offset)
                .and_then(|()| active.file.seek(SeekFrom::Start(offset)));
            if cut.is_err() {
                self.active = None;
            }
            let path = self.path(id);
            return Err(SpoolError::io("write to", &path)(error));
        }
        segment.bytes += record.len() as u64;
        segment.wanted += 1;
        Ok(Place {
            segment: id,
            offset,
            bytes: record.len(),
        })
    }

    fn begin(&mut self) -> Result<Active, SpoolError> {
        // It may have been removed while in use.
        make_dir(&self.dir)?;
        let id = self.next_id;
        let path = self.path(id);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(SpoolError::io("create", &path))?;
        self.next_id += 1;
        self.segments.insert(id, Segment { bytes: 0, wanted: 0 });
        Ok(Active { id, file })
    }

    /// Ends the segment that is being written. Flushing it may take the disk long, so another thread does.
    pub(super) fn seal(&mut self) {
        let Some(Active { id, file }) = self.active.take() else {
            return;
        };
        if self.sync == SyncPolicy::Segment {
            let failures = Arc::clone(&self.sync_failures);
            let flush = move || {
                if file.sync_data().is_err() {
                    failures.fetch_add(1, Ordering::Relaxed);
                }
            };
            if std::thread::Builder::new()
                .name("spool-sync".to_owned())
                .spawn(flush)
                .is_err()
            {
                self.sync_failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        if self.segments.get(&id).is_some_and(|segment| segment.wanted == 0) {
            self.delete(id);
        }
    }

    /// The record's bytes, or `None` when they are not what was written or are gone.
    pub(super) fn read(&self, place: Place) -> Result<Option<Vec<u8>>, SpoolError> {
        let path = self.path(place.segment);
        let mut record = vec![0; place.bytes];
        let read = File::open(&path).and_then(|file| file.read_exact_at(&mut record, place.offset));
        match read {
            Ok(()) => Ok(Some(record)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => Ok(None),
            Err(error) => Err(SpoolError::io("read", &path)(error)),
        }
    }

    /// A record is no longer wanted; the last one takes its file with it.
    pub(super) fn release(&mut self, place: Place) {
        let Some(segment) = self.segments.get_mut(&place.segment) else {
            return;
        };
        segment.wanted = segment.wanted.saturating_sub(1);
        if segment.wanted == 0
            && self
                .active
                .as_ref()
                .is_none_or(|active| active.id != place.segment)
        {
            self.delete(place.segment);
        }
    }

    /// Deletes a segment with all that is in it.
    pub(super) fn delete(&mut self, id: u64) {
        if self.active.as_ref().is_some_and(|active| active.id == id) {
            self.active = None;
        }
        self.segments.remove(&id);
        let path = self.path(id);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != ErrorKind::NotFound
        {
            // Found again, and counted, at the next start; until then it takes space only.
            tracing::warn!(path = %path.display(), %error, "cannot delete a segment of the spool");
        }
    }

    /// Remembers that everything before `place` is delivered; before all that will be written, when `None`.
    pub(super) fn remember_done(&self, place: Option<Place>) -> io::Result<()> {
        let (segment, offset) = match (place, &self.active) {
            (Some(place), _) => (place.segment, place.offset),
            (None, Some(active)) => (
                active.id,
                self.segments.get(&active.id).map_or(0, |segment| segment.bytes),
            ),
            (None, None) => (self.next_id, 0),
        };
        let text = format!("{segment} {offset}");
        let new = self.dir.join("done.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        writeln!(file, "{text} {:016x}", xxh3_64(text.as_bytes()))?;
        fs::rename(&new, self.dir.join("done"))
    }

    fn path(&self, id: u64) -> PathBuf {
        self.dir.join(format!("{id:016x}{SUFFIX}"))
    }
}

fn make_dir(dir: &Path) -> Result<(), SpoolError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(SpoolError::io("create", dir))
}

/// One agent per directory: a lock that the kernel gives up with the process.
fn lock(dir: &Path) -> Result<Flock<File>, SpoolError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(SpoolError::io("open", &path))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            // Only for the message that another agent prints.
            let _ = lock
                .set_len(0)
                .and_then(|()| write!(lock, "{}", std::process::id()));
            Ok(lock)
        }
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            let _ = (&mut file).take(20).read_to_string(&mut pid);
            let holder = pid
                .trim()
                .parse::<u32>()
                .map(|pid| format!(" (process {pid})"))
                .unwrap_or_default();
            Err(SpoolError::Locked {
                dir: dir.to_owned(),
                holder,
            })
        }
        Err((_, error)) => Err(SpoolError::io("lock", &path)(error.into())),
    }
}

fn segment_ids(dir: &Path) -> Result<Vec<u64>, SpoolError> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(dir).map_err(SpoolError::io("list", dir))? {
        let entry = entry.map_err(SpoolError::io("list", dir))?;
        let name = entry.file_name();
        let id = name
            .to_str()
            .and_then(|name| name.strip_suffix(SUFFIX))
            .filter(|hex| hex.len() == 16);
        let id = id
            .and_then(|hex| u64::from_str_radix(hex, 16).ok())
            .filter(|&id| id <= SEGMENT_ID_MAX);
        if let Some(id) = id
            && entry.file_type().is_ok_and(|kind| kind.is_file())
        {
            ids.push(id);
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

/// The file's bytes up to the longest a segment can be, and how many there are beyond.
fn read_bounded(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    let beyond = length.saturating_sub(bytes.len() as u64);
    Ok((bytes, beyond))
}

/// `None` when never written or damaged: then everything is sent again.
fn read_done(dir: &Path) -> Option<(u64, u64)> {
    let mut text = String::new();
    File::open(dir.join("done"))
        .ok()?
        .take(128)
        .read_to_string(&mut text)
        .ok()?;
    let (place, hash) = text.trim_end().rsplit_once(' ')?;
    if u64::from_str_radix(hash, 16).ok()? != xxh3_64(place.as_bytes()) {
        return None;
    }
    let (segment, offset) = place.split_once(' ')?;
    let segment = segment
        .parse()
        .ok()
        .filter(|&segment: &u64| segment <= SEGMENT_ID_MAX)?;
    Some((segment, offset.parse().ok()?))
}
