//! Lives of connections: how they begin, go wrong and end.

use super::super::flow::holes::PATIENCE_NS;
use super::super::{stream, table};
use super::*;

const LINE: &str = "10.0.0.1:40000>10.0.0.2:8080";

fn line(name: &str) -> String {
    format!("{LINE} POST /{name} 201")
}

fn late(name: &str) -> String {
    format!("{LINE} POST /{name} 201 late_join")
}

/// Without the first `count` segments.
fn joined(talk: &Talk, count: usize) -> Vec<u8> {
    pcap(1, &packets(&talk.segments[count..]))
}

#[test]
fn joined_between_two_exchanges() {
    let mut talk = Talk::new();
    talk.open().call("first", 1000);
    let before = talk.segments.len();
    talk.call("second", 1000).call("third", 1000).close();
    let read = read(&joined(&talk, before));
    assert_eq!(read.lines(), [late("second"), line("third")]);
    assert_eq!((read.counters.connections_late, read.counters.gaps), (1, 0));
}

#[test]
fn joined_anywhere() {
    let mut talk = Talk::new();
    talk.open()
        .call("first", 30)
        .call("second", 30)
        .call("third", 30)
        .close();
    for skipped in 0..talk.segments.len() {
        let read = read(&joined(&talk, skipped));
        let lines = read.lines();
        for text in &lines {
            let known = ["first", "second", "third"]
                .iter()
                .any(|name| text.starts_with(&line(name)));
            assert!(known, "{skipped}: {text}");
        }
        assert_eq!(read.counters.gaps, 0, "{skipped}");
        assert!(lines.len() <= 3);
    }
    // The third exchange is whole: 3 segments of handshake, 3 of its end, and its own.
    let own = (talk.segments.len() - 6) / 3;
    let read = read(&joined(&talk, talk.segments.len() - 3 - own - 1));
    assert_eq!(read.lines(), [late("third")]);
}

#[test]
fn the_client_is_told_by_bytes_before_ports() {
    // The server has the higher port, and says the first that is seen.
    let mut talk = Talk::between("10.0.0.1:1024", "10.0.0.2:50051");
    talk.open().call("first", 1000);
    let before = talk.segments.len();
    talk.say(1, &[b'x'; 20], 2).call("second", 1000).close();
    let read = read(&joined(&talk, before));
    assert_eq!(
        read.lines(),
        ["10.0.0.1:1024>10.0.0.2:50051 POST /second 201 late_join"]
    );
    let opened: Vec<_> = read
        .events
        .iter()
        .filter_map(|event| match event {
            Told::Open { tuple, .. } => Some(tuple.local_port),
            _ => None,
        })
        .collect();
    assert_eq!(opened, [1024, 50051], "first by the ports, then by the bytes");
}

#[test]
fn only_one_side_is_captured() {
    for (side, handshake) in [(0, 0), (0, 3), (1, 0), (1, 3)] {
        let mut talk = Talk::new();
        talk.open();
        for name in ["first", "second"] {
            talk.call(name, 1000);
        }
        talk.close();
        let of_side: Vec<_> = talk.segments[handshake..]
            .iter()
            .filter(|tcp| (tcp.from == talk.client) == (side == 0))
            .cloned()
            .collect();
        let read = read(&pcap(1, &packets(&of_side)));
        let lines = read.lines();
        if side == 0 {
            let targets: Vec<_> = lines.iter().map(|line| line.split(' ').nth(2).unwrap()).collect();
            assert_eq!(targets, ["/first", "/second"], "{handshake}");
        }
        for line in lines {
            assert!(line.contains(" - ") && line.contains("unpaired"), "{line}");
        }
    }
}

