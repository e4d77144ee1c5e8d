//! Random conversations between a client and a server, each message with an id of its own.

use proptest::prelude::*;
use proptest::sample::select;

use super::script::Script;
use crate::{Direction, Exchange};

/// How a body is framed.
#[derive(Clone, Debug)]
enum Framed {
    None,
    Length(usize),
    Chunked(Vec<usize>, bool),
}

#[derive(Clone, Debug)]
struct Pair {
    method: &'static str,
    request: Framed,
    /// The client waits for 100 Continue before the body.
    expect: bool,
    interim: usize,
    status: u16,
    response: Framed,
    /// Whether head and body are sent in two pieces.
    pieces: bool,
}

/// When the client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// So many requests at once, then it waits for all answers.
    Bursts(usize),
    /// It keeps so many requests outstanding.
    Window(usize),
}

/// A conversation.
#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    pub(crate) habit: Habit,
    pub(crate) script: Script,
    /// Index of the first item from which on the client's habit was plain to see.
    pub(crate) plain: usize,
}

fn framed() -> impl Strategy<Value = Framed> {
    prop_oneof![
        2 => Just(Framed::None),
        3 => (0_usize..60).prop_map(Framed::Length),
        3 => (prop::collection::vec(1_usize..40, 0..4), any::<bool>())
            .prop_map(|(chunks, trailer)| Framed::Chunked(chunks, trailer)),
    ]
}

fn pair() -> impl Strategy<Value = Pair> {
    let method = select(vec!["GET", "GET", "HEAD", "POST", "PURGE"]);
    let status = select(vec![200_u16, 200, 204, 304, 404, 500]);
    (
        method,
        framed(),
        any::<bool>(),
        0_usize..3,
        status,
        framed(),
        any::<bool>(),
    )
        .prop_map(|(method, request, expect, interim, status, response, pieces)| {
            let bodiless = matches!(method, "GET" | "HEAD");
            let request = if bodiless { Framed::None } else { request };
            let expect = expect && !bodiless;
            // Without a length, a response would last until the connection ends.
            let response = if matches!(response, Framed::None) {
                Framed::Length(0)
            } else {
                response
            };
            Pair {
                method,
                request,
                expect,
                interim,
                status,
                response,
                pieces,
            }
        })
}

/// How a connection stops being one for HTTP/1 requests.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Plain,
    UntilClose,
    Upgrade,
    Connect,
}

fn ending() -> impl Strategy<Value = Ending> {
    select(vec![
        Ending::Plain,
        Ending::UntilClose,
        Ending::Upgrade,
        Ending::Connect,
    ])
}

fn end(script: Script, id: usize, ending: Ending) -> Script {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    match ending {
        Ending::Plain => script,
        Ending::UntilClose => script
            .client(format!("GET /{id} HTTP/1.1\r\n\r\n"))
            .server(format!("HTTP/1.1 200 Fine\r\nX-Id: {id}\r\n\r\nfor"))
            .server("ever"),
        Ending::Upgrade => script
            .client(format!("GET /{id} HTTP/1.1\r\n{upgrade}\r\n"))
            .server(format!("HTTP/1.1 101 Fine\r\nX-Id: {id}\r\n{upgrade}\r\n"))
            .client("GET frame")
            .server("HTTP/1.1 frame")
            .client("frame"),
        Ending::Connect => script
            .client(format!("CONNECT /{id} HTTP/1.1\r\n\r\n"))
            .server(format!("HTTP/1.1 200 Fine\r\nX-Id: {id}\r\n\r\n\x16\x03"))
            .client("\x16\x03\x01")
            .server("\x16"),
    }
}

/// Conversations of clients with such a habit.
pub(crate) fn conversation(habit: impl Strategy<Value = Habit>) -> impl Strategy<Value = Conversation> {
    (habit, prop::collection::vec(pair(), 1..12), ending())
        .prop_map(|(habit, pairs, ending)| play(habit, &pairs, ending))
}

pub(crate) fn any_habit() -> impl Strategy<Value = Habit> {
    prop_oneof![
        3 => Just(Habit::Bursts(1)),
        1 => (2_usize..4).prop_map(Habit::Bursts),
        1 => (2_usize..4).prop_map(Habit::Window),
    ]
}

