//! Layers around IP packets.

use std::net::IpAddr;

use super::build::*;

fn with(header: &[u8], rest: &[u8]) -> Vec<u8> {
    [header, rest].concat()
}

fn ether_type(ip: &[u8]) -> [u8; 2] {
    if ip[0] >> 4 == 4 {
        [0x08, 0x00]
    } else {
        [0x86, 0xdd]
    }
}

fn ppp_type(ip: &[u8]) -> [u8; 2] {
    if ip[0] >> 4 == 4 {
        [0x00, 0x21]
    } else {
        [0x00, 0x57]
    }
}

const MACS: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

/// An Ethernet frame of this type.
pub fn frame(ether_type: [u8; 2], rest: &[u8]) -> Vec<u8> {
    [&MACS[..], &ether_type[..], rest].concat()
}

fn tagged(tags: &[[u8; 4]], ip: &[u8]) -> Vec<u8> {
    [&MACS[..], &tags.concat(), &ether_type(ip)[..], ip].concat()
}

fn sll(ip: &[u8]) -> Vec<u8> {
    let header = [0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
    [&header[..], &ether_type(ip)[..], ip].concat()
}

fn sll2(ip: &[u8]) -> Vec<u8> {
    let rest = [0, 0, 0, 0, 0, 7, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
    [&ether_type(ip)[..], &rest[..], ip].concat()
}

fn family(bytes: [u8; 4], ip: &[u8]) -> Vec<u8> {
    with(&bytes, ip)
}

fn pppoe(ip: &[u8]) -> Vec<u8> {
    let length = (ip.len() as u16 + 2).to_be_bytes();
    [&[0x11, 0, 0, 9][..], &length[..], &ppp_type(ip)[..], ip].concat()
}

/// Around it an IP packet of the outer network.
fn outer(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [from, to]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
    ip(from, to, protocol, payload)
}

fn outer6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [from, to]: [IpAddr; 2] = ["2001:db8:f::1", "2001:db8:f::2"].map(|text| text.parse().unwrap());
    ip(from, to, protocol, payload)
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16 + 8).to_be_bytes();
    [&[0xc0, 0][..], &port.to_be_bytes(), &length, &[0, 0], payload].concat()
}

fn gre(bits: u16, protocol: [u8; 2], words: usize, payload: &[u8]) -> Vec<u8> {
    [&bits.to_be_bytes()[..], &protocol, &vec![0; 4 * words], payload].concat()
}

fn protocol_of(ip: &[u8]) -> u8 {
    if ip[0] >> 4 == 4 { 4 } else { 41 }
}

fn vxlan(port: u16, ip: &[u8]) -> Vec<u8> {
    let inner = with(&[8, 0, 0, 0, 0, 0, 42, 0], &ethernet(ip));
    ethernet(&outer(17, &udp(port, &inner)))
}

/// Puts options between the header of an IPv4 packet and its payload, extension headers between those of an IPv6 packet.
fn optioned(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 {
        packet[0] = 0x47;
        packet.splice(20..20, [1; 8]);
        let length = packet.len() as u16;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
    } else {
        // Hop by hop, routing, destination; each says what is next.
        let inner = packet[6];
        packet[6] = 0;
        let headers = [
            [43, 0, 1, 4, 0, 0, 0, 0].to_vec(),
            [&[60, 2, 0, 0][..], &[0; 20]].concat(),
            [inner, 0, 1, 4, 0, 0, 0, 0].to_vec(),
        ]
        .concat();
        packet.splice(40..40, headers);
        let length = packet.len() as u16 - 40;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
    }
    packet
}

fn authenticated(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let (at, header, length) = if packet[0] >> 4 == 4 {
        (9, 20, 2)
    } else {
        (6, 40, 4)
    };
    let ah = [&[packet[at], 4, 0, 0][..], &[7; 20]].concat();
    packet[at] = 51;
    packet.splice(header..header, ah);
    let total = packet.len() as u16 - if length == 2 { 0 } else { 40 };
    packet[length..length + 2].copy_from_slice(&total.to_be_bytes());
    packet
}

/// No length: as a network card gets it that cuts it into pieces.
fn offloaded(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let length = if packet[0] >> 4 == 4 { 2 } else { 4 };
    packet[length..length + 2].fill(0);
    packet
}

