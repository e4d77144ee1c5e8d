//! What the collector counts of itself. Every drop and every limit has a counter here.

use std::fmt::Write as _;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Batches by outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: BatchOutcome,
}

/// Losses by limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DroppedLabel {
    what: Dropped,
}

/// What became of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BatchOutcome {
    /// Applied.
    Applied,
    /// Had been applied before.
    Duplicate,
    /// Too far behind its boot to tell.
    TooOld,
    /// Could not be understood.
    Rejected,
    /// The store could not take it; the agent keeps it.
    Failed,
}

/// What was removed or left out to keep within a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// Calls beyond `store.calls_max_rows`.
    CallsByRows,
    /// Calls beyond `store.calls_max_age`.
    CallsByAge,
    /// Calls whose id was there already.
    CallsDuplicate,
    /// Minutes beyond `store.minutes_max_age`.
    Minutes,
    /// Edges, workloads and agents beyond `store.idle_max_age`.
    Idle,
    /// Text fields cut to their limit.
    TextCut,
    /// Streams beyond `ingest.streams_max`.
    Streams,
    /// Streams whose first message was no hello, or not in time.
    StreamsWithoutHello,
    /// Streams of an agent that speaks another wire version.
    StreamsWireVersion,
    /// Streams ended by a message that could not be read, `ingest.message_bytes_max` included.
    StreamsBroken,
    /// HTTP requests beyond `http.concurrency_max`.
    HttpConcurrency,
    /// HTTP requests beyond `http.timeout`.
    HttpTimeout,
    /// APIs dropped from memory beyond `store.cached_records_max`.
    CachedApis,
}

macro_rules! label_values {
    ($type:ty { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl EncodeLabelValue for $type {
            fn encode(&self, encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>) -> std::fmt::Result {
                encoder.write_str(match self { $(Self::$variant => $name),+ })
            }
        }
    };
}

label_values!(BatchOutcome {
    Applied => "applied",
    Duplicate => "duplicate",
    TooOld => "too_old",
    Rejected => "rejected",
    Failed => "failed",
});

label_values!(Dropped {
    CallsByRows => "calls_by_rows",
    CallsByAge => "calls_by_age",
    CallsDuplicate => "calls_duplicate",
    Minutes => "minutes",
    Idle => "idle",
    TextCut => "text_cut",
    Streams => "streams",
    StreamsWithoutHello => "streams_without_hello",
    StreamsWireVersion => "streams_wire_version",
    StreamsBroken => "streams_broken",
    HttpConcurrency => "http_concurrency",
    HttpTimeout => "http_timeout",
    CachedApis => "cached_apis",
});

/// HTTP requests by status.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HttpLabel {
    /// Its route, as registered; `other` for none.
    pub route: String,
    /// Its status code.
    pub status: u16,
}

/// All counters. Shared by reference.
pub struct Metrics {
    registry: Registry,
    batches: Family<OutcomeLabel, Counter>,
    dropped: Family<DroppedLabel, Counter>,
    /// Agents connected.
    pub streams: Gauge,
    /// Payload bytes decoded.
    pub payload_bytes: Counter,
    /// Calls stored.
    pub calls: Counter,
    /// Endpoint increments applied: one (leaf, method) of one API in one batch.
    pub endpoint_deltas: Counter,
    /// Calls kept now.
    pub calls_kept: Gauge,
    /// APIs whose catalog is in memory.
    pub cached_apis: Gauge,
    /// Durations of the store's commits, work included.
    pub transaction_seconds: Histogram,
    /// Policy version in force.
    pub policy_version: Gauge,
    /// Policy files that could not be used.
    pub policy_failures: Counter,
    /// Requests answered.
    pub http_requests: Family<HttpLabel, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("eastwatch_collector"),
            batches: Family::default(),
            dropped: Family::default(),
            streams: Gauge::default(),
            payload_bytes: Counter::default(),
            calls: Counter::default(),
            endpoint_deltas: Counter::default(),
            calls_kept: Gauge::default(),
            cached_apis: Gauge::default(),
            transaction_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            policy_version: Gauge::default(),
            policy_failures: Counter::default(),
            http_requests: Family::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "ingest_batches",
            "Batches by what became of them",
            metrics.batches.clone(),
        );
        registry.register(
            "dropped",
            "What was left out or removed, by the limit that did it",
            metrics.dropped.clone(),
        );
        registry.register("ingest_streams", "Agents connected", metrics.streams.clone());
        registry.register_with_unit(
            "ingest_payload",
            "Decoded payloads",
            Unit::Bytes,
            metrics.payload_bytes.clone(),
        );
        registry.register("store_calls_stored", "Calls stored", metrics.calls.clone());
        registry.register(
            "store_endpoint_deltas",
            "Endpoint increments applied",
            metrics.endpoint_deltas.clone(),
        );
        registry.register(
            "store_calls_kept",
            "Calls in the store",
            metrics.calls_kept.clone(),
        );
        registry.register(
            "store_cached_apis",
            "APIs whose catalog is in memory",
            metrics.cached_apis.clone(),
        );
        registry.register_with_unit(
            "store_transaction",
            "Durations of write transactions",
            Unit::Seconds,
            metrics.transaction_seconds.clone(),
        );
        registry.register(
            "policy_version",
            "Policy version in force",
            metrics.policy_version.clone(),
        );
        registry.register(
            "policy_failures",
            "Policy files that could not be used",
            metrics.policy_failures.clone(),
        );
        registry.register(
            "http_requests",
            "HTTP requests answered",
            metrics.http_requests.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// Counts a batch.
    pub fn batch(&self, outcome: BatchOutcome) {
        self.batches.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Counts what was left out.
    pub fn count_dropped(&self, what: Dropped, count: u64) {
        if count > 0 {
            self.dropped.get_or_create(&DroppedLabel { what }).inc_by(count);
        }
    }

    /// How many were left out so far.
    #[must_use]
    pub fn dropped(&self, what: Dropped) -> u64 {
        self.dropped.get_or_create(&DroppedLabel { what }).get()
    }

    /// How many batches had this outcome so far.
    #[must_use]
    pub fn batches(&self, outcome: BatchOutcome) -> u64 {
        self.batches.get_or_create(&OutcomeLabel { outcome }).get()
    }

    /// Everything in the OpenMetrics text format.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
