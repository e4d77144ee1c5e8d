//! `eastwatch-agent doctor`: what this kernel and host allow, what is attached, what is dropped and why.

mod covered;
mod libraries;

use std::io::Write;
use std::path::Path;

use agent_common::Settings;
use anyhow::Result;
use comfy_table::{ContentArrangement, Table, TableStyle};
use serde::Serialize;

use super::output::{Output, bytes};
use crate::capture::{kernel_release, provider_rows};
use crate::config::Config;
use crate::control::client;
use crate::coverage;
use crate::loader::{self, Btf, KERNEL_BTF, LoadError, Provider};
use crate::status::{Fate, ProviderRow, Status};
use crate::tls::events::Events;

/// Ring buffer of a trial.
const TRIAL_RING_BYTES: u32 = 64 << 10;

/// Spaces between columns.
const GAP: u16 = 2;

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// It is as it should be.
    pub ok: bool,
    /// What was found, and what to do when it is not.
    pub detail: String,
    /// Nothing can be captured without it.
    pub needed: bool,
}

/// All that doctor found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Kernel release.
    pub kernel: String,
    /// The host.
    pub checks: Vec<Check>,
    /// Ways of capturing, each tried by loading and attaching it.
    pub providers: Vec<ProviderRow>,
    /// The running agent, if there is one.
    pub agent: Option<Status>,
}

/// Looks and reports. True when traffic can be captured here.
///
/// # Errors
/// The report cannot be written.
pub async fn doctor(config: &Config, output: Output) -> Result<bool> {
    let (agent, agent_check) = match client::status(&config.control.socket).await {
        Ok(Some(status)) => {
            let detail = format!(
                "{} on node {}, provider {}",
                status.version, status.node, status.provider
            );
            (
                Some(status),
                Check {
                    name: "agent",
                    ok: true,
                    detail,
                    needed: false,
                },
            )
        }
        Ok(None) => {
            let detail = format!("none answers on {}", config.control.socket.display());
            (
                None,
                Check {
                    name: "agent",
                    ok: false,
                    detail,
                    needed: false,
                },
            )
        }
        Err(error) => (
            None,
            Check {
                name: "agent",
                ok: false,
                detail: format!("{error:#}"),
                needed: false,
            },
        ),
    };
    let mut checks = host_checks();
    checks.push(agent_check);
    let providers = tokio::task::spawn_blocking(try_providers).await?;
    let works = providers.iter().any(|provider| provider.error.is_empty());
    let report = Report {
        kernel: kernel_release(),
        checks,
        providers,
        agent,
    };
    let mut text = Vec::new();
    match output {
        Output::Json => {
            serde_json::to_writer_pretty(&mut text, &report)?;
            writeln!(text)?;
        }
        Output::Table => print(&mut text, &report)?,
    }
    match std::io::stdout().lock().write_all(&text) {
        // Whoever reads has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        written => written?,
    }
    Ok(works)
}

fn host_checks() -> Vec<Check> {
    let btf = Btf::kernel();
    let root = nix::unistd::Uid::effective().is_root();
    let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
    let tracefs = ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"]
        .into_iter()
        .find(|path| Path::new(path).is_dir());
    let mut checks = vec![
        Check {
            name: "privileges",
            ok: root,
            detail: if root {
                "running as root".to_owned()
            } else {
                "not root: needs root, or the capabilities BPF, PERFMON, NET_ADMIN and SYS_PTRACE".to_owned()
            },
            needed: true,
        },
        Check {
            name: "kernel types",
            ok: btf.is_ok(),
            detail: btf.map_or_else(|error| error.to_string(), |_| format!("{KERNEL_BTF} is there")),
            needed: true,
        },
        Check {
            name: "tracefs",
            ok: tracefs.is_some(),
            detail: tracefs.map_or_else(
                || {
                    "not mounted: the provider syscall-exit needs it (mount -t tracefs tracefs /sys/kernel/tracing)".to_owned()
                },
                |path| format!("{path} is there"),
            ),
            needed: false,
        },
    ];
    let events = Events::open();
    checks.push(Check {
        name: "mapping events",
        ok: events.is_ok(),
        detail: match events {
            Ok(events) => format!("the kernel tells of mappings on {} processors", events.cpus()),
            Err(error) => format!(
                "perf events do not work ({error}): new processes' TLS libraries are found by looking at all processes every 10 s"
            ),
        },
        needed: false,
    });
    if let Ok(lockdown) = read("/sys/kernel/security/lockdown") {
        let locked = lockdown.contains("[confidentiality]");
        let detail = if locked {
            format!("{lockdown}: in this mode programs may not read memory")
        } else {
            lockdown
        };
        checks.push(Check {
            name: "lockdown",
            ok: !locked,
            detail,
            needed: true,
        });
    }
    checks
}

/// Each by itself: loading alone proves nothing, some kernels load what they then refuse to attach.
fn try_providers() -> Vec<ProviderRow> {
    Provider::ALL
        .into_iter()
        .flat_map(|provider| {
            // Nothing is captured in a trial.
            let settings = Settings {
                epoch: 0,
                turn_bytes_max: 1,
                include_only: 1,
                reserved: 0,
            };
            match loader::load(&loader::Options::new(provider.into(), TRIAL_RING_BYTES, settings)) {
                Ok(loaded) => provider_rows(&loaded.attempts),
                Err(LoadError::NoProvider(attempts)) => provider_rows(&attempts),
                Err(error) => {
                    vec![ProviderRow {
                        name: provider.name().to_owned(),
                        error: error.to_string(),
                        attached: false,
                    }]
                }
            }
        })
        .collect()
}

