//! Captures made here: packets of conversations, wrapped and damaged in all ways, and what the tracker makes of them.

mod build;
mod formats;
mod fragments;
mod laws;
mod layers;
mod lines;
mod lives;
mod recorded;
mod wrap;

use std::io::Write;

use agent_common::Direction as Way;
use policy::FilterPolicy;
use tempfile::NamedTempFile;

use self::build::*;
use super::*;
use crate::attribution::{Attribution, Options};
use crate::source::Chunk;
use crate::tracker::{self, Call, Tracker};

/// A file with these bytes.
pub fn file_of(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// What came out of captures.
#[derive(Debug)]
pub struct Read {
    pub events: Vec<Told>,
    pub errors: Vec<String>,
    pub calls: Vec<Call>,
    pub counters: Counters,
    pub tracker: tracker::Counters,
}

/// An event that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Open {
        id: u64,
        fresh: bool,
        tuple: agent_common::Tuple,
    },
    Bytes {
        id: u64,
        way: Way,
        offset: u32,
        length: u32,
        flags: u8,
        data: Vec<u8>,
    },
    Close {
        id: u64,
        end: [u32; 2],
    },
}

impl Told {
    /// Of a piece of a stream, what was captured.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes { data, .. } => Some(data),
            _ => None,
        }
    }

    fn of(event: &Event<'_>) -> Self {
        match event {
            Event::Open(open) => Self::Open {
                id: open.connection,
                fresh: open.base.is_some(),
                tuple: open.tuple,
            },
            Event::Chunk(Chunk {
                connection,
                direction,
                offset,
                length,
                flags,
                data,
                ..
            }) => Self::Bytes {
                id: *connection,
                way: *direction,
                offset: *offset,
                length: *length,
                flags: *flags,
                data: data.to_vec(),
            },
            Event::Close(close) => Self::Close {
                id: close.connection,
                end: close.end,
            },
            other => panic!("not of a capture: {other:?}"),
        }
    }
}

/// Reads captures the way `replay` does: source, tracker, protocol.
pub fn read_with(files: &[&[u8]], limits: Limits) -> Read {
    let files: Vec<_> = files.iter().map(|bytes| file_of(bytes)).collect();
    let mut source = Source::new(files.iter().map(|file| file.path().to_owned()), limits);
    let nowhere = Options {
        proc_root: "/nowhere".into(),
        cgroup_root: "/nowhere".into(),
        state_root: "/nowhere".into(),
        passwd: "/nowhere".into(),
        ..Options::default()
    };
    let limits = tracker::Limits {
        connections: 1 << 16,
        idle_ns: 3_600_000_000_000,
        http: protocol::Limits::default(),
        parser_bytes: tracker::PARSER_BYTES_MAX,
        // Nobody could say more than the packets do.
        reconcile_ns: u64::MAX,
        rests: false,
    };
    let mut tracker = Tracker::new(limits, FilterPolicy::default());
    let mut attribution = Attribution::new(nowhere);
    let (mut events, mut errors, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let result = source.next(&mut |event| {
            events.push(Told::of(event));
            tracker.handle(event, &mut attribution, 0, &mut |call| calls.push(call));
        });
        match result {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => errors.push(error.to_string()),
        }
        tracker.tick(source.clock_ns(), &mut |call| calls.push(call));
        for order in tracker.take_orders() {
            source.obey(&order);
        }
    }
    tracker.finish_all(source.clock_ns(), &mut |call| calls.push(call));
    Read {
        events,
        errors,
        calls,
        counters: *source.counters(),
        tracker: *tracker.counters(),
    }
}

/// What the source alone tells of a capture.
pub fn tell(file: &[u8], limits: Limits) -> (Vec<Told>, Vec<String>, Counters) {
    let file = file_of(file);
    let mut source = Source::new([file.path().to_owned()], limits);
    let (mut events, mut errors) = (Vec::new(), Vec::new());
    loop {
        match source.next(&mut |event| events.push(Told::of(event))) {
            Ok(true) => {}
            Ok(false) => return (events, errors, *source.counters()),
            Err(error) => errors.push(error.to_string()),
        }
    }
}

pub fn read(file: &[u8]) -> Read {
    read_with(&[file], Limits::default())
}

impl Read {
    /// `CLIENT>SERVER METHOD TARGET STATUS FLAGS` of each call.
    pub fn lines(&self) -> Vec<String> {
        self.calls.iter().map(line).collect()
    }
}

fn line(call: &Call) -> String {
    let exchange = &call.exchange;
    let mut line = format!(
        "{}>{} {} {} {}",
        call.client,
        call.server,
        String::from_utf8_lossy(&exchange.request.method),
        String::from_utf8_lossy(&exchange.request.target),
        exchange
            .response
            .as_ref()
            .map_or("-".to_owned(), |response| response.status.to_string()),
    );
    for flag in exchange.flags.names() {
        line.push(' ');
        line.push_str(flag);
    }
    line
}
