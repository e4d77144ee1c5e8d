//! Archives whole, broken and hostile.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use protocol::{Application, Content, Limits, Version};

use super::*;

/// Gives its bytes in pieces of a fixed size.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(into.len()).min(self.0.len());
        let (now, later) = self.0.split_at(count);
        into[..count].copy_from_slice(now);
        self.0 = later;
        Ok(count)
    }
}

fn limits() -> Limits {
    Limits {
        body_bytes: 1 << 10,
        ..Limits::default()
    }
}

fn read_all(text: &[u8], piece: usize) -> (Vec<Entry>, Summary, Result<(), String>) {
    let mut entries = Vec::new();
    let (summary, outcome) = read(Pieces(text, piece), limits(), |entry| {
        entries.push(entry);
        ControlFlow::Continue(())
    });
    (entries, summary, outcome.map_err(|error| error.to_string()))
}

/// One entry, whose keys are given.
fn one(entry: &str) -> Entry {
    let text = format!(r#"{{"log":{{"entries":[{entry}]}}}}"#);
    let (mut entries, summary, outcome) = read_all(text.as_bytes(), usize::MAX);
    assert_eq!(outcome, Ok(()), "{entry}");
    assert!(summary.left_out.is_empty(), "{:?}", summary.left_out);
    entries.pop().unwrap()
}

const CHROME: &str = r#"{
  "_unknown": {"a": [1, {"b": "}]"}]}, "startedDateTime": "2025-06-24T06:00:00.000Z", "time": 120.5,
  "request": {
    "method": "POST", "url": "https://user:pw@Shop.test:8443/api/orders?x=1#frag", "httpVersion": "h2",
    "headers": [{"name": ":method", "value": "POST"}, {"name": "content-type", "value": "application/json"}, {"name": "x-a", "value": "q\"\u00e9"}],
    "queryString": [], "cookies": [], "headersSize": -1, "bodySize": 9,
    "postData": {"mimeType": "application/json", "text": "{\"a\": 10}"}
  },
  "response": {
    "status": 201, "statusText": "", "httpVersion": "h2",
    "headers": [{"name": "content-encoding", "value": "gzip"}, {"name": "set-cookie", "value": "a=1\nb=2; Path=/"}],
    "content": {"size": 11, "mimeType": "text/plain", "text": "aGVsbG8gd29ybGQ=", "encoding": "base64"},
    "redirectURL": "", "headersSize": -1, "bodySize": 31, "_transferSize": 200
  },
  "cache": {}, "timings": {"blocked": 10, "dns": -1, "connect": 5, "ssl": 3, "send": 1.5, "wait": 99, "receive": 5},
  "serverIPAddress": "[2001:db8::1]", "_client": "10.0.0.9", "connection": "123"
}"#;

#[test]
fn an_entry_of_chrome() {
    let entry = one(CHROME);
    let exchange = &entry.exchange;
    let request = &exchange.request;
    assert_eq!(&*request.target, b"/api/orders?x=1");
    assert_eq!(request.authority.as_deref(), Some(&b"Shop.test:8443"[..]));
    assert_eq!(request.version, Version::Http2);
    let names: Vec<&[u8]> = request.headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, [&b"content-type"[..], b"x-a"]);
    assert_eq!(request.headers.get(b"x-a"), Some("q\"é".as_bytes()));
    assert_eq!(
        (request.body.wire_bytes, &*request.body.captured),
        (9, &b"{\"a\": 10}"[..])
    );
    assert_eq!(request.first_byte, 1_750_744_800_000_000_000);
    let response = exchange.response.as_ref().unwrap();
    assert_eq!(response.status, 201);
    assert_eq!(
        (response.body.wire_bytes, &*response.body.captured),
        (31, &b"hello world"[..])
    );
    assert_eq!(response.body.content, Content::Decoded);
    let cookies: Vec<&[u8]> = response.headers.iter().skip(1).map(|(_, value)| value).collect();
    assert_eq!(cookies, [&b"a=1"[..], b"b=2; Path=/"]);
    // Without what came before the connection was there.
    assert_eq!(response.first_byte - request.first_byte, 100_500_000);
    assert_eq!(response.last_byte - request.first_byte, 105_500_000);
    assert_eq!(
        entry.client,
        End {
            address: Some("10.0.0.9".parse().unwrap()),
            port: None
        }
    );
    assert_eq!(
        entry.server,
        End {
            address: Some("2001:db8::1".parse().unwrap()),
            port: Some(8443)
        }
    );
    assert!(entry.secure);
    assert_eq!(exchange.flags.names().count(), 0);
}

