//! The pcap format (draft-ietf-opsawg-pcap): a header, then records. Either byte order, microseconds or nanoseconds, and the
//! longer records of Alexey Kuznetzov's patched libpcap.

use super::PACKET_BYTES_MAX;
use super::capture::{Record, fill_part};
use super::error::Cause;
use super::fields::{Endian, Fields};
use super::input::Input;

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const KUZNETZOV: u32 = 0xa1b2_cd34;
const HEADER_BYTES: usize = 24;
const RECORD_BYTES: usize = 16;
/// What a Kuznetzov record has more: interface, protocol, direction.
const KUZNETZOV_BYTES: usize = 8;
const NS_OF_S: u64 = 1_000_000_000;

/// What the header says.
#[derive(Clone, Copy, Debug)]
pub struct Classic {
    endian: Endian,
    ns_of_unit: u64,
    record_bytes: usize,
    link: u16,
}

fn tell(magic: [u8; 4]) -> Option<(Endian, u32)> {
    [Endian::Little, Endian::Big]
        .map(|endian| (endian, endian.u32(magic)))
        .into_iter()
        .find(|(_, magic)| matches!(*magic, MICROSECONDS | NANOSECONDS | KUZNETZOV))
}

impl Classic {
    /// Whether this is the magic number of the format.
    pub fn knows(magic: [u8; 4]) -> bool {
        tell(magic).is_some()
    }

    /// Reads the header. `None`: it is another format.
    pub fn begin(magic: [u8; 4], input: &mut Input) -> Result<Option<Self>, Cause> {
        let Some((endian, magic)) = tell(magic) else {
            return Ok(None);
        };
        fill_part(input, "file header", HEADER_BYTES)?;
        let header = Fields::new(input.ready(), endian);
        let (Some(major), Some(minor), Some(link)) = (header.u16(4), header.u16(6), header.u32(20)) else {
            return Ok(None);
        };
        if major != 2 {
            return Err(Cause::Version { major, minor });
        }
        let more = if magic == KUZNETZOV { KUZNETZOV_BYTES } else { 0 };
        input.consume(HEADER_BYTES);
        Ok(Some(Self {
            endian,
            ns_of_unit: if magic == NANOSECONDS { 1 } else { 1_000 },
            record_bytes: RECORD_BYTES + more,
            // The upper half says how long the frame check sequence is.
            link: link as u16,
        }))
    }

    /// The next packet's record header; the packet is in the buffer then.
    pub fn next(&mut self, input: &mut Input) -> Result<Option<Record>, Cause> {
        if fill_part(input, "record header", self.record_bytes)?.is_none() {
            return Ok(None);
        }
        let header = Fields::new(input.ready(), self.endian);
        let (Some(seconds), Some(units), Some(captured), Some(wire_bytes)) =
            (header.u32(0), header.u32(4), header.u32(8), header.u32(12))
        else {
            return Ok(None);
        };
        if captured as usize > PACKET_BYTES_MAX {
            return Err(Cause::PacketTooLong { length: captured });
        }
        let whole = self.record_bytes + captured as usize;
        fill_part(input, "packet", whole)?;
        input.consume(self.record_bytes);
        Ok(Some(Record {
            time_ns: u64::from(seconds) * NS_OF_S + u64::from(units) * self.ns_of_unit,
            link: self.link,
            captured: captured as usize,
            wire_bytes: wire_bytes as usize,
            trailer: 0,
        }))
    }
}
