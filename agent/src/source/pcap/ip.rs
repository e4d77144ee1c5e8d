//! IP packets: addresses, and what is inside.

use std::net::Ipv4Addr;

use super::fields::Fields;

/// Protocol numbers.
pub mod protocol {
    /// TCP.
    pub const TCP: u8 = 6;
}

const V4_HEADER_BYTES: usize = 20;
const V6_HEADER_BYTES: usize = 40;

/// An IP packet's header, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Source and destination, IPv4 as v4-mapped.
    pub addresses: [u128; 2],
    /// Protocol of the payload.
    pub protocol: u8,
    /// What was captured of the payload.
    pub payload: &'a [u8],
    /// Bytes that it had on the wire.
    pub payload_bytes: usize,
}

fn mapped(bytes: [u8; 4]) -> u128 {
    Ipv4Addr::from(bytes).to_ipv6_mapped().to_bits()
}

impl<'a> Packet<'a> {
    /// Reads the packet at the begin of `bytes`, which had `wire_bytes` bytes on the wire. `None`: it is none, or its header was
    /// not captured whole.
    pub fn parse(bytes: &'a [u8], wire_bytes: usize) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => Self::v4(bytes, wire_bytes),
            6 => Self::v6(bytes, wire_bytes),
            _ => None,
        }
    }

    fn v4(bytes: &'a [u8], wire_bytes: usize) -> Option<Self> {
        let header = Fields::network(bytes);
        let header_bytes = usize::from(header.u8(0)? & 15) * 4;
        let total = match usize::from(header.u16(2)?) {
            // Not filled in yet where the network card cuts the packet into pieces.
            0 => wire_bytes,
            total => total.min(wire_bytes),
        };
        if header_bytes < V4_HEADER_BYTES || total < header_bytes {
            return None;
        }
        let payload = header.from(header_bytes)?;
        let payload_bytes = total - header_bytes;
        Some(Self {
            addresses: [mapped(header.array(12)?), mapped(header.array(16)?)],
            protocol: header.u8(9)?,
            payload: payload.get(..payload_bytes).unwrap_or(payload),
            payload_bytes,
        })
    }

    fn v6(bytes: &'a [u8], wire_bytes: usize) -> Option<Self> {
        let header = Fields::network(bytes);
        let room = wire_bytes.checked_sub(V6_HEADER_BYTES)?;
        let payload_bytes = match usize::from(header.u16(4)?) {
            0 => room,
            length => length.min(room),
        };
        let payload = header.from(V6_HEADER_BYTES)?;
        Some(Self {
            addresses: [
                u128::from_be_bytes(header.array(8)?),
                u128::from_be_bytes(header.array(24)?),
            ],
            protocol: header.u8(6)?,
            payload: payload.get(..payload_bytes).unwrap_or(payload),
            payload_bytes,
        })
    }
}
