//! Both ends of a connection on one node.

use super::*;

const NAT: u8 = 77;

#[test]
fn a_call_seen_at_both_ends_is_recorded_at_the_servers() {
    let mut desk = Desk::new();
    desk.play(&Talk::new(1).call("a", 1).call("b", 3).close().records);
    assert_eq!(
        desk.lines(),
        ["Server shop>stock /a 201", "Server shop>stock /b 201"]
    );
    let call = &desk.calls[0];
    assert_eq!(
        (call.client.to_string(), call.server.to_string()),
        ("10.0.0.1:40001".to_owned(), "10.0.0.2:80".to_owned())
    );
    assert_eq!(desk.tracker.counters().exchanges_joined, 2);
    assert_eq!(desk.tracker.connections(), 0);
}

#[test]
fn one_end_alone_is_the_record() {
    let talk = Talk::new(1).call("a", 2).close().clone();
    for (socket, expect) in [
        (&talk.client, "Client shop>- /a 201"),
        (&talk.server, "Server ->stock /a 201"),
    ] {
        let mut desk = Desk::new();
        desk.play(&talk.of(socket));
        assert_eq!(desk.lines(), [expect]);
    }
}

#[test]
fn what_is_not_one_connection_is_not_joined() {
    type Change = fn(&mut Talk);
    let loopback: Change = |talk| {
        let address = std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
        for tuple in [&mut talk.client.tuple, &mut talk.server.tuple] {
            (tuple.local, tuple.remote) = (address, address);
        }
    };
    let other_netns: Change = |talk| talk.server.owner.netns = 2;
    let service_address: Change = |talk| talk.client.tuple.remote = v4(NAT);
    let masqueraded: Change = |talk| talk.server.tuple.remote = v4(NAT);
    let cases: [(&str, &[Change], usize); 5] = [
        ("loopback", &[loopback], 1),
        ("loopback of two namespaces", &[loopback, other_netns], 2),
        ("two namespaces", &[other_netns], 1),
        ("service address", &[service_address], 2),
        ("masqueraded client", &[masqueraded], 2),
    ];
    for (name, changes, records) in cases {
        let mut talk = Talk::new(1);
        for change in changes {
            change(&mut talk);
        }
        let mut desk = Desk::new();
        desk.play(&talk.call("a", 1).close().records);
        assert_eq!(desk.calls.len(), records, "{name}");
    }
}

#[test]
fn the_end_of_an_earlier_connection_between_the_same_addresses_says_nothing() {
    let mut desk = Desk::new();
    let first = Talk::new(1).call("a", 1).close().clone();
    desk.play(&first.records);
    // The same ports again at once; the server's end is not seen this time.
    let mut second = Talk::new(1);
    second.time_ns = first.time_ns + 1000;
    second.client.id += 100;
    second.server.id += 100;
    second.call("b", 1);
    desk.play(&second.of(&second.client));
    assert_eq!(desk.lines(), ["Server shop>stock /a 201", "Client shop>- /b 201"]);
}

#[test]
fn a_client_that_is_announced_after_the_server_closed_is_joined() {
    let mut talk = Talk::new(1);
    // Of one connection, what one end sends first the other receives first.
    let [first, second] = talk.client.base;
    (talk.server.base, talk.server.next) = ([second, first], [second, first]);
    talk.call("a", 1);
    let (mut late, mut early): (Vec<_>, Vec<_>) =
        (talk.records.iter().cloned()).partition(|record| record.connection() == talk.client.id);
    early.push(talk.server.close(talk.time_ns));
    let announced_ns = talk.time_ns + 1_000;
    for record in &mut late {
        if let Record::Open(open) = record {
            open.time_ns = announced_ns;
        }
    }
    late.push(talk.client.close(announced_ns));
    let mut desk = Desk::new();
    desk.play(&early).play(&late);
    desk.tick(10_000_000_000).finish();
    assert_eq!(desk.lines(), ["Server ->stock /a 201"]);
    assert_eq!(desk.tracker.counters().exchanges_joined, 1);
}

#[test]
fn a_client_that_reads_after_the_server_closed_is_joined() {
    let mut talk = Talk::new(1);
    talk.call("a", 1);
    let (mut slow, mut rest): (Vec<_>, Vec<_>) = talk
        .records
        .iter()
        .cloned()
        .partition(|record| record.connection() == talk.client.id);
    rest.push(talk.server.close(talk.time_ns));
    slow.push(talk.client.close(talk.time_ns));
    let mut desk = Desk::new();
    // The client's announcement and request come first, its reading last.
    desk.play(&slow[..2]).play(&rest).play(&slow[2..]);
    assert_eq!(desk.lines(), ["Server shop>stock /a 201"]);
    desk.tick(10_000_000_000);
    assert_eq!(desk.tracker.common.ends.len(), (0, 0), "and then forgotten");
}

