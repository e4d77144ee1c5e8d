//! What the connections of each workload carry, and how much of its TLS is decrypted: as it is shown on the node.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::tracker::{Account, Class, Kind, Tally};

/// What a workload moved on connections of one class since the agent started.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct TrafficRow {
    /// Workload.
    pub workload: String,
    /// `http`, `tls_decrypted`, `tls_undecrypted`, or `other`: what was taken for HTTP and is not, or is no more.
    pub class: String,
    /// TLS library; empty where nobody knows, or there is none.
    pub library: String,
    /// Why it is not decrypted; empty for what is no undecrypted TLS.
    pub reason: String,
    /// Connections. One that changes its class counts in each.
    pub connections: u64,
    /// Bytes that their sockets moved.
    pub wire_bytes: u64,
    /// Bytes of plaintext that were read and understood.
    pub read_bytes: u64,
}

/// Rows for the status, by workload and class.
#[must_use]
pub fn traffic(all: &[(String, Account)]) -> Vec<TrafficRow> {
    let row = |workload: &str, (class, tally): (Class, &Tally)| TrafficRow {
        workload: workload.to_owned(),
        class: class.name().to_owned(),
        library: class.library().to_owned(),
        reason: class.reason().to_owned(),
        connections: tally.connections,
        wire_bytes: tally.wire_bytes,
        read_bytes: tally.fates.of_kind(Kind::Read),
    };
    all.iter()
        .flat_map(|(workload, account)| account.iter().map(move |entry| row(workload, entry)))
        .collect()
}

/// Connections and bytes of all workloads by class, library and reason, for metrics: workloads come and go, labels stay.
#[must_use]
pub fn traffic_sums(rows: &[TrafficRow]) -> BTreeMap<[&str; 3], (u64, u64)> {
    let mut sums: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for row in rows {
        let sum = sums
            .entry([row.class.as_str(), row.library.as_str(), row.reason.as_str()])
            .or_default();
        sum.0 = sum.0.saturating_add(row.connections);
        sum.1 = sum.1.saturating_add(row.wire_bytes);
    }
    sums
}

/// TLS of a workload with one library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsRow<'a> {
    /// Workload.
    pub workload: &'a str,
    /// Library; empty where nobody knows.
    pub library: &'a str,
    /// Connections.
    pub connections: u64,
    /// Bytes that their sockets moved.
    pub wire_bytes: u64,
    /// Those of which the plaintext is read.
    pub decrypted_bytes: u64,
    /// Why not the others: reasons with their bytes, most first.
    pub reasons: Vec<(&'a str, u64)>,
}

/// TLS by workload and library, that of which most is not decrypted first.
#[must_use]
pub fn tls(rows: &[TrafficRow]) -> Vec<TlsRow<'_>> {
    let mut by_library: BTreeMap<(&str, &str), TlsRow<'_>> = BTreeMap::new();
    for row in rows {
        let is_decrypted = row.class == "tls_decrypted";
        if !is_decrypted && row.class != "tls_undecrypted" {
            continue;
        }
        let sum = by_library
            .entry((&row.workload, &row.library))
            .or_insert_with(|| TlsRow {
                workload: &row.workload,
                library: &row.library,
                ..TlsRow::default()
            });
        sum.connections = sum.connections.saturating_add(row.connections);
        sum.wire_bytes = sum.wire_bytes.saturating_add(row.wire_bytes);
        if is_decrypted {
            sum.decrypted_bytes = sum.decrypted_bytes.saturating_add(row.wire_bytes);
        } else {
            sum.reasons.push((&row.reason, row.wire_bytes));
        }
    }
    let mut rows: Vec<_> = by_library.into_values().collect();
    for row in &mut rows {
        row.reasons.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.wire_bytes.saturating_sub(row.decrypted_bytes)));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(workload: &str, class: &str, library: &str, reason: &str, wire_bytes: u64) -> TrafficRow {
        TrafficRow {
            workload: workload.into(),
            class: class.into(),
            library: library.into(),
            reason: reason.into(),
            connections: 1,
            wire_bytes,
            read_bytes: 0,
        }
    }

    #[test]
    fn what_is_not_decrypted_comes_first_with_its_reasons() {
        let rows = [
            row("api", "http", "", "", 1_000),
            row("api", "tls_decrypted", "openssl", "", 500),
            row("shop", "tls_decrypted", "openssl", "", 70),
            row("shop", "tls_undecrypted", "openssl", "not_bound", 10),
            row("shop", "tls_undecrypted", "openssl", "older_than_agent", 20),
            row("web", "tls_undecrypted", "", "no_tls_library_found", 400),
        ];
        let found = tls(&rows);
        let names: Vec<_> = found.iter().map(|row| (row.workload, row.library)).collect();
        assert_eq!(names, [("web", ""), ("shop", "openssl"), ("api", "openssl")]);
        let shop = &found[1];
        assert_eq!(
            (shop.connections, shop.wire_bytes, shop.decrypted_bytes),
            (3, 100, 70)
        );
        assert_eq!(shop.reasons, [("older_than_agent", 20), ("not_bound", 10)]);
        let sums = traffic_sums(&rows);
        assert_eq!(sums[&["tls_decrypted", "openssl", ""]], (2, 570));
        assert_eq!(sums.len(), 5);
    }
}
