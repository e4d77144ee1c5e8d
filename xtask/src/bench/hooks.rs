//! `hooks`: what each eBPF program costs the process that it runs in.
//!
//! Two views. The kernel's statistics time each run of a program, and of one that does nothing; the difference is the program itself.
//! The CPU time of a thread that does the same with and without the agent has everything in it: how the kernel gets to the program,
//! caches, and for system calls the slower way that a traced call takes.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::bench::Plan;
use crate::bench::agent::{Agent, Setup};
use crate::bench::costs::{self, Costs};
use crate::bench::programs::{Counted, Counting, Empty, Runs};
use crate::bench::providers;
use crate::bench::report::{Bound, Cell, Section, Target};
use crate::bench::statistics::Spread;
use crate::bench::traffic::{KINDS, Kind};

/// The provider that the targets are about.
const BEST: &str = "sock-length";

/// Nanoseconds, net, of a call on a connection that is not HTTP.
const NOT_HTTP_MAX_NS: f64 = 100.0;

/// Runs of the program for each call on a file; a few runs are other processes' calls on sockets.
const FILE_RUNS_MAX: f64 = 0.001;

/// Fewer runs of the empty program than these say nothing.
const EMPTY_RUNS_MIN: u64 = 1000;

/// Programs that run for the same reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Send,
    Receive,
    /// Entries and exits of system calls by programs that all of them share.
    Call,
    State,
    Process,
}

impl Group {
    const ALL: [Self; 5] = [Self::Send, Self::Receive, Self::Call, Self::State, Self::Process];

    fn of(program: &str) -> Self {
        match program {
            "call_enter" | "call_exit" => Self::Call,
            name if name.contains("send") || name.contains("write") => Self::Send,
            "inet_sock_set_state" => Self::State,
            name if name.starts_with("sched_process_") => Self::Process,
            _ => Self::Receive,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Call => "entry and exit",
            Self::State => "state change",
            Self::Process => "exec, exit",
        }
    }

    /// Runs that a round makes for certain; `None` where it depends on the kernel.
    fn expected(self, kind: Kind) -> Option<u64> {
        let turns = kind.turns as u64;
        match self {
            Self::Send => Some(kind.calls.sends * turns),
            Self::Receive => Some(kind.calls.receives * turns),
            Self::Call | Self::State | Self::Process => None,
        }
    }
}

pub fn measure(plan: &Plan<'_>) -> Result<Vec<Section>> {
    let providers = providers::working(plan.workspace)?;
    let mut sections = Vec::new();
    let mut all_costs = Vec::new();
    for provider in &providers {
        let (section, costs) = by_statistics(plan, provider)?;
        sections.push(section);
        all_costs.push(costs);
    }
    sections.push(costs::section(&providers, &all_costs));
    sections.push(by_thread_time(plan, &providers)?);
    Ok(sections)
}

/// One round of one kind.
struct Round {
    runs: Runs,
    empty: Runs,
}

