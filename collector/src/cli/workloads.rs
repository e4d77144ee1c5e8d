//! `eastwatch workloads`

use std::io::Write;

use crate::store::Workload;

use super::args::WorkloadsArgs;
use super::client::{CliError, Client, given};
use super::human::time;
use super::table::Align::{Fixed, Left, Right};
use super::table::{Columns, View};

/// Digits of a container's id that people use.
const CONTAINER_ID_SHOWN: usize = 12;

/// Answers it.
pub async fn run(
    client: &Client,
    args: &WorkloadsArgs,
    view: View,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let query = given(&[
        ("from", &args.range.from),
        ("to", &args.range.to),
        ("workload", &args.workload),
        ("node", &args.node),
    ]);
    let list = client.list::<Workload>("workloads", &query, args.limit).await?;
    view.list(&list, &COLUMNS, row, out)
}

const COLUMNS: Columns<9> = Columns {
    header: [
        ("NAME", Left),
        ("NODE", Left),
        ("KIND", Left),
        ("EXECUTABLE", Left),
        ("USER", Left),
        ("CONTAINER", Left),
        ("UNIT", Left),
        ("PID", Right),
        ("LAST SEEN", Fixed),
    ],
    less_needed: &["USER", "PID", "UNIT", "CONTAINER", "LAST SEEN"],
};

fn row(workload: &Workload) -> [String; 9] {
    [
        workload.name.clone(),
        workload.node.clone(),
        workload.kind.clone(),
        workload.executable.clone(),
        workload.user.clone(),
        workload.container_id.chars().take(CONTAINER_ID_SHOWN).collect(),
        workload.systemd_unit.clone(),
        workload.pid.to_string(),
        time(workload.last_seen),
    ]
}
