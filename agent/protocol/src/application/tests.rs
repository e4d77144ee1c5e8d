//! Whole exchanges over HTTP/1: what speaks on top of them.

use crate::http1::Connection;
use crate::{Application, Boundary, Counters, Direction, Exchange, Limits, Start, Streaming};

fn message(start: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{start}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Plays one exchange, in pieces of at most `cut` bytes; the answer first, if it shall be.
fn play(
    request: &[u8],
    response: &[u8],
    cut: usize,
    answer_first: bool,
    limits: Limits,
) -> (Exchange, Counters) {
    let mut connection = Connection::new(limits, Start::Fresh);
    let mut halves = [
        (Direction::Request, request, 1),
        (Direction::Response, response, 2),
    ];
    if answer_first {
        halves.reverse();
    }
    for (direction, data, time) in halves {
        let mut offset = 0;
        for piece in data.chunks(cut) {
            let boundary = if offset == 0 {
                Boundary::TurnStart
            } else {
                Boundary::Continued
            };
            connection.segment(direction, offset, time, piece, boundary);
            offset += piece.len() as u64;
        }
    }
    connection.finish(Direction::Request, Some(request.len() as u64), 3);
    connection.finish(Direction::Response, Some(response.len() as u64), 3);
    let exchange = connection.poll().unwrap();
    assert_eq!(connection.poll(), None);
    (exchange, *connection.counters())
}

fn classified(request: &[u8], response: &[u8], limits: Limits) -> Exchange {
    let (whole, counters) = play(request, response, usize::MAX, false, limits);
    for (cut, answer_first) in [(1, false), (100, false), (usize::MAX, true), (50, true)] {
        let again = play(request, response, cut, answer_first, limits);
        assert_eq!(again, (whole.clone(), counters), "{cut} {answer_first}");
    }
    whole
}

fn show(application: &Application) -> String {
    match application {
        Application::GraphQl(operations) => {
            let names: Vec<_> = operations
                .iter()
                .map(|operation| {
                    let kind = operation.kind.map_or("?", |kind| kind.name());
                    let name = operation
                        .name
                        .as_ref()
                        .map_or("-".into(), |name| name.escape_ascii().to_string());
                    format!(" {kind} {name}")
                })
                .collect();
            format!("graphql{}", names.join(","))
        }
        Application::JsonRpc(calls) => {
            let calls: Vec<_> = calls
                .iter()
                .map(|call| {
                    let error = call.error.map_or(String::new(), |error| format!(" {error}"));
                    format!(" {}{error}", call.method.escape_ascii())
                })
                .collect();
            format!("json-rpc{}", calls.join(","))
        }
        Application::Soap(call) => {
            let action = call
                .action
                .as_ref()
                .map_or("-".into(), |action| action.escape_ascii().to_string());
            let fault = if call.fault { " fault" } else { "" };
            format!("soap {} {action}{fault}", call.operation.escape_ascii())
        }
        Application::XmlRpc(method) => format!("xml-rpc {}", method.escape_ascii()),
        Application::Grpc(rpc) | Application::GrpcWeb(rpc) => format!(
            "{} {} {} {:?} {}",
            application.name(),
            rpc.service.escape_ascii(),
            rpc.method.escape_ascii(),
            rpc.status,
            rpc.streaming.name()
        ),
        other => other.name().into(),
    }
}

fn post(media: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    message(
        &format!("POST /api HTTP/1.1\r\nContent-Type: {media}"),
        body.as_ref(),
    )
}

fn ok(media: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    message(
        &format!("HTTP/1.1 200 OK\r\nContent-Type: {media}"),
        body.as_ref(),
    )
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

const JSON: &str = "application/json";
const ENVELOPE: &str = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>";

#[test]
fn what_speaks_on_top() {
    let json = |body: &str| post(JSON, body);
    let none = ok("text/html", "<html>");
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[]}"#;
    let soap = format!("{ENVELOPE}<m:GetPrice/></s:Body></s:Envelope>");
    let fault = format!("{ENVELOPE}<s:Fault><faultcode>s:Server</faultcode></s:Fault>");
    let graphql = r#"{"query":"query Me { me { id } }"}"#;
    let form = format!(
        "--x\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n{}\r\n--x\r\nContent-Disposition: form-data; \
         name=\"map\"\r\n\r\n{{}}\r\n--x--",
        r#"{"query":"mutation Upload($f: Upload!) { up(f: $f) { id } }","variables":{"f":null}}"#
    );
    let with_action = message(
        "POST / HTTP/1.1\r\nContent-Type: text/xml\r\nSOAPAction: \"urn:price\"",
        soap.as_bytes(),
    );
    let cases: &[(&str, Vec<u8>, Vec<u8>, &str)] = &[
        ("plain", get("/a?b=c"), none.clone(), "http"),
        ("JSON", json(r#"{"a":1}"#), ok(JSON, "{}"), "http"),
        ("GraphQL", json(graphql), ok(JSON, "{}"), "graphql query Me"),
        (
            "a document",
            post("application/graphql", "mutation { a }"),
            ok(JSON, "{}"),
            "graphql mutation -",
        ),
        (
            "with files",
            post("multipart/form-data; boundary=x", form),
            ok(JSON, "{}"),
            "graphql mutation Upload",
        ),
        (
            "other form",
            post(
                "multipart/form-data; boundary=x",
                "--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n{}\r\n--x--",
            ),
            none.clone(),
            "http",
        ),
        (
            "by GET",
            get("/graphql?query=%7Bme%7Bid%7D%7D"),
            ok(JSON, "{}"),
            "graphql query -",
        ),
        (
            "a search",
            get("/search?query=shoes&id=7"),
            ok(JSON, "{}"),
            "http",
        ),
        (
            "an id at its path",
            get("/graphql?documentId=ab12"),
            ok(JSON, "{}"),
            "graphql ? -",
        ),
        (
            "an id elsewhere",
            get("/files?documentId=ab12"),
            ok(JSON, "{}"),
            "http",
        ),
        (
            "an id, told by the answer",
            json(r#"{"id":"ab12","variables":{}}"#),
            ok("application/graphql-response+json", "{}"),
            "graphql ? -",
        ),
        (
            "an id alone",
            json(r#"{"id":"ab12","variables":{}}"#),
            ok(JSON, "{}"),
            "http",
        ),
        (
            "only the answer tells",
            json("x"),
            ok("application/graphql-response+json", "{}"),
            "graphql",
        ),
        (
            "a subscription",
            json(r#"{"query":"subscription S { a }"}"#),
            ok("text/event-stream", "event: next\ndata: {}\n\n"),
            "graphql subscription S",
        ),
        (
            "put",
            message(
                "PUT / HTTP/1.1\r\nContent-Type: application/json",
                graphql.as_bytes(),
            ),
            none.clone(),
            "http",
        ),
        (
            "JSON-RPC",
            json(call),
            ok(JSON, r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000}}"#),
            "json-rpc eth_call -32000",
        ),
        (
            "as text",
            post("text/plain;", call),
            ok(JSON, "{}"),
            "json-rpc eth_call",
        ),
        ("text", post("text/plain", "jsonrpc method"), none.clone(), "http"),
        (
            "answered by events",
            json(call),
            ok("text/event-stream", "data: {}\n\n"),
            "json-rpc eth_call",
        ),
        (
            "told by the answer",
            json(r#"{"method":"a","params":{"cut"#),
            ok(JSON, r#"{"jsonrpc":"2.0","id":1,"result":1}"#),
            "json-rpc a",
        ),
        (
            "SOAP",
            with_action.clone(),
            ok("text/xml", &soap),
            "soap GetPrice urn:price",
        ),
        (
            "a fault",
            with_action,
            ok("text/xml", &fault),
            "soap GetPrice urn:price fault",
        ),
        (
            "SOAP 1.2",
            post("application/soap+xml; action=\"urn:a\"", &soap),
            none.clone(),
            "soap GetPrice urn:a",
        ),
        (
            "unreadable SOAP",
            post("application/soap+xml", "x"),
            none.clone(),
            "soap  -",
        ),
        (
            "attachments",
            post(
                "multipart/related; type=\"text/xml\"",
                format!("--x\r\nA: b\r\n\r\n{soap}\r\n--x--"),
            ),
            ok("multipart/related", format!("--x\r\nA: b\r\n\r\n{fault}")),
            "soap GetPrice - fault",
        ),
        (
            "another envelope",
            post("text/xml", "<Envelope><Cube/></Envelope>"),
            none.clone(),
            "http",
        ),
        (
            "XML-RPC",
            post(
                "text/xml",
                "<methodCall><methodName>a.b</methodName></methodCall>",
            ),
            ok("text/xml", "<methodResponse/>"),
            "xml-rpc a.b",
        ),
        ("XML", post("application/xml", "<order/>"), none.clone(), "http"),
        (
            "events",
            get("/events"),
            ok("text/event-stream; charset=utf-8", ": hi\n\n"),
            "sse",
        ),
        (
            "gRPC",
            message(
                "POST /pkg.Greeter/SayHello HTTP/1.1\r\nContent-Type: application/grpc+proto",
                b"\0\0\0\0\0",
            ),
            message(
                "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: 12",
                b"",
            ),
            "grpc pkg.Greeter SayHello Some(12) unary",
        ),
        (
            "gRPC, not answered by it",
            message(
                "POST /pkg.Greeter/SayHello?x=/y HTTP/1.1\r\nContent-Type: application/grpc",
                b"",
            ),
            none.clone(),
            "grpc pkg.Greeter SayHello None unary",
        ),
        (
            "gRPC-Web",
            message(
                "POST /gw/pkg.Greeter/Watch HTTP/1.1\r\nContent-Type: application/grpc-web",
                b"\0\0\0\0\0",
            ),
            ok(
                "application/grpc-web",
                b"\0\0\0\0\x01a\0\0\0\0\x01b\x80\0\0\0\x0egrpc-status: 0",
            ),
            "grpc-web pkg.Greeter Watch Some(0) server_streaming",
        ),
        (
            "gRPC-Web in base64",
            message(
                "POST /a/B HTTP/1.1\r\nContent-Type: application/grpc-web-text",
                b"AAAAAAA=",
            ),
            ok("application/grpc-web-text", b"gAAAAA5ncnBjLXN0YXR1czogNw=="),
            "grpc-web a B Some(7) unary",
        ),
        (
            "a path that is none",
            message("POST * HTTP/1.1\r\nContent-Type: application/grpc", b""),
            none.clone(),
            "grpc  * None unary",
        ),
    ];
    for (name, request, response, want) in cases {
        let exchange = classified(request, response, Limits::default());
        assert_eq!(show(&exchange.application), *want, "{name}");
        assert!(
            exchange.request.body.captured.is_empty(),
            "{name}: nothing was to be captured"
        );
        let kept = Limits {
            body_bytes: 1 << 20,
            ..Limits::default()
        };
        let again = classified(request, response, kept);
        assert_eq!(again.application, exchange.application, "{name}");
        assert_eq!(
            again.request.body.captured.len() as u64,
            again.request.body.decoded_bytes,
            "{name}"
        );
    }
}

#[test]
fn only_so_much_of_a_body_is_looked_at() {
    let limits = Limits {
        inspect_bytes: 40,
        body_bytes: 10,
        ..Limits::default()
    };
    let at = |from: usize| {
        let body = format!(r#"{{"a":"{}","query":"{{me}}"}}"#, "x".repeat(from));
        let exchange = classified(&post(JSON, &body), &ok(JSON, "{}"), limits);
        assert_eq!(&exchange.request.body.captured[..], &body.as_bytes()[..10]);
        assert!(exchange.flags.contains(crate::Flags::TRUNCATED));
        show(&exchange.application)
    };
    assert_eq!(at(15), "graphql query -");
    assert_eq!(at(24), "http", "the document begins behind it");
}

#[test]
fn compressed_calls_are_read() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder
        .write_all(br#"{"query":"query Me { me { id } }"}"#)
        .unwrap();
    let body = encoder.finish().unwrap();
    let request = message(
        "POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Encoding: gzip",
        &body,
    );
    let exchange = classified(&request, &ok(JSON, "{}"), Limits::default());
    assert_eq!(show(&exchange.application), "graphql query Me");
    // A header field that names what is no coding does not hide the call.
    let request = message(
        "POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Encoding: utf-8",
        br#"{"query":"{ me }"}"#,
    );
    let exchange = classified(&request, &ok(JSON, "{}"), Limits::default());
    assert_eq!(show(&exchange.application), "graphql query -");
}

#[test]
fn streaming_kinds_follow_from_messages() {
    let one = b"\0\0\0\0\x01a".to_vec();
    let two = one.repeat(2);
    let grpc = |requests: &[u8], responses: &[u8]| {
        let request = message("POST /s/M HTTP/1.1\r\nContent-Type: application/grpc", requests);
        match classified(&request, &ok("application/grpc", responses), Limits::default()).application {
            Application::Grpc(rpc) => rpc.streaming,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(grpc(&one, &one), Streaming::Unary);
    assert_eq!(grpc(&two, &one), Streaming::Client);
    assert_eq!(grpc(&one, &two), Streaming::Server);
    assert_eq!(grpc(&two, &two), Streaming::Bidirectional);
}

#[test]
fn a_call_without_an_answer_is_still_one() {
    let mut connection = Connection::new(Limits::default(), Start::Fresh);
    let request = post(JSON, r#"{"jsonrpc":"2.0","method":"a","id":1}"#);
    connection.segment(Direction::Request, 0, 1, &request, Boundary::TurnStart);
    connection.close(2);
    let exchange = connection.poll().unwrap();
    assert!(exchange.response.is_none());
    assert_eq!(show(&exchange.application), "json-rpc a");
}
