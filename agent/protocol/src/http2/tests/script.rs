//! A conversation as a list of segments, and ways to deliver it.

use super::wire::{PREFACE, concat, settings};
use crate::http2::Connection;
use crate::{Application, Body, Boundary, Counters, Direction, Exchange, Limits, Nanos, Start};

/// What is delivered to the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Sent(Sent),
    Passed(Direction, u64, Nanos),
    Finish(Direction, Option<u64>),
}

/// Bytes that one side sent at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) direction: Direction,
    pub(crate) offset: u64,
    pub(crate) time: Nanos,
    pub(crate) data: Vec<u8>,
}

/// Builds a conversation in its true order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) items: Vec<Item>,
    offsets: [u64; 2],
    time: Nanos,
}

impl Script {
    /// Both sides have said what they begin with.
    pub(crate) fn begun() -> Self {
        Self::default()
            .client(concat(&[PREFACE.to_vec(), settings(&[])]))
            .server(settings(&[]))
    }

    pub(crate) fn client(self, data: impl AsRef<[u8]>) -> Self {
        self.say(Direction::Request, data.as_ref())
    }

    pub(crate) fn server(self, data: impl AsRef<[u8]>) -> Self {
        self.say(Direction::Response, data.as_ref())
    }

    pub(crate) fn say(mut self, direction: Direction, data: &[u8]) -> Self {
        self.time += 10;
        let offset = *self.offset(direction);
        *self.offset(direction) += data.len() as u64;
        self.items.push(Item::Sent(Sent {
            direction,
            offset,
            time: self.time,
            data: data.to_vec(),
        }));
        self
    }

    pub(crate) fn wait(mut self, nanoseconds: u64) -> Self {
        self.time += nanoseconds;
        self
    }

    fn offset(&mut self, direction: Direction) -> &mut u64 {
        &mut self.offsets[usize::from(direction == Direction::Response)]
    }

    /// `len` bytes that are not delivered.
    pub(crate) fn lost(mut self, direction: Direction, len: u64) -> Self {
        self.time += 10;
        *self.offset(direction) += len;
        self
    }

    /// `len` bytes that are not delivered on purpose.
    pub(crate) fn passed(mut self, direction: Direction, len: u64) -> Self {
        self = self.lost(direction, len);
        let until = *self.offset(direction);
        self.items.push(Item::Passed(direction, until, self.time));
        self
    }

    /// Both directions end, with their lengths known.
    pub(crate) fn end(mut self) -> Self {
        for direction in [Direction::Request, Direction::Response] {
            let offset = *self.offset(direction);
            self.items.push(Item::Finish(direction, Some(offset)));
        }
        self
    }

    pub(crate) fn play(&self) -> Played {
        play(&self.items, Limits::default(), Start::Fresh)
    }

    pub(crate) fn play_with(&self, limits: Limits) -> Played {
        play(&self.items, limits, Start::Fresh)
    }

    /// What came out before the connection was closed.
    pub(crate) fn early(&self) -> Vec<String> {
        let mut connection = Connection::new(Limits::default(), Start::Fresh);
        for item in &self.items {
            deliver(&mut connection, item);
        }
        std::iter::from_fn(|| connection.poll())
            .map(|exchange| line(&exchange))
            .collect()
    }
}

/// What came out.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) counters: Counters,
    pub(crate) connection: Connection,
}

pub(crate) fn deliver(connection: &mut Connection, item: &Item) {
    match item {
        Item::Sent(sent) => {
            connection.segment(
                sent.direction,
                sent.offset,
                sent.time,
                &sent.data,
                Boundary::Continued,
            );
        }
        Item::Passed(direction, until, time) => connection.passed(*direction, *until, *time),
        Item::Finish(direction, offset) => connection.finish(*direction, *offset, 1 << 40),
    }
}

/// Delivers the items and closes the connection.
pub(crate) fn play(items: &[Item], limits: Limits, start: Start) -> Played {
    play_on(Connection::new(limits, start), items)
}

pub(crate) fn play_on(mut connection: Connection, items: &[Item]) -> Played {
    let mut exchanges = Vec::new();
    for item in items {
        deliver(&mut connection, item);
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
    /// One line an exchange: see [`line`].
    pub(crate) fn lines(&self) -> Vec<String> {
        self.exchanges.iter().map(line).collect()
    }
}

/// `stream METHOD target > status`, each followed by its body as `wire/decoded bytes` and trailers as `+n` where
/// there are any, and by unknown fields as `?n`; then flags.
pub(crate) fn line(exchange: &Exchange) -> String {
    let Exchange {
        request,
        response,
        flags,
        stream,
        application,
        ..
    } = exchange;
    let mut line = format!(
        "{} {} {}{}",
        stream.unwrap(),
        request.method.escape_ascii(),
        request.target.escape_ascii(),
        body(&request.body, request.headers_unknown)
    );
    line += " >";
    if let Some(response) = response {
        line += &format!(
            " {}{}",
            response.status,
            body(&response.body, response.headers_unknown)
        );
        if response.interim > 0 {
            line += &format!(" interim {}", response.interim);
        }
    }
    for flag in flags.names() {
        line += &format!(" {flag}");
    }
    if *application != Application::Http {
        line += &format!(" {}", application.name());
    }
    line
}

fn body(body: &Body, unknown: u32) -> String {
    let mut text = String::new();
    if body.wire_bytes > 0 {
        text += &format!(" {}/{}", body.wire_bytes, body.decoded_bytes);
    }
    if !body.trailers.is_empty() {
        text += &format!(" +{}", body.trailers.len());
    }
    if unknown > 0 {
        text += &format!(" ?{unknown}");
    }
    text
}
