//! Puts lines into order in bounded memory: sorted runs go to files, and are merged at the end.
//!
//! Exchanges end in another order than they begin. What fits into one run never sees a file.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Lines kept in memory, bytes. Beyond, they are written as a sorted run.
pub const RUN_BYTES: usize = 8 << 20;
/// Runs that are merged at a time.
const FAN_IN: usize = 128;
/// Buffer of each run while it is written or merged.
const BUFFER_BYTES: usize = 64 << 10;
/// Longest line that is read back; those written are far shorter.
const LINE_BYTES_MAX: u32 = 256 << 20;

/// Place of a line among all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Index of the file that it begins in.
    pub file: u32,
    /// Within the file: index of the entry, or time of the first byte.
    pub first: u64,
    /// Then: connection.
    pub second: u64,
    /// Then: index on the connection.
    pub third: u64,
}

/// A line that is ready but for what is known only at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    key: Key,
    /// What is given back with it.
    tag: u32,
    at: usize,
    length: u32,
}

/// See the module's description.
#[derive(Debug)]
pub struct Spill {
    dir: PathBuf,
    run_bytes: usize,
    lines: Vec<u8>,
    slots: Vec<Slot>,
    /// Runs that came from as many merges as their level, oldest first.
    levels: Vec<Vec<PathBuf>>,
    files: u64,
}

impl Spill {
    /// Writes its runs into `dir`.
    #[must_use]
    pub fn new(dir: &Path, run_bytes: usize) -> Self {
        Self {
            dir: dir.to_owned(),
            run_bytes,
            lines: Vec::new(),
            slots: Vec::new(),
            levels: Vec::new(),
            files: 0,
        }
    }

    /// Adds a line, which `write` appends to the buffer.
    ///
    /// # Errors
    /// A run cannot be written.
    pub fn add(&mut self, key: Key, tag: u32, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let at = self.lines.len();
        write(&mut self.lines);
        let length = u32::try_from(self.lines.len() - at)
            .ok()
            .filter(|length| *length <= LINE_BYTES_MAX)
            .ok_or_else(|| io::Error::other("a line of more than 256 MiB"))?;
        self.slots.push(Slot { key, tag, at, length });
        if self.lines.len() + self.slots.len() * size_of::<Slot>() >= self.run_bytes {
            self.write_run()?;
        }
        Ok(())
    }

    /// Gives all lines in order. Where keys are the same, in the order they came.
    ///
    /// # Errors
    /// A run cannot be written or read; or `each` failed.
    pub fn finish(mut self, mut each: impl FnMut(Key, u32, &[u8]) -> io::Result<()>) -> io::Result<()> {
        if self.levels.is_empty() {
            self.sort();
            for slot in &self.slots {
                each(slot.key, slot.tag, text(&self.lines, slot))?;
            }
            return Ok(());
        }
        self.write_run()?;
        // Higher levels hold what came earlier.
        let runs: Vec<PathBuf> = self.levels.into_iter().rev().flatten().collect();
        (self.lines, self.slots) = (Vec::new(), Vec::new());
        merge(&runs, each)
    }

    fn sort(&mut self) {
        if !self.slots.is_sorted_by_key(|slot| slot.key) {
            self.slots.sort_by_key(|slot| slot.key);
        }
    }

    fn write_run(&mut self) -> io::Result<()> {
        if self.slots.is_empty() {
            return Ok(());
        }
        self.sort();
        let path = self.next_path();
        let mut run = RunWriter::create(&path)?;
        for slot in &self.slots {
            run.write(slot.key, slot.tag, text(&self.lines, slot))?;
        }
        run.finish()?;
        self.lines.clear();
        self.slots.clear();
        self.keep(path, 0)
    }

    /// Adds a run to a level; a level that is full becomes one run of the next.
    fn keep(&mut self, path: PathBuf, level: usize) -> io::Result<()> {
        let (mut path, mut level) = (path, level);
        loop {
            if self.levels.len() <= level {
                self.levels.push(Vec::new());
            }
            let Some(runs) = self.levels.get_mut(level) else {
                return Ok(());
            };
            runs.push(path);
            if runs.len() < FAN_IN {
                return Ok(());
            }
            let full = std::mem::take(runs);
            path = self.next_path();
            let mut run = RunWriter::create(&path)?;
            merge(&full, |key, tag, line| run.write(key, tag, line))?;
            run.finish()?;
            for done in &full {
                std::fs::remove_file(done)?;
            }
            level += 1;
        }
    }

    fn next_path(&mut self) -> PathBuf {
        self.files += 1;
        self.dir.join(format!("run-{}", self.files))
    }
}

fn text<'a>(lines: &'a [u8], slot: &Slot) -> &'a [u8] {
    lines
        .get(slot.at..slot.at + slot.length as usize)
        .unwrap_or_default()
}

