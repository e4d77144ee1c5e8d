//! `nginx`: a web server under load, with and without the agent.
//!
//! Load generator, server, agent and collector share the machine's processors, as they do on a node. Both ends of every exchange are
//! there, the load generator's and the server's; the agent gives it out once.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::bench::Plan;
use crate::bench::agent::{Agent, Setup, Status};
use crate::bench::collector::Collector;
use crate::bench::providers;
use crate::bench::report::{Bound, Cell, Section, Target};
use crate::bench::server::Server;
use crate::bench::statistics::Spread;
use crate::bench::wrk::{CONNECTIONS, Load, Running};

/// Seconds of load before each measurement.
const WARM_UP_SECONDS: u64 = 1;
/// The same for an endpoint to become known and its connections to rest: some twenty thousand exchanges.
const LEARN_SECONDS: u64 = 3;

const CPU_RATIO_MAX: f64 = 1.08;
const RATE_RATIO_MIN: f64 = 0.93;
/// Where less is captured of what is known.
const DECAYED_RATE_RATIO_MIN: f64 = 0.97;

/// A way of running the agent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variant {
    pub name: &'static str,
    /// Over its column.
    pub column: &'static str,
    /// By its name, or `auto`.
    pub provider: &'static str,
    /// Of the collector; without one there is no collector, and batches wait in the spool.
    pub policy: Option<&'static str>,
    /// More of the agent's environment.
    pub env: &'static [(&'static str, &'static str)],
    /// Seconds of load before it is measured.
    pub warm_up_seconds: u64,
    /// Requests/s, of those without the agent, that are the target; `None` where there is none, neither for CPU time.
    pub rate_ratio_min: Option<f64>,
}

const DEFAULT: Variant = Variant {
    name: "default budget of rows, collector on this machine",
    column: "default budget",
    provider: "auto",
    policy: Some(""),
    env: &[],
    warm_up_seconds: WARM_UP_SECONDS,
    rate_ratio_min: Some(RATE_RATIO_MIN),
};

/// Captures less of what is known, as it does of everything under such a load.
const DECAYED: Variant = Variant {
    name: "default budget of rows, capture that decays, collector on this machine",
    column: "decayed",
    env: &[("EASTWATCH_AGENT__CAPTURE__DECAY__ENABLED", "true")],
    warm_up_seconds: LEARN_SECONDS,
    rate_ratio_min: Some(DECAYED_RATE_RATIO_MIN),
    ..DEFAULT
};

const VARIANTS: [Variant; 4] = [
    Variant {
        name: "every exchange a row, collector on this machine",
        column: "every exchange a row",
        policy: Some("[calls]\nbudget = \"unlimited\"\n"),
        ..DEFAULT
    },
    DEFAULT,
    DECAYED,
    Variant {
        name: "default budget of rows, no collector",
        column: "default, no collector",
        policy: None,
        ..DEFAULT
    },
];

/// One measurement without the agent and one with it.
#[derive(Debug, Clone, Copy)]
struct Watched {
    base: Load,
    load: Load,
    /// CPU time from the begin of the measurement, until the agent had done its work.
    agent: Duration,
    collector: Duration,
    /// Exchanges of the whole run that the agent captured, by requests of the whole run.
    seen: f64,
    /// The same of those that it counted.
    counted: f64,
    lost_records: u64,
}

pub fn measure(plan: &Plan<'_>) -> Result<Vec<Section>> {
    Ok(vec![compare(
        plan,
        "nginx under load, with the agent / without",
        &VARIANTS,
    )?])
}

/// The default budget of rows with everything captured, and with capture that decays.
pub fn decay(plan: &Plan<'_>) -> Result<Vec<Section>> {
    Ok(vec![compare(
        plan,
        "nginx under load, with the agent / without, everything captured and decayed",
        &[DEFAULT, DECAYED],
    )?])
}

/// Each provider that works here, with the default budget of rows.
pub fn providers(plan: &Plan<'_>) -> Result<Vec<Section>> {
    let variants: Vec<Variant> = providers::working(plan.workspace)?
        .into_iter()
        .map(|provider| Variant {
            name: provider,
            column: provider,
            provider,
            rate_ratio_min: None,
            ..DEFAULT
        })
        .collect();
    Ok(vec![compare(
        plan,
        "nginx under load, with each provider / without, default budget of rows",
        &variants,
    )?])
}

