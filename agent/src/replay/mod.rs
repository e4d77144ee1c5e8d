//! Files in, results out: captures and archives through the way of the data that the live kernel takes, without a kernel.
//!
//! Invariants: the same input gives the same bytes; memory does not grow with the input; of a file that is broken, what comes before
//! the break is used; the directory of results never holds half of them.

mod application;
mod endpoints;
mod input;
mod json;
mod known;
mod line;
mod output;
mod parts;
mod report;
mod sequence;
mod sink;
mod spill;
mod tally;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use policy::{CapturePolicy, FilterPolicy};

use self::input::Format;
use self::output::Staging;
use self::report::FileReport;
use self::sequence::{Boundaries, Boundary};
use self::sink::{Arrival, Sink};
use self::spill::Key;
pub use self::spill::RUN_BYTES;
use crate::attribution::{Attribution, Options as AttributionOptions};
use crate::pipeline::redaction_drops;
use crate::source::file;
use crate::source::har::{self, End};
use crate::source::pcap;
use crate::status::{Fate, PipelineDrop, Rows};
use crate::tracker::{self, Call, Tracker};

/// Packets or entries between two looks at the order to stop and at the progress.
const ROUND: u64 = 1024;
/// Connections that are followed at a time: as many as the capture source tells apart.
const CONNECTIONS_MAX: usize = 1 << 16;
/// When a connection of which nothing is heard gives up what it holds: the capture source ends it before.
const IDLE_NS: u64 = 3_600_000_000_000;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether values are written as they are.
    pub reveal: bool,
    /// Where results go.
    pub out_dir: PathBuf,
    /// Files, one sequence.
    pub files: Vec<PathBuf>,
    /// Lines kept in memory, bytes: [`RUN_BYTES`].
    pub run_bytes: usize,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read of the files.
    pub bytes: u64,
    /// Exchanges so far.
    pub exchanges: u64,
}

/// What came of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How far it got.
    pub done: Progress,
    /// Files that could not be read, or not to their end: which and why.
    pub failures: Vec<String>,
    /// It was told to stop.
    pub stopped: bool,
}

/// Replays files. `stop` other than 0 ends the reading; what is done is kept. `tell` hears of the progress now and then.
///
/// # Errors
/// Results cannot be written; those of an earlier replay are untouched. A file that cannot be read is no error, see [`Outcome`].
pub fn replay(options: &Options, stop: &AtomicUsize, tell: &mut dyn FnMut(Progress)) -> Result<Outcome> {
    let staging = Staging::new(&options.out_dir)?;
    let mut replay = Replay {
        sink: Sink::new(staging.dir(), options.run_bytes, options.reveal),
        files: Vec::with_capacity(options.files.len()),
        rows: Rows::default(),
        archives: har::Tally::default(),
        read: Arc::new(AtomicU64::new(0)),
        captures_read: 0,
        stop,
        tell,
        failure: Ok(()),
    };
    let mut captures = Vec::new();
    for path in &options.files {
        let index = replay.begin(path)?;
        let format = if replay.stopped() {
            None
        } else {
            replay.format(index, path)
        };
        match format {
            Some(Format::Capture) => captures.push((index, path.clone())),
            Some(Format::Har) => {
                replay.captures(std::mem::take(&mut captures))?;
                replay.archive(index, path)?;
            }
            // It does not stand between two captures.
            None => {}
        }
    }
    replay.captures(captures)?;
    replay.finish(options, staging)
}

struct Replay<'a> {
    sink: Sink,
    files: Vec<FileReport>,
    rows: Rows,
    archives: har::Tally,
    /// Bytes read of archives.
    read: Arc<AtomicU64>,
    /// Bytes read of captures.
    captures_read: u64,
    stop: &'a AtomicUsize,
    tell: &'a mut dyn FnMut(Progress),
    /// Why the last line could not be kept.
    failure: std::io::Result<()>,
}

