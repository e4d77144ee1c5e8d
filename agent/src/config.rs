//! The agent's configuration: one TOML file, overridden by environment variables, unknown keys refused.
//!
//! `EASTWATCH_AGENT__COLLECTOR__URL` in the environment is `collector.url` in the file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_common::{STATES_MAX, THREADS_MAX, TLS_SESSIONS_MAX};
use figment::Figment;
use figment::providers::{Env, Format, Toml};
use serde::Deserialize;

use crate::decay::Rules;
use crate::loader::ProviderChoice;
use crate::tls::discovery;
use crate::tracker::RECONCILE_S;

/// What environment variables of the agent start with; `__` separates the parts of a key.
const ENV_PREFIX: &str = "EASTWATCH_AGENT__";

/// Everything that can be set.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who this node is.
    pub node: Node,
    /// Where to send what is learnt.
    pub collector: Collector,
    /// What waits for the collector.
    pub spool: Spool,
    /// How traffic is captured.
    pub capture: Capture,
    /// What capturing may cost the processes that it watches.
    pub harm: Harm,
    /// Bounds.
    pub limits: Limits,
    /// The socket that `tail` and `doctor` talk to.
    pub control: Control,
    /// Metrics and health.
    pub metrics: Metrics,
    /// What the agent says about itself.
    pub log: Log,
}

/// `node.*`
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Node {
    /// Name of the node; the host name when not set.
    pub name: Option<String>,
}

/// `collector.*`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Collector {
    /// `http://HOST:PORT` of the collector's gRPC address.
    pub url: String,
    /// How often what is new is sent, milliseconds.
    pub interval_ms: u64,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:4460".to_owned(),
            interval_ms: 5000,
        }
    }
}

/// `spool.*`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// Directory; made when missing.
    pub dir: PathBuf,
    /// Largest size, bytes; the oldest batches go first.
    pub bytes_max: u64,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            dir: "/var/lib/eastwatch/spool".into(),
            bytes_max: 256 << 20,
        }
    }
}

/// `capture.*`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Capture {
    /// `auto`, `sock-length` or `syscall-exit`.
    pub provider: ProviderChoice,
    /// Size of the ring buffer between kernel and agent, bytes: a power of two, at least 4096.
    pub ring_bytes: u32,
    /// Connections whose state the programs keep by their sockets' addresses, 64 to 1048576: those of the UNIX domain, and of TCP with
    /// `kprobe` and at system calls. Those that were not used for longest make room.
    pub states_max: u32,
    /// Threads whose calls in progress are remembered, 1 to 1048576, with `kprobe` and `syscall-enter-exit`.
    pub threads_max: u32,
    /// TLS sessions whose state the programs keep, 1 to 1048576.
    pub tls_sessions_max: u32,
    /// How often the ring buffer is emptied, milliseconds.
    pub drain_ms: u64,
    /// Bytes captured of what one end sends before the other answers, 1 to 65536; the rest of a body is measured, not read.
    pub turn_bytes: u32,
    /// The same when the policy asks for heads only.
    pub head_bytes: u32,
    /// How often the bytes of a connection that goes on are compared with those of its socket, seconds, 1 to 3600. At its end they
    /// always are.
    pub reconcile_seconds: u64,
    /// Diagnostics of the eBPF programs in the agent's log.
    pub diagnostics: bool,
    /// Fewer calls are captured of what is known.
    pub decay: Decay,
    /// TLS libraries of processes.
    pub tls: Tls,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            provider: ProviderChoice::Auto,
            ring_bytes: 16 << 20,
            states_max: STATES_MAX,
            threads_max: THREADS_MAX,
            tls_sessions_max: TLS_SESSIONS_MAX,
            drain_ms: 10,
            turn_bytes: 64 << 10,
            head_bytes: 8 << 10,
            reconcile_seconds: RECONCILE_S,
            diagnostics: false,
            decay: Decay::default(),
            tls: Tls::default(),
        }
    }
}

/// `capture.tls.*`: TLS is read at the functions of the libraries that processes use; these are looked for in what they execute.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Otherwise TLS connections are counted, and not decrypted.
    pub enabled: bool,
    /// Processes followed, 1 to 4194304. A library that is probed is so for all processes.
    pub processes_max: usize,
    /// Files that processes execute or map executable, 1 to 1048576.
    pub files_max: usize,
    /// Files probed, 1 to 65536.
    pub libraries_max: usize,
    /// How long probes stay in a library that nobody uses, seconds, at most 86400: the next short-lived program is decrypted from its
    /// first byte on.
    pub linger_seconds: u64,
}

