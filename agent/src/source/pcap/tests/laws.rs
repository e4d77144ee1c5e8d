//! What holds for every capture of a conversation, however its packets are cut, repeated, mixed up or lost.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const CLIENT: usize = 0;

/// One byte of each stream for each place: no two places near each other look alike.
fn byte(from: usize, place: usize) -> u8 {
    (place * 7 + place / 251 + from * 101) as u8
}

/// A conversation of turns: who sends, and in pieces of which sizes.
#[derive(Clone, Debug)]
struct Script {
    turns: Vec<(usize, Vec<usize>)>,
    begin: [u32; 2],
}

fn script() -> impl Strategy<Value = Script> {
    let turn = (0..2_usize, prop::collection::vec(1..40_usize, 1..6));
    let begin = prop_oneof![Just(u32::MAX - 60), any::<u32>()];
    (prop::collection::vec(turn, 1..8), begin.clone(), begin).prop_map(|(turns, client, server)| Script {
        turns,
        begin: [client, server],
    })
}

impl Script {
    fn play(&self) -> (Talk, [Vec<u8>; 2]) {
        let mut talk = Talk::new();
        talk.next = self.begin;
        talk.open();
        let mut streams = [Vec::new(), Vec::new()];
        for (from, sizes) in &self.turns {
            for size in sizes {
                let at = streams[*from].len();
                let data: Vec<u8> = (at..at + size).map(|place| byte(*from, place)).collect();
                talk.say(*from, &data, 1000);
                streams[*from].extend(data);
            }
        }
        talk.close();
        (talk, streams)
    }

    fn offset(&self, from: usize, sequence: u32) -> usize {
        sequence.wrapping_sub(self.begin[from]).wrapping_sub(1) as usize
    }
}

/// Gives each packet a place at most `most` away from its own.
fn shuffle(segments: &[Tcp], keys: &[u8], most: usize) -> Vec<Tcp> {
    let mut keyed: Vec<_> = segments
        .iter()
        .enumerate()
        .map(|(index, tcp)| {
            (
                index + usize::from(keys[index % keys.len()]) % (most + 1),
                index,
                tcp,
            )
        })
        .collect();
    keyed.sort_by_key(|(key, index, _)| (*key, *index));
    keyed.into_iter().map(|(_, _, tcp)| tcp.clone()).collect()
}

/// In the order in which they are, whatever it is: the capture's clock goes on.
fn clocked(segments: &[Tcp]) -> Vec<Tcp> {
    let time = |index: usize| BEGIN_NS + index as u64 * STEP_NS;
    segments
        .iter()
        .enumerate()
        .map(|(index, tcp)| Tcp {
            time_ns: time(index),
            ..tcp.clone()
        })
        .collect()
}

fn tell_segments(segments: &[Tcp], limits: Limits) -> (Vec<Told>, Counters) {
    let (events, errors, counters) = tell(&pcap(1, &packets(&clocked(segments))), limits);
    assert_eq!(errors, [""; 0]);
    (events, counters)
}

/// Both streams as they were told: bytes, `None` for one that is missing.
fn streams_of(events: &[Told]) -> [Vec<Option<u8>>; 2] {
    let mut streams = [Vec::new(), Vec::new()];
    let mut next = [None; 2];
    for event in events {
        if let Told::Bytes {
            way,
            offset,
            length,
            data,
            ..
        } = event
        {
            let from = *way as usize;
            assert!(
                next[from].is_none_or(|next| next == *offset),
                "each byte once, in order"
            );
            next[from] = Some(offset.wrapping_add(*length));
            let missing = *length as usize - data.len();
            streams[from].extend(data.iter().map(|byte| Some(*byte)));
            streams[from].extend(std::iter::repeat_n(None, missing));
        }
    }
    streams
}

