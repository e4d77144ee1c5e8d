//! A connection that is fed frames made by hand.

use protocol::http2::Connection;
use protocol::{Boundary, Counters, Direction, Exchange, Flags, Limits, Start};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const WHOLE: u8 = END_STREAM | END_HEADERS;

/// `:method: GET`, `:scheme: http`, `:path: /`.
pub const GET: &[u8] = &[0x82, 0x86, 0x84];
/// `:status: 200`.
pub const OK: &[u8] = &[0x88];

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HPACK integer (RFC 7541 5.1).
pub fn integer(pattern: u8, bits: u32, value: usize) -> Vec<u8> {
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
pub fn literal(pattern: u8, name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![pattern];
    for text in [name, value] {
        bytes.extend(integer(0, 7, text.len()));
        bytes.extend(text.as_bytes());
    }
    bytes
}

pub fn resize(size: u32) -> Vec<u8> {
    integer(0x20, 5, size as usize)
}

/// A request for `path`, nothing of it in the table.
pub fn get(path: &str) -> Vec<u8> {
    [&[0x82, 0x86][..], &literal(0, ":path", path)].concat()
}

pub struct Wire {
    pub connection: Connection,
    pub offsets: [u64; 2],
    pub now: u64,
    pub counters: Counters,
}

impl Wire {
    pub fn with(limits: Limits, start: Start) -> Self {
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

    pub fn fresh() -> Self {
        Self::with(Limits::default(), Start::Fresh)
    }

    pub fn client(&mut self, data: &[u8]) {
        self.say(Direction::Request, data);
    }

    pub fn server(&mut self, data: &[u8]) {
        self.say(Direction::Response, data);
    }

    pub fn say(&mut self, direction: Direction, data: &[u8]) {
        self.now += 1000;
        let offset = &mut self.offsets[usize::from(direction == Direction::Response)];
        self.connection
            .segment(direction, *offset, self.now, data, Boundary::TurnStart);
        *offset += data.len() as u64;
        // As the agent does, which adds them up elsewhere.
        self.counters += self.connection.take_counters();
    }

    /// Exchanges that are out.
    pub fn take(&mut self) -> Vec<Exchange> {
        std::iter::from_fn(|| self.connection.poll()).collect()
    }

    pub fn close(&mut self) -> Vec<Exchange> {
        self.connection.close(self.now);
        self.counters += self.connection.take_counters();
        self.take()
    }

    /// One more exchange is read as it is.
    #[track_caller]
    pub fn still_reads(&mut self, stream: u32) {
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
