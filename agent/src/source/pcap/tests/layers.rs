//! Every layer that may lie between the file and a segment.

use super::wrap::WRAPPINGS;
use super::*;

fn talk(client: &str, server: &str) -> Talk {
    let mut talk = Talk::between(client, server);
    talk.open().call("first", 1000).call("second", 70).close();
    talk
}

const ENDS: [(&str, &str); 2] = [
    ("10.0.0.1:40000", "10.0.0.2:80"),
    ("[2001:db8::1]:40000", "[2001:db8::2]:80"),
];

#[test]
fn every_layer() {
    for (client, server) in ENDS {
        let talk = talk(client, server);
        for (name, link, wrap) in WRAPPINGS {
            let packets: Vec<_> = talk
                .segments
                .iter()
                .map(|tcp| Packet::new(tcp.time_ns, wrap(&tcp.ip())))
                .collect();
            let read = read(&pcap(*link, &packets));
            let line = |call| format!("{client}>{server} POST /{call} 201");
            assert_eq!(read.lines(), [line("first"), line("second")], "{name}");
            assert_eq!(read.counters.segments, talk.segments.len() as u64, "{name}");
            assert_eq!(read.counters.gaps + read.counters.retransmissions, 0, "{name}");
        }
    }
}

/// Whatever is cut off a frame: no segment, or one that is cut; never anything invented.
#[test]
fn every_layer_cut_everywhere() {
    for (client, server) in ENDS {
        let tcp = &talk(client, server).segments[3];
        for (name, link, wrap) in WRAPPINGS {
            let whole = wrap(&tcp.ip());
            for length in 0..whole.len() {
                let packet = Packet::new(tcp.time_ns, whole.clone()).cut(length);
                let read = read(&pcap(*link, &[packet]));
                let counters = &read.counters;
                let broken = counters.packets_broken + counters.packets_not_ip + counters.packets_not_tcp;
                assert_eq!(counters.segments + broken, 1, "{name} {length}");
                let bytes: Vec<_> = read.events.iter().filter_map(|event| event.bytes()).collect();
                for data in bytes {
                    assert!(tcp.data.starts_with(data), "{name} {length}");
                }
            }
        }
    }
}

#[test]
fn what_is_not_read_is_counted() {
    let arp = wrap::frame([0x08, 0x06], &[0; 28]);
    let [from, to] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
    let udp = ethernet(&ip(from, to, 17, &[0xc0, 0, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4]));
    let icmp = ethernet(&ip(from, to, 1, &[8, 0, 0, 0, 0, 0, 0, 0]));
    let short_header = ethernet(&ip(from, to, 6, &[0x10; 20]));
    let packets = [arp, udp, icmp, short_header, vec![1, 2, 3]].map(|data| Packet::new(BEGIN_NS, data));
    let counters = read(&pcap(1, &packets)).counters;
    let seen = (
        counters.packets_not_ip,
        counters.packets_not_tcp,
        counters.packets_broken,
    );
    assert_eq!((counters.packets, seen), (5, (1, 2, 2)));
    let counters = read(&pcap(147, &packets)).counters;
    assert_eq!(counters.packets_unknown_link, 5);
}

#[test]
fn nesting_is_bounded() {
    let tcp = &talk(ENDS[0].0, ENDS[0].1).segments[3];
    let nested = |tags: usize| {
        let mut data = vec![2; 12];
        for _ in 0..tags {
            data.extend([0x81, 0, 0, 5]);
        }
        data.extend([0x08, 0]);
        data.extend(tcp.ip());
        read(&pcap(1, &[Packet::new(tcp.time_ns, data)])).counters
    };
    // Besides the tags: the frame, the type, the packet.
    let most = decode::LAYERS_MAX - 3;
    assert_eq!((nested(most).segments, nested(most).packets_too_deep), (1, 0));
    assert_eq!(
        (nested(most + 1).segments, nested(most + 1).packets_too_deep),
        (0, 1)
    );
    let tunnels = (0..decode::LAYERS_MAX).fold(tcp.ip(), |inner, _| {
        let [from, to] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        ip(from, to, 4, &inner)
    });
    let counters = read(&pcap(101, &[Packet::new(tcp.time_ns, tunnels)])).counters;
    assert_eq!((counters.segments, counters.packets_too_deep), (0, 1));
}
