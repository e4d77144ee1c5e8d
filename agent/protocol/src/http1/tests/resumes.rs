//! Exchanges that are left out on purpose, whole ones.

use proptest::prelude::*;

use super::conversation::{Conversation, Habit, conversation};
use super::delivery::split;
use super::laws::{check_none_is_wrong, limits, whole};
use super::script::{GET, Item, OK, Script, play};
use crate::http1::Connection;
use crate::{Boundary, Direction, Exchange, Start};

use Direction::{Request as Up, Response as Down};

/// The items of each exchange, and what follows the last.
fn exchanges(conversation: &Conversation, whole: &[Exchange]) -> (Vec<Vec<Item>>, Vec<Item>) {
    let (sent, finish): (Vec<_>, Vec<_>) = conversation
        .script
        .items
        .iter()
        .cloned()
        .partition(|item| matches!(item, Item::Sent(_)));
    let mut groups: Vec<Vec<Item>> = Vec::new();
    for item in sent {
        let begins = matches!(&item, Item::Sent(sent) if sent.direction == Up
            && whole.iter().any(|exchange| exchange.request_offset == sent.offset));
        if begins {
            groups.push(Vec::new());
        }
        groups.last_mut().unwrap().push(item);
    }
    (groups, finish)
}

/// What is delivered of exchanges of which only some are kept; `lengths`: of the pieces in which they come.
fn deliver(groups: &[Vec<Item>], finish: &[Item], kept: &[bool], lengths: &[usize]) -> Vec<Item> {
    let mut kept = kept.iter().copied().cycle();
    let mut items = Vec::new();
    // Directions that are still to be resumed.
    let mut behind: Vec<Direction> = Vec::new();
    for group in groups {
        if !kept.next().unwrap() {
            behind = vec![Up, Down];
            continue;
        }
        for item in split(group, lengths) {
            if let Item::Sent(sent) = &item
                && sent.boundary == Boundary::TurnStart
                && behind.contains(&sent.direction)
            {
                items.push(Item::Resume(sent.direction, sent.offset, sent.time));
                behind.retain(|direction| *direction != sent.direction);
            }
            items.push(item);
        }
    }
    if behind.len() == 2 {
        for item in finish {
            if let Item::Finish(direction, Some(end)) = item {
                items.push(Item::Resume(*direction, *end, 1 << 40));
            }
        }
    }
    items.extend_from_slice(finish);
    items
}

proptest! {
    #[test]
    fn what_is_kept_is_as_if_all_were(
        conversation in conversation(Just(Habit::Bursts(1))),
        kept in prop::collection::vec(any::<bool>(), 1..12),
        lengths in prop::collection::vec(1_usize..60, 1..20),
    ) {
        let whole = whole(&conversation);
        let (groups, finish) = exchanges(&conversation, &whole);
        let played = play(&deliver(&groups, &finish, &kept, &lengths), limits(), Start::Fresh);
        let mut kept = kept.iter().copied().cycle();
        let expect: Vec<Exchange> = whole
            .iter()
            .filter(|_| kept.next().unwrap())
            .zip(0..)
            .map(|(exchange, index)| Exchange { index, ..exchange.clone() })
            .collect();
        prop_assert_eq!(played.exchanges, expect);
        let counters = played.counters;
        prop_assert_eq!((counters.gaps, counters.left_out, counters.resumed_inside), (0, 0, 0));
    }

    /// Of one loss. Where an answer is lost and then the next request too, nobody knows what the answer behind them belongs to.
    #[test]
    fn what_is_lost_beside_makes_no_wrong_pair(
        conversation in conversation(Just(Habit::Bursts(1))),
        kept in prop::collection::vec(any::<bool>(), 1..12),
        lengths in prop::collection::vec(1_usize..60, 1..20),
        lost in any::<prop::sample::Index>(),
    ) {
        let whole = whole(&conversation);
        let (groups, finish) = exchanges(&conversation, &whole);
        let delivered = deliver(&groups, &finish, &kept, &lengths);
        let sent = delivered.iter().filter(|item| matches!(item, Item::Sent(_))).count();
        if sent == 0 {
            return Ok(());
        }
        let lost = lost.index(sent);
        let mut number = 0..;
        // That a direction goes on behind what was left out is told with the next turn of it that comes, be that another one.
        let mut resumes = [false, false];
        let mut items = Vec::new();
        for item in delivered {
            match item {
                Item::Resume(direction, ..) => resumes[usize::from(direction == Down)] = true,
                Item::Sent(_) if number.next() == Some(lost) => {}
                Item::Sent(sent) => {
                    let resumes = &mut resumes[usize::from(sent.direction == Down)];
                    if *resumes && sent.boundary == Boundary::TurnStart {
                        *resumes = false;
                        items.push(Item::Resume(sent.direction, sent.offset, sent.time));
                    }
                    items.push(Item::Sent(sent));
                }
                other => items.push(other),
            }
        }
        let played = play(&items, limits(), Start::Fresh);
        check_none_is_wrong(&played, &whole)?;
    }
}

