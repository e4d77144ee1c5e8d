//! What is counted of connections that carry TLS: every byte of a socket in one class, ciphertext never as what was read.

use agent_common::TLS_SESSION;
use proptest::prelude::*;

use super::tls::{Tls, closed};
use super::*;
use crate::tracker::tls::SOCKETS_MAX;
use crate::tracker::{Class, Finding, Findings};

/// What is known of processes in these tests.
#[derive(Debug)]
struct Known(Vec<(u32, Finding)>);

impl Findings for Known {
    fn of(&self, pid: u32) -> Option<Finding> {
        self.0
            .iter()
            .find(|(known, _)| *known == pid)
            .map(|(_, finding)| *finding)
    }
}

const PROBED: Finding = Finding {
    library: "boringssl",
    reason: None,
};
const STRIPPED: Finding = Finding {
    library: "boringssl",
    reason: Some("no_symbols"),
};
const OPENSSL: Class = Class::Decrypted { library: "openssl" };
const LATE: Class = Class::Undecrypted {
    library: "openssl",
    reason: "not_bound",
};

fn unknown(reason: &'static str) -> Class {
    let library = match reason {
        "no_tls_library_found" | "not_looked_at" => "",
        _ => "boringssl",
    };
    Class::Undecrypted { library, reason }
}

/// Workload, class, connections, bytes on the wire, bytes read.
fn rows(desk: &mut Desk) -> Vec<(String, Class, u64, u64, u64)> {
    let coverage = desk.tracker.coverage();
    let of_workload = |(workload, account): &(String, Account)| {
        let row = |(class, tally): (Class, &Tally)| {
            let read = tally.fates.get(Fate::Read);
            (workload.clone(), class, tally.connections, tally.wire_bytes, read)
        };
        account.iter().map(row).collect::<Vec<_>>()
    };
    coverage.iter().flat_map(of_workload).collect()
}

fn reported(socket: &Socket, time_ns: u64) -> Record {
    match closed(socket, time_ns) {
        Record::Close(close) => Record::Report(close),
        other => other,
    }
}

fn moved(socket: &Socket) -> u64 {
    socket.moved(Way::In) + socket.moved(Way::Out)
}

#[test]
fn ciphertext_counts_by_itself_and_plaintext_as_what_was_read() {
    let mut tls = Tls::new(1);
    let opens = tls.opens();
    let hellos = tls.hellos(1);
    let calls = tls.calls(&["a", "b"]);
    for socket in [&mut tls.client, &mut tls.server] {
        socket.pass_over(Way::In, 10_000);
        socket.pass_over(Way::Out, 6_000_000_000);
    }
    let plain = moved(&tls.talk.server);
    let mut desk = Desk::new();
    desk.play(&opens).play(&hellos).play(&calls).play(&tls.closes());
    let wire = moved(&tls.server);
    assert!(wire > 6_000_010_000, "hellos too, and beyond 32 bits");
    assert_eq!(
        rows(&mut desk),
        [
            ("shop".to_owned(), OPENSSL, 1, wire, plain),
            ("stock".to_owned(), OPENSSL, 1, wire, plain),
        ]
    );
    let coverage = desk.tracker.coverage();
    assert!(
        coverage
            .iter()
            .all(|(_, account)| account.fates().total() == plain)
    );
}

#[test]
fn what_is_not_decrypted_has_its_reason() {
    for (finding, fresh, reason) in [
        (None, true, "no_tls_library_found"),
        (None, false, "no_tls_library_found"),
        (Some(Finding::NOT_LOOKED_AT), true, "not_looked_at"),
        (Some(STRIPPED), true, "no_symbols"),
        (Some(STRIPPED), false, "no_symbols"),
        (Some(PROBED), true, "not_bound"),
        (Some(PROBED), false, "older_than_agent"),
    ] {
        let mut tls = Tls::new(1);
        tls.client.fresh = fresh;
        let [open, _] = tls.opens();
        tls.client.pass_over(Way::In, 700);
        tls.client.pass_over(Way::Out, 77);
        let mut desk = Desk::new();
        // Unless nobody looks.
        if finding != Some(Finding::NOT_LOOKED_AT) {
            let known = finding.map(|finding| (tls.client.pid, finding));
            desk.tracker
                .know_libraries(Box::new(Known(known.into_iter().collect())));
        }
        desk.play(&[open, closed(&tls.client, 9)]);
        let expect = ("shop".to_owned(), unknown(reason), 1, 777, 0);
        assert_eq!(rows(&mut desk), [expect], "{finding:?} {fresh}");
        assert_eq!(desk.tracker.tls_sockets(), 0);
    }
}

#[test]
fn what_was_received_and_never_read_counts_too() {
    let mut tls = Tls::new(1);
    let [open, _] = tls.opens();
    tls.client.pass_over(Way::In, 50);
    let Record::Close(close) = closed(&tls.client, 9) else {
        panic!("no end")
    };
    let mut desk = Desk::new();
    desk.play(&[open, Record::Close(Close { unread: 25, ..close })]);
    assert_eq!(rows(&mut desk)[0].3, 75);
}

