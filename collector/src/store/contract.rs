//! What every backend must do. `store_contract!` makes the tests for one.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config;
use crate::ingest::decoded;
use crate::metrics::Metrics;
use crate::testing::{Exchange, GET, NOON_US, batch, payload, payload_of, run};
use crate::timestamp::{MINUTE_US, Timestamp};

use super::{
    AgentHello, Batch, BatchId, CallFilter, EdgeFilter, EndpointFilter, Outcome, Paging, StatusFilter, Store,
    StoreError, StoredPolicy, TextMatch, TimeRange, WorkloadFilter,
};

/// A backend under test; what it needs is dropped with it.
pub struct Opened {
    pub store: Arc<dyn Store>,
    pub metrics: Arc<Metrics>,
    pub _keep: Box<dyn std::any::Any>,
}

/// Opens an empty store of the backend with these limits.
pub type Open = fn(config::Store) -> Opened;

macro_rules! store_contract {
    ($open:path: $($case:ident),+ $(,)?) => {
        $(#[test]
        fn $case() {
            crate::store::contract::$case($open);
        })+
    };
    ($open:path) => {
        store_contract!($open:
            a_batch_is_applied_once, every_order_gives_the_same_endpoints, minutes_are_exact, calls_are_filtered,
            endpoints_are_filtered, edges_count_their_range, lists_are_paged_without_gaps_or_repeats,
            old_endpoint_ids_are_found, calls_are_limited_by_rows, old_rows_are_evicted_and_counted, the_policy_is_kept,
            the_latest_state_of_agents_and_workloads_wins, a_closed_store_says_so,
        );
    };
}
pub(crate) use store_contract;

fn made(node: &str, boot: &str, sequence: u64, payload: &wire::v1::Payload) -> Batch {
    decoded(batch(node, boot, sequence, payload), Timestamp::from_us(NOON_US))
}

