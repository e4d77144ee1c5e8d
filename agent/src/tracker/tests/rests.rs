//! Connections that rest: what is captured stands for what is not.

use proptest::prelude::*;
use proptest::sample::select;

use super::super::rest::{PENDING_MAX, REST_AGAIN, REST_INSIDE_MAX};
use super::*;

const EVERY: u32 = 8;

/// A server's end as the programs tell it while it rests.
struct Resting {
    desk: Desk,
    socket: Socket,
    time_ns: u64,
    /// Turns of which nothing was captured, and for which no record stood yet.
    rested: u32,
    passed: bool,
    rested_bytes: [u64; 2],
    lost: [u32; 2],
    /// Requests since it rests.
    requests: u64,
}

/// What becomes of the records of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    Nothing,
    Request,
    Answer,
    Both,
}

fn request(name: &str) -> Vec<u8> {
    format!("POST /{name} HTTP/1.1\r\nHost: stock\r\nContent-Length: 3\r\n\r\nabc").into_bytes()
}

fn answer(bytes: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
    [head.into_bytes(), vec![b'x'; bytes]].concat()
}

impl Resting {
    /// An exchange has been captured, and the order was given.
    fn new() -> Self {
        let mut resting = Self::before();
        assert!(resting.desk.tracker.rest(resting.socket.id, EVERY));
        let rest = resting.order(EVERY);
        assert_eq!(resting.desk.tracker.take_orders(), [rest]);
        resting
    }

    fn before() -> Self {
        let mut desk = Desk::new();
        let mut talk = Talk::new(1);
        talk.call("first", 1);
        desk.play(&talk.of(&talk.server));
        assert_eq!(desk.calls.len(), 1);
        desk.calls.clear();
        Self {
            desk,
            socket: talk.server,
            time_ns: talk.time_ns,
            rested: 0,
            passed: false,
            rested_bytes: [0; 2],
            lost: [0; 2],
            requests: 0,
        }
    }

    fn order(&self, every: u32) -> Order {
        Order::Rest {
            connection: self.socket.id,
            way: Way::In,
            every,
        }
    }

    /// An exchange of which nothing is captured.
    fn passes(&mut self, bytes: [usize; 2]) -> &mut Self {
        self.requests += 1;
        self.rested = self.rested.saturating_add(1);
        self.passed = true;
        for (way, bytes) in [Way::In, Way::Out].into_iter().zip(bytes) {
            self.socket.pass_over(way, bytes);
            self.rested_bytes[way as usize] += bytes as u64;
        }
        self
    }

    /// One that is, or should have been.
    fn captured(&mut self, name: &str, lost: Lost) -> &mut Self {
        self.requests += 1;
        let stands_for = self.rested + 1;
        self.rested = 0;
        if matches!(lost, Lost::Request | Lost::Both) {
            self.loses(Way::In, request(name).len());
            self.rested = stands_for;
            self.passed = true;
        } else {
            self.says(Way::In, &request(name), stands_for);
        }
        if matches!(lost, Lost::Answer | Lost::Both) {
            self.loses(Way::Out, answer(10).len());
        } else {
            self.says(Way::Out, &answer(10), 0);
        }
        self
    }

    fn says(&mut self, way: Way, data: &[u8], stands_for: u32) -> &mut Self {
        self.time_ns += STEP_NS;
        let flags = if stands_for > 0 && std::mem::take(&mut self.passed) {
            chunk_flags::RESTED
        } else {
            0
        };
        let record = self.socket.chunk(way, data, data.len(), flags, self.time_ns);
        let Record::Chunk(chunk, data) = record else {
            panic!("a chunk")
        };
        self.desk
            .play(&[Record::Chunk(Chunk { stands_for, ..chunk }, data)]);
        self
    }

    fn loses(&mut self, way: Way, bytes: usize) {
        self.socket.chunk(way, b"", bytes, 0, self.time_ns);
        self.lost[way as usize] += bytes as u32;
    }

    fn stands(&mut self) -> Close {
        let moved = [Way::In, Way::Out].map(|way| self.socket.moved(way));
        let Record::Close(close) = self.socket.close(self.time_ns) else {
            panic!("a close")
        };
        Close {
            moved,
            lost: self.lost,
            rested_bytes: self.rested_bytes,
            rested: std::mem::take(&mut self.rested),
            rests: self.passed,
            ..close
        }
    }

    fn reports(&mut self) -> &mut Self {
        let report = self.stands();
        self.desk.take(&Event::Report(report));
        self
    }

    fn closes(&mut self) -> &mut Self {
        let close = self.stands();
        self.desk.take(&Event::Close(close)).tick(10 * CLOSE_LINGER_NS);
        self
    }

