//! The collector's configuration: one TOML file, overridden by environment variables, unknown keys refused.
//!
//! `EASTWATCH_COLLECTOR__LISTEN__GRPC` in the environment is `listen.grpc` in the file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use serde::Deserialize;

/// What environment variables of the collector start with; `__` separates the parts of a key.
const ENV_PREFIX: &str = "EASTWATCH_COLLECTOR__";

/// Everything that can be set.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Listen,
    /// Where data is kept and for how long.
    pub store: Store,
    /// Limits on what agents send.
    pub ingest: Ingest,
    /// Limits on what clients of the HTTP API ask for.
    pub http: Http,
    /// What agents are told to capture.
    pub policy: Policy,
    /// What the collector says about itself.
    pub log: Log,
    /// How it ends.
    pub shutdown: Shutdown,
}

/// `listen.*`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Where agents connect. Port 0 lets the kernel choose.
    pub grpc: SocketAddr,
    /// Where the API, metrics and health answer. Port 0 lets the kernel choose.
    pub http: SocketAddr,
    /// Allow addresses beyond loopback although nothing is encrypted or authenticated.
    pub insecure: bool,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            grpc: SocketAddr::from(([127, 0, 0, 1], 4460)),
            http: SocketAddr::from(([127, 0, 0, 1], 4461)),
            insecure: false,
        }
    }
}

/// `store.*`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// The database file; created when missing.
    pub path: PathBuf,
    /// Largest size of the database, bytes; 0 for no limit of its own. Beyond it batches are refused until there is room.
    pub bytes_max: u64,
    /// Calls kept; the oldest go first.
    pub calls_max_rows: u64,
    /// Age at which a call is dropped.
    #[serde(with = "duration")]
    pub calls_max_age: Duration,
    /// Age at which a row of `endpoint_minutes` or an edge's minute is dropped.
    #[serde(with = "duration")]
    pub minutes_max_age: Duration,
    /// Time without a sign of life after which an edge, a workload or an agent is forgotten.
    #[serde(with = "duration")]
    pub idle_max_age: Duration,
    /// Read-only connections that answer queries.
    pub readers: usize,
    /// Endpoint records that stay in memory, over all APIs; APIs unused for longest are dropped first and read again when needed.
    pub cached_records_max: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            path: PathBuf::from("eastwatch.db"),
            bytes_max: 0,
            calls_max_rows: 1_000_000,
            calls_max_age: Duration::from_secs(7 * 86_400),
            minutes_max_age: Duration::from_secs(90 * 86_400),
            idle_max_age: Duration::from_secs(90 * 86_400),
            readers: 4,
            cached_records_max: 32_768,
        }
    }
}

/// `ingest.*`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Ingest {
    /// Agents connected at once.
    pub streams_max: usize,
    /// Largest message from an agent, bytes.
    pub message_bytes_max: usize,
    /// Batches of one agent taken and not yet acknowledged; further ones wait in the connection.
    pub inflight_per_stream_max: usize,
    /// Memory of decoded batches waiting for the store over all agents, bytes; further ones wait in their connections.
    pub queue_bytes_max: usize,
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            streams_max: 10_000,
            message_bytes_max: 20 << 20,
            inflight_per_stream_max: 16,
            queue_bytes_max: 128 << 20,
        }
    }
}

/// `http.*`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Requests answered at once; further ones are refused with 503.
    pub concurrency_max: usize,
    /// Largest request body, bytes.
    pub body_bytes_max: usize,
    /// Time after which a query is given up.
    #[serde(with = "duration")]
    pub timeout: Duration,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            concurrency_max: 64,
            body_bytes_max: 64 << 10,
            timeout: Duration::from_secs(30),
        }
    }
}

/// `policy.*`
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// TOML file of the capture policy; agents get the default policy without one. Read again on SIGHUP.
    pub file: Option<PathBuf>,
}

/// `log.*`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or per-module directives such as `info,eastwatch_collector::ingest=debug`.
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

