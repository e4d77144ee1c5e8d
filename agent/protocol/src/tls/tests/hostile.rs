//! Hellos that lie about themselves.

use super::super::{Facts, Handshake};
use super::build::*;
use super::recorded;

#[test]
fn lengths_that_reach_beyond_their_message_are_no_facts_of_a_client() {
    let good = client_hello(0x0303, &[0x1301], Some(&[server_name(b"shop.test")]));
    let length_at = good.len() - server_name(b"shop.test").len() - 2;
    // Of all extensions: one too many, one too few.
    for change in [1_i8, -1] {
        let mut wrong = good.clone();
        wrong[length_at + 1] = wrong[length_at + 1].wrapping_add_signed(change);
        let facts = super::facts(&records(&wrong, 1 << 14), b"");
        assert_eq!(facts.ja4, None, "{change}");
    }
    // An odd list of cipher suites.
    let mut body = [shorts(&[0x0303]), vec![7; 32], vector(1, b"")].concat();
    body.extend(vector(2, &[0x13, 1, 0x13]));
    body.extend(vector(1, &[0]));
    let facts = super::facts(&records(&message(1, &body), 1 << 14), b"");
    assert_eq!(facts, Facts::default());
}

#[test]
fn every_byte_changed_to_every_extreme() {
    for (name, [client, server]) in recorded::all() {
        for at in 0..client.len().min(600) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut handshake = Handshake::default();
                let [mut client, mut server] = [client.clone(), server.clone()];
                client[at] = value;
                let place = at % server.len();
                server[place] = value;
                handshake.client(&client);
                handshake.server(&server);
                let facts = handshake.facts();
                let text = facts.server_name.iter().chain(&facts.alpn_offered);
                assert!(text.chain(&facts.alpn).all(|text| text.is_ascii()), "{name} {at}");
            }
        }
    }
}
