//! What the tests share: a collector in the process, an agent that talks to it, payloads made by the real catalog.

use std::future::Future;

use catalog::{ApiKey, Limits, NodeCatalog, Observation, Side};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use wire::v1;
use wire::v1::agent_message::Body as Up;
use wire::v1::collector_client::CollectorClient;
use wire::v1::collector_message::Body as Down;

use crate::config::Config;
use crate::serve::{self, Running};

/// Noon of a day, epoch microseconds: the time of most test data.
pub const NOON_US: i64 = 1_767_268_800_000_000;

/// Configuration with ports of the kernel's choice and a store in a directory of its own.
pub fn config() -> (Config, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.listen.grpc.set_port(0);
    config.listen.http.set_port(0);
    config.store.path = directory.path().join("eastwatch.db");
    // Test data has fixed times; retention by age goes by the clock.
    let century = std::time::Duration::from_secs(100 * 365 * 86_400);
    config.store.calls_max_age = century;
    config.store.minutes_max_age = century;
    config.store.idle_max_age = century;
    (config, directory)
}

/// Runs a test on a runtime with several threads, as in production.
pub fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test)
}

/// An agent's end of a stream.
pub struct Agent {
    pub up: mpsc::Sender<v1::AgentMessage>,
    pub down: Streaming<v1::CollectorMessage>,
}

impl Agent {
    /// Opens a stream and says nothing.
    pub async fn silent(collector: &Running) -> Result<Self, Status> {
        let mut client = CollectorClient::connect(format!("http://{}", collector.grpc))
            .await
            .unwrap();
        let (up, messages) = mpsc::channel(64);
        let down = client.export(ReceiverStream::new(messages)).await?.into_inner();
        Ok(Self { up, down })
    }

    /// Opens a stream, says hello, expects welcome and policy.
    pub async fn connect(collector: &Running, node: &str, boot: &str) -> (Self, v1::Policy) {
        let mut agent = Self::silent(collector).await.unwrap();
        agent.send(Up::Hello(hello(node, boot))).await;
        match agent.next().await {
            Ok(Down::Welcome(welcome)) => assert_eq!(welcome.wire_version, wire::WIRE_VERSION),
            other => panic!("expected welcome, got {other:?}"),
        }
        match agent.next().await {
            Ok(Down::Policy(policy)) => (agent, policy),
            other => panic!("expected policy, got {other:?}"),
        }
    }

    pub async fn send(&self, body: Up) {
        self.up.send(v1::AgentMessage { body: Some(body) }).await.unwrap();
    }

    /// The next message; an end without a status is `Ok` to gRPC.
    pub async fn next(&mut self) -> Result<Down, Status> {
        match self.down.message().await? {
            Some(message) => Ok(message.body.unwrap()),
            None => Err(Status::new(tonic::Code::Ok, "end of stream")),
        }
    }

    pub async fn ack(&mut self) -> v1::Ack {
        match self.next().await {
            Ok(Down::Ack(ack)) => ack,
            other => panic!("expected ack, got {other:?}"),
        }
    }
}

pub fn hello(node: &str, boot: &str) -> v1::Hello {
    v1::Hello {
        wire_version: wire::WIRE_VERSION,
        node: node.to_owned(),
        boot: boot.to_owned(),
        agent_version: "1.2.3".to_owned(),
        policy_version: 0,
    }
}

pub fn batch(node: &str, boot: &str, sequence: u64, payload: &v1::Payload) -> v1::Batch {
    v1::Batch {
        node: node.to_owned(),
        boot: boot.to_owned(),
        sequence,
        created_us: NOON_US,
        payload_zstd: wire::encode_payload(payload).unwrap(),
    }
}

/// One exchange of the shop's API, for [`payload`].
#[derive(Clone, Copy)]
pub struct Exchange {
    pub id: u64,
    pub method: &'static str,
    pub path: &'static str,
    pub status: u16,
    pub duration_us: u64,
    /// Seconds after [`NOON_US`].
    pub second: i64,
}

pub const GET: Exchange = Exchange {
    id: 1,
    method: "GET",
    path: "/orders/17",
    status: 200,
    duration_us: 1500,
    second: 0,
};

