//! Peers that play with what an observer keeps: header blocks, tables, streams. Nothing grows beyond its limit, and what is
//! sound is still read.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod bodies;
mod wire;

use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::{Flags, Limits, Start};
use wire::*;

/// Resident memory of this process, bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Tests that take memory, or look how much is taken, do it one after the other.
static MEMORY: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How far memory may grow beyond what limits say: allocators round, and keep what was freed.
const SLACK: usize = 8 << 20;

/// A head whose status is unknown, answered twice, with the counters taken in between.
#[test]
fn counters_taken_do_not_run_below_zero() {
    let _turn = turn();
    let mut wire = Wire::with(Limits::default(), Start::Late);
    wire.client(&frame(HEADERS, WHOLE, 1, GET));
    // Index 62 is from before the join: it may be the status.
    wire.server(&frame(HEADERS, END_HEADERS, 1, &[0xbe]));
    wire.server(&frame(HEADERS, WHOLE, 1, OK));
    let out = wire.close();
    assert_eq!(out[0].response.as_ref().unwrap().status, 200);
    assert_eq!(wire.counters.requests, 1);
    assert!(wire.counters.responses <= 2, "{}", wire.counters.responses);
}

/// Bytes that wait for a request are counted until they are gone, whatever heads come.
#[test]
fn held_bytes_are_given_back() {
    let _turn = turn();
    let mut wire = Wire::with(
        Limits {
            held_bytes: 1000,
            ..Limits::default()
        },
        Start::Late,
    );
    wire.server(&frame(HEADERS, WHOLE, 1, OK));
    for stream in (3..403).step_by(2) {
        wire.server(&frame(HEADERS, END_HEADERS, stream, &[0xbe]));
        wire.server(&frame(0, 0, stream, &[b'x'; 100]));
        wire.server(&frame(HEADERS, END_HEADERS, stream, OK));
        wire.server(&frame(0, END_STREAM, stream, &[b'x'; 100]));
        wire.client(&frame(HEADERS, WHOLE, stream, GET));
    }
    assert_eq!(wire.counters.held_overflow, 0);
}

/// An attacker opens streams and leaves them open. What comes later is seen, and each of them comes out.
#[test]
fn open_streams_do_not_hide_others() {
    let _turn = turn();
    let mut wire = Wire::fresh();
    let opened = 100_000;
    let mut out = 0;
    for at in 0..opened {
        wire.client(&frame(HEADERS, END_HEADERS, 2 * at + 1, GET));
        for exchange in wire.take() {
            assert!(exchange.flags.contains(Flags::UNPAIRED) && exchange.flags.contains(Flags::TRUNCATED));
            out += 1;
        }
    }
    assert_eq!(out, opened - Limits::default().streams as u32);
    assert_eq!(wire.counters.streams_beyond_limit, u64::from(out));
    wire.still_reads(2 * opened + 1);
    assert_eq!(wire.close().len(), Limits::default().streams - 1);
}

/// A server promises without end and keeps nothing of it.
#[test]
fn promises_do_not_hide_requests() {
    let _turn = turn();
    let mut wire = Wire::fresh();
    wire.client(&frame(HEADERS, END_HEADERS, 1, GET));
    for at in 0..10_000_u32 {
        let promised = (2 * at + 2).to_be_bytes();
        wire.server(&frame(
            PUSH_PROMISE,
            END_HEADERS,
            1,
            &[&promised[..], GET].concat(),
        ));
    }
    wire.still_reads(3);
    assert_eq!(wire.counters.pushes, 10_000);
}

/// A million streams with heads as large as allowed: 64 GB went by.
#[test]
fn heads_of_open_streams_are_bounded() {
    let _turn = turn();
    let limits = Limits::default();
    let mut wire = Wire::fresh();
    let value = "v".repeat(15_000);
    let mut block = GET.to_vec();
    for name in ["a", "b", "c", "d"] {
        block.extend(literal(0, name, &value));
    }
    let before = resident();
    let mut most = 0;
    for at in 0..2000 {
        wire.client(&frame(HEADERS, END_HEADERS, 2 * at + 1, &block));
        wire.server(&frame(HEADERS, END_HEADERS, 2 * at + 1, &block[3..]));
        drop(wire.take());
        most = most.max(resident().saturating_sub(before));
    }
    assert!(most < limits.open_heads_bytes + SLACK, "{most}");
    wire.still_reads(4001);
}

/// CONTINUATION frames without END_HEADERS: empty, of a byte, large.
#[test]
fn continuations_without_end() {
    let _turn = turn();
    for piece in [0, 1, 16_384] {
        let mut wire = Wire::fresh();
        wire.client(&frame(HEADERS, END_STREAM, 1, GET));
        let continuation = frame(CONTINUATION, 0, 1, &vec![0x82; piece]);
        let before = resident();
        let mut most = 0;
        for _ in 0..100_000 / (piece + 1).min(100) {
            wire.client(&continuation);
            most = most.max(resident().saturating_sub(before));
        }
        assert!(most < SLACK, "{piece}: {most}");
        assert!(wire.counters.heads_too_large <= 1);
        wire.client(&frame(CONTINUATION, END_HEADERS, 1, &[]));
        wire.still_reads(3);
    }
}

