//! Link layers: what is in a frame.

use super::decode::{Bytes, Layer};
use super::fields::{Endian, Fields};

/// Link types, as in <https://www.tcpdump.org/linktypes.html>.
pub mod link_type {
    /// BSD loopback: the address family in the byte order of the machine that captured.
    pub const NULL: u16 = 0;
    /// Ethernet.
    pub const ETHERNET: u16 = 1;
    /// PPP, with or without HDLC framing.
    pub const PPP: u16 = 9;
    /// IP without a link layer; and two numbers that old files have instead.
    pub const RAW: [u16; 3] = [101, 12, 14];
    /// PPP in HDLC-like framing.
    pub const PPP_HDLC: u16 = 50;
    /// PPPoE without Ethernet.
    pub const PPP_ETHER: u16 = 51;
    /// OpenBSD loopback: as [`NULL`], in network byte order.
    pub const LOOP: u16 = 108;
    /// Linux cooked, version 1: the device `any`.
    pub const SLL: u16 = 113;
    /// IPv4 without a link layer.
    pub const IPV4: u16 = 228;
    /// IPv6 without a link layer.
    pub const IPV6: u16 = 229;
    /// Linux cooked, version 2.
    pub const SLL2: u16 = 276;
}

/// EtherTypes (IEEE 802 numbers).
pub mod ether_type {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// A whole Ethernet frame (RFC 1701).
    pub const BRIDGED: u16 = 0x6558;
    /// 802.1Q, 802.1ad, and what was used before 802.1ad.
    pub const VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
    /// PPPoE session stage (RFC 2516).
    pub const PPPOE_SESSION: u16 = 0x8864;
    /// MPLS (RFC 3032, RFC 5332).
    pub const MPLS: [u16; 2] = [0x8847, 0x8848];
    /// Below this it is a length, and 802.2 follows.
    pub const LEAST: u16 = 0x0600;
}

/// PPP protocol numbers.
mod ppp {
    pub const IPV4: u16 = 0x0021;
    pub const IPV6: u16 = 0x0057;
    pub const MPLS: [u16; 2] = [0x0281, 0x0283];
}

const ETHERNET_BYTES: usize = 14;
const VLAN_BYTES: usize = 4;
const PPPOE_BYTES: usize = 6;
const MPLS_LABEL_BYTES: usize = 4;
const SLL_BYTES: usize = 16;
const SLL2_BYTES: usize = 20;
const FAMILY_BYTES: usize = 4;
/// 802.2 header with SNAP extension for EtherTypes (RFC 1042).
const SNAP: [u8; 6] = [0xaa, 0xaa, 3, 0, 0, 0];
/// Address and control field of HDLC framing (RFC 1662 3.1).
const HDLC: [u8; 2] = [0xff, 3];
/// `AF_INET` everywhere, `AF_INET6` of Linux, NetBSD and OpenBSD, FreeBSD, Darwin.
const FAMILIES: [u32; 5] = [2, 10, 24, 28, 30];

/// The outermost layer of a frame. `None`: the link type is not known.
pub fn outermost(link: u16, frame: Bytes<'_>) -> Option<Layer<'_>> {
    use link_type as known;
    Some(match link {
        known::ETHERNET => Layer::Ethernet(frame),
        known::IPV4 | known::IPV6 => Layer::Ip(frame),
        link if known::RAW.contains(&link) => Layer::Ip(frame),
        known::NULL | known::LOOP => family(frame),
        known::SLL => typed(frame, 14, SLL_BYTES),
        known::SLL2 => typed(frame, 0, SLL2_BYTES),
        known::PPP | known::PPP_HDLC => {
            let framed = frame.data.starts_with(&HDLC);
            let header = if framed { HDLC.len() } else { 0 };
            frame.after(header).map_or(Layer::Broken, point_to_point)
        }
        known::PPP_ETHER => pppoe(frame),
        _ => return None,
    })
}

/// What follows a header of `header_bytes` bytes that has an EtherType at a place.
fn typed(frame: Bytes<'_>, place: usize, header_bytes: usize) -> Layer<'_> {
    match (Fields::network(frame.data).u16(place), frame.after(header_bytes)) {
        (Some(ether_type), Some(rest)) => Layer::Typed(ether_type, rest),
        _ => Layer::Broken,
    }
}

fn family(frame: Bytes<'_>) -> Layer<'_> {
    let Some(family) = Fields::network(frame.data).array(0) else {
        return Layer::Broken;
    };
    let known = [Endian::Big, Endian::Little].map(|endian| FAMILIES.contains(&endian.u32(family)));
    match frame.after(FAMILY_BYTES) {
        Some(rest) if known.contains(&true) => Layer::Ip(rest),
        _ => Layer::Other,
    }
}

/// What is in an Ethernet frame.
pub fn ethernet(frame: Bytes<'_>) -> Layer<'_> {
    typed(frame, 12, ETHERNET_BYTES)
}

/// What follows an EtherType.
pub fn by_type(ether_type: u16, rest: Bytes<'_>) -> Layer<'_> {
    match ether_type {
        ether_type::IPV4 | ether_type::IPV6 => Layer::Ip(rest),
        ether_type::BRIDGED => Layer::Ethernet(rest),
        ether_type::PPPOE_SESSION => pppoe(rest),
        tag if ether_type::VLAN.contains(&tag) => typed(rest, 2, VLAN_BYTES),
        label if ether_type::MPLS.contains(&label) => mpls(rest),
        length if length < ether_type::LEAST && rest.data.starts_with(&SNAP) => {
            typed(rest, SNAP.len(), SNAP.len() + 2)
        }
        _ => Layer::Other,
    }
}

fn pppoe(rest: Bytes<'_>) -> Layer<'_> {
    match Fields::network(rest.data).u16(0) {
        // Version 1, type 1, code 0: session data (RFC 2516 4).
        Some(0x1100) => rest.after(PPPOE_BYTES).map_or(Layer::Broken, point_to_point),
        Some(_) => Layer::Other,
        None => Layer::Broken,
    }
}

fn point_to_point(rest: Bytes<'_>) -> Layer<'_> {
    let Layer::Typed(protocol, rest) = typed(rest, 0, 2) else {
        return Layer::Broken;
    };
    match protocol {
        ppp::IPV4 | ppp::IPV6 => Layer::Ip(rest),
        label if ppp::MPLS.contains(&label) => mpls(rest),
        _ => Layer::Other,
    }
}

/// A stack of labels (RFC 3032 2.1). Nothing says what is below the last one: IP tells by its version, a bridged frame by the control
/// word before it (RFC 4385 3).
fn mpls(mut rest: Bytes<'_>) -> Layer<'_> {
    loop {
        let last = match Fields::network(rest.data).u8(2) {
            Some(byte) => byte & 1 != 0,
            None => return Layer::Broken,
        };
        rest = match rest.after(MPLS_LABEL_BYTES) {
            Some(rest) => rest,
            None => return Layer::Broken,
        };
        if last {
            break;
        }
    }
    match rest.data.first().map(|byte| byte >> 4) {
        Some(4 | 6) => Layer::Ip(rest),
        Some(0) => rest
            .after(MPLS_LABEL_BYTES)
            .map_or(Layer::Broken, Layer::Ethernet),
        Some(_) => Layer::Other,
        None => Layer::Broken,
    }
}
