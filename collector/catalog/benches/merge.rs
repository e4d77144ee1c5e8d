//! Cost of a delta on the collector: decode, merge, and the records to store.

use std::hint::black_box;

use catalog::{ApiCatalog, ApiDelta, ApiKey, Limits, NodeCatalog, Observation, Side};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Active endpoints of one node.
const ENDPOINTS: usize = 200;

fn api() -> ApiKey {
    ApiKey {
        workload: "shop".into(),
        host: "shop.test".into(),
        side: Side::Server,
    }
}

/// A node's delta after ten seconds with `calls` on each endpoint.
fn delta(node: u64, calls: u64) -> Vec<u8> {
    let words = [
        "users", "orders", "items", "carts", "payments", "invoices", "sessions", "reports", "search", "files",
    ];
    let mut catalog = NodeCatalog::new(Limits::default());
    for at in 0..ENDPOINTS as u64 * calls {
        let endpoint = at as usize % ENDPOINTS;
        let word = |at: usize| words.get(at % words.len()).copied().unwrap_or("users");
        let path = format!(
            "/v{}/{}/{}/{}",
            endpoint / 100,
            word(endpoint),
            at,
            word(endpoint / 10)
        );
        let observation = Observation {
            method: "GET",
            path: path.as_bytes(),
            status: Some(200),
            latency_us: Some(500 + (at * 7919 + node) % 20_000),
            request_bytes: 250 + at % 100,
            response_bytes: 1000 + (at * 31) % 3000,
            client: (at * 17 + node) % 40,
            ts_us: 1_700_000_000_000_000,
            weight: 1,
        };
        catalog.observe(&api(), &observation);
    }
    catalog.take_delta().iter().flat_map(ApiDelta::encode).collect()
}

fn benches(c: &mut Criterion) {
    for calls in [3, 50] {
        let deltas: Vec<Vec<u8>> = (0..16).map(|node| delta(node, calls)).collect();
        let size = deltas.first().map_or(0, Vec::len);
        let mut group = c.benchmark_group("merge");
        group.throughput(Throughput::Elements(ENDPOINTS as u64));
        group.bench_function(
            format!("decode_merge/{calls}_calls/{}_bytes_each", size / ENDPOINTS),
            |bencher| {
                let mut catalog = ApiCatalog::new(api(), Limits::default());
                let mut deltas = deltas.iter().cycle();
                bencher.iter(|| {
                    if let Some(Ok(delta)) = deltas.next().map(|bytes| ApiDelta::decode(bytes)) {
                        black_box(catalog.merge(&delta));
                    }
                });
            },
        );
        group.bench_function(format!("decode_merge_records/{calls}_calls"), |bencher| {
            let mut catalog = ApiCatalog::new(api(), Limits::default());
            let mut deltas = deltas.iter().cycle();
            bencher.iter(|| {
                if let Some(Ok(delta)) = deltas.next().map(|bytes| ApiDelta::decode(bytes)) {
                    for key in catalog.merge(&delta).changed {
                        black_box(catalog.record(key.leaf, key.method));
                    }
                }
            });
        });
        group.finish();
    }
    let mut catalog = ApiCatalog::new(api(), Limits::default());
    for node in 0..16 {
        if let Ok(delta) = ApiDelta::decode(&delta(node, 50)) {
            catalog.merge(&delta);
        }
    }
    c.bench_function("endpoints_of_200_leaves", |bencher| {
        bencher.iter(|| black_box(catalog.endpoints()))
    });
}

criterion_group!(all, benches);
criterion_main!(all);