#[test]
fn any_order_any_pieces_any_beginning() {
    let text = format!(
        "\u{feff} {{\"a\":[1,{{\"log\":{{\"entries\":[7]}}}}],\"log\":{{\"x\":null,\"entries\":[{CHROME},\n{CHROME}],\"version\":\"1.2\"}},\"b\":-1.5e3}}\n"
    );
    let whole = read_all(text.as_bytes(), usize::MAX);
    assert_eq!(whole.0.len(), 2);
    assert_eq!(whole.0[1].index, 1);
    for piece in [1, 2, 7, 64] {
        let (entries, summary, outcome) = read_all(text.as_bytes(), piece);
        assert_eq!(outcome, Ok(()));
        assert_eq!(summary.entries, 2);
        for (entry, expect) in entries.iter().zip(&whole.0) {
            assert_eq!(entry.exchange, expect.exchange, "pieces of {piece}");
        }
    }
}

#[test]
fn hosts_and_targets() {
    for (url, headers, target, host) in [
        ("http://h.test", "[]", "/", "h.test"),
        ("http://h.test?a", "[]", "/?a", "h.test"),
        ("http://h.test/a%20b c", "[]", "/a%20b c", "h.test"),
        (
            "http://h.test/",
            r#"[{"name":"HOST","value":"other.test"}]"#,
            "/",
            "other.test",
        ),
    ] {
        let entry = one(&format!(
            r#"{{"request":{{"method":"GET","url":"{url}","headers":{headers}}}}}"#
        ));
        let request = &entry.exchange.request;
        assert_eq!(&*request.target, target.as_bytes());
        let hosts: Vec<&[u8]> = request.headers.all(b"host").collect();
        assert_eq!(hosts, [host.as_bytes()], "{url}");
    }
    let connect = one(r#"{"request":{"method":"CONNECT","url":"https://h.test:443"}}"#);
    assert_eq!(&*connect.exchange.request.target, b"h.test:443");
}

#[test]
fn requests_without_response() {
    for response in [
        "",
        r#","response":null"#,
        r#","response":{"status":0}"#,
        r#","response":{}"#,
    ] {
        let entry = one(&format!(
            r#"{{"request":{{"method":"GET","url":"http://h/"}}{response}}}"#
        ));
        assert!(entry.exchange.response.is_none());
        assert_eq!(
            entry.exchange.flags.names().collect::<Vec<_>>(),
            ["unpaired"],
            "{response}"
        );
    }
}

#[test]
fn web_socket_messages() {
    let entry = one(
        r#"{"request":{"method":"GET","url":"wss://h/chat"},"response":{"status":101,"headers":[{"name":"Sec-WebSocket-Protocol","value":"mqtt"}]},
        "_webSocketMessages":[{"type":"send","time":1.5,"opcode":1,"data":"hello"},{"type":"receive","opcode":2,"data":"AAECAw=="},
        {"type":"receive","opcode":1,"data":"a"},{"type":"send","opcode":8,"data":""}]}"#,
    );
    let exchange = &entry.exchange;
    let Application::WebSocket(socket) = &exchange.application else {
        panic!("{:?}", exchange.application);
    };
    assert_eq!(socket.subprotocol.as_deref(), Some(&b"mqtt"[..]));
    let sent = exchange.request.body.messages;
    assert_eq!((sent.count, sent.bytes, sent.text, sent.control), (1, 5, 1, 1));
    let received = exchange.response.as_ref().unwrap().body.messages;
    assert_eq!(
        (received.count, received.bytes, received.bytes_max, received.text),
        (2, 5, 4, 1)
    );
}

