//! Every byte of a socket has one fate, and the right one.

use proptest::prelude::*;

use super::super::coverage::Coverage;
use super::super::reconcile::{Books, Entry};
use super::*;

fn sums(desk: &mut Desk) -> Vec<(String, Vec<(&'static str, u64)>)> {
    let coverage = desk.tracker.coverage();
    let named = |fates: Fates| fates.iter().map(|(fate, bytes)| (fate.name(), bytes)).collect();
    coverage
        .into_iter()
        .map(|(workload, account)| (workload, named(account.fates())))
        .collect()
}

fn fates_of(desk: &mut Desk, workload: &str) -> Fates {
    let coverage = desk.tracker.coverage();
    let mut found = coverage.into_iter().filter(|(name, _)| name == workload);
    found
        .next()
        .map(|(_, account)| account.fates())
        .unwrap_or_default()
}

fn with_lost(record: Record, lost: [u32; 2]) -> Record {
    match record {
        Record::Close(close) => Record::Close(Close { lost, ..close }),
        other => other,
    }
}

/// A server's end that is told by hand.
fn server() -> (Socket, Vec<Record>) {
    let server = Talk::new(1).server;
    let open = server.open(1_000);
    (server, vec![open])
}

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

fn head(body: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {body}\r\n\r\n").into_bytes()
}

#[test]
fn what_is_read_is_all_there_is() {
    let mut desk = Desk::new();
    let mut talk = Talk::new(1);
    talk.call("a", 3).call("b", 1).close();
    desk.play(&talk.records);
    let bytes = talk.client.moved(Way::Out) + talk.client.moved(Way::In);
    let read = vec![("read", bytes)];
    assert_eq!(
        sums(&mut desk),
        [("shop".to_owned(), read.clone()), ("stock".to_owned(), read)]
    );
}

#[test]
fn each_reason_has_its_bytes() {
    let (mut server, mut records) = server();
    let mut time_ns = 2_000;
    let mut tell = |server: &mut Socket, data: &[u8], length: usize, flags: u8, reason| {
        time_ns += 1_000;
        let way = if data == REQUEST { Way::In } else { Way::Out };
        match server.chunk(way, data, length, flags, time_ns) {
            Record::Chunk(chunk, data) => Record::Chunk(Chunk { reason, ..chunk }, data),
            other => other,
        }
    };
    use agent_common::Counter;
    let missing = [
        (100, chunk_flags::OPAQUE, Some(Counter::OpaqueCall)),
        (200, chunk_flags::OPAQUE, Some(Counter::OutsideSyscall)),
        (300, chunk_flags::FAULT, Some(Counter::Fault)),
        (400, chunk_flags::FAULT, Some(Counter::TooManyParts)),
        (500, chunk_flags::CAPPED, Some(Counter::Capped)),
    ];
    for (bytes, flags, reason) in missing {
        records.push(tell(&mut server, REQUEST, REQUEST.len(), 0, None));
        let head = head(bytes);
        records.push(tell(&mut server, &head, head.len(), 0, None));
        records.push(tell(&mut server, b"", bytes, flags, reason));
    }
    // One of which no record tells, and one whose record is lost.
    let mut lost = 0;
    for bytes in [600_usize, 700] {
        records.push(tell(&mut server, REQUEST, REQUEST.len(), 0, None));
        let head = head(bytes);
        records.push(tell(&mut server, &head, head.len(), 0, None));
        server.pass_over(Way::Out, bytes);
        lost = bytes as u32;
    }
    // Received, never read.
    let unread = 800;
    let close = match with_lost(server.close(99_000), [0, lost]) {
        Record::Close(close) => Record::Close(Close { unread, ..close }),
        other => other,
    };
    let total = server.moved(Way::In) + server.moved(Way::Out) + u64::from(unread);
    let mut desk = Desk::new();
    desk.play(&records).play([&close]).tick(10 * CLOSE_LINGER_NS);
    let fates = fates_of(&mut desk, "stock");
    let expect = [
        (Fate::OpaqueCall, 100),
        (Fate::OutsideSyscall, 200),
        (Fate::Fault, 300),
        (Fate::TooManyParts, 400),
        (Fate::TurnLimit, 500),
        (Fate::Unseen, 600),
        (Fate::RingFull, 700),
        (Fate::Unread, 800),
    ];
    for (fate, bytes) in expect {
        assert_eq!(fates.get(fate), bytes, "{} in {fates:?}", fate.name());
    }
    assert_eq!(fates.total(), total);
    assert_eq!(desk.tracker.counters().unseen_bytes, 600);
    assert_eq!(desk.calls.len(), 7);
}

/// A server that splices what it receives, with a provider that looks at receives of its own kind.
#[test]
fn what_no_program_is_told_of_has_its_reason() {
    let mut talk = Talk::new(1);
    talk.call("a", 1).call("b", 1).close();
    let server = talk.server.clone();
    let is_told = |record: &Record| {
        !matches!(record, Record::Chunk(chunk, _)
            if (chunk.connection, chunk.direction) == (server.id, Way::In))
    };
    talk.records.retain(is_told);
    let mut desk = Desk::new();
    desk.play(&talk.records).tick(10 * CLOSE_LINGER_NS).finish();
    let unseen = server.moved(Way::In);
    let fates = fates_of(&mut desk, "stock");
    assert_eq!(fates.get(Fate::Unseen), unseen);
    assert_eq!(fates.total(), unseen + server.moved(Way::Out));
    assert_eq!(desk.tracker.counters().unseen_bytes, unseen);
    assert_eq!(
        desk.lines(),
        ["Client shop>stock /a 201", "Client shop>stock /b 201"]
    );
}

#[test]
fn a_silent_end_is_left_out_on_purpose() {
    let mut desk = Desk::new();
    let mut talk = Talk::new(1);
    for i in 0..3 * JOINED_ENOUGH {
        talk.call(&format!("c{i}"), 2);
    }
    desk.play(&talk.records);
    // From here on the programs report nothing more of the client's end.
    let more = 5_000_000_000_u64;
    talk.client.pass_over(Way::Out, more as usize);
    let mut close = talk.client.close(talk.time_ns);
    if let Record::Close(close) = &mut close {
        close.moved = [Way::In, Way::Out].map(|way| talk.client.moved(way));
    }
    desk.play([&close]);
    let fates = fates_of(&mut desk, "shop");
    assert_eq!(fates.capture_rate(), Some(1.0));
    assert!(fates.get(Fate::OtherEnd) > more);
    assert_eq!(fates.get(Fate::Read) + fates.get(Fate::OtherEnd), fates.total());
    assert_eq!(
        fates.total(),
        talk.client.moved(Way::In) + talk.client.moved(Way::Out),
        "also beyond 32 bits"
    );
}

#[test]
fn what_follows_an_upgrade_is_another_protocol() {
    let (mut server, mut records) = server();
    let ask = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n";
    let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n";
    records.push(server.chunk(Way::In, ask, ask.len(), 0, 2_000));
    records.push(server.chunk(Way::Out, answer, answer.len(), 0, 3_000));
    records.push(server.chunk(Way::In, b"\x00\x01\x02", 3, 0, 4_000));
    server.pass_over(Way::Out, 1_000);
    records.push(server.close(5_000));
    let mut desk = Desk::new();
    desk.play(&records);
    let expect = vec![
        ("read", (ask.len() + answer.len()) as u64),
        ("other_protocol", 1_003),
    ];
    assert_eq!(sums(&mut desk), [("stock".to_owned(), expect)]);
}

#[test]
fn what_never_was_http_does_not_lower_the_rate() {
    let (mut server, mut records) = server();
    records.push(server.chunk(Way::In, b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1", 9, 0, 2_000));
    records.push(server.close(5_000));
    let mut desk = Desk::new();
    desk.play(&records);
    assert_eq!(
        sums(&mut desk),
        [("stock".to_owned(), vec![("other_protocol", 9)])]
    );
}

#[test]
fn a_connection_joined_in_the_middle_of_a_body() {
    let mut talk = Talk::new(1);
    talk.server.fresh = false;
    talk.server.role = Role::Unknown;
    let rest = b"the rest of a body\n";
    let mut records = vec![talk.server.open(1_000)];
    records.push(talk.server.chunk(Way::In, rest, rest.len(), 0, 2_000));
    records.push(talk.server.chunk(Way::In, REQUEST, REQUEST.len(), 0, 2_500));
    let head = head(0);
    records.push(talk.server.chunk(Way::Out, &head, head.len(), 0, 3_000));
    records.push(talk.server.close(9_000));
    let mut desk = Desk::new();
    desk.play(&records).tick(CLOSE_LINGER_NS).finish();
    let fates = fates_of(&mut desk, "stock");
    assert_eq!(fates.total(), (rest.len() + REQUEST.len() + head.len()) as u64);
    assert!(
        fates.get(Fate::NotUnderstood) >= rest.len() as u64,
        "{:?} {:?}",
        fates,
        desk.lines()
    );
}

#[test]
fn a_long_connection_is_asked_where_it_stands() {
    let minute = RECONCILE_S * 1_000_000_000;
    let mut desk = Desk::new();
    let (mut server, records) = server();
    desk.play(&records);
    let asked = |desk: &mut Desk| {
        let order = Order::Report {
            connection: 12,
            way: Way::Out,
        };
        desk.tracker.take_orders().contains(&order)
    };
    let answer = head(1_000);
    let mut speak = |desk: &mut Desk, at: u64| {
        let request = server.chunk(Way::In, REQUEST, REQUEST.len(), 0, at);
        let answer = server.chunk(Way::Out, &answer, answer.len(), 0, at + 1);
        // The body goes by unseen.
        server.pass_over(Way::Out, 1_000);
        desk.play([&request, &answer]);
        match server.close(at + 2) {
            Record::Close(close) => close,
            other => panic!("{other:?}"),
        }
    };
    speak(&mut desk, 2_000);
    desk.tick(minute / 2);
    assert!(!asked(&mut desk), "it is young");
    desk.tick(minute);
    assert!(asked(&mut desk));
    desk.tick(2 * minute);
    assert!(!asked(&mut desk), "nothing was heard since");
    let now_ns = desk.now_ns;
    let first = speak(&mut desk, now_ns);
    desk.tick(minute);
    assert!(asked(&mut desk));
    // What waited for the bytes that nobody told of waits no longer.
    desk.tick(0).tick(0);
    // The record of what it said last may still be on its way: only what was known before it counts.
    desk.take(&Event::Report(first));
    assert_eq!(fates_of(&mut desk, "stock").get(Fate::Unseen), 1_000);
    let now_ns = desk.now_ns;
    let second = speak(&mut desk, now_ns);
    desk.take(&Event::Report(second));
    assert_eq!(fates_of(&mut desk, "stock").get(Fate::Unseen), 2_000);
    assert_eq!(desk.tracker.counters().reports, 2);
    // Of the same connection at its end, no byte twice.
    desk.take(&Event::Close(second)).tick(10 * CLOSE_LINGER_NS);
    let fates = fates_of(&mut desk, "stock");
    assert_eq!(fates.get(Fate::Unseen), 3_000);
    assert_eq!(fates.total(), server.moved(Way::In) + server.moved(Way::Out));
}

#[test]
fn no_more_are_asked_in_a_round_than_the_limit() {
    let minute = RECONCILE_S * 1_000_000_000;
    let mut desk = Desk::new();
    let connections = standing::ASKED_MAX + 44;
    for n in 0..connections {
        let mut talk = Talk::new(n as u16);
        let request = talk.server.open(1);
        let chunk = talk.server.chunk(Way::In, REQUEST, REQUEST.len(), 0, 2_000_000);
        desk.play([&request, &chunk]);
    }
    let asked = |desk: &mut Desk| {
        let orders = desk.tracker.take_orders();
        let reports = orders
            .iter()
            .filter(|order| matches!(order, Order::Report { .. }));
        reports.count()
    };
    desk.tick(2 * minute);
    assert_eq!(asked(&mut desk), standing::ASKED_MAX);
    desk.tick(1);
    assert_eq!(asked(&mut desk), 44);
    desk.tick(1);
    assert_eq!(asked(&mut desk), 0);
}

/// What may happen to a connection's books.
#[derive(Clone, Debug)]
enum Step {
    /// A record: how far from where the direction is, captured, length, where the parser was to skip to.
    Read(Way, i32, u16, u16, Option<u16>),
    NotUnderstood(Way, i32, u16),
    Unwanted(Way, i32, u16),
    WantNone,
    Understood(u16),
    /// The socket moves without a record, and the kernel is asked.
    Report([u16; 2], [u8; 2]),
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![Just(Way::In), Just(Way::Out)]
}

fn step() -> impl Strategy<Value = Step> {
    let ahead = || prop_oneof![4 => Just(0), 1 => -3000..3000];
    prop_oneof![
        6 => (way(), ahead(), any::<u16>(), any::<u16>(), prop::option::of(any::<u16>()))
            .prop_map(|(way, ahead, captured, length, skip)| Step::Read(way, ahead, captured.min(length), length, skip)),
        1 => (way(), ahead(), any::<u16>()).prop_map(|(way, ahead, bytes)| Step::NotUnderstood(way, ahead, bytes)),
        1 => (way(), ahead(), any::<u16>()).prop_map(|(way, ahead, bytes)| Step::Unwanted(way, ahead, bytes)),
        1 => Just(Step::WantNone),
        2 => any::<u16>().prop_map(Step::Understood),
        2 => (any::<[u16; 2]>(), any::<[u8; 2]>()).prop_map(|(moved, lost)| Step::Report(moved, lost)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes, in whatever order: what has a fate at the end are the bytes of the socket, each once.
    #[test]
    fn the_sum_of_fates_is_what_the_socket_moved(
        base in any::<[u32; 2]>(),
        steps in prop::collection::vec(step(), 0..60),
        unread in any::<u16>(),
        rest in any::<[u16; 2]>(),
    ) {
        let mut coverage = Coverage::default();
        let mut books = Books::new(Some(base));
        // Where each direction's socket is: the furthest that anything told.
        let mut ends = [0_u64; 2];
        let mut lost = [0_u32; 2];
        for step in steps {
            let out = &mut coverage.of("w", Class::Http);
            let mut entry = |way: Way, ahead: i32, captured: u16, length: u16| {
                let begin = ends[way as usize].saturating_add_signed(i64::from(ahead));
                ends[way as usize] = ends[way as usize].max(begin + u64::from(length));
                Entry {
                    sequence: base[way as usize].wrapping_add(begin as u32),
                    captured: usize::from(captured),
                    length: u32::from(length),
                    missing: Fate::OpaqueCall,
                    behind_rest: false,
                }
            };
            match step {
                Step::Read(way, ahead, captured, length, skip) => {
                    let entry = entry(way, ahead, captured, length);
                    let skip = skip.map(|skip| entry.sequence.wrapping_add(u32::from(skip)));
                    books.read(way, &entry, skip, out);
                }
                Step::NotUnderstood(way, ahead, bytes) => {
                    books.not_understood(way, &entry(way, ahead, bytes, bytes), out);
                }
                Step::Unwanted(way, ahead, bytes) => books.unwanted(way, &entry(way, ahead, bytes, bytes), out),
                Step::WantNone => books.want_no_records(Fate::OtherEnd),
                Step::Understood(not) => books.understood(Fate::Read, u64::from(not), out),
                Step::Report(moved, more_lost) => {
                    for way in [0, 1] {
                        ends[way] += u64::from(moved[way]);
                        lost[way] += u32::from(more_lost[way]);
                    }
                    let close = Close {
                        end: [0, 1].map(|way| base[way].wrapping_add(ends[way] as u32)),
                        moved: ends,
                        lost,
                        ..Close::default()
                    };
                    books.reconcile(&close, [None; 2], false, out);
                }
            }
        }
        for way in [0, 1] {
            ends[way] += u64::from(rest[way]);
        }
        let close = Close {
            end: [0, 1].map(|way| base[way].wrapping_add(ends[way] as u32)),
            unread: u32::from(unread),
            moved: ends,
            lost,
            ..Close::default()
        };
        let out = &mut coverage.of("w", Class::Http);
        books.reconcile(&close, [None; 2], true, out);
        books.understood(Fate::Read, 0, out);
        books.give_up(out);
        let all = coverage.all();
        let total: u64 = all.iter().map(|(_, account)| account.fates().total()).sum();
        prop_assert_eq!(total, ends[0] + ends[1] + u64::from(unread));
        let unseen: u64 = all.iter().map(|(_, account)| account.fates().get(Fate::Unseen)).sum();
        prop_assert_eq!(coverage.unseen_bytes(), unseen);
    }

    /// Records that are lost, in any order of the others: exactly their bytes are missing, and nothing else.
    #[test]
    fn lost_records_are_counted_to_the_byte(
        calls in 1_usize..6,
        pieces in 1_usize..5,
        lost in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        swaps in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut talk = Talk::new(1);
        for call in 0..calls {
            talk.call(&format!("c{call}"), pieces);
        }
        let total = talk.server.moved(Way::In) + talk.server.moved(Way::Out);
        let mut records = talk.of(&talk.server);
        let mut lost_bytes = [0; 2];
        for lost in lost {
            let at = lost.index(records.len());
            if let Record::Chunk(chunk, _) = &records[at] {
                lost_bytes[chunk.direction as usize] += chunk.length;
                records.remove(at);
            }
        }
        for swap in swaps {
            // Never ahead of the announcement.
            if records.len() > 2 {
                let at = 1 + swap.index(records.len() - 2);
                records.swap(at, at + 1);
            }
        }
        records.push(with_lost(talk.server.close(talk.time_ns + 1), lost_bytes));
        let mut desk = Desk::new();
        desk.play(&records).tick(10 * CLOSE_LINGER_NS);
        let fates = fates_of(&mut desk, "stock");
        prop_assert_eq!(fates.total(), total);
        prop_assert_eq!(fates.get(Fate::RingFull), u64::from(lost_bytes[0] + lost_bytes[1]));
        prop_assert_eq!(fates.get(Fate::Unseen), 0);
    }
}
