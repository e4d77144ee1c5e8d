//! A capture file: its packets, whatever the format.

use super::classic::Classic;
use super::error::Cause;
use super::input::Input;
use super::pcapng::Ng;

/// A packet as the file has it.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Link type, as in <https://www.tcpdump.org/linktypes.html>.
    pub link: u16,
    /// Bytes that it had on the wire, at least `data.len()`.
    pub wire_bytes: usize,
    /// Bytes that were captured.
    pub data: &'a [u8],
}

/// What both formats tell of a packet before its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub time_ns: u64,
    pub link: u16,
    pub captured: usize,
    pub wire_bytes: usize,
    /// Bytes that follow the packet and belong to it, in the buffer too.
    pub trailer: usize,
}

enum Format {
    Classic(Classic),
    Ng(Ng),
}

/// An open capture file.
pub struct Capture {
    input: Input,
    format: Format,
    /// The packet that was handed out last, still in the buffer, with what follows it.
    taken: usize,
}

/// The first bytes of every format.
const MAGIC_BYTES: usize = 4;

impl Capture {
    /// Reads the file's header.
    pub fn new(mut input: Input) -> Result<Self, (u64, Cause)> {
        let format = begin(&mut input).map_err(|cause| (input.offset(), cause))?;
        Ok(Self {
            input,
            format,
            taken: 0,
        })
    }

    /// Place in the decompressed file: of what [`Self::next`] failed at.
    pub const fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// The next packet. After an error there is no more.
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, Cause> {
        self.input.consume(std::mem::take(&mut self.taken));
        let record = match &mut self.format {
            Format::Classic(classic) => classic.next(&mut self.input)?,
            Format::Ng(ng) => ng.next(&mut self.input)?,
        };
        let Some(record) = record else {
            return Ok(None);
        };
        self.taken = record.captured + record.trailer;
        Ok(Some(Frame {
            time_ns: record.time_ns,
            link: record.link,
            wire_bytes: record.wire_bytes.max(record.captured),
            data: self.input.ready().get(..record.captured).unwrap_or_default(),
        }))
    }
}

fn begin(input: &mut Input) -> Result<Format, Cause> {
    if !input.fill(MAGIC_BYTES).map_err(Cause::read)? {
        return Err(Cause::TooShort(input.ready().len()));
    }
    let Some(magic) = input.ready().first_chunk::<MAGIC_BYTES>().copied() else {
        return Err(Cause::TooShort(0));
    };
    if Ng::knows(magic) {
        return Ok(Format::Ng(Ng::new()));
    }
    match Classic::begin(magic, input)? {
        Some(classic) => Ok(Format::Classic(classic)),
        None => Err(Cause::NoMagic(magic)),
    }
}

/// Whether a decompressed file that begins with these bytes is a capture.
#[must_use]
pub fn is_capture(begin: &[u8]) -> bool {
    begin
        .first_chunk::<MAGIC_BYTES>()
        .is_some_and(|magic| Classic::knows(*magic) || Ng::knows(*magic))
}

/// Fills the buffer with a `part` of `count` bytes. `None`: the file ends before its first byte.
pub(super) fn fill_part(input: &mut Input, part: &'static str, count: usize) -> Result<Option<()>, Cause> {
    if input.fill(count).map_err(Cause::read)? {
        return Ok(Some(()));
    }
    if input.ready().is_empty() {
        return Ok(None);
    }
    Err(Cause::Truncated {
        part,
        needed: count as u64,
    })
}
