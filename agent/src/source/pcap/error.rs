//! Why a capture file could not be read, or not to its end.

use std::io;
use std::path::PathBuf;

/// A file that is not read any further. Everything before `offset` was used; the next file is read nevertheless.
#[derive(Debug, thiserror::Error)]
#[error("{}: byte {offset}: {cause}; the {packets} packets before are used", path.display())]
pub struct Error {
    /// File.
    pub path: PathBuf,
    /// Place in it, after decompression.
    pub offset: u64,
    /// Packets read from it.
    pub packets: u64,
    /// What is wrong.
    #[source]
    pub cause: Cause,
}

/// What is wrong with a capture file.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// It cannot be opened.
    #[error("cannot be opened: {0}")]
    Open(#[source] io::Error),
    /// It cannot be read on, or its compression is broken.
    #[error("cannot be read on: {0}")]
    Read(#[source] io::Error),
    /// Neither pcap nor pcapng.
    #[error("no capture: it begins with {0:02x?} where pcap and pcapng have their magic number")]
    NoMagic([u8; 4]),
    /// It is shorter than the header of any capture.
    #[error("no capture: it has {0} bytes")]
    TooShort(usize),
    /// It ends inside of something.
    #[error("the file ends inside a {part} of {needed} bytes")]
    Truncated {
        /// Inside of what.
        part: &'static str,
        /// How long that says it is.
        needed: u64,
    },
    /// Its compressed data end too early.
    #[error("the compressed data end too early")]
    Compressed,
    /// A version that nobody knows.
    #[error("unknown version {major}.{minor}")]
    Version {
        /// First number.
        major: u16,
        /// Second number.
        minor: u16,
    },
    /// A packet is longer than [`super::PACKET_BYTES_MAX`].
    #[error(
        "a packet says it has {length} bytes, at most {} are believed",
        super::PACKET_BYTES_MAX
    )]
    PacketTooLong {
        /// What it says.
        length: u32,
    },
    /// A pcapng block whose length cannot be right.
    #[error("a block of type {kind:#010x} says it has {length} bytes: {why}")]
    BlockLength {
        /// Block type.
        kind: u32,
        /// What it says.
        length: u32,
        /// What is wrong with that.
        why: &'static str,
    },
    /// A packet of an interface that was not described.
    #[error("a packet of interface {0}, which was not described")]
    NoInterface(u32),
    /// More interfaces than are believed.
    #[error("more than {} interfaces", super::INTERFACES_MAX)]
    TooManyInterfaces,
    /// The byte order of a pcapng section is neither of the two.
    #[error("byte-order magic {0:#010x} is none")]
    ByteOrder(u32),
}

impl Cause {
    /// Of a failure to read.
    pub(super) fn read(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::Compressed;
        }
        Self::Read(error)
    }
}
