//! `nginx-harm`: what the budget for the time added to processes, as delivered, does with a web server that takes a whole core.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::bench::Plan;
use crate::bench::agent::{self, Agent, ProcessCost, Setup};
use crate::bench::collector::Collector;
use crate::bench::nginx;
use crate::bench::report::{Cell, Section};
use crate::bench::server::Server;
use crate::bench::wrk::Load;

/// Between two looks at the agent's status, which tells more than once a second only when it is asked.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The process that is looked at.
const COMMAND: &str = "nginx";

/// The budget as delivered: what bench switches off elsewhere.
const BUDGET: [(&str, &str); 1] = [("EASTWATCH_AGENT__HARM__CPU_PERCENT", "10")];

/// A level and when it was first seen.
#[derive(Debug)]
struct Step {
    after: Duration,
    cost: ProcessCost,
}

pub fn measure(plan: &Plan<'_>) -> Result<Vec<Section>> {
    let server = Server::start()?;
    let base = nginx::load(plan, &server, 0)?;
    let collector = Collector::start(plan.workspace, Some(""))?;
    let agent = Agent::start(
        plan.workspace,
        Setup {
            collector: Some(&collector.url),
            env: &BUDGET,
            ..Setup::default()
        },
    )?;
    let before = agent.wait("get its policy", |status| status.policy_version > 0)?;
    let (load, steps) = watch(plan, &server, &agent)?;
    let after = agent.settle()?;
    let mut section = Section {
        name: "nginx under load, with the budget for added time as delivered".into(),
        explanation: format!(
            "The same load as `nginx` for {} s, without a warm-up: each line is a level that nginx's worker came to, and what had been \
             added to it a second when that was first seen. Use many seconds: it goes a step up after 30 s of calm at the earliest.",
            plan.seconds
        ),
        columns: vec!["level", "after s", "added, µs/s", "allowed, µs/s"],
        rows: steps.iter().map(row).collect(),
        targets: Vec::new(),
        notes: vec![
            format!(
                "requests/s: {:.0} without the agent, {:.0} with it: ×{:.3}",
                base.per_second,
                load.per_second,
                load.per_second / base.per_second
            ),
            format!("the hook was measured to cost {} ns", after.harm.hook_ns),
            format!(
                "records lost for lack of room in the ring buffer: {}",
                after.counted("kernel", "ring_full") - before.counted("kernel", "ring_full")
            ),
        ],
    };
    if let [_, .., last] = steps.as_slice() {
        section.notes.push(format!(
            "{} steps, the last one after {:.1} s",
            steps.len() - 1,
            last.after.as_secs_f64()
        ));
    }
    Ok(vec![section])
}

/// Loads the server and notes each level of its busiest process meanwhile.
fn watch(plan: &Plan<'_>, server: &Server, agent: &Agent) -> Result<(Load, Vec<Step>)> {
    let socket = agent.socket();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let steps = scope.spawn(|| steps(&socket, &is_over));
        let load = nginx::load(plan, server, 0);
        is_over.store(true, Ordering::Relaxed);
        let steps = steps
            .join()
            .ok()
            .context("the thread that watches ended early")??;
        Ok((load?, steps))
    })
}

fn steps(socket: &Path, is_over: &AtomicBool) -> Result<Vec<Step>> {
    let started = Instant::now();
    let mut steps: Vec<Step> = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let busiest = agent::status_at(socket)?
            .harm
            .processes
            .into_iter()
            .filter(|cost| cost.command == COMMAND)
            .max_by_key(|cost| cost.allowed_us_per_s);
        if let Some(cost) = busiest
            && steps.last().is_none_or(|step| step.cost.level != cost.level)
        {
            steps.push(Step {
                after: started.elapsed(),
                cost,
            });
        }
        // There is no event for it: the status is published at intervals.
        thread::sleep(LOOK_INTERVAL);
    }
    Ok(steps)
}

fn row(step: &Step) -> Vec<Cell> {
    vec![
        Cell::Text(step.cost.level.clone()),
        Cell::Text(format!("{:.1}", step.after.as_secs_f64())),
        Cell::Count(step.cost.added_us_per_s),
        Cell::Count(step.cost.allowed_us_per_s),
    ]
}
