//! However bytes are split, and however the directions alternate, they say the same.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{Facts, Handshake};
use super::build::{records, usual_client, usual_server};
use super::recorded;

/// Feeds both directions in pieces; each length says whose next piece it is by its lowest bit.
fn alternating(client: &[u8], server: &[u8], lengths: &[usize]) -> (Facts, [bool; 2]) {
    let mut handshake = Handshake::default();
    let mut left = [client, server];
    for length in lengths {
        let way = length & 1;
        let (piece, rest) = left[way].split_at((length / 2).min(left[way].len()));
        left[way] = rest;
        match way {
            0 => handshake.client(piece),
            _ => handshake.server(piece),
        }
    }
    let [client, server] = left;
    handshake.server(server);
    handshake.client(client);
    (
        handshake.facts().clone(),
        [handshake.is_over(), handshake.is_cut()],
    )
}

#[test]
fn every_recorded_one_cut_in_two_at_every_byte() {
    for (name, [client, server]) in recorded::all() {
        let whole = super::facts(&client, &server);
        for at in 0..=client.len() {
            let mut handshake = Handshake::default();
            handshake.client(&client[..at]);
            handshake.server(&server[..at.min(server.len())]);
            handshake.client(&client[at..]);
            handshake.server(&server[at.min(server.len())..]);
            assert_eq!(*handshake.facts(), whole, "{name} at {at}");
        }
    }
}

#[test]
fn byte_by_byte() {
    for (name, [client, server]) in recorded::all() {
        let mut handshake = Handshake::default();
        for byte in &client {
            handshake.client(std::slice::from_ref(byte));
        }
        for byte in &server {
            handshake.server(std::slice::from_ref(byte));
        }
        assert_eq!(*handshake.facts(), super::facts(&client, &server), "{name}");
    }
}

#[test]
fn records_of_any_size() {
    let [client, server] = [usual_client(), usual_server()];
    let whole = super::facts(&client, &server);
    for size in 1..client.len() {
        let [client, server] = [&client, &server].map(|bytes| records(&bytes[5..], size));
        assert_eq!(super::facts(&client, &server), whole, "{size}");
    }
}

proptest! {
    #[test]
    fn any_split_says_the_same(
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        lengths in vec(0_usize..600, 0..40),
        which in any::<prop::sample::Index>(),
    ) {
        let all: Vec<_> = recorded::all().collect();
        let (_, [mut client, mut server]) = which.get(&all).clone();
        for (at, byte) in damage {
            let bytes = if byte & 1 == 0 { &mut client } else { &mut server };
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let whole = alternating(&client, &server, &[]);
        prop_assert_eq!(alternating(&client, &server, &lengths), whole);
    }
}
