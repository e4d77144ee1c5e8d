//! Packets in packets: GRE, VXLAN, Geneve.

use super::decode::{Bytes, Layer};
use super::fields::Fields;

/// UDP ports of VXLAN: the assigned one (RFC 7348 5), and what Linux used before that.
const VXLAN_PORTS: [u16; 2] = [4789, 8472];
/// UDP port of Geneve (RFC 8926 3.3).
const GENEVE_PORT: u16 = 6081;
const UDP_BYTES: usize = 8;
const VXLAN_BYTES: usize = 8;
const GENEVE_BYTES: usize = 8;
const GRE_BYTES: usize = 4;

/// Bits of the first word of a GRE header (RFC 2784 2.1, RFC 2890 2; routing: RFC 1701).
mod gre_bit {
    pub const CHECKSUM: u16 = 0x8000;
    pub const ROUTING: u16 = 0x4000;
    pub const KEY: u16 = 0x2000;
    pub const SEQUENCE: u16 = 0x1000;
    pub const VERSION: u16 = 7;
}

/// Mirrored frames: type I and II have one number and differ in the sequence number, type III has another.
mod erspan {
    pub const I_II: u16 = 0x88be;
    pub const III: u16 = 0x22eb;
    pub const II_BYTES: usize = 8;
    pub const III_BYTES: usize = 12;
    /// Of type III, if its last bit says that it is there.
    pub const PLATFORM_BYTES: usize = 8;
}

/// What is in a GRE packet.
pub fn gre(packet: Bytes<'_>) -> Layer<'_> {
    let header = Fields::network(packet.data);
    let (Some(bits), Some(protocol)) = (header.u16(0), header.u16(2)) else {
        return Layer::Broken;
    };
    if bits & (gre_bit::VERSION | gre_bit::ROUTING) != 0 {
        return Layer::Other;
    }
    let words = [gre_bit::CHECKSUM, gre_bit::KEY, gre_bit::SEQUENCE]
        .into_iter()
        .filter(|bit| bits & bit != 0)
        .count();
    let Some(rest) = packet.after(GRE_BYTES + 4 * words) else {
        return Layer::Broken;
    };
    let mirrored = match protocol {
        erspan::I_II if bits & gre_bit::SEQUENCE == 0 => 0,
        erspan::I_II => erspan::II_BYTES,
        erspan::III => match Fields::network(rest.data).u8(11) {
            Some(last) if last & 1 != 0 => erspan::III_BYTES + erspan::PLATFORM_BYTES,
            Some(_) => erspan::III_BYTES,
            None => return Layer::Broken,
        },
        _ => return Layer::Typed(protocol, rest),
    };
    rest.after(mirrored).map_or(Layer::Broken, Layer::Ethernet)
}

/// What is in a UDP packet, if it is a tunnel.
pub fn udp(packet: Bytes<'_>) -> Layer<'_> {
    let header = Fields::network(packet.data);
    let Some(port) = header.u16(2) else {
        return Layer::Broken;
    };
    let Some(rest) = packet.after(UDP_BYTES) else {
        return Layer::Broken;
    };
    if VXLAN_PORTS.contains(&port) {
        vxlan(rest)
    } else if port == GENEVE_PORT {
        geneve(rest)
    } else {
        Layer::Other
    }
}

/// RFC 7348 5: the flag that the network's number is valid must be set.
fn vxlan(packet: Bytes<'_>) -> Layer<'_> {
    match packet.data.first() {
        Some(flags) if flags & 8 != 0 => packet.after(VXLAN_BYTES).map_or(Layer::Broken, Layer::Ethernet),
        Some(_) => Layer::Other,
        None => Layer::Broken,
    }
}

/// RFC 8926 3.4.
fn geneve(packet: Bytes<'_>) -> Layer<'_> {
    let header = Fields::network(packet.data);
    let (Some(first), Some(protocol)) = (header.u8(0), header.u16(2)) else {
        return Layer::Broken;
    };
    if first >> 6 != 0 {
        return Layer::Other;
    }
    let options = usize::from(first & 0x3f) * 4;
    packet
        .after(GENEVE_BYTES + options)
        .map_or(Layer::Broken, |rest| Layer::Typed(protocol, rest))
}
