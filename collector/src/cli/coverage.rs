//! `eastwatch coverage`

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io::Write;

use crate::store::{Coverage, CoverageKind, Traffic, TrafficClass};

use super::args::{CoverageArgs, Output};
use super::client::{CliError, Client, given};
use super::human::{bytes, count, whole_share};
use super::table::Align::{Left, Right};
use super::table::{Columns, View};

/// Reasons shown of each kind, those with most bytes.
const REASONS_SHOWN: usize = 3;

/// Answers it.
pub async fn run(
    client: &Client,
    args: &CoverageArgs,
    view: View,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let query = given(&[
        ("from", &args.range.from),
        ("to", &args.range.to),
        ("workload", &args.workload),
        ("node", &args.node),
        ("below", &args.below),
    ]);
    let list = client.list::<Coverage>("coverage", &query, args.limit).await?;
    if args.tls && view.output == Output::Table {
        let rows: Vec<_> = list.items.iter().flat_map(tls_rows).collect();
        view.table(&TLS_COLUMNS, &rows, out)?;
        return view.more(list.next.is_some(), out);
    }
    view.list(&list, &COLUMNS, row, out)
}

const COLUMNS: Columns<8> = Columns {
    header: [
        ("WORKLOAD", Left),
        ("NODE", Left),
        ("PROVIDER", Left),
        ("CAPTURE RATE", Right),
        ("BYTES", Right),
        ("TLS", Right),
        ("MISSED", Left),
        ("LEFT OUT", Left),
    ],
    less_needed: &["LEFT OUT", "PROVIDER", "NODE"],
};

fn row(coverage: &Coverage) -> [String; 8] {
    let wanted = coverage.read_bytes.saturating_add(coverage.missed_bytes);
    let tls = Tls::of(coverage.traffic.iter());
    [
        coverage.workload.clone(),
        coverage.node.clone(),
        coverage.provider.clone(),
        whole_share(coverage.read_bytes, wanted),
        bytes(wanted.saturating_add(coverage.left_out_bytes)),
        match tls.wire_bytes {
            0 => String::new(),
            wire => format!("{} of {}", whole_share(tls.decrypted_bytes, wire), bytes(wire)),
        },
        reasons(coverage, CoverageKind::Missed),
        reasons(coverage, CoverageKind::LeftOut),
    ]
}

/// `opaque_call 1.2 MiB, ring_full 30 B`
fn reasons(coverage: &Coverage, kind: CoverageKind) -> String {
    let of_kind = coverage.reasons.iter().filter(|reason| reason.kind == kind);
    shown(of_kind.map(|reason| (reason.reason.as_str(), reason.bytes)))
}

/// The first of these reasons, with their bytes.
fn shown<'a>(reasons: impl Iterator<Item = (&'a str, u64)>) -> String {
    let mut texts: Vec<_> = reasons
        .take(REASONS_SHOWN + 1)
        .map(|(reason, size)| format!("{reason} {}", bytes(size)))
        .collect();
    if let Some(further) = texts.get_mut(REASONS_SHOWN) {
        "…".clone_into(further);
    }
    texts.join(", ")
}

const TLS_COLUMNS: Columns<7> = Columns {
    header: [
        ("WORKLOAD", Left),
        ("NODE", Left),
        ("LIBRARY", Left),
        ("CONNECTIONS", Right),
        ("WIRE BYTES", Right),
        ("DECRYPTED", Right),
        ("REASON", Left),
    ],
    less_needed: &["NODE"],
};

/// TLS connections.
#[derive(Default)]
struct Tls<'a> {
    connections: u64,
    wire_bytes: u64,
    decrypted_bytes: u64,
    /// Why not the others.
    reasons: Vec<(&'a str, u64)>,
}

impl<'a> Tls<'a> {
    fn of(traffic: impl Iterator<Item = &'a Traffic>) -> Self {
        let mut sum = Self::default();
        for one in traffic {
            match one.class {
                TrafficClass::TlsDecrypted => {
                    sum.decrypted_bytes = sum.decrypted_bytes.saturating_add(one.wire_bytes);
                }
                TrafficClass::TlsUndecrypted => sum.reasons.push((&one.reason, one.wire_bytes)),
                TrafficClass::Http | TrafficClass::Other => continue,
            }
            sum.connections = sum.connections.saturating_add(one.connections);
            sum.wire_bytes = sum.wire_bytes.saturating_add(one.wire_bytes);
        }
        sum.reasons.sort_by_key(|(_, bytes)| Reverse(*bytes));
        sum
    }
}

/// One for each TLS library of a workload.
fn tls_rows(coverage: &Coverage) -> Vec<[String; 7]> {
    let is_tls = |one: &&Traffic| {
        matches!(
            one.class,
            TrafficClass::TlsDecrypted | TrafficClass::TlsUndecrypted
        )
    };
    let libraries: BTreeSet<&str> = (coverage.traffic.iter().filter(is_tls))
        .map(|one| one.library.as_str())
        .collect();
    let row = |library: &str| {
        let of_library = |one: &&Traffic| is_tls(one) && one.library == library;
        let tls = Tls::of(coverage.traffic.iter().filter(of_library));
        let name = if library.is_empty() { "unknown" } else { library };
        [
            coverage.workload.clone(),
            coverage.node.clone(),
            name.to_owned(),
            count(tls.connections),
            bytes(tls.wire_bytes),
            whole_share(tls.decrypted_bytes, tls.wire_bytes),
            shown(tls.reasons.into_iter()),
        ]
    };
    libraries.into_iter().map(row).collect()
}
