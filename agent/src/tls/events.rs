//! What the kernel tells of processes and of what they map executable: the side band of a perf event that counts nothing.
//!
//! Nobody pays for it but who maps, forks, executes or ends: no system call is traced. Records come from a buffer of each processor and
//! are merged by time. What did not fit is counted by the kernel, and whoever hears of it looks at all processes again.
//!
//! Process ids are as the agent's own pid namespace has them. In a container without the node's pid namespace the agent hears of its
//! own container's processes only; those of others come with id 0 and are counted.

mod ring;

use std::io;

use aya_obj::generated::perf_event_type;

pub use self::ring::RING_BYTES;
use self::ring::Ring;
use super::maps::{Device, FileKey};

/// Processors that are online, as ranges.
const ONLINE: &str = "/sys/devices/system/cpu/online";
/// Most processors that are listened to; the kernel knows no more than 8,192.
const CPUS_MAX: usize = 8192;
/// Records so young are left for the next time: another processor may just be writing an older one.
pub const SETTLED_NS: u64 = 1_000_000;
/// `PERF_RECORD_MISC_COMM_EXEC`: the new name is of a new program.
const MISC_COMM_EXEC: u16 = 1 << 13;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A process mapped a file so that it may be executed, or made a mapping of it executable.
    Mapped(Mapped<'a>),
    /// A process has a child, with the same mappings.
    Fork {
        /// The child.
        pid: u32,
        /// Whose mappings it has.
        parent: u32,
    },
    /// A process executes another program: its mappings are gone.
    Exec {
        /// Which.
        pid: u32,
    },
    /// A thread ended.
    Exit {
        /// Of which process.
        pid: u32,
        /// Which.
        thread: u32,
    },
    /// Records that did not fit.
    Lost {
        /// So many.
        records: u64,
    },
}

/// See [`Event::Mapped`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped<'a> {
    /// Who.
    pub pid: u32,
    /// First address.
    pub start: u64,
    /// Behind the last address.
    pub end: u64,
    /// Which file.
    pub file: FileKey,
    /// Of several files that had this inode number one after the other, which; 0 where the file system does not say.
    pub generation: u64,
    /// What it is called, cut by the kernel if need be; not believed.
    pub name: &'a [u8],
}

/// Fields of a record, at their places.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn u32(self, at: usize) -> Option<u32> {
        let bytes = self.0.get(at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }

    fn u64(self, at: usize) -> Option<u64> {
        let bytes = self.0.get(at..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }
}

/// A record and its time, as the kernel's `perf_event.h` lays it out, with `sample_id_all` and the time as the only part of that.
/// `None` for records of other kinds.
fn parse(record: &[u8]) -> Option<(Event<'_>, u64)> {
    let kind = Fields(record).u32(0)?;
    let misc = u16::try_from(Fields(record).u32(4)? & 0xffff).ok()?;
    let (body, time) = record.split_last_chunk()?;
    let time_ns = u64::from_le_bytes(*time);
    let fields = Fields(body);
    let event = if kind == perf_event_type::PERF_RECORD_MMAP2 as u32 {
        let name = body.get(72..)?;
        let start = fields.u64(16)?;
        let inode = fields.u64(48).filter(|inode| *inode != 0)?;
        Event::Mapped(Mapped {
            pid: fields.u32(8)?,
            start,
            end: start.checked_add(fields.u64(24)?)?,
            file: FileKey {
                device: Device {
                    major: fields.u32(40)?,
                    minor: fields.u32(44)?,
                },
                inode,
            },
            generation: fields.u64(56)?,
            name: name.split(|byte| *byte == 0).next()?,
        })
    } else if kind == perf_event_type::PERF_RECORD_FORK as u32 {
        let (pid, parent) = (fields.u32(8)?, fields.u32(12)?);
        if pid == parent {
            // A thread.
            return None;
        }
        Event::Fork { pid, parent }
    } else if kind == perf_event_type::PERF_RECORD_COMM as u32 && misc & MISC_COMM_EXEC != 0 {
        Event::Exec { pid: fields.u32(8)? }
    } else if kind == perf_event_type::PERF_RECORD_EXIT as u32 {
        Event::Exit {
            pid: fields.u32(8)?,
            thread: fields.u32(16)?,
        }
    } else if kind == perf_event_type::PERF_RECORD_LOST as u32 {
        Event::Lost {
            records: fields.u64(16)?,
        }
    } else {
        return None;
    };
    Some((event, time_ns))
}

