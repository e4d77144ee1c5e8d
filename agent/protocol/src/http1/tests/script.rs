//! A conversation as a list of turns, and ways to deliver it.

use crate::http1::Connection;
use crate::{Boundary, Start};
use crate::{Counters, Direction, Exchange, Limits, Nanos};

/// Bytes that one side sent at one time.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) direction: Direction,
    pub(crate) offset: u64,
    pub(crate) time: Nanos,
    pub(crate) boundary: Boundary,
    pub(crate) data: Vec<u8>,
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            direction,
            offset,
            time,
            boundary,
            data,
        } = self;
        write!(
            f,
            "{direction:?} {offset} at {time} {boundary:?} {}",
            data.escape_ascii()
        )
    }
}

/// What is delivered to the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Sent(Sent),
    LeftOut(Direction, u64),
    Passed(Direction, u64, Nanos),
    Resume(Direction, u64, Nanos),
    Finish(Direction, Option<u64>),
}

/// Builds a conversation in its true order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) items: Vec<Item>,
    offsets: [u64; 2],
    last: Option<Direction>,
    time: Nanos,
}

impl Script {
    pub(crate) fn client(self, data: impl AsRef<[u8]>) -> Self {
        self.say(Direction::Request, data.as_ref())
    }

    pub(crate) fn server(self, data: impl AsRef<[u8]>) -> Self {
        self.say(Direction::Response, data.as_ref())
    }

    fn offset(&mut self, direction: Direction) -> &mut u64 {
        &mut self.offsets[usize::from(direction == Direction::Response)]
    }

    fn say(mut self, direction: Direction, data: &[u8]) -> Self {
        self.time += 10;
        let boundary = self.turn(direction);
        let offset = *self.offset(direction);
        *self.offset(direction) += data.len() as u64;
        let time = self.time;
        self.items.push(Item::Sent(Sent {
            direction,
            offset,
            time,
            boundary,
            data: data.to_vec(),
        }));
        self
    }

    fn turn(&mut self, direction: Direction) -> Boundary {
        let turn = self.last != Some(direction);
        self.last = Some(direction);
        if turn {
            Boundary::TurnStart
        } else {
            Boundary::Continued
        }
    }

    /// `len` bytes that are not delivered.
    pub(crate) fn lost(mut self, direction: Direction, len: u64) -> Self {
        self.time += 10;
        self.turn(direction);
        *self.offset(direction) += len;
        self
    }

    /// `len` bytes that are not delivered on purpose.
    pub(crate) fn left_out(mut self, direction: Direction, len: u64) -> Self {
        self = self.lost(direction, len);
        let until = *self.offset(direction);
        self.items.push(Item::LeftOut(direction, until));
        self
    }

    /// Both directions end, with their lengths known.
    pub(crate) fn end(self) -> Self {
        self.finish(Direction::Request).finish(Direction::Response)
    }

    pub(crate) fn finish(mut self, direction: Direction) -> Self {
        let offset = *self.offset(direction);
        self.items.push(Item::Finish(direction, Some(offset)));
        self
    }

    pub(crate) fn play(&self) -> Played {
        play(&self.items, Limits::default(), Start::Fresh)
    }
}

/// What came out.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) counters: Counters,
    pub(crate) connection: Connection,
}

/// Delivers the items and closes the connection.
pub(crate) fn play(items: &[Item], limits: Limits, start: Start) -> Played {
    let mut connection = Connection::new(limits, start);
    let mut exchanges = Vec::new();
    for item in items {
        match item {
            Item::Sent(Sent {
                direction,
                offset,
                time,
                boundary,
                data,
            }) => {
                connection.segment(*direction, *offset, *time, data, *boundary);
            }
            Item::LeftOut(direction, until) => connection.left_out(*direction, *until),
            Item::Passed(direction, until, time) => connection.passed(*direction, *until, *time),
            Item::Resume(direction, offset, time) => {
                connection.resume(*direction, *offset, *time);
            }
            Item::Finish(direction, offset) => connection.finish(*direction, *offset, 1 << 40),
        }
        exchanges.extend(std::iter::from_fn(|| connection.poll()));
    }
    connection.close(1 << 41);
    exchanges.extend(std::iter::from_fn(|| connection.poll()));
    exchanges.sort_by_key(|exchange| exchange.index);
    Played {
        exchanges,
        counters: *connection.counters(),
        connection,
    }
}

impl Played {
    /// One line an exchange: `METHOD target > status, request body, response body [flags]`, bodies as
    /// `wire/decoded bytes`, left out when there are none.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.exchanges.iter().map(line).collect()
    }
}

pub(crate) fn line(exchange: &Exchange) -> String {
    let Exchange {
        request,
        response,
        flags,
        ..
    } = exchange;
    let mut line = format!(
        "{} {}",
        request.method.escape_ascii(),
        request.target.escape_ascii()
    );
    if request.body.wire_bytes > 0 {
        line += &format!(" {}/{}", request.body.wire_bytes, request.body.decoded_bytes);
    }
    line += " >";
    if let Some(response) = response {
        line += &format!(" {}", response.status);
        if response.body.wire_bytes > 0 {
            line += &format!(" {}/{}", response.body.wire_bytes, response.body.decoded_bytes);
        }
    }
    for flag in flags.names() {
        line += &format!(" {flag}");
    }
    line
}

/// A short request, and a short answer.
pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What client and server say in turn; nothing when empty.
pub(crate) fn talk(turns: &[(&str, &str)]) -> Script {
    turns
        .iter()
        .fold(Script::default(), |script, (request, response)| {
            let script = if request.is_empty() {
                script
            } else {
                script.client(request)
            };
            if response.is_empty() {
                script
            } else {
                script.server(response)
            }
        })
}
