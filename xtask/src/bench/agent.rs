//! The agent as a thing to be measured: its own directory, its own sockets, and what it says of itself.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::bench::process::Process;
use crate::bench::programs::Counted;
use crate::workspace::{Profile, Workspace};

/// Time for the agent to answer, and for what it publishes to become true.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// The agent publishes its status once a second.
const STATUS_INTERVAL: Duration = Duration::from_millis(500);

/// How the agent is run.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// By its name, or `auto`.
    pub provider: &'a str,
    /// The collector's gRPC address; without one, batches go to the spool only.
    pub collector: Option<&'a str>,
    /// More of the environment.
    pub env: &'a [(&'a str, &'a str)],
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            provider: "auto",
            collector: None,
            env: &[],
        }
    }
}

/// Nobody listens on port 1 of loopback.
const NO_COLLECTOR: &str = "http://127.0.0.1:1";

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    pub process: Process,
    socket: PathBuf,
    /// Spool and socket; goes with this value.
    _directory: tempfile::TempDir,
}

/// The part of the agent's status that is of interest here.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    pub policy_version: u64,
    pub connections: u64,
    pub exchanges: u64,
    pub harm: Harm,
    programs: Vec<Program>,
    counters: Vec<Counter>,
}

/// What the budget for the time added to processes has come to.
#[derive(Debug, Clone, Deserialize)]
pub struct Harm {
    /// What the hook was measured to cost, nanoseconds.
    pub hook_ns: u64,
    pub processes: Vec<ProcessCost>,
}

/// What capturing adds to a process.
#[derive(Debug, Clone, Deserialize)]
pub struct ProcessCost {
    pub command: String,
    pub level: String,
    pub added_us_per_s: u64,
    pub allowed_us_per_s: u64,
}

#[derive(Debug, Clone, Deserialize)]
struct Program {
    name: String,
    id: u32,
}

#[derive(Debug, Clone, Deserialize)]
struct Counter {
    stage: String,
    name: String,
    events: u64,
}

impl Status {
    /// Events of a counter; 0 for one that does not exist.
    pub fn counted(&self, stage: &str, name: &str) -> u64 {
        self.counters
            .iter()
            .find(|counter| counter.stage == stage && counter.name == name)
            .map_or(0, |counter| counter.events)
    }

    pub fn programs(&self) -> Vec<Counted> {
        self.programs
            .iter()
            .map(|program| Counted::new(&program.name, program.id))
            .collect()
    }
}

impl Agent {
    /// Starts it and waits until it captures.
    pub fn start(workspace: &Workspace, setup: Setup<'_>) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("eastwatch-bench-")
            .tempdir()
            .context("creating a temporary directory")?;
        let socket = directory.path().join("agent.sock");
        let mut command = Command::new(
            workspace
                .target
                .join(Profile::Release.directory())
                .join("eastwatch-agent"),
        );
        command
            .arg("run")
            // What everything costs is measured, however much that is.
            .env("EASTWATCH_AGENT__HARM__CPU_PERCENT", "0")
            .env("EASTWATCH_AGENT__CAPTURE__PROVIDER", setup.provider)
            .env(
                "EASTWATCH_AGENT__COLLECTOR__URL",
                setup.collector.unwrap_or(NO_COLLECTOR),
            )
            .env("EASTWATCH_AGENT__CONTROL__SOCKET", &socket)
            .env("EASTWATCH_AGENT__METRICS__LISTEN", "127.0.0.1:0")
            .env("EASTWATCH_AGENT__SPOOL__DIR", directory.path().join("spool"))
            .envs(setup.env.iter().copied());
        let ready = |line: &str| line.starts_with("listening").then_some(());
        let (process, ()) = Process::start("the agent", &command, ready)?;
        Ok(Self {
            process,
            socket,
            _directory: directory,
        })
    }

    /// What the agent says of itself.
    pub fn status(&self) -> Result<Status> {
        status_at(&self.socket)
    }

    /// Where it can be asked, also by other threads.
    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// Waits until what the agent says of itself fits.
    pub fn wait(&self, what: &str, fits: impl Fn(&Status) -> bool) -> Result<Status> {
        let until = Instant::now() + ANSWER_DEADLINE;
        loop {
            let status = self.status()?;
            if fits(&status) {
                return Ok(status);
            }
            if Instant::now() >= until {
                bail!("the agent did not {what} within {} s", ANSWER_DEADLINE.as_secs());
            }
            // There is no event for it: the status is published at intervals.
            thread::sleep(STATUS_INTERVAL);
        }
    }

    /// Waits until the agent has nothing left to do, as far as connections and exchanges tell.
    pub fn settle(&self) -> Result<Status> {
        let mut last = self.status()?;
        let until = Instant::now() + ANSWER_DEADLINE;
        loop {
            thread::sleep(4 * STATUS_INTERVAL);
            let now = self.status()?;
            let quiet = now.exchanges == last.exchanges && now.connections == last.connections;
            if quiet || Instant::now() >= until {
                return Ok(now);
            }
            last = now;
        }
    }
}

/// What the agent that listens there says of itself.
pub fn status_at(socket: &Path) -> Result<Status> {
    ask(socket).with_context(|| format!("asking the agent at {}", socket.display()))
}

fn ask(socket: &Path) -> Result<Status> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
    stream.write_all(b"\"status\"\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    serde_json::from_str(&line).context("its answer is not understood")
}