fn all() -> Paging {
    Paging {
        limit: 1000,
        after: None,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_us(NOON_US + second * 1_000_000)
}

fn exchanges(count: u64) -> Vec<Exchange> {
    const PATHS: [&str; 4] = ["/orders/17", "/orders/18/items", "/health", "/users"];
    let nth = |id: u64| Exchange {
        id,
        path: PATHS[id as usize % PATHS.len()],
        method: if id.is_multiple_of(3) { "POST" } else { "GET" },
        status: [200, 404, 500][id as usize % 3],
        duration_us: 1000 * (id + 1),
        second: id as i64 * 20,
    };
    (0..count).map(nth).collect()
}

pub fn a_batch_is_applied_once(open: Open) {
    run(async {
        let opened = open(config::Store::default());
        let store = &opened.store;
        let first = made("a", "b", 1, &payload(&[GET]));
        assert_eq!(store.apply(first.clone()).await.unwrap(), Outcome::Applied);
        assert_eq!(store.apply(first.clone()).await.unwrap(), Outcome::Duplicate);
        // Two at once, and another node with the same boot and sequence.
        let (left, right) = tokio::join!(
            store.apply(made("a", "b", 2, &payload(&[GET]))),
            store.apply(made("a", "b", 2, &payload(&[GET])))
        );
        let outcomes = BTreeSet::from([format!("{left:?}"), format!("{right:?}")]);
        assert_eq!(outcomes.len(), 2, "one applied, one duplicate: {outcomes:?}");
        assert_eq!(
            store.apply(made("z", "b", 1, &payload(&[GET]))).await.unwrap(),
            Outcome::Applied
        );
        let endpoints = store.endpoints(EndpointFilter::default(), all()).await.unwrap();
        assert_eq!(
            endpoints
                .items
                .iter()
                .map(|endpoint| endpoint.total.calls)
                .sum::<u64>(),
            3
        );
        // The call of the second batch has the id of the first one's.
        assert_eq!(
            store
                .calls(CallFilter::default(), all())
                .await
                .unwrap()
                .items
                .len(),
            2
        );
    });
}

pub fn every_order_gives_the_same_endpoints(open: Open) {
    run(async {
        let parts: Vec<_> = exchanges(24).chunks(5).map(payload).collect();
        let mut seen = Vec::new();
        for order in [[0, 1, 2, 3, 4], [4, 2, 0, 3, 1]] {
            let opened = open(config::Store::default());
            for part in order {
                opened
                    .store
                    .apply(made("a", "b", part as u64 + 1, &parts[part]))
                    .await
                    .unwrap();
            }
            seen.push(
                opened
                    .store
                    .endpoints(EndpointFilter::default(), all())
                    .await
                    .unwrap(),
            );
        }
        assert_eq!(seen[0], seen[1]);
        assert_eq!(
            seen[0]
                .items
                .iter()
                .map(|endpoint| endpoint.total.calls)
                .sum::<u64>(),
            24
        );
    });
}

pub fn minutes_are_exact(open: Open) {
    run(async {
        let opened = open(config::Store::default());
        let store = &opened.store;
        let calls = exchanges(24);
        for (sequence, part) in calls.chunks(7).enumerate() {
            store
                .apply(made("a", "b", sequence as u64 + 1, &payload(part)))
                .await
                .unwrap();
        }
        let mut total = (0, 0, 0, 0);
        for endpoint in store
            .endpoints(EndpointFilter::default(), all())
            .await
            .unwrap()
            .items
        {
            let detail = store
                .endpoint(endpoint.id.clone(), TimeRange::default())
                .await
                .unwrap()
                .unwrap();
            assert!(
                detail
                    .minutes
                    .iter()
                    .all(|minute| minute.minute.us() % MINUTE_US == 0)
            );
            assert!(detail.minutes.is_sorted_by_key(|minute| minute.minute));
            let counts = detail.minutes.iter().map(|minute| minute.counts);
            let calls: u64 = counts.clone().map(|counts| counts.calls).sum();
            assert_eq!(calls, endpoint.total.calls, "{}", endpoint.path);
            assert_eq!(
                detail
                    .latency_histogram
                    .iter()
                    .map(|bucket| bucket.count)
                    .sum::<u64>(),
                calls
            );
            total.0 += calls;
            total.1 += counts.clone().map(|counts| counts.errors).sum::<u64>();
            total.2 += counts.clone().map(|counts| counts.duration_us_sum).sum::<u64>();
            total.3 += counts.map(|counts| counts.response_bytes).sum::<u64>();
        }
        let durations: u64 = calls.iter().map(|call| call.duration_us).sum();
        assert_eq!(total, (24, 8, durations, 24_000));

        // Minutes 2 and 3 hold the seconds 120 to 239: three calls each.
        let range = TimeRange {
            from: Some(at(125)),
            to: Some(at(240)),
        };
        let filter = EndpointFilter {
            range,
            ..EndpointFilter::default()
        };
        let windows = store.endpoints(filter, all()).await.unwrap().items;
        assert_eq!(
            windows
                .iter()
                .map(|endpoint| endpoint.window.unwrap().calls)
                .sum::<u64>(),
            6
        );
        assert!(windows.iter().all(|endpoint| endpoint.window.unwrap().calls > 0));
    });
}

pub fn calls_are_filtered(open: Open) {
    run(async {
        let opened = open(config::Store::default());
        let store = &opened.store;
        store
            .apply(made("a", "b", 1, &payload(&exchanges(24))))
            .await
            .unwrap();
        store
            .apply(made(
                "a",
                "b",
                2,
                &payload_of("blog", &[Exchange { id: 99, ..GET }]),
            ))
            .await
            .unwrap();
        let glob = |text: &str| Some(TextMatch::prefix_or_glob(text).unwrap());
        let exact = |text: &str| Some(TextMatch::exact_or_glob(text).unwrap());
        let none = CallFilter::default;
        let cases = [
            (none(), 25),
            (
                CallFilter {
                    workload: exact("shop"),
                    ..none()
                },
                24,
            ),
            (
                CallFilter {
                    workload: exact("web"),
                    ..none()
                },
                25,
            ),
            (
                CallFilter {
                    client: exact("shop"),
                    ..none()
                },
                0,
            ),
            (
                CallFilter {
                    server: exact("b*g"),
                    ..none()
                },
                1,
            ),
            (
                CallFilter {
                    host: exact("*.test:8080"),
                    ..none()
                },
                25,
            ),
            (
                CallFilter {
                    host: exact("blog"),
                    ..none()
                },
                0,
            ),
            (
                CallFilter {
                    path: glob("/orders"),
                    ..none()
                },
                13,
            ),
            (
                CallFilter {
                    path: glob("/orders/*/items"),
                    ..none()
                },
                6,
            ),
            (
                CallFilter {
                    path: glob("/order[s]"),
                    ..none()
                },
                0,
            ),
            (
                CallFilter {
                    method: Some("POST".into()),
                    ..none()
                },
                8,
            ),
            (
                CallFilter {
                    status: Some(StatusFilter::Code(404)),
                    ..none()
                },
                8,
            ),
            (
                CallFilter {
                    status: Some(StatusFilter::Class(5)),
                    ..none()
                },
                8,
            ),
            (
                CallFilter {
                    status: Some(StatusFilter::NoResponse),
                    ..none()
                },
                0,
            ),
            (
                CallFilter {
                    range: TimeRange {
                        from: Some(at(20)),
                        to: Some(at(60)),
                    },
                    ..none()
                },
                2,
            ),
        ];
        for (filter, want) in cases {
            let found = store.calls(filter.clone(), all()).await.unwrap().items;
            assert_eq!(found.len(), want, "{filter:?}");
            assert!(found.is_sorted_by(|a, b| a.ts >= b.ts), "newest first");
        }
        // By endpoint: as many as it counts.
        for endpoint in store
            .endpoints(EndpointFilter::default(), all())
            .await
            .unwrap()
            .items
        {
            let filter = CallFilter {
                endpoint: Some(endpoint.id.clone()),
                ..none()
            };
            let found = store.calls(filter, all()).await.unwrap().items;
            assert_eq!(found.len() as u64, endpoint.total.calls);
            let one = store.call(found[0].id).await.unwrap().unwrap();
            assert_eq!(one, found[0]);
        }
        assert_eq!(store.call(super::CallId::default()).await.unwrap(), None);
        let unknown = CallFilter {
            endpoint: Some("0".repeat(32)),
            ..none()
        };
        assert_eq!(store.calls(unknown, all()).await.unwrap().items, []);
    });
}

pub fn endpoints_are_filtered(open: Open) {
    run(async {
        let opened = open(config::Store::default());
        let store = &opened.store;
        store
            .apply(made("a", "b", 1, &payload(&exchanges(24))))
            .await
            .unwrap();
        store
            .apply(made("a", "b", 2, &payload_of("blog", &[GET])))
            .await
            .unwrap();
        let none = EndpointFilter::default;
        let everything = store.endpoints(none(), all()).await.unwrap().items;
        let count = |test: &dyn Fn(&super::Endpoint) -> bool| everything.iter().filter(|e| test(e)).count();
        let prefix = |text: &str| Some(TextMatch::prefix_or_glob(text).unwrap());
        let cases = [
            (
                EndpointFilter {
                    workload: Some(TextMatch::Exact("blog".into())),
                    ..none()
                },
                1,
            ),
            (
                EndpointFilter {
                    path: prefix("/orders"),
                    ..none()
                },
                count(&|e| e.path.starts_with("/orders")),
            ),
            (
                EndpointFilter {
                    method: Some("POST".into()),
                    ..none()
                },
                count(&|e| e.method == "POST"),
            ),
            (
                EndpointFilter {
                    status: Some(StatusFilter::Class(5)),
                    ..none()
                },
                count(&|e| e.total.errors > 0),
            ),
            (
                EndpointFilter {
                    side: Some(super::Side::Client),
                    ..none()
                },
                0,
            ),
            (
                EndpointFilter {
                    confirmed: Some(true),
                    ..none()
                },
                count(&|e| e.confirmed),
            ),
            (
                EndpointFilter {
                    confirmed: Some(false),
                    ..none()
                },
                count(&|e| !e.confirmed),
            ),
        ];
        for (filter, want) in cases {
            let found = store.endpoints(filter.clone(), all()).await.unwrap().items;
            assert_eq!(found.len(), want, "{filter:?}");
        }
        assert!(
            everything
                .iter()
                .all(|endpoint| endpoint.latency_us.p50 > 0 && endpoint.clients == 1)
        );
    });
}

pub fn edges_count_their_range(open: Open) {
    run(async {
        let opened = open(config::Store::default());
        let store = &opened.store;
        for (sequence, second) in [(1, 0), (2, 600)] {
            let part = payload(&[Exchange {
                id: sequence,
                second,
                status: 503,
                ..GET
            }]);
            store.apply(made("a", "b", sequence, &part)).await.unwrap();
        }
        let none = EdgeFilter::default;
        let late = TimeRange {
            from: Some(at(590)),
            to: None,
        };
        let never = TimeRange {
            from: Some(at(6000)),
            to: None,
        };
        let other = Some(TextMatch::Exact("blog".into()));
        for (filter, want) in [
            (none(), vec![(2, 2, 3000)]),
            (
                EdgeFilter {
                    range: late,
                    ..none()
                },
                vec![(1, 1, 1500)],
            ),
            (
                EdgeFilter {
                    range: never,
                    ..none()
                },
                vec![],
            ),
            (
                EdgeFilter {
                    workload: other,
                    ..none()
                },
                vec![],
            ),
        ] {
            let found = store.edges(filter, all()).await.unwrap().items;
            let counts: Vec<_> = found
                .iter()
                .map(|edge| (edge.calls, edge.errors, edge.duration_us_sum))
                .collect();
            assert_eq!(counts, want);
        }
        let edge = store.edges(none(), all()).await.unwrap().items.remove(0);
        assert_eq!(
            (edge.first_seen, edge.last_seen, edge.server_port),
            (at(0), at(600), 8080)
        );
    });
}

pub fn lists_are_paged_without_gaps_or_repeats(open: Open) {
    run(async {
        let opened = open(config::Store::default());
        let store = &opened.store;
        for (sequence, name) in ["shop", "blog", "mail"].into_iter().enumerate() {
            // Equal times: the order must not depend on them alone.
            let calls: Vec<_> = exchanges(12)
                .into_iter()
                .map(|call| Exchange { second: 0, ..call })
                .collect();
            store
                .apply(made(name, "b", sequence as u64 + 1, &payload_of(name, &calls)))
                .await
                .unwrap();
        }
        macro_rules! pages {
            ($list:expr) => {{
                let whole = $list(Paging {
                    limit: 1000,
                    after: None,
                })
                .await
                .unwrap();
                assert!(whole.next.is_none() && whole.items.len() > 2);
                for limit in [1, 2, whole.items.len() as u32 - 1, whole.items.len() as u32] {
                    let mut found = Vec::new();
                    let mut after = None;
                    loop {
                        let page = $list(Paging { limit, after }).await.unwrap();
                        assert!(page.items.len() <= limit as usize && !page.items.is_empty());
                        found.extend(page.items);
                        match page.next {
                            Some(next) => after = Some(next),
                            None => break,
                        }
                    }
                    assert_eq!(found, whole.items, "limit {limit}");
                }
            }};
        }
        pages!(|paging| store.endpoints(EndpointFilter::default(), paging));
        pages!(|paging| store.calls(CallFilter::default(), paging));
        pages!(|paging| store.edges(EdgeFilter::default(), paging));
        pages!(|paging| store.workloads(WorkloadFilter::default(), paging));
        pages!(|paging| store.agents(paging));
        // A cursor of another list ends the list instead of confusing it.
        let foreign = store
            .calls(
                CallFilter::default(),
                Paging {
                    limit: 1,
                    after: None,
                },
            )
            .await
            .unwrap()
            .next;
        assert_eq!(
            store
                .agents(Paging {
                    limit: 1,
                    after: foreign
                })
                .await
                .unwrap()
                .items,
            []
        );
    });
}

pub fn old_endpoint_ids_are_found(open: Open) {
    run(async {
        let opened = open(config::Store::default());
        let store = &opened.store;
        let mut ids = BTreeSet::new();
        let names = [
            "alpha", "bravo", "delta", "echo", "golf", "hotel", "india", "kilo", "lima", "mike", "oscar",
            "papa",
        ];
        for round in 0..6u64 {
            for (at, name) in names.iter().enumerate() {
                // Each word repeats on its node, so that it is first taken for a part of the route.
                let path: &'static str = Box::leak(format!("/teams/{name}{name}/members").into_boxed_str());
                let calls: Vec<_> = (0..6)
                    .map(|id| Exchange {
                        id: round * 1000 + at as u64 * 10 + id,
                        path,
                        ..GET
                    })
                    .collect();
                let sequence = round * 100 + at as u64 + 1;
                store
                    .apply(made("a", "b", sequence, &payload(&calls)))
                    .await
                    .unwrap();
                ids.extend(
                    store
                        .endpoints(EndpointFilter::default(), all())
                        .await
                        .unwrap()
                        .items
                        .into_iter()
                        .map(|e| e.id),
                );
            }
        }
        let current = store
            .endpoints(EndpointFilter::default(), all())
            .await
            .unwrap()
            .items;
        assert_eq!(
            current.iter().map(|endpoint| endpoint.total.calls).sum::<u64>(),
            6 * 12 * 6
        );
        let mut counted = 0;
        for id in &ids {
            let found = store.endpoint(id.clone(), TimeRange::default()).await.unwrap();
            let found = found.unwrap_or_else(|| panic!("{id} is lost; there are {current:?}"));
            assert!(current.iter().any(|endpoint| endpoint.id == found.endpoint.id));
        }
        for endpoint in &current {
            let filter = CallFilter {
                endpoint: Some(endpoint.id.clone()),
                ..CallFilter::default()
            };
            counted += store.calls(filter, all()).await.unwrap().items.len();
        }
        assert_eq!(counted, 6 * 12 * 6, "every call belongs to a current endpoint");
    });
}

pub fn calls_are_limited_by_rows(open: Open) {
    run(async {
        let opened = open(config::Store {
            calls_max_rows: 10,
            ..config::Store::default()
        });
        let store = &opened.store;
        let calls = exchanges(24);
        store
            .apply(made("a", "b", 1, &payload(&calls[..10])))
            .await
            .unwrap();
        assert_eq!(
            store
                .calls(CallFilter::default(), all())
                .await
                .unwrap()
                .items
                .len(),
            10
        );
        assert_eq!(opened.metrics.dropped(crate::metrics::Dropped::CallsByRows), 0);
        store
            .apply(made("a", "b", 2, &payload(&calls[10..])))
            .await
            .unwrap();
        let kept = store.calls(CallFilter::default(), all()).await.unwrap().items;
        assert_eq!(kept.len(), 10);
        assert_eq!(kept.last().unwrap().ts, at(14 * 20), "the oldest went");
        assert_eq!(opened.metrics.dropped(crate::metrics::Dropped::CallsByRows), 14);
        // What is counted stays.
        let endpoints = store
            .endpoints(EndpointFilter::default(), all())
            .await
            .unwrap()
            .items;
        assert_eq!(
            endpoints.iter().map(|endpoint| endpoint.total.calls).sum::<u64>(),
            24
        );
    });
}

pub fn old_rows_are_evicted_and_counted(open: Open) {
    run(async {
        let day = std::time::Duration::from_secs(86_400);
        let opened = open(config::Store {
            calls_max_age: day,
            minutes_max_age: 2 * day,
            idle_max_age: 3 * day,
            ..config::Store::default()
        });
        let store = &opened.store;
        store.apply(made("a", "b", 1, &payload(&[GET]))).await.unwrap();
        let mut evicted = Vec::new();
        for days in [1, 2, 3] {
            for second in [0, 61] {
                let done = store.evict(at(days * 86_400 + second)).await.unwrap();
                evicted.push((done.calls_by_age, done.minutes, done.idle));
            }
        }
        // One call; one minute of the endpoint and one of the edge; one edge, two workloads, one agent.
        assert_eq!(
            evicted,
            [(0, 0, 0), (1, 0, 0), (0, 0, 0), (0, 2, 0), (0, 0, 0), (0, 0, 4)]
        );
        let metrics = &opened.metrics;
        let counted = [
            crate::metrics::Dropped::CallsByAge,
            crate::metrics::Dropped::Minutes,
            crate::metrics::Dropped::Idle,
        ];
        assert_eq!(counted.map(|what| metrics.dropped(what)), [1, 2, 4]);
        assert_eq!(store.calls(CallFilter::default(), all()).await.unwrap().items, []);
        assert_eq!(store.edges(EdgeFilter::default(), all()).await.unwrap().items, []);
        assert_eq!(store.agents(all()).await.unwrap().items, []);
    });
}

pub fn the_policy_is_kept(open: Open) {
    run(async {
        let opened = open(config::Store::default());
        assert_eq!(opened.store.policy().await.unwrap(), None);
        for version in [1, 2] {
            let policy = StoredPolicy {
                version,
                capture_toml: format!("# {version}"),
                fingerprint_key: [7; 32],
                fingerprint_epoch: 1,
            };
            opened.store.put_policy(policy.clone()).await.unwrap();
            assert_eq!(opened.store.policy().await.unwrap(), Some(policy));
        }
    });
}

pub fn the_latest_state_of_agents_and_workloads_wins(open: Open) {
    run(async {
        let opened = open(config::Store::default());
        let store = &opened.store;
        let hello = AgentHello {
            node: "a".into(),
            boot: "b".into(),
            version: "9".into(),
            at: at(0),
        };
        store.note_hello(hello).await.unwrap();
        store
            .note_policy("a".into(), 4, String::new(), at(1))
            .await
            .unwrap();
        store
            .note_policy("a".into(), 5, "bad".into(), at(2))
            .await
            .unwrap();
        for (sequence, second, user) in [(1, 60, "new"), (2, 30, "old")] {
            let mut state = payload(&[]);
            state.workloads[0].seen_us = at(second).us();
            state.workloads[0].user = user.into();
            let status = state.status.as_mut().unwrap();
            status.kernel = user.into();
            let sent = wire::v1::Batch {
                created_us: at(second).us(),
                ..batch("a", "b", sequence, &state)
            };
            store.apply(decoded(sent, at(second))).await.unwrap();
        }
        let id = BatchId {
            node: "a".into(),
            boot: "b".into(),
            sequence: 3,
        };
        for _ in 0..2 {
            store
                .note_rejected(id.clone(), "why".into(), at(70))
                .await
                .unwrap();
        }
        let agent = store.agents(all()).await.unwrap().items.remove(0);
        assert_eq!((agent.version.as_str(), agent.kernel.as_str()), ("9", "new"));
        assert_eq!((agent.policy_version, agent.policy_error.as_str()), (4, "bad"));
        assert_eq!(
            (agent.batches, agent.batches_rejected, agent.batches_missing),
            (2, 1, 0)
        );
        assert_eq!((agent.last_rejection.as_str(), agent.last_seen), ("why", at(70)));
        let workloads = store
            .workloads(WorkloadFilter::default(), all())
            .await
            .unwrap()
            .items;
        let web = workloads.iter().find(|workload| workload.name == "web").unwrap();
        assert_eq!(
            (web.user.as_str(), web.first_seen, web.last_seen),
            ("new", at(0), at(60))
        );
        let elsewhere = WorkloadFilter {
            node: Some(TextMatch::Exact("z".into())),
            ..WorkloadFilter::default()
        };
        assert_eq!(store.workloads(elsewhere, all()).await.unwrap().items, []);
    });
}

pub fn a_closed_store_says_so(open: Open) {
    run(async {
        let opened = open(config::Store::default());
        opened.store.close().await.unwrap();
        let applied = opened.store.apply(made("a", "b", 1, &payload(&[]))).await;
        assert!(matches!(applied, Err(StoreError::Closed)));
        assert!(matches!(
            opened.store.agents(all()).await,
            Err(StoreError::Closed)
        ));
    });
}
