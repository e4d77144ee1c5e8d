//! What is kept, for how long, and what is forgotten.

use wire::v1::CoverageKind as Kind;

use crate::config;
use crate::ingest::decoded;
use crate::metrics::Dropped;
use crate::store::{
    AgentHello, BatchId, CallFilter, EdgeFilter, EndpointFilter, Lowered, StoreError, StoredPolicy,
    TextMatch, WorkloadFilter,
};
use crate::testing::{GET, batch, covered, lowered, payload, run};

use super::{Open, all, at, exchanges, made};

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
        assert_eq!(opened.metrics.dropped(Dropped::CallsByRows), 0);
        store
            .apply(made("a", "b", 2, &payload(&calls[10..])))
            .await
            .unwrap();
        let kept = store.calls(CallFilter::default(), all()).await.unwrap().items;
        assert_eq!(kept.len(), 10);
        assert_eq!(kept.last().unwrap().ts, at(14 * 20), "the oldest went");
        assert_eq!(opened.metrics.dropped(Dropped::CallsByRows), 14);
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
        let mut sent = payload(&[GET]);
        sent.coverage = covered("shop", &[(Kind::Read, "read", 1), (Kind::Missed, "fault", 1)]).coverage;
        store.apply(made("a", "b", 1, &sent)).await.unwrap();
        let mut evicted = Vec::new();
        for days in [1, 2, 3] {
            for second in [0, 61] {
                let done = store.evict(at(days * 86_400 + second)).await.unwrap();
                evicted.push((done.calls_by_age, done.minutes, done.idle));
            }
        }
        // One call; one minute of the endpoint, one of the edge, two of coverage; one edge, two workloads, one agent.
        assert_eq!(
            evicted,
            [(0, 0, 0), (1, 0, 0), (0, 0, 0), (0, 4, 0), (0, 0, 0), (0, 0, 4)]
        );
        let metrics = &opened.metrics;
        let counted = [Dropped::CallsByAge, Dropped::Minutes, Dropped::Idle];
        assert_eq!(counted.map(|what| metrics.dropped(what)), [1, 4, 4]);
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
            policy_version: 3,
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
            status.lowered = vec![lowered(user, "headers", sequence)];
            status.lowered_more = sequence;
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
        let told = Lowered {
            workload: "new".into(),
            level: "headers".into(),
            processes: 1,
            since: at(0),
            added_us_per_s: 234_000,
            allowed_us_per_s: 50_000,
        };
        assert_eq!((agent.lowered, agent.lowered_more), (vec![told], 1));
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