    /// Target, weight, flags; of what has no record of its own with a plus sign.
    fn lines(&self) -> Vec<String> {
        let line = |call: &Call| {
            let exchange = &call.exchange;
            let target = String::from_utf8_lossy(&exchange.request.target).into_owned();
            let again = if call.again { "+" } else { "" };
            let flags: String = exchange.flags.names().map(|flag| format!(" {flag}")).collect();
            format!("{target} {again}{}{flags}", call.weight)
        };
        self.desk.calls.iter().map(line).collect()
    }

    fn fates(&mut self) -> Fates {
        let coverage = self.desk.tracker.coverage();
        coverage
            .into_iter()
            .find(|(name, _)| name == "stock")
            .map(|(_, account)| account.fates())
            .unwrap_or_default()
    }

    fn weights(&self) -> u64 {
        self.desk.calls.iter().map(|call| u64::from(call.weight)).sum()
    }
}

#[test]
fn a_call_stands_for_those_before_it_and_the_last_for_those_behind() {
    let mut resting = Resting::new();
    resting.passes([50, 60]).passes([70, 8_000]);
    resting.captured("a", Lost::Nothing);
    resting.captured("b", Lost::Nothing);
    resting.passes([50, 60]).captured("c", Lost::Nothing);
    resting.passes([1, 1]).passes([1, 1]).passes([1, 1]).reports();
    resting.captured("d", Lost::Nothing);
    resting.passes([1, 1]).reports().closes();
    let lines = ["/a 3", "/b 1", "/c 2", "/c +3", "/d 1", "/d +1"];
    assert_eq!(resting.lines(), lines);
    let last = resting.desk.calls.last().unwrap();
    assert!(last.exchange.request.body.captured.is_empty());
    assert_eq!(last.exchange.request.body.wire_bytes, 3);
    assert_eq!(last.exchange.request.headers.get(b"host"), Some(&b"stock"[..]));
    let counters = resting.desk.tracker.counters();
    assert_eq!((counters.exchanges, counters.exchanges_rested), (5, 7));
    assert_eq!((counters.gaps, counters.rests_ended), (0, 0));
    let protocol = resting.desk.tracker.protocol_counters();
    assert_eq!(
        (protocol.gaps, protocol.left_out, protocol.resumed_inside),
        (0, 0, 0)
    );
    let fates = resting.fates();
    assert_eq!(fates.get(Fate::Rested), 50 + 60 + 70 + 8_000 + 50 + 60 + 8);
    assert_eq!(fates.capture_rate(), Some(1.0));
    let total = resting.socket.moved(Way::In) + resting.socket.moved(Way::Out);
    assert_eq!(fates.total(), total);
}

#[test]
fn what_goes_by_before_anything_is_captured_is_like_what_was_before() {
    let mut resting = Resting::new();
    resting.passes([50, 60]).passes([50, 60]).closes();
    assert_eq!(resting.lines(), ["/first +2"]);
}

#[test]
fn more_than_sequence_numbers_tell_may_go_by() {
    let mut resting = Resting::new();
    // More than half of the numbers, and more than all.
    for bytes in [3_000_000_000, 5_000_000_000] {
        resting.passes([1_000, bytes]).captured("a", Lost::Nothing);
    }
    resting.closes();
    assert_eq!(resting.lines(), ["/a 2", "/a 2"]);
    let fates = resting.fates();
    let total = resting.socket.moved(Way::In) + resting.socket.moved(Way::Out);
    assert_eq!(fates.total(), total);
    assert_eq!(fates.get(Fate::Rested), 8_000_002_000);
    assert_eq!(fates.capture_rate(), Some(1.0));
}

#[test]
fn what_is_lost_is_told_apart_from_what_rested() {
    let mut resting = Resting::new();
    resting.passes([50, 60]).captured("a", Lost::Both);
    resting.passes([50, 60]).captured("b", Lost::Answer);
    resting.passes([50, 60]).captured("c", Lost::Nothing);
    resting.passes([50, 60]).captured("d", Lost::Request);
    resting.passes([50, 60]).closes();
    assert_eq!(resting.lines(), ["/b 4 gap unpaired", "/c 2", "/c +3"]);
    let fates = resting.fates();
    assert_eq!(fates.get(Fate::Rested), 5 * 110);
    let lost: u32 = resting.lost.iter().sum();
    assert_eq!(fates.get(Fate::RingFull), u64::from(lost));
    let total = resting.socket.moved(Way::In) + resting.socket.moved(Way::Out);
    assert_eq!(fates.total(), total);
}

