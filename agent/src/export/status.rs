//! What the exporter does at the moment, for `doctor`, metrics and the log.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::failure::{Failure, FailureKind};
use crate::spool::{Backlog, SharedSpool, SpoolCounters};

/// Where the exporter stands with the collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Trying for the first time.
    #[default]
    Connecting,
    /// The collector has welcomed this agent.
    Connected,
    /// Waiting for, or in, another attempt after a failure.
    Retrying,
    /// The exporter has ended.
    Stopped,
}

impl Link {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Retrying => "retrying",
            Self::Stopped => "stopped",
        }
    }
}

/// Sums since the exporter was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportCounters {
    /// Welcomes received.
    pub connections: u64,
    /// Batches given to a connection, repeated ones included.
    pub sent: u64,
    /// Batches given to a connection that had been given to an earlier one.
    pub resent: u64,
    /// Acknowledgements that emptied the spool.
    pub acknowledged: u64,
    /// Batches that the collector refused for good.
    pub rejected: u64,
    /// Acknowledgements of batches that were not on their way.
    pub unknown_acks: u64,
    /// Policies put into force.
    pub policies_applied: u64,
    /// Policies that could not be.
    pub policies_refused: u64,
    failures: [u64; FailureKind::ALL.len()],
}

impl ExportCounters {
    /// Attempts and connections that ended, by kind; kinds that never happened included.
    pub fn failures(&self) -> impl Iterator<Item = (FailureKind, u64)> + '_ {
        FailureKind::ALL.into_iter().zip(self.failures)
    }
}

/// A picture of the exporter.
#[derive(Clone, Debug, Default)]
pub struct ExportStatus {
    /// Where it stands.
    pub link: Link,
    /// The collector's, while or since it was connected.
    pub collector_version: Option<String>,
    /// This end of the newest connection.
    pub local_address: Option<SocketAddr>,
    /// Why the last attempt or connection ended: cause and remedy. Kept after a later success.
    pub last_error: Option<Failure>,
    /// Version of the policy in force, 0 for none.
    pub policy_version: u64,
    /// Batches on their way.
    pub in_flight: usize,
    /// Sums.
    pub counters: ExportCounters,
    /// What waits in the spool.
    pub backlog: Backlog,
    /// Sums of the spool, what it lost among them.
    pub spool: SpoolCounters,
    /// Why batches wait in memory only, while they do.
    pub spool_trouble: Option<String>,
}

/// Written by the exporter, read by anyone.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<ExportStatus>);

impl Shared {
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut ExportStatus) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut ExportCounters)) {
        self.update(|status| change(&mut status.counters));
    }

    pub(super) fn failed(&self, failure: &Failure) {
        self.update(|status| {
            status.link = Link::Retrying;
            status.last_error = Some(failure.clone());
            status.in_flight = 0;
            if let Some(count) = status.counters.failures.get_mut(failure.kind as usize) {
                *count += 1;
            }
        });
    }
}

/// Reads the exporter's status from anywhere.
#[derive(Clone, Debug)]
pub struct ExportMonitor {
    pub(super) shared: Arc<Shared>,
    pub(super) spool: SharedSpool,
}

impl ExportMonitor {
    /// The picture now.
    #[must_use]
    pub fn status(&self) -> ExportStatus {
        let mut status = self.shared.update(|status| status.clone());
        let spool = self.spool.lock();
        status.backlog = spool.backlog();
        status.spool = spool.counters();
        status.spool_trouble = spool.trouble().map(ToString::to_string);
        status
    }
}

/// Decides what is told in the log: every change, no repetition. A collector that welcomes and fails again and again is
/// one state, until it takes something.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    told: Option<Told>,
    /// Whether the last connection that was welcomed took nothing, so far.
    idle: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Connected,
    Failed(FailureKind),
}

impl Announcer {
    /// Whether to tell of a welcome.
    pub(super) fn welcomed(&mut self) -> bool {
        let tell = !std::mem::replace(&mut self.idle, true);
        if tell {
            self.told = Some(Told::Connected);
        }
        tell
    }

    /// Whether to tell, now, of a connection that was not told of at its welcome.
    pub(super) fn progressed(&mut self) -> bool {
        self.idle = false;
        self.told.replace(Told::Connected) != Some(Told::Connected)
    }

    /// Whether to tell of a failure.
    pub(super) fn failed(&mut self, kind: FailureKind) -> bool {
        self.told.replace(Told::Failed(kind)) != Some(Told::Failed(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_once() {
        let mut log = Announcer::default();
        assert!(log.failed(FailureKind::Unreachable));
        assert!(!log.failed(FailureKind::Unreachable));
        assert!(log.failed(FailureKind::NotGrpc));
        assert!(log.welcomed());
        assert!(!log.progressed());
        assert!(log.failed(FailureKind::Closed));
        assert!(log.welcomed(), "it had made progress");
        assert!(log.failed(FailureKind::Closed));
        for _ in 0..10 {
            assert!(!log.welcomed(), "no progress since");
            assert!(!log.failed(FailureKind::Closed));
        }
        assert!(!log.welcomed());
        assert!(log.progressed());
        assert!(!log.progressed());
    }
}
