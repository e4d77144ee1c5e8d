//! Capture files (pcap, pcapng) as a source: packets to segments to streams, in the events that the live kernel gives.
//!
//! One [`Event::Open`] for each connection, as its server's end would report it, then its bytes in order, each byte once, then one
//! [`Event::Close`]. What is not in the capture comes as a [`Chunk`](super::Chunk) without bytes (`FAULT`), what the capture cut off as one
//! with fewer bytes than its length (`CAPPED`). No process is known: pid 0.
//!
//! # Invariants
//! Memory is bounded whatever the files hold ([`Limits`]); packets are read in place and copied only when they come out of order; no
//! clock but the packets' own. Every packet that leads to no bytes is counted.

mod capture;
mod classic;
mod counters;
mod decode;
mod error;
mod fields;
mod flow;
mod fragments;
mod input;
mod ip;
mod link;
mod pcapng;
mod stream;
mod table;
mod tcp;
#[cfg(test)]
mod tests;
mod tunnel;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use self::capture::is_capture;
use self::capture::{Capture, Frame};
pub use self::counters::Counters;
use self::decode::{Bytes, Decoder, Nothing};
pub use self::error::{Cause, Error};
use self::fragments::Piece;
use self::input::Input;
use self::pcapng::INTERFACES_MAX;
pub use self::table::Limits;
use self::table::Table;
use super::Event;
use crate::tracker::Order;

/// Longest packet that is believed, bytes: four times what tcpdump captures at most.
pub const PACKET_BYTES_MAX: usize = 1 << 20;

/// Most time between the last packet of a file and the first of the one that continues it, nanoseconds.
const PAUSE_NS: u64 = 60_000_000_000;
/// The latter may be so much earlier, nanoseconds: packets are not captured in the order of their times.
const DISORDER_NS: u64 = 1_000_000_000;

/// See the module's description.
pub struct Source {
    files: VecDeque<PathBuf>,
    open: Option<(PathBuf, Capture, u64)>,
    /// Bytes read of all files, before decompression.
    read: Arc<AtomicU64>,
    decoder: Decoder,
    table: Table,
    counters: Counters,
    finished: bool,
}

impl Source {
    /// Reads these files one after the other; `-` is the standard input. They are opened when their turn has come. Connections go on
    /// from a file to the next if that continues it: its first packet is not earlier, and at most a minute later.
    #[must_use]
    pub fn new(files: impl IntoIterator<Item = PathBuf>, limits: Limits) -> Self {
        Self {
            files: files.into_iter().collect(),
            open: None,
            read: Arc::new(AtomicU64::new(0)),
            decoder: Decoder::default(),
            table: Table::new(limits),
            counters: Counters::default(),
            finished: false,
        }
    }

    /// Reads a capture that is not in a file of its own; `name` stands for it in errors.
    ///
    /// # Errors
    /// It does not begin as a capture does.
    pub fn from_reader(
        name: PathBuf,
        reader: impl std::io::Read + Send + 'static,
        limits: Limits,
    ) -> Result<Self, Error> {
        let mut source = Self::new([], limits);
        let opened = Input::new(reader).map_err(|error| (0, Cause::Open(error)));
        source.begin(name, opened)?;
        Ok(source)
    }

