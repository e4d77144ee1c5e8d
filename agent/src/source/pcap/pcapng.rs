//! The pcapng format (draft-ietf-opsawg-pcapng): blocks in sections, each section in its own byte order, with its own interfaces.
//!
//! Read: section headers, interface descriptions, packets (enhanced, simple, and the obsolete block). All others are skipped.

use super::PACKET_BYTES_MAX;
use super::capture::{Record, fill_part};
use super::error::Cause;
use super::fields::{Endian, Fields};
use super::input::Input;

/// Interfaces of a section that are believed.
pub const INTERFACES_MAX: usize = 1 << 16;
/// A block that is read may have so much besides its packet: options.
const OPTIONS_BYTES_MAX: usize = 1 << 20;
/// Type, length, and the length again.
const BLOCK_BYTES_MIN: u32 = 12;
const HEADER_BYTES: usize = 8;
const LENGTH_BYTES: usize = 4;
const NS_OF_S: u64 = 1_000_000_000;

/// Block types.
mod kind {
    pub const SECTION: u32 = 0x0a0d_0d0a;
    pub const INTERFACE: u32 = 1;
    pub const PACKET: u32 = 2;
    pub const SIMPLE: u32 = 3;
    pub const ENHANCED: u32 = 6;
}

const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const VERSION_MAJOR: u16 = 1;

/// Options of an interface.
mod option {
    pub const END: u16 = 0;
    pub const RESOLUTION: u16 = 9;
    pub const OFFSET: u16 = 14;
}