#[test]
fn an_end_that_speaks_no_http_leaves_the_record_to_the_other() {
    let mut talk = Talk::new(1);
    talk.call("a", 1).close();
    let mut desk = Desk::new();
    // At the server's end the bytes are rubbish: a proxy in between, say.
    for record in &mut talk.records {
        if let Record::Chunk(chunk, data) = record
            && chunk.connection == talk.server.id
        {
            data.fill(b'\0');
        }
    }
    desk.play(&talk.records);
    assert_eq!(desk.lines(), ["Client shop>- /a 201"]);
    assert_eq!(desk.tracker.counters().connections_other_protocol, 1);
}

/// What the records are when the source cannot read the server's receives of these calls: `announced`, it says that bytes went by.
fn hide(talk: &Talk, calls: &[&str], announced: bool) -> Vec<Record> {
    let is_hidden = |chunk: &Chunk<'_>, data: &[u8]| {
        let of_server = chunk.connection == talk.server.id && chunk.direction == Way::In;
        let text = String::from_utf8_lossy(data);
        of_server && calls.iter().any(|call| text.contains(&format!("POST /{call} ")))
    };
    let hide = |record: &Record| match record {
        Record::Chunk(chunk, data) if is_hidden(chunk, data) => announced.then(|| {
            let flags = chunk.flags | chunk_flags::OPAQUE;
            Record::Chunk(Chunk { flags, ..*chunk }, Vec::new())
        }),
        other => Some(other.clone()),
    };
    talk.records.iter().filter_map(hide).collect()
}

#[test]
fn what_the_server_did_not_hear_the_client_tells() {
    for (announced, rounds) in [(true, 0), (true, 9), (false, 0), (false, 9)] {
        for (hidden, expect) in [
            (&["a"][..], ["Client", "Server", "Server"]),
            (&["b"], ["Server", "Client", "Server"]),
            (&["c"], ["Server", "Server", "Client"]),
            (&["a", "c"], ["Client", "Server", "Client"]),
            (&["a", "b", "c"], ["Client", "Client", "Client"]),
        ] {
            let mut talk = Talk::new(1);
            for name in ["a", "b", "c"] {
                // A receive takes the whole of a request.
                talk.call(name, 0);
            }
            let mut desk = Desk::new();
            for record in hide(talk.close(), hidden, announced) {
                desk.play([&record]);
                for _ in 0..rounds {
                    desk.tick(1_000);
                }
            }
            desk.tick(10_000_000_000).finish();
            let case = format!(
                "{hidden:?}, announced: {announced}, {rounds} rounds: {:?}",
                desk.lines()
            );
            let mut told: Vec<(String, String)> = desk
                .calls
                .iter()
                .map(|call| {
                    let target = String::from_utf8_lossy(&call.exchange.request.target).into_owned();
                    (target, format!("{:?}", call.side))
                })
                .collect();
            told.sort();
            let targets: Vec<&str> = told.iter().map(|(target, _)| target.as_str()).collect();
            assert_eq!(targets, ["/a", "/b", "/c"], "{case}");
            for ((_, side), expect) in told.iter().zip(expect) {
                // After a hole the server's end may need the next request to be sure of its pairs. That may take longer than one waits.
                assert!(side == expect || (rounds > 0 && side == "Client"), "{case}");
            }
            let unheard = told.iter().filter(|(_, side)| side == "Client").count() as u64;
            let counters = desk.tracker.counters();
            assert_eq!(
                (counters.exchanges, counters.exchanges_unheard),
                (3, unheard),
                "{case}"
            );
        }
    }
}

#[test]
fn of_equal_requests_the_client_tells_the_one_that_the_server_did_not_hear() {
    for rounds in [0, 9] {
        for hidden in 0..3 {
            let mut talk = Talk::new(1);
            talk.call("a", 0).call("a", 0).call("a", 0).close();
            let mut heard = 0;
            let records: Vec<Record> = (talk.records.iter())
                .filter(|record| {
                    let is_request = matches!(record, Record::Chunk(chunk, _)
                        if chunk.connection == talk.server.id && chunk.direction == Way::In);
                    heard += usize::from(is_request);
                    !is_request || heard != hidden + 1
                })
                .cloned()
                .collect();
            let mut desk = Desk::new();
            for record in &records {
                desk.play([record]);
                for _ in 0..rounds {
                    desk.tick(1_000);
                }
            }
            desk.tick(10_000_000_000).finish();
            let mut places: Vec<u64> = (desk.calls.iter())
                .map(|call| call.exchange.request_offset)
                .collect();
            places.sort_unstable();
            let length = places[1];
            assert_eq!(
                places,
                [0, length, 2 * length],
                "{hidden}, {rounds} rounds: {:?}",
                desk.lines()
            );
        }
    }
}

#[test]
fn more_than_can_wait_is_told_at_once() {
    use crate::tracker::waiting::WAITING_MAX;
    let calls = WAITING_MAX + 10;
    let mut desk = Desk::with(2 * calls, FilterPolicy::default());
    let mut told = 0;
    for n in 0..calls {
        let mut talk = Talk::new(n as u16);
        talk.call("a", 0);
        desk.play(&hide(&talk, &["a"], true));
        told = desk.calls.len();
        assert_eq!(told, (n + 1).saturating_sub(WAITING_MAX));
    }
    assert_eq!(told, 10);
    desk.finish();
    assert_eq!(desk.calls.len(), calls, "{:?}", desk.lines());
}