/// The time of any record.
fn time_of(record: &[u8]) -> u64 {
    record.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// A processor's buffer.
#[derive(Debug)]
struct Cpu {
    number: u32,
    ring: Ring,
    /// The oldest record, taken out to be compared with those of the others.
    next: Vec<u8>,
    holds: bool,
}

/// All processors' buffers.
#[derive(Debug)]
pub struct Events {
    cpus: Vec<Cpu>,
}

/// What became of the processors since they were last looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Processors that are listened to now and were not: what happened there meanwhile is not known.
    pub joined: usize,
    /// Processors that went offline.
    pub left: usize,
    /// Processors that cannot be listened to.
    pub failed: usize,
}

impl Events {
    /// Listens on every processor that is online.
    ///
    /// # Errors
    /// None can be listened to, with the kernel's reason: `EACCES` or `EPERM` without the privileges (`CAP_PERFMON`), `ENOENT` or
    /// `ENOSYS` on kernels without perf events.
    pub fn open() -> io::Result<Self> {
        let mut events = Self { cpus: Vec::new() };
        let mut reason = io::Error::from(io::ErrorKind::NotFound);
        for number in online()? {
            match Cpu::open(number) {
                Ok(cpu) => events.cpus.push(cpu),
                Err(error) => reason = error,
            }
        }
        if events.cpus.is_empty() {
            return Err(reason);
        }
        Ok(events)
    }

    /// Processors that are listened to.
    #[must_use]
    pub fn cpus(&self) -> usize {
        self.cpus.len()
    }

    /// Memory of the buffers, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.cpus.len().saturating_mul(RING_BYTES)
    }

    /// Gives what happened until then, in the order in which it happened.
    pub fn drain(&mut self, until_ns: u64, mut take: impl FnMut(&Event<'_>)) {
        loop {
            for cpu in self.cpus.iter_mut().filter(|cpu| !cpu.holds) {
                cpu.holds = cpu.ring.take(&mut cpu.next);
            }
            let oldest = self
                .cpus
                .iter_mut()
                .filter(|cpu| cpu.holds)
                .min_by_key(|cpu| time_of(&cpu.next))
                .filter(|cpu| time_of(&cpu.next) <= until_ns);
            let Some(cpu) = oldest else { return };
            cpu.holds = false;
            if let Some((event, _)) = parse(&cpu.next) {
                take(&event);
            }
        }
    }

    /// Looks whether processors came or went; to be called every second or so.
    pub fn follow_cpus(&mut self) -> Change {
        let mut change = Change::default();
        let Ok(online) = online() else {
            change.failed = 1;
            return change;
        };
        let before = self.cpus.len();
        // Of one that went off and came back the event stays off.
        self.cpus.retain_mut(|cpu| cpu.ring.lives() || cpu.holds);
        change.left = before - self.cpus.len();
        for number in online {
            if self.cpus.iter().any(|cpu| cpu.number == number) {
                continue;
            }
            match Cpu::open(number) {
                Ok(cpu) => {
                    self.cpus.push(cpu);
                    change.joined += 1;
                }
                Err(_) => change.failed += 1,
            }
        }
        change
    }
}

impl Cpu {
    fn open(number: u32) -> io::Result<Self> {
        Ok(Self {
            number,
            ring: Ring::open(number)?,
            next: Vec::new(),
            holds: false,
        })
    }
}

fn online() -> io::Result<Vec<u32>> {
    let text = std::fs::read_to_string(ONLINE)?;
    parse_ranges(text.trim()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// `0-3,8,10-11`.
fn parse_ranges(text: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        for number in first.parse::<u32>().ok()?..=last.parse().ok()? {
            if numbers.len() == CPUS_MAX {
                return Some(numbers);
            }
            numbers.push(number);
        }
    }
    Some(numbers)
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
