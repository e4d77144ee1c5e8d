//! An agent of its own for each test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::collector::binary;
use crate::http;
use crate::metrics::Metrics;
use crate::process::Process;

/// How it is configured; everything else is as delivered.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// `capture.provider`.
    pub provider: String,
    /// `capture.ring_bytes`.
    pub ring_bytes: u32,
    /// `capture.drain_ms`.
    pub drain_ms: u32,
    /// `spool.dir`; below the test's directory when not set.
    pub spool: Option<PathBuf>,
    /// More of the environment.
    pub env: Vec<(String, String)>,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            provider: "auto".to_owned(),
            ring_bytes: 16 << 20,
            drain_ms: 10,
            spool: None,
            env: Vec::new(),
        }
    }
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    /// The process.
    pub process: Process,
    /// Where its metrics are.
    pub metrics: SocketAddr,
    directory: PathBuf,
    options: AgentOptions,
}

impl Agent {
    /// A command of the agent with the configuration of this test: `run`, `tail`, `doctor`.
    #[must_use]
    pub fn command(directory: &Path, collector: SocketAddr, options: &AgentOptions) -> Command {
        let spool = options.spool.clone().unwrap_or_else(|| directory.join("spool"));
        let mut command = Command::new(binary("eastwatch-agent"));
        command
            .env("EASTWATCH_AGENT__COLLECTOR__URL", format!("http://{collector}"))
            .env("EASTWATCH_AGENT__COLLECTOR__INTERVAL_MS", "200")
            .env("EASTWATCH_AGENT__SPOOL__DIR", spool)
            .env("EASTWATCH_AGENT__CONTROL__SOCKET", Self::socket(directory))
            .env("EASTWATCH_AGENT__METRICS__LISTEN", "127.0.0.1:0")
            // Tests count every exchange, however busy their processes are.
            .env("EASTWATCH_AGENT__HARM__CPU_PERCENT", "0")
            .env("EASTWATCH_AGENT__CAPTURE__PROVIDER", &options.provider)
            .env(
                "EASTWATCH_AGENT__CAPTURE__RING_BYTES",
                options.ring_bytes.to_string(),
            )
            .env("EASTWATCH_AGENT__CAPTURE__DRAIN_MS", options.drain_ms.to_string())
            .envs(options.env.iter().cloned());
        command
    }

    /// Path of the control socket.
    #[must_use]
    pub fn socket(directory: &Path) -> PathBuf {
        directory.join("agent.sock")
    }

    /// Starts one and waits until it captures.
    #[must_use]
    pub fn start(directory: &Path, collector: SocketAddr, options: &AgentOptions) -> Self {
        let mut command = Self::command(directory, collector, options);
        command.arg("run");
        let mut process = Process::start("agent", directory, &command);
        let metrics = process.until_line("captures", |line| {
            line.split_whitespace()
                .find_map(|word| word.strip_prefix("metrics=http://")?.parse().ok())
        });
        Self {
            process,
            metrics,
            directory: directory.to_owned(),
            options: options.clone(),
        }
    }

    /// Its counters. Published once a second.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::parse(&http::get(self.metrics, "/metrics").unwrap().text())
    }

    /// Runs another command of the agent's binary with the same configuration.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        Self::command(&self.directory, nobody, &self.options)
            .args(arguments)
            .output()
            .unwrap()
    }

    /// What `doctor` says of it, as JSON.
    #[must_use]
    pub fn doctor(&self) -> serde_json::Value {
        serde_json::from_slice(&self.run(&["doctor", "--output", "json"]).stdout).unwrap()
    }

    /// Ids of its programs, as it tells them.
    ///
    /// # Panics
    /// It does not answer.
    #[must_use]
    pub fn programs(&self) -> Vec<u32> {
        let report = self.doctor();
        let programs = report["agent"]["programs"].as_array().unwrap();
        programs
            .iter()
            .map(|program| u32::try_from(program["id"].as_u64().unwrap()).unwrap())
            .collect()
    }
}
