//! What speaks on top of HTTP: from two bodies to what may leave the node.

use bytes::Bytes;
use detect::{Credentials, OPERATION_BYTES_MAX, Redactor, reveal};
use policy::CapturePolicy;
use protocol::body::{BodyReader, End};
use protocol::{
    Application, Counters, Exchange, Flags, Headers, Limits, Request, Response, Version, classify,
};

use crate::input::Input;

/// What a message says of its body.
struct Said<'a> {
    content_type: &'static str,
    body: &'a [u8],
}

/// The exchange, with its bodies read in pieces of at most so many bytes.
fn exchange(target: &'static str, asked: &Said<'_>, answered: &Said<'_>, piece: usize) -> Exchange {
    let limits = Limits {
        inspect_bytes: 1024,
        ..Limits::default()
    };
    let mut counters = Counters::default();
    let request_headers = Headers::from([("content-type", asked.content_type)]);
    let response_headers = Headers::from([("content-type", answered.content_type)]);
    let mut reader = BodyReader::request(b"POST", &request_headers, &limits);
    for data in asked.body.chunks(piece) {
        reader.data(data, &mut counters);
    }
    let request = reader.finish(End::Complete, &mut counters);
    let mut exchange = Exchange {
        index: 0,
        stream: None,
        request_offset: 0,
        request: Request {
            method: Bytes::from_static(b"POST"),
            target: Bytes::from_static(target.as_bytes()),
            authority: None,
            version: Version::Http11,
            headers: request_headers,
            headers_unknown: 0,
            head_bytes: 0,
            body: request.body,
            first_byte: 0,
            last_byte: 0,
        },
        response: None,
        application: Application::Http,
        flags: Flags::default(),
    };
    let mut reader = BodyReader::response(
        &exchange.request,
        Some(&request.inspected),
        &response_headers,
        &limits,
    );
    for data in answered.body.chunks(piece) {
        reader.data(data, &mut counters);
    }
    let response = reader.finish(End::Complete, &mut counters);
    exchange.response = Some(Response {
        status: 200,
        version: Version::Http11,
        headers: response_headers,
        headers_unknown: 0,
        head_bytes: 0,
        body: response.body,
        interim: 0,
        first_byte: 0,
        last_byte: 0,
    });
    classify(&mut exchange, request.inspected, response.inspected, &limits);
    exchange
}

fn run(target: &'static str, asked: &Said<'_>, answered: &Said<'_>) {
    let whole = exchange(target, asked, answered, usize::MAX);
    for piece in [1, 7] {
        assert_eq!(
            exchange(target, asked, answered, piece),
            whole,
            "in pieces of {piece}"
        );
    }
    let operations = match &whole.application {
        Application::GraphQl(operations) => operations.len(),
        Application::JsonRpc(calls) => calls.len(),
        _ => 1,
    };
    assert!((1..=Limits::default().operations).contains(&operations));
    let redacted = Redactor::new(&CapturePolicy::default()).redact(&whole);
    let shown = reveal(&whole, Credentials::Masked);
    for text in [&redacted.operation.name, &shown.operation] {
        assert!(
            text.len() <= OPERATION_BYTES_MAX && !text.chars().any(char::is_control),
            "{text:?}"
        );
    }
}

/// The request's body with its length before it, then the response's.
fn bodies(data: &[u8]) -> (&[u8], &[u8]) {
    let mut input = Input(data);
    let len = usize::from(input.short());
    (input.bytes(len), input.rest())
}

/// The first byte says how the document comes: as it is, or in JSON as most send it.
pub fn graphql(data: &[u8]) {
    let mut input = Input(data);
    let form = input.byte() % 3;
    let rest = input.rest();
    let answer = Said {
        content_type: "application/json",
        body: br#"{"data":{}}"#,
    };
    let quoted =
        serde_json::json!({"query": String::from_utf8_lossy(rest), "variables": {"id": 1}}).to_string();
    let asked = match form {
        0 => Said {
            content_type: "application/graphql",
            body: rest,
        },
        1 => Said {
            content_type: "application/json",
            body: quoted.as_bytes(),
        },
        _ => Said {
            content_type: "application/json",
            body: rest,
        },
    };
    run("/graphql", &asked, &answer);
}

/// Two documents of JSON.
pub fn json_rpc(data: &[u8]) {
    let (asked, answered) = bodies(data);
    let said = |body| Said {
        content_type: "application/json",
        body,
    };
    run("/rpc", &said(asked), &said(answered));
}

/// Two documents of XML, of either version.
pub fn soap(data: &[u8]) {
    let (asked, answered) = bodies(data);
    for content_type in [
        "text/xml; charset=utf-8",
        "application/soap+xml; action=\"urn:a#B\"",
    ] {
        let said = |body| Said { content_type, body };
        run("/soap", &said(asked), &said(answered));
    }
}

/// A call, and what answers it.
pub fn xml_rpc(data: &[u8]) {
    let (asked, answered) = bodies(data);
    let said = |body| Said {
        content_type: "text/xml",
        body,
    };
    run("/RPC2", &said(asked), &said(answered));
}
