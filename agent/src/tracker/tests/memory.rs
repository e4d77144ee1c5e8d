//! What all parsers keep together.

use super::super::memory::FREED_PART;
use super::*;

const CONNECTIONS: u16 = 60;
const BODY_BYTES: usize = 32 << 10;

/// A request of which half of the body has come.
fn half(n: u16) -> Talk {
    let mut talk = Talk::new(n);
    let head = format!("POST /{n:02} HTTP/1.1\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    talk.say(true, head, 1).say(true, [b'x'; BODY_BYTES / 2], 4);
    talk
}

/// A session in which as much was said.
fn session(n: u16) -> Talk {
    let mut talk = Talk::new(n);
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    talk.say(true, format!("GET /{n} HTTP/1.1\r\n{upgrade}"), 1).say(
        false,
        format!("HTTP/1.1 101 Switching\r\nSec-WebSocket-Extensions: permessage-deflate\r\n{upgrade}"),
        1,
    );
    for _ in 0..BODY_BYTES / 2 / 100 {
        // Compressed text.
        talk.say(false, [&b"\xc1\x64"[..], &[b'x'; 100]].concat(), 1);
    }
    talk
}

fn desk(parser_bytes: usize) -> Desk {
    let mut desk = Desk::new();
    desk.tracker.limits.http.body_bytes = BODY_BYTES;
    desk.tracker.limits.parser_bytes = parser_bytes;
    desk
}

impl Desk {
    pub(super) fn kept(&mut self) -> usize {
        self.tracker.measure();
        self.tracker.common.ledger.parser_bytes
    }
}

/// Whatever they speak: what many have open counts, and is bounded.
#[test]
fn open_bodies_of_many_connections_are_bounded() {
    for talk in [half, session] {
        let limit = usize::from(CONNECTIONS) / 2 * BODY_BYTES / 2;
        let mut desk = desk(limit);
        for n in 0..CONNECTIONS {
            let talk = talk(n);
            desk.play(&talk.of(&talk.server));
            assert!(desk.kept() >= usize::from(n).min(10) * BODY_BYTES / 2);
            desk.tick(1);
            assert!(desk.kept() <= limit, "{n}: {}", desk.kept());
        }
        assert!(desk.tracker.counters().parsers_shed >= u64::from(CONNECTIONS) / 3);
        desk.finish();
        assert_eq!(
            desk.calls.len(),
            usize::from(CONNECTIONS),
            "nothing is lost without a word"
        );
    }
}

/// No more begin anew than it takes, and the others are read on.
#[test]
fn of_equal_connections_as_many_as_needed_begin_anew() {
    let mut desk = desk(usize::MAX);
    let mut talks: Vec<Talk> = (0..CONNECTIONS).map(half).collect();
    for talk in &talks {
        desk.play(&talk.of(&talk.server));
    }
    let all = desk.kept();
    let each = all / usize::from(CONNECTIONS);
    desk.tracker.limits.parser_bytes = all;
    desk.tick(1);
    assert_eq!(desk.tracker.counters().parsers_shed, 0, "at the limit");
    let limit = all - 1;
    desk.tracker.limits.parser_bytes = limit;
    desk.tick(1);
    let enough = limit - limit / FREED_PART;
    let needed = (all - enough).div_ceil(each);
    assert_eq!(desk.tracker.counters().parsers_shed, needed as u64);
    assert!(
        desk.kept() <= enough && desk.kept() + each > enough,
        "{}",
        desk.kept()
    );

    desk.calls.clear();
    for talk in &mut talks {
        talk.records.clear();
        talk.say(true, [b'x'; BODY_BYTES / 2], 1)
            .say(false, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1)
            .close();
        desk.play(&talk.of(&talk.server));
    }
    desk.finish();
    let whole = |n: usize| format!("Server ->stock /{n:02} 200");
    // The first are those of which nothing was heard for longest.
    let want: Vec<String> = (needed..talks.len()).map(whole).collect();
    assert_eq!(desk.lines(), want);
}

/// Who keeps most goes first.
#[test]
fn the_largest_begins_anew_first() {
    let mut desk = desk(usize::MAX);
    let mut large = Talk::new(7);
    for n in 0..10 {
        large.say(
            true,
            format!("POST /{n} HTTP/1.1\r\nContent-Length: 9\r\nX: {n:05000}\r\n\r\nnine bytes"),
            1,
        );
    }
    for talk in [half(1), large, half(2)] {
        desk.play(&talk.of(&talk.server));
    }
    desk.tracker.limits.parser_bytes = desk.kept() - 1;
    desk.tick(1);
    assert_eq!(desk.tracker.counters().parsers_shed, 1);
    assert!(
        desk.calls
            .iter()
            .all(|call| call.connection == Talk::new(7).server.id)
    );
}

/// After each round it is known of each connection, whatever happened to it in between.
#[test]
fn what_is_kept_is_known_after_each_round() {
    let mut desk = desk(10 * BODY_BYTES);
    let mut rounds = Vec::new();
    for n in 0..CONNECTIONS {
        let mut talk = if n % 2 == 0 { half(n) } else { session(n) };
        desk.play(&talk.of(&talk.server));
        if n % 3 == 0 {
            talk.records.clear();
            talk.close();
            desk.play(&talk.of(&talk.server));
        }
        desk.tick(1);
        let connections = desk.tracker.connections.values();
        let (each, noted): (Vec<_>, Vec<_>) = connections.map(|c| (c.parser_bytes(), c.memory)).unzip();
        assert_eq!(each, noted, "{n}");
        let kept = desk.tracker.common.ledger.parser_bytes;
        assert_eq!(kept, each.iter().sum::<usize>(), "{n}");
        rounds.push(kept);
    }
    assert!(desk.tracker.counters().parsers_shed > 0);
    assert!(rounds.iter().any(|kept| *kept > 8 * BODY_BYTES));
}