fn by_statistics(plan: &Plan<'_>, provider: &str) -> Result<(Section, Costs)> {
    let setup = Setup {
        provider,
        ..Setup::default()
    };
    let agent = Agent::start(plan.workspace, setup)?;
    let before = agent.status()?;
    let programs = before.programs();
    let counting = Counting::start()?;
    let empty = Empty::attach(&plan.workspace.ebpf_object())?;

    let mut costs = Costs::default();
    let mut rounds: BTreeMap<(usize, Group), Vec<Round>> = BTreeMap::new();
    for _ in 0..plan.rounds {
        for (index, kind) in KINDS.into_iter().enumerate() {
            let mut traffic = kind.prepare()?;
            let (groups, nothing) = (by_group(&programs)?, empty.program.runs()?);
            traffic.flow()?;
            let (groups_after, nothing_after) = (by_group(&programs)?, empty.program.runs()?);
            let empty = nothing_after.since(nothing);
            let mut all = Runs::default();
            for (group, runs) in groups_after {
                let earlier = groups.get(&group).copied().unwrap_or_default();
                let runs = runs.since(earlier);
                all = all.plus(runs);
                rounds
                    .entry((index, group))
                    .or_default()
                    .push(Round { runs, empty });
            }
            costs.note(index, all);
        }
    }
    drop((counting, empty));
    let after = agent.settle()?;
    let mut section = Section {
        name: format!("hooks, {provider}"),
        explanation: "Nanoseconds a run by the kernel's statistics, median (least … most) of the rounds. Net: less what an empty program \
                      costs in the same round. The thread holds both ends; runs beyond those expected are other processes' (the least \
                      of the rounds is shown)."
            .into(),
        columns: vec!["traffic", "hook", "runs expected", "runs seen", "ns a run", "empty", "net"],
        rows: Vec::new(),
        targets: Vec::new(),
        notes: vec![format!(
            "records lost for lack of room in the ring buffer: {}; a lost record costs less than a captured one",
            after.counted("kernel", "ring_full") - before.counted("kernel", "ring_full"),
        )],
    };
    // What an empty program costs does not depend on the traffic; kinds without sending borrow it.
    let empty_ns = Spread::of(
        rounds
            .values()
            .flatten()
            .filter(|round| round.empty.count >= EMPTY_RUNS_MIN)
            .map(|round| round.empty.each()),
    );
    let empty_median = empty_ns.map_or(f64::NAN, |spread| spread.median);
    costs.empty_ns = empty_median;
    for (index, kind) in KINDS.into_iter().enumerate() {
        for group in Group::ALL {
            let Some(measured) = rounds.get(&(index, group)) else {
                continue;
            };
            let expected = group.expected(kind);
            let seen = measured.iter().map(|round| round.runs.count).min().unwrap_or(0);
            // A handful of runs are others': they say nothing about this kind.
            let is_about = match expected {
                Some(expected) => expected > 0 || seen > kind.turns as u64 / 2,
                None => seen >= kind.turns as u64,
            };
            if !is_about && (expected.is_none() || !kind.name.starts_with("file")) {
                continue;
            }
            let nothing = |round: &Round| {
                if round.empty.count >= EMPTY_RUNS_MIN {
                    round.empty.each()
                } else {
                    empty_median
                }
            };
            let gross = Spread::of(measured.iter().map(|round| round.runs.each()));
            let net = Spread::of(measured.iter().map(|round| round.runs.each() - nothing(round)));
            if provider == BEST
                && let Some(net) = &net
                && kind.name.starts_with("not HTTP")
            {
                section.targets.push(Target::new(
                    format!("ns net, {}, {}", kind.name, group.name()),
                    Bound::AtMost,
                    NOT_HTTP_MAX_NS,
                    net.median,
                ));
            }
            if provider == BEST && kind.name.starts_with("file") {
                section.targets.push(Target::new(
                    format!("runs of the {} program for each call on a file", group.name()),
                    Bound::AtMost,
                    FILE_RUNS_MAX,
                    seen as f64 / kind.turns as f64,
                ));
            }
            let (gross, net, empty) = if is_about {
                let empty = Spread::of(measured.iter().map(nothing));
                (gross.into(), net.into(), empty.into())
            } else {
                (Cell::None(()), Cell::None(()), Cell::None(()))
            };
            section.rows.push(vec![
                kind.name.into(),
                group.name().into(),
                expected.map_or(Cell::None(()), Cell::Count),
                Cell::Count(seen),
                gross,
                empty,
                net,
            ]);
        }
    }
    Ok((section, costs))
}

fn by_group(programs: &[Counted]) -> Result<BTreeMap<Group, Runs>> {
    let mut groups: BTreeMap<Group, Runs> = BTreeMap::new();
    for program in programs {
        let runs = program.runs()?;
        let sum = groups.entry(Group::of(&program.name)).or_default();
        *sum = sum.plus(runs);
    }
    Ok(groups)
}

/// Nanoseconds of CPU time that a turn takes, by kind.
fn thread_times(kinds: &[Kind]) -> Result<Vec<f64>> {
    kinds
        .iter()
        .map(|kind| {
            let spent = kind.prepare()?.flow()?;
            Ok(spent.as_nanos() as f64 / kind.turns as f64)
        })
        .collect()
}

fn by_thread_time(plan: &Plan<'_>, providers: &[&'static str]) -> Result<Section> {
    let mut without = vec![Vec::new(); KINDS.len()];
    let mut added = vec![vec![Vec::new(); KINDS.len()]; providers.len()];
    for _ in 0..plan.rounds {
        for (provider, added) in providers.iter().zip(&mut added) {
            // Without the agent right before and right after: the machine may change meanwhile.
            let before = thread_times(&KINDS)?;
            let setup = Setup {
                provider,
                ..Setup::default()
            };
            let agent = Agent::start(plan.workspace, setup)?;
            let with = thread_times(&KINDS)?;
            drop(agent);
            let after = thread_times(&KINDS)?;
            for (index, ((before, with), after)) in before.iter().zip(&with).zip(&after).enumerate() {
                let base = f64::midpoint(*before, *after);
                if let Some(values) = without.get_mut(index) {
                    values.push(base);
                }
                if let Some(values) = added.get_mut(index) {
                    values.push(with - base);
                }
            }
        }
    }
    let mut section = Section {
        name: "hooks, CPU time of the thread".into(),
        explanation: "Nanoseconds of CPU time of a turn without the agent, and what the agent adds with each provider, paired: everything \
                      that the traced thread pays, statistics off. A turn is a request and a response (two sends, two receives), eight calls for \
                      the body beyond the limit, a write and a read of a file."
            .into(),
        columns: ["traffic", "turn without"].into_iter().chain(providers.iter().copied()).collect(),
        rows: Vec::new(),
        targets: Vec::new(),
        notes: Vec::new(),
    };
    for (index, kind) in KINDS.into_iter().enumerate() {
        let mut row = vec![Cell::from(kind.name)];
        row.push(Spread::of(without.get(index).into_iter().flatten().copied()).into());
        for added in &added {
            row.push(Spread::of(added.get(index).into_iter().flatten().copied()).into());
        }
        section.rows.push(row);
    }
    Ok(section)
}
