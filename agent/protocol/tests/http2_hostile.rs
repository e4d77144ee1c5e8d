//! Peers that play with what an observer keeps: header blocks, tables, streams. Nothing grows beyond its limit, and what is
//! sound is still read.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::http2::Connection;
use protocol::{Boundary, Counters, Direction, Exchange, Flags, Limits, Start};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const WHOLE: u8 = END_STREAM | END_HEADERS;

/// `:method: GET`, `:scheme: http`, `:path: /`.
const GET: &[u8] = &[0x82, 0x86, 0x84];
/// `:status: 200`.
const OK: &[u8] = &[0x88];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HPACK integer (RFC 7541 5.1).
fn integer(pattern: u8, bits: u32, value: usize) -> Vec<u8> {
    let most = (1 << bits) - 1;
    if value < most {
        return vec![pattern | value as u8];
    }
    let mut bytes = vec![pattern | most as u8];
    let mut rest = value - most;
    while rest >= 0x80 {
        bytes.push(0x80 | rest as u8);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// A literal field; `pattern` 0x40 puts it into the table.
fn literal(pattern: u8, name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![pattern];
    for text in [name, value] {
        bytes.extend(integer(0, 7, text.len()));
        bytes.extend(text.as_bytes());
    }
    bytes
}

fn resize(size: u32) -> Vec<u8> {
    integer(0x20, 5, size as usize)
}

/// A request for `path`, nothing of it in the table.
fn get(path: &str) -> Vec<u8> {
    [&[0x82, 0x86][..], &literal(0, ":path", path)].concat()
}

struct Wire {
    connection: Connection,
    offsets: [u64; 2],
    now: u64,
    counters: Counters,
}

impl Wire {
    fn with(limits: Limits, start: Start) -> Self {
        let mut wire = Self {
            connection: Connection::new(limits, start),
            offsets: [0; 2],
            now: 0,
            counters: Counters::default(),
        };
        if start == Start::Fresh {
            wire.client(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
            wire.server(&frame(SETTINGS, 0, 0, &[]));
        }
        wire
    }

    fn fresh() -> Self {
        Self::with(Limits::default(), Start::Fresh)
    }

    fn client(&mut self, data: &[u8]) {
        self.say(Direction::Request, data);
    }

    fn server(&mut self, data: &[u8]) {
        self.say(Direction::Response, data);
    }

    fn say(&mut self, direction: Direction, data: &[u8]) {
        self.now += 1000;
        let offset = &mut self.offsets[usize::from(direction == Direction::Response)];
        self.connection
            .segment(direction, *offset, self.now, data, Boundary::TurnStart);
        *offset += data.len() as u64;
        // As the agent does, which adds them up elsewhere.
        self.counters += self.connection.take_counters();
    }

    /// Exchanges that are out.
    fn take(&mut self) -> Vec<Exchange> {
        std::iter::from_fn(|| self.connection.poll()).collect()
    }

    fn close(&mut self) -> Vec<Exchange> {
        self.connection.close(self.now);
        self.counters += self.connection.take_counters();
        self.take()
    }

    /// One more exchange is read as it is.
    #[track_caller]
    fn still_reads(&mut self, stream: u32) {
        self.client(&frame(HEADERS, WHOLE, stream, &get("/after")));
        self.server(&frame(HEADERS, WHOLE, stream, OK));
        let out = self.take();
        let last = out.last().unwrap();
        assert_eq!(
            (last.stream, &last.request.target[..]),
            (Some(stream), &b"/after"[..])
        );
        assert_eq!(last.response.as_ref().unwrap().status, 200);
        assert_eq!(last.flags, Flags::default());
    }
}

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

const DATA: u8 = 0;

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
