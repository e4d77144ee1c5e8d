//! Whole connections as sequences of operations.

use protocol::{
    Boundary, Connection, Counters, Direction, Exchange, Flags, Limits, Nanos, Start, Version, http1, http2,
};

use crate::input::Input;

/// What is done to a connection.
#[derive(Clone, Copy, Debug)]
enum Operation<'a> {
    Segment(Direction, Boundary, &'a [u8]),
    /// So many bytes are missing.
    Gap(Direction, u64),
    LeftOut(Direction, u64),
    Passed(Direction, u64),
    /// Whether the length of the stream is known.
    Finish(Direction, bool),
    /// Bytes that came before come again.
    Again(Direction, &'a [u8]),
    Poll,
}

/// How a connection is begun, and all that is done to it.
struct Script<'a> {
    start: Start,
    limits: Limits,
    operations: Vec<Operation<'a>>,
}

impl<'a> Script<'a> {
    fn of(data: &'a [u8]) -> Self {
        let mut input = Input(data);
        let options = input.byte();
        let mut limits = Limits {
            body_bytes: if options & 2 == 0 { 0 } else { 64 },
            // What is held counts by segments: splitting must not change the answer.
            held_bytes: 1 << 22,
            ..Limits::default()
        };
        if options & 4 != 0 {
            limits.head_bytes = 256;
            limits.headers = 4;
            limits.streams = 3;
            limits.header_list_bytes = 256;
            limits.hpack_table_bytes = 128;
            limits.pending_requests = 2;
            limits.chunk_line_bytes = 8;
        }
        if options & 8 != 0 {
            limits.held_bytes = 256;
        }
        let mut operations = Vec::new();
        let mut last = None;
        while !input.is_empty() {
            let code = input.byte();
            let direction = if code & 1 == 0 {
                Direction::Request
            } else {
                Direction::Response
            };
            let operation = match code >> 1 & 15 {
                0..=6 => {
                    let len = usize::from(input.byte());
                    Operation::Segment(direction, boundary(last, direction), input.bytes(len))
                }
                7 | 8 => {
                    let len = usize::from(input.short());
                    Operation::Segment(direction, boundary(last, direction), input.bytes(len))
                }
                9 => Operation::Gap(direction, input.byte().into()),
                10 => Operation::Gap(direction, u64::from(input.short()) << (input.byte() % 40)),
                11 => Operation::LeftOut(direction, input.short().into()),
                12 => Operation::Passed(direction, input.short().into()),
                13 => {
                    let len = usize::from(input.byte());
                    Operation::Again(direction, input.bytes(len))
                }
                14 => Operation::Poll,
                _ => Operation::Finish(direction, code & 32 == 0),
            };
            if let Operation::Segment(direction, ..) = operation {
                last = Some(direction);
            }
            operations.push(operation);
        }
        Self {
            start: if options & 1 == 0 {
                Start::Fresh
            } else {
                Start::Late
            },
            limits,
            operations,
        }
    }

    /// Every byte is seen, in order, and there is room for all that may have to wait.
    fn is_whole(&self) -> bool {
        let whole = |operation: &Operation<'_>| {
            matches!(
                operation,
                Operation::Segment(..) | Operation::Finish(..) | Operation::Poll
            )
        };
        self.start == Start::Fresh && self.limits.held_bytes > 256 && self.operations.iter().all(whole)
    }
}

fn boundary(last: Option<Direction>, direction: Direction) -> Boundary {
    if last == Some(direction) {
        Boundary::Continued
    } else {
        Boundary::TurnStart
    }
}

/// What every connection can do.
trait Reads: Sized {
    fn begin(limits: Limits, start: Start) -> Self;
    fn segment(&mut self, direction: Direction, offset: u64, time: Nanos, data: &[u8], boundary: Boundary);
    fn left_out(&mut self, direction: Direction, until: u64);
    fn passed(&mut self, direction: Direction, until: u64, time: Nanos);
    fn finish(&mut self, direction: Direction, final_offset: Option<u64>, time: Nanos);
    fn close(&mut self, time: Nanos);
    fn poll(&mut self) -> Option<Exchange>;
    fn look(&self);
    fn count(&mut self) -> Counters;
}

macro_rules! reads {
    ($($type:ty),*) => {
        $(impl Reads for $type {
            fn begin(limits: Limits, start: Start) -> Self {
                Self::new(limits, start)
            }

            fn segment(&mut self, direction: Direction, offset: u64, time: Nanos, data: &[u8], boundary: Boundary) {
                Self::segment(self, direction, offset, time, data, boundary);
            }

            fn left_out(&mut self, direction: Direction, until: u64) {
                Self::left_out(self, direction, until);
            }

            fn passed(&mut self, direction: Direction, until: u64, time: Nanos) {
                Self::passed(self, direction, until, time);
            }

            fn finish(&mut self, direction: Direction, final_offset: Option<u64>, time: Nanos) {
                Self::finish(self, direction, final_offset, time);
            }

            fn close(&mut self, time: Nanos) {
                Self::close(self, time);
            }

            fn poll(&mut self) -> Option<Exchange> {
                Self::poll(self)
            }

            fn look(&self) {
                let _ = (self.wants(Direction::Request), self.wants(Direction::Response));
            }

            fn count(&mut self) -> Counters {
                self.take_counters()
            }
        })*
    };
}

