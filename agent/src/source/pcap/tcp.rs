//! A TCP segment (RFC 9293 3.1) with its addresses. Checksums are not looked at: on the sending machine the network card makes them,
//! after the capture.

use std::net::Ipv6Addr;

use super::decode::Bytes;
use super::fields::Fields;

const HEADER_BYTES: usize = 20;

mod bit {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const ACK: u8 = 16;
}

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// IPv4 as v4-mapped, in network byte order.
    pub address: u128,
    /// Port.
    pub port: u16,
}

impl Endpoint {
    /// The address as the records of the programs have it.
    pub const fn octets(self) -> [u8; 16] {
        Ipv6Addr::from_bits(self.address).octets()
    }
}

/// See the module's description.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Sender.
    pub source: Endpoint,
    /// Receiver.
    pub destination: Endpoint,
    /// Sequence number of SYN if it is set, else of the first byte.
    pub sequence: u32,
    /// The next byte that the sender expects.
    pub acknowledged: Option<u32>,
    /// It opens.
    pub syn: bool,
    /// It ends the sender's stream.
    pub fin: bool,
    /// It ends the connection.
    pub reset: bool,
    /// Bytes of the stream, at least `data.len()`.
    pub length: u32,
    /// The first of them: the others were not captured.
    pub data: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Reads the segment in an IP packet between these addresses. `None`: its header was not captured whole, or is none.
    pub fn parse(
        Bytes { data, wire_bytes }: Bytes<'a>,
        [source, destination]: [u128; 2],
        time_ns: u64,
    ) -> Option<Self> {
        let header = Fields::network(data);
        let header_bytes = usize::from(header.u8(12)? >> 4) * 4;
        let bits = header.u8(13)?;
        // What was captured may end in the options: then nothing of the stream was.
        if header_bytes < HEADER_BYTES || wire_bytes < header_bytes {
            return None;
        }
        let endpoint = |address, port| Endpoint { address, port };
        Some(Self {
            time_ns,
            source: endpoint(source, header.u16(0)?),
            destination: endpoint(destination, header.u16(2)?),
            sequence: header.u32(4)?,
            acknowledged: (bits & bit::ACK != 0).then_some(header.u32(8)?),
            syn: bits & bit::SYN != 0,
            fin: bits & bit::FIN != 0,
            reset: bits & bit::RST != 0,
            length: u32::try_from(wire_bytes - header_bytes).ok()?,
            data: header.from(header_bytes).unwrap_or_default(),
        })
    }
}
