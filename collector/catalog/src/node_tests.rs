use super::*;

/// A call to vary.
pub(crate) const CALL: Observation<'static> = Observation {
    method: "GET",
    path: b"/",
    status: Some(200),
    latency_us: Some(1000),
    request_bytes: 100,
    response_bytes: 2000,
    client: 1,
    ts_us: 1_700_000_000_000_000,
    weight: 1,
};

fn forgetful() -> NodeCatalog {
    NodeCatalog::new(Limits {
        literal_calls: 2,
        words_per_position: 3,
        // Generations of two words: they turn often.
        repeated_words: 4,
        leaves: 8,
        ..Limits::default()
    })
}

proptest::proptest! {
    #[test]
    fn paths_remembered_make_no_difference(
        calls in proptest::collection::vec((0usize..12, 0usize..3, 0usize..2), 0..200),
    ) {
        let paths = [
            "/users", "/users/zebras", "/users/flurbs", "/users/17", "/zebras/flurbs", "/flurbs", "/flurbs/zebras/quuxes",
            "/quuxes;a=b", "/", "*", "/v1//users/.", "/users/zebras/flurbs/quuxes/users",
        ];
        let (mut with, mut without) = (forgetful(), forgetful());
        for (path, status, host) in calls {
            let api = ApiKey {
                workload: String::new(),
                host: format!("h{host}.test"),
                side: Side::Server,
            };
            let call = Observation {
                path: paths[path].as_bytes(),
                status: [Some(200), Some(404), None][status],
                ..CALL
            };
            without.shared.paths = Paths::default();
            proptest::prop_assert_eq!(with.observe(&api, &call), without.observe(&api, &call));
        }
        proptest::prop_assert_eq!(with.take_delta(), without.take_delta());
        proptest::prop_assert_eq!(with.folded().collect::<Vec<_>>(), without.folded().collect::<Vec<_>>());
    }
}
