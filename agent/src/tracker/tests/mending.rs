//! Exchanges that the server's end could not read whole, and the client's end could.

use agent_common::Counter;
use proptest::prelude::*;

use super::super::waiting::{ROUNDS, WAITING_MAX};
use super::*;

/// What the source cannot read of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unread {
    Nothing,
    /// As with sendfile.
    Body,
    All,
}

/// What the records of an end are if the source cannot read that much of the transfers that go this way and contain a text.
fn unread(records: &mut [Record], of: &Socket, way: Way, text: &str, what: Unread) {
    for record in records {
        let Record::Chunk(chunk, data) = record else {
            continue;
        };
        if (chunk.connection, chunk.direction) != (of.id, way)
            || !String::from_utf8_lossy(data).contains(text)
        {
            continue;
        }
        let head = data.windows(4).position(|end| end == b"\r\n\r\n");
        let seen = match what {
            Unread::Nothing => continue,
            Unread::Body => head.map_or(0, |head| head + 4),
            Unread::All => 0,
        };
        chunk.flags |= chunk_flags::OPAQUE;
        chunk.reason = Some(Counter::OpaqueCall);
        data.truncate(seen);
    }
}

/// Exchanges of which the server's end cannot read the answer's body. A send takes the whole of a message, a receive the half of one.
fn talk(n: u16, names: &[&str]) -> Talk {
    let mut talk = Talk::new(n);
    for name in names {
        talk.call(name, 0);
    }
    talk.close();
    let server = talk.server.clone();
    unread(&mut talk.records, &server, Way::Out, "HTTP/1.1 201", Unread::Body);
    talk
}

/// The records, those of one end first.
fn ordered(talk: &Talk, first: &Socket) -> Vec<Record> {
    let mut records = talk.records.clone();
    records.sort_by_key(|record| match record {
        Record::Open(_) => 0,
        other => 1 + u8::from(other.connection() != first.id),
    });
    records
}

fn body(call: &Call) -> usize {
    let response = call.exchange.response.as_ref();
    response.map_or(0, |response| response.body.decoded_bytes as usize)
}

#[test]
fn what_the_server_sends_unread_is_told_as_the_client_read_it() {
    let talk = talk(1, &["abc", "d"]);
    for first in [&talk.server, &talk.client] {
        for ticks in [false, true] {
            let mut desk = Desk::new();
            for record in ordered(&talk, first) {
                desk.play([&record]);
            }
            if ticks {
                desk.tick(1_000);
            }
            desk.finish();
            assert_eq!(
                desk.lines(),
                ["Server shop>stock /abc 201", "Server shop>stock /d 201"]
            );
            for (call, bytes) in desk.calls.iter().zip([21, 7]) {
                assert_eq!((call.side, call.read_at), (Side::Server, Side::Client));
                assert_eq!((call.process.key.pid, call.connection), (200, talk.server.id));
                assert_eq!(
                    (call.client.to_string(), call.server.to_string()),
                    ("10.0.0.1:40001".to_owned(), "10.0.0.2:80".to_owned())
                );
                assert_eq!(body(call), bytes);
            }
            let counters = desk.tracker.counters();
            assert_eq!((counters.exchanges, counters.exchanges_mended), (2, 2));
            assert_eq!((counters.exchanges_joined, counters.exchanges_unheard), (2, 0));
        }
    }
}

#[test]
fn one_that_waits_in_vain_is_told_with_what_is_missing() {
    let talk = talk(1, &["a"]);
    let flawed = "Server shop>stock /a 201 truncated";
    let mut desk = Desk::new();
    let (of_client, of_server) = (talk.of(&talk.client), talk.of(&talk.server));
    // The client has asked, and does not read.
    desk.play(&of_client[..2]).play(&of_server);
    for _ in 1..ROUNDS {
        desk.tick(1_000);
        assert_eq!(desk.lines(), [""; 0]);
    }
    desk.tick(1_000);
    assert_eq!(desk.lines(), [flawed]);
    assert_eq!(desk.calls[0].read_at, Side::Server);
    // It reads in the end.
    desk.play(&of_client[2..]).tick(1_000).tick(1_000).finish();
    assert_eq!(desk.lines(), [flawed], "once");
    let counters = desk.tracker.counters();
    assert_eq!((counters.exchanges, counters.exchanges_joined), (1, 1));
}

