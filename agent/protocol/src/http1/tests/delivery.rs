//! Ways to deliver the same conversation.

use proptest::sample::Index;

use super::script::{Item, Sent};
use crate::{Boundary, Direction};

/// Cuts each segment into pieces of the given lengths, over and over.
pub(crate) fn split(items: &[Item], lengths: &[usize]) -> Vec<Item> {
    let mut lengths = lengths.iter().copied().cycle();
    let mut out = Vec::new();
    for item in items {
        let Item::Sent(sent) = item else {
            out.push(item.clone());
            continue;
        };
        let mut rest = sent.clone();
        while !rest.data.is_empty() {
            let piece = lengths.next().unwrap().min(rest.data.len());
            let data = rest.data.drain(..piece).collect();
            out.push(Item::Sent(Sent { data, ..rest.clone() }));
            rest.offset += piece as u64;
            rest.boundary = Boundary::Continued;
        }
    }
    out
}

pub(crate) fn direction(item: &Item) -> Direction {
    match item {
        Item::Sent(sent) => sent.direction,
        Item::LeftOut(direction, _)
        | Item::Passed(direction, ..)
        | Item::Resume(direction, ..)
        | Item::Finish(direction, _) => *direction,
    }
}

/// Delivers both directions in their own order, but mixed as `choices` say.
pub(crate) fn mix(items: &[Item], choices: &[bool]) -> Vec<Item> {
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

/// Takes the bytes from `from` to `to` out of one direction.
pub(crate) fn cut(items: &[Item], direction: Direction, from: u64, to: u64) -> Vec<Item> {
    let mut out = Vec::new();
    for item in items {
        match item {
            Item::Sent(sent) if sent.direction == direction => {
                let end = sent.offset + sent.data.len() as u64;
                if sent.offset < from {
                    let keep = from.min(end) - sent.offset;
                    out.push(Item::Sent(Sent {
                        data: sent.data[..keep as usize].to_vec(),
                        ..sent.clone()
                    }));
                }
                if end > to {
                    let skip = to.max(sent.offset) - sent.offset;
                    let boundary = if skip > 0 {
                        Boundary::Continued
                    } else {
                        sent.boundary
                    };
                    let data = sent.data[skip as usize..].to_vec();
                    let sent = Sent {
                        offset: sent.offset + skip,
                        boundary,
                        data,
                        ..sent.clone()
                    };
                    if sent.offset > from || from == to {
                        out.push(Item::Sent(sent));
                    }
                }
            }
            _ => out.push(item.clone()),
        }
    }
    out
}

pub(crate) fn length(items: &[Item], wanted: Direction) -> u64 {
    let sent = |item: &Item| match item {
        Item::Sent(sent) if sent.direction == wanted => Some(sent.data.len() as u64),
        _ => None,
    };
    items.iter().filter_map(sent).sum()
}

/// When the last byte before stream offset `to` was sent.
pub(crate) fn time_of(items: &[Item], wanted: Direction, to: u64) -> u64 {
    let sent = |item: &Item| match item {
        Item::Sent(sent) if sent.direction == wanted && sent.offset < to => Some(sent.time),
        _ => None,
    };
    items.iter().filter_map(sent).max().unwrap_or_default()
}

/// A range within `from..=to`.
pub(crate) fn bounds(range: &(Index, Index), from: u64, to: u64) -> (u64, u64) {
    let at = |index: &Index| from + index.index(usize::try_from(to - from).unwrap() + 1) as u64;
    let (a, b) = (at(&range.0), at(&range.1));
    (a.min(b), a.max(b))
}

pub(crate) fn which(request: bool) -> Direction {
    if request {
        Direction::Request
    } else {
        Direction::Response
    }
}
