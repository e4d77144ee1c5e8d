//! `eastwatch coverage`

use std::io::Write;

use crate::store::{Coverage, CoverageKind};

use super::args::CoverageArgs;
use super::client::{CliError, Client, given};
use super::human::{bytes, whole_share};
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
    view.list(&list, &COLUMNS, row, out)
}

const COLUMNS: Columns<7> = Columns {
    header: [
        ("WORKLOAD", Left),
        ("NODE", Left),
        ("PROVIDER", Left),
        ("CAPTURE RATE", Right),
        ("BYTES", Right),
        ("MISSED", Left),
        ("LEFT OUT", Left),
    ],
    less_needed: &["LEFT OUT", "PROVIDER", "NODE"],
};

fn row(coverage: &Coverage) -> [String; 7] {
    let wanted = coverage.read_bytes.saturating_add(coverage.missed_bytes);
    [
        coverage.workload.clone(),
        coverage.node.clone(),
        coverage.provider.clone(),
        whole_share(coverage.read_bytes, wanted),
        bytes(wanted.saturating_add(coverage.left_out_bytes)),
        reasons(coverage, CoverageKind::Missed),
        reasons(coverage, CoverageKind::LeftOut),
    ]
}

/// `opaque_call 1.2 MiB, ring_full 30 B`
fn reasons(coverage: &Coverage, kind: CoverageKind) -> String {
    let of_kind = || coverage.reasons.iter().filter(|reason| reason.kind == kind);
    let mut shown: Vec<_> = of_kind()
        .take(REASONS_SHOWN)
        .map(|reason| format!("{} {}", reason.reason, bytes(reason.bytes)))
        .collect();
    if of_kind().nth(REASONS_SHOWN).is_some() {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}
