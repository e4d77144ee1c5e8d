//! Properties of the engine.

use proptest::prelude::*;
use proptest::sample::Index;

use super::conversation::{Conversation, Habit, any_habit, conversation, ids};
use super::delivery::{bounds, cut, length, mix, split, time_of, which};
use super::script::{Item, Played, line, play};
use crate::{Boundary, Start};
use crate::{Exchange, Flags, Limits};

pub(super) fn limits() -> Limits {
    Limits {
        held_bytes: 1 << 20,
        body_bytes: 25,
        ..Limits::default()
    }
}

/// No exchange is wrong: each is one of the whole conversation's, and the same if it says that it is complete.
pub(super) fn check_none_is_wrong(played: &Played, whole: &[Exchange]) -> Result<(), TestCaseError> {
    prop_assert!(played.exchanges.len() <= whole.len());
    for exchange in &played.exchanges {
        let (request, response) = ids(exchange);
        if let Some(response) = response {
            prop_assert_eq!(&request, &response, "{}", line(exchange));
        } else {
            prop_assert!(exchange.flags.contains(Flags::UNPAIRED));
        }
        let same = whole
            .iter()
            .find(|other| other.request_offset == exchange.request_offset);
        let same = same.ok_or_else(|| TestCaseError::fail(format!("invented: {}", line(exchange))))?;
        prop_assert_eq!(&same.request.target, &exchange.request.target);
        if exchange.flags == Flags::default() || exchange.flags == Flags::LATE_JOIN {
            let flags = exchange.flags;
            prop_assert_eq!(
                &Exchange {
                    index: exchange.index,
                    flags,
                    ..same.clone()
                },
                exchange
            );
        }
    }
    Ok(())
}

pub(super) fn whole(conversation: &Conversation) -> Vec<Exchange> {
    play(&conversation.script.items, limits(), Start::Fresh).exchanges
}

/// What turns a connection into something else is not confirmed any more if it comes right behind a loss.
fn switches(exchange: &Exchange) -> bool {
    exchange.request.method == "CONNECT"
        || exchange
            .response
            .as_ref()
            .is_some_and(|response| response.status == 101)
}

