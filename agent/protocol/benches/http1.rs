//! Exchanges per second of one core, as the bytes come from a socket: one segment a message.

use std::hint::black_box;
use std::iter::from_fn;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocol::{Boundary, Connection, Direction, Exchange, Limits, Nanos, Start, http1};

const REQUEST: &str = "GET /api/v1/users/4711/orders?limit=20 HTTP/1.1\r\nHost: shop.internal:8080\r\n\
    User-Agent: python-requests/2.31.0\r\nAccept-Encoding: gzip, deflate\r\nAccept: application/json\r\n\
    Connection: keep-alive\r\nX-Request-Id: 5f0c2b1e-9f52-4f0e-9c0a-2c2f4f3c1b7d\r\n\r\n";

const EXCHANGES: u64 = 1000;

/// Who reads.
trait Engine {
    fn segment(&mut self, direction: Direction, offset: u64, time: Nanos, data: &[u8], boundary: Boundary);
    fn poll(&mut self) -> Option<Exchange>;
}

macro_rules! engines {
    ($($engine:ty),*) => {
        $(impl Engine for $engine {
            fn segment(&mut self, direction: Direction, offset: u64, time: Nanos, data: &[u8], boundary: Boundary) {
                Self::segment(self, direction, offset, time, data, boundary);
            }

            fn poll(&mut self) -> Option<Exchange> {
                Self::poll(self)
            }
        })*
    };
}

engines!(http1::Connection, Connection);

/// Plays `EXCHANGES` exchanges over one connection, in segments of at most `cut` bytes.
fn play(mut connection: impl Engine, request: &[u8], response: &[u8], cut: usize) -> u64 {
    let mut offsets = [0_u64; 2];
    let mut time = 0;
    let mut seen = 0;
    for _ in 0..EXCHANGES {
        for (direction, data, offset) in [
            (Direction::Request, request, 0_usize),
            (Direction::Response, response, 1),
        ] {
            let mut boundary = Boundary::TurnStart;
            for piece in data.chunks(cut) {
                time += 1;
                if let Some(offset) = offsets.get_mut(offset) {
                    connection.segment(direction, *offset, time, black_box(piece), boundary);
                    *offset += piece.len() as u64;
                }
                boundary = Boundary::Continued;
            }
        }
        seen += from_fn(|| connection.poll())
            .map(|exchange| drop(black_box(exchange)))
            .count() as u64;
    }
    assert_eq!(seen, EXCHANGES);
    seen
}

fn http1(criterion: &mut Criterion) {
    let head = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 22:00:00 GMT\r\n\
        Content-Type: application/json\r\nConnection: keep-alive\r\nCache-Control: no-store\r\n";
    let body = |len: usize| "x".repeat(len);
    let small = format!("{head}Content-Length: 200\r\n\r\n{}", body(200));
    let large = format!("{head}Content-Length: 65536\r\n\r\n{}", body(65536));
    let chunks = format!("200\r\n{}\r\n", body(512)).repeat(8);
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    let keep = Limits {
        body_bytes: 4096,
        ..Limits::default()
    };
    let cases = [
        ("small", &small, usize::MAX, Limits::default()),
        ("small, body kept", &small, usize::MAX, keep),
        ("small, in pieces of 100 bytes", &small, 100, Limits::default()),
        ("chunked", &chunked, usize::MAX, Limits::default()),
        ("64 KiB in segments of 4 KiB", &large, 4096, Limits::default()),
    ];
    let mut group = criterion.benchmark_group("http1");
    group.throughput(Throughput::Elements(EXCHANGES));
    for (name, response, cut, limits) in cases {
        group.bench_function(name, |bencher| {
            let new = || http1::Connection::new(limits, Start::Fresh);
            bencher.iter(|| play(new(), REQUEST.as_bytes(), response.as_bytes(), cut));
        });
        group.bench_function(format!("{name}, whatever it speaks"), |bencher| {
            let new = || Connection::new(limits, Start::Fresh);
            bencher.iter(|| play(new(), REQUEST.as_bytes(), response.as_bytes(), cut));
        });
    }
    group.finish();
}

criterion_group!(benches, http1);
criterion_main!(benches);
