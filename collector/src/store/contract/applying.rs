//! What applying batches must do.

use std::collections::BTreeSet;

use crate::config;
use crate::store::{CallFilter, EndpointFilter, Outcome, TimeRange};
use crate::testing::{Exchange, GET, payload, run};
use crate::timestamp::MINUTE_US;

use super::{Open, all, at, exchanges, made};

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
