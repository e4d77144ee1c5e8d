//! The same bytes in any order that the ring buffer can give, in any pieces, are the same exchanges; a record that is lost costs
//! exchanges or their completeness, and never joins what does not belong together.

use proptest::prelude::*;

use super::*;

/// Records between two ticks.
const ROUND: usize = 8;
/// Places that a record may come late; two of one stream are then less than a round apart from where they belong.
const LATE_MAX: usize = ROUND / 2;

/// Conversations mixed with each other, `order` saying whose turn it is.
fn mixed(calls: &[usize], pieces: &[usize], order: &[usize]) -> Vec<Record> {
    let mut queues: Vec<VecDeque<Record>> = calls
        .iter()
        .enumerate()
        .map(|(n, calls)| {
            let mut talk = Talk::new(n as u16);
            for call in 0..*calls {
                talk.call(&format!("{n}-{call}"), pieces[(n + call) % pieces.len()]);
            }
            talk.close().records.clone().into()
        })
        .collect();
    let mut records = Vec::new();
    let mut turns = order.iter().cycle();
    while queues.iter().any(|queue| !queue.is_empty()) {
        let turn = turns.next().unwrap() % queues.len();
        // Someone who has nothing left gives way to the next one who has.
        let turn = (0..queues.len())
            .map(|i| (turn + i) % queues.len())
            .find(|i| !queues[*i].is_empty())
            .unwrap();
        records.extend(queues[turn].pop_front());
    }
    records
}

/// Delays records; an announcement stays ahead of everything of its connection.
fn displaced(records: Vec<Record>, delays: &[usize]) -> Vec<Record> {
    let mut places: Vec<(usize, Record)> = records
        .into_iter()
        .enumerate()
        .map(|(i, record)| {
            let delay = match record {
                Record::Open(_) => 0,
                _ => delays[i % delays.len()] % LATE_MAX,
            };
            (2 * (i + delay) + usize::from(delay > 0), record)
        })
        .collect();
    places.sort_by_key(|(place, _)| *place);
    places.into_iter().map(|(_, record)| record).collect()
}

fn read(records: &[Record]) -> Desk {
    let mut desk = Desk::new();
    for round in records.chunks(ROUND) {
        desk.play(round).tick(1_000);
    }
    desk.tick(10 * CLOSE_LINGER_NS).finish();
    desk
}

/// What a call was: names of both halves, sizes.
fn sides(call: &Call) -> (String, Option<String>) {
    let request = String::from_utf8_lossy(&call.exchange.request.target).into_owned();
    let answer = call.exchange.response.as_ref().map(|response| {
        let name = response.headers.get(b"X-Name").map(String::from_utf8_lossy);
        format!("/{}", name.unwrap_or_default())
    });
    (request, answer)
}

fn check_pairs(desk: &Desk) -> Result<(), TestCaseError> {
    for call in &desk.calls {
        let (request, answer) = sides(call);
        prop_assert!(answer.is_none_or(|answer| answer == request), "{:?}", line(call));
        prop_assert!(call.exchange.response.is_some() || call.exchange.flags.0 != 0);
    }
    Ok(())
}

fn sorted(desk: &Desk) -> Vec<String> {
    let mut lines = desk.lines();
    lines.sort();
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_and_pieces_change_nothing(
        calls in prop::collection::vec(1_usize..4, 1..4),
        pieces in prop::collection::vec(1_usize..5, 1..4),
        order in prop::collection::vec(0_usize..4, 1..20),
        delays in prop::collection::vec(0..LATE_MAX, 1..40),
    ) {
        let desk = read(&displaced(mixed(&calls, &pieces, &order), &delays));
        let whole = read(&mixed(&calls, &[1], &[0]));
        prop_assert_eq!(whole.calls.len(), calls.iter().sum::<usize>());
        prop_assert_eq!(sorted(&desk), sorted(&whole));
        prop_assert!(desk.calls.iter().all(|call| call.exchange.flags.0 == 0 && call.side == Side::Server));
        prop_assert_eq!(desk.tracker.connections(), 0);
        prop_assert_eq!(desk.tracker.common.ledger.gaps, 0);
        prop_assert_eq!(desk.tracker.common.ledger.held_bytes, 0);
        check_pairs(&desk)?;
    }

    #[test]
    fn a_record_that_is_lost_joins_nothing_wrong(
        calls in prop::collection::vec(1_usize..4, 1..3),
        pieces in prop::collection::vec(1_usize..4, 1..4),
        order in prop::collection::vec(0_usize..3, 1..20),
        delays in prop::collection::vec(0..LATE_MAX, 1..40),
        lost in any::<prop::sample::Index>(),
        twice in any::<prop::sample::Index>(),
    ) {
        let whole = mixed(&calls, &pieces, &order);
        let mut records = whole.clone();
        // An announcement that finds no room is made again with the next record: it is never lost alone.
        let can_be_lost: Vec<usize> = (0..records.len())
            .filter(|i| !matches!(records[*i], Record::Open(_)))
            .collect();
        let lost = can_be_lost[lost.index(can_be_lost.len())];
        let gone = records.remove(lost);
        // One comes twice.
        let twice = twice.index(records.len());
        if matches!(records[twice], Record::Chunk(..)) {
            records.insert(twice, records[twice].clone());
        }
        let desk = read(&displaced(records, &delays));
        check_pairs(&desk)?;
        let expected = read(&whole);
        prop_assert!(desk.calls.len() <= expected.calls.len());
        // Which end tells it may change: what one did not hear, the other did.
        let without_side = |call: &Call| line(call).split_once(' ').map(|(_, rest)| rest.to_owned());
        let lines: Vec<_> = expected.calls.iter().map(without_side).collect();
        for call in &desk.calls {
            if call.exchange.flags.0 == 0 {
                prop_assert!(lines.contains(&without_side(call)), "{} is not in {:?}", line(call), lines);
            }
        }
        // What was lost is counted, but where it was the end that another record tells.
        if let Record::Chunk(_, data) = gone {
            prop_assert_eq!(desk.tracker.common.ledger.gap_bytes, data.len() as u64);
        }
        prop_assert_eq!(desk.tracker.common.ledger.held_bytes, 0);
    }
}
