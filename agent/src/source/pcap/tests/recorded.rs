//! Captures of real servers and clients, `tests/fixtures/pcap`.

use std::path::Path;

use super::*;

fn fixture(name: &str) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/pcap");
    std::fs::read(directory.join(name)).unwrap()
}

/// What curl asked, without ports and addresses.
fn asked(read: &Read) -> Vec<String> {
    let lines = read.lines();
    lines
        .iter()
        .map(|line| line.split_once(' ').unwrap().1.to_owned())
        .collect()
}

#[test]
fn three_exchanges_each() {
    for (name, server, twice) in [
        ("lo.pcap", "127.0.0.1:8080", false),
        ("lo6.pcap", "[::1]:8080", false),
        ("ethernet.pcap", "192.0.2.2:8080", false),
        ("any_sll.pcap", "10.5.0.2:8080", true),
        ("any_sll2.pcap", "10.5.0.2:8080", true),
        ("interfaces.pcapng", "10.5.0.2:8080", true),
        ("vxlan.pcap", "10.42.0.2:8080", false),
        ("fragments.pcap", "10.42.0.2:8080", false),
    ] {
        let read = read(&fixture(name));
        assert_eq!(
            asked(&read),
            ["GET /hello?name=one 200", "GET /large 200", "POST /orders 201"],
            "{name}"
        );
        assert!(
            read.calls.iter().all(|call| call.server.to_string() == server),
            "{name}"
        );
        let bodies: Vec<_> = read
            .calls
            .iter()
            .map(|call| {
                call.exchange
                    .response
                    .as_ref()
                    .map_or(0, |response| response.body.decoded_bytes)
            })
            .collect();
        assert_eq!(bodies, [6, 3000, 9], "{name}");
        assert_eq!(read.errors, [""; 0], "{name}");
        let counters = &read.counters;
        assert_eq!(
            (counters.connections, counters.connections_late, counters.gaps),
            (1, 0, 0),
            "{name}"
        );
        // Some of it the capture has only once everything is over.
        let again = counters.retransmissions + counters.segments_after_end;
        assert_eq!(again > 0, twice, "{name}");
        assert_eq!(
            counters.packets_broken + counters.packets_unknown_link,
            0,
            "{name}"
        );
        // The tunnel adds to packets that fill the line.
        let in_pieces = ["vxlan.pcap", "fragments.pcap"].contains(&name);
        assert_eq!(counters.fragments > 0, in_pieces, "{name}");
    }
}

#[test]
fn cut_at_300_bytes() {
    let read = read(&fixture("snapped.pcap"));
    assert_eq!(
        asked(&read),
        [
            "GET /hello?name=one 200",
            "GET /large 200 truncated",
            "POST /orders 201"
        ]
    );
    assert_eq!(read.counters.gaps, 0);
    assert!(read.counters.segments_cut > 0);
}
