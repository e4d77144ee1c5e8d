//! Bytes that are missing, and limits that are reached.

use super::script::{GET, OK, Script, play, talk};
use crate::Start;
use crate::{Direction, Limits};

#[test]
fn missing_bytes() {
    use Direction::{Request as Up, Response as Down};
    let script = Script::default;
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n";
    let b = "GET /b HTTP/1.1\r\n\r\n";
    let cases: &[(&str, Script, &[&str])] = &[
        (
            "inside a body",
            script()
                .client(GET)
                .server(length)
                .lost(Down, 60)
                .server("x".repeat(40))
                .client(b)
                .server(OK),
            &["GET / > 200 100/100 truncated", "GET /b > 200 2/2"],
        ),
        (
            "the end of a body",
            script()
                .client(GET)
                .server(length)
                .lost(Down, 100)
                .client(b)
                .server(OK),
            &["GET / > 200 100/100 truncated", "GET /b > 200 2/2"],
        ),
        (
            "a body and the next head",
            script()
                .client(GET)
                .server(length)
                .lost(Down, 150)
                .client(b)
                .server(OK),
            &["GET / > 200 100/100 truncated", "GET /b > 200 2/2"],
        ),
        (
            "inside a chunk",
            script()
                .client(GET)
                .server(chunked)
                .lost(Down, 90)
                .server("0123456789\r\n0\r\n\r\n")
                .client(b)
                .server(OK),
            &["GET / > 200 111/100 gap", "GET /b > 200 2/2"],
        ),
        (
            "chunks",
            script()
                .client(GET)
                .server(chunked)
                .lost(Down, 103)
                .server("0\r\n\r\n")
                .client(b)
                .server(OK),
            &["GET / > 200 9/0 gap", "GET /b > 200 2/2"],
        ),
        (
            "chunks on purpose",
            script()
                .client(GET)
                .server(chunked)
                .left_out(Down, 107)
                .client(b)
                .server(OK),
            &["GET / > 200 111/0 truncated", "GET /b > 200 2/2"],
        ),
        (
            "a request",
            script()
                .client(GET)
                .server(OK)
                .lost(Up, 50)
                .server(OK)
                .client(b)
                .server(OK),
            &["GET / > 200 2/2", "GET /b > 200 2/2"],
        ),
        (
            "a response",
            script().client(GET).lost(Down, 50).client(b).server(OK),
            &["GET / > gap unpaired", "GET /b > 200 2/2"],
        ),
        (
            "both",
            script()
                .client(GET)
                .lost(Down, 50)
                .lost(Up, 30)
                .server(OK)
                .client(b)
                .server(OK),
            &["GET / > gap unpaired", "GET /b > 200 2/2"],
        ),
        (
            "the end of a request's head",
            script()
                .client(GET)
                .server(OK)
                .client("GET /x HTTP/1.1\r\n")
                .lost(Up, 20)
                .server(OK)
                .client(b)
                .server(OK),
            &["GET / > 200 2/2", "GET /b > 200 2/2"],
        ),
        (
            "until the end",
            script()
                .client(GET)
                .server("HTTP/1.1 200 OK\r\n\r\nab")
                .lost(Down, 10),
            &["GET / > 200 12/12 truncated"],
        ),
    ];
    for (name, conversation, want) in cases {
        let played = conversation.clone().end().play();
        assert_eq!(played.lines(), *want, "{name}");
        let counters = &played.counters;
        let on_purpose = u64::from(*name == "chunks on purpose");
        assert_eq!(counters.left_out, on_purpose, "{name}");
        assert_eq!(counters.left_out_bytes, 107 * on_purpose, "{name}");
        let stretches = 1 + u64::from(*name == "both");
        assert_eq!(counters.gaps, stretches - on_purpose, "{name}");
    }
    let captured = Limits {
        body_bytes: 200,
        ..Limits::default()
    };
    let (name, conversation, _) = &cases[0];
    let lines = play(&conversation.clone().end().items, captured, Start::Fresh).lines();
    assert_eq!(
        lines,
        ["GET / > 200 100/100 truncated gap", "GET /b > 200 2/2"],
        "{name}, which was to be kept"
    );
}

#[test]
fn a_client_that_overlaps_is_not_paired_by_turns() {
    let get = |id: u32| format!("GET /{id} HTTP/1.1\r\n\r\n");
    let played = Script::default()
        .client(get(0) + &get(1))
        .server(OK)
        .client(get(2))
        .server(OK)
        .lost(Direction::Request, get(3).len() as u64)
        .server(OK)
        .client(get(4))
        .server(OK)
        .end()
        .play();
    assert_eq!(
        played.lines(),
        [
            "GET /0 > 200 2/2",
            "GET /1 > 200 2/2",
            "GET /2 > 200 2/2",
            "GET /4 > gap unpaired"
        ]
    );
}

#[test]
fn limits_hold_and_are_counted() {
    let limits = Limits {
        head_bytes: 60,
        headers: 2,
        pending_requests: 2,
        held_bytes: 200,
        ..Limits::default()
    };
    let run = |script: Script, start| play(&script.end().items, limits, start);
    let fits = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(60 - 18));
    let more = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(61 - 18));
    assert_eq!(
        run(talk(&[(&fits, OK)]), Start::Fresh).counters.heads_too_large,
        0
    );
    let played = run(talk(&[(&more, OK), (GET, OK)]), Start::Fresh);
    assert_eq!(
        (played.counters.heads_too_large, played.lines()),
        (1, vec!["GET / > 200 2/2".to_owned()])
    );
    let fields = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
    assert_eq!(
        run(talk(&[(&fields(2), OK)]), Start::Fresh)
            .counters
            .headers_too_many,
        0
    );
    assert_eq!(
        run(talk(&[(&fields(3), OK)]), Start::Fresh)
            .counters
            .headers_too_many,
        1
    );
    let pipelined = |count: usize| (GET.repeat(count), OK.repeat(count));
    let (requests, responses) = pipelined(2);
    assert_eq!(
        run(talk(&[(&requests, &responses)]), Start::Fresh)
            .counters
            .pipeline_overflow,
        0
    );
    let (requests, responses) = pipelined(3);
    let played = run(talk(&[(&requests, &responses)]), Start::Fresh);
    assert_eq!(
        (played.counters.pipeline_overflow, played.exchanges.len()),
        (1, 2)
    );
    assert_eq!(played.counters.responses_without_request, 1);
    // The answer is delivered before its request.
    let held = |len: usize| {
        let body = "x".repeat(len);
        let script = Script::default()
            .client(GET)
            .server(format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{body}"));
        let mut items = script.items;
        items.reverse();
        play(&items, limits, Start::Fresh)
    };
    let played = held(200 - Limits::HELD_SEGMENT_COST);
    assert_eq!(
        (played.counters.held_overflow, played.lines()),
        (0, vec!["GET / > 200 136/136".to_owned()])
    );
    let played = held(201 - Limits::HELD_SEGMENT_COST);
    assert_eq!(
        (played.counters.held_overflow, played.lines()),
        (1, vec!["GET / > gap unpaired".to_owned()])
    );
}
