//! Bodies that take much memory to keep or to decode.

use protocol::{Limits, Start};

use super::wire::*;
use super::{SLACK, resident, turn};

/// A response's head that says what its body is.
fn encoded(coding: &str) -> Vec<u8> {
    [
        OK,
        &literal(0, "content-type", "text/event-stream"),
        &literal(0, "content-encoding", coding),
    ]
    .concat()
}

/// A zstd frame with a window of 8 MiB, and as much content: it takes 90 KB, most of it to keep below the limit of the ratio.
fn large_window() -> Vec<u8> {
    let block = |kind: u32, size: u32| (kind << 1 | size << 3).to_le_bytes()[..3].to_vec();
    let mut content = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x68];
    for _ in 0..6 {
        content.extend(block(0, 15_000));
        content.extend([b'x'; 15_000]);
    }
    for _ in 0..64 {
        content.extend(block(1, 128 << 10));
        content.push(b'y');
    }
    content
}

/// Bodies whose decoders need much memory each, on many streams at once.
#[test]
fn windows_of_many_bodies() {
    let _turn = turn();
    let limits = Limits::default();
    let content = large_window();
    let mut wire = Wire::fresh();
    let before = resident();
    let mut most = 0;
    let streams = 100;
    for at in 0..streams {
        let stream = 2 * at + 1;
        wire.client(&frame(HEADERS, WHOLE, stream, GET));
        wire.server(&frame(HEADERS, END_HEADERS, stream, &encoded("zstd")));
        for piece in content.chunks(16_000) {
            wire.server(&frame(DATA, 0, stream, piece));
            most = most.max(resident().saturating_sub(before));
        }
    }
    // The C library gives pages back late.
    assert!(most < limits.open_bodies_bytes + 4 * SLACK, "{most}");
    assert!(
        wire.counters.bodies_beyond_limit > 50,
        "{}",
        wire.counters.bodies_beyond_limit
    );
    // A small body is read beside them.
    let events = b"data: a\n\ndata: b\n\n";
    wire.client(&frame(HEADERS, WHOLE, 2 * streams + 1, GET));
    wire.server(&frame(HEADERS, END_HEADERS, 2 * streams + 1, &encoded("zstd")));
    let small = zstd::encode_all(&events[..], 1).unwrap();
    wire.server(&frame(DATA, END_STREAM, 2 * streams + 1, &small));
    let out = wire.take();
    assert_eq!(out[0].response.as_ref().unwrap().body.messages.count, 2);
    assert_eq!(wire.close().len(), streams as usize);
}

/// Captured bytes of bodies that never end.
#[test]
fn captured_bytes_of_many_bodies() {
    let _turn = turn();
    let limits = Limits {
        body_bytes: 64 << 10,
        ..Limits::default()
    };
    let mut wire = Wire::with(limits, Start::Fresh);
    let before = resident();
    let post = [&[0x83, 0x86, 0x84][..], &literal(0, "content-type", "text/plain")].concat();
    for at in 0..1000 {
        wire.client(&frame(HEADERS, END_HEADERS, 2 * at + 1, &post));
        for _ in 0..4 {
            wire.client(&frame(DATA, 0, 2 * at + 1, &[b'x'; 16_384]));
        }
    }
    let grown = resident().saturating_sub(before);
    // Each that came when nothing was left kept its first piece.
    assert!(grown < limits.open_bodies_bytes + (16 << 20) + SLACK, "{grown}");
    let captured: usize = wire
        .close()
        .iter()
        .map(|exchange| exchange.request.body.captured.len())
        .sum();
    assert!(captured >= limits.open_bodies_bytes, "{captured}");
    assert!(wire.counters.bodies_beyond_limit >= 400);
}