#[test]
fn a_response_that_is_missing_is_not_paired() {
    let mut talk = Talk::new();
    talk.open()
        .call("first", 1000)
        .call("second", 1000)
        .call("third", 1000)
        .close();
    // Handshake; request, its acknowledgement, response, its acknowledgement.
    for (lost, whole) in [(3 + 2, 0), (3 + 4 + 2, 1), (3 + 4, 1)] {
        for handshake in [0, 3] {
            let mut segments = talk.segments[handshake..].to_vec();
            segments.remove(lost - handshake);
            let read = read(&pcap(1, &packets(&segments)));
            assert_eq!((read.counters.gaps, read.counters.connections), (1, 1));
            let names = ["first", "second", "third"];
            for text in read.lines() {
                let paired = text.contains(" 201");
                let broken = text.starts_with(&format!("{LINE} POST /{} 201", names[whole]));
                assert!(!(paired && broken), "{lost} {handshake}: {text}");
            }
            let third = read.lines().iter().any(|text| text.starts_with(&line("third")));
            // Joined late, and the first response missing: nobody can tell how many others were on their way.
            let certain = handshake == 0 || lost > 3 + 2;
            assert!(third || !certain, "{lost} {handshake}: {:?}", read.lines());
        }
    }
}

#[test]
fn ports_are_used_again() {
    for ended in [true, false] {
        let mut talk = Talk::new();
        talk.open().call("first", 1000);
        if ended {
            talk.close();
        }
        talk.next = [7_000_000, 9_000_000];
        talk.open().call("second", 1000).close();
        let read = read(&talk.pcap());
        assert_eq!(read.lines(), [line("first"), line("second")]);
        assert_eq!(read.counters.connections, 2);
        assert_eq!(read.counters.connections_reused, u64::from(!ended));
        assert_eq!((read.counters.connections_late, read.counters.gaps), (0, 0));
    }
}

#[test]
fn captured_on_two_interfaces() {
    let mut talk = Talk::new();
    talk.open().call("first", 50).call("second", 50).close();
    let mut packets = Vec::new();
    for packet in talk.packets() {
        let mut tagged = packet.clone();
        tagged.data.splice(12..12, [0x81, 0, 0, 5]);
        packets.extend([tagged, packet]);
    }
    let read = read(&pcap(1, &packets));
    assert_eq!(read.lines(), [line("first"), line("second")]);
    assert_eq!((read.counters.connections, read.counters.gaps), (1, 0));
    assert!(read.counters.retransmissions > 0);
}

#[test]
fn probes_and_closed_windows() {
    let mut talk = Talk::new();
    talk.open().call("first", 1000);
    // Keep-alive probes: the last byte, or none, again; and a byte that a full receiver does not take.
    for from in [0, 1] {
        let next = talk.next;
        talk.next[from] = next[from].wrapping_sub(1);
        talk.send(from, ACK, b"").send(1 - from, ACK, b"");
        talk.next[from] = next[from].wrapping_sub(1);
        talk.send(from, ACK, b"\0").send(1 - from, ACK, b"");
    }
    let next = talk.next;
    talk.send(0, ACK, b"P");
    talk.next = next;
    talk.send(1, ACK, b"").call("second", 1000).close();
    let read = read(&talk.pcap());
    assert_eq!(read.lines(), [line("first"), line("second")]);
    assert_eq!((read.counters.keep_alives, read.counters.gaps), (2, 0));
}

#[test]
fn a_half_closed_connection_goes_on() {
    let mut talk = Talk::new();
    talk.open()
        .say(0, b"GET /a HTTP/1.0\r\n\r\n", 1000)
        .send(0, FIN | ACK, b"")
        .send(1, ACK, b"")
        .say(1, b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 1000)
        .send(1, FIN | ACK, b"")
        .send(0, ACK, b"");
    let read = read(&talk.pcap());
    assert_eq!(read.lines(), [format!("{LINE} GET /a 200")]);
    let body = &read.calls[0].exchange.response.as_ref().unwrap().body;
    assert_eq!(body.decoded_bytes, 13);
}

