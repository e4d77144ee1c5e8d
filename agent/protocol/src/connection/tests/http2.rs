//! HTTP/2, also behind something else and joined late.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{Played, deliver};
use crate::http1::tests::delivery::{bounds, cut, length, mix, split, which};
use crate::http1::tests::script::{Item, OK, Script};
use crate::http2::tests::recorded::everything;
use crate::http2::tests::script::{self as alone, Item as Alone};
use crate::http2::tests::wire::{
    END_HEADERS, END_STREAM, PREFACE, WHOLE, concat, data, get, headers, post, settings,
};
use crate::{Application, Boundary, Connection, Counters, Direction, Exchange, Flags, Limits, Over, Start};

fn limits() -> Limits {
    Limits {
        held_bytes: 4 << 20,
        ..Limits::default()
    }
}

fn recorded() -> Vec<Item> {
    behind("", &everything())
}

/// A recorded connection, behind `before` in the request direction.
fn behind(before: &str, recorded: &[Alone]) -> Vec<Item> {
    let mut script = Script::default();
    if !before.is_empty() {
        script = script.client(before);
    }
    for item in recorded {
        script = match item {
            Alone::Sent(sent) if sent.direction == Direction::Request => script.client(&sent.data),
            Alone::Sent(sent) => script.server(&sent.data),
            Alone::Passed(..) | Alone::Finish(..) => script,
        };
    }
    script.end().items
}

/// Upgrades to HTTP/2, and goes on with two more requests.
fn upgraded() -> Vec<Item> {
    let request = "POST /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: AAMAAABk\r\nContent-Length: 3\r\n\r\nabc";
    Script::default()
        .client("GET /before HTTP/1.1\r\nHost: a\r\n\r\n")
        .server(OK)
        .client(request)
        .server(concat(&[
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n".to_vec(),
            settings(&[]),
            headers(END_HEADERS, 1, ":status=201"),
        ]))
        .client(concat(&[
            PREFACE.to_vec(),
            settings(&[]),
            headers(WHOLE, 3, &get("/3")),
        ]))
        .server(concat(&[
            data(END_STREAM, 1, "one"),
            headers(WHOLE, 3, ":status=203"),
        ]))
        .client(concat(&[
            headers(END_HEADERS, 5, &post("/5")),
            data(END_STREAM, 5, "five"),
        ]))
        .server(concat(&[
            headers(END_HEADERS, 5, ":status=205"),
            data(END_STREAM, 5, "FIVE"),
        ]))
        .end()
        .items
}

/// The same, for the reader of HTTP/2 alone.
fn for_http2(items: &[Item]) -> Vec<Alone> {
    items
        .iter()
        .filter_map(|item| match item {
            Item::Sent(sent) => Some(Alone::Sent(alone::Sent {
                direction: sent.direction,
                offset: sent.offset,
                time: sent.time,
                data: sent.data.clone(),
            })),
            Item::Passed(direction, until, time) => Some(Alone::Passed(*direction, *until, *time)),
            Item::Finish(direction, offset) => Some(Alone::Finish(*direction, *offset)),
            Item::LeftOut(..) | Item::Resume(..) => None,
        })
        .collect()
}

fn whole(items: &[Item]) -> Vec<Exchange> {
    deliver(items, limits(), Start::Fresh).exchanges
}

/// Every exchange is one of the whole connection's, the same if nothing marks it.
fn check_none_is_wrong(played: &Played, whole: &[Exchange]) -> Result<(), TestCaseError> {
    for exchange in &played.exchanges {
        let same = whole.iter().find(|other| {
            other.stream == exchange.stream
                && (other.stream.is_some() || other.request_offset == exchange.request_offset)
        });
        let Some(same) = same else {
            // Nobody saw that its answer was an upgrade.
            prop_assert!(exchange.request.target == "/up" && exchange.response.is_none());
            continue;
        };
        let target = &exchange.request.target;
        prop_assert!(
            target.is_empty() || *target == same.request.target,
            "{target:?} of {same:?}"
        );
        let status = |exchange: &Exchange| exchange.response.as_ref().map(|response| response.status);
        prop_assert!(matches!(status(exchange), None | Some(0)) || status(exchange) == status(same));
        if exchange.flags == Flags::default() {
            prop_assert_eq!(
                &Exchange {
                    index: same.index,
                    ..exchange.clone()
                },
                same
            );
        }
    }
    Ok(())
}

