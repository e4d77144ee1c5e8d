//! `eastwatch agents`

use std::io::Write;

use crate::api::List;
use crate::store::{Agent, Lowered};

use super::args::{AgentsArgs, Output};
use super::client::{CliError, Client, Query};
use super::human::{bytes, count, safe, time, whole_share};
use super::table::Align::{Fixed, Left, Right};
use super::table::{Columns, View};

/// Microseconds in the second by which capturing is measured.
const SECOND_US: u64 = 1_000_000;

/// Answers it.
pub async fn run(
    client: &Client,
    args: &AgentsArgs,
    view: View,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let list: List<Agent> = client.list("agents", &Query::new(), args.limit).await?;
    view.list(&list, &COLUMNS, row, out)?;
    match view.output {
        Output::Json => Ok(()),
        Output::Table => lowered(&list.items, view, out),
    }
}

const COLUMNS: Columns<14> = Columns {
    header: [
        ("NODE", Left),
        ("STATE", Left),
        ("VERSION", Left),
        ("PROVIDER", Left),
        ("KERNEL", Left),
        ("POLICY", Left),
        ("EXCHANGES", Right),
        ("DROPPED", Right),
        ("LOWERED", Right),
        ("BATCHES", Right),
        ("MISSING", Right),
        ("REJECTED", Right),
        ("MEMORY", Right),
        ("LAST SEEN", Fixed),
    ],
    less_needed: &["PROVIDER", "MEMORY", "VERSION", "KERNEL"],
};

fn row(agent: &Agent) -> [String; 14] {
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
        some(present(agent).len() as u64 + more(agent)),
        count(agent.batches),
        some(agent.batches_missing),
        some(agent.batches_rejected),
        bytes(agent.resident_bytes),
        time(agent.last_seen),
    ]
}

/// What an agent captures less of. One that is gone captures nothing at all, and nobody knows what has become of its processes.
fn present(agent: &Agent) -> &[Lowered] {
    if agent.connected { &agent.lowered } else { &[] }
}

/// What it captures less of beyond that.
fn more(agent: &Agent) -> u64 {
    if agent.connected { agent.lowered_more } else { 0 }
}

/// The workloads of which agents capture less, if there are any.
fn lowered(agents: &[Agent], view: View, out: &mut (dyn Write + Send)) -> Result<(), CliError> {
    let rows: Vec<_> = agents
        .iter()
        .flat_map(|agent| present(agent).iter().map(|lowered| lowered_row(agent, lowered)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\nLowered, because capturing added more than the agent allows (harm.*); both in percent of one core:\n"
    )?;
    view.table(&LOWERED_COLUMNS, &rows, out)?;
    for agent in agents.iter().filter(|agent| more(agent) > 0) {
        writeln!(out, "… and {} more on {}", more(agent), safe(&agent.node))?;
    }
    Ok(())
}

const LOWERED_COLUMNS: Columns<7> = Columns {
    header: [
        ("WORKLOAD", Left),
        ("NODE", Left),
        ("CAPTURED", Left),
        ("PROCESSES", Right),
        ("SINCE", Fixed),
        ("ADDED", Right),
        ("ALLOWED", Right),
    ],
    less_needed: &["ALLOWED", "ADDED", "PROCESSES"],
};

fn lowered_row(agent: &Agent, lowered: &Lowered) -> [String; 7] {
    let workload = match lowered.workload.as_str() {
        "" => "?",
        workload => workload,
    };
    [
        workload.to_owned(),
        agent.node.clone(),
        captured(&lowered.level).to_owned(),
        count(lowered.processes),
        time(lowered.since),
        whole_share(lowered.added_us_per_s, SECOND_US),
        whole_share(lowered.allowed_us_per_s, SECOND_US),
    ]
}

/// What a level means; one of a later version of the agent as it is.
fn captured(level: &str) -> &str {
    match level {
        "headers" => "headers only",
        "sampled-8" => "1 connection in 8",
        "sampled-64" => "1 connection in 64",
        "detached" => "nothing",
        other => other,
    }
}
