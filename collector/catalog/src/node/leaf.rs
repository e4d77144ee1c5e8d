//! A leaf of an API on its node, and what was counted of it since it was last given away.

use std::hash::Hasher;
use std::sync::Arc;

use super::Observation;
use crate::Method;
use crate::delta::{Counts, MINUTE_US, Standing};
use crate::limits::{Fold, Folded};
use crate::segment::{Coarseness, LeafPath};
use crate::stats::MinuteCounts;

/// Calls in the latest deltas (each older one counting half) below which a leaf and method are rare.
const RARE_CALLS: u64 = 8;

/// Takes the first eight bytes of a [`LeafId`](crate::LeafId), which is a hash already. How many leaves could be made to collide is bounded
/// by [`Limits::leaves`](crate::Limits::leaves).
#[derive(Debug, Default)]
pub(super) struct LeafHasher(u64);

impl Hasher for LeafHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_be_bytes(*first);
        }
    }

    /// Length prefixes say nothing here.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A leaf.
#[derive(Debug)]
pub(super) struct NodeLeaf {
    pub(super) path: LeafPath,
    pub(super) rendered: Arc<str>,
    pub(super) coarseness: Coarseness,
    pub(super) records: Vec<NodeRecord>,
    /// Deltas since its last call.
    pub(super) idle: u32,
}

/// What was counted of its calls of one method and standing.
#[derive(Debug)]
pub(super) struct NodeRecord {
    pub(super) method: Method,
    pub(super) standing: Standing,
    pub(super) counts: Counts,
    pub(super) minutes: Vec<(i64, MinuteCounts)>,
    /// Calls in the latest deltas, each older one counting half.
    pub(super) recent: u64,
}

impl NodeLeaf {
    /// Whether calls of this standing were counted.
    pub(super) fn has(&self, standing: Standing) -> bool {
        self.records.iter().any(|record| record.standing == standing)
    }

    /// What is counted of a method, made if need be.
    pub(super) fn record(&mut self, method: Method, standing: Standing) -> &mut NodeRecord {
        let at = self
            .records
            .iter()
            .position(|record| record.method == method && record.standing == standing);
        let at = at.unwrap_or_else(|| {
            let (counts, minutes) = (Counts::default(), Vec::new());
            self.records.push(NodeRecord {
                method,
                standing,
                counts,
                minutes,
                recent: 0,
            });
            self.records.len() - 1
        });
        self.records.get_mut(at).expect("found or pushed")
    }
}

impl NodeRecord {
    /// Few calls lately.
    pub(super) const fn is_rare(&self) -> bool {
        self.recent < RARE_CALLS
    }

    /// Counts a call in its minute.
    pub(super) fn minute(&mut self, minutes_max: usize, observation: &Observation<'_>, folded: &mut Folded) {
        let minute = observation.ts_us.div_euclid(MINUTE_US);
        let at = match self.minutes.binary_search_by_key(&minute, |(minute, _)| *minute) {
            Ok(at) => at,
            Err(at) if self.minutes.len() < minutes_max.max(1) => {
                self.minutes.insert(at, (minute, MinuteCounts::default()));
                at
            }
            Err(at) => {
                folded.add(Fold::Minutes, observation.weight);
                at.min(self.minutes.len().saturating_sub(1))
            }
        };
        if let Some((_, counts)) = self.minutes.get_mut(at) {
            counts.observe(observation);
        }
    }
}
