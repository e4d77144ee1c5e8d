//! Both hellos of a connection.

use super::Facts;
use super::client::ClientHello;
use super::messages::{HELLO_BYTES_MAX, Messages};
use super::server::ServerHello;

/// Reads the hellos of a connection out of the first bytes of its two directions, as they go over the wire.
///
/// Each direction takes its bytes from the connection's first one on, in order and without a hole, in pieces of any size: where some are
/// missing it must be given no more. Bytes that are no TLS (a PROXY header, what is said before STARTTLS, plaintext) end a direction, and
/// nothing behind them is read. How the pieces of the two directions alternate makes no difference.
///
/// ```
/// let mut handshake = protocol::tls::Handshake::default();
/// handshake.client(b"GET / HTTP/1.1\r\n");
/// assert!(!handshake.is_over());
/// handshake.server(b"HTTP/1.1 400 Bad Request\r\n");
/// assert!(handshake.is_over());
/// assert_eq!(*handshake.facts(), protocol::tls::Facts::default());
/// ```
#[derive(Debug, Default)]
pub struct Handshake {
    client: Messages<ClientHello>,
    server: Messages<ServerHello>,
    facts: Facts,
}

impl Handshake {
    /// Most bytes that one keeps: a hello of the server, one of the client, and of that what its fingerprint is made of.
    pub const BYTES_MAX: usize = 3 * HELLO_BYTES_MAX;

    /// Takes the next bytes that the client sent.
    pub fn client(&mut self, bytes: &[u8]) {
        self.client.take(bytes, &mut self.facts);
    }

    /// Takes the next bytes that the server sent.
    pub fn server(&mut self, bytes: &[u8]) {
        self.server.take(bytes, &mut self.facts);
    }

    /// What is known by now: also what a hello says of which the end has not come.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whether nothing that may come could say more.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.client.is_over() && self.server.is_over()
    }

    /// Whether a hello was not read to its end, because it is longer than [`HELLO_BYTES_MAX`] or has more than
    /// [`EXTENSIONS_MAX`](super::EXTENSIONS_MAX) extensions.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.client.is_cut() || self.server.is_cut()
    }

    /// Bytes of hellos that it keeps, at most [`Self::BYTES_MAX`], and nothing once it is over.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.client.bytes() + self.server.bytes()
    }
}