/// What an agent sends of these exchanges: catalog, calls, an edge, both workloads and its status.
pub fn payload(exchanges: &[Exchange]) -> v1::Payload {
    payload_of("shop", exchanges)
}

/// What became of the bytes of a workload, and nothing else.
pub fn covered(workload: &str, bytes: &[(v1::CoverageKind, &str, u64)]) -> v1::Payload {
    let bytes = bytes.iter().map(|(kind, reason, bytes)| v1::CoveredBytes {
        kind: (*kind).into(),
        reason: (*reason).to_owned(),
        bytes: *bytes,
    });
    let delta = v1::CoverageDelta {
        workload: workload.to_owned(),
        provider: "sock-length".to_owned(),
        bytes: bytes.collect(),
        ..v1::CoverageDelta::default()
    };
    v1::Payload {
        coverage: vec![delta],
        ..v1::Payload::default()
    }
}

/// What a workload's connections carry, and nothing else: class, library, reason, connections, bytes on the wire.
pub fn carried(
    workload: &str,
    traffic: &[(v1::TrafficClass, &str, &str, u64, u64)],
) -> Vec<v1::CoverageDelta> {
    let delta =
        |(class, library, reason, connections, wire_bytes): &(_, &str, &str, _, _)| v1::CoverageDelta {
            workload: workload.to_owned(),
            provider: "sock-length".to_owned(),
            class: v1::TrafficClass::into(*class),
            library: (*library).to_owned(),
            reason: (*reason).to_owned(),
            connections: *connections,
            wire_bytes: *wire_bytes,
            bytes: Vec::new(),
        };
    traffic.iter().map(delta).collect()
}

/// As [`payload`], for another workload.
pub fn payload_of(workload: &str, exchanges: &[Exchange]) -> v1::Payload {
    let key = ApiKey {
        workload: workload.to_owned(),
        host: format!("{workload}.test:8080"),
        side: Side::Server,
    };
    let api = v1::ApiKey {
        workload: key.workload.clone(),
        host: key.host.clone(),
        side: v1::Side::Server.into(),
    };
    let mut catalog = NodeCatalog::new(Limits::default());
    let calls = exchanges.iter().map(|exchange| {
        let ts_us = NOON_US + exchange.second * 1_000_000;
        let recorded = catalog.observe(
            &key,
            &Observation {
                method: exchange.method,
                path: exchange.path.as_bytes(),
                status: Some(exchange.status),
                latency_us: Some(exchange.duration_us),
                request_bytes: 100,
                response_bytes: 1000,
                client: 7,
                ts_us,
                weight: 1,
            },
        );
        v1::Call {
            id: exchange.id,
            ts_us,
            api: Some(api.clone()),
            method: exchange.method.to_owned(),
            path: recorded.path.to_string(),
            query_names: vec!["page".to_owned()],
            status: u32::from(exchange.status),
            request_bytes: 100,
            response_bytes: 1000,
            request_body_bytes: 0,
            response_body_bytes: 900,
            duration_us: exchange.duration_us,
            ttfb_us: exchange.duration_us / 2,
            protocol: "http/1.1".to_owned(),
            flags: 1,
            client_workload: "web".to_owned(),
            client_address: "127.0.0.1:50000".to_owned(),
            server_workload: workload.to_owned(),
            server_address: "127.0.0.1:8080".to_owned(),
            leaf: recorded.leaf.0.to_vec(),
            request_headers: vec![v1::Header {
                name: "accept".to_owned(),
                value: "*/*".to_owned(),
            }],
            response_headers: Vec::new(),
            weight: 0,
            pid: 4242,
            ..v1::Call::default()
        }
    });
    let calls: Vec<_> = calls.collect();
    let deltas = catalog.take_delta();
    let catalog = deltas
        .iter()
        .map(|delta| v1::CatalogDelta {
            api: Some(api.clone()),
            delta: delta.encode(),
        })
        .collect();
    let last = exchanges
        .iter()
        .map(|exchange| exchange.second)
        .max()
        .unwrap_or_default();
    let edge = v1::EdgeDelta {
        client_workload: "web".to_owned(),
        server_workload: workload.to_owned(),
        server_port: 8080,
        host: key.host,
        protocol: "http/1.1".to_owned(),
        calls: exchanges.len() as u64,
        errors: exchanges.iter().filter(|exchange| exchange.status >= 500).count() as u64,
        request_bytes: 100 * exchanges.len() as u64,
        response_bytes: 1000 * exchanges.len() as u64,
        duration_us_sum: exchanges.iter().map(|exchange| exchange.duration_us).sum(),
        first_seen_us: NOON_US,
        last_seen_us: NOON_US + last * 1_000_000,
        side: v1::Side::Server.into(),
        ..v1::EdgeDelta::default()
    };
    let runs = |name: &str| v1::Workload {
        name: name.to_owned(),
        kind: "process".to_owned(),
        executable: format!("/usr/bin/{name}"),
        command: name.to_owned(),
        user: "www-data".to_owned(),
        pid: 4242,
        first_seen_us: NOON_US,
        seen_us: NOON_US,
        ..v1::Workload::default()
    };
    let status = v1::AgentStatus {
        provider: "socket tracepoints".to_owned(),
        kernel: "6.18.0".to_owned(),
        hostname: "host-a".to_owned(),
        started_us: NOON_US,
        exchanges: exchanges.len() as u64,
        resident_bytes: 30 << 20,
        drops: vec![v1::Drop {
            stage: "kernel".to_owned(),
            reason: "ring_full".to_owned(),
            events: 3,
            bytes: 999,
        }],
        ..v1::AgentStatus::default()
    };
    v1::Payload {
        catalog,
        calls,
        edges: vec![edge],
        workloads: vec![runs("web"), runs(workload)],
        status: Some(status),
        coverage: Vec::new(),
    }
}