#[test]
fn an_upgrade_goes_on_with_its_request() {
    let played = deliver(&upgraded(), limits(), Start::Fresh);
    let lines: Vec<_> = played
        .exchanges
        .iter()
        .map(|exchange| {
            let response = exchange.response.as_ref().unwrap();
            let target = String::from_utf8_lossy(&exchange.request.target).into_owned();
            (exchange.index, exchange.stream, target, response.status)
        })
        .collect();
    let want = [
        (0, None, "/before".to_owned(), 200),
        (1, Some(1), "/up".to_owned(), 201),
        (2, Some(3), "/3".to_owned(), 203),
        (3, Some(5), "/5".to_owned(), 205),
    ];
    assert_eq!(lines, want);
    assert!(
        played
            .exchanges
            .iter()
            .all(|exchange| exchange.flags == Flags::default())
    );
    assert_eq!((played.over, played.counters.upgraded_h2c), (None, 1));
    assert_eq!(played.exchanges[1].request.body.decoded_bytes, 3);
}

#[test]
fn an_upgrade_to_something_else_is_an_exchange() {
    let mut items = upgraded();
    items.truncate(4);
    let at = length(&items, Direction::Request);
    items.push(
        match Script::default().client("not the preface").items.remove(0) {
            Item::Sent(mut sent) => {
                (sent.offset, sent.time) = (at, 99);
                Item::Sent(sent)
            }
            other => other,
        },
    );
    let played = deliver(&items, limits(), Start::Fresh);
    assert_eq!(played.over, Some(Over::NotHttp));
    let exchange = played.exchanges.last().unwrap();
    assert_eq!(
        (&*exchange.request.target, exchange.stream),
        (b"/up".as_slice(), None)
    );
    assert_eq!(exchange.response.as_ref().unwrap().status, 101);
}

#[test]
fn an_upgrade_that_came_out_comes_out_once() {
    let mut connection = Connection::new(limits(), Start::Fresh);
    let request = b"GET /up HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    let answer = b"HTTP/1.1 101 Fine\r\nUpgrade: h2c\r\n\r\n";
    let turn = Boundary::TurnStart;
    connection.segment(Direction::Request, 0, 1, request, turn);
    connection.segment(Direction::Response, 0, 2, answer, turn);
    connection.finish(Direction::Response, Some(answer.len() as u64), 3);
    let begin = request.len() as u64;
    connection.segment(Direction::Request, begin, 4, b"not the preface at all, not", turn);
    connection.close(5);
    assert_eq!(connection.over(), Some(&Over::NotHttp));
    let targets: Vec<_> = std::iter::from_fn(|| connection.poll())
        .map(|exchange| exchange.request.target)
        .collect();
    assert_eq!(targets, ["/up"]);
}

#[test]
fn one_side_alone() {
    let items = recorded();
    for (seen, exchanges) in [(Direction::Request, true), (Direction::Response, false)] {
        let lengths: Vec<_> = items
            .iter()
            .filter(|item| match item {
                Item::Sent(sent) => sent.direction == seen,
                _ => false,
            })
            .cloned()
            .collect();
        for start in [Start::Fresh, Start::Late] {
            let played = deliver(&lengths, limits(), start);
            // Promises are requests that the server sends.
            let asked = played
                .exchanges
                .iter()
                .filter(|exchange| exchange.stream.is_some_and(|id| id % 2 == 1));
            assert_eq!(asked.count() > 0, exchanges, "{seen:?} {start:?}");
            let answered = |exchange: &Exchange| {
                exchange.stream.is_some_and(|id| id % 2 == 0) || exchange.response.is_none()
            };
            assert!(played.exchanges.iter().all(answered));
        }
    }
}