#[test]
fn event_streams_are_counted() {
    let entry = one(
        r#"{"request":{"method":"GET","url":"https://h/events"},"response":{"status":200,
        "headers":[{"name":"Content-Type","value":"text/event-stream"}],"content":{"mimeType":"text/event-stream","text":"data: a\n\ndata: b\n\n"}}}"#,
    );
    assert_eq!(entry.exchange.application, Application::EventStream);
    assert_eq!(entry.exchange.response.unwrap().body.messages.count, 2);
}

#[test]
fn left_out_with_index_and_reason() {
    let good = r#"{"request":{"method":"GET","url":"http://h/"}}"#;
    for (entry, reason) in [
        ("null", "entry_invalid"),
        ("7", "entry_invalid"),
        (r#""text""#, "entry_invalid"),
        (r#"{"request":7}"#, "entry_invalid"),
        (r#"{"request":{"method":1,"url":"http://h/"}}"#, "entry_invalid"),
        ("{}", "request_missing"),
        (r#"{"request":null}"#, "request_missing"),
        (r#"{"request":{"url":"http://h/"}}"#, "method_missing"),
        (r#"{"request":{"method":"","url":"http://h/"}}"#, "method_missing"),
        (r#"{"request":{"method":"GET"}}"#, "url_missing"),
        (r#"{"request":{"method":"GET","url":"/a"}}"#, "url_invalid"),
        (
            r#"{"request":{"method":"GET","url":"data:text/html,x"}}"#,
            "url_not_http",
        ),
        (
            r#"{"request":{"method":"GET","url":"http://h/"},"response":{"status":20}}"#,
            "status_invalid",
        ),
    ] {
        let text = format!("{{\"log\":{{\"entries\":[\n{good},\n{entry},\n{good}]}}}}");
        let (entries, summary, outcome) = read_all(text.as_bytes(), 3);
        assert_eq!(outcome, Ok(()), "{entry}");
        let indices: Vec<u64> = entries.iter().map(|entry| entry.index).collect();
        assert_eq!((indices, summary.entries), (vec![0, 2], 3), "{entry}");
        let (found, (count, first)) = summary.left_out.first_key_value().unwrap();
        assert_eq!(
            (found.name(), *count, first.index, first.position.line),
            (reason, 1, 1, 3),
            "{entry}"
        );
    }
}

#[test]
fn what_is_no_json_ends_the_file_and_keeps_what_was_before() {
    let good = r#"{"request":{"method":"GET","url":"http://h/"}}"#;
    for (text, kept, expect) in [
        ("", 0, "no JSON at line 1, column 1 (byte 0): the file ends early"),
        ("[]", 0, "no JSON at line 1, column 1 (byte 0): expected `{`"),
        (
            "{\n \"log\" 1}",
            0,
            "no JSON at line 2, column 8 (byte 9): expected `:`",
        ),
        (
            "{\"log\": 1}",
            0,
            "no JSON at line 1, column 9 (byte 8): expected `{`: `log` is an object",
        ),
        (
            "{\"log\":{\"entries\":{}}}",
            0,
            "expected `[`: `log.entries` is an array",
        ),
        (
            "{}",
            0,
            "no HTTP archive: there is no `log`; export the traffic again as HAR 1.2",
        ),
        (
            "{\"log\":{}}",
            0,
            "no HTTP archive: `log` has no `entries`; export the traffic again as HAR 1.2",
        ),
        (
            "{\"log\":{\"entries\":[GOOD",
            1,
            "no JSON at line 1, column 66 (byte 65): expected `,` or `]`",
        ),
        (
            "{\"log\":{\"entries\":[GOOD,\nGOOD,\n{\"request\"",
            2,
            "no JSON at line 3, column 1 (byte 115): the file ends early",
        ),
        (
            "{\"log\":{\"entries\":[GOOD,\n  {\"request\": tru}]}}",
            1,
            "no JSON at line 2, column 18 (byte 69): expected ident, in entry 1, which begins at byte 69",
        ),
        ("{\"log\":{\"entries\":[GOOD;GOOD]}}", 1, "expected `,` or `]`"),
        ("{\"log\":{\"entries\":[GOOD,]}}", 1, "expected a value"),
        (
            "{\"log\":{\"entries\":[GOOD]}} x",
            1,
            "text after the end of the archive",
        ),
        ("{\"log\":{\"entries\":[GOOD]},\"a\":x}", 1, "expected a value"),
    ] {
        let text = text.replace("GOOD", good);
        let (entries, _, outcome) = read_all(text.as_bytes(), 5);
        let error = outcome.unwrap_err();
        assert!(error.contains(expect), "{text}: {error}");
        assert_eq!(entries.len(), kept, "{text}");
    }
}

#[test]
fn bytes_that_are_no_text_are_kept() {
    let text = b"{\"log\":{\"entries\":[{\"request\":{\"method\":\"GET\",\"url\":\"http://h/\xff\\ud800\"},\"ignored\":\"\xff\"}]}}";
    let (entries, _, outcome) = read_all(text, 1);
    assert_eq!(outcome, Ok(()));
    assert_eq!(&*entries[0].exchange.request.target, b"/\xff\xed\xa0\x80");
}

#[test]
fn times_that_are_missing_are_those_of_the_entry_before() {
    let request = r#""request":{"method":"GET","url":"http://h/"}"#;
    let text = format!(
        r#"{{"log":{{"entries":[{{"_ts":1750744800.25,{request}}},{{"startedDateTime":"soon",{request}}}]}}}}"#
    );
    let (entries, summary, _) = read_all(text.as_bytes(), 9);
    let times: Vec<u64> = entries
        .iter()
        .map(|entry| entry.exchange.request.first_byte)
        .collect();
    assert_eq!(times, [1_750_744_800_250_000_000; 2]);
    assert_eq!(
        summary.oddities,
        Oddities {
            without_time: 1,
            ..Oddities::default()
        }
    );
}

#[test]
fn depth_and_headers_at_their_limits() {
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(
            r#"{{"log":{{"entries":[{{"request":{{"method":"GET","url":"http://h/"}},"x":{open}{close}}}]}}}}"#
        )
    };
    // The entry itself is a level.
    let max = ENTRY_DEPTH_MAX as usize - 1;
    assert_eq!(read_all(nested(max).as_bytes(), 4096).0.len(), 1);
    let (entries, summary, outcome) = read_all(nested(max + 1).as_bytes(), 4096);
    assert_eq!((entries.len(), outcome), (0, Ok(())));
    assert_eq!(
        summary
            .left_out
            .keys()
            .map(|reason| reason.name())
            .collect::<Vec<_>>(),
        ["entry_too_deep"]
    );
    let (_, summary, outcome) = read_all(nested(1_000_000).as_bytes(), 65_536);
    assert_eq!((summary.entries, outcome), (1, Ok(())));

    let with = |count| {
        let headers = vec![r#"{"name":"a","value":"b"}"#; count].join(",");
        let entry = format!(r#"{{"request":{{"method":"GET","url":"http://h/","headers":[{headers}]}}}}"#);
        read_all(format!(r#"{{"log":{{"entries":[{entry}]}}}}"#).as_bytes(), 65_536)
    };
    let (entries, summary, _) = with(HEADERS_MAX);
    assert_eq!(
        (
            entries[0].exchange.request.headers.len(),
            summary.oddities.headers_too_many
        ),
        (HEADERS_MAX + 1, 0)
    );
    let (entries, summary, _) = with(HEADERS_MAX + 1);
    assert_eq!(
        (
            entries[0].exchange.request.headers.len(),
            summary.oddities.headers_too_many
        ),
        (HEADERS_MAX + 1, 1)
    );
}

/// Makes text as it is asked for.
struct Endless<F> {
    part: F,
    parts: u64,
    now: Vec<u8>,
    at: usize,
    given: Rc<Cell<u64>>,
}

impl<F: FnMut(u64) -> Option<Vec<u8>>> Read for Endless<F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.now.len() {
            let Some(next) = (self.part)(self.parts) else {
                return Ok(0);
            };
            (self.now, self.at) = (next, 0);
            self.parts += 1;
        }
        let count = into.len().min(self.now.len() - self.at);
        into[..count].copy_from_slice(&self.now[self.at..self.at + count]);
        self.at += count;
        self.given.set(self.given.get() + count as u64);
        Ok(count)
    }
}

fn endless<F: FnMut(u64) -> Option<Vec<u8>>>(part: F) -> (Endless<F>, Rc<Cell<u64>>) {
    let given = Rc::new(Cell::new(0));
    let reader = Endless {
        part,
        parts: 0,
        now: Vec::new(),
        at: 0,
        given: Rc::clone(&given),
    };
    (reader, given)
}

#[test]
fn entries_come_before_what_follows_them_is_read() {
    let entry = r#"{"request":{"method":"GET","url":"http://h/"},"x":""#;
    let filler = "y".repeat(10_000);
    let (reader, given) = endless(|part| match part {
        0 => Some(br#"{"log":{"entries":["#.to_vec()),
        1..=10_000 => Some(format!("{entry}{filler}\"}},\n").into_bytes()),
        10_001 => Some(b"null]}}".to_vec()),
        _ => None,
    });
    let mut ahead_max = 0;
    let (summary, outcome) = read(reader, limits(), |read| {
        let behind = read.index * (entry.len() + filler.len() + 4) as u64;
        ahead_max = ahead_max.max(given.get() - behind);
        ControlFlow::Continue(())
    });
    outcome.unwrap();
    assert_eq!((summary.entries, summary.left_out.len()), (10_001, 1));
    assert!(given.get() > 100_000_000);
    assert!(ahead_max < 256 << 10, "{ahead_max} bytes were held");
}

#[test]
fn a_string_without_end_is_not_kept() {
    let piece = "z".repeat(1 << 20);
    let (reader, _) = endless(|part| match part {
        0 => Some(br#"{"log":{"entries":[{"request":{"method":"GET","url":"http://h/"},"x":""#.to_vec()),
        1..=100 => Some(piece.clone().into_bytes()),
        101 => Some(br#""},{"request":{"method":"GET","url":"http://h/"}}]}}"#.to_vec()),
        _ => None,
    });
    let mut splitter = Splitter::new(reader);
    let (item, position) = splitter.next().unwrap().unwrap();
    assert_eq!((item, position.offset), (Item::TooLarge, 19));
    assert!(splitter.held_bytes() < ENTRY_BYTES_MAX + (1 << 20));
    assert!(matches!(splitter.next(), Ok(Some((Item::Text(_), _)))));
    assert!(matches!(splitter.next(), Ok(None)));
}

#[test]
fn the_reader_that_fails_says_where() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }
    let begin = br#"{"log":{"entries":["#;
    let (_, outcome) = read(begin.chain(Fails), limits(), |_| ControlFlow::Continue(()));
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "cannot be read beyond byte 19: broken"
    );
}

#[test]
fn told_to_stop_it_stops() {
    let entry = r#"{"request":{"method":"GET","url":"http://h/"}}"#;
    let text = format!(r#"{{"log":{{"entries":[{entry},{entry},{entry}]}}}}"#);
    let mut seen = 0;
    let (summary, outcome) = read(text.as_bytes(), limits(), |_| {
        seen += 1;
        if seen == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    outcome.unwrap();
    assert_eq!((seen, summary.entries), (2, 2));
}