/// A connection that was given a conversation.
fn given(script: &Script) -> Connection {
    let mut connection = Connection::new(limits(), Start::Fresh);
    for item in &script.items {
        if let Item::Sent(sent) = item {
            connection.segment(sent.direction, sent.offset, sent.time, &sent.data, sent.boundary);
        }
    }
    connection
}

#[test]
fn connections_rest_when_each_turn_is_one_message() {
    let exchange = || Script::default().client(GET).server(OK);
    let upload = "POST /u HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let switch = "GET /s HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    let long = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab";
    let cases: &[(&str, Script, bool)] = &[
        ("nothing yet", Script::default(), false),
        ("one exchange", exchange(), true),
        ("while it waits for an answer", exchange().client(GET), true),
        (
            "in pieces",
            exchange()
                .client("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab")
                .client("cd"),
            true,
        ),
        (
            "two requests in one piece",
            exchange().client(GET.repeat(2)).server(OK.repeat(2)),
            false,
        ),
        (
            "two in two pieces",
            exchange().client(GET).client(GET).server(OK),
            false,
        ),
        (
            "before the end of the answer",
            exchange().client(GET).server(long).client(GET).server("cd"),
            false,
        ),
        (
            "an answer before the end of the request",
            exchange().client(upload).server(OK).client("abcd"),
            false,
        ),
        (
            "an interim response",
            exchange().client(upload).server("HTTP/1.1 100 Continue\r\n\r\n"),
            false,
        ),
        ("a request to switch", exchange().client(switch).server(OK), false),
        (
            "CONNECT",
            exchange().client("CONNECT a:1 HTTP/1.1\r\n\r\n"),
            false,
        ),
        (
            "an answer that is lost",
            exchange().client(GET).lost(Down, 40).client(GET).server(OK),
            false,
        ),
    ];
    for (name, script, can) in cases {
        assert_eq!(given(script).can_rest(), *can, "{name}");
    }
    let after = exchange()
        .client(GET)
        .lost(Down, 40)
        .client(GET)
        .server(OK)
        .client(GET)
        .server(OK);
    let connection = given(&after);
    assert!(
        connection.alternates() && connection.can_rest(),
        "what is lost is forgotten"
    );
}

