//! What the store gives out, and the API serves as it is. Sizes are bytes, durations microseconds, times UTC.

pub use catalog::{Counts, Quantiles, StatusCounts};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::timestamp::Timestamp;

/// Which end of the connection something was seen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The server's socket: the record of the API.
    Server,
    /// The client's socket: the record of a dependency.
    Client,
}

impl Side {
    /// `server` or `client`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

impl std::str::FromStr for Side {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "server" => Ok(Self::Server),
            "client" => Ok(Self::Client),
            _ => Err(format!("`{text}` is neither `server` nor `client`")),
        }
    }
}

/// One operation of an API: a method on a path template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// 32 hex digits. Stays valid as an alias when templates are learnt better.
    pub id: String,
    /// Workload that serves it; empty when seen from the client's side only.
    pub workload: String,
    /// Host that clients call it by, lower case, with its port where given.
    pub host: String,
    /// Which end it was seen at.
    pub side: Side,
    /// Method.
    pub method: String,
    /// Path template: literal segments, and types in braces.
    pub path: String,
    /// Whether it ever answered other than 4xx; otherwise it may be a scanner's invention.
    pub confirmed: bool,
    /// Since it was first seen.
    pub total: Counts,
    /// In the time range asked for; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Counts>,
    /// Latency since it was first seen, microseconds.
    pub latency_us: Quantiles,
    /// Estimated number of distinct clients.
    pub clients: u64,
    /// First call.
    pub first_seen: Timestamp,
    /// Latest call.
    pub last_seen: Timestamp,
}

/// An endpoint with everything known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EndpointDetail {
    /// As in the list.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// Ids that it had before; they find it too.
    pub aliases: Vec<String>,
    /// Its minutes in the time range asked for, oldest first.
    pub minutes: Vec<Minute>,
    /// Latency, microseconds.
    pub latency_histogram: Vec<HistogramBucket>,
    /// Request sizes, bytes.
    pub request_bytes_histogram: Vec<HistogramBucket>,
    /// Response sizes, bytes.
    pub response_bytes_histogram: Vec<HistogramBucket>,
}

/// What an endpoint did in one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Minute {
    /// Its start.
    pub minute: Timestamp,
    /// Its counts.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Values from one number up to the next bucket's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistogramBucket {
    /// Least value of the bucket.
    pub from: u64,
    /// How many values.
    pub count: u64,
}

/// Who calls whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Edge {
    /// Workload that calls; empty when it is known by its address only.
    pub client_workload: String,
    /// Its address, when it has no workload.
    pub client_address: String,
    /// Workload that is called; empty when it is known by its address only.
    pub server_workload: String,
    /// Its address, when it has no workload.
    pub server_address: String,
    /// Port that is called.
    pub server_port: u16,
    /// Host that is asked for; empty when it varies too much to keep.
    pub host: String,
    /// `HTTP/1.1`, `HTTP/2`, …
    pub protocol: String,
    /// What speaks on top of it, as of a call.
    pub application: String,
    /// Which end it was seen at.
    pub side: Side,
    /// Calls, in the time range asked for or ever.
    pub calls: u64,
    /// Calls that failed: no response, 5xx, or what the application counts as the server's failure (gRPC's `INTERNAL`, …).
    pub errors: u64,
    /// Request bytes.
    pub request_bytes: u64,
    /// Response bytes.
    pub response_bytes: u64,
    /// Sum of the durations, microseconds.
    pub duration_us_sum: u64,
    /// First call.
    pub first_seen: Timestamp,
    /// Latest call.
    pub last_seen: Timestamp,
}

/// Something that runs on a node and speaks HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Workload {
    /// Its name, unique on its node.
    pub name: String,
    /// Node that it runs on.
    pub node: String,
    /// `container`, `systemd` or `process`.
    pub kind: String,
    /// Path of its executable.
    pub executable: String,
    /// Its command name.
    pub command: String,
    /// User that it runs as.
    pub user: String,
    /// Id of its container, if any.
    pub container_id: String,
    /// Runtime of its container, if any.
    pub container_runtime: String,
    /// Its systemd unit, if any.
    pub systemd_unit: String,
    /// Its cgroup.
    pub cgroup_id: u64,
    /// Its network namespace.
    pub netns: u64,
    /// One of its processes, on its node.
    pub pid: u32,
    /// First seen.
    pub first_seen: Timestamp,
    /// Latest state.
    pub last_seen: Timestamp,
}