    /// Reads a packet; the events that follow from it go to `out`. False after the last one: all connections are closed then.
    ///
    /// # Errors
    /// A file cannot be read, or not any further. The next call goes on with the next file.
    pub fn next(&mut self, out: &mut impl FnMut(&Event<'_>)) -> Result<bool, Error> {
        loop {
            let Some((path, capture, packets)) = &mut self.open else {
                match self.files.pop_front() {
                    Some(path) => self.open(path)?,
                    None => {
                        if !std::mem::replace(&mut self.finished, true) {
                            self.table.finish(&mut self.counters, out);
                        }
                        return Ok(false);
                    }
                }
                continue;
            };
            match capture.next() {
                Ok(Some(frame)) => {
                    if *packets == 0 && !continues(self.table.clock_ns(), frame.time_ns) {
                        self.counters.files_apart += 1;
                        self.table.restart(&mut self.counters, out);
                    }
                    *packets += 1;
                    self.counters.packets += 1;
                    packet(
                        &frame,
                        &mut self.decoder,
                        &mut self.table,
                        &mut self.counters,
                        out,
                    );
                    return Ok(true);
                }
                Ok(None) => self.open = None,
                Err(cause) => {
                    let error = Error {
                        path: std::mem::take(path),
                        offset: capture.offset(),
                        packets: *packets,
                        cause,
                    };
                    self.open = None;
                    self.counters.files_broken += 1;
                    return Err(error);
                }
            }
        }
    }

    fn open(&mut self, path: PathBuf) -> Result<(), Error> {
        let opened = Input::open(&path, Arc::clone(&self.read)).map_err(|error| (0, Cause::Open(error)));
        self.begin(path, opened)
    }

    fn begin(&mut self, path: PathBuf, opened: Result<Input, (u64, Cause)>) -> Result<(), Error> {
        self.counters.files += 1;
        match opened.and_then(Capture::new) {
            Ok(capture) => {
                self.open = Some((path, capture, 0));
                Ok(())
            }
            Err((offset, cause)) => {
                self.counters.files_broken += 1;
                Err(Error {
                    path,
                    offset,
                    packets: 0,
                    cause,
                })
            }
        }
    }

    /// Spares the work that the tracker does not want done.
    pub fn obey(&mut self, order: &Order) {
        match order {
            Order::Ignore { connection } | Order::LeaveOut { connection } => self.table.ignore(*connection),
            // What is skipped costs nothing here, and there are no processes.
            _ => {}
        }
    }

    /// The file that is being read.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.open.as_ref().map(|(path, ..)| path.as_path())
    }

    /// The packets' clock, nanoseconds since 1970: the latest time in any packet so far.
    #[must_use]
    pub const fn clock_ns(&self) -> u64 {
        self.table.clock_ns()
    }

    /// Name of the connection that began last; names grow. 0 before the first.
    #[must_use]
    pub const fn newest_connection(&self) -> u64 {
        self.table.newest()
    }

    /// Bytes read so far of all files, before decompression.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Whether a file whose first packet has this time continues those before it, as the files of a capture that is written to several do.
const fn continues(clock_ns: u64, time_ns: u64) -> bool {
    clock_ns == 0
        || (time_ns >= clock_ns.saturating_sub(DISORDER_NS) && time_ns <= clock_ns.saturating_add(PAUSE_NS))
}

fn packet<O: FnMut(&Event<'_>)>(
    frame: &Frame<'_>,
    decoder: &mut Decoder,
    table: &mut Table,
    counters: &mut Counters,
    out: &mut O,
) {
    let bytes = Bytes {
        data: frame.data,
        wire_bytes: frame.wire_bytes,
    };
    let decoded = decoder.frame(frame.link, bytes, frame.time_ns, &mut |segment| {
        counters.segments += 1;
        table.segment(segment, counters, out);
    });
    let Err(nothing) = decoded else {
        return;
    };
    let fragments = &decoder.fragments;
    counters.fragmented_expired = fragments.expired;
    counters.fragmented_evicted = fragments.evicted;
    let counter = match nothing {
        Nothing::UnknownLink => &mut counters.packets_unknown_link,
        Nothing::NotIp => &mut counters.packets_not_ip,
        Nothing::NotTcp => &mut counters.packets_not_tcp,
        Nothing::Broken => &mut counters.packets_broken,
        Nothing::TooDeep => &mut counters.packets_too_deep,
        Nothing::Piece(Piece::Waits) => &mut counters.fragments,
        Nothing::Piece(Piece::Again) => &mut counters.fragments_again,
        Nothing::Piece(Piece::Spoils) => &mut counters.fragments_spoilt,
    };
    *counter += 1;
}
