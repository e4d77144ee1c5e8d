//! What a connection says that it keeps, against what the process takes for many of them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::io::Write;
use std::sync::LazyLock;

use protocol::Direction::{Request, Response};
use protocol::{Boundary, Connection, Direction, Limits, Start};

/// What all connections of a case are to take together, bytes, about: enough to be told from what else the process does.
const TOGETHER: usize = 6 << 20;
/// What may be there beside the connections.
const SLACK: usize = 1 << 20;

/// Bytes of the process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}

const NOISE_BYTES: usize = 512 << 10;

/// Incompressible.
fn noise(len: usize) -> &'static [u8] {
    static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        std::iter::repeat_with(next).take(NOISE_BYTES).collect()
    });
    &NOISE[..len]
}

/// Said in pieces as they come from a network.
struct Wire {
    connection: Connection,
    offsets: [u64; 2],
}

impl Wire {
    fn new() -> Self {
        let limits = Limits {
            body_bytes: 64 << 10,
            ..Limits::default()
        };
        Self {
            connection: Connection::new(limits, Start::Fresh),
            offsets: [0; 2],
        }
    }

    fn say(&mut self, direction: Direction, data: impl AsRef<[u8]>) -> &mut Self {
        for piece in data.as_ref().chunks(1448) {
            let offset = &mut self.offsets[direction as usize];
            let boundary = Boundary::TurnStart;
            self.connection.segment(direction, *offset, 1, piece, boundary);
            *offset += piece.len() as u64;
            while self.connection.poll().is_some() {}
        }
        self
    }

    fn coded(coding: &str, body: &[u8]) -> Self {
        let mut wire = Self::new();
        wire.say(
            Request,
            format!("POST / HTTP/1.1\r\nContent-Type: application/grpc\r\nContent-Encoding: {coding}\r\nContent-Length: 99999999\r\n\r\n"),
        );
        wire.say(Request, body);
        wire
    }

    fn websocket() -> Self {
        let mut wire = Self::new();
        wire.say(
            Request,
            "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        wire.say(
            Response,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        );
        wire
    }

