//! IP packets in pieces.

use super::*;
use crate::source::pcap::fragments as limits;

/// Cuts an IP packet into pieces of `size` payload bytes.
pub fn fragments(packet: &[u8], size: usize) -> Vec<Vec<u8>> {
    assert!(size.is_multiple_of(8));
    if packet[0] >> 4 == 4 {
        let payload = &packet[20..];
        let count = payload.chunks(size).len();
        let piece = |(index, part): (usize, &[u8])| {
            let mut piece = [&packet[..20], part].concat();
            let length = piece.len() as u16;
            piece[2..4].copy_from_slice(&length.to_be_bytes());
            let more = if index + 1 < count { 0x2000 } else { 0 };
            let place = (index * size / 8) as u16 | more;
            piece[6..8].copy_from_slice(&place.to_be_bytes());
            piece
        };
        payload.chunks(size).enumerate().map(piece).collect()
    } else {
        let payload = &packet[40..];
        let count = payload.chunks(size).len();
        let piece = |(index, part): (usize, &[u8])| {
            let more = u16::from(index + 1 < count);
            let place = (index * size) as u16 | more;
            let header = [&[packet[6], 0][..], &place.to_be_bytes(), &[1, 2, 3, 4]].concat();
            let mut piece = [&packet[..40], &header, part].concat();
            let length = piece.len() as u16 - 40;
            piece[4..6].copy_from_slice(&length.to_be_bytes());
            piece[6] = 44;
            piece
        };
        payload.chunks(size).enumerate().map(piece).collect()
    }
}

const ENDS: [(&str, &str); 2] = [
    ("10.0.0.1:40000", "10.0.0.2:80"),
    ("[2001:db8::1]:40000", "[2001:db8::2]:80"),
];

fn talk(client: &str, server: &str) -> Talk {
    let mut talk = Talk::between(client, server);
    talk.open().call("fragmented", 1000).close();
    talk
}

/// What is made of the pieces of each packet.
fn read_pieces(talk: &Talk, link: u32, make: impl Fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>) -> Read {
    let mut packets = Vec::new();
    for tcp in &talk.segments {
        let pieces = make(fragments(&tcp.ip(), 40));
        packets.extend(pieces.into_iter().map(|data| Packet::new(tcp.time_ns, data)));
    }
    read(&pcap(link, &packets))
}

#[test]
fn in_any_order_and_twice() {
    for (client, server) in ENDS {
        let talk = talk(client, server);
        let lines = [format!("{client}>{server} POST /fragmented 201")];
        let read = read_pieces(&talk, 101, |pieces| pieces);
        assert_eq!((read.lines(), read.counters.retransmissions), (lines.to_vec(), 0));
        let read = read_pieces(&talk, 101, |pieces| pieces.into_iter().rev().collect());
        assert_eq!((read.lines(), read.counters.retransmissions), (lines.to_vec(), 0));
        // Captured on two interfaces.
        let read = read_pieces(&talk, 101, |pieces| {
            pieces
                .into_iter()
                .flat_map(|piece| [piece.clone(), piece])
                .collect()
        });
        assert_eq!(read.lines(), lines);
        assert!(read.counters.fragments_again > 0);
        let read = read_pieces(&talk, 101, |pieces| [pieces.clone(), pieces].concat());
        assert_eq!(read.lines(), lines);
        assert_eq!(read.counters.retransmissions, 2);
    }
}

#[test]
fn a_tunnel_in_pieces_of_pieces() {
    let (client, server) = ENDS[0];
    let talk = talk(client, server);
    let [from, to] = ["2001:db8:f::1", "2001:db8:f::2"].map(|text| text.parse().unwrap());
    let read = read_pieces(&talk, 101, |pieces| {
        let tunnel = |inner: Vec<u8>| fragments(&ip(from, to, 4, &inner), 24);
        pieces.into_iter().flat_map(tunnel).collect()
    });
    assert_eq!(read.lines(), [format!("{client}>{server} POST /fragmented 201")]);
}

#[test]
fn pieces_that_overlap_spoil_their_packet() {
    let (client, server) = ENDS[0];
    let talk = talk(client, server);
    let read = read_pieces(&talk, 101, |mut pieces| {
        if pieces.len() > 3 {
            // The second one begins in the first.
            pieces[1][7] -= 1;
        }
        pieces
    });
    assert_eq!(read.lines(), [""; 0]);
    assert!(read.counters.fragments_spoilt > 0);
    assert!(read.counters.gap_bytes > 0);
}

#[test]
fn pieces_are_not_waited_for_for_ever() {
    let (client, server) = ENDS[1];
    let tcp = &talk(client, server).segments[3];
    let mut pieces = fragments(&tcp.ip(), 40);
    let last = pieces.pop().unwrap();
    let whole = |gap_ns: u64| {
        let mut packets: Vec<_> = pieces
            .iter()
            .map(|data| Packet::new(tcp.time_ns, data.clone()))
            .collect();
        packets.push(Packet::new(tcp.time_ns + gap_ns, last.clone()));
        let counters = read(&pcap(101, &packets)).counters;
        (counters.segments, counters.fragmented_expired)
    };
    assert_eq!(whole(limits::WAIT_NS - 1), (1, 0));
    assert_eq!(whole(limits::WAIT_NS), (0, 1));
}

#[test]
fn their_number_and_bytes_are_bounded() {
    let [from, to] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
    let first = |number: usize, bytes: usize| {
        let mut piece = ip(from, to, 6, &vec![0; bytes]);
        piece[4..6].copy_from_slice(&(number as u16).to_be_bytes());
        piece[6..8].copy_from_slice(&[0x20, 0]);
        Packet::new(BEGIN_NS, piece)
    };
    let flood = |count: usize, bytes: usize| {
        let packets: Vec<_> = (0..count).map(|number| first(number, bytes)).collect();
        read(&pcap(101, &packets)).counters
    };
    assert_eq!(flood(limits::PACKETS_MAX, 8).fragmented_evicted, 0);
    assert_eq!(flood(limits::PACKETS_MAX + 3, 8).fragmented_evicted, 3);
    let each = 32 << 10;
    let most = limits::BYTES_MAX / each;
    let evicted = flood(most + 2, each).fragmented_evicted;
    assert!(
        (3..6).contains(&evicted),
        "{evicted}: pieces cost more than their bytes"
    );
}

#[test]
fn a_piece_that_is_cut_spoils_its_packet() {
    let (client, server) = ENDS[0];
    let tcp = &talk(client, server).segments[3];
    let pieces = fragments(&tcp.ip(), 40);
    let packets: Vec<_> = pieces
        .into_iter()
        .map(|data| Packet::new(tcp.time_ns, data).cut(50))
        .collect();
    let count = packets.len() as u64;
    let counters = read(&pcap(101, &packets)).counters;
    assert_eq!((counters.segments, counters.fragments_spoilt), (0, count));
}
