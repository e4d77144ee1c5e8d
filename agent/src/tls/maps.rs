//! `/proc/PID/maps` without trust: the names in it are the processes' own.
//!
//! A line is `START-END PERMS OFFSET MAJOR:MINOR INODE`, blanks, and a name (proc_pid_maps(5)). Only the numbers are believed: they are
//! the kernel's and come first. The name may be anything a file can be called, with what looks like other fields in it; newlines in it
//! are written as `\012`, so that a line is always one mapping.

use std::io::Read;

/// Longest line that is read, bytes. A path has at most 4,095, each of which may take four here.
pub const LINE_BYTES_MAX: usize = 24 << 10;
/// Most that is read of one process's mappings, bytes: about 200,000 lines.
pub const MAPS_BYTES_MAX: usize = 16 << 20;
/// One read: the kernel gives at most a page of it.
const READ_BYTES: usize = 32 << 10;

/// A device as the kernel shows it in mappings: the file system's, which need not be the one that stat(2) gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// Which file a mapping is of, as the kernel shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileKey {
    /// Of the file system.
    pub device: Device,
    /// Of the file; never 0.
    pub inode: u64,
}

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// First address.
    pub start: u64,
    /// Behind the last address.
    pub end: u64,
    /// Its pages may be executed.
    pub executable: bool,
    /// Where in the file it begins, bytes.
    pub offset: u64,
    /// The file; `None` where it is of none.
    pub file: Option<FileKey>,
    /// What the process calls it, as written, not believed.
    pub name: &'a [u8],
}

impl<'a> Mapping<'a> {
    /// Takes a line without its newline; `None`: not a line of this form.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let (range, rest) = field(line, b' ')?;
        let (start, end) = field(range, b'-')?;
        let (perms, rest) = field(rest, b' ')?;
        let (offset, rest) = field(rest, b' ')?;
        let (device, rest) = field(rest, b' ')?;
        let (major, minor) = field(device, b':')?;
        // Of a mapping without a name nothing follows the inode, or blanks do.
        let (inode, rest) = field(rest, b' ').unwrap_or((rest, &[]));
        let [_, _, execute, _] = perms else { return None };
        let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
        let device = Device {
            major: u32::try_from(hexadecimal(major)?).ok()?,
            minor: u32::try_from(hexadecimal(minor)?).ok()?,
        };
        let inode = decimal(inode)?;
        let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
        (start < end).then_some(Self {
            start,
            end,
            executable: match execute {
                b'x' => true,
                b'-' => false,
                _ => return None,
            },
            offset: hexadecimal(offset)?,
            file: (inode != 0).then_some(FileKey { device, inode }),
            name: rest.get(blanks..).unwrap_or_default(),
        })
    }
}

/// A name as it was before the kernel wrote it: newlines are escaped, and nothing else, so that a name which has `\012` in it is taken
/// for another one. Whoever opens by it compares what was opened.
#[must_use]
pub fn unescape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = memchr::memmem::find(rest, br"\012") {
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        out.push(b'\n');
        rest = rest.get(at + 4..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

fn field(text: &[u8], end: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(end, text)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Digits only, no sign, no more than fit.
fn number(text: &[u8], radix: u64) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, byte| {
        let digit = char::from(*byte).to_digit(radix as u32)?;
        sum.checked_mul(radix)?.checked_add(u64::from(digit))
    })
}

fn hexadecimal(text: &[u8]) -> Option<u64> {
    number(text, 16)
}

fn decimal(text: &[u8]) -> Option<u64> {
    number(text, 10)
}

/// What could not be read of a process's mappings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Lines of another form.
    pub malformed: u64,
    /// Lines beyond [`LINE_BYTES_MAX`].
    pub long: u64,
    /// There was more than [`MAPS_BYTES_MAX`].
    pub cut: bool,
}

/// Reads lines one at a time; keeps one buffer for all processes.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// Gives each mapping to `take`, until that returns false.
    ///
    /// # Errors
    /// As reading does; what was given before was right.
    pub fn read(
        &mut self,
        mut source: impl Read,
        mut take: impl FnMut(&Mapping<'_>) -> bool,
    ) -> std::io::Result<Unread> {
        self.buffer.resize(LINE_BYTES_MAX + READ_BYTES, 0);
        let mut unread = Unread::default();
        let mut total = 0;
        let mut held = 0;
        // The line in hand is too long: up to its newline nothing is kept.
        let mut skips = false;
        loop {
            let room = self.buffer.get_mut(held..).unwrap_or_default();
            let read = match source.read(room) {
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let filled = self.buffer.get(..held + read).unwrap_or_default();
            let mut rest = filled;
            while let Some((line, after)) = field(rest, b'\n') {
                rest = after;
                if std::mem::take(&mut skips) || line.len() > LINE_BYTES_MAX {
                    unread.long += 1;
                    continue;
                }
                match Mapping::parse(line) {
                    Some(mapping) if !take(&mapping) => return Ok(unread),
                    Some(_) => {}
                    None => unread.malformed += 1,
                }
            }
            if read == 0 {
                // The kernel ends every line.
                unread.malformed += u64::from(!rest.is_empty() || skips);
                return Ok(unread);
            }
            total += read;
            if total > MAPS_BYTES_MAX {
                unread.cut = true;
                return Ok(unread);
            }
            if skips || rest.len() > LINE_BYTES_MAX {
                skips = true;
                held = 0;
            } else {
                let begin = filled.len() - rest.len();
                held = rest.len();
                self.buffer.copy_within(begin..begin + held, 0);
            }
        }
    }
}

#[cfg(test)]
#[path = "maps_tests.rs"]
mod tests;
