//! Other programs that read captures, doing what comes nearest to what the agent does.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bench::process;
use crate::bench::recording::Recording;
use crate::bench::replay::Pass;
use crate::command;

/// Suricata without rules: one line of JSON for each exchange of HTTP/1 and HTTP/2, streams read to their end, checksums not looked at
/// (loopback leaves them out).
const SURICATA: &str = "%YAML 1.1
---
outputs:
  - eve-log:
      enabled: yes
      filetype: regular
      filename: eve.json
      types:
        - http:
            extended: yes
        - http2
app-layer:
  protocols:
    http:
      enabled: yes
    http2:
      enabled: yes
stream:
  memcap: 512mb
  checksum-validation: no
  reassembly:
    memcap: 1gb
    depth: 0
pcap-file:
  checksum-checks: no
";

/// A pass of tshark; `None` where it is not installed.
pub fn tshark(recording: &Recording, scratch: &Path) -> Result<Option<Pass>> {
    let Some(program) = command::find_program("tshark") else {
        return Ok(None);
    };
    let printed = scratch.join("tshark.txt");
    let protocol = recording.protocol;
    let decode = format!("tcp.port=={},{protocol}", recording.port);
    let fields: &[&str] = match protocol {
        "http2" => &[
            "http2.headers.method",
            "http2.headers.path",
            "http2.headers.status",
        ],
        _ => &["http.request.method", "http.request.uri", "http.response.code"],
    };
    let mut tshark = Command::new(program);
    tshark
        .args([
            "-n",
            "-Q",
            "-d",
            &decode,
            "-Y",
            protocol,
            "-T",
            "fields",
            "-E",
            "aggregator=,",
        ])
        .args(["-e", "frame.time_epoch"])
        .args(fields.iter().flat_map(|field| ["-e", field]))
        .arg("-r")
        .arg(&recording.file)
        .stdout(File::create(&printed).with_context(|| format!("creating {}", printed.display()))?)
        .stderr(Stdio::null());
    let cpu = run(&mut tshark)?;
    let lines = BufReader::new(File::open(&printed).context("opening what tshark printed")?).lines();
    let mut exchanges = 0;
    for line in lines {
        let line = line.context("reading what tshark printed")?;
        let statuses = line.rsplit('\t').next().unwrap_or_default();
        exchanges += statuses.split(',').filter(|status| !status.is_empty()).count() as u64;
    }
    Ok(Some(Pass { cpu, exchanges }))
}

/// A pass of Suricata; `None` where it is not installed.
pub fn suricata(recording: &Recording, scratch: &Path) -> Result<Option<Pass>> {
    let Some(program) = command::find_program("suricata") else {
        return Ok(None);
    };
    let out = scratch.join("suricata");
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("removing {}", out.display()))?;
    }
    fs::create_dir(&out).with_context(|| format!("creating {}", out.display()))?;
    let configuration = scratch.join("suricata.yaml");
    fs::write(&configuration, SURICATA).with_context(|| format!("writing {}", configuration.display()))?;
    let mut suricata = Command::new(program);
    suricata
        .args(["--runmode", "single", "-S", "/dev/null", "-c"])
        .arg(&configuration)
        .arg("-l")
        .arg(&out)
        .arg("-r")
        .arg(&recording.file)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let cpu = run(&mut suricata)?;
    let lines =
        BufReader::new(File::open(out.join("eve.json")).context("opening what Suricata wrote")?).lines();
    let mut exchanges = 0;
    for line in lines {
        let line = line.context("reading what Suricata wrote")?;
        // Settings of an HTTP/2 connection have a line of their own.
        exchanges += u64::from(line.contains("\"status\""));
    }
    Ok(Some(Pass { cpu, exchanges }))
}

/// User and system time that it took.
fn run(command: &mut Command) -> Result<Duration> {
    let before = process::ended_children()?;
    let status = command
        .status()
        .with_context(|| format!("starting `{}`", command::display(command)))?;
    if !status.success() {
        bail!("`{}`: {status}", command::display(command));
    }
    Ok(process::ended_children()?.saturating_sub(before))
}