#[test]
fn what_a_request_stands_for_that_never_comes_out_the_next_does() {
    let mut resting = Resting::new();
    for _ in 0..2 * PENDING_MAX {
        // Only the begin of the request's head.
        resting.passes([50, 60]).requests += 1;
        let stands_for = std::mem::take(&mut resting.rested) + 1;
        resting.says(Way::In, b"GET /cut HTT", stands_for);
        resting.loses(Way::Out, 10);
    }
    resting.desk.tracker.take_orders();
    resting.passes([50, 60]).captured("b", Lost::Nothing).closes();
    assert_eq!(resting.lines(), [format!("/b {}", 4 * PENDING_MAX + 2)]);
}

#[test]
fn a_connection_that_sleeps_meanwhile_is_known_when_it_wakes() {
    let mut resting = Resting::new();
    resting.desk.tick(2 * IDLE_NS).tick(IDLE_NS);
    resting.passes([50, 60]);
    resting.captured("a", Lost::Nothing).captured("b", Lost::Nothing);
    resting.closes();
    assert_eq!(resting.lines(), ["/a 2", "/b 1"]);
    let counters = resting.desk.tracker.counters();
    assert_eq!((counters.connections_idle, counters.gaps), (0, 0));
}

#[test]
fn an_answer_that_was_skipped_by_order_is_over_when_it_rests() {
    let mut resting = Resting::new();
    resting.says(Way::In, &request("large"), 1);
    let large = answer(1 << 20);
    resting.says(Way::Out, &large[..1_000], 0);
    resting.desk.tracker.take_orders();
    resting.socket.pass_over(Way::Out, large.len() - 1_000);
    resting.passes([50, 60]).captured("b", Lost::Nothing).closes();
    assert_eq!(resting.lines(), ["/large 1 truncated", "/b 2"]);
    let fates = resting.fates();
    assert_eq!(fates.get(Fate::Skipped), large.len() as u64 - 1_000);
    assert_eq!(fates.get(Fate::Rested), 110);
    assert_eq!(fates.capture_rate(), Some(1.0));
}

#[test]
fn who_may_rest() {
    let mut resting = Resting::before();
    let id = resting.socket.id;
    let tracker = &mut resting.desk.tracker;
    assert!(!tracker.rest(id + 77, EVERY), "nobody knows it");
    assert!(tracker.rest(id, 1), "it does not");
    assert_eq!(tracker.take_orders(), []);
    assert!(tracker.rest(id, EVERY) && tracker.rest(id, EVERY));
    assert_eq!(tracker.take_orders().len(), 1, "the same once");
    assert!(tracker.rest(id, 64) && tracker.rest(id, 0));
    let orders = tracker.take_orders();
    assert_eq!(orders, [resting.order(64), resting.order(0)]);

    // It sends requests before it is answered.
    resting.says(Way::In, &request("a").repeat(2), 0);
    assert!(!resting.desk.tracker.rest(id, EVERY));

    // Nobody said that any should.
    let mut desk = Desk::new();
    desk.tracker.limits.rests = false;
    desk.tracker.common.rests = false;
    let mut talk = Talk::new(1);
    talk.call("a", 1);
    desk.play(&talk.of(&talk.server));
    assert!(!desk.tracker.rest(talk.server.id, EVERY));
}

#[test]
fn turns_that_are_no_whole_exchanges_end_the_rest_for_good() {
    let mut resting = Resting::new();
    let id = resting.socket.id;
    resting.passes([50, 60]).captured("a", Lost::Nothing);
    let twice = request("b").repeat(2);
    resting.passes([50, 60]).rested = 0;
    resting
        .says(Way::In, &twice, 2)
        .says(Way::Out, &answer(1).repeat(2), 0);
    assert_eq!(resting.desk.tracker.take_orders(), [resting.order(0)]);
    assert!(!resting.desk.tracker.rest(id, EVERY));
    assert_eq!(resting.desk.tracker.counters().rests_ended, 1);
    resting.closes();
    assert_eq!(resting.lines(), ["/a 2", "/b 2", "/b 1"]);
}

#[test]
fn rests_that_begin_in_the_middle_too_often_end() {
    let mut resting = Resting::new();
    for i in 0..REST_INSIDE_MAX {
        assert_eq!(resting.desk.tracker.take_orders(), [], "{i}");
        resting.passes([50, 60]).captured("a", Lost::Answer);
    }
    assert_eq!(resting.desk.tracker.take_orders(), []);
    resting.passes([50, 60]).captured("a", Lost::Nothing);
    assert_eq!(resting.desk.tracker.take_orders(), [resting.order(0)]);
    assert_eq!(resting.desk.tracker.counters().rests_ended, 1);
}

