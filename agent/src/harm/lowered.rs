//! Workloads of which less than everything is captured, for the collector.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::guard::Lowering;
use super::report::whole;
use super::rung::Rung;

/// Rows told. As many as processes can be lowered would be a large part of each batch.
pub const LOWERED_MAX: usize = 64;

/// The processes of a workload that are on the same step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoweredRow {
    /// Workload; empty when nobody knows what the processes belong to.
    pub workload: String,
    /// How much of them is captured: headers, sampled-8, sampled-64, detached.
    pub level: String,
    /// How many there are.
    pub processes: u64,
    /// Since when less than everything is captured of the first of them, Unix epoch microseconds.
    pub since_us: i64,
    /// Microseconds per second that capturing added when one of them was lowered last; of the one to which most was added.
    pub added_us_per_s: u64,
    /// Microseconds per second that it may add to that one.
    pub allowed_us_per_s: u64,
}

/// Rows, those of which least is captured first, at most [`LOWERED_MAX`]; and how many more there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lowered {
    /// Rows.
    pub rows: Vec<LoweredRow>,
    /// How many more there are.
    pub more: u64,
}

/// Of processes, each with the name of its workload. `epoch_us`: 0 of the processes' clock, Unix epoch microseconds.
pub(super) fn summarise<'a>(
    processes: impl Iterator<Item = (&'a str, Rung, Lowering)>,
    epoch_us: i64,
) -> Lowered {
    struct Group {
        processes: u64,
        since_ns: u64,
        worst: Lowering,
    }
    // The lowest step first, then by name.
    let mut groups: BTreeMap<(std::cmp::Reverse<Rung>, &str), Group> = BTreeMap::new();
    for (workload, rung, lowering) in processes {
        let group = groups
            .entry((std::cmp::Reverse(rung), workload))
            .or_insert(Group {
                processes: 0,
                since_ns: lowering.since_ns,
                worst: lowering,
            });
        group.processes += 1;
        group.since_ns = group.since_ns.min(lowering.since_ns);
        if lowering.why.added_ns > group.worst.why.added_ns {
            group.worst = lowering;
        }
    }
    Lowered {
        more: groups.len().saturating_sub(LOWERED_MAX) as u64,
        rows: groups
            .into_iter()
            .take(LOWERED_MAX)
            .map(|((level, workload), group)| LoweredRow {
                workload: workload.to_owned(),
                level: level.0.name().to_owned(),
                processes: group.processes,
                since_us: epoch_us.saturating_add(i64::try_from(group.since_ns / 1000).unwrap_or(i64::MAX)),
                added_us_per_s: whole(group.worst.why.added_ns / 1e3),
                allowed_us_per_s: whole(group.worst.why.allowed_ns / 1e3),
            })
            .collect(),
    }
}

impl LoweredRow {
    /// For the collector.
    #[must_use]
    pub fn to_wire(&self) -> wire::v1::Lowered {
        wire::v1::Lowered {
            workload: self.workload.clone(),
            level: self.level.clone(),
            processes: self.processes,
            since_us: self.since_us,
            added_us_per_s: self.added_us_per_s,
            allowed_us_per_s: self.allowed_us_per_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harm::Load;

    fn lowering(since_ns: u64, added_ns: f64) -> Lowering {
        Lowering {
            since_ns,
            why: Load {
                added_ns,
                allowed_ns: added_ns / 2.0,
                ..Load::default()
            },
        }
    }

    #[test]
    fn a_row_for_each_workload_and_step_the_lowest_first() {
        let processes = [
            ("shop", Rung::Headers, lowering(7_000, 4e6)),
            ("web", Rung::Sampled8, lowering(9_000, 2e6)),
            ("", Rung::Headers, lowering(1_000, 1e6)),
            ("shop", Rung::Headers, lowering(5_000, 8e6)),
            ("shop", Rung::Detached, lowering(3_000, 6e6)),
        ];
        let row = |workload: &str, level: &str, processes, since_us, added_us_per_s| LoweredRow {
            workload: workload.to_owned(),
            level: level.to_owned(),
            processes,
            since_us,
            added_us_per_s,
            allowed_us_per_s: added_us_per_s / 2,
        };
        let lowered = summarise(processes.into_iter(), 1_000_000);
        assert_eq!(
            lowered.rows,
            [
                row("shop", "detached", 1, 1_000_003, 6_000),
                row("web", "sampled-8", 1, 1_000_009, 2_000),
                row("", "headers", 1, 1_000_001, 1_000),
                row("shop", "headers", 2, 1_000_005, 8_000),
            ]
        );
        assert_eq!(lowered.more, 0);
    }

    #[test]
    fn those_beyond_the_limit_are_counted() {
        let names: Vec<String> = (0..=LOWERED_MAX).map(|number| format!("w{number:03}")).collect();
        for (count, more) in [(LOWERED_MAX, 0), (LOWERED_MAX + 1, 1)] {
            let lowered = summarise(
                names[..count]
                    .iter()
                    .map(|name| (name.as_str(), Rung::Sampled64, lowering(0, 1.0))),
                0,
            );
            assert_eq!((lowered.rows.len(), lowered.more), (LOWERED_MAX, more));
        }
    }
}
