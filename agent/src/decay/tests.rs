//! The whole of it, with a source that obeys orders.

use proptest::prelude::*;
use protocol::{Boundary, Direction, Limits, Start};

use super::connection::LATELY;
use super::*;

const RULES: Rules = Rules {
    after: 4,
    most: 64,
    review_ns: 10_000_000_000,
};

/// Answered with this status; the connection had `index` captured ones before.
fn exchange(status: u16, index: u64) -> Exchange {
    let mut connection = protocol::Connection::new(Limits::default(), Start::Fresh);
    let response = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
    for (direction, text) in [
        (Direction::Request, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"),
        (Direction::Response, response.as_str()),
    ] {
        connection.segment(direction, 0, 1, text.as_bytes(), Boundary::TurnStart);
    }
    let exchange = connection.poll().expect("an exchange");
    Exchange { index, ..exchange }
}

/// A call of a connection that is kept alive.
fn call(decay: &mut Decay, connection: u64, endpoint: u64, status: u16, now_ns: u64) {
    let sighting = Sighting {
        connection,
        exchange: &exchange(status, CALLS_BEFORE),
        consumer: "shop",
        tls: None,
        now_ns,
    };
    decay.take(endpoint, &sighting);
}

fn decay() -> Decay {
    Decay::new(RULES, true)
}

fn orders(decay: &mut Decay) -> Vec<(u64, u32)> {
    let orders = decay.take_orders();
    orders
        .iter()
        .map(|order| (order.connection, order.every))
        .collect()
}

/// Until nothing less is captured of this connection and endpoint.
fn saturate(decay: &mut Decay, connection: u64, endpoint: u64) {
    for _ in 0..=3 * RULES.after {
        call(decay, connection, endpoint, 200, 0);
    }
}

#[test]
fn a_connection_is_captured_less_step_by_step_and_each_order_is_given_once() {
    let mut decay = decay();
    saturate(&mut decay, 1, 10);
    assert_eq!(orders(&mut decay), [(1, 8), (1, 64)]);
    saturate(&mut decay, 1, 10);
    assert_eq!(orders(&mut decay), []);
    // What is known of an endpoint is known for another connection of it too, once that is kept alive.
    let first = Sighting {
        connection: 2,
        exchange: &exchange(200, CALLS_BEFORE - 1),
        consumer: "shop",
        tls: None,
        now_ns: 0,
    };
    decay.take(10, &first);
    assert_eq!(orders(&mut decay), []);
    call(&mut decay, 2, 10, 200, 0);
    assert_eq!(orders(&mut decay), [(2, 64)]);
    let report = decay.report();
    assert_eq!((report.connections, report.connections_resting), (2, 2));
    assert_eq!(
        report.levels,
        [Level {
            every: 64,
            endpoints: 1
        }]
    );
    assert_eq!((decay.counters().steps, decay.counters().orders_less), (2, 3));
}

#[test]
fn anything_new_brings_back_all_connections_of_the_endpoint() {
    let mut decay = decay();
    for connection in 1..=3 {
        saturate(&mut decay, connection, 10);
    }
    saturate(&mut decay, 4, 20);
    orders(&mut decay);
    call(&mut decay, 2, 10, 500, 0);
    assert_eq!(orders(&mut decay), [(1, 1), (2, 1), (3, 1)]);
    assert_eq!(decay.counters().renewals, 1);
    // A new endpoint concerns the connection that carries it, for a while.
    call(&mut decay, 4, 30, 200, 0);
    assert_eq!(orders(&mut decay), [(4, 1)]);
    for _ in 0..LATELY {
        call(&mut decay, 4, 20, 200, 0);
    }
    assert_eq!(orders(&mut decay), []);
    call(&mut decay, 4, 20, 200, 0);
    assert_eq!(orders(&mut decay), [(4, 64)]);
}

#[test]
fn a_whole_look_concerns_all_connections_and_ends() {
    let mut decay = decay();
    for connection in 1..=2 {
        saturate(&mut decay, connection, 10);
    }
    orders(&mut decay);
    decay.tick(RULES.review_ns - 1, |_| true);
    assert_eq!(orders(&mut decay), []);
    decay.tick(2 * RULES.review_ns, |_| true);
    assert_eq!(orders(&mut decay), [(1, 1), (2, 1)]);
    for _ in 0..RULES.after {
        call(&mut decay, 1, 10, 200, 2 * RULES.review_ns);
    }
    assert_eq!(orders(&mut decay), [(1, 64)]);
    call(&mut decay, 2, 10, 200, 2 * RULES.review_ns);
    assert_eq!(orders(&mut decay), [(2, 64)]);
    assert_eq!(decay.counters().reviews, 1);
}

#[test]
fn switched_off_everything_is_captured() {
    let mut decay = decay();
    for connection in 1..=2 {
        saturate(&mut decay, connection, 10);
    }
    orders(&mut decay);
    decay.enable(false);
    assert_eq!(orders(&mut decay), [(1, 1), (2, 1)]);
    saturate(&mut decay, 1, 10);
    assert_eq!(orders(&mut decay), []);
    decay.enable(true);
    call(&mut decay, 1, 10, 200, 0);
    assert_eq!(orders(&mut decay), [], "all is learnt again");
}

#[test]
fn who_is_gone_is_forgotten() {
    let mut decay = decay();
    call(&mut decay, 1, 10, 200, 0);
    saturate(&mut decay, 2, 20);
    orders(&mut decay);
    decay.tick(LOOK_NS, |connection| connection == 2);
    assert_eq!(decay.report().connections, 1);
    decay.tick(ENDPOINT_IDLE_NS, |_| true);
    assert_eq!(orders(&mut decay), [(2, 1)]);
    assert_eq!((decay.endpoints.len(), decay.facets), (0, 0));
    assert_eq!(decay.counters().endpoints_idle, 2);
    decay.tick(2 * ENDPOINT_IDLE_NS, |_| false);
    assert_eq!(decay.report().connections, 0);
}

#[test]
fn a_connection_that_cannot_be_captured_less_is_asked_again_later() {
    let mut decay = decay();
    saturate(&mut decay, 1, 10);
    for pause in [1, 2, 4] {
        assert_eq!(decay.take_orders().last().map(|order| order.every), Some(64));
        decay.refused(1);
        for _ in 1..pause {
            call(&mut decay, 1, 10, 200, 0);
            assert_eq!(orders(&mut decay), []);
        }
        call(&mut decay, 1, 10, 200, 0);
    }
    assert_eq!(decay.counters().orders_refused, 3);
    assert_eq!(decay.report().connections_resting, 1);
}

#[test]
fn what_is_beyond_a_limit_is_captured_whole_and_counted() {
    let mut many = decay();
    for endpoint in 0..=ENDPOINTS_MAX as u64 {
        call(&mut many, 1, endpoint, 200, 0);
    }
    assert_eq!(many.endpoints.len(), ENDPOINTS_MAX);
    assert_eq!(many.counters().calls_beyond_endpoints, 1);
    saturate(&mut many, 2, ENDPOINTS_MAX as u64);
    assert_eq!(orders(&mut many), []);

    let mut many = decay();
    for connection in 0..=CONNECTIONS_MAX as u64 {
        call(&mut many, connection, 10, 200, 0);
    }
    assert_eq!(many.connections.len(), CONNECTIONS_MAX);
    assert_eq!(many.counters().calls_beyond_connections, 1);
    orders(&mut many);
    saturate(&mut many, CONNECTIONS_MAX as u64, 10);
    assert_eq!(orders(&mut many), []);
}

#[test]
fn what_does_not_come_one_after_the_other_is_no_matter() {
    let mut decay = decay();
    let mut streams = exchange(200, CALLS_BEFORE);
    streams.request.version = Version::Http2;
    for _ in 0..100 {
        let sighting = Sighting {
            connection: 1,
            exchange: &streams,
            consumer: "shop",
            tls: None,
            now_ns: 0,
        };
        decay.take(10, &sighting);
    }
    assert_eq!((orders(&mut decay), decay.endpoints.len()), (vec![], 0));
}

/// A connection as the source sees it.
#[derive(Debug, Default)]
struct Source {
    every: u32,
    /// Calls until one is captured, with that.
    gap: u32,
}

proptest! {
    /// Whatever is called, and however late orders are obeyed: what is captured less was asked for because nothing was new, of each
    /// connection that carries something new everything is wanted, and what is remembered of connections and endpoints fits together.
    #[test]
    fn nothing_rests_that_carries_something_new(
        calls in prop::collection::vec((0u64..4, 0u64..3, prop::bool::weighted(0.01), any::<u32>()), 1..1500),
        obey in 1usize..20,
    ) {
        let mut decay = decay();
        let mut sources: HashMap<u64, Source> = HashMap::new();
        let mut pending = Vec::new();
        for (number, (connection, endpoint, fails, chance)) in calls.iter().enumerate() {
            let source = sources.entry(*connection).or_default();
            source.gap = source.gap.saturating_sub(1);
            if source.gap == 0 {
                // 1 … 2 × every − 1
                source.gap = 1 + chance % (2 * source.every.max(1) - 1);
                call(&mut decay, *connection, *endpoint, if *fails { 500 } else { 200 }, number as u64);
            }
            pending.extend(decay.take_orders());
            for (id, connection) in &decay.connections {
                let needs = connection.endpoints().map(|it| decay.endpoints[&it].endpoint.every(&RULES));
                prop_assert!(needs.min().is_some_and(|needs| connection.every <= needs));
                let knows = |it| decay.endpoints[&it].connections.contains(id);
                prop_assert!(connection.endpoints().all(knows));
            }
            if number % obey == 0 {
                for order in pending.drain(..) {
                    let source = sources.entry(order.connection).or_default();
                    source.every = order.every;
                    if order.every == 1 {
                        source.gap = source.gap.min(1);
                    }
                }
            }
        }
        decay.tick(LOOK_NS, |_| false);
        prop_assert!(decay.connections.is_empty());
        prop_assert!(decay.endpoints.values().all(|watched| watched.connections.is_empty()));
    }
}
