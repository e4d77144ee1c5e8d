//! From a frame to the TCP segment in it, through whatever is in between.

use super::fragments::{Fragments, Piece};
use super::ip::{Packet, protocol};
use super::tcp::Segment;
use super::{link, tunnel};

/// Layers of a packet that are believed: VLAN tags, labels, tunnels in tunnels.
pub const LAYERS_MAX: usize = 16;

/// Bytes of which the last may not have been captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes<'a> {
    /// What was captured.
    pub data: &'a [u8],
    /// How many there were.
    pub wire_bytes: usize,
}

impl<'a> Bytes<'a> {
    /// Without the first `count`. `None`: there were fewer, or not all of them were captured.
    pub fn after(self, count: usize) -> Option<Self> {
        Some(Self {
            data: self.data.get(count..)?,
            wire_bytes: self.wire_bytes.checked_sub(count)?,
        })
    }

    /// The first `count`.
    pub fn upto(self, count: usize) -> Self {
        Self {
            data: self.data.get(..count).unwrap_or(self.data),
            wire_bytes: self.wire_bytes.min(count),
        }
    }
}

/// What a layer has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer<'a> {
    /// An Ethernet frame.
    Ethernet(Bytes<'a>),
    /// What an EtherType says.
    Typed(u16, Bytes<'a>),
    /// An IP packet.
    Ip(Bytes<'a>),
    /// Something that is not read.
    Other,
    /// A header that was not captured whole, or is none.
    Broken,
}

/// Why a packet gives no segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// Its link type is not known.
    UnknownLink,
    /// It has no IP packet in it.
    NotIp,
    /// It has something else than TCP in it.
    NotTcp,
    /// A header was cut off, or is none.
    Broken,
    /// It has more layers than are believed.
    TooDeep,
    /// It is a piece of an IP packet, of which others are missing.
    Piece(Piece),
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Decoder {
    /// IP packets of which pieces are missing.
    pub fragments: Fragments,
}

impl Decoder {
    /// Hands the segment in a frame to `then`.
    pub fn frame(
        &mut self,
        link: u16,
        frame: Bytes<'_>,
        time_ns: u64,
        then: &mut impl FnMut(&Segment<'_>),
    ) -> Result<(), Nothing> {
        let layer = link::outermost(link, frame).ok_or(Nothing::UnknownLink)?;
        self.layers(layer, LAYERS_MAX, time_ns, then)
    }

    fn layers(
        &mut self,
        mut layer: Layer<'_>,
        most: usize,
        time_ns: u64,
        then: &mut impl FnMut(&Segment<'_>),
    ) -> Result<(), Nothing> {
        let mut seen_ip = most < LAYERS_MAX;
        for left in (0..most).rev() {
            layer = match layer {
                Layer::Ethernet(frame) => link::ethernet(frame),
                Layer::Typed(ether_type, rest) => link::by_type(ether_type, rest),
                Layer::Ip(bytes) => {
                    seen_ip = true;
                    let packet = Packet::parse(bytes).ok_or(Nothing::Broken)?;
                    if let Some(fragment) = packet.fragment {
                        let payload = self
                            .fragments
                            .take(&packet, fragment, time_ns)
                            .map_err(Nothing::Piece)?;
                        let payload = Bytes {
                            data: &payload,
                            wire_bytes: payload.len(),
                        };
                        let whole = packet.whole(payload).ok_or(Nothing::Broken)?;
                        return match inside(&whole, time_ns, then)? {
                            Some(layer) => self.layers(layer, left, time_ns, then),
                            None => Ok(()),
                        };
                    }
                    match inside(&packet, time_ns, then)? {
                        Some(layer) => layer,
                        None => return Ok(()),
                    }
                }
                Layer::Other if seen_ip => return Err(Nothing::NotTcp),
                Layer::Other => return Err(Nothing::NotIp),
                Layer::Broken => return Err(Nothing::Broken),
            };
        }
        Err(Nothing::TooDeep)
    }
}

/// What is in a whole IP packet. `None`: a segment, which was handed on.
fn inside<'a>(
    packet: &Packet<'a>,
    time_ns: u64,
    then: &mut impl FnMut(&Segment<'_>),
) -> Result<Option<Layer<'a>>, Nothing> {
    Ok(Some(match packet.protocol {
        protocol::TCP => {
            let segment = Segment::parse(packet.payload, packet.addresses, time_ns).ok_or(Nothing::Broken)?;
            then(&segment);
            return Ok(None);
        }
        protocol::UDP => tunnel::udp(packet.payload),
        protocol::GRE => tunnel::gre(packet.payload),
        protocol::IPV4 | protocol::IPV6 => Layer::Ip(packet.payload),
        _ => Layer::Other,
    }))
}
