//! A pipe that bytes are spliced through.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};

use crate::trouble::{Done, broken};

/// See the module's description.
pub struct Pipe {
    reader: io::PipeReader,
    writer: io::PipeWriter,
}

impl Pipe {
    /// What it holds at least.
    pub const BYTES: usize = 32 << 10;

    /// An empty one.
    pub fn new() -> Done<Self> {
        let (reader, writer) = io::pipe().map_err(broken("pipe"))?;
        Ok(Self { reader, writer })
    }

    /// The end that takes bytes.
    pub fn end(&self) -> RawFd {
        self.writer.as_raw_fd()
    }

    /// The end that gives them.
    pub fn begin(&self) -> RawFd {
        self.reader.as_raw_fd()
    }

    /// Takes bytes out that are in it.
    pub fn take(&self, bytes: &mut [u8]) -> io::Result<()> {
        (&self.reader).read_exact(bytes)
    }

    /// Puts bytes in.
    pub fn put(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.writer).write_all(bytes)
    }
}