#[test]
fn an_order_that_is_not_kept_is_given_again() {
    let mut resting = Resting::new();
    for (every, stands_for) in [(EVERY, 0), (0, 1)] {
        assert!(resting.desk.tracker.rest(resting.socket.id, every));
        resting.desk.tracker.take_orders();
        for _ in 0..2 * REST_AGAIN {
            resting.says(Way::In, &request("a"), stands_for);
            resting.says(Way::Out, &answer(1), 0);
        }
        let order = resting.order(every);
        assert_eq!(resting.desk.tracker.take_orders(), [order, order]);
    }
}

#[test]
fn where_it_stands_is_asked_where_orders_are_looked_for() {
    let mut resting = Resting::new();
    resting.captured("a", Lost::Nothing);
    let ask = Order::Report {
        connection: resting.socket.id,
        way: Way::In,
    };
    resting.desk.tick(2 * RECONCILE_S * 1_000_000_000);
    assert_eq!(resting.desk.tracker.take_orders(), [ask]);
}

#[test]
fn what_rested_of_a_connection_that_nobody_knows_is_counted() {
    let mut resting = Resting::new();
    let mut close = resting.stands();
    close.connection += 77;
    close.rested = 5;
    resting
        .desk
        .take(&Event::Close(close))
        .take(&Event::Report(close));
    assert_eq!(resting.desk.tracker.counters().exchanges_rested_unknown, 10);
    assert!(resting.desk.calls.is_empty());
}

/// The client's end, announced or heard again while the server's rests, is no better witness.
#[test]
fn what_the_servers_end_leaves_out_the_clients_does_not_tell() {
    let mut talk = Talk::new(1);
    talk.call("a", 1);
    let mut desk = Desk::new();
    desk.play(&talk.records);
    assert!(desk.tracker.rest(talk.server.id, EVERY));
    assert!(!desk.tracker.rest(talk.client.id, EVERY), "its server tells");
    talk.records.clear();
    for name in ["b", "c", "d"] {
        talk.call(name, 1);
    }
    let (of_client, of_server) = (talk.of(&talk.client), talk.of(&talk.server));
    desk.play(&of_client);
    // The last alone is captured at the server's end, which reads each message in two pieces.
    let flags = chunk_flags::TURN_START | chunk_flags::RESTED;
    let captured: Vec<Record> = of_server[of_server.len() - 3..]
        .iter()
        .enumerate()
        .map(|(at, record)| match record.clone() {
            Record::Chunk(chunk, data) if at == 0 => Record::Chunk(
                Chunk {
                    stands_for: 3,
                    flags,
                    ..chunk
                },
                data,
            ),
            other => other,
        })
        .collect();
    desk.play(&captured);
    for _ in 0..10 {
        desk.tick(1_000);
    }
    let targets: Vec<_> = desk
        .calls
        .iter()
        .map(|call| (call.side, call.exchange.request.target.clone(), call.weight))
        .collect();
    assert_eq!(
        targets,
        [(Side::Server, "/a".into(), 1), (Side::Server, "/d".into(), 3)]
    );
    assert_eq!(desk.tracker.counters().exchanges_unheard, 0);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Passes,
    Captured(Lost),
    Report,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Passes),
        4 => select(vec![Lost::Nothing, Lost::Request, Lost::Answer, Lost::Both]).prop_map(Step::Captured),
        2 => Just(Step::Captured(Lost::Nothing)),
        1 => Just(Step::Report),
    ]
}

proptest! {
    #[test]
    fn all_weights_are_all_requests(steps in prop::collection::vec(step(), 1..40)) {
        let mut resting = Resting::new();
        let lossless = steps.iter().all(|step| !matches!(step, Step::Captured(lost) if *lost != Lost::Nothing));
        for step in steps {
            match step {
                Step::Passes => resting.passes([50, 60]),
                Step::Captured(lost) => resting.captured("a", lost),
                Step::Report => resting.reports(),
            };
            resting.desk.tick(1_000);
        }
        resting.closes();
        prop_assert_eq!(resting.weights(), resting.requests, "{:?}", resting.lines());
        let total = resting.socket.moved(Way::In) + resting.socket.moved(Way::Out);
        prop_assert_eq!(resting.fates().total(), total);
        let rested = resting.rested_bytes.iter().sum::<u64>();
        prop_assert_eq!(resting.fates().get(Fate::Rested), rested);
        if lossless {
            prop_assert!(resting.desk.calls.iter().all(|call| call.exchange.flags.0 == 0));
        }
    }
}
