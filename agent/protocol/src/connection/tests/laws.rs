//! Properties of whole connections.

use proptest::prelude::*;
use proptest::sample::Index;

use super::deliver;
use crate::http1::tests::conversation::{Conversation, any_habit, conversation};
use crate::http1::tests::delivery::{bounds, cut, length, mix, split, which};
use crate::http1::tests::script::{self, Item};
use crate::{Application, Body, Exchange, Flags, Limits, Over, Start};

fn limits() -> Limits {
    Limits {
        held_bytes: 1 << 20,
        body_bytes: 25,
        ..Limits::default()
    }
}

/// A conversation in any pieces and order, whole or with a gap, seen from its begin or not.
fn delivered() -> impl Strategy<Value = (Vec<Item>, Start)> {
    let lengths = prop::collection::vec(1_usize..90, 1..20);
    let choices = prop::option::of(prop::collection::vec(any::<bool>(), 1..60));
    let gap = prop::option::of((any::<bool>(), any::<(Index, Index)>()));
    let late = any::<(bool, Index)>();
    (conversation(any_habit()), lengths, choices, gap, late).prop_map(
        |(Conversation { script, .. }, lengths, choices, gap, (late, from))| {
            let mut items = script.items;
            if late {
                items.drain(..from.index(items.len()));
            }
            if let Some((request, range)) = gap {
                let direction = which(request);
                let (from, to) = bounds(&range, 0, length(&items, direction));
                items = cut(&items, direction, from, to);
            }
            items = split(&items, &lengths);
            if let Some(choices) = choices {
                items = mix(&items, &choices);
            }
            (items, if late { Start::Late } else { Start::Fresh })
        },
    )
}

/// Without what only a reader of the next protocol can tell.
fn handshake(mut exchange: Exchange) -> Exchange {
    if let Some(response) = &mut exchange.response
        && response.status == 101
    {
        exchange.application = Application::Http;
        exchange.flags.0 &= !(Flags::GAP.0 | Flags::TRUNCATED.0);
        exchange.request.body = Body::default();
        exchange.request.last_byte = exchange.request.first_byte;
        response.body = Body::default();
        response.last_byte = response.first_byte;
    }
    exchange
}

proptest! {

    /// Telling protocols apart changes nothing for HTTP/1.
    #[test]
    fn http1_is_read_as_by_itself((items, start) in delivered()) {
        let alone = script::play(&items, limits(), start);
        let found = deliver(&items, limits(), start);
        let handshakes = |exchanges: Vec<Exchange>| exchanges.into_iter().map(handshake).collect::<Vec<_>>();
        prop_assert_eq!(handshakes(found.exchanges), handshakes(alone.exchanges));
        let switched = alone.counters.upgraded_websocket > 0;
        if !switched {
            prop_assert_eq!(found.counters, alone.counters);
        }
        let over = found.over.is_some();
        prop_assert!(over == alone.connection.protocol_hint().is_some() || switched, "{:?}", found.over);
        prop_assert!(!over || !matches!(found.over, Some(Over::NotHttp)) || alone.connection.protocol_hint().is_some());
    }
}
