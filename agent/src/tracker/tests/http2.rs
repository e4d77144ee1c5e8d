//! Connections that must not be cut, and whose parsers cannot begin anew: HTTP/2, WebSocket.

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
/// GET of http, with the first entry of the table as its path.
const AGAIN_BLOCK: &[u8] = b"\x82\x86\xbe";
/// Status 200.
const OK_BLOCK: &[u8] = b"\x88";

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, stream];
    frame.extend_from_slice(payload);
    frame
}

/// GET of http; the path goes into the table.
fn get(stream: u8, path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x44, path.len() as u8];
    block.extend_from_slice(path.as_bytes());
    frame(1, 5, stream, &block)
}

fn ok(stream: u8) -> Vec<u8> {
    frame(1, 5, stream, OK_BLOCK)
}

impl Talk {
    fn greet(&mut self) -> &mut Self {
        self.say(true, PREFACE, 1).say(false, SETTINGS, 1)
    }
}

fn websocket() -> Talk {
    let mut talk = Talk::new(1);
    talk.say(
        true,
        "GET /live HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        1,
    );
    talk.say(
        false,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        1,
    );
    talk
}

#[test]
fn an_upgrade_demands_all_and_once_more_when_it_is_cut() {
    let mut talk = websocket();
    let mut desk = Desk::new();
    desk.play(&talk.of(&talk.server));
    let full = Order::Full {
        connection: talk.server.id,
    };
    assert_eq!(desk.tracker.take_orders(), [full]);
    // A text of the server, and a long one of which the end was cut off.
    let text = talk.server.chunk(Way::Out, b"\x81\x02hi", 4, 0, talk.time_ns);
    desk.play([&text]);
    assert_eq!(desk.tracker.take_orders(), []);
    let cut = chunk_flags::CAPPED;
    let long = talk
        .server
        .chunk(Way::Out, b"\x82\x7e\x0f\xa0abcd", 4004, cut, talk.time_ns);
    desk.play([&long]);
    assert_eq!(desk.tracker.take_orders(), [full]);
    let counters = desk.tracker.counters();
    assert_eq!(
        (counters.full_ordered, counters.full_cut, counters.full_cut_bytes),
        (2, 1, 3996)
    );
    desk.play([&talk.server.close(talk.time_ns)]);
    assert_eq!(desk.lines(), ["Server ->stock /live 101 truncated"]);
    assert_eq!(
        desk.calls[0]
            .exchange
            .response
            .as_ref()
            .unwrap()
            .body
            .messages
            .count,
        2
    );
}

#[test]
fn http2_demands_all() {
    let mut talk = Talk::new(1);
    talk.greet()
        .say(true, get(1, "/a"), 2)
        .say(false, ok(1), 3)
        .close();
    let mut desk = Desk::new();
    desk.play(&talk.of(&talk.server));
    assert_eq!(desk.lines(), ["Server ->stock /a 200"]);
    let full = Order::Full {
        connection: talk.server.id,
    };
    assert_eq!(desk.tracker.take_orders(), [full]);
}

/// An hour without a word, and a stream that is open all the time.
#[test]
fn what_was_said_before_a_long_silence_is_known_after_it() {
    let mut talk = Talk::new(1);
    talk.greet().say(true, get(1, "/watch"), 1);
    let mut desk = Desk::new();
    desk.play(&talk.of(&talk.server)).tick(10 * IDLE_NS);
    assert_eq!(desk.tracker.counters().connections_dozing, 1);
    talk.records.clear();
    talk.say(true, frame(1, 5, 3, AGAIN_BLOCK), 1)
        .say(false, ok(3), 1)
        .say(false, ok(1), 1);
    desk.play(&talk.of(&talk.server));
    let lines = ["Server ->stock /watch 200", "Server ->stock /watch 200"];
    assert_eq!(desk.lines(), lines);
    assert_eq!(desk.tracker.counters().connections_idle, 0);
}

#[test]
fn who_dozes_goes_when_there_is_no_room() {
    let mut desk = Desk::with(1, FilterPolicy::default());
    let mut first = Talk::new(1);
    first.greet().say(true, get(1, "/watch"), 1);
    desk.play(&first.of(&first.server));
    let mut second = Talk::new(2);
    second.call("two", 1);
    desk.play(&second.of(&second.server));
    assert_eq!(desk.tracker.counters().connections_beyond_limit, 1);
    desk.tick(10 * IDLE_NS);
    let mut third = Talk::new(3);
    third.call("three", 1);
    desk.play(&third.of(&third.server));
    assert_eq!(
        desk.lines(),
        ["Server ->stock /watch - unpaired", "Server ->stock /three 201"]
    );
    assert_eq!(desk.tracker.counters().connections_evicted, 1);
}

