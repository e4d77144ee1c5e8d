//! TLS libraries in ELF files that strangers chose.
//!
//! A file may be anything: its author may want the agent to stumble over it. Invariants: it is read by `pread` alone and never mapped;
//! nothing is allocated by a size that it names beyond a limit; each table is gone through at most a few times, from front to back; what
//! is read of it in all is limited ([`READ_BYTES_MAX`]). A limit that is reached is an error that says which. What it says of itself is
//! believed as far as it concerns its own processes: a probe can only come to lie in the file's own instructions.
//!
//! Only what is told apart by symbols and tables: no signatures of machine code. Fields of 64-bit little-endian files for x86-64 and
//! AArch64; others give [`ElfError::Unsupported`].

mod build_id;
mod go;
mod layout;
mod libraries;
mod marks;
mod reader;
mod search;
mod symbols;
#[cfg(test)]
mod tests;

use std::fs::File;

pub use self::build_id::{BUILD_ID_BYTES_MAX, NOTES_BYTES_MAX};
pub use self::go::{CANDIDATES_MAX, FUNCTION_BYTES_MAX, GO_FUNCTIONS_MAX, RELOCATIONS_MAX, RETURNS_MAX};
pub use self::layout::{Architecture, SECTIONS_MAX, SEGMENTS_MAX};
pub use self::marks::SEARCH_BYTES_MAX;
pub use self::reader::{READ_BYTES_MAX, Source};
pub use self::symbols::{NAME_PLACES_MAX, NAMES_BYTES_MAX, SYMBOLS_MAX};

use self::layout::Layout;
use self::reader::{FileSource, Reader};
use super::library::Library;

/// What a file is to the capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What its instructions are for.
    pub architecture: Architecture,
    /// Its GNU build id, 1 to [`BUILD_ID_BYTES_MAX`] bytes.
    pub build_id: Option<Vec<u8>>,
    /// The TLS libraries in it, one per name; usually none.
    pub libraries: Vec<Library>,
    /// Bytes read to find out.
    pub bytes_read: u64,
    /// There is more read-only data than [`SEARCH_BYTES_MAX`]: a version or a library without symbols may have gone unnoticed.
    pub search_cut: bool,
}

/// Why a file could not be looked into.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// The kernel says so.
    #[error("cannot read at {offset}: {source}")]
    Read {
        /// Where.
        offset: u64,
        /// Cause.
        source: std::io::Error,
    },
    /// No ELF file, or no regular file.
    #[error("not an ELF file")]
    NotElf,
    /// An ELF file of a kind that nothing is known of.
    #[error(
        "ELF {what} {value} is not supported: only 64-bit little-endian programs and libraries for x86-64 and AArch64 are"
    )]
    Unsupported {
        /// Field of the header.
        what: &'static str,
        /// What it has.
        value: u16,
    },
    /// The file says that something lies where it has nothing, or it became shorter.
    #[error("{len} bytes at {offset} are beyond the end of the file at {file_len}")]
    BeyondEnd {
        /// Where, bytes.
        offset: u64,
        /// How many.
        len: u64,
        /// Length of the file, bytes.
        file_len: u64,
    },
    /// It contradicts itself.
    #[error("damaged: {what}")]
    Damaged {
        /// What.
        what: &'static str,
    },
    /// More of something than is looked at.
    #[error("{count} {what}; at most {max} are looked at")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many the file says it has, at least.
        count: u64,
        /// Limit.
        max: u64,
    },
    /// The whole of it would be more than is read of a file.
    #[error("more than {max} bytes to read")]
    TooMuchToRead {
        /// Limit, bytes.
        max: u64,
    },
}

/// Looks into an open file. Reads it, which may take as long as its file system lets it take: not for threads that must go on.
///
/// # Errors
///
/// See [`ElfError`]. A file without any TLS library is none.
pub fn read(file: &File) -> Result<Image, ElfError> {
    read_source(&FileSource::new(file)?)
}

/// Looks into what need not be a file.
///
/// # Errors
///
/// As [`read`].
pub fn read_source(source: &dyn Source) -> Result<Image, ElfError> {
    let mut reader = Reader::new(source, READ_BYTES_MAX);
    let layout = Layout::read(&mut reader)?;
    let build_id = build_id::read(&mut reader, &layout)?;
    let found = libraries::find(&mut reader, &layout)?;
    Ok(Image {
        architecture: layout.architecture,
        build_id,
        libraries: found.libraries,
        bytes_read: reader.bytes_read(),
        search_cut: found.search_cut,
    })
}