/// What was left out began in the middle of something.
#[test]
fn what_is_unfinished_ends_marked() {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    let post = "POST /p HTTP/1.1\r\nContent-Length: 100\r\n\r\n";
    let cases: &[(&str, Script, &[&str], u64)] = &[
        (
            "nothing",
            Script::default().client(GET).server(OK),
            &["GET / > 200 2/2"],
            0,
        ),
        (
            "an answer that did not come",
            Script::default().client(GET),
            &["GET / > gap unpaired"],
            1,
        ),
        (
            "the body of an answer",
            Script::default().client(GET).server(length.to_owned() + "abc"),
            &["GET / > 200 3/3 truncated gap"],
            1,
        ),
        (
            "the head of an answer",
            Script::default().client(GET).server("HTTP/1.1 200 O"),
            &["GET / > gap unpaired"],
            1,
        ),
        (
            "the body of a request",
            Script::default().client(post.to_owned() + "abc"),
            &["POST /p 3/3 > truncated gap unpaired"],
            1,
        ),
        (
            "the head of a request",
            Script::default().client("GET /x HTT"),
            &[],
            1,
        ),
    ];
    for (name, before, expect, inside) in cases {
        let script = before
            .clone()
            .lost(Up, 50)
            .lost(Down, 60)
            .client("GET /b HTTP/1.1\r\n\r\n")
            .server(OK);
        let mut items = Vec::new();
        let mut left = before.items.len();
        for item in &script.items {
            if left == 0
                && let Item::Sent(sent) = item
            {
                items.push(Item::Resume(sent.direction, sent.offset, sent.time));
            }
            left = left.saturating_sub(1);
            items.push(item.clone());
        }
        let played = play(&items, limits(), Start::Fresh);
        let expect: Vec<&str> = expect.iter().copied().chain(["GET /b > 200 2/2"]).collect();
        assert_eq!(played.lines(), expect, "{name}");
        assert_eq!(played.counters.resumed_inside, *inside, "{name}");
    }
}

#[test]
fn a_connection_that_was_joined_late_is_known_from_there_on() {
    let mut connection = crate::Connection::new(limits(), Start::Late);
    assert!(connection.resume(Up, 1 << 40, 5));
    connection.segment(Up, 1 << 40, 5, GET.as_bytes(), Boundary::TurnStart);
    connection.resume(Down, 77, 6);
    connection.segment(Down, 77, 6, OK.as_bytes(), Boundary::TurnStart);
    let exchange = connection.poll().unwrap();
    assert_eq!(super::script::line(&exchange), "GET / > 200 2/2");
    assert!(connection.can_rest());
}

/// Bytes of the other direction that nobody said to be an answer are none.
#[test]
fn a_new_request_gets_no_old_answer() {
    for (from, text) in [
        (OK.len() as u64, OK),
        (500, "e body of which the begin is missing"),
        (500, OK),
    ] {
        let mut connection = Connection::new(limits(), Start::Fresh);
        connection.segment(Up, 0, 1, GET.as_bytes(), Boundary::TurnStart);
        connection.segment(Down, 0, 2, OK.as_bytes(), Boundary::TurnStart);
        assert!(connection.resume(Up, 200, 9));
        connection.segment(Up, 200, 9, GET.as_bytes(), Boundary::TurnStart);
        connection.segment(Down, from, 10, text.as_bytes(), Boundary::TurnStart);
        let lines: Vec<_> =
            std::iter::from_fn(|| connection.poll().as_ref().map(super::script::line)).collect();
        assert_eq!(lines, ["GET / > 200 2/2", "GET / > gap unpaired"]);
        // The next is well again.
        connection.resume(Up, 400, 20);
        connection.segment(Up, 400, 20, GET.as_bytes(), Boundary::TurnStart);
        connection.resume(Down, 700, 21);
        connection.segment(Down, 700, 21, OK.as_bytes(), Boundary::TurnStart);
        assert_eq!(
            super::script::line(&connection.poll().unwrap()),
            "GET / > 200 2/2"
        );
    }
}

#[test]
fn a_connection_may_end_before_the_answer() {
    let mut connection = Connection::new(limits(), Start::Fresh);
    assert!(connection.resume(Up, 200, 9));
    connection.segment(Up, 200, 9, GET.as_bytes(), Boundary::TurnStart);
    connection.finish(Up, Some(200 + GET.len() as u64), 10);
    connection.finish(Down, Some(5000), 10);
    let exchange = connection.poll().unwrap();
    assert_eq!(
        super::script::line(&exchange),
        "GET / > gap unpaired",
        "it may have been lost"
    );
    assert_eq!(connection.counters().gaps, 0);
}
