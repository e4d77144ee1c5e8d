//! `nginx`: a web server under load, with and without the agent.
//!
//! Load generator, server, agent and collector share the machine's processors, as they do on a node. Both ends of every exchange are
//! there, the load generator's and the server's; the agent gives it out once.

use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bench::Plan;
use crate::bench::agent::{Agent, Setup, Status};
use crate::bench::collector::Collector;
use crate::bench::process;
use crate::bench::providers;
use crate::bench::report::{Bound, Cell, Section, Target};
use crate::bench::server::Server;
use crate::bench::statistics::Spread;
use crate::command;

/// Connections of the load generator, which has one thread.
const CONNECTIONS: u32 = 32;
/// Seconds of load before each measurement.
const WARM_UP_SECONDS: u64 = 1;
/// The same for a server to become known: some twenty thousand exchanges.
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

/// One measurement under load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    requests: f64,
    pub per_second: f64,
    p99_us: f64,
    server: Duration,
    client: Duration,
}

/// The same with the agent.
#[derive(Debug, Clone, Copy)]
struct Watched {
    base: Load,
    load: Load,
    /// CPU time, until the agent had done its work.
    agent: Duration,
    collector: Duration,
    /// Exchanges that the agent captured, by exchanges that there were.
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
                let base = load(plan, &server)?;
                watched(plan, &server, variant)?.with_base(base)
            } else {
                let watched = watched(plan, &server, variant)?;
                watched.with_base(load(plan, &server)?)
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
            "wrk with {CONNECTIONS} keep-alive connections against one nginx worker that serves a small file, {} s a round; pairs \
             in alternating order. CPU is user and system time a request. Both ends of each exchange are on this machine. wrk reports \
             a few requests less than it sent. Median (least … most).",
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

impl Load {
    fn us_per_request(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.requests
    }
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
            one.load.us_per_request(one.agent)
        }),
        ("collector CPU, µs a request", |one| {
            one.load.us_per_request(one.collector)
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
pub(super) fn load(plan: &Plan<'_>, server: &Server) -> Result<Load> {
    wrk(server, WARM_UP_SECONDS)?;
    measured(plan, server)
}

/// Load on the server, without a warm-up.
pub(super) fn measured(plan: &Plan<'_>, server: &Server) -> Result<Load> {
    let (cpu, client) = (server.process.cpu()?, process::ended_children()?);
    let said = wrk(server, plan.seconds)?;
    Ok(Load {
        requests: said.requests,
        per_second: said.per_second,
        p99_us: said.p99_us,
        server: server.process.cpu()?.saturating_sub(cpu),
        client: process::ended_children()?.saturating_sub(client),
    })
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
    wrk(server, variant.warm_up_seconds)?;
    let before = agent.settle()?;
    let agent_before = agent.process.cpu()?;
    let collector_before = time_of(collector.as_ref())?;

    let load = measured(plan, server)?;

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
        seen: seen / load.requests,
        counted: counted / load.requests,
        lost_records: after.counted("kernel", "ring_full") - before.counted("kernel", "ring_full"),
    })
}

fn time_of(collector: Option<&Collector>) -> Result<Duration> {
    collector.map_or(Ok(Duration::ZERO), |collector| collector.process.cpu())
}

/// What wrk said.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Said {
    requests: f64,
    per_second: f64,
    p99_us: f64,
}

fn wrk(server: &Server, seconds: u64) -> Result<Said> {
    let program =
        command::find_program("wrk").context("wrk is not installed; run `cargo xtask setup --tests`")?;
    let mut wrk = Command::new(program);
    wrk.args(["--threads", "1", "--latency"])
        .args(["--connections", &CONNECTIONS.to_string()])
        .args(["--duration", &format!("{seconds}s")])
        .arg(server.url());
    let text = command::output(&mut wrk)?;
    if text.contains("Socket errors") || text.contains("Non-2xx") {
        bail!("requests failed:\n{text}");
    }
    Said::parse(&text).with_context(|| format!("wrk's report is not understood:\n{text}"))
}

impl Said {
    fn parse(text: &str) -> Option<Self> {
        let line = |part: &str| text.lines().find(|line| line.contains(part));
        let requests = line("requests in")?.split_whitespace().next()?.parse().ok()?;
        let per_second = line("Requests/sec:")?.split_whitespace().nth(1)?.parse().ok()?;
        let p99 = line("99%")?.split_whitespace().nth(1)?;
        let (number, unit) = p99.split_at(p99.find(|c: char| c.is_ascii_alphabetic())?);
        let factor = match unit {
            "us" => 1.0,
            "ms" => 1e3,
            "s" => 1e6,
            _ => return None,
        };
        Some(Self {
            requests,
            per_second,
            p99_us: number.parse::<f64>().ok()? * factor,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_wrk() {
        let text = "Running 5s test @ http://127.0.0.1:1/\n  1 threads and 32 connections\n  Latency Distribution\n     50%  420.00us\n     99%    1.25ms\n  123456 requests in 5.00s, 90.00MB read\nRequests/sec:  24691.20\nTransfer/sec:     18.00MB\n";
        let expected = Said {
            requests: 123_456.0,
            per_second: 24_691.2,
            p99_us: 1250.0,
        };
        assert_eq!(Said::parse(text), Some(expected));
        assert_eq!(Said::parse("Requests/sec: 1"), None);
    }
}