impl Default for Tls {
    fn default() -> Self {
        let limits = discovery::Limits::default();
        Self {
            enabled: true,
            processes_max: limits.processes,
            files_max: limits.inodes.files,
            libraries_max: limits.inodes.libraries,
            linger_seconds: limits.inodes.linger_ns / 1_000_000_000,
        }
    }
}

/// `capture.decay.*`: of an endpoint whose calls bring nothing new any more, one in 8 is captured, then one in 64, and so on. The others
/// are counted.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Decay {
    /// Where the policy does not say whether.
    pub enabled: bool,
    /// Captured calls without anything new before each step.
    pub after: u32,
    /// Of so many calls at least one is captured, 2 to 4096.
    pub most: u32,
    /// How often such an endpoint is captured whole again, for `after` calls, seconds.
    pub review_seconds: u64,
}

impl Default for Decay {
    fn default() -> Self {
        let rules = Rules::default();
        Self {
            enabled: false,
            after: rules.after,
            most: rules.most,
            review_seconds: rules.review_ns / 1_000_000_000,
        }
    }
}

impl Decay {
    /// When less is captured.
    #[must_use]
    pub const fn rules(&self) -> Rules {
        Rules {
            after: self.after,
            most: self.most,
            review_ns: self.review_seconds.saturating_mul(1_000_000_000),
        }
    }
}

/// `harm.*`: a process is over its budget when capturing adds more to it than both shares. Then less of it is captured, step by step.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Harm {
    /// Of the CPU time that the process takes itself, percent; 0: no limit. A tenth is what the thinnest of servers, which does
    /// nothing but hand out small files from memory, pays with both cores full; one that computes anything pays a few percent.
    pub cpu_percent: f64,
    /// Of one core, percent. Below it nothing is done: who is far from filling a core notices no tenth of what it takes.
    pub core_percent: f64,
    /// How long the load has to stay low before a step back, seconds.
    pub calm_s: u64,
}

impl Default for Harm {
    fn default() -> Self {
        Self {
            cpu_percent: 10.0,
            core_percent: 5.0,
            calm_s: 30,
        }
    }
}

/// `limits.*`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// HTTP connections tracked at a time.
    pub connections: usize,
    /// A connection of which nothing was heard for so long is given up, seconds.
    pub idle_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 100_000,
            idle_s: 3600,
        }
    }
}

/// `control.*`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// Path of the socket.
    pub socket: PathBuf,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            socket: "/run/eastwatch/agent.sock".into(),
        }
    }
}

/// `metrics.*`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Where `/metrics`, `/healthz` and `/readyz` answer. Port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// Allow an address beyond loopback although nothing is encrypted or authenticated.
    pub insecure: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4462)),
            insecure: false,
        }
    }
}

/// `log.*`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or per-module directives.
    pub level: String,
    /// One line of text, or one JSON object, an event.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// How log events look.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {cause}. Give an existing file with --config, or none for the defaults", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A key or a value that does not exist, or of the wrong type.
    #[error("{0}. deploy/eastwatch-agent.toml lists every key with its default")]
    Invalid(String),
    /// A value out of its range.
    #[error("{key} = {value}: {remedy}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it was set to.
        value: String,
        /// What it must be.
        remedy: &'static str,
    },
}