/// `shutdown.*`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// Time that streams, queries and the store get to finish after a signal.
    #[serde(with = "duration")]
    pub deadline: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}. Give an existing file with --config, or none for the defaults", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A key or a value that does not exist, or of the wrong type.
    #[error("{0}. deploy/eastwatch-collector.toml lists every key with its default")]
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
    /// See [`ConfigError`]; the message names key, file and remedy.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut figment = Figment::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
                path: path.to_owned(),
                source,
            })?;
            // Parsed first on its own: figment drops the position of a syntax error.
            toml::from_str::<toml::Table>(&text)
                .map_err(|error| ConfigError::Invalid(format!("{} is not TOML: {error}", path.display())))?;
            figment = figment.merge(Toml::file_exact(path));
        }
        let config: Self = figment
            .merge(Env::prefixed(ENV_PREFIX).split("__"))
            .extract()
            .map_err(|error| ConfigError::Invalid(explain(&error)))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        for (key, address) in [
            ("listen.grpc", self.listen.grpc),
            ("listen.http", self.listen.http),
        ] {
            if !address.ip().to_canonical().is_loopback() && !self.listen.insecure {
                return Err(ConfigError::Value {
                    key,
                    value: address.to_string(),
                    remedy: "this address is reachable from other machines, and the collector neither encrypts nor \
                             authenticates: use a loopback address such as 127.0.0.1, or accept that with listen.insecure = true",
                });
            }
        }
        for (key, value) in [
            ("store.calls_max_rows", self.store.calls_max_rows),
            ("store.readers", self.store.readers as u64),
            ("store.cached_records_max", self.store.cached_records_max as u64),
            ("ingest.streams_max", self.ingest.streams_max as u64),
            ("ingest.message_bytes_max", self.ingest.message_bytes_max as u64),
            (
                "ingest.inflight_per_stream_max",
                self.ingest.inflight_per_stream_max as u64,
            ),
            ("ingest.queue_bytes_max", self.ingest.queue_bytes_max as u64),
            ("http.concurrency_max", self.http.concurrency_max as u64),
        ] {
            if value == 0 {
                return Err(ConfigError::Value {
                    key,
                    value: "0".to_owned(),
                    remedy: "must be at least 1",
                });
            }
        }
        if self.store.readers > READERS_MAX {
            return Err(ConfigError::Value {
                key: "store.readers",
                value: self.store.readers.to_string(),
                remedy: "must be at most 64",
            });
        }
        Ok(())
    }
}

/// Largest sensible number of read-only connections; each costs memory for its page cache.
const READERS_MAX: usize = 64;

/// figment's error in one sentence: what, at which key, from where.
fn explain(error: &figment::Error) -> String {
    let key = error.path.join(".");
    let place = match error.metadata.as_ref() {
        Some(metadata) => match metadata.source.as_ref() {
            Some(source) => format!("in {source}"),
            None => format!("from {}", metadata.name.replace('`', "")),
        },
        None => "in the configuration".to_owned(),
    };
    if key.is_empty() {
        format!("{} {place}", error.kind)
    } else {
        format!("{key} {place}: {}", error.kind)
    }
}

/// Durations as text: `10s`, `15m`, `7d`.
mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(|error| {
            serde::de::Error::custom(format!("`{text}` is not a duration such as `15m`: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path))
    }

    #[test]
    fn nothing_is_the_default_and_so_is_the_example() {
        assert_eq!(load("").unwrap(), Config::default());
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/eastwatch-collector.toml");
        assert_eq!(Config::load(Some(&example)).unwrap(), Config::default());
    }

    #[test]
    fn the_example_names_every_key() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/eastwatch-collector.toml");
        let text = std::fs::read_to_string(example).unwrap();
        // The `Debug` form lists the fields; a key that has no default value in TOML stands as a comment.
        let debug = format!("{:?}", Config::default());
        let fields = debug
            .split(['{', ','])
            .filter_map(|part| part.split_once(": "))
            .map(|(name, _)| name.trim());
        let missing: Vec<_> = fields
            .filter(|name| !text.contains(&format!("{name} = ")) && !text.contains(&format!("[{name}]")))
            .collect();
        assert_eq!(missing, Vec::<&str>::new());
    }

    #[test]
    fn errors_name_the_key_the_place_and_the_remedy() {
        for (text, words) in [
            (
                "[listen]\ngrcp = 1",
                &["grcp", "config.toml", "grpc", "deploy/eastwatch-collector.toml"][..],
            ),
            ("[stroe]\n", &["stroe", "config.toml", "store"]),
            (
                "[store]\ncalls_max_rows = \"many\"",
                &["store.calls_max_rows", "config.toml", "many"],
            ),
            (
                "[store]\ncalls_max_age = \"soon\"",
                &["store.calls_max_age", "`soon`", "15m"],
            ),
            (
                "[listen]\nhttp = \"localhost\"",
                &["listen.http", "socket address"],
            ),
            ("[store\n", &["config.toml", "TOML", "line 1"]),
            (
                "[store]\ncalls_max_rows = 0",
                &["store.calls_max_rows", "at least 1"],
            ),
            ("[store]\nreaders = 65", &["store.readers", "at most 64"]),
            (
                "[listen]\ngrpc = \"0.0.0.0:4460\"",
                &["listen.grpc", "0.0.0.0:4460", "listen.insecure"],
            ),
            (
                "[listen]\nhttp = \"[::]:4461\"",
                &["listen.http", "listen.insecure"],
            ),
        ] {
            let message = load(text).unwrap_err().to_string();
            assert!(
                words.iter().all(|word| message.contains(word)),
                "{text:?}: {message}"
            );
        }
        let message = Config::load(Some(Path::new("no/such/file.toml")))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("no/such/file.toml") && message.contains("--config"),
            "{message}"
        );
    }

    #[test]
    fn other_addresses_need_consent() {
        let open = "[listen]\ngrpc = \"0.0.0.0:4460\"\nhttp = \"[::]:0\"\ninsecure = true";
        assert!(load(open).is_ok());
        assert!(load("[listen]\ngrpc = \"[::1]:0\"\nhttp = \"[::ffff:127.0.0.1]:0\"").is_ok());
    }
}
