//! Whole conversations, from the file to calls.

use super::*;

#[test]
fn a_conversation() {
    for (client, server) in [
        ("10.0.0.1:40000", "10.0.0.2:80"),
        ("10.0.0.9:40000", "10.0.0.2:80"),
        ("[2001:db8::1]:40000", "[2001:db8::2]:80"),
    ] {
        let mut talk = Talk::between(client, server);
        talk.open().call("first", 1000).call("second", 7).close();
        let read = read(&talk.pcap());
        assert_eq!(
            read.lines(),
            [
                format!("{client}>{server} POST /first 201"),
                format!("{client}>{server} POST /second 201")
            ]
        );
        assert_eq!(read.errors, [""; 0]);
        assert_eq!(read.counters.connections, 1);
        assert_eq!(read.counters.gaps, 0);
        assert!(matches!(
            read.events.first(),
            Some(Told::Open { fresh: true, .. })
        ));
        assert!(matches!(read.events.last(), Some(Told::Close { .. })));
        assert_eq!(read.tracker.connections_closed, 1);
    }
}

#[test]
fn cut_by_the_capture() {
    let mut talk = Talk::new();
    talk.open().call("first", 2000).call("second", 2000).close();
    let packets: Vec<_> = talk
        .packets()
        .into_iter()
        .map(|packet| packet.cut(14 + 20 + 20 + 65))
        .collect();
    let read = read(&pcap(1, &packets));
    let line = |name| format!("10.0.0.1:40000>10.0.0.2:8080 POST /{name} 201 truncated");
    assert_eq!(read.lines(), [line("first"), line("second")]);
    assert_eq!((read.counters.segments_cut, read.counters.gaps), (4, 0));
}

#[test]
fn reset() {
    let mut talk = Talk::new();
    talk.open()
        .call("first", 1000)
        .send(1, RST, b"")
        .call("late", 1000);
    let read = read(&talk.pcap());
    assert_eq!(read.lines(), ["10.0.0.1:40000>10.0.0.2:8080 POST /first 201"]);
    assert_eq!((read.counters.resets, read.counters.segments_after_end), (1, 2));
}
