//! What the agent says of itself: published by the capture thread, read by the control socket, metrics and the collector.

mod rows;

pub use rows::{PipelineDrop, Rows};

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::coverage::{CoverageRow, TrafficRow};

/// How long who asks waits for a picture of that moment; one that is ending makes none any more.
const FRESH_WAIT: Duration = Duration::from_millis(500);

use crate::tls::discovery;
use crate::{decay, harm};

/// A counter that says what became of something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterRow {
    /// Where: kernel, tracker, protocol, attribution, discovery, harm, decay, catalog, calls, edges, redact, host.
    pub stage: String,
    /// What.
    pub name: String,
    /// How often.
    pub events: u64,
    /// Bytes, where that is counted.
    pub bytes: u64,
    /// One line about it, where there is one.
    pub meaning: String,
    /// Whether anything is missing because of it.
    pub fate: Fate,
}

/// What a counter says of what it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It should have been seen, and was not.
    Lost,
    /// On purpose, by the policy or a limit, or nobody could have seen it: known, and not kept.
    LeftOut,
    /// It is as it should be.
    #[default]
    Counted,
}

/// An attached program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramRow {
    /// Name.
    pub name: String,
    /// The kernel's id, as `bpftool prog show id` takes it.
    pub id: u32,
    /// Instructions that the verifier walked.
    pub verified: u32,
}

/// A provider that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderRow {
    /// Name.
    pub name: String,
    /// Why it does not work; empty when it does.
    pub error: String,
    /// It is the one in use.
    pub attached: bool,
}

/// State of the way to the collector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRow {
    /// Where to; empty when the agent does not export.
    pub url: String,
    /// State of the connection.
    pub link: String,
    /// Last failure, with its remedy.
    pub last_error: String,
    /// Batches waiting.
    pub batches: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What keeps the spool from writing to its directory.
    pub spool_trouble: String,
    /// Batches lost, by reason.
    pub lost: Vec<(String, u64)>,
}

/// A picture of the agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Name of the node.
    pub node: String,
    /// This run.
    pub boot: String,
    /// Version of the agent.
    pub version: String,
    /// Kernel release.
    pub kernel: String,
    /// Provider in use.
    pub provider: String,
    /// Size of the ring buffer, bytes.
    pub ring_bytes: u32,
    /// When the agent started, Unix epoch microseconds.
    pub started_us: i64,
    /// Policy in force; 0: the defaults.
    pub policy_version: u64,
    /// Connections tracked now.
    pub connections: u64,
    /// Exchanges so far.
    pub exchanges: u64,
    /// Call rows handed over so far.
    pub calls_sent: u64,
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Attached programs.
    pub programs: Vec<ProgramRow>,
    /// Providers tried.
    pub providers: Vec<ProviderRow>,
    /// Counters.
    pub counters: Vec<CounterRow>,
    /// How much of each workload was read, lowest rate first.
    pub coverage: Vec<CoverageRow>,
    /// What the connections of each workload carry.
    #[serde(default)]
    pub traffic: Vec<TrafficRow>,
    /// Way to the collector.
    pub export: ExportRow,
    /// What capturing adds to processes.
    #[serde(default)]
    pub harm: harm::Report,
    /// How much is captured of what is known.
    #[serde(default)]
    pub decay: decay::Report,
    /// TLS libraries of processes.
    #[serde(default)]
    pub tls: discovery::Report,
}

/// The latest picture, shared between threads.
#[derive(Clone, Debug, Default)]
pub struct Published(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    latest: Mutex<Status>,
    /// Somebody waits for a newer one.
    wanted: AtomicBool,
    made: Notify,
}

impl Published {
    /// Replaces it.
    pub fn set(&self, status: Status) {
        *self.0.latest.lock().unwrap_or_else(PoisonError::into_inner) = status;
        self.0.made.notify_waiters();
    }

    /// A copy.
    #[must_use]
    pub fn get(&self) -> Status {
        self.0
            .latest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether a picture was asked for since the last call.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.0.wanted.swap(false, Ordering::AcqRel)
    }

    /// One that was made after the call, unless none comes in time.
    pub async fn fresh(&self) -> Status {
        let made = self.0.made.notified();
        tokio::pin!(made);
        // From here on it hears of pictures.
        made.as_mut().enable();
        self.0.wanted.store(true, Ordering::Release);
        let _ = tokio::time::timeout(FRESH_WAIT, made).await;
        self.get()
    }
}

impl Status {
    /// For the collector.
    #[must_use]
    pub fn to_wire(&self, hostname: &str) -> wire::v1::AgentStatus {
        wire::v1::AgentStatus {
            provider: self.provider.clone(),
            kernel: self.kernel.clone(),
            hostname: hostname.to_owned(),
            policy_version: self.policy_version,
            started_us: self.started_us,
            connections: self.connections,
            exchanges: self.exchanges,
            resident_bytes: self.resident_bytes,
            drops: self
                .counters
                .iter()
                .filter(|row| row.fate == Fate::Lost && row.events > 0)
                .map(|row| wire::v1::Drop {
                    stage: row.stage.clone(),
                    reason: row.name.clone(),
                    events: row.events,
                    bytes: row.bytes,
                })
                .collect(),
            lowered: self
                .harm
                .workloads
                .rows
                .iter()
                .map(harm::LoweredRow::to_wire)
                .collect(),
            lowered_more: self.harm.workloads.more,
        }
    }
}

/// Resident memory of this process, bytes; 0 where `/proc` does not say.
#[must_use]
pub fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok())
        .unwrap_or(0);
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .unwrap_or(4096);
    pages.saturating_mul(page.unsigned_abs())
}
