//! Conversations as turns, and what comes out of them.

use super::script::{Played, Script};

pub(super) const OK: &str = ":status=200";

pub(super) fn check(script: &Script, want: &[&str]) -> Played {
    let played = script.clone().end().play();
    assert_eq!(played.lines(), want, "{:?}", played.counters);
    played
}

/// What the client says and what the server does then.
pub(super) type Turn = (Vec<u8>, Vec<u8>);

/// The conversation after both sides have begun.
pub(super) fn talk(turns: &[Turn]) -> Script {
    turns.iter().fold(Script::begun(), |script, (client, server)| {
        let script = if client.is_empty() {
            script
        } else {
            script.client(client)
        };
        if server.is_empty() {
            script
        } else {
            script.server(server)
        }
    })
}
