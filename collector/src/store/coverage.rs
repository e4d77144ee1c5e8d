//! How much of what workloads said and heard was read: rows that the store gives out, and the API serves as they are.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::timestamp::Timestamp;

/// What became of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CoverageKind {
    /// Read and understood.
    Read,
    /// Left out on purpose.
    LeftOut,
    /// Should have been read.
    Missed,
}

impl CoverageKind {
    /// `read`, `left_out` or `missed`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::LeftOut => "left_out",
            Self::Missed => "missed",
        }
    }
}

impl std::str::FromStr for CoverageKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "read" => Ok(Self::Read),
            "left_out" => Ok(Self::LeftOut),
            "missed" => Ok(Self::Missed),
            _ => Err(format!("`{text}` is no kind of coverage")),
        }
    }
}

/// Bytes that share a fate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CoveredBytes {
    /// What became of them.
    pub kind: CoverageKind,
    /// `read`, or why not: `turn_limit`, `skipped`, `other_end`, `lowered`, `rested`, `other_protocol`, `unread` and `discarded`
    /// are left out on purpose; `opaque_call`, `outside_syscall`, `fault`, `too_many_parts`, `ring_full`, `unseen` and `not_understood`
    /// are missed.
    pub reason: String,
    /// How many.
    pub bytes: u64,
}

/// What connections carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrafficClass {
    /// HTTP, as it is on the socket.
    Http,
    /// TLS of which the plaintext is read.
    TlsDecrypted,
    /// TLS of which only ciphertext is seen.
    TlsUndecrypted,
    /// What was taken for HTTP and is not, or is no more.
    Other,
}

impl TrafficClass {
    /// `http`, `tls_decrypted`, `tls_undecrypted` or `other`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::TlsDecrypted => "tls_decrypted",
            Self::TlsUndecrypted => "tls_undecrypted",
            Self::Other => "other",
        }
    }
}

impl std::str::FromStr for TrafficClass {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "http" => Ok(Self::Http),
            "tls_decrypted" => Ok(Self::TlsDecrypted),
            "tls_undecrypted" => Ok(Self::TlsUndecrypted),
            "other" => Ok(Self::Other),
            _ => Err(format!("`{text}` is no class of traffic")),
        }
    }
}

/// Connections that carry the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Traffic {
    /// What.
    pub class: TrafficClass,
    /// TLS library: `openssl`, `gnutls`, `nss`, `go`, …; empty where nobody knows, or there is none.
    pub library: String,
    /// Why TLS is not decrypted: `no_tls_library_found`, `no_symbols`, `unsupported`, `older_than_agent`, `not_bound`, …; empty for
    /// what is no undecrypted TLS.
    pub reason: String,
    /// How many. One that changes its class counts in each.
    pub connections: u64,
    /// Bytes that their sockets moved, of TLS as encrypted.
    pub wire_bytes: u64,
    /// Bytes of plaintext that were read and understood.
    pub read_bytes: u64,
}

/// How much of what a workload said and heard on HTTP connections and in TLS sessions was read, and what its connections carry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Coverage {
    /// Workload; `(others)` for those beyond the agent's limit.
    pub workload: String,
    /// Node that it runs on.
    pub node: String,
    /// The agent's way of capturing.
    pub provider: String,
    /// `read_bytes` ÷ (`read_bytes` + `missed_bytes`); null where nothing was to be read.
    pub capture_rate: Option<f64>,
    /// Read and understood.
    pub read_bytes: u64,
    /// Should have been read.
    pub missed_bytes: u64,
    /// Left out on purpose.
    pub left_out_bytes: u64,
    /// The same by reason, most first.
    pub reasons: Vec<CoveredBytes>,
    /// What its connections carry, by class, library and reason.
    #[serde(default)]
    pub traffic: Vec<Traffic>,
    /// First minute that counts.
    pub first_minute: Timestamp,
    /// Last minute that counts.
    pub last_minute: Timestamp,
}
