//! Link layers: from a frame to the IP packet in it.

use super::fields::Fields;

/// Link types, as in <https://www.tcpdump.org/linktypes.html>.
pub mod link_type {
    /// Ethernet.
    pub const ETHERNET: u16 = 1;
}

/// EtherTypes.
mod ether_type {
    pub const IPV4: u16 = 0x0800;
    pub const IPV6: u16 = 0x86dd;
}

const ETHERNET_BYTES: usize = 14;

/// Bytes of which some may not have been captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes<'a> {
    /// What was captured.
    pub data: &'a [u8],
    /// How many there were.
    pub wire_bytes: usize,
}

impl<'a> Bytes<'a> {
    /// Without the first `count`.
    pub fn after(self, count: usize) -> Option<Self> {
        Some(Self {
            data: self.data.get(count..)?,
            wire_bytes: self.wire_bytes.checked_sub(count)?,
        })
    }
}

/// The IP packet in a frame. `None`: there is none.
pub fn ip_packet(link: u16, frame: Bytes<'_>) -> Option<Bytes<'_>> {
    match link {
        link_type::ETHERNET => match Fields::network(frame.data).u16(12)? {
            ether_type::IPV4 | ether_type::IPV6 => frame.after(ETHERNET_BYTES),
            _ => None,
        },
        _ => None,
    }
}
