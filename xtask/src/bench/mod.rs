//! `bench`: what Eastwatch costs. Measurements only: nothing here passes or fails, and every figure comes with its spread.
//!
//! Machines are shared and noisy. So what is compared is measured in alternating rounds, costs are CPU time or the kernel's own
//! statistics rather than elapsed time wherever possible, and medians stand beside the smallest and the largest value.

mod agent;
mod collector;
mod costs;
mod criterion;
mod harm;
mod hooks;
mod memory;
mod nginx;
mod peers;
mod process;
mod programs;
mod providers;
mod recording;
mod replay;
mod report;
mod server;
mod statistics;
mod traffic;
mod wrk;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::bench::report::{Format, Report, Section};
use crate::workspace::{Profile, Workspace};
use crate::{build, preflight};

#[derive(Debug, Args)]
pub struct Arguments {
    /// What to measure.
    #[arg(value_enum, default_value_t = Subject::All)]
    subject: Subject,

    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,

    /// Rounds of what is repeated: pairs with and without the agent, rounds of each kind of traffic.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Seconds of load in each round of `nginx` and its kin.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,

    /// Take the binaries as they are instead of building them first.
    #[arg(long)]
    no_build: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// The crates' own benchmarks: parsing, learning, merging.
    Criterion,
    /// Nanoseconds that each eBPF program takes per call, by kind of traffic.
    Hooks,
    /// nginx under load with and without the agent: CPU per request, requests per second.
    Nginx,
    /// The same with each provider that works here.
    NginxProviders,
    /// Two of them alone: everything captured, and less of what is known.
    NginxDecay,
    /// The same with the budget for what capturing adds: whether it finds a level and stays there.
    NginxHarm,
    /// Resident memory of the agent, idle and with 10,000 connections.
    Memory,
    /// Captures read from files: exchanges per second, beside tshark and Suricata.
    Replay,
    /// Everything.
    All,
}

/// What every measurement needs to know.
#[derive(Debug)]
struct Plan<'a> {
    workspace: &'a Workspace,
    rounds: u32,
    seconds: u64,
}

/// Measures one subject.
type Measure = fn(&Plan<'_>) -> Result<Vec<Section>>;

pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    // What `nginx` measures as well is not measured twice.
    let in_all = |subject| arguments.subject == Subject::All && subject != Subject::NginxDecay;
    let chosen = |subject| arguments.subject == subject || in_all(subject);
    let live = [
        Subject::Hooks,
        Subject::Nginx,
        Subject::NginxProviders,
        Subject::NginxDecay,
        Subject::NginxHarm,
        Subject::Memory,
    ]
    .into_iter()
    .any(chosen);
    if live {
        preflight::check()?;
    }
    if (live || chosen(Subject::Replay)) && !arguments.no_build {
        build::run(workspace, Profile::Release)?;
    }
    let plan = Plan {
        workspace,
        rounds: arguments.rounds,
        seconds: arguments.seconds,
    };
    let measurements: [(Subject, Measure); 8] = [
        (Subject::Criterion, criterion::measure),
        (Subject::Hooks, hooks::measure),
        (Subject::Replay, replay::measure),
        (Subject::Memory, memory::measure),
        (Subject::Nginx, nginx::measure),
        (Subject::NginxProviders, nginx::providers),
        (Subject::NginxDecay, nginx::decay),
        (Subject::NginxHarm, harm::measure),
    ];
    let mut report = Report::of_this_machine()?;
    for (subject, measure) in measurements {
        if chosen(subject) {
            let sections = measure(&plan).with_context(|| format!("measuring {subject:?}"))?;
            // As they come: the next measurement may take minutes, or fail.
            if arguments.output == Format::Table {
                for section in &sections {
                    print!("{section}");
                }
            }
            report.sections.extend(sections);
        }
    }
    match arguments.output {
        Format::Table => println!("{}", report.conditions()),
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    Ok(())
}