/// Unit of an interface's timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    /// 10 to the power of minus this, seconds.
    Ten(u32),
    /// 2 to the power of minus this, seconds.
    Two(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interface {
    link: u16,
    /// Most bytes captured of a packet; 0: no limit.
    snap: u32,
    resolution: Resolution,
    offset_s: i64,
}

impl Interface {
    fn time_ns(&self, units: u64) -> u64 {
        let ns = match self.resolution {
            Resolution::Ten(power @ 0..=9) => u128::from(units) * 10_u128.pow(9 - power),
            Resolution::Ten(power) => 10_u128
                .checked_pow(power - 9)
                .map_or(0, |divisor| u128::from(units) / divisor),
            Resolution::Two(power) => (u128::from(units) * u128::from(NS_OF_S)) >> power,
        };
        let ns = u64::try_from(ns).unwrap_or(u64::MAX);
        let offset_ns = self.offset_s.unsigned_abs().saturating_mul(NS_OF_S);
        if self.offset_s < 0 {
            ns.saturating_sub(offset_ns)
        } else {
            ns.saturating_add(offset_ns)
        }
    }
}

/// The section being read.
#[derive(Debug)]
pub struct Ng {
    endian: Endian,
    interfaces: Vec<Interface>,
    /// Of the last packet: a simple packet block has no time.
    time_ns: u64,
}

#[derive(Clone, Copy)]
struct Block {
    kind: u32,
    length: u32,
}

impl Block {
    fn wrong(self, why: &'static str) -> Cause {
        Cause::BlockLength {
            kind: self.kind,
            length: self.length,
            why,
        }
    }
}

impl Ng {
    /// Whether a file that begins like this is of the format.
    pub const fn knows(magic: [u8; 4]) -> bool {
        // The same in either byte order.
        u32::from_le_bytes(magic) == kind::SECTION
    }

    /// Before the first section.
    pub const fn new() -> Self {
        Self {
            endian: Endian::Little,
            interfaces: Vec::new(),
            time_ns: 0,
        }
    }

    /// The next packet; it is in the buffer then, with what follows it in its block.
    pub fn next(&mut self, input: &mut Input) -> Result<Option<Record>, Cause> {
        loop {
            if fill_part(input, "block header", HEADER_BYTES)?.is_none() {
                return Ok(None);
            }
            let mut header = Fields::new(input.ready(), self.endian);
            if header.u32(0) == Some(kind::SECTION) {
                fill_part(input, "section header", HEADER_BYTES + LENGTH_BYTES)?;
                let order = Fields::new(input.ready(), Endian::Big)
                    .array(8)
                    .unwrap_or_default();
                self.endian = [Endian::Little, Endian::Big]
                    .into_iter()
                    .find(|endian| endian.u32(order) == BYTE_ORDER)
                    .ok_or(Cause::ByteOrder(u32::from_be_bytes(order)))?;
                header = Fields::new(input.ready(), self.endian);
            }
            let (Some(kind), Some(length)) = (header.u32(0), header.u32(4)) else {
                return Ok(None);
            };
            let block = Block { kind, length };
            if length < BLOCK_BYTES_MIN || !length.is_multiple_of(4) {
                return Err(block.wrong("a block has at least 12 bytes, and a multiple of 4"));
            }
            match kind {
                kind::SECTION | kind::INTERFACE | kind::PACKET | kind::SIMPLE | kind::ENHANCED => {}
                _ => {
                    skip(block, self.endian, input)?;
                    continue;
                }
            }
            let size = length as usize;
            if size > PACKET_BYTES_MAX + OPTIONS_BYTES_MAX {
                return Err(block.wrong("that much is not believed"));
            }
            fill_part(input, "block", size)?;
            let fields = Fields::new(input.ready().get(..size).unwrap_or_default(), self.endian);
            if fields.u32(size - LENGTH_BYTES) != Some(length) {
                return Err(block.wrong("the length at its end is another"));
            }
            let record = match kind {
                kind::SECTION => self.section(fields).map(|()| None)?,
                kind::INTERFACE => self.interface(block, fields).map(|()| None)?,
                _ => Some(self.packet(block, fields)?),
            };
            let Some((before, record)) = record else {
                input.consume(size);
                continue;
            };
            input.consume(before);
            return Ok(Some(record));
        }
    }

    fn section(&mut self, fields: Fields<'_>) -> Result<(), Cause> {
        let (major, minor) = (fields.u16(12).unwrap_or(0), fields.u16(14).unwrap_or(0));
        self.interfaces.clear();
        if major == VERSION_MAJOR {
            Ok(())
        } else {
            Err(Cause::Version { major, minor })
        }
    }

    fn interface(&mut self, block: Block, fields: Fields<'_>) -> Result<(), Cause> {
        let (Some(link), Some(snap)) = (fields.u16(8), fields.u32(12)) else {
            return Err(block.wrong("an interface description has at least 20 bytes"));
        };
        if self.interfaces.len() >= INTERFACES_MAX {
            return Err(Cause::TooManyInterfaces);
        }
        let mut interface = Interface {
            link,
            snap,
            resolution: Resolution::Ten(6),
            offset_s: 0,
        };
        let mut place = 16;
        while let (Some(code), Some(length)) = (fields.u16(place), fields.u16(place + 2)) {
            let value = place + 4;
            match code {
                option::END => break,
                option::RESOLUTION if length == 1 => {
                    let unit = fields.u8(value).unwrap_or(6);
                    let power = u32::from(unit & 0x7f);
                    interface.resolution = if unit & 0x80 == 0 {
                        Resolution::Ten(power)
                    } else {
                        Resolution::Two(power)
                    };
                }
                option::OFFSET if length == 8 => {
                    interface.offset_s = fields.u64(value).unwrap_or(0).cast_signed();
                }
                _ => {}
            }
            place = value + usize::from(length).next_multiple_of(4);
        }
        self.interfaces.push(interface);
        Ok(())
    }

    /// Gives also where in the block the packet begins.
    fn packet(&mut self, block: Block, fields: Fields<'_>) -> Result<(usize, Record), Cause> {
        const SIMPLE_DATA: usize = 12;
        const DATA: usize = 28;
        let short = || block.wrong("its header does not fit in");
        let number = |at| fields.u32(at).ok_or_else(short);
        let simple = block.kind == kind::SIMPLE;
        let number_of_interface = match block.kind {
            kind::SIMPLE => 0,
            kind::PACKET => u32::from(fields.u16(8).ok_or_else(short)?),
            _ => number(8)?,
        };
        let interface = self
            .interfaces
            .get(number_of_interface as usize)
            .ok_or(Cause::NoInterface(number_of_interface))?;
        let size = block.length as usize;
        let (before, captured, wire_bytes) = if simple {
            let wire_bytes = number(8)?;
            let snap = if interface.snap == 0 {
                u32::MAX
            } else {
                interface.snap
            };
            let room = (size - LENGTH_BYTES).saturating_sub(SIMPLE_DATA) as u32;
            (SIMPLE_DATA, wire_bytes.min(snap).min(room), wire_bytes)
        } else {
            let units = u64::from(number(12)?) << 32 | u64::from(number(16)?);
            self.time_ns = interface.time_ns(units);
            (DATA, number(20)?, number(24)?)
        };
        if captured as usize > PACKET_BYTES_MAX {
            return Err(Cause::PacketTooLong { length: captured });
        }
        let captured = captured as usize;
        let trailer = size
            .checked_sub(before + captured)
            .filter(|trailer| *trailer >= LENGTH_BYTES)
            .ok_or_else(|| block.wrong("its packet does not fit in"))?;
        let record = Record {
            time_ns: self.time_ns,
            link: interface.link,
            captured,
            wire_bytes: wire_bytes as usize,
            trailer,
        };
        Ok((before, record))
    }
}

/// Passes over a block without holding it.
fn skip(block: Block, endian: Endian, input: &mut Input) -> Result<(), Cause> {
    let truncated = || Cause::Truncated {
        part: "block",
        needed: u64::from(block.length),
    };
    let body = u64::from(block.length) - LENGTH_BYTES as u64;
    if !input.skip(body).map_err(Cause::read)? {
        return Err(truncated());
    }
    if fill_part(input, "block", LENGTH_BYTES)?.is_none() {
        return Err(truncated());
    }
    if Fields::new(input.ready(), endian).u32(0) != Some(block.length) {
        return Err(block.wrong("the length at its end is another"));
    }
    input.consume(LENGTH_BYTES);
    Ok(())
}