proptest! {

    #[test]
    fn every_exchange_comes_out_paired(conversation in conversation(any_habit())) {
        let played = play(&conversation.script.items, limits(), Start::Fresh);
        for (at, exchange) in played.exchanges.iter().enumerate() {
            let at = at.to_string();
            prop_assert_eq!(ids(exchange), (at.clone(), Some(at)));
            prop_assert!(!exchange.flags.contains(Flags::GAP) && !exchange.flags.contains(Flags::UNPAIRED));
        }
        prop_assert_eq!(played.counters.requests, played.exchanges.len() as u64);
        prop_assert_eq!(played.counters.responses, played.counters.requests);
        prop_assert_eq!(played.counters.responses_without_request, 0);
    }

    #[test]
    fn splits_change_nothing(conversation in conversation(any_habit()), lengths in prop::collection::vec(1_usize..30, 1..20)) {
        let items = split(&conversation.script.items, &lengths);
        prop_assert_eq!(play(&items, limits(), Start::Fresh).exchanges, whole(&conversation));
    }

    #[test]
    fn the_mix_of_directions_changes_nothing(
        conversation in conversation(any_habit()),
        lengths in prop::collection::vec(1_usize..90, 1..20),
        choices in prop::collection::vec(any::<bool>(), 1..60),
    ) {
        let items = mix(&split(&conversation.script.items, &lengths), &choices);
        prop_assert_eq!(play(&items, limits(), Start::Fresh).exchanges, whole(&conversation));
    }

    #[test]
    fn one_direction_first_changes_nothing(conversation in conversation(any_habit()), requests_first: bool) {
        let items = mix(&conversation.script.items, &[requests_first]);
        prop_assert_eq!(play(&items, limits(), Start::Fresh).exchanges, whole(&conversation));
    }

    #[test]
    fn a_gap_makes_no_wrong_pair(
        conversation in conversation(any_habit()),
        request: bool,
        range: (Index, Index),
        lengths in prop::collection::vec(1_usize..90, 1..20),
        told in prop::option::of(any::<bool>()),
    ) {
        let items = &conversation.script.items;
        let direction = which(request);
        let seen = if conversation.habit == Habit::Bursts(1) { 0 } else { conversation.plain };
        let (from, to) = bounds(&range, length(&items[..seen], direction), length(items, direction));
        let mut left = split(&cut(items, direction, from, to), &lengths);
        // The caller may know that the bytes were left out on purpose.
        let next = left.iter().position(|item| match item {
            Item::Sent(sent) => sent.direction == direction && sent.offset >= to,
            other => super::delivery::direction(other) == direction,
        });
        if let (Some(at_once), Some(at)) = (told, next) {
            let time = time_of(items, direction, to);
            left.insert(at, if at_once { Item::Passed(direction, to, time) } else { Item::LeftOut(direction, to) });
        }
        let played = play(&left, limits(), Start::Fresh);
        check_none_is_wrong(&played, &whole(&conversation))?;
    }

    #[test]
    fn a_gap_in_both_directions_makes_no_wrong_pair(
        conversation in conversation(any_habit()),
        range: (Index, Index),
        choices in prop::collection::vec(any::<bool>(), 1..60),
        mixed: bool,
    ) {
        let items = &conversation.script.items;
        let seen = if conversation.habit == Habit::Bursts(1) { 0 } else { conversation.plain };
        let (from, to) = bounds(&range, seen as u64, items.len() as u64);
        let lossy = |(at, item): (usize, &Item)| {
            let lost = (from as usize..to as usize).contains(&at) && matches!(item, Item::Sent(_));
            (!lost).then(|| item.clone())
        };
        let mut left: Vec<Item> = items.iter().enumerate().filter_map(lossy).collect();
        if mixed {
            left = mix(&left, &choices);
        }
        check_none_is_wrong(&play(&left, limits(), Start::Fresh), &whole(&conversation))?;
    }

    /// The client waits for each answer: what begins behind the gap comes out whole.
    #[test]
    fn what_follows_a_gap_is_found_again(
        conversation in conversation(Just(Habit::Bursts(1))),
        request: bool,
        range: (Index, Index),
    ) {
        let items = &conversation.script.items;
        let direction = which(request);
        let (from, to) = bounds(&range, 0, length(items, direction));
        prop_assume!(from < to);
        let cut = cut(items, direction, from, to);
        let played = play(&cut, limits(), Start::Fresh);
        let time = items.iter().find_map(|item| match item {
            Item::Sent(sent) if sent.direction == direction && sent.offset >= to => Some(sent.time),
            _ => None,
        });
        let whole = whole(&conversation);
        let behind = whole.iter().filter(|exchange| time.is_some_and(|time| exchange.request.first_byte > time) && !switches(exchange));
        for exchange in behind {
            let found = played.exchanges.iter().find(|found| found.request_offset == exchange.request_offset);
            prop_assert!(
                found.is_some_and(|found| found.flags == exchange.flags),
                "{} of {:?}", line(exchange), played.lines()
            );
        }
    }

    #[test]
    fn a_late_join_invents_nothing(
        conversation in conversation(Just(Habit::Bursts(1))),
        from: Index,
        within: Index,
    ) {
        let items = &conversation.script.items;
        let from = from.index(items.len());
        let mut left = items[from..].to_vec();
        if let Some(Item::Sent(sent)) = left.first_mut() {
            let skip = within.index(sent.data.len());
            sent.data.drain(..skip);
            sent.offset += skip as u64;
        }
        // Whoever joins does not know that the first bytes continue something.
        for item in left.iter_mut().take(2) {
            if let Item::Sent(sent) = item {
                sent.boundary = Boundary::TurnStart;
            }
        }
        let played = play(&left, limits(), Start::Late);
        let whole = whole(&conversation);
        check_none_is_wrong(&played, &whole)?;
        let mut flagged = played.exchanges.iter().map(|exchange| exchange.flags.contains(Flags::LATE_JOIN));
        prop_assert!(flagged.next().unwrap_or(true), "the first");
        let begun = left.iter().find_map(|item| match item {
            Item::Sent(sent) => Some(sent.time),
            _ => None,
        });
        let behind = whole.iter().filter(|exchange| begun.is_some_and(|begun| exchange.request.first_byte > begun) && exchange.request.method != "PURGE" && !switches(exchange));
        prop_assert!(played.exchanges.len() >= behind.count());
    }
}