fn play(habit: Habit, pairs: &[Pair], ending: Ending) -> Conversation {
    let mut script = Script::default();
    let mut plain = 0;
    match habit {
        Habit::Bursts(size) => {
            for (burst, pairs) in pairs.chunks(size).enumerate() {
                let first = burst * size;
                if let ([pair], true) = (pairs, size == 1) {
                    script = alone(script, first, pair);
                    continue;
                }
                for (at, pair) in pairs.iter().enumerate() {
                    script = request(script, first + at, pair);
                }
                for (at, pair) in pairs.iter().enumerate() {
                    script = response(script, first + at, pair);
                }
                // A burst of several and the one after it show that the client waits.
                if burst == 1 {
                    plain = script.items.len();
                }
            }
        }
        Habit::Window(size) => {
            for (at, pair) in pairs.iter().enumerate().take(size) {
                script = request(script, at, pair);
            }
            for (at, pair) in pairs.iter().enumerate() {
                script = response(script, at, pair);
                if let Some(pair) = pairs.get(at + size) {
                    script = request(script, at + size, pair);
                }
                if at == 1 {
                    plain = script.items.len();
                }
            }
        }
    }
    Conversation {
        habit,
        script: end(script, pairs.len(), ending).end(),
        plain,
    }
}

fn alone(mut script: Script, id: usize, pair: &Pair) -> Script {
    if !pair.expect {
        return response(request(script, id, pair), id, pair);
    }
    let (head, body) = request_bytes(id, pair);
    script = script.client(head).server("HTTP/1.1 100 Continue\r\n\r\n");
    if !body.is_empty() {
        script = script.client(body);
    }
    response(script, id, pair)
}

fn request(script: Script, id: usize, pair: &Pair) -> Script {
    let (head, body) = request_bytes(id, pair);
    send(script, Direction::Request, head, &body, pair.pieces)
}

fn response(mut script: Script, id: usize, pair: &Pair) -> Script {
    for _ in 0..pair.interim {
        script = script.server("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
    }
    let mut head = format!("HTTP/1.1 {} Fine\r\nX-Id: {id}\r\n", pair.status);
    let mut body = body(&mut head, &pair.response);
    head += "\r\n";
    if pair.method == "HEAD" || matches!(pair.status, 204 | 304) {
        body.clear();
    }
    send(script, Direction::Response, head, &body, pair.pieces)
}

fn send(script: Script, direction: Direction, head: String, body: &str, pieces: bool) -> Script {
    let say = if direction == Direction::Request {
        Script::client
    } else {
        Script::server
    };
    match (pieces, body) {
        (true, body) if !body.is_empty() => say(say(script, head), body.to_owned()),
        _ => say(script, head + body),
    }
}

fn request_bytes(id: usize, pair: &Pair) -> (String, String) {
    let mut head = format!("{} /{id} HTTP/1.1\r\nHost: example\r\n", pair.method);
    if pair.expect {
        head += "Expect: 100-continue\r\n";
    }
    let body = body(&mut head, &pair.request);
    (head + "\r\n", body)
}

fn body(head: &mut String, framed: &Framed) -> String {
    let text = |len: usize| {
        "HTTP/1.1 is fun\r\n\r\n"
            .chars()
            .cycle()
            .take(len)
            .collect::<String>()
    };
    match framed {
        Framed::None => String::new(),
        Framed::Length(len) => {
            *head += &format!("Content-Length: {len}\r\n");
            text(*len)
        }
        Framed::Chunked(chunks, trailer) => {
            *head += "Transfer-Encoding: chunked\r\n";
            let chunks: String = chunks
                .iter()
                .map(|&len| format!("{len:x};ext=1\r\n{}\r\n", text(len)))
                .collect();
            chunks
                + if *trailer {
                    "0\r\nX-Sum: 7\r\n\r\n"
                } else {
                    "0\r\n\r\n"
                }
        }
    }
}

/// The ids of the two halves.
pub(crate) fn ids(exchange: &Exchange) -> (String, Option<String>) {
    let request = String::from_utf8_lossy(&exchange.request.target[1..]).into_owned();
    let response = exchange.response.as_ref().map(|response| {
        let id = response.headers.get(b"X-Id").unwrap();
        String::from_utf8_lossy(id).into_owned()
    });
    (request, response)
}
