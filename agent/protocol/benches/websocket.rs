//! WebSocket messages per second of one core, as the bytes come from a socket.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocol::Direction;
use protocol::websocket::{Extensions, Reader};

const MESSAGES: u64 = 1000;

/// `MESSAGES` frames of text.
fn frames(len: u16, masked: bool) -> Vec<u8> {
    let mut frame = vec![0x81, 126 | if masked { 0x80 } else { 0 }];
    frame.extend(len.to_be_bytes());
    if masked {
        frame.extend([1, 2, 3, 4]);
    }
    frame.resize(frame.len() + usize::from(len), b'x');
    frame.repeat(MESSAGES as usize)
}

fn websocket(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("websocket");
    group.throughput(Throughput::Elements(MESSAGES));
    for (name, len, body_bytes, cut) in [
        ("200 bytes", 200, 0, 4096),
        ("200 bytes, in pieces of 100 bytes", 200, 0, 100),
        ("16 KiB", 16 << 10, 0, 4096),
        ("16 KiB, kept", 16 << 10, usize::MAX, 4096),
    ] {
        let data = frames(len, true);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut reader = Reader::new(Direction::Request, Extensions::default(), body_bytes);
                for piece in data.chunks(cut) {
                    reader.data(black_box(piece));
                }
                assert_eq!(reader.finish().count, MESSAGES);
                reader
            });
        });
    }
    group.finish();
}

criterion_group!(benches, websocket);
criterion_main!(benches);
