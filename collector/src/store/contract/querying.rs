//! What queries must answer.

use crate::config;
use crate::store::{
    CallFilter, CallId, EdgeFilter, Endpoint, EndpointFilter, Paging, Side, StatusFilter, TextMatch,
    TimeRange, WorkloadFilter,
};
use crate::testing::{Exchange, GET, payload, payload_of, run, spoken};

use super::{Open, all, at, exchanges, made};

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
        for (sequence, application, operation, rpc_status) in [
            (3, "grpc", "shop.v1.Orders/Get", Some(5)),
            (4, "grpc", "shop.v1.Orders/List", Some(0)),
            (5, "graphql", "query Orders", None),
        ] {
            let called = payload_of(
                "rpc",
                &[Exchange {
                    id: 99 + sequence,
                    ..GET
                }],
            );
            let called = spoken(called, application, operation, rpc_status);
            store.apply(made("a", "b", sequence, &called)).await.unwrap();
        }
        let spoken_cases = [
            (Some("http"), None, 25),
            (Some("grpc"), None, 2),
            (Some("grpc"), glob("shop.v1.Orders/"), 2),
            (None, glob("*List"), 1),
            (None, glob("query "), 1),
            (Some("graphql"), glob("shop"), 0),
        ];
        for (application, operation, want) in spoken_cases {
            let filter = CallFilter {
                application: application.map(str::to_owned),
                operation,
                ..none()
            };
            let found = store.calls(filter.clone(), all()).await.unwrap().items;
            assert_eq!(found.len(), want, "{filter:?}");
        }
        let get = CallFilter {
            operation: exact("shop.v1.Orders/Get"),
            ..none()
        };
        let call = store.calls(get, all()).await.unwrap().items.remove(0);
        assert_eq!(
            (
                call.protocol.as_str(),
                call.application.as_str(),
                call.rpc_status,
                call.rpc_error
            ),
            ("HTTP/2", "grpc", Some(5), true)
        );
        assert_eq!(
            (
                call.request_messages,
                call.response_messages,
                call.headers_unknown
            ),
            (1, 2, 3)
        );
        assert_eq!(
            (
                call.request_message_bytes,
                call.response_message_bytes,
                call.streaming.as_str()
            ),
            (70, 880, "server_streaming")
        );
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
        assert_eq!(store.call(CallId::default()).await.unwrap(), None);
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
        let count = |test: &dyn Fn(&Endpoint) -> bool| everything.iter().filter(|e| test(e)).count();
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
                    side: Some(Side::Client),
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
        // The same ends over another application are another edge.
        let called = payload(&[Exchange { id: 3, ..GET }]);
        let called = spoken(called, "grpc", "shop.v1.Orders/Get", Some(0));
        store.apply(made("a", "b", 3, &called)).await.unwrap();
        let edges = store.edges(none(), all()).await.unwrap().items;
        let seen: Vec<_> = edges
            .iter()
            .map(|edge| (edge.protocol.as_str(), edge.application.as_str(), edge.calls))
            .collect();
        assert_eq!(seen, [("HTTP/2", "grpc", 1), ("http/1.1", "http", 2)]);
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
