//! Streams per second of one core: one request and one response frame each, as the bytes come from a socket.

use std::hint::black_box;
use std::iter::from_fn;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocol::http2::Connection;
use protocol::{Boundary, Direction, Limits, Start};

const STREAMS: u32 = 1000;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![high, middle, low, kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Literal with a new name; `first`: 0x40 puts it into the table.
fn literal(block: &mut Vec<u8>, first: u8, name: &str, value: &str) {
    block.push(first);
    for text in [name, value] {
        block.push(text.len() as u8);
        block.extend(text.as_bytes());
    }
}

/// What both sides send, stream by stream; `burst` streams at a time.
fn conversation(burst: u32, body: usize) -> Vec<(Direction, Vec<u8>)> {
    let mut segments = vec![
        (Direction::Request, PREFACE.to_vec()),
        (Direction::Response, b"\0\0\0\x04\0\0\0\0\0".to_vec()),
    ];
    for begin in (0..STREAMS).step_by(burst as usize) {
        let mut requests = Vec::new();
        let mut responses = Vec::new();
        for at in begin..begin + burst {
            let stream = 2 * at + 1;
            // GET, http; path with a number; then four fields from the table.
            let mut block = vec![0x82, 0x86, 0x04];
            let path = format!("/api/v1/users/{at}/orders?limit=20");
            block.push(path.len() as u8);
            block.extend(path.as_bytes());
            let mut answer = vec![0x88];
            if at == 0 {
                literal(&mut block, 0x40, ":authority", "shop.internal:8080");
                literal(&mut block, 0x40, "user-agent", "grpc-node-js/1.9.3");
                literal(&mut block, 0x40, "accept", "application/json");
                literal(&mut block, 0x40, "x-tenant", "4711");
                literal(&mut answer, 0x40, "content-type", "application/json");
                literal(&mut answer, 0x40, "server", "envoy");
            } else {
                block.splice(2..2, [0xc1]);
                block.extend([0xc0, 0xbf, 0xbe]);
                answer.extend([0xbf, 0xbe]);
            }
            requests.extend(frame(1, 5, stream, &block));
            responses.extend(frame(1, 4, stream, &answer));
            responses.extend(frame(0, 1, stream, &vec![b'x'; body]));
        }
        segments.push((Direction::Request, requests));
        segments.push((Direction::Response, responses));
    }
    segments
}

fn play(segments: &[(Direction, Vec<u8>)], cut: usize, limits: Limits) {
    let mut connection = Connection::new(limits, Start::Fresh);
    let [mut sent, mut answered] = [0_u64; 2];
    let mut seen = 0;
    for (time, (direction, data)) in (0..).zip(segments) {
        let offset = match direction {
            Direction::Request => &mut sent,
            Direction::Response => &mut answered,
        };
        for piece in data.chunks(cut) {
            connection.segment(*direction, *offset, time, black_box(piece), Boundary::Continued);
            *offset += piece.len() as u64;
        }
        seen += from_fn(|| connection.poll())
            .map(|exchange| drop(black_box(exchange)))
            .count();
    }
    assert_eq!(seen, STREAMS as usize);
}

fn http2(criterion: &mut Criterion) {
    let one = conversation(1, 200);
    let burst = conversation(100, 200);
    let large = conversation(10, 16384);
    let keep = Limits {
        body_bytes: 4096,
        ..Limits::default()
    };
    let cases = [
        ("one after the other", &one, usize::MAX, Limits::default()),
        ("100 at a time", &burst, usize::MAX, Limits::default()),
        ("100 at a time, body kept", &burst, usize::MAX, keep),
        (
            "100 at a time, in pieces of 100 bytes",
            &burst,
            100,
            Limits::default(),
        ),
        (
            "16 KiB in segments of 1448 bytes",
            &large,
            1448,
            Limits::default(),
        ),
    ];
    let mut group = criterion.benchmark_group("http2");
    group.throughput(Throughput::Elements(u64::from(STREAMS)));
    for (name, segments, cut, limits) in cases {
        group.bench_function(name, |bencher| bencher.iter(|| play(segments, cut, limits)));
    }
    group.finish();
}

criterion_group!(benches, http2);
criterion_main!(benches);
