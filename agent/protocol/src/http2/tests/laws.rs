//! Properties of the engine, on connections of real peers.

use proptest::prelude::*;
use proptest::sample::Index;

use super::recorded::{Ask, everything, record, short};
use super::script::{Item, Played, Sent, line, play};
use crate::{Body, Direction, Exchange, Flags, Headers, Limits, Start};

fn limits() -> Limits {
    Limits {
        held_bytes: 1 << 20,
        body_bytes: 25,
        ..Limits::default()
    }
}

fn whole(items: &[Item]) -> Vec<Exchange> {
    play(items, limits(), Start::Fresh).exchanges
}

/// Cuts each segment into pieces of the given lengths, over and over.
fn split(items: &[Item], lengths: &[usize]) -> Vec<Item> {
    let mut lengths = lengths.iter().copied().cycle();
    let mut out = Vec::new();
    for item in items {
        let Item::Sent(sent) = item else {
            out.push(item.clone());
            continue;
        };
        let mut at = 0;
        while at < sent.data.len() {
            let end = (at + lengths.next().unwrap()).min(sent.data.len());
            out.push(Item::Sent(Sent {
                data: sent.data[at..end].to_vec(),
                offset: sent.offset + at as u64,
                ..*sent
            }));
            at = end;
        }
    }
    out
}

fn check_same(got: &[Exchange], want: &[Exchange], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        assert_eq!(got, want, "{what}");
    }
}

fn direction(item: &Item) -> Direction {
    match item {
        Item::Sent(sent) => sent.direction,
        Item::Passed(direction, ..) | Item::Finish(direction, _) => *direction,
    }
}

/// Delivers both directions in their own order, but mixed as `choices` say.
fn mix(items: &[Item], choices: &[bool]) -> Vec<Item> {
    let of = |wanted| {
        items
            .iter()
            .filter(move |item| direction(item) == wanted)
            .cloned()
    };
    let mut requests = of(Direction::Request).peekable();
    let mut responses = of(Direction::Response).peekable();
    let mut choices = choices.iter().copied().cycle();
    std::iter::from_fn(|| {
        let request = requests.peek().is_some() && (responses.peek().is_none() || choices.next().unwrap());
        if request {
            requests.next()
        } else {
            responses.next()
        }
    })
    .collect()
}

/// Takes the bytes from `from` to `to` out of one direction; they are `passed` if somebody says so.
fn cut(items: &[Item], wanted: Direction, from: u64, to: u64, told: bool) -> Vec<Item> {
    let mut out = Vec::new();
    let mut passed = !told;
    for item in items {
        match item {
            Item::Sent(sent) if sent.direction == wanted => {
                let end = sent.offset + sent.data.len() as u64;
                let piece = |from: u64, to: u64| {
                    let at = |offset: u64| (offset.clamp(sent.offset, end) - sent.offset) as usize;
                    let data = sent.data[at(from)..at(to)].to_vec();
                    let offset = from.max(sent.offset);
                    (!data.is_empty()).then_some(Item::Sent(Sent {
                        data,
                        offset,
                        ..*sent
                    }))
                };
                out.extend(piece(sent.offset, from));
                if !passed && end >= to {
                    passed = true;
                    out.push(Item::Passed(wanted, to, sent.time));
                }
                out.extend(piece(to, end));
            }
            _ => out.push(item.clone()),
        }
    }
    out
}

fn length(items: &[Item], wanted: Direction) -> u64 {
    let end = |item: &Item| match item {
        Item::Sent(sent) if sent.direction == wanted => Some(sent.offset + sent.data.len() as u64),
        _ => None,
    };
    items.iter().filter_map(end).max().unwrap()
}

fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a [u8]> {
    headers.get(name.as_bytes())
}

/// Whether fields are some of the others, in their order.
fn some_of(part: &Headers, whole: &Headers) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|field| whole.any(|other| other == field))
}

fn check_body(got: &Body, want: &Body) {
    assert!(got.decoded_bytes <= want.decoded_bytes);
    assert!(want.captured.starts_with(&got.captured));
    assert!(some_of(&got.trailers, &want.trailers));
}