/// Narrower terminals get lines as long as they are.
const WIDTH_MIN: u16 = 40;

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(TableStyle::new())
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    // A serial console says that it has no width at all.
    if table.width().is_some_and(|width| width < WIDTH_MIN) {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table
}

fn print(out: &mut impl Write, report: &Report) -> Result<()> {
    writeln!(out, "Kernel {}\n", report.kernel)?;
    let mut checks = table(&["HOST", "", ""]);
    for check in &report.checks {
        let mark = if check.ok {
            "ok"
        } else if check.needed {
            "MISSING"
        } else {
            "-"
        };
        checks.add_row([check.name, mark, &check.detail]);
    }
    writeln!(out, "{checks}\n")?;
    let mut providers = table(&["WAY OF CAPTURING", "", ""]);
    for provider in &report.providers {
        let attached = report
            .agent
            .as_ref()
            .is_some_and(|agent| agent.provider == provider.name);
        let mark = match (provider.error.is_empty(), attached) {
            (true, true) => "works, in use",
            (true, false) => "works",
            (false, _) => "does not work",
        };
        providers.add_row([provider.name.as_str(), mark, &provider.error]);
    }
    writeln!(out, "{providers}")?;
    if let Some(agent) = &report.agent {
        print_agent(out, agent)?;
    }
    if report.providers.iter().all(|provider| !provider.error.is_empty()) {
        writeln!(
            out,
            "\nNothing can be captured on this host: see the reasons above."
        )?;
    }
    Ok(())
}

/// What capturing adds to processes.
fn print_costs(out: &mut impl Write, agent: &Status) -> Result<()> {
    let harm = &agent.harm;
    writeln!(
        out,
        "\nAdded to processes so far: {:.1} s in {} transfers; the hook alone takes {} ns of each",
        harm.added_ns as f64 / 1e9,
        harm.transfers,
        harm.hook_ns,
    )?;
    if harm.processes.is_empty() {
        return Ok(());
    }
    let percent = |us_per_s: u64| format!("{:.1} %", us_per_s as f64 / 1e4);
    let mut costs = table(&[
        "PROCESS",
        "",
        "CAPTURED",
        "TRANSFERS/S",
        "CPU",
        "ADDED",
        "ALLOWED",
    ]);
    for process in &harm.processes {
        costs.add_row([
            process.pid.to_string(),
            process.command.clone(),
            process.level.clone(),
            process.transfers_per_s.to_string(),
            percent(process.cpu_us_per_s),
            percent(process.added_us_per_s),
            match process.allowed_us_per_s {
                0 => "no limit".to_owned(),
                allowed => percent(allowed),
            },
        ]);
    }
    writeln!(
        out,
        "\n{costs}\nCPU, added and allowed time in percent of one core."
    )?;
    Ok(())
}

/// How much is captured of what is known.
fn print_decay(out: &mut impl Write, agent: &Status) -> Result<()> {
    let decay = &agent.decay;
    if !decay.enabled && decay.connections_resting == 0 {
        return Ok(());
    }
    let levels = decay.levels.iter().map(|level| match level.every {
        1 => format!("{} whole", level.endpoints),
        every => format!("{} one call in {every}", level.endpoints),
    });
    writeln!(
        out,
        "\nEndpoints that bring nothing new are captured less: {}; {} of {} connections rest; {} in memory",
        levels.collect::<Vec<_>>().join(", "),
        decay.connections_resting,
        decay.connections,
        bytes(decay.bytes),
    )?;
    Ok(())
}

fn print_agent(out: &mut impl Write, agent: &Status) -> Result<()> {
    writeln!(
        out,
        "\nAgent {} on {}: {} connections, {} exchanges, {} calls sent, {} resident, policy {}",
        agent.version,
        agent.node,
        agent.connections,
        agent.exchanges,
        agent.calls_sent,
        bytes(agent.resident_bytes),
        agent.policy_version,
    )?;
    let export = &agent.export;
    writeln!(
        out,
        "Collector {}: {}, {} batches ({}) waiting{}{}",
        export.url,
        export.link,
        export.batches,
        bytes(export.bytes),
        if export.last_error.is_empty() {
            String::new()
        } else {
            format!("\n  last error: {}", export.last_error)
        },
        if export.spool_trouble.is_empty() {
            String::new()
        } else {
            format!("\n  spool: {}", export.spool_trouble)
        },
    )?;
    let mut programs = table(&["ATTACHED PROGRAM", "ID", "VERIFIED INSTRUCTIONS"]);
    for program in &agent.programs {
        programs.add_row([
            program.name.clone(),
            program.id.to_string(),
            program.verified.to_string(),
        ]);
    }
    writeln!(out, "\n{programs}")?;
    print_costs(out, agent)?;
    print_decay(out, agent)?;
    libraries::print(out, agent)?;
    covered::print_coverage(out, &agent.coverage)?;
    covered::print_tls(out, &coverage::tls(&agent.traffic))?;
    for (fate, title) in [
        (Fate::Lost, "LOST"),
        (Fate::LeftOut, "LEFT OUT"),
        (Fate::Counted, "COUNTED"),
    ] {
        let rows: Vec<_> = agent
            .counters
            .iter()
            .filter(|row| row.fate == fate && row.events + row.bytes > 0)
            .collect();
        if rows.is_empty() {
            if fate == Fate::Lost {
                writeln!(out, "\nNothing lost.")?;
            }
            continue;
        }
        let mut counters = table(&[title, "", "EVENTS", "BYTES", ""]);
        for row in rows {
            let size = if row.bytes == 0 {
                String::new()
            } else {
                bytes(row.bytes)
            };
            counters.add_row([
                &row.stage,
                &row.name,
                &row.events.to_string(),
                &size,
                &row.meaning,
            ]);
        }
        writeln!(out, "\n{counters}")?;
    }
    Ok(())
}
