//! Bounded reading of a file that a stranger chose: by `pread`, through a few pages of cache, and not more in all than a limit.
//!
//! Files are never mapped: one that shrinks while it is looked at would end the agent with a `SIGBUS`; here it gives an error.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::ElfError;

/// Most that is read of one file, bytes. The largest program looked at (a Go one of 120,000 functions) needs 20 MiB; symbol tables of
/// unstripped browsers need some 200.
pub const READ_BYTES_MAX: u64 = 256 << 20;
/// A page of the cache, bytes.
const PAGE_BYTES: u64 = 64 << 10;
/// Pages of the cache: a mebibyte in all.
const PAGES_MAX: usize = 16;

/// Where bytes come from.
pub trait Source {
    /// Its length, bytes, when it was opened.
    fn file_len(&self) -> u64;

    /// Reads some bytes at `offset`; 0 at the end.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// A regular file.
#[derive(Debug)]
pub(super) struct FileSource<'a> {
    file: &'a File,
    len: u64,
}

impl<'a> FileSource<'a> {
    /// Of an open file, which must be a regular one.
    pub(super) fn new(file: &'a File) -> Result<Self, ElfError> {
        let metadata = file
            .metadata()
            .map_err(|source| ElfError::Read { offset: 0, source })?;
        if !metadata.is_file() {
            return Err(ElfError::NotElf);
        }
        Ok(Self {
            file,
            len: metadata.len(),
        })
    }
}

impl Source for FileSource<'_> {
    fn file_len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }
}

impl<T: AsRef<[u8]>> Source for T {
    fn file_len(&self) -> u64 {
        self.as_ref().len() as u64
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.as_ref().get(offset..));
        let rest = rest.unwrap_or_default();
        let len = rest.len().min(into.len());
        into.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        Ok(len)
    }
}

/// A part of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Of its first byte.
    pub(super) offset: u64,
    /// Bytes.
    pub(super) len: u64,
}

impl Extent {
    /// Behind its last byte.
    pub(super) const fn end(self) -> u64 {
        self.offset.saturating_add(self.len)
    }

    /// What of it lies before `end`.
    pub(super) const fn before(self, end: u64) -> Self {
        let most = end.saturating_sub(self.offset);
        Self {
            offset: self.offset,
            len: if self.len < most { self.len } else { most },
        }
    }
}

struct Page {
    /// Of its first byte; a multiple of [`PAGE_BYTES`].
    offset: u64,
    used: u64,
    bytes: Vec<u8>,
}

/// Reads a file within limits.
pub(super) struct Reader<'a> {
    source: &'a dyn Source,
    len: u64,
    pages: Vec<Page>,
    uses: u64,
    bytes_read: u64,
    bytes_max: u64,
}

impl<'a> Reader<'a> {
    /// Of a source, of which at most `bytes_max` are read.
    pub(super) fn new(source: &'a dyn Source, bytes_max: u64) -> Self {
        Self {
            len: source.file_len(),
            source,
            pages: Vec::new(),
            uses: 0,
            bytes_read: 0,
            bytes_max,
        }
    }

    /// Length of the file, bytes.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Bytes read so far.
    pub(super) const fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Whether an extent lies in the file.
    pub(super) fn holds(&self, extent: Extent) -> bool {
        extent
            .offset
            .checked_add(extent.len)
            .is_some_and(|end| end <= self.len)
    }

