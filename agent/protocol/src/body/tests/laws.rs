//! Properties of every reader.

use proptest::prelude::*;

use super::{End, Piece, reader};
use crate::body::Finished;
use crate::{Counters, Direction, Limits};

/// Header fields that choose each reader.
const TYPES: [&[(&str, &str)]; 5] = [
    &[],
    &[("content-type", "application/grpc")],
    &[("content-type", "application/grpc-web")],
    &[("content-type", "application/grpc-web-text")],
    &[("content-type", "text/event-stream")],
];

fn limits() -> Limits {
    Limits {
        body_bytes: 30,
        ..Limits::default()
    }
}

/// Bytes that mean something to one of the readers, or nothing to any.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        (0_u8..3, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(flags, body)| {
            let len = u32::try_from(body.len()).unwrap();
            [&[flags][..], &len.to_be_bytes(), &body].concat()
        }),
        "(data|id|)(: ?|)[a-z]{0,5}(\r|\n|\r\n){1,2}".prop_map(String::into_bytes),
        "[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|AAAA|AAAD".prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn play(
    direction: Direction,
    fields: &[(&str, &str)],
    pieces: &[Piece],
    cuts: &[usize],
) -> (Finished, Counters) {
    let mut counters = Counters::default();
    let mut reader = reader(direction, fields, &limits());
    let mut cuts = cuts.iter().copied().cycle();
    for piece in pieces {
        match piece {
            Piece::Data(data) => {
                let mut data = &data[..];
                while !data.is_empty() {
                    let (part, rest) = data.split_at(cuts.next().unwrap().min(data.len()));
                    reader.data(part, &mut counters);
                    data = rest;
                }
            }
            Piece::Missing(len) => reader.missing(*len, &mut counters),
        }
    }
    (reader.finish(End::Complete, &mut counters), counters)
}

proptest! {
    #[test]
    fn splits_change_nothing(
        which in 0..TYPES.len(),
        before in content(),
        gap in prop::option::of(prop::option::of(0_u64..100)),
        after in content(),
        cuts in prop::collection::vec(1_usize..20, 1..10),
        request: bool,
        coding in prop_oneof![3 => Just(None), 2 => Just(Some("gzip")), 1 => Just(Some("br"))],
        coded: bool,
    ) {
        let direction = if request { Direction::Request } else { Direction::Response };
        let mut pieces = vec![Piece::Data(before)];
        pieces.extend(gap.map(Piece::Missing));
        pieces.push(Piece::Data(after));
        if coding == Some("gzip") && coded {
            pieces = pieces
                .into_iter()
                .map(|piece| match piece {
                    Piece::Data(data) => Piece::Data(super::coded::gzip(&data)),
                    missing => missing,
                })
                .collect();
        }
        let mut fields = TYPES[which].to_vec();
        fields.extend(coding.map(|coding| ("content-encoding", coding)));
        prop_assert_eq!(play(direction, &fields, &pieces, &cuts), play(direction, &fields, &pieces, &[usize::MAX]));
    }
}