#[test]
fn only_who_has_a_client_on_the_node_and_bytes_unread_waits() {
    // The client is elsewhere.
    let alone = talk(1, &["a"]);
    let mut desk = Desk::new();
    desk.play(&alone.of(&alone.server));
    assert_eq!(desk.lines(), ["Server ->stock /a 201 truncated"]);
    // Left out on purpose at both ends: nobody has more.
    let mut cut = Talk::new(2);
    cut.call("a", 0);
    for record in &mut cut.records {
        if let Record::Chunk(chunk, data) = record
            && data.starts_with(b"HTTP/1.1")
        {
            chunk.flags |= chunk_flags::CAPPED;
            data.truncate(data.len() - 3);
        }
    }
    let mut desk = Desk::new();
    desk.play(&cut.of(&cut.client)[..2]).play(&cut.of(&cut.server));
    assert_eq!(desk.lines(), ["Server shop>stock /a 201 truncated"]);
}

#[test]
fn of_two_ends_with_something_missing_the_one_with_less_missing_is_told() {
    type Change = fn(&mut Talk);
    let unread_too: Change = |talk| {
        let client = talk.client.clone();
        unread(&mut talk.records, &client, Way::In, "HTTP/1.1", Unread::Body);
    };
    let cut_by_a_limit: Change = |talk| {
        for record in &mut talk.records {
            if let Record::Chunk(chunk, data) = record
                && (chunk.connection, chunk.direction) == (talk.client.id, Way::In)
                && data.ends_with(b"bbb")
            {
                chunk.flags |= chunk_flags::CAPPED;
                chunk.reason = Some(Counter::Capped);
                data.truncate(data.len() - 3);
            }
        }
    };
    let cases: [(&str, Change, &str, Side); 3] = [
        ("whole", |_| {}, "201", Side::Client),
        ("unread too", unread_too, "201 truncated", Side::Server),
        ("cut by a limit", cut_by_a_limit, "201 truncated", Side::Client),
    ];
    for (name, change, told, read_at) in cases {
        for server_first in [true, false] {
            let mut talk = talk(1, &["a"]);
            change(&mut talk);
            let first = if server_first { &talk.server } else { &talk.client };
            let mut desk = Desk::new();
            desk.play(&ordered(&talk, first)).finish();
            assert_eq!(desk.lines(), [format!("Server shop>stock /a {told}")], "{name}");
            assert_eq!(
                (desk.calls[0].read_at, body(&desk.calls[0])),
                (read_at, 7),
                "{name}"
            );
            assert_eq!(desk.tracker.counters().exchanges_joined, 1, "{name}");
        }
    }
}

#[test]
fn an_answer_of_which_nothing_was_read_is_the_clients() {
    for rounds in [0, ROUNDS + 1] {
        let mut talk = Talk::new(1);
        talk.call("a", 0).call("b", 0).close();
        let server = talk.server.clone();
        unread(&mut talk.records, &server, Way::Out, "X-Name: a", Unread::All);
        let mut desk = Desk::new();
        for record in &talk.records {
            desk.play([record]);
            for _ in 0..rounds {
                desk.tick(1_000);
            }
        }
        desk.tick(10 * CLOSE_LINGER_NS).finish();
        let mut lines = desk.lines();
        lines.sort();
        let pairs: Vec<_> = lines.iter().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(
            pairs,
            ["shop>stock /a 201", "shop>stock /b 201"],
            "{rounds} rounds"
        );
    }
}

#[test]
fn the_servers_connection_says_what_a_call_stands_for() {
    let mut talk = talk(1, &["a"]);
    for record in &mut talk.records {
        if let Record::Open(open) = record {
            open.weight = if open.connection == talk.server.id { 8 } else { 3 };
        }
    }
    let mut desk = Desk::new();
    desk.play(&talk.records);
    assert_eq!((desk.calls.len(), desk.calls[0].weight), (1, 8));
}

#[test]
fn more_than_can_wait_is_decided_upon_at_once() {
    let calls = WAITING_MAX + 10;
    let mut desk = Desk::with(2 * calls, FilterPolicy::default());
    for n in 0..calls {
        let talk = talk(n as u16, &["a"]);
        desk.play(&talk.of(&talk.client)[..2])
            .play(&talk.of(&talk.server));
        let beyond = (n + 1).saturating_sub(WAITING_MAX);
        assert_eq!(desk.calls.len(), beyond);
        assert_eq!(desk.tracker.counters().waits_cut, beyond as u64);
    }
    desk.finish();
    assert_eq!(desk.calls.len(), calls);
    assert!(desk.lines().iter().all(|line| line.ends_with("/a 201 truncated")));
    assert_eq!(desk.tracker.counters().exchanges, calls as u64);
}