#[test]
fn what_went_by_before_a_session_was_found_is_told_apart() {
    let mut tls = Tls::new(1);
    tls.talk.client.fresh = false;
    let [open, _] = tls.opens();
    let calls = tls.calls(&["a"]);
    let calls: Vec<_> = (calls.iter())
        .filter(|record| record.connection() == tls.talk.client.id)
        .collect();
    let mut desk = Desk::new();
    desk.tracker
        .know_libraries(Box::new(Known(vec![(tls.client.pid, PROBED)])));
    tls.client.pass_over(Way::In, 100);
    desk.play(&[open, reported(&tls.client, 1)]);
    tls.client.pass_over(Way::In, 20);
    desk.play(calls);
    let asked = Order::Report {
        connection: tls.client.id,
        way: Way::Out,
    };
    assert!(desk.tracker.take_orders().contains(&asked), "where it stands now");
    desk.play(&[reported(&tls.client, 2)]);
    tls.client.pass_over(Way::In, 3);
    desk.play(&[reported(&tls.client, 3)]);
    tls.client.pass_over(Way::Out, 4_000);
    desk.play(&[closed(&tls.client, 4)]);
    let wire: Vec<_> = rows(&mut desk)
        .into_iter()
        .map(|(_, class, connections, wire, _)| (class, connections, wire))
        .collect();
    let expect = [(OPENSSL, 1, 4_003), (unknown("not_bound"), 1, 100), (LATE, 1, 20)];
    assert_eq!(wire, expect, "it counts in each class");
}

#[test]
fn a_long_connection_is_asked_where_it_stands() {
    let minute = RECONCILE_S * 1_000_000_000;
    let mut tls = Tls::new(1);
    let opens = tls.opens();
    let mut desk = Desk::new();
    desk.play(&opens).tick(minute / 2);
    assert_eq!(desk.tracker.take_orders(), []);
    for _ in 0..3 {
        desk.tick(2 * minute);
        let mut asked: Vec<_> = desk.tracker.take_orders();
        asked.sort_by_key(|order| format!("{order:?}"));
        let expect = [(&tls.client, Way::Out), (&tls.server, Way::In)];
        assert_eq!(
            asked,
            expect.map(|(socket, way)| Order::Report {
                connection: socket.id,
                way
            })
        );
        tls.client.pass_over(Way::In, 10);
        desk.play(&[reported(&tls.client, 1)]);
        desk.tick(minute / 8);
        assert_eq!(desk.tracker.take_orders(), [], "once");
    }
    assert_eq!(rows(&mut desk)[0].3, 30);
    assert_eq!(desk.tracker.counters().reports, 3);
}

#[test]
fn plaintext_connections_count_once_in_what_they_are() {
    let mut desk = Desk::new();
    let mut http = Talk::new(1);
    http.call("a", 1).call("b", 1).close();
    desk.play(&http.records);
    // Nothing but rubbish at one end, and nothing at all at the other.
    let mut other = Talk::new(2);
    let open = other.server.open(1);
    let rubbish = other.server.chunk(Way::In, &[0; 30], 30, 0, 2);
    desk.play(&[open, other.client.open(3), rubbish]);
    desk.play(&[closed(&other.server, 4), closed(&other.client, 4)])
        .finish();
    let bytes = moved(&http.server);
    assert_eq!(
        rows(&mut desk),
        [
            ("shop".to_owned(), Class::Http, 2, bytes, bytes),
            ("stock".to_owned(), Class::Http, 1, bytes, bytes),
            ("stock".to_owned(), Class::Other, 1, 30, 0),
        ]
    );
}

#[test]
fn what_is_counted_as_a_tunnel_is_not_counted_as_tls_again() {
    let mut tls = Tls::new(1);
    let mut plain = Talk::new(1);
    plain.say(
        true,
        "CONNECT far.example:443 HTTP/1.1\r\nHost: far.example:443\r\n\r\n",
        1,
    );
    plain.say(false, "HTTP/1.1 200 OK\r\n\r\n", 1);
    let calls = tls.calls(&["a"]);
    let mut desk = Desk::new();
    desk.play(&plain.of(&plain.client)).tick(1);
    let of_session = |record: &&Record| record.connection() == tls.talk.client.id;
    desk.play(calls.iter().filter(of_session));
    plain.client.pass_over(Way::Out, 5_000);
    desk.play(&[closed(&tls.talk.client, 8), closed(&plain.client, 9)])
        .finish();
    let rows = rows(&mut desk);
    let wire: u64 = rows.iter().map(|(_, _, _, wire, _)| wire).sum();
    assert_eq!(wire, moved(&plain.client), "{rows:?}");
    let session = rows.iter().find(|(_, class, ..)| *class == OPENSSL).unwrap();
    assert_eq!((session.3, session.4), (0, moved(&tls.talk.client)), "{rows:?}");
}

