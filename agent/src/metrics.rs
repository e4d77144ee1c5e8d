//! `/metrics` in the Prometheus text format, `/healthz`, `/readyz`.

use std::fmt;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::coverage;
use crate::status::{Fate, Published, Status};

/// Turns the latest status into metrics at each scrape.
#[derive(Debug)]
struct StatusCollector(Published);

impl Collector for StatusCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let status = self.0.get();
        let gauges = [
            ("connections", "HTTP connections tracked now", status.connections),
            (
                "policy_version",
                "Capture policy in force, 0 for the defaults",
                status.policy_version,
            ),
            (
                "ring_bytes",
                "Size of the ring buffer",
                u64::from(status.ring_bytes),
            ),
            (
                "spool_batches",
                "Batches waiting for the collector",
                status.export.batches,
            ),
            ("spool_bytes", "Their bytes", status.export.bytes),
            (
                "resident_bytes",
                "Resident memory of the agent",
                status.resident_bytes,
            ),
            (
                "hook_nanoseconds",
                "What the hook costs a transfer before anything is known of its connection",
                status.harm.hook_ns,
            ),
            (
                "decay_enabled",
                "1 while fewer calls are captured of endpoints that bring nothing new",
                u64::from(status.decay.enabled),
            ),
            (
                "decay_connections",
                "Connections whose endpoints are known, so that less of them could be captured",
                status.decay.connections,
            ),
            (
                "decay_connections_resting",
                "Those of which not every call is captured",
                status.decay.connections_resting,
            ),
            ("decay_bytes", "Memory that this takes", status.decay.bytes),
            (
                "collector_connected",
                "1 while the collector is connected",
                u64::from(status.export.link == "connected"),
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let counters = [
            ("exchanges", "Exchanges seen", status.exchanges),
            (
                "calls_sent",
                "Call rows handed over for the collector",
                status.calls_sent,
            ),
            (
                "added_nanoseconds",
                "Time that capturing added to the processes it watches",
                status.harm.added_ns,
            ),
        ];
        for (name, help, value) in counters {
            ConstCounter::new(value).encode(encoder.encode_descriptor(
                name,
                help,
                None,
                MetricType::Counter,
            )?)?;
        }
        let mut lowered = encoder.encode_descriptor(
            "processes_lowered",
            "Processes of which less than everything is captured, because it would cost them more than harm.* allows",
            None,
            MetricType::Gauge,
        )?;
        for (level, processes) in &status.harm.lowered {
            let gauge = ConstGauge::new(i64::try_from(*processes).unwrap_or(i64::MAX));
            gauge.encode(lowered.encode_family(&[("level", level.as_str())])?)?;
        }
        let mut decayed = encoder.encode_descriptor(
            "decay_endpoints",
            "Endpoints of which one call in so many is captured",
            None,
            MetricType::Gauge,
        )?;
        for level in &status.decay.levels {
            let gauge = ConstGauge::new(i64::try_from(level.endpoints).unwrap_or(i64::MAX));
            gauge.encode(decayed.encode_family(&[("every", level.every.to_string())])?)?;
        }
        encode_rows(&mut encoder, &status)
    }
}

fn encode_rows(encoder: &mut DescriptorEncoder<'_>, status: &Status) -> fmt::Result {
    let mut events = encoder.encode_descriptor(
        "events",
        "What became of records, messages and calls",
        None,
        MetricType::Counter,
    )?;
    for row in &status.counters {
        let labels = [("stage", row.stage.as_str()), ("what", row.name.as_str())];
        ConstCounter::new(row.events).encode(events.encode_family(&labels)?)?;
    }
    let mut bytes =
        encoder.encode_descriptor("bytes", "Bytes by what became of them", None, MetricType::Counter)?;
    for row in status.counters.iter().filter(|row| row.bytes > 0) {
        let labels = [("stage", row.stage.as_str()), ("what", row.name.as_str())];
        ConstCounter::new(row.bytes).encode(bytes.encode_family(&labels)?)?;
    }
    let mut covered = encoder.encode_descriptor(
        "coverage_bytes",
        "Bytes that the sockets of HTTP connections moved, by what became of them",
        None,
        MetricType::Counter,
    )?;
    for ((kind, reason), bytes) in coverage::sums(&status.coverage) {
        let labels = [("kind", kind), ("reason", reason)];
        ConstCounter::new(bytes).encode(covered.encode_family(&labels)?)?;
    }
    encode_traffic(encoder, status)?;
    let fates = [
        (Fate::Lost, "lost", "What should have been seen and was not"),
        (
            Fate::LeftOut,
            "left_out",
            "What was left out on purpose or by a limit",
        ),
    ];
    for (fate, name, help) in fates {
        let mut missing = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for row in status.counters.iter().filter(|row| row.fate == fate) {
            let labels = [("stage", row.stage.as_str()), ("what", row.name.as_str())];
            ConstCounter::new(row.events).encode(missing.encode_family(&labels)?)?;
        }
    }
    let mut lost = encoder.encode_descriptor(
        "spool_lost_batches",
        "Batches lost, by reason",
        None,
        MetricType::Counter,
    )?;
    for (reason, batches) in &status.export.lost {
        ConstCounter::new(*batches).encode(lost.encode_family(&[("reason", reason.as_str())])?)?;
    }
    Ok(())
}