    fn http2() -> Self {
        let mut wire = Self::new();
        wire.say(
            Request,
            [
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(),
                &frame(4, 0, 0, b""),
            ]
            .concat(),
        );
        wire.say(Response, frame(4, 0, 0, b""));
        wire
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// One message of gRPC, which goes on behind what was encoded: the decoder waits for more.
fn message(encode: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let plain = [&b"\0\x7f\xff\xff\xff"[..], noise(NOISE_BYTES)].concat();
    let mut coded = encode(&plain);
    coded.truncate(coded.len() - 20);
    coded
}

static GZIP: LazyLock<Vec<u8>> = LazyLock::new(|| {
    message(|plain| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    })
});

static BROTLI: LazyLock<Vec<u8>> = LazyLock::new(|| {
    message(|plain| {
        let params = brotli::enc::BrotliEncoderParams {
            quality: 1,
            lgwin: 22,
            ..Default::default()
        };
        let mut out = Vec::new();
        brotli::BrotliCompress(&mut &plain[..], &mut out, &params).unwrap();
        out
    })
});

static ZSTD: LazyLock<Vec<u8>> = LazyLock::new(|| message(|plain| zstd::encode_all(plain, 1).unwrap()));

/// A case: what it is, and one connection of it.
type Case = (&'static str, fn(u64) -> Wire);

const CASES: &[Case] = &[
    ("bodies that are being captured", |_| {
        let mut wire = Wire::new();
        wire.say(Request, "POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n");
        wire.say(Request, noise(60 << 10));
        wire
    }),
    ("bodies in chunks", |_| {
        let mut wire = Wire::new();
        wire.say(Request, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..50 {
            wire.say(Request, [b"3e8\r\n", noise(1000), b"\r\n"].concat());
        }
        wire
    }),
    ("trailers in chunks", |seed| {
        let mut wire = Wire::new();
        wire.say(
            Request,
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        );
        for n in 0..800 {
            wire.say(Request, format!("Field-{n}: {seed:040}-{n}\r\n"));
        }
        wire
    }),
    ("gzip", |_| Wire::coded("gzip", &GZIP)),
    ("br", |_| Wire::coded("br", &BROTLI)),
    ("zstd", |_| Wire::coded("zstd", &ZSTD)),
    ("heads that are not complete", |seed| {
        let mut wire = Wire::new();
        wire.say(Request, format!("GET / HTTP/1.1\r\nX: {seed:060000}"));
        wire
    }),
    ("requests that wait for their answers", |seed| {
        let mut wire = Wire::new();
        for n in 0..100 {
            wire.say(
                Request,
                format!("GET /{n} HTTP/1.1\r\nCookie: {seed:04000}\r\n\r\n"),
            );
        }
        wire
    }),
    ("many fields", |seed| {
        let mut wire = Wire::new();
        for n in 0..100 {
            let fields: String = (0..100).map(|field| format!("f{field}: {seed}{n}\r\n")).collect();
            wire.say(Request, format!("GET /{n} HTTP/1.1\r\n{fields}\r\n"));
        }
        wire
    }),
    ("calls that wait for their answers, with their bodies", |seed| {
        let mut wire = Wire::new();
        for n in 0..100 {
            let call = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"m{n}\",\"id\":{seed}}},");
            let calls = format!("[{}{{}}]", call.repeat(100));
            wire.say(
                Request,
                format!("POST /{n} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{calls}", calls.len()),
            );
        }
        wire
    }),
    ("answers that wait for their requests", |_| {
        let mut wire = Wire::new();
        wire.say(Response, "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n");
        wire.say(Response, noise(56 << 10));
        wire
    }),
    ("bytes of which nobody knows yet what they are", |_| {
        let mut wire = Wire::new();
        wire.say(
            Response,
            [frame(4, 0, 0, b""), frame(0, 0, 1, noise(56 << 10))].concat(),
        );
        wire
    }),
    ("WebSocket", |_| {
        let mut wire = Wire::websocket();
        for _ in 0..55 {
            let text = [&b"\x82\x7e\x03\xe8"[..], noise(1000)].concat();
            wire.say(Response, text);
        }
        wire
    }),
    ("WebSocket with compression", |_| {
        let mut wire = Wire::websocket();
        for _ in 0..55 {
            let text = [&b"\xc2\x7e\x03\xe8"[..], noise(1000)].concat();
            wire.say(Response, text);
        }
        wire
    }),
    ("WebSocket over HTTP/2", |_| {
        let mut wire = Wire::http2();
        let field = |name: &str, value: &str| {
            [
                &[0, name.len() as u8][..],
                name.as_bytes(),
                &[value.len() as u8],
                value.as_bytes(),
            ]
            .concat()
        };
        let connect = [
            field(":method", "CONNECT"),
            field(":protocol", "websocket"),
            field(":scheme", "http"),
            field(":path", "/"),
            field(":authority", "a"),
        ];
        wire.say(Request, frame(1, 4, 1, &connect.concat()));
        wire.say(Response, frame(1, 4, 1, b"\x88"));
        for _ in 0..55 {
            let text = [&b"\x82\x7e\x03\xe8"[..], noise(1000)].concat();
            wire.say(Response, frame(0, 0, 1, &text));
        }
        wire
    }),
    ("HTTP/2 streams with bodies", |_| {
        let mut wire = Wire::http2();
        for n in 0..10 {
            wire.say(Request, frame(1, 4, 2 * n + 1, b"\x83\x86\x84"));
            wire.say(Request, frame(0, 0, 2 * n + 1, noise(10_000)));
        }
        wire
    }),
    ("HPACK tables", |seed| {
        let mut wire = Wire::http2();
        let text = format!("{:0100}", seed);
        for n in 0..35 {
            let field = [
                &b"\x40\x03"[..],
                format!("{n:03}").as_bytes(),
                &[100],
                text.as_bytes(),
            ]
            .concat();
            wire.say(
                Request,
                frame(1, 5, 2 * n + 1, &[b"\x83\x86\x84", &field[..]].concat()),
            );
            wire.say(Response, frame(1, 5, 2 * n + 1, b"\x88"));
        }
        wire
    }),
];

/// In one process, and nothing is given back, so that no case lives on what another one left.
#[test]
fn connections_take_what_they_say() {
    let mut all = Vec::new();
    for (name, connect) in CASES {
        let (before, others) = (resident(), all.len());
        let mut said = 0;
        while said < TOGETHER && resident() < before + 4 * TOGETHER {
            let wire = connect(all.len() as u64);
            said += wire.connection.memory_bytes();
            all.push(wire);
        }
        let taken = resident() - before;
        println!(
            "{name}: {} connections took {taken} bytes and say {said}",
            all.len() - others
        );
        assert!(
            taken <= said + said / 2 + SLACK,
            "{name}: {taken} bytes, not {said}"
        );
        assert!(
            said <= 3 * taken + SLACK,
            "{name}: {said} bytes, and only {taken} taken"
        );
    }
}