/// Rapid reset (CVE-2023-44487): open and reset, over and over.
#[test]
fn rapid_resets() {
    let _turn = turn();
    let mut wire = Wire::fresh();
    let mut out = 0;
    for at in 0..100_000_u32 {
        let stream = 2 * at + 1;
        let both = [
            frame(HEADERS, WHOLE, stream, GET),
            frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()),
        ];
        wire.client(&both.concat());
        out += wire.take().len();
        assert!(at as usize + 1 - out <= Limits::default().pending_requests);
    }
    wire.still_reads(200_001);
    assert_eq!(wire.counters.streams_reset, 100_000);
}

/// A table of any size, filled, emptied, filled again: no more is kept than the limit, and every index is right.
#[test]
fn table_sizes_up_and_down() {
    let _turn = turn();
    let limits = Limits::default();
    let mut wire = Wire::fresh();
    let before = resident();
    for at in 0..400_u32 {
        let path = format!("/{at}/{}", "p".repeat(4000));
        let size = [u32::MAX, 0, 1 << 20, 5000][at as usize % 4];
        // Sizes without end at the begin of a block; the last counts.
        let block = [
            resize(0).repeat(3000),
            resize(size),
            vec![0x82, 0x86],
            literal(0x40, ":path", &path),
        ];
        wire.client(&frame(HEADERS, WHOLE, 4 * at + 1, &block.concat()));
        // A size of 0 holds nothing: the index is refused.
        wire.client(&frame(HEADERS, WHOLE, 4 * at + 3, &[0x82, 0x86, 0xbe]));
        wire.server(&frame(HEADERS, WHOLE, 4 * at + 1, OK));
        wire.server(&frame(HEADERS, WHOLE, 4 * at + 3, OK));
        let out = wire.take();
        assert_eq!(out.len(), if size == 0 { 1 } else { 2 }, "{at}");
        for exchange in out {
            assert_eq!(exchange.request.target, path.as_bytes());
        }
    }
    assert_eq!(wire.counters.header_blocks_malformed, 100);
    assert!(resident().saturating_sub(before) < limits.hpack_table_bytes + SLACK);
}

/// A block of references to one large value, in frames as small as can be.
#[test]
fn references_in_pieces() {
    let _turn = turn();
    let limits = Limits::default();
    let mut wire = Wire::fresh();
    let large = [&get("/large")[..], &literal(0x40, "a", &"v".repeat(4000))].concat();
    wire.client(&frame(HEADERS, WHOLE, 1, &large));
    for at in 0..20 {
        let stream = 2 * at + 3;
        let mut frames = frame(HEADERS, END_STREAM, stream, &get("/bomb"));
        for _ in 0..600 {
            frames.extend(frame(CONTINUATION, 0, stream, &[0xbe; 100]));
        }
        frames.extend(frame(CONTINUATION, END_HEADERS, stream, &[]));
        wire.client(&frames);
    }
    let out = wire.close();
    assert_eq!(out.len(), 21);
    for exchange in &out[1..] {
        let bytes: usize = exchange
            .request
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + 32)
            .sum();
        assert!(bytes <= limits.header_list_bytes && exchange.request.headers.len() == 16);
        assert_eq!(exchange.request.target, "/bomb");
    }
    assert_eq!(wire.counters.header_lists_too_large, 20);
}

/// A header list that is cut still changes the table as a whole one.
#[test]
fn a_cut_list_leaves_the_table_right() {
    let _turn = turn();
    let limits = Limits {
        headers: 4,
        ..Limits::default()
    };
    let mut wire = Wire::with(limits, Start::Fresh);
    let block = [
        &get("/cut")[..],
        &literal(0, "a", "b").repeat(10),
        &literal(0x40, ":path", "/kept"),
    ]
    .concat();
    wire.client(&frame(HEADERS, WHOLE, 1, &block));
    wire.client(&frame(HEADERS, WHOLE, 3, &[0x82, 0x86, 0xbe]));
    let out = wire.close();
    assert_eq!(
        out.iter()
            .map(|exchange| &exchange.request.target[..])
            .collect::<Vec<_>>(),
        [&b"/cut"[..], b"/kept"]
    );
    assert_eq!(out[0].request.headers.len(), 1);
    assert_eq!(wire.counters.headers_too_many, 1);
}

/// Responses that wait for their requests, with bytes missing in between.
#[test]
fn held_bytes_are_given_back_behind_a_gap() {
    let _turn = turn();
    let limits = Limits {
        held_bytes: 1000,
        ..Limits::default()
    };
    let mut wire = Wire::with(limits, Start::Fresh);
    for stream in (1..101).step_by(2) {
        wire.server(
            &[
                frame(HEADERS, END_HEADERS, stream, OK),
                frame(DATA, 0, stream, &[b'x'; 100]),
            ]
            .concat(),
        );
        wire.offsets[1] += 20;
        wire.server(&frame(DATA, END_STREAM, stream, &[b'x'; 100]));
        wire.client(&frame(HEADERS, WHOLE, stream, GET));
    }
    assert_eq!(wire.close().len(), 50);
    assert_eq!(wire.counters.held_overflow, 0);
}
