//! HTTP Archive 1.2 files: entries in, exchanges out.
//!
//! The file is read once, in memory that does not grow with it: the [`splitter`] finds the elements of `log.entries`, one element at a
//! time becomes an exchange. Bodies in an archive are without transfer and content coding already. What tools add beside the format is
//! used where it says more: `_client` (the client's address), `_ts` (epoch seconds), Chrome's `_webSocketMessages` and pseudo-header
//! fields.

mod body;
mod content;
mod convert;
mod entry;
mod error;
mod splitter;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod url;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::IpAddr;
use std::ops::ControlFlow;

use protocol::Exchange;

use self::convert::Converter;
pub use self::error::{HarError, Position, Reason};
use self::splitter::{Item, Splitter};
use crate::status::{Fate, PipelineDrop};
use crate::tracker::Address;

/// Longest entry that is read, bytes of JSON. A longer one is left out.
pub const ENTRY_BYTES_MAX: usize = 64 << 20;
/// Deepest nesting of an entry that is read. Entries of the format need eight levels.
pub const ENTRY_DEPTH_MAX: u32 = 64;
/// Header fields kept of a message.
pub const HEADERS_MAX: usize = 1024;
/// Fields of a form kept of a request that was archived without its text.
pub const PARAMS_MAX: usize = 4096;

/// An end of a connection, as far as the archive says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct End {
    /// Address.
    pub address: Option<IpAddr>,
    /// Port.
    pub port: Option<u16>,
}

impl From<&Address> for End {
    fn from(address: &Address) -> Self {
        Self {
            address: address.ip(),
            port: address.port(),
        }
    }
}

/// An entry.
#[derive(Debug)]
pub struct Entry {
    /// Its index in `log.entries`.
    pub index: u64,
    /// What went over the wire. Times are Unix epoch nanoseconds.
    pub exchange: Exchange,
    /// `_client`.
    pub client: End,
    /// `serverIPAddress` and the port of the URL.
    pub server: End,
    /// The URL's scheme is `https` or `wss`.
    pub secure: bool,
}

/// What came of an archive.
#[derive(Debug, Default)]
pub struct Summary {
    /// Elements of `log.entries` that were met, those left out included.
    pub entries: u64,
    /// Those left out, by reason: how many, and where the first one was.
    pub left_out: BTreeMap<Reason, (u64, FirstSeen)>,
    /// What was not as it should be, and kept.
    pub oddities: Oddities,
    /// What was counted of contents.
    pub counters: protocol::Counters,
}

/// What came of several archives.
#[derive(Debug, Default)]
pub struct Tally {
    left_out: BTreeMap<Reason, u64>,
    /// What was not as it should be, and kept.
    pub oddities: Oddities,
    /// What was counted of contents.
    pub counters: protocol::Counters,
}

impl Tally {
    /// Adds an archive.
    pub fn add(&mut self, summary: &Summary) {
        for (reason, (count, _)) in &summary.left_out {
            *self.left_out.entry(*reason).or_default() += count;
        }
        self.oddities += summary.oddities;
        self.counters += summary.counters;
    }

    /// What was left out.
    pub fn drops(&self) -> impl Iterator<Item = PipelineDrop> {
        self.left_out.iter().map(|(reason, events)| PipelineDrop {
            stage: "har",
            name: reason.name(),
            events: *events,
            meaning: reason.meaning(),
            fate: Fate::LeftOut,
        })
    }
}

/// Where something was first seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FirstSeen {
    /// Index of the entry.
    pub index: u64,
    /// Place in the file.
    pub position: Position,
    /// What was found there.
    pub detail: String,
}

macro_rules! oddities {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        impl std::ops::AddAssign for Oddities {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }

        /// Counts of what was not as it should be, and kept nevertheless.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Oddities {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        impl Oddities {
            /// Name, value and meaning of every count.
            pub fn explained(&self) -> impl Iterator<Item = (&'static str, u64, &'static str)> {
                [$((stringify!($name), self.$name, concat!($($doc),*).trim_ascii()),)*].into_iter()
            }
        }
    };
}

oddities! {
    /// Entries without a time that can be read: they get that of the entry before.
    without_time,
    /// Client addresses that are none.
    client_addresses_invalid,
    /// Header fields beyond the limit of a message.
    headers_too_many,
    /// Form fields beyond the limit of a request.
    params_too_many,
    /// Bodies whose Base64 is broken: read up to there.
    base64_broken,
}

/// Reads an archive from its first byte, a byte order mark allowed; `each` gets the entries in order and says whether to go on.
/// `limits` bound what is looked at of bodies. The summary holds what was read, also when the rest cannot be.
///
/// # Errors
/// The file cannot be read further: it is no JSON from there on, it is no archive, or the reader failed.
pub fn read(
    reader: impl Read,
    limits: protocol::Limits,
    mut each: impl FnMut(Entry) -> ControlFlow<()>,
) -> (Summary, Result<(), HarError>) {
    let mut splitter = Splitter::new(reader);
    let mut summary = Summary::default();
    let mut converter = Converter::new(limits);
    let outcome = loop {
        let (item, position) = match splitter.next() {
            Ok(Some(found)) => found,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        let index = summary.entries;
        summary.entries += 1;
        let converted = match item {
            Item::TooLarge => Err((Reason::TooLarge, String::new())),
            Item::TooDeep => Err((Reason::TooDeep, String::new())),
            Item::Text(text) => match converter.convert(text, index) {
                Ok(entry) => Ok(entry),
                Err(convert::Failure::LeftOut(reason, detail)) => Err((reason, detail)),
                Err(convert::Failure::Syntax(error)) => {
                    break Err(HarError::in_entry(index, position, &error));
                }
            },
        };
        match converted {
            Ok(entry) => {
                if each(entry).is_break() {
                    break Ok(());
                }
            }
            Err((reason, detail)) => {
                let first = FirstSeen {
                    index,
                    position,
                    detail,
                };
                summary.left_out.entry(reason).or_insert((0, first)).0 += 1;
            }
        }
    };
    summary.oddities = converter.oddities;
    summary.counters = converter.counters;
    (summary, outcome)
}