    /// Fills `into` with what is at `offset`, without the cache: for what is read once, from front to back.
    pub(super) fn stream(&mut self, offset: u64, into: &mut [u8]) -> Result<(), ElfError> {
        let extent = Extent {
            offset,
            len: into.len() as u64,
        };
        if !self.holds(extent) {
            return Err(ElfError::BeyondEnd {
                offset,
                len: extent.len,
                file_len: self.len,
            });
        }
        if extent.len > self.bytes_max.saturating_sub(self.bytes_read) {
            return Err(ElfError::TooMuchToRead { max: self.bytes_max });
        }
        let mut at = offset;
        let mut rest = into;
        while !rest.is_empty() {
            match self.source.read_at(rest, at) {
                Ok(0) => {
                    return Err(ElfError::BeyondEnd {
                        offset,
                        len: extent.len,
                        file_len: at,
                    });
                }
                Ok(len) => {
                    self.bytes_read = self.bytes_read.saturating_add(len as u64);
                    at = at.saturating_add(len as u64);
                    rest = rest.get_mut(len..).unwrap_or_default();
                }
                Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ElfError::Read { offset: at, source }),
            }
        }
        Ok(())
    }

    /// Fills `into` with what is at `offset`, through the cache.
    pub(super) fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), ElfError> {
        let mut at = offset;
        let mut rest = into;
        while !rest.is_empty() {
            let page = self.page(at - at % PAGE_BYTES)?;
            let from = page.bytes.get((at % PAGE_BYTES) as usize..).unwrap_or_default();
            let len = from.len().min(rest.len());
            if len == 0 {
                return Err(ElfError::BeyondEnd {
                    offset,
                    len: rest.len() as u64,
                    file_len: self.len,
                });
            }
            let (now, later) = rest.split_at_mut(len);
            now.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            at = at.saturating_add(len as u64);
            rest = later;
        }
        Ok(())
    }

    /// So many bytes at `offset`.
    pub(super) fn array<const N: usize>(&mut self, offset: u64) -> Result<[u8; N], ElfError> {
        let mut bytes = [0; N];
        self.read(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// A little-endian number of four bytes.
    pub(super) fn u32(&mut self, offset: u64) -> Result<u32, ElfError> {
        self.array(offset).map(u32::from_le_bytes)
    }

    /// A little-endian number of eight bytes.
    pub(super) fn u64(&mut self, offset: u64) -> Result<u64, ElfError> {
        self.array(offset).map(u64::from_le_bytes)
    }

    /// The bytes at `offset` up to the end of the file, at most `max`.
    pub(super) fn up_to(&mut self, offset: u64, max: usize) -> Result<Vec<u8>, ElfError> {
        let there = self.len.saturating_sub(offset).min(max as u64);
        let mut bytes = vec![0; there as usize];
        self.read(offset, &mut bytes)?;
        Ok(bytes)
    }

    fn page(&mut self, offset: u64) -> Result<&Page, ElfError> {
        self.uses = self.uses.saturating_add(1);
        let uses = self.uses;
        let index = match self.pages.iter().position(|page| page.offset == offset) {
            Some(index) => index,
            None => self.load(offset)?,
        };
        match self.pages.get_mut(index) {
            Some(page) => {
                page.used = uses;
                Ok(page)
            }
            None => Err(ElfError::Damaged { what: "page" }),
        }
    }

    /// Reads a page into the place of the one that was not used for longest.
    fn load(&mut self, offset: u64) -> Result<usize, ElfError> {
        let mut bytes = vec![0; self.len.saturating_sub(offset).min(PAGE_BYTES) as usize];
        self.stream(offset, &mut bytes)?;
        let page = Page {
            offset,
            used: self.uses,
            bytes,
        };
        if self.pages.len() < PAGES_MAX {
            self.pages.push(page);
            return Ok(self.pages.len() - 1);
        }
        let oldest = self.pages.iter().enumerate().min_by_key(|(_, page)| page.used);
        let index = oldest.map_or(0, |(index, _)| index);
        if let Some(place) = self.pages.get_mut(index) {
            *place = page;
        }
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_across_pages_and_up_to_the_end() {
        let bytes: Vec<u8> = (0..PAGE_BYTES * 2 + 10).map(|at| (at % 251) as u8).collect();
        let mut reader = Reader::new(&bytes, READ_BYTES_MAX);
        let mut into = vec![0; 20];
        reader.read(PAGE_BYTES - 10, &mut into).unwrap();
        let at = PAGE_BYTES as usize;
        assert_eq!(into, bytes[at - 10..at + 10]);
        assert_eq!(
            reader.up_to(PAGE_BYTES * 2 + 4, 100).unwrap(),
            bytes[at * 2 + 4..]
        );
        assert_eq!(reader.up_to(u64::MAX, 100).unwrap(), b"");
        assert!(matches!(
            reader.array::<8>(PAGE_BYTES * 2 + 3),
            Err(ElfError::BeyondEnd { .. })
        ));
        assert!(matches!(
            reader.u64(u64::MAX - 2),
            Err(ElfError::BeyondEnd { .. })
        ));
        assert_eq!(reader.bytes_read(), PAGE_BYTES * 2 + 10, "each page once");
    }

    #[test]
    fn old_pages_go_and_every_byte_read_counts_up_to_the_limit() {
        let pages = PAGES_MAX as u64 + 1;
        let bytes = vec![7; (PAGE_BYTES * pages) as usize];
        let mut reader = Reader::new(&bytes, PAGE_BYTES * (pages + 1));
        for page in 0..pages {
            assert_eq!(reader.array::<1>(page * PAGE_BYTES).unwrap(), [7]);
        }
        assert_eq!(
            (reader.pages.len(), reader.bytes_read()),
            (PAGES_MAX, PAGE_BYTES * pages)
        );
        reader.u32(PAGE_BYTES).unwrap();
        assert_eq!(reader.bytes_read(), PAGE_BYTES * pages, "still there");
        reader.u32(0).unwrap();
        assert_eq!(
            reader.bytes_read(),
            PAGE_BYTES * (pages + 1),
            "made place for a newer one"
        );
        let mut reader = Reader::new(&bytes, PAGE_BYTES * 2);
        reader.u32(0).unwrap();
        reader.u32(PAGE_BYTES).unwrap();
        let error = reader.u32(PAGE_BYTES * 2).unwrap_err();
        assert!(
            matches!(error, ElfError::TooMuchToRead { max } if max == PAGE_BYTES * 2),
            "{error}"
        );
    }

    struct Shrunk;

    impl Source for Shrunk {
        fn file_len(&self) -> u64 {
            100
        }

        fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
            Ok(into.len().min(50_usize.saturating_sub(offset as usize)))
        }
    }

    #[test]
    fn a_file_that_shrinks_gives_an_error() {
        let error = Reader::new(&Shrunk, READ_BYTES_MAX).u32(0).unwrap_err();
        assert!(
            matches!(error, ElfError::BeyondEnd { file_len: 50, .. }),
            "{error}"
        );
    }
}
