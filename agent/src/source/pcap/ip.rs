//! IP packets: addresses, what is inside, and whether it is whole.

use std::net::Ipv4Addr;

use super::decode::Bytes;
use super::fields::Fields;

/// Protocol numbers.
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// IPv4 in IP (RFC 2003).
    pub const IPV4: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in IP (RFC 4213).
    pub const IPV6: u8 = 41;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// GRE.
    pub const GRE: u8 = 47;
    /// Authentication header (RFC 4302).
    pub const AUTHENTICATION: u8 = 51;
    /// IPv6 destination options.
    pub const DESTINATION: u8 = 60;
    /// Mobility header (RFC 6275).
    pub const MOBILITY: u8 = 135;
}

const V4_HEADER_BYTES: usize = 20;
const V6_HEADER_BYTES: usize = 40;
const FRAGMENT_BYTES: usize = 8;
/// Extension headers that are believed: twice what RFC 8200 4.1 has in mind.
const EXTENSIONS_MAX: usize = 16;

/// An IP packet's header, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Source and destination, IPv4 as v4-mapped.
    pub addresses: [u128; 2],
    /// Protocol of the payload; behind the extension headers.
    pub protocol: u8,
    /// What is behind the headers.
    pub payload: Bytes<'a>,
    /// It is one of several pieces.
    pub fragment: Option<Fragment>,
}

/// Which piece of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// What all pieces have in common, besides addresses and protocol.
    pub identification: u32,
    /// First byte.
    pub offset: usize,
    /// More follow.
    pub more: bool,
}

fn mapped(bytes: [u8; 4]) -> u128 {
    Ipv4Addr::from(bytes).to_ipv6_mapped().to_bits()
}

impl<'a> Packet<'a> {
    /// Reads the packet at the begin of `bytes`. `None`: it is none, or its headers were not captured whole.
    pub fn parse(bytes: Bytes<'a>) -> Option<Self> {
        let packet = match bytes.data.first()? >> 4 {
            4 => Self::v4(bytes),
            6 => Self::v6(bytes),
            _ => None,
        }?;
        packet.without_extensions()
    }

    fn v4(bytes: Bytes<'a>) -> Option<Self> {
        let header = Fields::network(bytes.data);
        let header_bytes = usize::from(header.u8(0)? & 15) * 4;
        let total = match usize::from(header.u16(2)?) {
            // Not filled in yet where the network card cuts the packet into pieces.
            0 => bytes.wire_bytes,
            total => total,
        };
        if header_bytes < V4_HEADER_BYTES || total < header_bytes {
            return None;
        }
        let place = header.u16(6)?;
        let fragment = Fragment {
            identification: u32::from(header.u16(4)?),
            offset: usize::from(place & 0x1fff) * 8,
            more: place & 0x2000 != 0,
        };
        Some(Self {
            addresses: [mapped(header.array(12)?), mapped(header.array(16)?)],
            protocol: header.u8(9)?,
            payload: bytes.upto(total).after(header_bytes)?,
            fragment: (fragment.more || fragment.offset > 0).then_some(fragment),
        })
    }

    fn v6(bytes: Bytes<'a>) -> Option<Self> {
        let header = Fields::network(bytes.data);
        let total = match usize::from(header.u16(4)?) {
            // A jumbogram (RFC 2675), or as in IPv4.
            0 => bytes.wire_bytes,
            length => V6_HEADER_BYTES + length,
        };
        Some(Self {
            addresses: [
                u128::from_be_bytes(header.array(8)?),
                u128::from_be_bytes(header.array(24)?),
            ],
            protocol: header.u8(6)?,
            payload: bytes.upto(total).after(V6_HEADER_BYTES)?,
            fragment: None,
        })
    }

    /// Goes past extension headers (RFC 8200 4), up to a fragment header: what follows that may lie in another piece.
    fn without_extensions(mut self) -> Option<Self> {
        for _ in 0..EXTENSIONS_MAX {
            if self.fragment.is_some() {
                return Some(self);
            }
            let header = Fields::network(self.payload.data);
            let header_bytes = match self.protocol {
                protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION | protocol::MOBILITY => {
                    usize::from(header.u8(1)?) * 8 + 8
                }
                protocol::AUTHENTICATION => usize::from(header.u8(1)?) * 4 + 8,
                protocol::FRAGMENT => {
                    let place = header.u16(2)?;
                    let fragment = Fragment {
                        identification: header.u32(4)?,
                        offset: usize::from(place & 0xfff8),
                        more: place & 1 != 0,
                    };
                    // All of it in one piece (RFC 6946).
                    self.fragment = (fragment.more || fragment.offset > 0).then_some(fragment);
                    FRAGMENT_BYTES
                }
                _ => return Some(self),
            };
            self.protocol = header.u8(0)?;
            self.payload = self.payload.after(header_bytes)?;
        }
        None
    }

    /// As if the pieces had come as one packet with this payload.
    pub fn whole(self, payload: Bytes<'_>) -> Option<Packet<'_>> {
        Packet {
            addresses: self.addresses,
            protocol: self.protocol,
            payload,
            fragment: None,
        }
        .without_extensions()
    }
}
