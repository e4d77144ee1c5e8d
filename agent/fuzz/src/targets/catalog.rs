//! What agents send each other's collector, and what a node learns of paths.

use catalog::{ApiCatalog, ApiDelta, ApiKey, Limits, NodeCatalog, Observation, Side, path_of_target};

use crate::input::Input;

/// A delta as it comes over the wire.
pub fn delta(data: &[u8]) {
    let Ok(delta) = ApiDelta::decode(data) else {
        return;
    };
    let encoded = delta.encode();
    assert_eq!(ApiDelta::decode(&encoded).as_ref(), Ok(&delta));
    let mut once = ApiCatalog::new(delta.api.clone(), Limits::default());
    once.merge(&delta);
    let _ = (once.endpoints(), delta.calls(), delta.minutes().count());
}

/// Request targets, each with its length before it.
pub fn paths(data: &[u8]) {
    let mut input = Input(data);
    let key = ApiKey {
        workload: "shop".to_owned(),
        host: "shop.test".to_owned(),
        side: Side::Server,
    };
    let limits = Limits {
        route_leaves_per_api: 8,
        text_leaves_per_api: 4,
        ..Limits::default()
    };
    let mut node = NodeCatalog::new(limits);
    let mut calls = 0;
    while !input.is_empty() {
        let options = input.byte();
        let len = usize::from(input.byte());
        let target = input.bytes(len);
        let recorded = node.observe(
            &key,
            &Observation {
                method: if options & 1 == 0 { "GET" } else { "BREW" },
                path: path_of_target(target),
                status: [Some(200), Some(404), Some(500), None]
                    .get(usize::from(options >> 1 & 3))
                    .copied()
                    .flatten(),
                latency_us: Some(u64::from(options)),
                request_bytes: 1,
                response_bytes: 2,
                client: u64::from(options),
                ts_us: 1_767_268_800_000_000,
                weight: 1,
            },
        );
        assert!(
            recorded.path.starts_with('/') || &*recorded.path == "*",
            "{}",
            recorded.path
        );
        calls += 1;
    }
    let deltas = node.take_delta();
    let counted: u64 = deltas.iter().map(ApiDelta::calls).sum();
    assert_eq!(counted, calls);
    for delta in &deltas {
        assert_eq!(ApiDelta::decode(&delta.encode()).as_ref(), Ok(delta));
    }
}

/// A batch's payload: what is not understood is refused, within bounds.
pub fn payload(data: &[u8]) {
    if let Ok(payload) = wire::decode_payload(data) {
        assert!(payload.calls.len() <= wire::PAYLOAD_ITEMS_MAX);
        let encoded = wire::encode_payload(&payload).expect("what was decoded is small enough");
        assert!(wire::decode_payload(&encoded).is_ok());
    }
}