/// What connections carry, and how much of TLS is decrypted.
fn encode_traffic(encoder: &mut DescriptorEncoder<'_>, status: &Status) -> fmt::Result {
    let sums = coverage::traffic_sums(&status.traffic);
    let mut encode = |name, help, of: fn(&(u64, u64)) -> u64| -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for ([class, library, reason], sum) in &sums {
            let labels = [("class", *class), ("library", *library), ("reason", *reason)];
            ConstCounter::new(of(sum)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    };
    encode(
        "traffic_connections",
        "Connections by what they carry: http, tls_decrypted, tls_undecrypted, other",
        |sum| sum.0,
    )?;
    encode(
        "traffic_wire_bytes",
        "Bytes that their sockets moved, of TLS as encrypted",
        |sum| sum.1,
    )
}

/// The text of a scrape.
fn render(published: &Published) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("eastwatch_agent");
    registry.register_collector(Box::new(StatusCollector(published.clone())));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

async fn metrics(State(published): State<Published>) -> impl IntoResponse {
    match render(&published) {
        Ok(text) => (
            StatusCode::OK,
            [(
                header::CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            text,
        ),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain")],
            error.to_string(),
        ),
    }
}

/// Ready once programs are attached: then the status names a provider.
async fn ready(State(published): State<Published>) -> impl IntoResponse {
    if published.get().provider.is_empty() {
        (StatusCode::SERVICE_UNAVAILABLE, "not capturing yet\n")
    } else {
        (StatusCode::OK, "capturing\n")
    }
}

/// Binds the address.
///
/// # Errors
/// The address cannot be had, with the key that sets it.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} for metrics: set metrics.listen to a free address")
    })
}

/// Serves for as long as it is polled.
///
/// # Errors
/// The listener failed.
pub async fn serve(listener: TcpListener, published: Published) -> Result<()> {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(published);
    axum::serve(listener, routes).await.context("serving metrics")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decay;
    use crate::status::CounterRow;

    #[test]
    fn every_counter_is_exposed_with_its_labels() {
        let published = Published::default();
        published.set(Status {
            exchanges: 7,
            counters: vec![CounterRow {
                stage: "kernel".into(),
                name: "ring_full".into(),
                events: 3,
                bytes: 99,
                meaning: String::new(),
                fate: Fate::Lost,
            }],
            coverage: vec![coverage::CoverageRow {
                read: 70,
                missed: vec![("unseen".into(), 30)],
                ..coverage::CoverageRow::default()
            }],
            traffic: vec![coverage::TrafficRow {
                class: "tls_undecrypted".into(),
                library: "rustls".into(),
                reason: "unsupported".into(),
                connections: 2,
                wire_bytes: 800,
                ..coverage::TrafficRow::default()
            }],
            decay: decay::Report {
                enabled: true,
                connections_resting: 5,
                levels: vec![decay::Level {
                    every: 64,
                    endpoints: 2,
                }],
                ..decay::Report::default()
            },
            ..Status::default()
        });
        let text = render(&published).unwrap();
        for line in [
            "eastwatch_agent_exchanges_total 7",
            "eastwatch_agent_events_total{stage=\"kernel\",what=\"ring_full\"} 3",
            "eastwatch_agent_bytes_total{stage=\"kernel\",what=\"ring_full\"} 99",
            "eastwatch_agent_lost_total{stage=\"kernel\",what=\"ring_full\"} 3",
            "eastwatch_agent_coverage_bytes_total{kind=\"read\",reason=\"read\"} 70",
            "eastwatch_agent_coverage_bytes_total{kind=\"missed\",reason=\"unseen\"} 30",
            "eastwatch_agent_traffic_connections_total{class=\"tls_undecrypted\",library=\"rustls\",reason=\"unsupported\"} 2",
            "eastwatch_agent_traffic_wire_bytes_total{class=\"tls_undecrypted\",library=\"rustls\",reason=\"unsupported\"} 800",
            "eastwatch_agent_connections 0",
            "eastwatch_agent_decay_enabled 1",
            "eastwatch_agent_decay_connections_resting 5",
            "eastwatch_agent_decay_endpoints{every=\"64\"} 2",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
