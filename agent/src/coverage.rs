//! How much of each workload was read: as it goes to the collector, and as it is shown on the node.

mod traffic;

pub use traffic::{TlsRow, TrafficRow, tls, traffic, traffic_sums};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::v1::{CoverageDelta, CoverageKind, CoveredBytes, TrafficClass};

use crate::tracker::{Account, Class, Fates, Kind, Tally};

/// Increments as they travel.
#[must_use]
pub fn to_wire(increments: &[(String, Account)], provider: &str) -> Vec<CoverageDelta> {
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
    let class_of = |class| match class {
        Class::Http => TrafficClass::Http,
        Class::Decrypted { .. } => TrafficClass::TlsDecrypted,
        Class::Undecrypted { .. } => TrafficClass::TlsUndecrypted,
        Class::Other => TrafficClass::Other,
    };
    let of_workload = |(workload, account): &(String, Account)| {
        let delta = |class: Class, tally: &Tally| CoverageDelta {
            workload: workload.clone(),
            provider: provider.to_owned(),
            bytes: covered(&tally.fates),
            class: class_of(class).into(),
            library: class.library().to_owned(),
            reason: class.reason().to_owned(),
            connections: tally.connections,
            wire_bytes: tally.wire_bytes,
        };
        let deltas = account.iter().map(|(class, tally)| delta(class, tally));
        deltas.collect::<Vec<_>>()
    };
    increments.iter().flat_map(of_workload).collect()
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

/// Rows for the status, those with the lowest rate first; none of workloads of which nothing was to be read.
#[must_use]
pub fn rows(all: &[(String, Account)]) -> Vec<CoverageRow> {
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
        .iter()
        .map(|(workload, account)| (workload, account.fates()))
        .filter(|(_, fates)| fates.total() > 0)
        .map(|(workload, fates)| CoverageRow {
            workload: workload.clone(),
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
    use crate::tracker::{Coverage, Fate};

    const TLS: Class = Class::Decrypted { library: "openssl" };
    const OPAQUE: Class = Class::Undecrypted {
        library: "rustls",
        reason: "unsupported",
    };

    fn counted() -> Vec<(String, Account)> {
        let mut coverage = Coverage::default();
        coverage.of("idle", Class::Http).add(Fate::Skipped, 9);
        let shop = &mut coverage.of("shop", Class::Http);
        shop.add(Fate::Read, 4);
        shop.add(Fate::OpaqueCall, 1);
        shop.add(Fate::RingFull, 3);
        shop.add(Fate::TurnLimit, 7);
        shop.wire(1, 0);
        let shop = &mut coverage.of("shop", TLS);
        shop.add(Fate::Read, 2);
        shop.wire(1, 30);
        coverage.of("web", Class::Http).add(Fate::Read, 5);
        coverage.of("vault", OPAQUE).wire(2, 800);
        coverage.take()
    }

    #[test]
    fn the_lowest_rate_comes_first_and_the_largest_reason() {
        let rows = rows(&counted());
        let names: Vec<_> = rows.iter().map(|row| row.workload.as_str()).collect();
        assert_eq!(names, ["shop", "idle", "web"], "nothing of the vault can be read");
        assert_eq!(rows[0].capture_rate, Some(0.6));
        assert_eq!(
            rows[0].missed,
            [("ring_full".to_owned(), 3), ("opaque_call".to_owned(), 1)]
        );
        assert_eq!(rows[1].capture_rate, None);
        assert_eq!(sums(&rows)[&("read", "read")], 11);
        assert_eq!(sums(&rows)[&("left_out", "turn_limit")], 7);
    }

    #[test]
    fn each_class_travels_by_itself() {
        let wire = to_wire(&counted(), "sock-length");
        let found: Vec<_> = wire
            .iter()
            .map(|delta| {
                (
                    delta.workload.as_str(),
                    delta.class(),
                    delta.connections,
                    delta.wire_bytes,
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("idle", TrafficClass::Http, 0, 9),
                ("shop", TrafficClass::Http, 1, 15),
                ("shop", TrafficClass::TlsDecrypted, 1, 30),
                ("vault", TrafficClass::TlsUndecrypted, 2, 800),
                ("web", TrafficClass::Http, 0, 5),
            ]
        );
        let shop: Vec<_> = wire[1]
            .bytes
            .iter()
            .map(|covered| (covered.kind(), covered.reason.as_str(), covered.bytes))
            .collect();
        assert_eq!(
            shop,
            [
                (CoverageKind::Read, "read", 4),
                (CoverageKind::LeftOut, "turn_limit", 7),
                (CoverageKind::Missed, "opaque_call", 1),
                (CoverageKind::Missed, "ring_full", 3),
            ]
        );
        assert_eq!(wire[1].provider, "sock-length");
        assert_eq!(
            (wire[2].library.as_str(), wire[2].reason.as_str()),
            ("openssl", "")
        );
        assert_eq!(
            (wire[3].library.as_str(), wire[3].reason.as_str()),
            ("rustls", "unsupported")
        );
    }

    #[test]
    fn the_node_shows_what_travels() {
        let found = traffic(&counted());
        let shop: Vec<_> = found.iter().filter(|row| row.workload == "shop").collect();
        let bytes: Vec<_> = shop
            .iter()
            .map(|row| (row.class.as_str(), row.wire_bytes, row.read_bytes))
            .collect();
        assert_eq!(bytes, [("http", 15, 4), ("tls_decrypted", 30, 2)]);
        assert_eq!(tls(&found)[0].workload, "vault");
    }
}
