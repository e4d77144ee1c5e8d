//! `eastwatch agents`

use std::io::Write;

use crate::api::List;
use crate::store::Agent;

use super::args::{AgentsArgs, Output};
use super::client::{CliError, Client, Query};
use super::human::{bytes, count, time};
use super::table::Align::{Fixed, Left, Right};
use super::table::View;

/// Answers it.
pub async fn run(
    client: &Client,
    args: &AgentsArgs,
    view: View,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let list: List<Agent> = client.list("agents", &Query::new(), args.limit).await?;
    if view.output == Output::Json {
        return view.json(&list, out);
    }
    let rows: Vec<_> = list.items.iter().map(row).collect();
    let header = [
        ("NODE", Left),
        ("STATE", Left),
        ("VERSION", Left),
        ("PROVIDER", Left),
        ("KERNEL", Left),
        ("POLICY", Left),
        ("EXCHANGES", Right),
        ("DROPPED", Right),
        ("BATCHES", Right),
        ("MISSING", Right),
        ("REJECTED", Right),
        ("MEMORY", Right),
        ("LAST SEEN", Fixed),
    ];
    view.table(header, &["PROVIDER", "MEMORY", "VERSION", "KERNEL"], &rows, out)?;
    view.more(list.next.is_some(), out)
}

fn row(agent: &Agent) -> [String; 13] {
    let dropped = agent
        .drops
        .iter()
        .fold(0u64, |sum, drop| sum.saturating_add(drop.events));
    let policy = match agent.policy_error.as_str() {
        "" => agent.policy_version.to_string(),
        error => format!("{} (refused the next: {error})", agent.policy_version),
    };
    let some = |number: u64| if number == 0 { String::new() } else { count(number) };
    [
        agent.node.clone(),
        if agent.connected { "connected" } else { "gone" }.to_owned(),
        agent.version.clone(),
        agent.provider.clone(),
        agent.kernel.clone(),
        policy,
        count(agent.exchanges),
        count(dropped),
        count(agent.batches),
        some(agent.batches_missing),
        some(agent.batches_rejected),
        bytes(agent.resident_bytes),
        time(agent.last_seen),
    ]
}
