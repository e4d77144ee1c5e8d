//! Merging is commutative and associative with an identity, at the limits too, and conserves what it counts.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use catalog::{ApiCatalog, ApiDelta, ApiKey, Limits, NodeCatalog, Observation, Side};
use proptest::prelude::*;

const WORDS: &[&str] = &[
    "users", "orders", "items", "search", "flurbs", "snorks", "alice", "carol", "v1", "export", "me",
];
const VALUES: &[&str] = &[
    "7",
    "1234",
    "2024-01-31",
    "3f2a1b9c",
    "x.y@z.org",
    "%ff",
    "Zoë",
    "user12",
];
const METHODS: &[&str] = &["GET", "POST", "DELETE", "BREW"];
const STATUS: &[Option<u16>] = &[
    Some(200),
    Some(201),
    Some(302),
    Some(404),
    Some(401),
    Some(500),
    None,
];

fn api() -> ApiKey {
    ApiKey {
        workload: "shop".into(),
        host: "shop.test".into(),
        side: Side::Server,
    }
}

/// Limits that a handful of paths exceeds.
fn tight() -> Limits {
    Limits {
        route_leaves_per_api: 6,
        text_leaves_per_api: 4,
        rest_leaves_per_api: 2,
        missed_leaves_per_api: 2,
        ..Limits::default()
    }
}

#[derive(Clone, Debug)]
struct Call {
    path: String,
    method: &'static str,
    status: Option<u16>,
    size: u64,
    client: u64,
    ts_us: i64,
    weight: u64,
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        3 => prop::sample::select(WORDS).prop_map(str::to_owned),
        2 => prop::sample::select(VALUES).prop_map(str::to_owned),
    ];
    prop::collection::vec(segment, 0..5).prop_map(|segments| format!("/{}", segments.join("/")))
}

fn call() -> impl Strategy<Value = Call> {
    let size = prop_oneof![0u64..5000, any::<u64>()];
    let weight = prop_oneof![4 => Just(1u64), 1 => 0u64..100];
    let (method, status) = (prop::sample::select(METHODS), prop::sample::select(STATUS));
    (
        path(),
        method,
        status,
        size,
        0u64..2000,
        0i64..10_000_000_000,
        weight,
    )
        .prop_map(|(path, method, status, size, client, ts_us, weight)| Call {
            path,
            method,
            status,
            size,
            client,
            ts_us,
            weight,
        })
}

fn observe(node: &mut NodeCatalog, call: &Call) {
    node.observe(
        &api(),
        &Observation {
            method: call.method,
            path: call.path.as_bytes(),
            status: call.status,
            latency_us: call.status.map(|_| call.size / 3),
            request_bytes: call.size,
            response_bytes: call.size / 2,
            client: call.client,
            ts_us: call.ts_us,
            weight: call.weight,
        },
    );
}

/// Deltas of several nodes, each from its own calls.
fn deltas(nodes: &[Vec<Call>]) -> Vec<ApiDelta> {
    nodes
        .iter()
        .flat_map(|calls| {
            let mut node = NodeCatalog::new(Limits {
                literal_calls: 2,
                ..Limits::default()
            });
            calls.iter().for_each(|call| observe(&mut node, call));
            node.take_delta()
        })
        .collect()
}

fn nodes() -> impl Strategy<Value = Vec<Vec<Call>>> {
    prop::collection::vec(prop::collection::vec(call(), 0..40), 1..6)
}

fn merged(deltas: &[&ApiDelta]) -> ApiCatalog {
    let mut catalog = ApiCatalog::new(api(), tight());
    for delta in deltas {
        catalog.merge(delta);
    }
    catalog
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_order_and_grouping_is_the_same_catalog(nodes in nodes(), order in any::<u64>(), cut in any::<u64>()) {
        let deltas = deltas(&nodes);
        let forward: Vec<&ApiDelta> = deltas.iter().collect();
        let reference = merged(&forward);

        let mut shuffled = forward.clone();
        let mut state = order;
        for at in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            shuffled.swap(at, (state >> 33) as usize % (at + 1));
        }
        prop_assert_eq!(merged(&shuffled).encode(), reference.encode());

        let cut = if shuffled.is_empty() { 0 } else { cut as usize % shuffled.len() };
        let (left, right) = shuffled.split_at(cut);
        let (left, right) = (merged(left), merged(right));
        let mut grouped = left.clone();
        grouped.merge_catalog(&right);
        prop_assert_eq!(grouped.encode(), reference.encode());
        let mut other_way = right;
        other_way.merge_catalog(&left);
        prop_assert_eq!(other_way.encode(), reference.encode());

        let mut with_identity = ApiCatalog::new(api(), tight());
        with_identity.merge_catalog(&reference);
        with_identity.merge_catalog(&ApiCatalog::new(api(), tight()));
        prop_assert_eq!(with_identity.encode(), reference.encode());
        prop_assert_eq!(grouped.endpoints(), reference.endpoints());
    }

    #[test]
    fn calls_are_conserved(nodes in nodes()) {
        let sent: u64 = nodes.iter().flatten().map(|call| call.weight).sum();
        let deltas = deltas(&nodes);
        let by_minute: u64 = deltas.iter().flat_map(ApiDelta::minutes).map(|minute| minute.counts.calls.total()).sum();
        prop_assert_eq!(by_minute, sent);
        prop_assert_eq!(deltas.iter().map(ApiDelta::calls).sum::<u64>(), sent);
        let catalog = merged(&deltas.iter().collect::<Vec<_>>());
        prop_assert_eq!(catalog.endpoints().iter().map(|e| e.stats.calls.total()).sum::<u64>(), sent);
        prop_assert!(catalog.len() <= 6 + 4 + 2 + 3 * 2 + 1, "{} leaves", catalog.len());
    }

    #[test]
    fn changes_keep_a_store_in_step(nodes in nodes()) {
        let mut catalog = ApiCatalog::new(api(), tight());
        let mut store = std::collections::BTreeMap::new();
        for delta in deltas(&nodes) {
            let changes = catalog.merge(&delta);
            for key in changes.changed {
                store.insert(key, catalog.record(key.leaf, key.method).unwrap());
            }
            for key in changes.removed {
                store.remove(&key);
            }
            let gone: std::collections::BTreeMap<_, _> =
                changes.folded.iter().map(|folded| (folded.from, folded.into)).collect();
            for (leaf, path) in delta.leaves() {
                let target = catalog.leaf_of(&path.render()).unwrap();
                prop_assert!(target == leaf || gone.get(&leaf) == Some(&target));
            }
        }
        prop_assert_eq!(store.clone().into_iter().collect::<Vec<_>>(), catalog.records().collect::<Vec<_>>());
        let restored = ApiCatalog::from_records(api(), tight(), store.values()).unwrap();
        prop_assert_eq!(restored.endpoints(), catalog.endpoints());
        prop_assert_eq!(restored.records().collect::<Vec<_>>(), catalog.records().collect::<Vec<_>>());
    }

    #[test]
    fn deltas_round_trip(nodes in nodes()) {
        for delta in deltas(&nodes) {
            let bytes = delta.encode();
            let decoded = ApiDelta::decode(&bytes).unwrap();
            prop_assert_eq!(&decoded, &delta);
            prop_assert_eq!(decoded.encode(), bytes);
        }
    }
}