#[test]
fn a_server_that_looks_like_http2_and_a_client_that_does_not() {
    let script = Script::default()
        .server(settings(&[(3, 100)]))
        .client("HELO there\r\n")
        .server("250 hi");
    let played = deliver(&script.items, limits(), Start::Fresh);
    assert_eq!((played.exchanges.len(), played.over), (0, Some(Over::NotHttp)));
}

#[test]
fn frames_without_requests_are_not_believed() {
    let noise = concat(&[
        data(0, 1, "xyz"),
        headers(WHOLE, 3, "nothing=here"),
        data(END_STREAM, 7, [9; 40]),
    ]);
    let mut connection = Connection::new(limits(), Start::Late);
    let mut offset = 0;
    while connection.over().is_none() {
        assert!(offset < 1 << 20, "never given up");
        for direction in [Direction::Request, Direction::Response] {
            connection.segment(direction, offset, offset, &noise, crate::Boundary::TurnStart);
        }
        offset += noise.len() as u64;
        assert_eq!(connection.poll(), None);
    }
    assert_eq!(connection.over(), Some(&Over::NotHttp));
}

/// A connection joined in the middle of an HTTP/1 body that is made of frames.
#[test]
fn frames_in_a_body_do_not_hide_http1() {
    let body = data(0, 1, [7; 90]).repeat(20);
    let script = Script::default()
        .server(&body)
        .client("GET /1 HTTP/1.1\r\n\r\n")
        .server(OK)
        .client("GET /2 HTTP/1.1\r\n\r\n")
        .server(OK)
        .end();
    let played = deliver(&script.items, limits(), Start::Late);
    let targets: Vec<_> = played
        .exchanges
        .iter()
        .map(|exchange| exchange.request.target.clone())
        .collect();
    assert_eq!(targets, ["/1", "/2"]);
    assert!(
        played
            .exchanges
            .iter()
            .all(|exchange| exchange.response.is_some())
    );
}

#[test]
fn everything_is_needed_once_it_is_known() {
    let mut connection = Connection::new(limits(), Start::Fresh);
    connection.segment(
        Direction::Request,
        0,
        1,
        &PREFACE[..3],
        crate::Boundary::TurnStart,
    );
    assert!(!connection.needs_all());
    connection.segment(
        Direction::Request,
        3,
        1,
        &PREFACE[3..],
        crate::Boundary::Continued,
    );
    assert!(connection.needs_all());
    assert_eq!(
        connection.take_counters(),
        Counters {
            http2_prefaces: 1,
            ..Counters::default()
        }
    );
}

