//! What went into the spool, what left it, and what was lost in it.

use super::Contents;

/// Why a batch, or what was left of one, will never be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The spool was at its limit of bytes or batches; the oldest went.
    SpoolFull,
    /// The disk could not be written and the buffer in memory was at its limit; the oldest in it went.
    MemoryFull,
    /// A single batch beyond what a record or the spool may hold.
    TooLarge,
    /// A record whose bytes changed on disk, or whose file is gone.
    Corrupt,
    /// The end of a segment that was being written when the machine or the agent stopped.
    TornTail,
    /// The collector could not understand it.
    Rejected,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::SpoolFull,
        Self::MemoryFull,
        Self::TooLarge,
        Self::Corrupt,
        Self::TornTail,
        Self::Rejected,
    ];

    /// Its name in metrics and in the agent's status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SpoolFull => "spool_full",
            Self::MemoryFull => "memory_full",
            Self::TooLarge => "too_large",
            Self::Corrupt => "corrupt",
            Self::TornTail => "torn_tail",
            Self::Rejected => "rejected",
        }
    }
}

/// A sum of lost batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Batches; a damaged stretch of a file counts as one.
    pub batches: u64,
    /// Single calls in them, where known.
    pub calls: u64,
    /// Catalog deltas in them, where known.
    pub deltas: u64,
    /// Bytes in the spool.
    pub bytes: u64,
}

/// Sums since the spool was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpoolCounters {
    /// Batches handed in.
    pub appended: u64,
    /// Batches found from earlier runs.
    pub recovered: u64,
    /// Batches that the collector acknowledged.
    pub acknowledged: u64,
    /// Times that writing to the disk failed.
    pub write_failures: u64,
    /// Times that flushing a finished segment failed.
    pub sync_failures: u64,
    lost: [Lost; DropReason::ALL.len()],
}

impl SpoolCounters {
    /// What was lost for one reason.
    #[must_use]
    pub fn lost(&self, reason: DropReason) -> Lost {
        self.lost.get(reason as usize).copied().unwrap_or_default()
    }

    /// What was lost, by reason; reasons that never happened included.
    pub fn losses(&self) -> impl Iterator<Item = (DropReason, Lost)> + '_ {
        DropReason::ALL
            .into_iter()
            .map(|reason| (reason, self.lost(reason)))
    }

    pub(super) fn drop_batch(&mut self, reason: DropReason, contents: Contents, bytes: usize) {
        if let Some(lost) = self.lost.get_mut(reason as usize) {
            lost.batches += 1;
            lost.calls += u64::from(contents.calls);
            lost.deltas += u64::from(contents.deltas);
            lost.bytes += bytes as u64;
        }
    }
}