/// No exchange is wrong: each is one of the whole conversation's, and the same if it says that it is complete.
fn check_none_is_wrong(played: &Played, whole: &[Exchange], what: &str) {
    for exchange in &played.exchanges {
        let text = line(exchange);
        let same = whole
            .iter()
            .find(|other| other.stream == exchange.stream && other.request_offset == exchange.request_offset)
            .unwrap_or_else(|| panic!("{what}: invented: {text}"));
        if exchange.flags == Flags::default() {
            let index = exchange.index;
            assert_eq!(
                *exchange,
                Exchange {
                    index,
                    ..same.clone()
                },
                "{what}"
            );
            continue;
        }
        let unknown = exchange.request.headers_unknown > 0;
        assert!(
            unknown || exchange.request.target == same.request.target,
            "{what}: {text}"
        );
        for (part, all) in [
            (&exchange.request.target, &same.request.target),
            (&exchange.request.method, &same.request.method),
        ] {
            assert!(part.is_empty() || part == all, "{what}: {text}");
        }
        assert!(
            some_of(&exchange.request.headers, &same.request.headers),
            "{what}: {text}"
        );
        check_body(&exchange.request.body, &same.request.body);
        match (&exchange.response, &same.response) {
            (None, _) => assert!(exchange.flags.contains(Flags::UNPAIRED), "{what}: {text}"),
            (Some(response), Some(other)) => {
                let unknown = response.headers_unknown > 0;
                assert!(
                    response.status == other.status || unknown && response.status == 0,
                    "{what}: {text}"
                );
                assert!(some_of(&response.headers, &other.headers), "{what}: {text}");
                check_body(&response.body, &other.body);
            }
            (Some(_), None) => panic!("{what}: response invented: {text}"),
        }
    }
    assert_eq!(
        (played.connection.kept().0, played.connection.held),
        (0, 0),
        "{what}"
    );
    for (at, exchange) in played.exchanges.iter().enumerate() {
        let again = played.exchanges[..at]
            .iter()
            .any(|other| other.stream == exchange.stream);
        assert!(!again, "{what}: twice: {}", line(exchange));
    }
}

#[test]
fn every_exchange_comes_out() {
    let items = everything();
    let played = play(&items, Limits::default(), Start::Fresh);
    assert_eq!(
        played.lines(),
        [
            "1 POST /none/0 > 204",
            "3 POST /echo/1 109/100 > 200 118/100",
            "5 POST /interim/2 > 200 interim 2",
            "7 POST /trailers/3/50 59/50 +2 > 200 59/50 +2",
            "9 POST /refused/4 > unpaired",
            "11 POST /cancelled/5 14/5 > 200 1009/1000 truncated",
            "13 POST /early/6 309/300 > 413",
            "15 POST /broken/7 14/5 > 200 19/10 truncated",
            "17 POST /push/8 > 200",
            "19 POST /echo/9 3009/3000 > 200 3018/3000",
            "21 POST /echo/10 19/10 > 200 28/10",
            "23 POST /trailers/11/0 9/0 +2 > 200 9/0 +2",
            "25 POST /none/12 > 204",
            "2 GET /pushed/8 > 200 29/20",
        ]
    );
    for exchange in &played.exchanges {
        let response = exchange.response.as_ref();
        if let Some(id) = response.and_then(|response| header(&response.headers, "id")) {
            assert_eq!(
                exchange.request.target.split(|&byte| byte == b'/').nth(2),
                Some(id)
            );
        }
    }
    assert_eq!(played.counters.malformed_frames, 0);
    assert_eq!(played.counters.lenient_heads, 0);
    assert_eq!(played.counters.headers_unknown, 0);
    assert_eq!(played.connection.kept(), (0, 0));
}

#[test]
fn long_heads_and_big_bodies() {
    let items = record(&[
        &[Ask::Long, Ask::Echo(200_000), Ask::Trailers(100_000)],
        &[Ask::Long, Ask::None],
    ]);
    let played = play(&items, Limits::default(), Start::Fresh);
    assert_eq!(
        played.lines(),
        [
            "1 POST /long/0 > 200",
            "3 POST /echo/1 200117/200000 > 200 200126/200000",
            "5 POST /trailers/2/100000 100063/100000 +2 > 200 100063/100000 +2",
            "7 POST /long/3 > 200",
            "9 POST /none/4 > 204",
        ]
    );
    let longest = |headers: &Headers| headers.iter().map(|(_, value)| value.len()).max();
    assert_eq!(longest(&played.exchanges[0].request.headers), Some(40_000));
    let whole = whole(&items);
    for length in [1000, 1448, 9, 16393] {
        assert_eq!(
            play(&split(&items, &[length]), limits(), Start::Fresh).exchanges,
            whole
        );
    }
    for requests_first in [true, false] {
        check_same(
            &play(&mix(&items, &[requests_first]), limits(), Start::Fresh).exchanges,
            &whole,
            "mixed",
        );
    }
}

#[test]
fn every_split_gives_the_same() {
    let items = everything();
    let whole = whole(&items);
    for length in 1..50 {
        let played = play(&split(&items, &[length]), limits(), Start::Fresh);
        check_same(&played.exchanges, &whole, &format!("pieces of {length}"));
    }
}

#[test]
fn one_direction_first_changes_nothing() {
    let items = everything();
    let whole = whole(&items);
    for requests_first in [true, false] {
        let played = play(&mix(&items, &[requests_first]), limits(), Start::Fresh);
        check_same(
            &played.exchanges,
            &whole,
            &format!("requests first: {requests_first}"),
        );
    }
}

