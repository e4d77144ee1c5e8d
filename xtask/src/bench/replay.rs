//! `replay`: captures read from files, exchanges per second and core; the same captures read by tshark and Suricata.
//!
//! Elapsed time says little on a shared machine, and the agent has one working thread: the figure is CPU time, user and system.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bench::Plan;
use crate::bench::peers;
use crate::bench::process::{self, Memory};
use crate::bench::recording::{Recording, Recordings};
use crate::bench::report::{Bound, Cell, Section, Target};
use crate::bench::statistics::Spread;
use crate::command;
use crate::workspace::Profile;

const HTTP1_PER_SECOND_MIN: f64 = 300_000.0;
const HTTP2_PER_SECOND_MIN: f64 = 200_000.0;
const BODY_MB_PER_SECOND_MIN: f64 = 500.0;
const MIB: f64 = (1 << 20) as f64;

/// One pass over a capture.
#[derive(Debug, Clone, Copy)]
pub struct Pass {
    /// User and system time.
    pub cpu: Duration,
    /// Exchanges that came out.
    pub exchanges: u64,
}

pub fn measure(plan: &Plan<'_>) -> Result<Vec<Section>> {
    let recordings = Recordings::make()?;
    let agent = plan
        .workspace
        .target
        .join(Profile::Release.directory())
        .join("eastwatch-agent");
    let scratch = tempfile::Builder::new()
        .prefix("eastwatch-bench-")
        .tempdir()
        .context("creating a temporary directory")?;
    let mut rows = Vec::new();
    let mut rates = Vec::new();
    for recording in &recordings.all {
        let mut ours = Vec::new();
        let (mut tshark, mut suricata) = (Vec::new(), Vec::new());
        let mut peak = 0;
        for round in 0..plan.rounds {
            let out = scratch.path().join("out");
            let (pass, resident) = replay(&agent, recording, &out)?;
            peak = peak.max(resident);
            ours.push(pass);
            suricata.extend(peers::suricata(recording, scratch.path())?);
            // It takes a minute for what the others do in seconds.
            if round == 0 {
                tshark.extend(peers::tshark(recording, scratch.path())?);
            }
        }
        let per_second = |passes: &[Pass], count: fn(&Pass, &Recording) -> f64| {
            Spread::of(
                passes
                    .iter()
                    .map(|pass| count(pass, recording) / pass.cpu.as_secs_f64()),
            )
        };
        let exchanges: fn(&Pass, &Recording) -> f64 = |pass, _| pass.exchanges as f64;
        let megabytes: fn(&Pass, &Recording) -> f64 = |_, recording| recording.file_bytes as f64 / 1e6;
        let rate = per_second(&ours, exchanges);
        let bodies = per_second(&ours, megabytes);
        rows.push(vec![
            Cell::from(recording.name),
            Cell::Text(format!("{:.0} MiB", recording.file_bytes as f64 / MIB)),
            Cell::Count(recording.sent),
            Cell::Text(seen(&ours)),
            Cell::from(rate.clone()),
            Cell::from(bodies.clone()),
            Cell::Text(format!("{:.1} MiB", peak as f64 / MIB)),
            Cell::Text(seen(&tshark)),
            Cell::from(per_second(&tshark, exchanges)),
            Cell::Text(seen(&suricata)),
            Cell::from(per_second(&suricata, exchanges)),
        ]);
        rates.push((rate, bodies));
    }
    let median = |spread: Option<&Spread>| spread.map_or(f64::NAN, |spread| spread.median);
    let rate = |index: usize| median(rates.get(index).and_then(|(rate, _)| rate.as_ref()));
    let bodies = median(rates.last().and_then(|(_, bodies)| bodies.as_ref()));
    Ok(vec![Section {
        name: "replay of captures".into(),
        explanation: "Captures recorded by tcpdump on loopback: h2load against nginx (512 B) and nghttpd (128 B, 100 streams on each of 10 \
                      connections), curl fetching 1 MiB files from nginx. Per second of CPU time, user and system, median (least … most); \
                      every exchange becomes a line of calls.jsonl. tshark prints method, target, status and time of each message, in one \
                      round; Suricata, with one thread and no rules, writes a line of JSON for each exchange. What tcpdump lost is \
                      missing for all of them."
            .into(),
        columns: vec![
            "",
            "file",
            "sent",
            "exchanges",
            "exchanges/s",
            "MB/s of the file",
            "largest memory",
            "tshark: responses",
            "tshark: responses/s",
            "Suricata: exchanges",
            "Suricata: exchanges/s",
        ],
        rows,
        targets: vec![
            Target::new("HTTP/1 exchanges/s", Bound::AtLeast, HTTP1_PER_SECOND_MIN, rate(0)),
            Target::new("HTTP/2 streams/s", Bound::AtLeast, HTTP2_PER_SECOND_MIN, rate(1)),
            Target::new("MB/s of a file of bodies", Bound::AtLeast, BODY_MB_PER_SECOND_MIN, bodies),
        ],
        notes: Vec::new(),
    }])
}

fn seen(passes: &[Pass]) -> String {
    passes
        .first()
        .map_or_else(|| "not installed".into(), |pass| pass.exchanges.to_string())
}

/// A pass of the agent, and the most memory it was seen with.
fn replay(agent: &Path, recording: &Recording, out: &Path) -> Result<(Pass, u64)> {
    if out.exists() {
        fs::remove_dir_all(out).with_context(|| format!("removing {}", out.display()))?;
    }
    let mut command = Command::new(agent);
    command
        .arg("replay")
        .arg("--out-dir")
        .arg(out)
        .arg(&recording.file)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let before = process::ended_children()?;
    let mut child = command
        .spawn()
        .with_context(|| format!("starting `{}`", command::display(&command)))?;
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait().context("waiting for the agent")? {
            break status;
        }
        peak = peak.max(Memory::of(child.id()).map_or(0, |memory| memory.peak));
        // The largest value so far never falls: only what is added in the last moments is missed.
        std::thread::sleep(Duration::from_millis(10));
    };
    if !status.success() {
        bail!("`{}`: {status}", command::display(&command));
    }
    let cpu = process::ended_children()?.saturating_sub(before);
    let calls = out.join("calls.jsonl");
    let lines = File::open(&calls).with_context(|| format!("opening {}", calls.display()))?;
    let exchanges = BufReader::new(lines).split(b'\n').count() as u64;
    Ok((Pass { cpu, exchanges }, peak))
}