/// Processes that were lowered at noon.
pub fn lowered(workload: &str, level: &str, processes: u64) -> v1::Lowered {
    v1::Lowered {
        workload: workload.to_owned(),
        level: level.to_owned(),
        processes,
        since_us: NOON_US,
        added_us_per_s: 234_000,
        allowed_us_per_s: 50_000,
    }
}

/// What the calls and the edge of a payload are, in terms of an application over HTTP/2.
pub fn spoken(
    mut payload: v1::Payload,
    application: &str,
    operation: &str,
    rpc_status: Option<i32>,
) -> v1::Payload {
    for call in &mut payload.calls {
        call.protocol = "HTTP/2".to_owned();
        call.application = application.to_owned();
        call.operation = operation.to_owned();
        call.rpc_status = rpc_status;
        call.rpc_error = rpc_status.is_some_and(|code| code != 0);
        call.request_messages = 1;
        call.response_messages = 2;
        call.request_message_bytes = 70;
        call.response_message_bytes = 880;
        call.streaming = "server_streaming".to_owned();
        call.headers_unknown = 3;
    }
    for edge in &mut payload.edges {
        edge.protocol = "HTTP/2".to_owned();
        edge.application = application.to_owned();
    }
    payload
}

/// The calls of a payload, through TLS.
pub fn through_tls(mut payload: v1::Payload, tls: &v1::Tls) -> v1::Payload {
    for call in &mut payload.calls {
        call.tls = Some(tls.clone());
    }
    payload
}

/// A TLS session of which everything is known.
pub fn tls() -> v1::Tls {
    v1::Tls {
        version: "TLS 1.2".to_owned(),
        cipher: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".to_owned(),
        server_name: "shop.test".to_owned(),
        alpn: "h2".to_owned(),
        ja4: "t13d1516h2_8daaf6152771_e5627efa2ab1".to_owned(),
        library: "openssl".to_owned(),
    }
}

/// Starts a collector.
pub async fn start(config: &Config) -> Running {
    serve::start(config).await.unwrap()
}

/// Asks the API; the status and the JSON.
pub async fn get(collector: &Running, path: &str) -> (u16, serde_json::Value) {
    let response = reqwest::get(format!("http://{}{path}", collector.http))
        .await
        .unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

/// Compares with a file of this crate; `BLESS=1` writes it instead.
pub fn golden(file: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(&path, text).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(want == text, "{file} differs; BLESS=1 accepts this:\n{text}");
}
