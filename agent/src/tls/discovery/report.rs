//! What `doctor` shows of discovery.

use serde::{Deserialize, Serialize};

use super::{Attach, Discovery, Inspect};
use crate::tls::library::{Finding, State};

/// Most rows of libraries; those with the most processes come first.
const ROWS_MAX: usize = 100;

/// A picture of discovery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// TLS libraries are looked for.
    pub enabled: bool,
    /// Why the kernel does not tell of mappings; empty when it does.
    pub events_error: String,
    /// Processors that are listened to.
    pub processors: usize,
    /// Memory of their buffers, bytes.
    pub buffer_bytes: usize,
    /// Processes followed.
    pub processes: usize,
    /// Files known.
    pub files: usize,
    /// Files probed.
    pub probed: usize,
    /// All processes are being looked at.
    pub scanning: bool,
    /// What was found.
    pub libraries: Vec<LibraryRow>,
    /// Rows that are not in it.
    pub more: usize,
}

/// Files with the same finding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryRow {
    /// Which library; empty when the file could not be looked into.
    pub library: String,
    /// Its version, where it says one.
    pub version: String,
    /// What became of it.
    pub state: String,
    /// Why, where that is not clear.
    pub reason: String,
    /// Files.
    pub files: u32,
    /// Processes that use them now.
    pub processes: u32,
}

impl LibraryRow {
    fn of(finding: &Finding) -> Self {
        let reason = match &finding.state {
            State::Rejected(reason) | State::AttachFailed(reason) => reason.clone(),
            State::Attached | State::NoSymbols | State::Unsupported => String::new(),
        };
        Self {
            library: finding.library.map_or("", |name| name.name()).to_owned(),
            version: finding.version.clone().unwrap_or_default(),
            state: finding.state.name().to_owned(),
            reason,
            files: 0,
            processes: 0,
        }
    }

    fn same(&self, other: &Self) -> bool {
        (&self.library, &self.version, &self.state, &self.reason)
            == (&other.library, &other.version, &other.state, &other.reason)
    }
}

impl<I: Inspect, A: Attach> Discovery<I, A> {
    /// How it is now.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut libraries: Vec<LibraryRow> = Vec::new();
        for (finding, processes) in self.inodes.findings() {
            let row = LibraryRow::of(finding);
            let at = libraries.iter().position(|known| known.same(&row));
            let at = at.unwrap_or_else(|| {
                libraries.push(row);
                libraries.len() - 1
            });
            if let Some(row) = libraries.get_mut(at) {
                row.files += 1;
                row.processes += processes;
            }
        }
        libraries.sort_by(|a, b| {
            let order = |row: &LibraryRow| (row.library.is_empty(), std::cmp::Reverse(row.processes));
            order(a)
                .cmp(&order(b))
                .then_with(|| (&a.library, &a.version).cmp(&(&b.library, &b.version)))
        });
        let more = libraries.len().saturating_sub(ROWS_MAX);
        libraries.truncate(ROWS_MAX);
        let events = self.events.as_ref();
        Report {
            enabled: true,
            events_error: events.err().cloned().unwrap_or_default(),
            processors: events.map_or(0, |events| events.cpus()),
            buffer_bytes: events.map_or(0, |events| events.bytes()),
            processes: self.processes.len(),
            files: self.inodes.files(),
            probed: self.inodes.probed(),
            scanning: self.scan.is_some() || self.scan_wanted,
            libraries,
            more,
        }
    }
}