impl Replay<'_> {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) != 0
    }

    fn progress(&self) -> Progress {
        Progress {
            bytes: self.read.load(Ordering::Relaxed) + self.captures_read,
            exchanges: self.sink.tally.exchanges(),
        }
    }

    fn begin(&mut self, path: &Path) -> Result<u32> {
        let index = u32::try_from(self.files.len()).context("too many files")?;
        self.files.push(FileReport::new(path));
        Ok(index)
    }

    fn file(&mut self, index: u32) -> Option<&mut FileReport> {
        self.files.get_mut(index as usize)
    }

    fn format(&mut self, index: u32, path: &Path) -> Option<Format> {
        let format = input::format(path);
        let file = self.file(index)?;
        match format {
            Ok(format) => {
                file.format = Some(format.name());
                Some(format)
            }
            Err(error) => {
                file.error = Some(error.to_string());
                None
            }
        }
    }

    fn archive(&mut self, index: u32, path: &Path) -> Result<()> {
        let limits = http_limits();
        let name = self.file(index).map(|file| file.json.clone()).unwrap_or_default();
        let reader = match file::open(path, Arc::clone(&self.read)) {
            Ok(reader) => reader,
            Err(error) => {
                if let Some(file) = self.file(index) {
                    file.error = Some(format!("cannot be opened: {error}"));
                }
                return Ok(());
            }
        };
        let each = |entry: har::Entry| {
            let arrival = Arrival {
                exchange: &entry.exchange,
                client: entry.client,
                server: entry.server,
                key: Key {
                    file: index,
                    first: entry.index,
                    ..Key::default()
                },
                file: &name,
                secure: entry.secure,
            };
            self.failure = self.sink.take(&arrival);
            if entry.index.is_multiple_of(ROUND) {
                let progress = self.progress();
                (self.tell)(progress);
            }
            if self.stopped() || self.failure.is_err() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let (summary, outcome) = har::read(reader, limits, each);
        std::mem::replace(&mut self.failure, Ok(())).context("cannot keep calls")?;
        self.archives.add(&summary);
        if let Some(file) = self.file(index) {
            file.entries = Some(summary.entries);
            file.left_out(&summary);
            file.error = outcome.err().map(|error| error.to_string());
        }
        Ok(())
    }

    /// Captures that follow each other are one: connections go on in the next.
    fn captures(&mut self, files: Vec<(u32, PathBuf)>) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let limits = tracker::Limits {
            connections: CONNECTIONS_MAX,
            idle_ns: IDLE_NS,
            http: http_limits(),
            parser_bytes: tracker::PARSER_BYTES_MAX,
            // Nobody could say more than the packets do.
            reconcile_ns: u64::MAX,
            rests: false,
        };
        let mut tracker = Tracker::new(limits, FilterPolicy::default());
        let mut attribution = nobody();
        let paths = files.iter().map(|(_, path)| path.clone());
        let mut source = pcap::Source::new(paths, pcap::Limits::default());
        let mut boundaries = Boundaries::default();
        let mut waiting = files.iter().map(|(index, _)| *index);
        let names: Vec<Vec<u8>> = self.files.iter().map(|file| file.json.clone()).collect();
        let read_before = self.captures_read;
        let mut packets = 0u64;
        let mut more = true;
        while more && !self.stopped() && self.failure.is_ok() {
            let mut calls = Calls {
                sink: &mut self.sink,
                failure: &mut self.failure,
                boundaries: &boundaries,
                names: &names,
            };
            let before = (
                source.clock_ns(),
                source.newest_connection(),
                source.counters().files,
            );
            let (clock_ns, newest, opened) = before;
            let result = source.next(&mut |event| {
                tracker.handle(event, &mut attribution, clock_ns, &mut |call| calls.take(&call));
            });
            packets += 1;
            if packets.is_multiple_of(ROUND) {
                tracker.tick(source.clock_ns(), &mut |call| calls.take(&call));
                self.captures_read = read_before + source.bytes_read();
                let progress = self.progress();
                (self.tell)(progress);
            }
            for order in tracker.take_orders() {
                source.obey(&order);
            }
            for _ in opened..source.counters().files {
                boundaries.extend(waiting.next().map(|file| Boundary {
                    file,
                    clock_ns,
                    newest,
                }));
            }
            match result {
                Ok(found) => more = found,
                Err(error) => {
                    if let Some(file) = boundaries.last().and_then(|file| self.file(file)) {
                        let pcap::Error {
                            offset,
                            packets,
                            cause,
                            ..
                        } = error;
                        file.error = Some(format!(
                            "byte {offset}: {cause}; the {packets} packets before are used"
                        ));
                    }
                }
            }
        }
        let mut calls = Calls {
            sink: &mut self.sink,
            failure: &mut self.failure,
            boundaries: &boundaries,
            names: &names,
        };
        tracker.finish_all(source.clock_ns(), &mut |call| calls.take(&call));
        self.captures_read = read_before + source.bytes_read();
        self.rows.stage("pcap", source.counters().explained());
        self.rows.stage("tracker", tracker.counters().explained());
        self.rows
            .stage("protocol", tracker.protocol_counters().explained());
        std::mem::replace(&mut self.failure, Ok(())).context("cannot keep calls")
    }

    /// What is known now is all: writes the results.
    fn finish(mut self, options: &Options, staging: Staging) -> Result<Outcome> {
        let outcome = Outcome {
            done: self.progress(),
            failures: self.files.iter().filter_map(FileReport::failure).collect(),
            stopped: self.stopped(),
        };
        self.rows.pipeline(self.archives.drops());
        self.rows.stage("har", self.archives.oddities.explained());
        self.rows.stage("protocol", self.archives.counters.explained());
        let Sink {
            redactor,
            hosts,
            endpoints,
            spill,
            texts,
            tally,
            schemes,
            ..
        } = self.sink;
        self.rows
            .pipeline(redaction_drops(redactor.counters(), hosts.hosts.counters()));
        let learnt = endpoints.finish("", catalog::Side::Server);
        let entries: Vec<Option<u64>> = self.files.iter().map(|file| file.entries).collect();
        let lines = report::calls(&staging, (spill, &texts), &learnt.names, &entries)?;
        for (file, count) in self.files.iter_mut().zip(lines) {
            file.exchanges = count;
        }
        let endpoints = report::inventory(&staging, &learnt)?;
        report::openapi(&staging, &learnt, &schemes)?;
        report::empty(&staging)?;
        self.rows
            .pipeline(learnt.folded.iter().map(|(name, events)| PipelineDrop {
                stage: "catalog",
                name,
                events: *events,
                meaning: "calls beyond this limit of the catalog: counted with others",
                fate: Fate::LeftOut,
            }));
        let summary = report::Summary {
            files: &self.files,
            stopped: outcome.stopped,
            revealed: options.reveal,
            calls: tally.report(),
            paths_unknown: tally.paths_unknown,
            hosts: learnt.apis.len(),
            endpoints,
        };
        report::summary(&staging, summary, self.rows.finish())?;
        staging.publish()?;
        Ok(outcome)
    }
}

