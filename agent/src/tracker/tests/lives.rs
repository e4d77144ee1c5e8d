//! Beginnings, ends, and changes of hands.

use super::*;

#[test]
fn the_process_that_does_the_work_is_named() {
    let mut desk = Desk::new();
    let mut talk = Talk::new(1);
    talk.call("a", 1);
    desk.exec(201, "/srv/worker");
    talk.server.pid = 201;
    talk.call("b", 1);
    // One that nobody knows: gone before it could be looked at.
    talk.server.pid = 202;
    talk.call("c", 1);
    talk.server.pid = 200;
    talk.call("d", 1);
    desk.play(&talk.records);
    assert_eq!(
        desk.lines(),
        [
            "Server shop>stock /a 201",
            "Server shop>worker /b 201",
            "Server shop>worker /c 201",
            "Server shop>stock /d 201",
        ]
    );
}

#[test]
fn another_program_in_the_same_process() {
    let mut desk = Desk::new();
    let mut talk = Talk::new(1);
    talk.call("a", 1);
    desk.play(&talk.records);
    desk.exec(200, "/srv/next");
    let before = talk.records.len();
    talk.call("b", 1);
    desk.play(&talk.records[before..]);
    assert_eq!(
        desk.lines(),
        ["Server shop>stock /a 201", "Server shop>next /b 201"]
    );
}

#[test]
fn a_close_ahead_of_the_last_bytes_waits_for_them() {
    let talk = Talk::new(1).call("a", 1).close().clone();
    for socket in [&talk.client, &talk.server] {
        let mut records = talk.of(socket);
        let close = records.pop().unwrap();
        records.insert(records.len() - 1, close);
        let mut desk = Desk::new();
        desk.play(&records);
        assert_eq!(desk.calls.len(), 1);
        assert_eq!(desk.calls[0].exchange.flags.0, 0);
        assert_eq!(desk.tracker.connections(), 0, "at once, when all has come");
        assert_eq!(desk.tracker.counters().gap_bytes, 0);
    }
}

#[test]
fn a_close_waits_no_longer_than_its_time() {
    let talk = Talk::new(1).call("a", 1).close().clone();
    let mut records = talk.of(&talk.server);
    let last = records.remove(records.len() - 2);
    let Record::Chunk(chunk, data) = &last else {
        panic!("a chunk")
    };
    assert_eq!(chunk.direction, Way::Out);
    let mut desk = Desk::new();
    desk.now_ns = talk.time_ns;
    desk.play(&records).tick(CLOSE_LINGER_NS - 1);
    assert_eq!(desk.tracker.connections(), 1);
    desk.tick(1);
    assert_eq!(desk.tracker.connections(), 0);
    assert_eq!(desk.lines(), ["Server ->stock /a - gap unpaired"]);
    let counters = desk.tracker.counters();
    assert_eq!((counters.gaps, counters.gap_bytes), (1, data.len() as u64));
    desk.play([&last]);
    assert_eq!(desk.tracker.counters().chunks_untracked, 1);
}

#[test]
fn what_was_received_and_not_read_yet_is_waited_for() {
    let talk = Talk::new(1).call("a", 1).clone();
    let mut records = talk.of(&talk.client);
    let unread = records.split_off(3);
    let mut desk = Desk::new();
    desk.play(&records);
    desk.take(&Event::Close(Close {
        connection: talk.client.id,
        time_ns: talk.time_ns,
        end: match &records[2] {
            Record::Chunk(chunk, data) => [chunk.offset.wrapping_add(data.len() as u32), talk.client.next[1]],
            _ => panic!("the first bytes read"),
        },
        unread: 40,
        ..Close::default()
    }));
    desk.play(&unread);
    assert_eq!(desk.lines(), ["Client shop>- /a 201"]);
    desk.tick(10 * CLOSE_LINGER_NS);
    assert_eq!((desk.calls.len(), desk.tracker.connections()), (1, 0));
}

