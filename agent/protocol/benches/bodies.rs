//! Bytes of content per second of one core, as they come from a socket: in segments of 4 KiB.

use std::hint::black_box;
use std::io::Write;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flate2::Compression;
use flate2::write::GzEncoder;
use protocol::body::{BodyReader, End};
use protocol::{Counters, Headers, Limits};

fn headers(fields: &[(&str, &str)]) -> Headers {
    fields.iter().copied().collect()
}

/// Reads `content` as the body of a request.
fn read(headers: &Headers, content: &[u8], limits: &Limits) -> u64 {
    let mut counters = Counters::default();
    let mut reader = BodyReader::request(b"POST", headers, limits);
    for piece in content.chunks(4096) {
        reader.data(black_box(piece), &mut counters);
    }
    let finished = black_box(reader.finish(End::Complete, &mut counters));
    assert_eq!(counters, Counters::default());
    finished.body.decoded_bytes
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    assert!(encoder.write_all(content).is_ok());
    encoder.finish().unwrap_or_default()
}

/// Its name, header fields and content, and what is wanted of it.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Vec<u8>, Limits);

fn bodies(criterion: &mut Criterion) {
    let none = Limits::default();
    let keep = Limits {
        body_bytes: 4096,
        ..Limits::default()
    };
    let items = |count: usize| {
        let items: Vec<_> = (0..count)
            .map(|at| {
                format!(r#"{{"id":{at},"name":"item {at}","price":{{"amount":"{at}.99","currency":"EUR"}}}}"#)
            })
            .collect();
        format!("[{}]", items.join(","))
    };
    let order = format!(r#"{{"customer":4711,"items":{}}}"#, items(2));
    let orders = format!(r#"{{"customer":4711,"items":{}}}"#, items(1000));
    let query = format!(
        r#"{{"operationName":"Orders","variables":{{"first":20}},"query":"query Orders($first: Int!) {{\n  orders(first: $first) {{\n{}  }}\n}}"}}"#,
        "    edges { node { id name } }\\n".repeat(20)
    );
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"to":"0x6b175474e89094c44da98b954eedeac495271d0f","data":"0x70a08231"},"latest"]}"#;
    let soap = format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Header>{}</s:Header><s:Body><Get/></s:Body></s:Envelope>",
        "<h:Token xmlns:h=\"urn:h\">0123456789</h:Token>".repeat(20)
    );
    let small = [&[0, 0, 0, 0, 100][..], &[b'x'; 100]].concat().repeat(1000);
    let large = [&[0, 0, 1, 0, 0][..], &[b'x'; 65536]].concat().repeat(4);
    let json = "application/json";
    let cases: [Case<'_>; 11] = [
        ("nobody wants it", &[], orders.clone().into(), none),
        ("kept", &[], orders.clone().into(), keep),
        (
            "gzip, nobody wants it",
            &[("content-encoding", "gzip")],
            gzip(orders.as_bytes()),
            none,
        ),
        (
            "gzip, kept",
            &[("content-encoding", "gzip")],
            gzip(orders.as_bytes()),
            keep,
        ),
        ("small JSON", &[("content-type", json)], order.into(), none),
        ("large JSON", &[("content-type", json)], orders.into(), none),
        ("GraphQL", &[("content-type", json)], query.into(), none),
        ("JSON-RPC", &[("content-type", json)], call.into(), none),
        ("SOAP", &[("content-type", "text/xml")], soap.into(), none),
        (
            "gRPC, small messages",
            &[("content-type", "application/grpc")],
            small,
            none,
        ),
        (
            "gRPC, large messages",
            &[("content-type", "application/grpc")],
            large,
            none,
        ),
    ];
    let mut group = criterion.benchmark_group("bodies");
    for (name, fields, content, limits) in cases {
        let headers = headers(fields);
        group.throughput(Throughput::Bytes(content.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| read(&headers, &content, &limits)));
    }
    let event = "event: message\ndata: {\"choices\":[{\"delta\":{\"content\":\" word\"}}]}\n\n".repeat(1000);
    let fields = headers(&[("content-type", "text/event-stream")]);
    let request = protocol::Request {
        method: "GET".into(),
        target: "/".into(),
        authority: None,
        version: protocol::Version::Http11,
        headers: Headers::new(),
        headers_unknown: 0,
        head_bytes: 0,
        body: protocol::Body::default(),
        first_byte: 0,
        last_byte: 0,
    };
    group.throughput(Throughput::Bytes(event.len() as u64));
    group.bench_function("events", |bencher| {
        bencher.iter(|| {
            let mut counters = Counters::default();
            let mut reader = BodyReader::response(&request, None, &fields, &none);
            for piece in event.as_bytes().chunks(4096) {
                reader.data(black_box(piece), &mut counters);
            }
            black_box(reader.finish(End::Complete, &mut counters))
        });
    });
    group.finish();
}

criterion_group!(benches, bodies);
criterion_main!(benches);
