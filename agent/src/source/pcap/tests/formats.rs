//! File formats: the same packets, whatever they are written in; and files that break off or lie.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// Either byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, number: u16) -> [u8; 2] {
        if self == Self::Little {
            number.to_le_bytes()
        } else {
            number.to_be_bytes()
        }
    }

    fn u32(self, number: u32) -> [u8; 4] {
        if self == Self::Little {
            number.to_le_bytes()
        } else {
            number.to_be_bytes()
        }
    }
}

const ORDERS: [Order; 2] = [Order::Little, Order::Big];

fn classic(order: Order, magic: u32, packets: &[Packet]) -> Vec<u8> {
    let mut file = order.u32(magic).to_vec();
    file.extend([order.u16(2), order.u16(4)].concat());
    file.extend([order.u32(0), order.u32(0), order.u32(65535), order.u32(1)].concat());
    let unit = if magic == 0xa1b2_3c4d { 1 } else { 1000 };
    for packet in packets {
        let units = packet.time_ns % 1_000_000_000 / unit;
        for word in [
            (packet.time_ns / 1_000_000_000) as u32,
            units as u32,
            packet.data.len() as u32,
            packet.wire_bytes,
        ] {
            file.extend(order.u32(word));
        }
        if magic == 0xa1b2_cd34 {
            file.extend([7; 8]);
        }
        file.extend(&packet.data);
    }
    file
}

fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = order.u32(padded as u32 + 12);
    let padding = vec![0; padded - body.len()];
    [&order.u32(kind)[..], &length, body, &padding, &length].concat()
}

fn option(order: Order, code: u16, value: &[u8]) -> Vec<u8> {
    let padding = vec![0; value.len().next_multiple_of(4) - value.len()];
    [
        &order.u16(code)[..],
        &order.u16(value.len() as u16),
        value,
        &padding,
    ]
    .concat()
}

fn section(order: Order) -> Vec<u8> {
    let body = [
        &order.u32(0x1a2b_3c4d)[..],
        &order.u16(1),
        &order.u16(0),
        &[0xff; 8],
        &option(order, 4, b"a test"),
    ]
    .concat();
    block(order, 0x0a0d_0d0a, &body)
}

fn interface(order: Order, link: u16, snap: u32, options: &[u8]) -> Vec<u8> {
    let body = [&order.u16(link)[..], &[0, 0], &order.u32(snap), options].concat();
    block(order, 1, &body)
}

fn enhanced(order: Order, interface: u32, units: u64, packet: &Packet) -> Vec<u8> {
    let padding = vec![0; packet.data.len().next_multiple_of(4) - packet.data.len()];
    let body = [
        &order.u32(interface)[..],
        &order.u32((units >> 32) as u32),
        &order.u32(units as u32),
        &order.u32(packet.data.len() as u32),
        &order.u32(packet.wire_bytes),
        &packet.data,
        &padding,
        &option(order, 2, &[0; 4]),
        &option(order, 1, b"noted"),
        &[0; 4],
    ]
    .concat();
    block(order, 6, &body)
}

