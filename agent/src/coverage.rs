//! How much of each workload was read: as it goes to the collector, and as it is shown on the node.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::v1::{CoverageDelta, CoverageKind, CoveredBytes};

use crate::tracker::{Fates, Kind};

/// Increments as they travel.
#[must_use]
pub fn to_wire(increments: Vec<(String, Fates)>, provider: &str) -> Vec<CoverageDelta> {
    let covered = |fates: &Fates| {
        fates
            .iter()
            .map(|(fate, bytes)| CoveredBytes {
                kind: match fate.kind() {
                    Kind::Read => CoverageKind::Read,
                    Kind::LeftOut => CoverageKind::LeftOut,
                    Kind::Missed => CoverageKind::Missed,
                }
                .into(),
                reason: fate.name().to_owned(),
                bytes,
            })
            .collect()
    };
    increments
        .into_iter()
        .map(|(workload, fates)| CoverageDelta {
            workload,
            provider: provider.to_owned(),
            bytes: covered(&fates),
        })
        .collect()
}

/// A workload since the agent started.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct CoverageRow {
    /// Workload.
    pub workload: String,
    /// Read ÷ (read + missed); `None` where nothing was to be read.
    pub capture_rate: Option<f64>,
    /// Bytes read.
    pub read: u64,
    /// Bytes that should have been read, by reason.
    pub missed: Vec<(String, u64)>,
    /// Bytes left out on purpose, by reason.
    pub left_out: Vec<(String, u64)>,
}

/// Rows for the status, those with the lowest rate first.
#[must_use]
pub fn rows(all: Vec<(String, Fates)>) -> Vec<CoverageRow> {
    let of_kind = |fates: &Fates, kind: Kind| {
        let mut reasons: Vec<_> = fates
            .iter()
            .filter(|(fate, _)| fate.kind() == kind)
            .map(|(fate, bytes)| (fate.name().to_owned(), bytes))
            .collect();
        reasons.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        reasons
    };
    let mut rows: Vec<_> = all
        .into_iter()
        .map(|(workload, fates)| CoverageRow {
            workload,
            capture_rate: fates.capture_rate(),
            read: fates.of_kind(Kind::Read),
            missed: of_kind(&fates, Kind::Missed),
            left_out: of_kind(&fates, Kind::LeftOut),
        })
        .collect();
    let rate = |row: &CoverageRow| row.capture_rate.unwrap_or(1.0);
    rows.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
    rows
}

/// Bytes of all workloads by kind and reason, for metrics: workloads come and go, labels stay.
#[must_use]
pub fn sums(rows: &[CoverageRow]) -> BTreeMap<(&'static str, &str), u64> {
    let mut sums = BTreeMap::new();
    for row in rows {
        *sums.entry(("read", "read")).or_default() += row.read;
        for (kind, reasons) in [("missed", &row.missed), ("left_out", &row.left_out)] {
            for (reason, bytes) in reasons {
                *sums.entry((kind, reason.as_str())).or_default() += bytes;
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::Fate;

    fn fates(bytes: &[(Fate, u64)]) -> Fates {
        let mut fates = Fates::default();
        bytes.iter().for_each(|(fate, bytes)| fates.add(*fate, *bytes));
        fates
    }

    #[test]
    fn the_lowest_rate_comes_first_and_the_largest_reason() {
        let all = vec![
            ("idle".to_owned(), fates(&[(Fate::OtherProtocol, 9)])),
            (
                "shop".to_owned(),
                fates(&[
                    (Fate::Read, 6),
                    (Fate::OpaqueCall, 1),
                    (Fate::RingFull, 3),
                    (Fate::TurnLimit, 7),
                ]),
            ),
            ("web".to_owned(), fates(&[(Fate::Read, 5)])),
        ];
        let rows = rows(all.clone());
        let names: Vec<_> = rows.iter().map(|row| row.workload.as_str()).collect();
        assert_eq!(names, ["shop", "idle", "web"]);
        assert_eq!(rows[0].capture_rate, Some(0.6));
        assert_eq!(
            rows[0].missed,
            [("ring_full".to_owned(), 3), ("opaque_call".to_owned(), 1)]
        );
        assert_eq!(rows[1].capture_rate, None);
        assert_eq!(sums(&rows)[&("read", "read")], 11);
        assert_eq!(sums(&rows)[&("left_out", "turn_limit")], 7);

        let wire = to_wire(all, "sock-length");
        let shop: Vec<_> = wire[1]
            .bytes
            .iter()
            .map(|covered| (covered.kind(), covered.reason.as_str(), covered.bytes))
            .collect();
        assert_eq!(
            shop,
            [
                (CoverageKind::Read, "read", 6),
                (CoverageKind::LeftOut, "turn_limit", 7),
                (CoverageKind::Missed, "opaque_call", 1),
                (CoverageKind::Missed, "ring_full", 3),
            ]
        );
        assert_eq!(
            (wire[1].workload.as_str(), wire[1].provider.as_str()),
            ("shop", "sock-length")
        );
    }
}