#[test]
fn a_client_that_sees_more_is_heard_until_nobody_compares() {
    let mut desk = Desk::new();
    let names: Vec<String> = (0..3 * JOINED_ENOUGH).map(|n| format!("c{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut talk = talk(1, &names);
    // It goes on.
    talk.records.retain(|record| !matches!(record, Record::Close(_)));
    desk.play(&talk.records);
    let silenced = |desk: &mut Desk| {
        let order = Order::LeaveOut {
            connection: talk.client.id,
        };
        desk.tracker.take_orders().contains(&order)
    };
    assert!(!silenced(&mut desk));
    assert_eq!(desk.tracker.counters().exchanges_mended, names.len() as u64);
    assert!(desk.calls.iter().all(|call| call.exchange.flags.0 == 0));
    // The server's end rests: what it tells is enough by now.
    assert!(desk.tracker.rest(talk.server.id, 8));
    let before = desk.calls.len();
    let mut more = talk.clone();
    more.records.clear();
    for name in &names[..JOINED_ENOUGH as usize] {
        more.call(name, 0);
    }
    unread(
        &mut more.records,
        &more.server,
        Way::Out,
        "HTTP/1.1 201",
        Unread::Body,
    );
    desk.play(&more.records);
    assert!(silenced(&mut desk));
    assert_eq!(desk.calls.len() - before, JOINED_ENOUGH as usize);
}

/// What is not read of an exchange: of the request and the answer at the server's end, of the answer at the client's.
fn missing() -> impl Strategy<Value = (Unread, Unread, Unread)> {
    let any = || prop_oneof![Just(Unread::Nothing), Just(Unread::Body), Just(Unread::All)];
    (
        any(),
        any(),
        prop_oneof![3 => Just(Unread::Nothing), 1 => Just(Unread::Body)],
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever one end does not read, in whatever order the ends are heard: each exchange that either end saw whole is told once, and
    /// whole if both were heard in time. No byte has two fates, or none.
    #[test]
    fn what_either_end_saw_whole_is_told_whole_and_once(
        missing in prop::collection::vec(missing(), 1..6),
        delays in prop::collection::vec(0_usize..12, 1..40),
        round in prop::option::of(1_usize..8),
    ) {
        let mut talk = Talk::new(1);
        for n in 0..missing.len() {
            talk.call(&format!("c{n}"), 0);
        }
        talk.close();
        let (client, server) = (talk.client.clone(), talk.server.clone());
        for (n, (request, answer, read)) in missing.iter().enumerate() {
            unread(&mut talk.records, &server, Way::In, &format!("POST /c{n} "), *request);
            unread(&mut talk.records, &server, Way::Out, &format!("X-Name: c{n}\r"), *answer);
            unread(&mut talk.records, &client, Way::In, &format!("X-Name: c{n}\r"), *read);
        }
        // The ends are heard at different times, each in its own order.
        let mut places: Vec<(usize, Record)> = Vec::new();
        let mut latest = [0, 0];
        for (i, record) in talk.records.iter().enumerate() {
            let end = usize::from(record.connection() == server.id);
            let delay = if matches!(record, Record::Open(_)) { 0 } else { delays[i % delays.len()] };
            latest[end] = latest[end].max(i + delay);
            places.push((latest[end], record.clone()));
        }
        places.sort_by_key(|(place, _)| *place);
        let records: Vec<Record> = places.into_iter().map(|(_, record)| record).collect();
        let mut desk = Desk::new();
        for records in records.chunks(round.unwrap_or(usize::MAX)) {
            desk.play(records);
            if round.is_some() {
                desk.tick(1_000);
            }
        }
        desk.tick(10 * CLOSE_LINGER_NS).finish();
        let lines = desk.lines();
        for (n, (request, answer, read)) in missing.iter().enumerate() {
            let target = format!(" /c{n} ");
            let rows: Vec<&String> = lines.iter().filter(|line| line.contains(&target)).collect();
            let client_saw_all = *read == Unread::Nothing;
            prop_assert!(rows.len() <= 1, "{:?}", lines);
            prop_assert!(rows.len() == 1 || !client_saw_all, "{:?}", lines);
            let is_whole = rows.first().is_some_and(|row| row.ends_with(" 201"));
            if client_saw_all && round.is_none() {
                prop_assert!(is_whole, "{:?} {:?} {:?}", request, answer, lines);
            }
        }
        let moved: u64 = [&client, &server].map(|end| end.moved(Way::In) + end.moved(Way::Out)).iter().sum();
        let fates: u64 = desk.tracker.coverage().iter().map(|(_, account)| account.fates().total()).sum();
        prop_assert_eq!(fates, moved);
        let counters = desk.tracker.counters();
        prop_assert_eq!(counters.exchanges, lines.len() as u64);
    }
}