impl Config {
    /// Reads the file, if any, then the environment.
    ///
    /// # Errors
    /// See [`ConfigError`]; the message names key, source and remedy.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut figment = Figment::new();
        if let Some(path) = file {
            std::fs::File::open(path).map_err(|cause| ConfigError::Read {
                path: path.to_owned(),
                cause,
            })?;
            figment = figment.merge(Toml::file_exact(path));
        }
        let config: Self = figment
            .merge(Env::prefixed(ENV_PREFIX).split("__"))
            .extract()
            // Its profile is no part of a key.
            .map_err(|error| ConfigError::Invalid(error.to_string().replace("\"default.", "\"")))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let value = |key, value: &dyn ToString, remedy| {
            Err(ConfigError::Value {
                key,
                value: value.to_string(),
                remedy,
            })
        };
        let capture = &self.capture;
        if !capture.ring_bytes.is_power_of_two() || capture.ring_bytes < 4096 || capture.ring_bytes > 1 << 30
        {
            return value(
                "capture.ring_bytes",
                &capture.ring_bytes,
                "must be a power of two from 4096 to 1073741824",
            );
        }
        for (key, count, least, remedy) in [
            (
                "capture.states_max",
                capture.states_max,
                64,
                "must be 64 to 1048576",
            ),
            (
                "capture.threads_max",
                capture.threads_max,
                1,
                "must be 1 to 1048576",
            ),
            (
                "capture.tls_sessions_max",
                capture.tls_sessions_max,
                1,
                "must be 1 to 1048576",
            ),
        ] {
            if !(least..=1 << 20).contains(&count) {
                return value(key, &count, remedy);
            }
        }
        if !(1..=1000).contains(&capture.drain_ms) {
            return value("capture.drain_ms", &capture.drain_ms, "must be 1 to 1000");
        }
        for (key, bytes) in [
            ("capture.turn_bytes", capture.turn_bytes),
            ("capture.head_bytes", capture.head_bytes),
        ] {
            if !(1..=64 << 10).contains(&bytes) {
                return value(key, &bytes, "must be 1 to 65536");
            }
        }
        if !(1..=3600).contains(&capture.reconcile_seconds) {
            return value(
                "capture.reconcile_seconds",
                &capture.reconcile_seconds,
                "must be 1 to 3600",
            );
        }
        let decay = &capture.decay;
        if !(1..=1_000_000).contains(&decay.after) {
            return value("capture.decay.after", &decay.after, "must be 1 to 1000000");
        }
        if !(2..=4096).contains(&decay.most) {
            return value("capture.decay.most", &decay.most, "must be 2 to 4096");
        }
        if !(1..=86_400).contains(&decay.review_seconds) {
            return value(
                "capture.decay.review_seconds",
                &decay.review_seconds,
                "must be 1 to 86400",
            );
        }
        let tls = &capture.tls;
        for (key, count, most, remedy) in [
            (
                "capture.tls.processes_max",
                tls.processes_max,
                1 << 22,
                "must be 1 to 4194304",
            ),
            (
                "capture.tls.files_max",
                tls.files_max,
                1 << 20,
                "must be 1 to 1048576",
            ),
            (
                "capture.tls.libraries_max",
                tls.libraries_max,
                1 << 16,
                "must be 1 to 65536",
            ),
        ] {
            if !(1..=most).contains(&count) {
                return value(key, &count, remedy);
            }
        }
        if tls.linger_seconds > 86_400 {
            return value(
                "capture.tls.linger_seconds",
                &tls.linger_seconds,
                "must be 0 to 86400",
            );
        }
        let harm = &self.harm;
        for (key, percent) in [
            ("harm.cpu_percent", harm.cpu_percent),
            ("harm.core_percent", harm.core_percent),
        ] {
            if !(0.0..=100.0).contains(&percent) {
                return value(key, &percent, "must be 0 to 100");
            }
        }
        if !(1..=3600).contains(&harm.calm_s) {
            return value("harm.calm_s", &harm.calm_s, "must be 1 to 3600");
        }
        if self.limits.connections == 0 {
            return value("limits.connections", &0, "must be at least 1");
        }
        if self.limits.idle_s == 0 {
            return value("limits.idle_s", &0, "must be at least 1");
        }
        if !(100..=600_000).contains(&self.collector.interval_ms) {
            return value(
                "collector.interval_ms",
                &self.collector.interval_ms,
                "must be 100 to 600000",
            );
        }
        if !self.metrics.listen.ip().to_canonical().is_loopback() && !self.metrics.insecure {
            return value(
                "metrics.listen",
                &self.metrics.listen,
                "this address is reachable from other machines: use a loopback address such as 127.0.0.1, or accept that with \
                 metrics.insecure = true",
            );
        }
        Ok(())
    }

    /// How long between two drains.
    #[must_use]
    pub const fn drain_interval(&self) -> Duration {
        Duration::from_millis(self.capture.drain_ms)
    }
}

#[cfg(test)]
mod tests;