/// Connections that keep too much, all together: those with more than their share begin anew, the others go on.
#[test]
fn what_all_parsers_keep_is_bounded() {
    let mut desk = Desk::new();
    let (mut greedy, mut modest) = (Talk::new(1), Talk::new(2));
    modest
        .greet()
        .say(true, get(1, "/modest"), 1)
        .say(false, ok(1), 1);
    desk.play(&modest.of(&modest.server));
    let own = desk.kept();
    greedy.greet();
    for stream in 0..100 {
        greedy.say(true, get(2 * stream + 1, &format!("/{}", "x".repeat(100))), 1);
    }
    desk.play(&greedy.of(&greedy.server));
    let both = desk.kept();
    assert!(both > 4 * own, "{both} with {own}");
    desk.tracker.limits.parser_bytes = both;
    desk.tick(1);
    assert_eq!(desk.tracker.counters().parsers_shed, 0, "at the limit");
    desk.tracker.limits.parser_bytes = both - 1;
    desk.tick(1);
    assert_eq!(desk.tracker.counters().parsers_shed, 1);
    assert_eq!(desk.kept(), own);
    assert_eq!(desk.calls.len(), 1 + 100, "what was open has come out");

    // The one goes on, the other is joined anew: its table is not known any more, and not guessed.
    desk.calls.clear();
    for talk in [&mut modest, &mut greedy] {
        talk.records.clear();
        let again = |stream| frame(1, 5, stream, AGAIN_BLOCK);
        for (stream, request) in [(201, again(201)), (203, get(203, "/new")), (205, again(205))] {
            talk.say(true, request, 1).say(false, ok(stream), 1);
        }
        desk.play(&talk.of(&talk.server));
    }
    let lines = desk.lines();
    let known = ["/modest", "/new", "/new"].map(|path| format!("Server ->stock {path} 200"));
    let (modest_lines, greedy_lines) = lines.split_at(3);
    assert_eq!(modest_lines, known);
    assert!(
        greedy_lines
            .iter()
            .all(|line| line.starts_with("Server ->stock /new 200") || line.contains("late_join")),
        "{greedy_lines:?}"
    );
    assert!(
        greedy_lines.contains(&format!("{} late_join", known[1])),
        "{greedy_lines:?}"
    );
    desk.play([
        &modest.server.close(modest.time_ns),
        &greedy.server.close(greedy.time_ns),
    ]);
    assert_eq!(desk.kept(), 0);
}

/// The client's end falls silent while a long stream is open; the stream ends at the server's.
#[test]
fn a_stream_that_is_open_when_its_client_falls_silent_is_not_lost() {
    let mut talk = Talk::new(1);
    talk.greet().say(true, get(1, "/long"), 1);
    for call in 0..JOINED_ENOUGH as u8 + 2 {
        let stream = 2 * call + 3;
        talk.say(true, get(stream, "/short"), 1).say(false, ok(stream), 1);
    }
    talk.say(false, ok(1), 1).close();
    let mut desk = Desk::new();
    desk.play(&talk.records).finish();
    let lines = desk.lines();
    let of = |path: &str| {
        lines
            .iter()
            .filter(|line| **line == format!("Server shop>stock {path} 200"))
            .count()
    };
    assert_eq!(
        (of("/long"), of("/short")),
        (1, JOINED_ENOUGH as usize + 2),
        "{lines:?}"
    );
    assert_eq!(lines.len(), JOINED_ENOUGH as usize + 3);
    assert_eq!(desk.tracker.counters().connections_silenced, 1);
}

/// Both ends of a session are read to its end: only then the server's end gives anything.
#[test]
fn a_session_seen_at_both_ends_comes_out_once() {
    let mut talk = websocket();
    for _ in 0..100 {
        talk.say(true, b"\x81\x82\0\0\0\0hi", 2)
            .say(false, b"\x81\x02hi", 1);
    }
    talk.close();
    let mut desk = Desk::new();
    desk.play(&talk.records).finish();
    assert_eq!(desk.lines(), ["Server shop>stock /live 101"]);
    let exchange = &desk.calls[0].exchange;
    let counts =
        [&exchange.request.body, &exchange.response.as_ref().unwrap().body].map(|b| b.messages.count);
    assert_eq!(counts, [100, 100]);
}
