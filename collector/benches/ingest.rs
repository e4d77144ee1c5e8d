//! How many endpoint increments a second one writing thread makes durable: batches of 200 active endpoints (20 APIs of 10) from
//! 100 nodes, 64 batches in flight, as agents send them every few seconds.
#![allow(clippy::unwrap_used, reason = "a benchmark")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::{ApiDelta, ApiKey, Limits, NodeCatalog, Observation, Side};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use eastwatch_collector::config;
use eastwatch_collector::metrics::Metrics;
use eastwatch_collector::store::sqlite::SqliteStore;
use eastwatch_collector::store::{Batch, BatchId, Outcome, Store};
use eastwatch_collector::timestamp::Timestamp;
use futures::StreamExt;

const NODES: u64 = 100;
const APIS: usize = 20;
const ENDPOINTS_PER_API: usize = 10;
const CALLS_PER_ENDPOINT: u64 = 20;
const BATCHES_IN_FLIGHT: usize = 64;
const ROUTES: [&str; ENDPOINTS_PER_API] = [
    "/users",
    "/users/17",
    "/orders",
    "/orders/17",
    "/orders/17/items",
    "/search",
    "/login",
    "/logout",
    "/health",
    "/products/17",
];

/// What one node learnt in a few seconds.
fn deltas(node: u64, prefix: &str) -> Vec<ApiDelta> {
    let mut catalog = NodeCatalog::new(Limits::default());
    for api in 0..APIS {
        let workload = format!("{prefix}service-{api}");
        let key = ApiKey {
            host: format!("{workload}.test"),
            workload,
            side: Side::Server,
        };
        for (at, path) in ROUTES.iter().enumerate() {
            for call in 0..CALLS_PER_ENDPOINT {
                catalog.observe(
                    &key,
                    &Observation {
                        method: "GET",
                        path: path.as_bytes(),
                        status: Some(200),
                        latency_us: Some(500 + (at as u64 + 1) * (call + node) * 37 % 20_000),
                        request_bytes: 300 + call,
                        response_bytes: 2000 + call * 91,
                        client: node * 1000 + call % 5,
                        ts_us: 1_767_268_800_000_000,
                        weight: 1,
                    },
                );
            }
        }
    }
    catalog.take_delta()
}

fn batch(node: u64, sequence: u64, deltas: Vec<ApiDelta>) -> Batch {
    Batch {
        id: BatchId {
            node: format!("node-{node}"),
            boot: "b".to_owned(),
            sequence,
        },
        created: Timestamp::now(),
        received: Timestamp::now(),
        deltas,
        calls: Vec::new(),
        edges: Vec::new(),
        workloads: Vec::new(),
        status: None,
        coverage: Vec::new(),
    }
}

fn ingest(criterion: &mut Criterion) {
    // Replicas of the same services on all nodes, and the worst case: no endpoint on more than one node.
    measure(criterion, "100 nodes, 200 endpoints of all", |node| {
        deltas(node, "")
    });
    measure(criterion, "100 nodes, 200 endpoints of each", |node| {
        deltas(node, &format!("node-{node}-"))
    });
}

fn measure(criterion: &mut Criterion, name: &str, learn: impl Fn(u64) -> Vec<ApiDelta>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let limits = config::Store {
        path: directory.path().join("bench.db"),
        ..config::Store::default()
    };
    let store = SqliteStore::open(&limits, Duration::from_secs(30), Arc::new(Metrics::default())).unwrap();
    let nodes: Vec<_> = (0..NODES).map(learn).collect();
    let mut sequence = 0;
    let mut group = criterion.benchmark_group("ingest");
    group
        .throughput(Throughput::Elements(NODES * (APIS * ENDPOINTS_PER_API) as u64))
        .sample_size(10);
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                sequence += 1;
                let batches: Vec<_> = nodes
                    .iter()
                    .zip(0..)
                    .map(|(deltas, node)| batch(node, sequence, deltas.clone()))
                    .collect();
                let started = Instant::now();
                runtime.block_on(async {
                    let applied = futures::stream::iter(batches).map(|batch| store.apply(batch));
                    let all = applied.buffer_unordered(BATCHES_IN_FLIGHT);
                    all.for_each(async |applied| assert_eq!(applied.unwrap(), Outcome::Applied))
                        .await;
                });
                spent += started.elapsed();
            }
            spent
        });
    });
    group.finish();
    runtime.block_on(store.close()).unwrap();
}

criterion_group!(benches, ingest);
criterion_main!(benches);