reads!(Connection, http1::Connection, http2::Connection);

/// Plays a script; segments are cut into pieces of at most `piece` bytes.
fn play<C: Reads>(script: &Script<'_>, piece: usize) -> (Vec<Exchange>, Counters) {
    let mut connection = C::begin(script.limits, script.start);
    let mut exchanges = Vec::new();
    let mut offsets = [0_u64; 2];
    let mut time = 0;
    for operation in &script.operations {
        time += 1_000_000;
        let offset = |offsets: &mut [u64; 2], direction: Direction, by: u64| {
            let [request, response] = offsets;
            let place = match direction {
                Direction::Request => request,
                Direction::Response => response,
            };
            let before = *place;
            *place = place.saturating_add(by);
            before
        };
        match *operation {
            Operation::Segment(direction, mut boundary, data) => {
                for data in data.chunks(piece) {
                    let at = offset(&mut offsets, direction, data.len() as u64);
                    connection.segment(direction, at, time, data, boundary);
                    boundary = Boundary::Continued;
                }
            }
            Operation::Gap(direction, bytes) => {
                offset(&mut offsets, direction, bytes);
            }
            Operation::LeftOut(direction, bytes) => {
                let until = offset(&mut offsets, direction, bytes).saturating_add(bytes);
                connection.left_out(direction, until);
            }
            Operation::Passed(direction, bytes) => {
                let until = offset(&mut offsets, direction, bytes).saturating_add(bytes);
                connection.passed(direction, until, time);
            }
            Operation::Again(direction, data) => {
                let at = offset(&mut offsets, direction, 0).saturating_sub(data.len() as u64 / 2);
                connection.segment(direction, at, time, data, Boundary::Continued);
            }
            Operation::Finish(direction, known) => {
                let at = offset(&mut offsets, direction, 0);
                connection.finish(direction, known.then_some(at), time);
            }
            Operation::Poll => {
                connection.look();
                exchanges.extend(connection.poll());
            }
        }
    }
    connection.close(time + 1_000_000);
    exchanges.extend(std::iter::from_fn(|| connection.poll()));
    (exchanges, connection.count())
}

/// What holds of every exchange, whatever the bytes were.
fn check(exchange: &Exchange, limits: &Limits) {
    let request = &exchange.request;
    assert!(request.headers.len() <= limits.headers && request.body.captured.len() <= limits.body_bytes);
    assert!(request.last_byte >= request.first_byte);
    if request.version != Version::Http2 {
        assert!(!request.method.is_empty() && !request.target.is_empty());
        assert!(request.authority.is_none() && request.headers_unknown == 0);
    }
    match &exchange.response {
        None => assert!(exchange.flags.contains(Flags::UNPAIRED)),
        Some(response) => {
            assert!(response.headers.len() <= limits.headers);
            assert!(response.body.captured.len() <= limits.body_bytes);
            assert!(response.last_byte >= response.first_byte);
            let known = (100..=999).contains(&response.status);
            assert!(known || (response.status == 0 && response.version == Version::Http2));
            assert!(!exchange.flags.contains(Flags::UNPAIRED));
        }
    }
}

fn run<C: Reads>(data: &[u8]) {
    let script = Script::of(data);
    let (whole, _) = play::<C>(&script, usize::MAX);
    assert!(whole.len() <= data.len());
    for exchange in &whole {
        check(exchange, &script.limits);
    }
    for piece in [1, 5] {
        let (split, counters) = play::<C>(&script, piece);
        if script.is_whole() && counters.held_overflow == 0 {
            assert_eq!(split, whole, "in pieces of {piece}");
        } else {
            split.iter().for_each(|exchange| check(exchange, &script.limits));
        }
    }
}

/// A connection whatever it speaks.
pub fn any(data: &[u8]) {
    run::<Connection>(data);
}

/// One that is read as HTTP/1.
pub fn http1(data: &[u8]) {
    run::<http1::Connection>(data);
}

/// One that is read as HTTP/2.
pub fn http2(data: &[u8]) {
    run::<http2::Connection>(data);
}

/// The beginning of a connection: the PROXY header is the same however it is cut.
pub fn proxy(data: &[u8]) {
    let header = |piece: usize| {
        let mut connection = Connection::new(Limits::default(), Start::Fresh);
        let mut offset = 0;
        for data in data.chunks(piece) {
            connection.segment(Direction::Request, offset, 1, data, Boundary::TurnStart);
            offset += data.len() as u64;
        }
        connection.close(2);
        let exchanges = std::iter::from_fn(|| connection.poll()).count();
        (connection.proxy_header().copied(), exchanges)
    };
    let whole = header(usize::MAX);
    for piece in [1, 7] {
        assert_eq!(header(piece), whole, "in pieces of {piece}");
    }
}
