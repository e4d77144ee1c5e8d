//! Cost of one observation on the agent's hot path.

use std::hint::black_box;

use catalog::{ApiKey, Limits, NodeCatalog, Observation, Side};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn api() -> ApiKey {
    ApiKey {
        workload: "kubepods/shop/checkout".into(),
        host: "shop.test:8080".into(),
        side: Side::Server,
    }
}

fn observation(path: &[u8], at: u64) -> Observation<'_> {
    Observation {
        method: "GET",
        path,
        status: Some(200),
        latency_us: Some(800 + at % 5000),
        request_bytes: 300,
        response_bytes: 1500 + at % 900,
        client: at % 32,
        ts_us: 1_700_000_000_000_000 + at as i64 * 100,
        weight: 1,
    }
}

/// One path after another, with a delta taken as often as at 100,000 calls a second and one delta in ten seconds.
fn run(c: &mut Criterion, name: &str, paths: &[String]) {
    let mut node = NodeCatalog::new(Limits::default());
    let key = api();
    let mut at = 0u64;
    let mut group = c.benchmark_group("observe");
    group.throughput(Throughput::Elements(1));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            at += 1;
            let path = paths.get(at as usize % paths.len()).map_or("/", String::as_str);
            if at.is_multiple_of(1_000_000) {
                black_box(node.take_delta());
            }
            black_box(node.observe(&key, &observation(path.as_bytes(), at)))
        });
    });
    group.finish();
}

fn benches(c: &mut Criterion) {
    let paths = |of: &dyn Fn(usize) -> String| (0..997).map(of).collect::<Vec<String>>();
    run(c, "literal", &["/api/v1/orders/search".to_owned()]);
    run(
        c,
        "integer",
        &paths(&|at| format!("/api/v1/users/{}/orders/{at}", at * 7919)),
    );
    run(
        c,
        "uuid",
        &paths(&|at| format!("/api/v1/users/f47ac10b-58cc-4372-a567-0e02b2c3{at:04x}/orders")),
    );
    run(
        c,
        "token",
        &paths(&|at| format!("/api/v1/objects/V1StGXR8_Z5jdHi6BmyT{at}/download")),
    );
    run(c, "repeated_word", &["/flurbs/snorks/7".to_owned()]);
    run(
        c,
        "many_names",
        &paths(&|at| {
            format!(
                "/users/{}",
                ["ba", "ko", "ri"].get(at % 3).unwrap_or(&"x").repeat(1 + at % 5)
            )
        }),
    );
    run(
        c,
        "garbage",
        &paths(&|at| format!("/%zz{at}/..;x=1//a b/{}", "Q7".repeat(at % 40))),
    );
}

criterion_group!(all, benches);
criterion_main!(all);
