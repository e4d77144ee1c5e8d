//! The bytes of a file, plain or gzip, behind one large buffer: packets are read in place.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::source::file;

/// Bytes read at a time: large enough that system calls do not count, small enough to stay in a core's cache.
const BUFFER_BYTES: usize = 256 << 10;

/// See the module's description.
pub struct Input {
    file: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Place of `start` in the decompressed file.
    offset: u64,
}

impl Input {
    /// Opens a file, `-` for the standard input. What is read of it, before decompression, is added to `read`.
    pub fn open(path: &Path, read: Arc<AtomicU64>) -> io::Result<Self> {
        Ok(Self::of(file::open(path, read)?))
    }

    /// Reads from `file`, which is compressed if it begins like gzip.
    pub fn new(file: impl Read + Send + 'static) -> io::Result<Self> {
        Ok(Self::of(file::unpacked(file)?))
    }

    fn of(file: Box<dyn Read + Send>) -> Self {
        Self {
            file,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            offset: 0,
        }
    }

    /// Place in the decompressed file.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes that are in the buffer.
    pub fn ready(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Reads until `count` bytes are in the buffer. False when the file ends before.
    pub fn fill(&mut self, count: usize) -> io::Result<bool> {
        if self.end - self.start >= count {
            return Ok(true);
        }
        if self.buffer.len() - self.start < count {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.buffer.len() < count {
                self.buffer.resize(count, 0);
            }
        }
        while self.end - self.start < count {
            let space = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.file.read(space) {
                Ok(0) => return Ok(false),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Goes on by bytes that are in the buffer.
    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset += count as u64;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Goes on by bytes that need not be in the buffer. False when the file ends before.
    pub fn skip(&mut self, mut count: u64) -> io::Result<bool> {
        while count > 0 {
            let ready = self.end - self.start;
            if ready == 0 {
                if !self.fill(1)? {
                    return Ok(false);
                }
                continue;
            }
            let step = usize::try_from(count).unwrap_or(usize::MAX).min(ready);
            self.consume(step);
            count -= step as u64;
        }
        Ok(true)
    }
}