#[test]
fn a_close_that_never_comes() {
    let mut talk = Talk::new(1);
    talk.call("a", 1).say(true, "GET /b HTTP/1.1\r\n\r\n", 1);
    let mut desk = Desk::new();
    desk.play(&talk.of(&talk.server)).tick(IDLE_NS + talk.time_ns + 1);
    assert_eq!(
        desk.lines(),
        ["Server ->stock /a 201", "Server ->stock /b - unpaired"]
    );
    assert_eq!(desk.tracker.counters().connections_idle, 1);
    desk.tick(2 * IDLE_NS);
    assert_eq!(desk.tracker.counters().connections_idle, 1, "once");
}

#[test]
fn a_connection_that_slept_is_read_on() {
    let mut talk = Talk::new(1);
    talk.call("a", 1);
    let mut desk = Desk::new();
    desk.play(&talk.records).tick(2 * IDLE_NS);
    let before = talk.records.len();
    talk.time_ns += 2 * IDLE_NS;
    talk.call("b", 2).call("c", 1).close();
    desk.play(&talk.records[before..]);
    assert_eq!(
        desk.lines(),
        [
            "Server shop>stock /a 201",
            "Server shop>stock /b 201 late_join",
            "Server shop>stock /c 201",
        ]
    );
    assert_eq!(desk.tracker.connections(), 0);
}

#[test]
fn joined_late_with_and_without_a_known_role() {
    for (role, known) in [(Role::Unknown, None), (Role::Unknown, Some(Role::Server))] {
        let mut talk = Talk::new(1);
        talk.server.fresh = false;
        talk.server.role = role;
        talk.say(true, "rest of a body", 1)
            .call("a", 2)
            .call("b", 1)
            .call("c", 1);
        let mut desk = Desk::new();
        desk.tracker.know_roles(known.map(|role| (talk.server.id, role)));
        desk.play(&talk.of(&talk.server));
        let lines = desk.lines();
        assert!(
            lines.iter().any(|line| line.starts_with("Server ->stock /b 201")),
            "{lines:?}"
        );
        assert!(desk.tracker.roles.is_empty());
    }
}

#[test]
fn a_body_that_looks_like_an_answer_does_not_turn_the_ends_around() {
    let mut talk = Talk::new(1);
    // The begin was lost; what comes first is the middle of an upload.
    talk.server.pass_over(Way::In, 500);
    talk.client.pass_over(Way::Out, 500);
    talk.say(true, "HTTP/1.1 200 OK\r\n", 1)
        .say(false, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", 1)
        .call("a", 1)
        .call("b", 1)
        .close();
    let mut desk = Desk::new();
    desk.play(&talk.of(&talk.server));
    for _ in 0..3 {
        desk.tick(1_000_000_000);
    }
    let lines = desk.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines.iter().all(|line| line.starts_with("Server ->stock /")),
        "{lines:?}"
    );
}

#[test]
fn announced_twice() {
    let mut talk = Talk::new(1);
    talk.call("a", 1);
    let mut desk = Desk::new();
    desk.play(&talk.of(&talk.server));
    // The programs forgot it, and announce it as one that they join late.
    talk.server.fresh = false;
    desk.play([&talk.server.open(talk.time_ns)]);
    let before = talk.records.len();
    talk.call("b", 1);
    desk.play(&talk.records[before..]);
    assert_eq!(desk.lines()[1], "Server ->stock /b 201");
    assert_eq!(desk.tracker.counters().connections_reopened, 1);
    // Another connection under the same name, the close of the first being lost.
    let mut other = Talk::new(2);
    other.server.id = talk.server.id;
    other.call("c", 1);
    desk.play(&other.of(&other.server));
    assert_eq!(desk.lines()[2], "Server ->stock /c 201");
    assert_eq!(desk.tracker.connections(), 1);
}