fn ng(order: Order, packets: &[Packet]) -> Vec<u8> {
    let mut file = section(order);
    file.extend(interface(order, 1, 0, b""));
    for packet in packets {
        file.extend(enhanced(order, 0, packet.time_ns / 1000, packet));
    }
    file
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn talk() -> Talk {
    let mut talk = Talk::new();
    talk.open().call("first", 100).call("second", 1000).close();
    talk
}

fn times(read: &Read) -> Vec<u64> {
    read.calls
        .iter()
        .map(|call| call.exchange.request.first_byte)
        .collect()
}

#[test]
fn every_format_gives_the_same() {
    let talk = talk();
    let packets = talk.packets();
    let expected = read(&talk.pcap());
    assert_eq!(expected.lines().len(), 2);
    for order in ORDERS {
        let mut several = section(order);
        several.extend(block(order, 5, &[1; 16]));
        several.extend(interface(order, 1, 65535, b""));
        several.extend(block(order, 4, &vec![2; 300_000]));
        let (one, two) = packets.split_at(packets.len() / 2);
        for packet in one {
            several.extend(enhanced(order, 0, packet.time_ns / 1000, packet));
            several.extend(block(order, 0x0bad, b"custom"));
        }
        let files = [
            classic(order, 0xa1b2_c3d4, &packets),
            classic(order, 0xa1b2_3c4d, &packets),
            classic(order, 0xa1b2_cd34, &packets),
            ng(order, &packets),
            [several.clone(), ng(Order::Little, two)].concat(),
            [several, ng(Order::Big, two)].concat(),
            gzip(&ng(order, &packets)),
            gzip(&classic(order, 0xa1b2_c3d4, &packets)),
            [gzip(&ng(order, one)), gzip(&ng(order, two))].concat(),
        ];
        for (index, file) in files.iter().enumerate() {
            let read = read(file);
            assert_eq!(read.errors, [""; 0], "{order:?} {index}");
            assert_eq!(read.events, expected.events, "{order:?} {index}");
            assert_eq!(times(&read), times(&expected), "{order:?} {index}");
        }
    }
}

#[test]
fn units_and_offsets_of_time() {
    let talk = talk();
    let expected = times(&read(&talk.pcap()));
    const S: u64 = 1_000_000_000;
    let binary = |ns: u64| ((ns / S) << 20) | (((ns % S) << 20) / S);
    // What an interface says, and a time in its unit.
    type Case = (Vec<(u16, Vec<u8>)>, Box<dyn Fn(u64) -> u64>, u64);
    let cases: Vec<Case> = vec![
        (vec![], Box::new(|ns| ns / 1000), 0),
        (vec![(9, vec![9])], Box::new(|ns| ns), 0),
        (vec![(9, vec![3])], Box::new(|ns| ns / 1_000_000), 1_000_000),
        (vec![(9, vec![10])], Box::new(|ns| ns * 10), 0),
        (vec![(9, vec![0x80 | 20])], Box::new(binary), 1000),
        (
            vec![(9, vec![9]), (14, 1_000_000_u64.to_be_bytes().to_vec())],
            Box::new(|ns| ns - 1_000_000_000_000_000),
            0,
        ),
        (
            vec![(14, (-3600_i64).to_be_bytes().to_vec())],
            Box::new(|ns| ns / 1000 + 3_600_000_000),
            0,
        ),
    ];
    for (options, units, precision) in cases {
        let order = Order::Big;
        let options: Vec<u8> = options
            .iter()
            .flat_map(|(code, value)| option(order, *code, value))
            .collect();
        let mut file = section(order);
        file.extend(interface(order, 1, 0, &options));
        for packet in talk.packets() {
            file.extend(enhanced(order, 0, units(packet.time_ns), &packet));
        }
        let read = read(&file);
        assert_eq!(times(&read).len(), 2);
        for (time, expected) in times(&read).iter().zip(&expected) {
            assert!(
                time.abs_diff(*expected) <= precision,
                "{options:?} {time} {expected}"
            );
        }
    }
}

#[test]
fn interfaces_differ() {
    // The client's packets on a cooked device, the server's on Ethernet, in other units.
    let talk = talk();
    let order = Order::Little;
    let mut file = section(order);
    file.extend(interface(order, 101, 0, &option(order, 9, &[9])));
    file.extend(interface(order, 1, 0, b""));
    for tcp in &talk.segments {
        let (number, units, data) = if tcp.from == talk.client {
            (0, tcp.time_ns, tcp.ip())
        } else {
            (1, tcp.time_ns / 1000, ethernet(&tcp.ip()))
        };
        file.extend(enhanced(order, number, units, &Packet::new(0, data)));
    }
    assert_eq!(read(&file).events, read(&talk.pcap()).events);
}

#[test]
fn simple_and_obsolete_packets() {
    let talk = talk();
    for order in ORDERS {
        let mut simple = section(order);
        simple.extend(interface(order, 1, 90, b""));
        let mut obsolete = section(order);
        obsolete.extend(interface(order, 1, 0, b""));
        for packet in talk.packets() {
            let snapped = packet.clone().cut(90);
            let body = [&order.u32(packet.wire_bytes)[..], &snapped.data].concat();
            simple.extend(block(order, 3, &body));
            let units = packet.time_ns / 1000;
            let body = [
                &[0; 4][..],
                &order.u32((units >> 32) as u32),
                &order.u32(units as u32),
                &order.u32(packet.data.len() as u32),
                &order.u32(packet.wire_bytes),
                &packet.data,
            ]
            .concat();
            obsolete.extend(block(order, 2, &body));
        }
        let read_simple = read(&simple);
        assert_eq!(read_simple.errors, [""; 0]);
        assert_eq!(read_simple.lines().len(), 0, "heads are cut");
        assert!(read_simple.counters.segments_cut > 0);
        assert_eq!(read_simple.counters.segments, talk.segments.len() as u64);
        assert_eq!(read(&obsolete).events, read(&talk.pcap()).events);
    }
}

/// Cut anywhere: an error that says where, or none between two packets; what came before is used.
#[test]
fn cut_anywhere() {
    let packets = talk().packets();
    let whole = [
        classic(Order::Little, 0xa1b2_c3d4, &packets),
        ng(Order::Big, &packets),
    ];
    for file in whole {
        let all = read(&file);
        let mut most = 0;
        for length in 0..file.len() {
            let read = read(&file[..length]);
            let packets = read.counters.packets;
            assert!(packets >= most && packets < all.counters.packets, "{length}");
            most = packets;
            assert!(read.errors.len() <= 1, "{length}");
            for error in &read.errors {
                assert!(
                    error.contains(&format!("the {packets} packets before are used")),
                    "{error}"
                );
            }
            assert_eq!(read.counters.files_broken, read.errors.len() as u64);
            assert!(read.calls.len() <= all.calls.len());
        }
    }
}

#[test]
fn compressed_and_cut() {
    let file = gzip(&talk().pcap());
    for length in [1, 5, 12, file.len() / 2, file.len() - 1] {
        let read = read(&file[..length]);
        assert_eq!(read.errors.len(), 1, "{length}");
    }
    let mut broken = file.clone();
    let middle = broken.len() / 2;
    broken[middle..].fill(0x55);
    assert_eq!(read(&broken).errors.len(), 1);
}

#[test]
fn what_a_broken_file_is_told_of() {
    let packets = talk().packets();
    let little = |at: usize, word: u32, mut file: Vec<u8>| {
        file[at..at + 4].copy_from_slice(&word.to_le_bytes());
        file
    };
    let pcap = || classic(Order::Little, 0xa1b2_c3d4, &packets);
    let pcapng = || ng(Order::Little, &packets);
    let first_packet = section(Order::Little).len() + interface(Order::Little, 1, 0, b"").len();
    let cases: Vec<(Vec<u8>, u64, &str)> = vec![
        (
            b"GET / HTTP/1.1".to_vec(),
            0,
            "no capture: it begins with [47, 45, 54, 20]",
        ),
        (b"".to_vec(), 0, "no capture: it has 0 bytes"),
        (pcap()[..20].to_vec(), 0, "inside a file header of 24 bytes"),
        (little(4, 3, pcap()), 0, "unknown version 3.0"),
        (
            little(32, u32::MAX, pcap()),
            24,
            "a packet says it has 4294967295 bytes",
        ),
        (
            little(32, 100_000, pcap()),
            24,
            "the file ends inside a packet of 100016 bytes",
        ),
        (
            little(8, 0x0102_0304, pcapng()),
            0,
            "byte-order magic 0x04030201 is none",
        ),
        (little(12, 2, pcapng()), 0, "unknown version 2.0"),
        (little(4, 7, pcapng()), 0, "a block has at least 12 bytes"),
        (
            little(first_packet + 4, 40, pcapng()),
            first_packet as u64,
            "the length at its end is another",
        ),
        (
            little(first_packet + 8, 9, pcapng()),
            first_packet as u64,
            "a packet of interface 9",
        ),
        (
            little(first_packet + 20, 5000, pcapng()),
            first_packet as u64,
            "its packet does not fit in",
        ),
        (
            little(first_packet + 4, 1 << 30, pcapng()),
            first_packet as u64,
            "that much is not believed",
        ),
    ];
    for (file, offset, cause) in cases {
        let broken = file_of(&file);
        let good = talk().pcap();
        let read = read_with(&[&file, &good], Limits::default());
        let [error] = &read.errors[..] else {
            panic!("{cause}: {:?}", read.errors)
        };
        assert!(error.contains(cause), "{error}");
        assert!(error.contains(&format!("byte {offset}: ")), "{error}");
        assert_eq!(read.lines().len(), 2, "the next file is read: {cause}");
        drop(broken);
    }
    let mut source = Source::new(["/nowhere/at all".into()], Limits::default());
    let error = source.next(&mut |_| {}).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/at all: "), "{error}");
    assert!(!source.next(&mut |_| {}).unwrap());
}

#[test]
fn progress() {
    let file = file_of(&talk().pcap());
    let mut source = Source::new([file.path().to_owned()], Limits::default());
    assert_eq!((source.bytes_read(), source.file()), (0, None));
    while source.next(&mut |_| {}).unwrap() {
        assert_eq!(source.file(), Some(file.path()));
    }
    assert_eq!(source.bytes_read(), file.path().metadata().unwrap().len());
    assert_eq!(source.file(), None);
}

#[test]
fn captures_are_told_from_others() {
    for order in ORDERS {
        assert!(is_capture(&ng(order, &[])));
        for magic in [0xa1b2_c3d4, 0xa1b2_3c4d, 0xa1b2_cd34] {
            assert!(is_capture(&classic(order, magic, &[])));
        }
    }
    assert!(!is_capture(b"{\"log\"") && !is_capture(b"") && !is_capture(&[0x0a, 0x0d]));
}