/// A name, a link type, and what makes a frame of an IP packet.
type Wrapping = (&'static str, u32, fn(&[u8]) -> Vec<u8>);

/// Everything that is read.
pub const WRAPPINGS: &[Wrapping] = &[
    ("ethernet", 1, ethernet),
    ("ethernet with a frame check sequence", 0x2400_0001, |ip| {
        with(&ethernet(ip), &[9; 4])
    }),
    ("802.1Q", 1, |ip| tagged(&[[0x81, 0, 0, 5]], ip)),
    ("802.1ad", 1, |ip| {
        tagged(&[[0x88, 0xa8, 0, 7], [0x81, 0, 0, 5]], ip)
    }),
    ("QinQ of old", 1, |ip| {
        tagged(&[[0x91, 0, 0, 7], [0x81, 0, 0, 5]], ip)
    }),
    ("802.2 SNAP", 1, |ip| {
        let snap = [&[0xaa, 0xaa, 3, 0, 0, 0][..], &ether_type(ip), ip].concat();
        frame((snap.len() as u16).to_be_bytes(), &snap)
    }),
    ("PPPoE", 1, |ip| frame([0x88, 0x64], &pppoe(ip))),
    ("PPPoE without Ethernet", 51, pppoe),
    ("PPP", 9, |ip| with(&ppp_type(ip), ip)),
    ("PPP in HDLC framing", 50, |ip| {
        [&[0xff, 3][..], &ppp_type(ip), ip].concat()
    }),
    ("PPP with MPLS", 9, |ip| {
        [&[2, 0x81, 0, 1, 0x01, 64][..], ip].concat()
    }),
    ("MPLS", 1, |ip| {
        frame([0x88, 0x47], &with(&[0, 1, 0x00, 64, 0, 2, 0x01, 64], ip))
    }),
    ("MPLS with Ethernet", 1, |ip| {
        frame([0x88, 0x48], &with(&[0, 2, 0x01, 64, 0, 0, 0, 0], &ethernet(ip)))
    }),
    ("Linux cooked", 113, sll),
    ("Linux cooked 2", 276, sll2),
    ("raw", 101, <[u8]>::to_vec),
    ("raw, old", 12, <[u8]>::to_vec),
    ("raw, OpenBSD", 14, <[u8]>::to_vec),
    ("null, little-endian", 0, |ip| {
        family(
            if ip[0] >> 4 == 4 {
                [2, 0, 0, 0]
            } else {
                [30, 0, 0, 0]
            },
            ip,
        )
    }),
    ("null, big-endian", 0, |ip| {
        family(
            if ip[0] >> 4 == 4 {
                [0, 0, 0, 2]
            } else {
                [0, 0, 0, 24]
            },
            ip,
        )
    }),
    ("loop", 108, |ip| {
        family(
            if ip[0] >> 4 == 4 {
                [0, 0, 0, 2]
            } else {
                [0, 0, 0, 28]
            },
            ip,
        )
    }),
    ("GRE", 1, |ip| {
        ethernet(&outer(47, &gre(0, ether_type(ip), 0, ip)))
    }),
    ("GRE with checksum, key and sequence", 1, |ip| {
        ethernet(&outer6(47, &gre(0xb000, ether_type(ip), 3, ip)))
    }),
    ("GRE with Ethernet", 1, |ip| {
        ethernet(&outer(47, &gre(0x2000, [0x65, 0x58], 1, &ethernet(ip))))
    }),
    ("ERSPAN", 1, |ip| {
        ethernet(&outer(47, &gre(0, [0x88, 0xbe], 0, &ethernet(ip))))
    }),
    ("ERSPAN II", 1, |ip| {
        ethernet(&outer(
            47,
            &gre(0x1000, [0x88, 0xbe], 1, &with(&[0; 8], &ethernet(ip))),
        ))
    }),
    ("ERSPAN III", 1, |ip| {
        ethernet(&outer(
            47,
            &gre(0x1000, [0x22, 0xeb], 1, &with(&[0; 12], &ethernet(ip))),
        ))
    }),
    ("ERSPAN III with a platform header", 1, |ip| {
        let header = [&[0; 11][..], &[1], &[0; 8]].concat();
        ethernet(&outer(
            47,
            &gre(0x1000, [0x22, 0xeb], 1, &with(&header, &ethernet(ip))),
        ))
    }),
    ("VXLAN", 1, |ip| vxlan(4789, ip)),
    ("VXLAN, Linux's port", 113, |ip| {
        sll(&outer6(
            17,
            &udp(8472, &with(&[8, 0, 0, 0, 0, 0, 42, 0], &ethernet(ip))),
        ))
    }),
    ("Geneve", 1, |ip| {
        let header = [2, 0, 0x65, 0x58, 0, 0, 42, 0, 1, 2, 3, 1, 0, 0, 0, 0];
        ethernet(&outer(17, &udp(6081, &with(&header, &ethernet(ip)))))
    }),
    ("IP in IPv4", 1, |ip| ethernet(&outer(protocol_of(ip), ip))),
    ("IP in IPv6", 1, |ip| ethernet(&outer6(protocol_of(ip), ip))),
    ("tunnel in tunnel", 1, |ip| {
        let inner = vxlan(4789, &outer(protocol_of(ip), ip));
        frame([0x88, 0x64], &pppoe(&outer(47, &gre(0, [0x65, 0x58], 0, &inner))))
    }),
    ("options, extension headers", 1, |ip| ethernet(&optioned(ip))),
    ("authentication header", 1, |ip| ethernet(&authenticated(ip))),
    // Not padded: without a length nobody can tell what is padding.
    ("offloaded", 1, |ip| frame(ether_type(ip), &offloaded(ip))),
];
