//! Files, decompressed where they are gzip (RFC 1952).

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

/// Bytes of a compressed file read at a time.
const GZIP_BYTES: usize = 64 << 10;
/// RFC 1952 section 2.3.1.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Opens a file, `-` for the standard input, to be read from its begin, decompressed; without a buffer of its own. What is read of it,
/// before decompression, is added to `read`.
///
/// # Errors
/// It cannot be opened or read.
pub fn open(path: &Path, read: Arc<AtomicU64>) -> io::Result<Box<dyn Read + Send>> {
    let file: Box<dyn Read + Send> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path)?)
    };
    unpacked(Counted { file, read })
}

/// Reads from `file`, which is compressed if it begins like gzip.
///
/// # Errors
/// It cannot be read.
pub fn unpacked(mut file: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut begin = Vec::with_capacity(GZIP_MAGIC.len());
    file.by_ref()
        .take(GZIP_MAGIC.len() as u64)
        .read_to_end(&mut begin)?;
    let is_gzip = begin == GZIP_MAGIC;
    let whole = io::Cursor::new(begin).chain(file);
    Ok(if is_gzip {
        // It reads small pieces where it is given any.
        Box::new(MultiGzDecoder::new(BufReader::with_capacity(GZIP_BYTES, whole)))
    } else {
        Box::new(whole)
    })
}

/// Counts what is read of the file itself.
struct Counted {
    file: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