/// Gives the lines of several runs in order; of the same key those of the earlier run first.
fn merge(runs: &[PathBuf], mut each: impl FnMut(Key, u32, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut readers = Vec::with_capacity(runs.len());
    let mut heap = BinaryHeap::with_capacity(runs.len());
    for (index, path) in runs.iter().enumerate() {
        let mut reader = RunReader::open(path)?;
        if reader.next()? {
            heap.push(Reverse((reader.key, index)));
        }
        readers.push(reader);
    }
    while let Some(mut least) = heap.peek_mut() {
        let Some(reader) = readers.get_mut(least.0.1) else {
            return Ok(());
        };
        each(reader.key, reader.tag, &reader.line)?;
        if reader.next()? {
            least.0.0 = reader.key;
        } else {
            PeekMut::pop(least);
        }
    }
    Ok(())
}

/// Bytes before each line of a run: key, tag, length.
const HEAD_BYTES: usize = 4 + 3 * 8 + 4 + 4;

struct RunWriter(BufWriter<File>);

impl RunWriter {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(BufWriter::with_capacity(
            BUFFER_BYTES,
            File::create_new(path)?,
        )))
    }

    fn write(&mut self, key: Key, tag: u32, line: &[u8]) -> io::Result<()> {
        let mut head = [0u8; HEAD_BYTES];
        let length = u32::try_from(line.len()).map_err(io::Error::other)?;
        let fields = [
            &key.file.to_le_bytes()[..],
            &key.first.to_le_bytes(),
            &key.second.to_le_bytes(),
            &key.third.to_le_bytes(),
            &tag.to_le_bytes(),
            &length.to_le_bytes(),
        ];
        for (to, from) in head.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        self.0.write_all(&head)?;
        self.0.write_all(line)
    }

    fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }
}

struct RunReader {
    file: BufReader<File>,
    key: Key,
    tag: u32,
    line: Vec<u8>,
}

impl RunReader {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufReader::with_capacity(BUFFER_BYTES, File::open(path)?),
            key: Key::default(),
            tag: 0,
            line: Vec::new(),
        })
    }

    /// Reads the next line; false at the end.
    fn next(&mut self) -> io::Result<bool> {
        let mut head = [0u8; HEAD_BYTES];
        let (first, rest) = head.split_at_mut(1);
        match self.file.read_exact(first) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        self.file.read_exact(rest)?;
        let mut head = head.as_slice();
        self.key = Key {
            file: u32::from_le_bytes(next(&mut head)),
            first: u64::from_le_bytes(next(&mut head)),
            second: u64::from_le_bytes(next(&mut head)),
            third: u64::from_le_bytes(next(&mut head)),
        };
        self.tag = u32::from_le_bytes(next(&mut head));
        let length = u32::from_le_bytes(next(&mut head));
        if length > LINE_BYTES_MAX {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "a temporary file was changed",
            ));
        }
        self.line.resize(length as usize, 0);
        self.file.read_exact(&mut self.line)?;
        Ok(true)
    }
}

/// The next bytes; there are as many.
fn next<const N: usize>(from: &mut &[u8]) -> [u8; N] {
    let (bytes, rest) = from.split_first_chunk().unwrap_or((&[0; N], &[]));
    *from = rest;
    *bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(file: u32, first: u64) -> Key {
        Key {
            file,
            first,
            ..Key::default()
        }
    }

    fn sorted(keys: &[(u32, u64)], run_bytes: usize) -> (Vec<(Key, u32, String)>, u64) {
        let dir = tempfile::tempdir().unwrap();
        let mut spill = Spill::new(dir.path(), run_bytes);
        for (at, (file, first)) in keys.iter().enumerate() {
            let write = |out: &mut Vec<u8>| out.extend_from_slice(format!("line {at}").as_bytes());
            spill.add(key(*file, *first), at as u32, write).unwrap();
        }
        let files = spill.files;
        let mut out = Vec::new();
        let each = |key, tag, line: &[u8]| {
            out.push((key, tag, String::from_utf8(line.to_vec()).unwrap()));
            Ok(())
        };
        spill.finish(each).unwrap();
        (out, files)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn runs_make_no_difference(keys in prop::collection::vec((0u32..3, 0u64..20), 0..200)) {
            let (in_memory, files) = sorted(&keys, usize::MAX);
            prop_assert_eq!(files, 0);
            let mut expect: Vec<(u32, u64, usize)> = keys.iter().enumerate().map(|(at, (file, first))| (*file, *first, at)).collect();
            expect.sort();
            let found: Vec<(u32, u64, usize)> = in_memory.iter().map(|(key, tag, _)| (key.file, key.first, *tag as usize)).collect();
            prop_assert_eq!(found, expect);
            // One line a run, so that levels fill up; and a few.
            for run_bytes in [1, 200] {
                prop_assert_eq!(&sorted(&keys, run_bytes).0, &in_memory);
            }
        }
    }

    #[test]
    fn three_levels() {
        let keys: Vec<(u32, u64)> = (0..FAN_IN as u64 * FAN_IN as u64 + 5)
            .map(|at| (0, at * 7919 % 1000))
            .collect();
        let (out, files) = sorted(&keys, 1);
        assert!(files as usize > FAN_IN * FAN_IN + FAN_IN);
        assert_eq!(out.len(), keys.len());
        assert!(out.is_sorted_by_key(|(key, tag, _)| (*key, *tag)));
    }
}