/// Every single gap of some lengths.
#[test]
fn no_gap_makes_a_wrong_pair() {
    let items = short();
    let whole = whole(&items);
    for wanted in [Direction::Request, Direction::Response] {
        let end = length(&items, wanted);
        for from in 0..end {
            for (len, told) in [
                (1, false),
                (9, false),
                (13, true),
                (40, false),
                (150, true),
                (1000, false),
            ] {
                let cut = cut(&items, wanted, from, (from + len).min(end), told);
                let played = play(&cut, limits(), Start::Fresh);
                check_none_is_wrong(&played, &whole, &format!("{wanted:?} without {from} + {len}"));
            }
        }
    }
}

/// What begins behind a gap comes out, and whole if nothing of it refers to what was missed.
#[test]
fn what_follows_a_gap_is_found_again() {
    let items = short();
    let whole = whole(&items);
    for wanted in [Direction::Request, Direction::Response] {
        for (at, gap) in items.iter().enumerate() {
            let Item::Sent(gap) = gap else { continue };
            if gap.direction != wanted || at < 2 {
                continue;
            }
            let mut left = items.clone();
            left.remove(at);
            let played = play(&left, limits(), Start::Fresh);
            check_none_is_wrong(&played, &whole, &format!("without segment {at}"));
            // The next segment of that direction begins with a frame.
            let next = items[at + 1..].iter().find_map(|item| match item {
                Item::Sent(sent) if sent.direction == wanted => Some(sent.time),
                _ => None,
            });
            for exchange in whole
                .iter()
                .filter(|exchange| next.is_some_and(|next| exchange.request.first_byte >= next))
            {
                assert!(
                    played
                        .exchanges
                        .iter()
                        .any(|found| found.stream == exchange.stream && found.response.is_some()),
                    "without segment {at}: {} of {:?}",
                    line(exchange),
                    played.lines()
                );
            }
        }
    }
}

#[test]
fn a_late_join_anywhere_invents_nothing() {
    let items = short();
    let whole = whole(&items);
    for at in 0..items.len() {
        let Item::Sent(first) = &items[at] else { continue };
        for skip in 0..first.data.len() {
            let mut left = items[at..].to_vec();
            if let Item::Sent(sent) = &mut left[0] {
                sent.data.drain(..skip);
                sent.offset += skip as u64;
            }
            let played = play(&left, limits(), Start::Late);
            let what = format!("from segment {at} + {skip}");
            check_none_is_wrong(&played, &whole, &what);
            if skip > 0 {
                continue;
            }
            // What began behind the join is there.
            for exchange in whole
                .iter()
                .filter(|exchange| exchange.request.first_byte >= first.time)
            {
                assert!(
                    played
                        .exchanges
                        .iter()
                        .any(|found| found.stream == exchange.stream && found.response.is_some()),
                    "{what}: {} of {:?}",
                    line(exchange),
                    played.lines()
                );
            }
            assert!(
                played
                    .exchanges
                    .first()
                    .is_none_or(|first| first.flags.contains(Flags::LATE_JOIN))
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_mix_of_directions_changes_nothing(
        lengths in prop::collection::vec(1_usize..900, 1..20),
        choices in prop::collection::vec(any::<bool>(), 1..60),
    ) {
        let items = everything();
        let whole = whole(&items);
        let mixed = mix(&split(&items, &lengths), &choices);
        check_same(&play(&mixed, limits(), Start::Fresh).exchanges, &whole, "");
    }

    #[test]
    fn gaps_splits_and_mixes_make_no_wrong_pair(
        request: bool,
        range: (Index, Index),
        lengths in prop::collection::vec(1_usize..900, 1..20),
        choices in prop::collection::vec(any::<bool>(), 1..60),
        told: bool,
        late: bool,
    ) {
        let items = everything();
        let whole = whole(&items);
        let wanted = if request { Direction::Request } else { Direction::Response };
        let end = length(&items, wanted);
        let at = |index: Index| index.index(usize::try_from(end).unwrap()) as u64;
        let (a, b) = (at(range.0), at(range.1));
        let left = mix(&split(&cut(&items, wanted, a.min(b), a.max(b), told), &lengths), &choices);
        let start = if late { Start::Late } else { Start::Fresh };
        check_none_is_wrong(&play(&left, limits(), start), &whole, "");
    }

    #[test]
    fn random_bytes_do_not_panic(
        pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 1..200)), 1..30),
        late: bool,
    ) {
        let mut script = super::script::Script::default();
        for (request, data) in pieces {
            let direction = if request { Direction::Request } else { Direction::Response };
            script = script.say(direction, &data);
        }
        let start = if late { Start::Late } else { Start::Fresh };
        let played = play(&script.end().items, limits(), start);
        prop_assert!(played.exchanges.is_empty());
    }
}