#[test]
fn websocket_over_a_stream() {
    let connect = ":method=CONNECT|:protocol=websocket|:scheme=https|:path=/chat|:authority=a";
    let script = Script::default()
        .client(concat(&[
            PREFACE.to_vec(),
            settings(&[]),
            headers(END_HEADERS, 1, connect),
        ]))
        .server(concat(&[
            settings(&[(8, 1)]),
            headers(END_HEADERS, 1, ":status=200"),
        ]))
        .client(data(END_STREAM, 1, b"\x81\x82\0\0\0\0hi"))
        .server(data(END_STREAM, 1, b"\x82\x03abc"))
        .end();
    let exchanges = whole(&script.items);
    assert!(matches!(exchanges[0].application, Application::WebSocket(_)));
    assert_eq!(exchanges[0].request.body.messages.count, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Telling protocols apart changes nothing for HTTP/2.
    #[test]
    fn it_is_read_as_by_itself(
        lengths in prop::collection::vec(1_usize..900, 1..20),
        choices in prop::option::of(prop::collection::vec(any::<bool>(), 1..60)),
        before in select(vec!["", "PROXY TCP4 1.2.3.4 5.6.7.8 9 80\r\n"]),
    ) {
        let recorded = everything();
        let want = alone::play(&for_http2(&behind("", &recorded)), limits(), Start::Fresh).exchanges;
        let mut items = split(&behind(before, &recorded), &lengths);
        // Where the end of a direction is known first, less may be certain.
        items.retain(|item| !matches!(item, Item::Finish(..)));
        if let Some(choices) = choices {
            items = mix(&items, &choices);
        }
        let played = deliver(&items, limits(), Start::Fresh);
        prop_assert_eq!(played.counters.proxy_headers, u64::from(!before.is_empty()));
        prop_assert_eq!(played.exchanges.len(), want.len());
        // All is later by what came before.
        let (late, far) = if before.is_empty() { (0, 0) } else { (10, before.len() as u64) };
        for (mut exchange, want) in played.exchanges.into_iter().zip(want) {
            if exchange.stream.is_some_and(|id| id % 2 == 1) {
                exchange.request_offset -= far;
            }
            exchange.request.first_byte -= late;
            exchange.request.last_byte -= late;
            if let Some(response) = &mut exchange.response {
                response.first_byte -= late;
                response.last_byte -= late;
            }
            prop_assert_eq!(exchange, want);
        }
    }

    #[test]
    fn joined_late_it_is_read_as_by_itself(
        from: Index,
        lengths in prop::collection::vec(1_usize..900, 1..20),
        choices in prop::option::of(prop::collection::vec(any::<bool>(), 1..60)),
    ) {
        let mut items = recorded();
        items.drain(..from.index(items.len()));
        items = split(&items, &lengths);
        if let Some(choices) = choices {
            items = mix(&items, &choices);
        }
        let want = alone::play(&for_http2(&items), limits(), Start::Late).exchanges;
        prop_assert_eq!(deliver(&items, limits(), Start::Late).exchanges, want);
    }

    #[test]
    fn a_gap_makes_no_wrong_pair(
        before in select(vec!["", "PROXY TCP4 1.2.3.4 5.6.7.8 9 80\r\n"]),
        request: bool,
        range: (Index, Index),
        lengths in prop::collection::vec(1_usize..900, 1..20),
        choices in prop::option::of(prop::collection::vec(any::<bool>(), 1..60)),
    ) {
        let items = behind(before, &everything());
        let direction = which(request);
        let (from, to) = bounds(&range, 0, length(&items, direction));
        let mut left = split(&cut(&items, direction, from, to), &lengths);
        if let Some(choices) = choices {
            left = mix(&left, &choices);
        }
        check_none_is_wrong(&deliver(&left, limits(), Start::Fresh), &whole(&items))?;
    }
}

proptest! {

    #[test]
    fn deliveries_of_an_upgrade_change_nothing(
        lengths in prop::collection::vec(1_usize..90, 1..20),
        choices in prop::collection::vec(any::<bool>(), 1..60),
    ) {
        let items = upgraded();
        let mixed = mix(&split(&items, &lengths), &choices);
        prop_assert_eq!(whole(&mixed), whole(&items));
    }

    #[test]
    fn a_gap_around_an_upgrade_makes_no_wrong_pair(
        request: bool,
        range: (Index, Index),
        lengths in prop::collection::vec(1_usize..90, 1..20),
        choices in prop::option::of(prop::collection::vec(any::<bool>(), 1..60)),
    ) {
        let items = upgraded();
        let direction = which(request);
        let (from, to) = bounds(&range, 0, length(&items, direction));
        let mut left = split(&cut(&items, direction, from, to), &lengths);
        if let Some(choices) = choices {
            left = mix(&left, &choices);
        }
        check_none_is_wrong(&deliver(&left, limits(), Start::Fresh), &whole(&items))?;
    }
}