#[test]
fn data_with_the_handshake() {
    // TCP Fast Open (RFC 7413): bytes with the SYN, and a FIN with the last bytes.
    let mut talk = Talk::new();
    talk.send(0, SYN, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    talk.send(1, SYN | ACK, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    talk.send(1, FIN | ACK, b"ok")
        .send(0, FIN | ACK, b"")
        .send(1, ACK, b"");
    let read = read(&talk.pcap());
    assert_eq!(read.lines(), [format!("{LINE} GET /a 200")]);
    assert_eq!(read.counters.connections_late, 0);
}

#[test]
fn bytes_that_differ() {
    let mut talk = Talk::new();
    talk.open();
    let next = talk.next;
    // The first copy comes ahead of what it waits for, the second one says something else.
    talk.next[0] = next[0].wrapping_add(5);
    talk.send(0, ACK, b"first HTTP/1.1\r\nHost: x\r\n\r\n");
    talk.next[0] = next[0].wrapping_add(5);
    talk.send(0, ACK, b"other HTTP/1.1\r\nHost: x\r\n\r\n");
    let end = talk.next[0];
    talk.next[0] = next[0];
    talk.send(0, ACK, b"GET /secon");
    talk.next[0] = end;
    talk.say(1, b"HTTP/1.1 204 No Content\r\n\r\n", 1000).close();
    let read = read(&talk.pcap());
    assert_eq!(read.lines(), [format!("{LINE} GET /first 204")]);
    assert_eq!(read.counters.overlaps_conflicting, 2);
}

#[test]
fn a_blind_reset_or_stray_segment_changes_nothing() {
    let mut talk = Talk::new();
    talk.open().call("first", 1000);
    let next = talk.next;
    for bits in [RST, ACK, FIN | ACK] {
        talk.next = [next[0].wrapping_add(1 << 31), next[1].wrapping_add(1 << 31)];
        talk.send(0, bits, if bits == ACK { b"stray" } else { b"" });
    }
    talk.next = next;
    talk.call("second", 1000).close();
    let read = read(&talk.pcap());
    assert_eq!(read.lines(), [line("first"), line("second")]);
    assert_eq!((read.counters.gaps, read.counters.resets), (0, 0));
}

#[test]
fn who_is_not_wanted_costs_nothing() {
    let mut talk = Talk::new();
    talk.open()
        .say(0, b"\x16\x03\x01 this is not HTTP, whatever it may be\0\0", 1000);
    for _ in 0..10 {
        talk.say(1, b"\x16\x03\x01 nor is this, as everybody can see\0\0", 1000);
    }
    talk.close();
    talk.next = [1, 2];
    talk.open().call("first", 1000).close();
    let read = read(&talk.pcap());
    assert_eq!(read.lines(), [line("first")]);
    assert!(read.counters.segments_unwanted > 10);
    assert_eq!(
        (read.tracker.connections_closed, read.counters.connections),
        (2, 2)
    );
}

#[test]
fn what_nobody_acknowledged_is_waited_for_until_patience_ends() {
    for (wait_ns, gaps) in [(PATIENCE_NS - 2 * STEP_NS, 0), (PATIENCE_NS - STEP_NS, 1)] {
        let mut talk = Talk::new();
        talk.open();
        let request = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
        let next = talk.next[0];
        talk.next[0] = next.wrapping_add(4);
        talk.send(0, ACK, &request[4..]);
        let end = talk.next[0];
        talk.time_ns += wait_ns;
        talk.next[0] = next;
        talk.send(0, ACK, &request[..4]);
        talk.next[0] = end;
        talk.say(1, b"HTTP/1.1 204 No Content\r\n\r\n", 1000).close();
        let read = read(&talk.pcap());
        assert_eq!(read.counters.gaps, gaps);
        assert_eq!(read.lines().len(), usize::from(gaps == 0));
    }
}

#[test]
fn what_waits_is_bounded() {
    // Pieces of which each waits, ahead of what never comes.
    let flood = |pieces: usize, size: usize, limits: Limits| {
        let mut talk = Talk::new();
        talk.open();
        talk.next[0] = talk.next[0].wrapping_add(1);
        for _ in 0..pieces {
            talk.time_ns -= STEP_NS;
            talk.send(0, ACK, &vec![b'x'; size]);
        }
        let (_, _, counters) = tell(&talk.pcap(), limits);
        (counters.gaps_by_limit, counters.gap_bytes, counters.bytes)
    };
    let cost = stream::HELD_COST;
    let size = 60_000;
    let most = stream::HELD_BYTES_MAX / (size + cost);
    let bytes = |pieces: usize, size: usize| (pieces * size) as u64;
    let default = Limits::default();
    assert_eq!(flood(most, size, default), (0, 1, bytes(most, size)));
    assert_eq!(flood(most + 1, size, default), (1, 1, bytes(most + 1, size)));
    assert_eq!(
        flood(stream::HELD_MAX, 1, default),
        (0, 1, bytes(stream::HELD_MAX, 1))
    );
    assert_eq!(flood(stream::HELD_MAX + 1, 1, default).0, 1);
    let limits = Limits {
        held_bytes: 10 * (1000 + cost),
        ..default
    };
    assert_eq!(flood(10, 1000, limits).0, 0);
    assert_eq!(flood(11, 1000, limits).0, 1);
}

#[test]
fn connections_are_bounded() {
    let limits = Limits {
        connections: 3,
        ..Limits::default()
    };
    let talks: Vec<_> = (0..4)
        .map(|n| {
            let mut talk = Talk::between(&format!("10.0.0.1:{}", 40000 + n), "10.0.0.2:8080");
            talk.time_ns += n * 1_000_000;
            talk.open().call("first", 1000);
            talk
        })
        .collect();
    let capture = |count: usize| {
        let segments: Vec<_> = talks[..count]
            .iter()
            .flat_map(|talk| talk.segments.clone())
            .collect();
        read_with(&[&pcap(1, &packets(&segments))], limits)
    };
    assert_eq!(
        (capture(3).counters.connections_evicted, capture(3).lines().len()),
        (0, 3)
    );
    let read = capture(4);
    assert_eq!((read.counters.connections_evicted, read.lines().len()), (1, 4));
    let Some(Told::Close { id, .. }) = read
        .events
        .iter()
        .find(|event| matches!(event, Told::Close { .. }))
    else {
        panic!("none closed")
    };
    assert!(
        matches!(read.events[0], Told::Open { id: first, .. } if first == *id),
        "the quietest one"
    );
}

#[test]
fn idle_connections_end() {
    for (pause_ns, ended) in [(table::IDLE_NS - 10 * STEP_NS, false), (table::IDLE_NS, true)] {
        let mut talk = Talk::new();
        talk.open().call("first", 1000);
        talk.time_ns += pause_ns;
        talk.call("second", 1000);
        let read = read(&talk.pcap());
        let second = if ended { late("second") } else { line("second") };
        assert_eq!(read.lines(), [line("first"), second]);
        assert_eq!(read.counters.connections_idle, u64::from(ended));
    }
}

#[test]
fn late_packets_of_an_ended_connection_open_none() {
    let mut talk = Talk::new();
    talk.open().call("first", 1000).close();
    let mut segments = talk.segments.clone();
    segments.extend(talk.segments[3..].iter().cloned().map(|tcp| Tcp {
        time_ns: talk.time_ns + table::LINGER_NS / 2,
        ..tcp
    }));
    let read = read(&pcap(1, &packets(&segments)));
    assert_eq!(read.lines(), [line("first")]);
    assert_eq!(read.counters.connections, 1);
    let meant = |tcp: &&Tcp| !tcp.data.is_empty() || tcp.bits & FIN != 0;
    let meant = talk.segments.iter().filter(meant).count();
    assert_eq!(read.counters.segments_after_end, meant as u64);
}

/// A stray reset ended it too early: it is found again, though its packets never stop.
#[test]
fn what_goes_on_after_its_end_is_joined_anew() {
    let mut talk = Talk::new();
    talk.open().call("first", 1000).send(1, RST, b"");
    for _ in 0..12 {
        talk.time_ns += table::LINGER_NS / 10;
        talk.call("second", 1000);
    }
    let read = read(&talk.pcap());
    assert_eq!(read.lines()[..2], [line("first"), late("second")]);
    assert_eq!(read.counters.connections, 2);
}

#[test]
fn a_connection_in_several_files() {
    let mut talk = Talk::new();
    talk.open().call("first", 20).call("second", 20).close();
    let packets = talk.packets();
    for at in 1..packets.len() {
        let (one, two) = packets.split_at(at);
        let read = read_with(&[&pcap(1, one), &pcap(1, two)], Limits::default());
        assert_eq!(read.lines(), [line("first"), line("second")], "{at}");
        assert_eq!((read.counters.files, read.counters.files_apart), (2, 0));
    }
    // The same capture twice is two captures.
    let file = talk.pcap();
    let mut early = talk.clone();
    for tcp in &mut early.segments {
        tcp.time_ns -= 3_600_000_000_000;
    }
    for files in [[early.pcap(), file.clone()], [file.clone(), early.pcap()]] {
        let read = read_with(&[&files[0], &files[1]], Limits::default());
        assert_eq!(read.lines().len(), 4);
        assert_eq!(read.counters.files_apart, 1);
    }
}
