//! Bytes from an attacker: a clear error or a usable value, never a panic.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use catalog::{ApiCatalog, ApiDelta, ApiKey, DecodeError, Limits, NodeCatalog, Observation, Side};
use proptest::prelude::*;

fn api() -> ApiKey {
    ApiKey {
        workload: "shop".into(),
        host: "shop.test".into(),
        side: Side::Client,
    }
}

fn delta() -> ApiDelta {
    let mut node = NodeCatalog::new(Limits::default());
    for at in 0..200u64 {
        let path = format!(
            "/users/{}/orders/{}",
            at % 7,
            if at % 3 == 0 { "export" } else { "alice" }
        );
        node.observe(
            &api(),
            &Observation {
                method: "GET",
                path: path.as_bytes(),
                status: Some(200 + (at % 4 * 100) as u16),
                latency_us: Some(at * at),
                request_bytes: at,
                response_bytes: 1 << (at % 50),
                client: at,
                ts_us: at as i64 * 7_000_000,
                weight: 1,
            },
        );
    }
    node.take_delta().pop().unwrap()
}

/// Uses everything of a decoded delta.
fn use_up(delta: &ApiDelta) {
    let mut catalog = ApiCatalog::new(
        delta.api.clone(),
        Limits {
            route_leaves_per_api: 1,
            ..Limits::default()
        },
    );
    catalog.merge(delta);
    catalog.merge(delta);
    for endpoint in catalog.endpoints() {
        let stats = &endpoint.stats;
        for histogram in [&stats.latency_us, &stats.request_bytes, &stats.response_bytes] {
            let _ = (
                histogram.quantile(0.5),
                histogram.mean(),
                histogram.buckets().count(),
            );
        }
        let _ = (stats.clients.estimate(), catalog.template_of(endpoint.leaves[0]));
    }
    let _ = delta.minutes().count();
    let records: Vec<Vec<u8>> = catalog.records().map(|(_, bytes)| bytes).collect();
    let restored = ApiCatalog::from_records(delta.api.clone(), Limits::default(), &records).unwrap();
    assert_eq!(restored.len(), catalog.len());
}

#[test]
fn errors_name_the_cause() {
    let bytes = delta().encode();
    assert_eq!(
        ApiDelta::decode(&[]),
        Err(DecodeError::Truncated {
            at: 0,
            what: "version"
        })
    );
    assert_eq!(
        ApiDelta::decode(&[9, 0, 0]),
        Err(DecodeError::Version {
            found: 9,
            expected: 1
        })
    );
    let long = [bytes.as_slice(), &[0]].concat();
    assert_eq!(ApiDelta::decode(&long), Err(DecodeError::Trailing { extra: 1 }));
    for end in 0..bytes.len() {
        assert!(
            matches!(
                ApiDelta::decode(&bytes[..end]),
                Err(DecodeError::Truncated { .. })
            ),
            "{end}"
        );
    }
}

#[test]
fn literals_that_would_forge_a_template_are_refused() {
    // version, server, workload "", host "", one record, one segment: a literal of two bytes.
    for text in ["{}", "a/", "\u{1}b", "a?"] {
        let mut bytes = vec![1, 0, 0, 0, 1, 1, 66];
        bytes.extend_from_slice(text.as_bytes());
        assert!(
            matches!(
                ApiDelta::decode(&bytes),
                Err(DecodeError::Invalid { what: "literal", .. })
            ),
            "{text:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..300), version in prop::bool::weighted(0.9)) {
        if version && let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        if let Ok(delta) = ApiDelta::decode(&bytes) {
            use_up(&delta);
        }
        let _ = ApiCatalog::from_records(api(), Limits::default(), [&bytes]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn mutated_encodings(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = delta().encode();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(delta) = ApiDelta::decode(&bytes) {
            prop_assert_eq!(ApiDelta::decode(&delta.encode()), Ok(delta.clone()));
            use_up(&delta);
        }
    }
}
