//! What a hello may cost.

use super::super::{ALPN_OFFERED_MAX, EXTENSIONS_MAX, HELLO_BYTES_MAX, Handshake};
use super::build::*;

fn taken(client: &[u8]) -> Handshake {
    let mut handshake = Handshake::default();
    for piece in client.chunks(1000) {
        handshake.client(piece);
        assert!(handshake.bytes() <= 2 * HELLO_BYTES_MAX);
    }
    handshake
}

/// A hello of so many bytes, whose name stands before what fills it.
fn long(bytes: usize) -> Vec<u8> {
    let hello = |padding: usize| {
        let extensions = [server_name(b"shop.test"), extension(21, &vec![0; padding])];
        client_hello(0x0303, &[0x1301], Some(&extensions))
    };
    hello(bytes - hello(0).len())
}

#[test]
fn a_hello_is_read_up_to_its_limit() {
    for (bytes, is_cut) in [(HELLO_BYTES_MAX, false), (HELLO_BYTES_MAX + 1, true)] {
        let hello = long(bytes);
        assert_eq!(hello.len(), bytes);
        let handshake = taken(&records(&hello, 1 << 14));
        assert_eq!(handshake.is_cut(), is_cut);
        assert_eq!(handshake.facts().ja4.is_some(), !is_cut);
        assert_eq!(handshake.facts().server_name.as_deref(), Some("shop.test"));
        assert_eq!(handshake.bytes(), 0);
    }
}

#[test]
fn a_promise_takes_no_memory() {
    let mut handshake = Handshake::default();
    handshake.client(b"\x16\x03\x01\x40\0\x01\xff\xff\xff\x03\x03");
    assert!(handshake.bytes() < 100);
    assert!(!handshake.is_over());
}

#[test]
fn what_a_fingerprint_is_made_of_takes_no_more_than_its_hello() {
    let many: Vec<u16> = (0x2000..0x2fff).collect();
    let unfinished = extension(21, &[0; 100]);
    let extensions = [algorithms(&many[..2000]), unfinished];
    let hello = client_hello(0x0303, &many, Some(&extensions));
    let mut handshake = Handshake::default();
    handshake.client(&records(&hello[..hello.len() - 1], 1 << 14));
    assert!(!handshake.is_over());
    let kept = 2 * (many.len() + 2000);
    assert!((hello.len() + kept..=2 * hello.len()).contains(&handshake.bytes()));
}

#[test]
fn the_same_of_a_server() {
    for (bytes, is_cut) in [(HELLO_BYTES_MAX, false), (HELLO_BYTES_MAX + 1, true)] {
        let hello = |padding| server_hello(0x0303, [5; 32], 0xc02f, &[extension(21, &vec![0; padding])]);
        let hello = hello(bytes - hello(0).len());
        let mut handshake = Handshake::default();
        handshake.server(&records(&hello, 1 << 14));
        assert_eq!(handshake.is_cut(), is_cut);
        assert_eq!(handshake.facts().cipher.is_some(), !is_cut);
    }
}

#[test]
fn extensions_are_read_up_to_their_limit() {
    for (count, is_cut) in [(EXTENSIONS_MAX, false), (EXTENSIONS_MAX + 1, true)] {
        let mut extensions = vec![server_name(b"shop.test")];
        extensions.extend((1..count as u16).map(|kind| extension(0x5000 + kind, b"")));
        let handshake = taken(&records(&client_hello(0x0303, &[1], Some(&extensions)), 1 << 14));
        assert_eq!(handshake.is_cut(), is_cut, "{count}");
        assert_eq!(handshake.facts().ja4.is_some(), !is_cut);
        assert!(handshake.facts().server_name.is_some());
    }
}

#[test]
fn protocols_are_kept_up_to_their_limit() {
    for count in [ALPN_OFFERED_MAX, ALPN_OFFERED_MAX + 1] {
        let names: Vec<String> = (0..count).map(|at| format!("p{at}")).collect();
        let names: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
        let handshake = taken(&records(
            &client_hello(0x0303, &[1], Some(&[alpn(&names)])),
            1 << 14,
        ));
        assert_eq!(handshake.facts().alpn_offered.len(), ALPN_OFFERED_MAX);
    }
}
