//! Hellos of real ends and made ones.

mod build;
mod fingerprints;
mod hostile;
mod laws;
mod limits;
mod recorded;
mod rules;

use super::{Facts, Handshake};

/// What a handshake says whose bytes come in one piece for each direction.
fn facts(client: &[u8], server: &[u8]) -> Facts {
    let mut handshake = Handshake::default();
    handshake.client(client);
    handshake.server(server);
    handshake.facts().clone()
}