#[test]
fn the_policy_leaves_tls_out_as_everything_else() {
    let mut tls = Tls::new(1);
    let opens = tls.opens();
    let policy = "[[filter.exclude]]\nport = 80\n";
    let filter = policy::CapturePolicy::parse(policy).unwrap().filter;
    let mut desk = Desk::with(1000, filter.clone());
    desk.play(&opens);
    assert_eq!(desk.tracker.tls_sockets(), 0);
    assert_eq!(desk.tracker.counters().connections_filtered, 2);
    // And from now on, what was known before.
    let mut desk = Desk::new();
    desk.play(&opens);
    tls.client.pass_over(Way::Out, 100);
    desk.play(&[reported(&tls.client, 1)]);
    desk.tracker
        .set_policy(protocol::Limits::default(), filter, &mut |_| panic!("no call"));
    assert_eq!(desk.tracker.tls_sockets(), 0);
    tls.client.pass_over(Way::Out, 100);
    desk.play(&tls.closes());
    let found: Vec<_> = (rows(&mut desk).iter())
        .map(|row| (row.0.clone(), row.2, row.3))
        .collect();
    assert_eq!(found, [("shop".to_owned(), 1, 100), ("stock".to_owned(), 1, 0)]);
}

#[test]
fn beyond_the_limit_the_oldest_go_and_their_bytes_stay() {
    let beyond = 5;
    let mut desk = Desk::new();
    let mut first = None;
    for n in 0..SOCKETS_MAX + beyond {
        let mut tls = Tls::new(0);
        tls.client.id = n as u64 + 1;
        let [open, _] = tls.opens();
        desk.play(&[open]);
        if n == 0 {
            tls.client.pass_over(Way::Out, 100);
            desk.play(&[reported(&tls.client, 1)]);
            tls.client.pass_over(Way::Out, 50);
            first = Some(tls.client);
        }
    }
    let first = first.unwrap();
    desk.play(&[closed(&first, 9)]);
    assert_eq!(desk.tracker.tls_sockets(), SOCKETS_MAX);
    assert_eq!(desk.tracker.counters().tls_sockets_evicted, beyond as u64);
    let found = rows(&mut desk);
    assert_eq!((found[0].2, found[0].3), (beyond as u64, 100), "{found:?}");
    desk.finish();
    assert_eq!(rows(&mut desk)[0].2, (SOCKETS_MAX + beyond) as u64);
}

#[derive(Clone, Debug)]
enum Step {
    Moved(bool, u16),
    Reported,
    Session(bool),
    Found(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), any::<u16>()).prop_map(|(out, bytes)| Step::Moved(out, bytes)),
        2 => Just(Step::Reported),
        1 => any::<bool>().prop_map(Step::Session),
        1 => any::<bool>().prop_map(Step::Found),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is found when: what is in some class at the end are the bytes of the socket, each once, and what is decrypted went by
    /// after a session was known.
    #[test]
    fn bytes_of_a_socket_are_bytes_of_classes(
        fresh in any::<bool>(),
        announced in any::<bool>(),
        steps in prop::collection::vec(step(), 0..40),
        unread in any::<u16>(),
    ) {
        let mut tls = Tls::new(1);
        tls.client.fresh = fresh;
        let [open, _] = tls.opens();
        let mut desk = Desk::new();
        if announced {
            desk.play(&[open]);
        }
        let mut sessions = 0;
        let mut before = None;
        for step in steps {
            match step {
                Step::Moved(out, bytes) => {
                    let way = if out { Way::Out } else { Way::In };
                    tls.client.pass_over(way, usize::from(bytes));
                }
                Step::Reported => {
                    desk.play(&[reported(&tls.client, 1)]);
                }
                Step::Session(from_begin) => {
                    let mut session = tls.talk.client.clone();
                    sessions += 1;
                    session.id = TLS_SESSION | sessions;
                    session.fresh = from_begin;
                    desk.play(&[session.open(1)]);
                    before.get_or_insert_with(|| if from_begin { 0 } else { moved(&tls.client) });
                }
                Step::Found(probed) => {
                    let finding = if probed { PROBED } else { STRIPPED };
                    desk.tracker.know_libraries(Box::new(Known(vec![(tls.client.pid, finding)])));
                }
            }
        }
        let Record::Close(close) = closed(&tls.client, 9) else {
            panic!("no end")
        };
        desk.play(&[Record::Close(Close { unread: u32::from(unread), ..close })]);
        desk.finish();
        let rows = rows(&mut desk);
        let wire: u64 = rows.iter().map(|row| row.3).sum();
        let known = announced || sessions > 0;
        let total = if known { moved(&tls.client) + u64::from(unread) } else { 0 };
        prop_assert_eq!(wire, total, "{:?}", rows);
        let decrypted: u64 = rows.iter().filter(|row| row.1 == OPENSSL).map(|row| row.3).sum();
        let most = before.map_or(0, |before| total - before);
        prop_assert!(decrypted <= most, "{} of {}: {:?}", decrypted, most, rows);
        let connections: u64 = rows.iter().map(|row| row.2).sum();
        prop_assert!(connections >= u64::from(known));
    }
}