fn whole(streams: &[Vec<u8>; 2]) -> [Vec<Option<u8>>; 2] {
    streams
        .clone()
        .map(|stream| stream.into_iter().map(Some).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Packets out of order, of both directions.
    #[test]
    fn any_order(script in script(), keys in prop::collection::vec(any::<u8>(), 1..50)) {
        let (talk, streams) = script.play();
        let (events, counters) = tell_segments(&shuffle(&talk.segments, &keys, 6), Limits::default());
        prop_assert_eq!(streams_of(&events), whole(&streams));
        prop_assert_eq!((counters.connections, counters.connections_late), (1, 0));
        prop_assert_eq!(counters.gaps, 0);
        prop_assert_eq!(counters.segments_misplaced, 0);
    }

    /// Every packet several times, as on several interfaces; some again much later.
    #[test]
    fn any_repetition(
        script in script(),
        copies in prop::collection::vec(1..4_usize, 1..20),
        again in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        let (talk, streams) = script.play();
        let mut segments: Vec<Tcp> = Vec::new();
        for (index, tcp) in talk.segments.iter().enumerate() {
            segments.extend(std::iter::repeat_n(tcp.clone(), copies[index % copies.len()]));
        }
        segments.extend(again.iter().map(|index| index.get(&talk.segments).clone()));
        let (events, counters) = tell_segments(&segments, Limits::default());
        prop_assert_eq!(streams_of(&events), whole(&streams));
        prop_assert_eq!((counters.connections, counters.gaps), (1, 0));
    }

    /// The same bytes in other segments: overlapping, in any order, with all of them covered in the end.
    #[test]
    fn any_overlap(
        script in script(),
        cuts in prop::collection::vec((any::<Index>(), any::<Index>()), 0..12),
        keys in prop::collection::vec(any::<u8>(), 1..50),
    ) {
        let (talk, streams) = script.play();
        let mut segments = talk.segments.clone();
        for (at, size) in cuts {
            // Some bytes again, from somewhere in the stream, sent at that time.
            let at = at.index(segments.len());
            let tcp = segments[at].clone();
            let from = usize::from(tcp.from == talk.server);
            let sent = script.offset(from, tcp.sequence) + tcp.data.len();
            if tcp.bits & (SYN | FIN) != 0 || sent == 0 || sent > streams[from].len() {
                continue;
            }
            let begin = size.index(sent);
            let end = begin + 1 + size.index(sent - begin);
            let again = Tcp {
                sequence: script.begin[from].wrapping_add(1 + begin as u32),
                data: streams[from][begin..end].to_vec(),
                ..tcp
            };
            segments.insert(at, again);
        }
        let (events, counters) = tell_segments(&shuffle(&segments, &keys, 6), Limits::default());
        prop_assert_eq!(streams_of(&events), whole(&streams));
        prop_assert_eq!(counters.gaps, 0);
        prop_assert_eq!(counters.overlaps_conflicting, 0);
    }

    /// Packets with bytes are lost, the rest is there: exactly their bytes are missing.
    #[test]
    fn any_loss(script in script(), lost in prop::collection::vec(any::<Index>(), 1..8)) {
        let (talk, streams) = script.play();
        let mut expected = whole(&streams);
        let mut dropped = vec![false; talk.segments.len()];
        for index in lost {
            let index = index.index(talk.segments.len());
            let tcp = &talk.segments[index];
            if tcp.data.is_empty() {
                continue;
            }
            let from = usize::from(tcp.from == talk.server);
            let begin = script.offset(from, tcp.sequence);
            expected[from][begin..begin + tcp.data.len()].fill(None);
            dropped[index] = true;
        }
        let kept: Vec<Tcp> = talk
            .segments
            .iter()
            .zip(dropped)
            .filter(|(_, dropped)| !dropped)
            .map(|(tcp, _)| tcp.clone())
            .collect();
        let (events, counters) = tell_segments(&kept, Limits::default());
        let missing: usize = expected.iter().flatten().filter(|byte| byte.is_none()).count();
        prop_assert_eq!(counters.gap_bytes, missing as u64);
        if expected.iter().flatten().any(|byte| byte.is_some()) {
            prop_assert_eq!(streams_of(&events), expected);
        }
    }

    /// Anything lost, anything repeated, in any order: what is told is true, no byte twice.
    #[test]
    fn nothing_is_invented(
        script in script(),
        picks in prop::collection::vec(any::<Index>(), 1..60),
        limits in (1..4_usize, 200..2000_usize),
    ) {
        let (talk, streams) = script.play();
        let segments: Vec<Tcp> = picks.iter().map(|pick| pick.get(&talk.segments).clone()).collect();
        let limits = Limits { connections: limits.0, held_bytes: limits.1 };
        let (events, _) = tell_segments(&segments, limits);
        let mut seen: BTreeMap<(u64, usize, usize), u8> = BTreeMap::new();
        let mut roles = BTreeMap::new();
        for event in &events {
            match event {
                Told::Open { id, tuple, .. } => {
                    let client = tuple.remote_port == talk.client.port();
                    prop_assert!(roles.insert(*id, client).is_none());
                }
                Told::Bytes { id, way, offset, data, .. } => {
                    let sender_is_client = roles[id] == (*way == Way::In);
                    let from = if sender_is_client { CLIENT } else { 1 };
                    let begin = script.offset(from, *offset);
                    for (index, byte) in data.iter().enumerate() {
                        prop_assert_eq!(streams[from].get(begin + index), Some(byte));
                        let twice = seen.insert((*id, from, begin + index), *byte);
                        prop_assert!(twice.is_none());
                    }
                }
                Told::Close { id, .. } => prop_assert!(roles.contains_key(id)),
            }
        }
        let closed = events.iter().filter(|event| matches!(event, Told::Close { .. })).count();
        prop_assert_eq!(closed, roles.len());
    }

    /// Bytes of a file changed, cut out or doubled: an end, within bounds.
    #[test]
    fn any_file(
        script in script(),
        link in prop::sample::select(vec![0_u32, 1, 9, 101, 108, 113, 276]),
        changes in prop::collection::vec((any::<Index>(), any::<u8>(), 0..4_u8), 0..20),
    ) {
        let (talk, _) = script.play();
        let mut file = pcap(link, &talk.packets());
        for (at, byte, kind) in changes {
            let at = at.index(file.len());
            match kind {
                0 => file[at] = byte,
                1 => file[at] ^= 1 << (byte % 8),
                2 => drop(file.drain(at..(at + usize::from(byte)).min(file.len()))),
                _ => {
                    let end = (at + usize::from(byte)).min(file.len());
                    let copy = file[at..end].to_vec();
                    file.splice(at..at, copy);
                }
            }
            if file.is_empty() {
                break;
            }
        }
        let read = read(&file);
        prop_assert!(read.errors.len() <= 1);
        let opened = read.events.iter().filter(|event| matches!(event, Told::Open { .. })).count();
        let closed = read.events.iter().filter(|event| matches!(event, Told::Close { .. })).count();
        prop_assert_eq!(opened, closed);
    }
}
