//! Hellos of both ends of a TLS connection.

use protocol::tls::{ALPN_OFFERED_MAX, Handshake};

use crate::input::Input;

/// Longest host name of the DNS, and longest identifier of a protocol.
const TEXT_BYTES_MAX: usize = 255;

/// Two bytes say how many of the rest are the client's; what follows is the server's.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let len = input.short().into();
    let client = input.bytes(len);
    let server = input.rest();
    let whole = read(client, server, usize::MAX);
    for piece in [1, 7, 100] {
        let split = read(client, server, piece);
        assert_eq!(split.facts(), whole.facts());
        assert_eq!(
            (split.is_over(), split.is_cut()),
            (whole.is_over(), whole.is_cut())
        );
    }
    let facts = whole.facts();
    assert!(facts.alpn_offered.len() <= ALPN_OFFERED_MAX);
    let texts = facts
        .server_name
        .iter()
        .chain(&facts.alpn)
        .chain(&facts.alpn_offered);
    for text in texts {
        assert!(text.len() <= TEXT_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    assert_eq!(facts.version.is_some(), facts.cipher.is_some());
    assert!(facts.ja4.as_ref().is_none_or(|ja4| ja4.len() == 36));
}

/// The directions by turns, in pieces of so many bytes.
fn read(client: &[u8], server: &[u8], piece: usize) -> Handshake {
    let mut handshake = Handshake::default();
    let (mut client, mut server) = (client.chunks(piece), server.chunks(piece));
    loop {
        let (sent, answered) = (client.next(), server.next());
        handshake.client(sent.unwrap_or_default());
        handshake.server(answered.unwrap_or_default());
        assert!(handshake.bytes() <= Handshake::BYTES_MAX);
        assert!(!handshake.is_over() || handshake.bytes() == 0);
        if sent.is_none() && answered.is_none() {
            return handshake;
        }
    }
}