/// Alternating rounds of all variants.
fn compare(plan: &Plan<'_>, name: &str, variants: &[Variant]) -> Result<Section> {
    let server = Server::start()?;
    let mut measured: Vec<Vec<Watched>> = variants.iter().map(|_| Vec::new()).collect();
    for round in 0..plan.rounds {
        for turn in 0..variants.len() {
            // Each variant comes first as often as the others.
            let index = (turn + round as usize) % variants.len();
            let (Some(variant), Some(results)) = (variants.get(index), measured.get_mut(index)) else {
                continue;
            };
            // With and without take turns in coming first.
            let watched = if round % 2 == 0 {
                let base = load(plan, &server, variant.warm_up_seconds)?;
                watched(plan, &server, variant)?.with_base(base)
            } else {
                let watched = watched(plan, &server, variant)?;
                watched.with_base(load(plan, &server, variant.warm_up_seconds)?)
            };
            eprintln!(
                "     round {}: {}: CPU ×{:.3}, requests/s ×{:.3}",
                round + 1,
                variant.name,
                watched.cpu_ratio(),
                watched.rate_ratio()
            );
            results.push(watched);
        }
    }
    let mut section = Section {
        name: name.into(),
        explanation: format!(
            "wrk with {CONNECTIONS} keep-alive connections against one nginx worker that serves a small file: {} s of a run are measured \
             when its connections are {WARM_UP_SECONDS} s old, or {LEARN_SECONDS} s where capture decays; pairs in alternating order. \
             CPU is user and system time a request. Both ends of each exchange are on this machine. Latency, and what is captured and \
             counted, are of the whole run, of which wrk reports a few requests less than it sent. Median (least … most).",
            plan.seconds
        ),
        columns: std::iter::once("")
            .chain(variants.iter().map(|variant| variant.column))
            .collect(),
        rows: rows(&measured),
        targets: Vec::new(),
        notes: variants
            .iter()
            .zip(&measured)
            .map(|(variant, results)| {
                let lost: u64 = results.iter().map(|one| one.lost_records).sum();
                format!(
                    "{}: {lost} records lost for lack of room in the ring buffer",
                    variant.name
                )
            })
            .collect(),
    };
    for (variant, results) in variants.iter().zip(&measured) {
        let spread = |of: fn(&Watched) -> f64| Spread::of(results.iter().map(of));
        if let (Some(rate_ratio_min), Some(cpu), Some(rate)) = (
            variant.rate_ratio_min,
            spread(Watched::cpu_ratio),
            spread(Watched::rate_ratio),
        ) {
            section.targets.push(Target::new(
                format!("nginx CPU per request, {}", variant.name),
                Bound::AtMost,
                CPU_RATIO_MAX,
                cpu.median,
            ));
            section.targets.push(Target::new(
                format!("requests/s, {}", variant.name),
                Bound::AtLeast,
                rate_ratio_min,
                rate.median,
            ));
        }
    }
    Ok(section)
}

impl Watched {
    const fn with_base(mut self, base: Load) -> Self {
        self.base = base;
        self
    }

    fn cpu_ratio(&self) -> f64 {
        self.load.us_per_request(self.load.server) / self.base.us_per_request(self.base.server)
    }

    fn client_ratio(&self) -> f64 {
        self.load.us_per_request(self.load.client) / self.base.us_per_request(self.base.client)
    }

    fn rate_ratio(&self) -> f64 {
        self.load.per_second / self.base.per_second
    }
}

/// Its name, and how it follows from a measurement.
type Figure = (&'static str, fn(&Watched) -> f64);

fn rows(measured: &[Vec<Watched>]) -> Vec<Vec<Cell>> {
    let figures: [Figure; 12] = [
        ("nginx CPU per request, ratio", Watched::cpu_ratio),
        ("wrk CPU per request, ratio", Watched::client_ratio),
        ("requests/s, ratio", Watched::rate_ratio),
        ("99th percentile of latency, ratio", |one| {
            one.load.p99_us / one.base.p99_us
        }),
        ("requests/s without", |one| one.base.per_second),
        ("requests/s with", |one| one.load.per_second),
        ("nginx CPU without, µs a request", |one| {
            one.base.us_per_request(one.base.server)
        }),
        ("nginx CPU with, µs a request", |one| {
            one.load.us_per_request(one.load.server)
        }),
        ("agent CPU, µs a request", |one| {
            one.load.us_per_request_to_end(one.agent)
        }),
        ("collector CPU, µs a request", |one| {
            one.load.us_per_request_to_end(one.collector)
        }),
        ("exchanges captured / requests", |one| one.seen),
        ("exchanges counted / requests", |one| one.counted),
    ];
    figures
        .into_iter()
        .map(|(name, of)| {
            let mut row = vec![Cell::from(name)];
            row.extend(
                measured
                    .iter()
                    .map(|results| Cell::from(Spread::of(results.iter().map(of)))),
            );
            row
        })
        .collect()
}

/// Load on the server as it is.
pub(super) fn load(plan: &Plan<'_>, server: &Server, warm_up_seconds: u64) -> Result<Load> {
    Running::start(server, warm_up_seconds, plan.seconds)?.end()
}

/// Load on the server while the agent watches. The base is filled in by the caller.
fn watched(plan: &Plan<'_>, server: &Server, variant: &Variant) -> Result<Watched> {
    let collector = variant
        .policy
        .map(|policy| Collector::start(plan.workspace, Some(policy)))
        .transpose()?;
    let setup = Setup {
        provider: variant.provider,
        collector: collector.as_ref().map(|collector| collector.url.as_str()),
        env: variant.env,
    };
    let agent = Agent::start(plan.workspace, setup)?;
    if collector.is_some() {
        agent.wait("get its policy", |status| status.policy_version > 0)?;
    }
    let before = agent.settle()?;

    let running = Running::start(server, variant.warm_up_seconds, plan.seconds)?;
    let agent_before = agent.process.cpu()?;
    let collector_before = time_of(collector.as_ref())?;
    let load = running.end()?;

    let after = agent.settle()?;
    // What waits for the collector is sent every few seconds.
    thread::sleep(Duration::from_secs(6));
    let seen = (after.exchanges - before.exchanges) as f64;
    let rested = |status: &Status| status.counted("tracker", "exchanges_rested");
    let counted = seen + (rested(&after) - rested(&before)) as f64;
    Ok(Watched {
        base: load,
        load,
        agent: agent.process.cpu()?.saturating_sub(agent_before),
        collector: time_of(collector.as_ref())?.saturating_sub(collector_before),
        seen: seen / load.requests_of_run,
        counted: counted / load.requests_of_run,
        lost_records: after.counted("kernel", "ring_full") - before.counted("kernel", "ring_full"),
    })
}

fn time_of(collector: Option<&Collector>) -> Result<Duration> {
    collector.map_or(Ok(Duration::ZERO), |collector| collector.process.cpu())
}