/// Where exchanges of captures go.
struct Calls<'a> {
    sink: &'a mut Sink,
    failure: &'a mut std::io::Result<()>,
    boundaries: &'a Boundaries,
    names: &'a [Vec<u8>],
}

impl Calls<'_> {
    fn take(&mut self, call: &Call) {
        let exchange = &call.exchange;
        let file = self
            .boundaries
            .file_of(call.connection, exchange.request.first_byte);
        let arrival = Arrival {
            exchange,
            client: End::from(&call.client),
            server: End::from(&call.server),
            key: Key {
                file,
                first: exchange.request.first_byte,
                second: call.connection,
                third: exchange.index,
            },
            file: self.names.get(file as usize).map_or(&b"null"[..], Vec::as_slice),
            secure: false,
        };
        if self.failure.is_ok() {
            *self.failure = self.sink.take(&arrival);
        }
    }
}

/// As on a node where no call captures bodies.
fn http_limits() -> protocol::Limits {
    protocol::Limits {
        body_bytes: CapturePolicy::default().capture.body_bytes.get() as usize,
        ..protocol::Limits::default()
    }
}

/// Knows no process: those of a capture are of another time and place. Nothing lies below a device.
fn nobody() -> Attribution {
    let nowhere = PathBuf::from("/dev/null");
    Attribution::new(AttributionOptions {
        proc_root: nowhere.clone(),
        cgroup_root: nowhere.clone(),
        state_root: nowhere.clone(),
        passwd: nowhere,
        ..AttributionOptions::default()
    })
}
