//! What templates are learnt from what calls.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::collections::BTreeSet;

use catalog::{ApiCatalog, ApiKey, Limits, NodeCatalog, Observation, Side};

const CALL: Observation<'static> = Observation {
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

fn api() -> ApiKey {
    ApiKey {
        workload: "shop".into(),
        host: "shop.test".into(),
        side: Side::Server,
    }
}

/// Templates with methods and calls after observing lines of `METHOD path status times`.
fn learn(lines: &[(&str, usize)]) -> Vec<String> {
    let mut node = NodeCatalog::new(Limits::default());
    for (line, times) in lines {
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let status = words.next().map_or(200, |status| status.parse().unwrap());
        for _ in 0..*times {
            node.observe(
                &api(),
                &Observation {
                    method,
                    path: path.as_bytes(),
                    status: Some(status),
                    ..CALL
                },
            );
        }
    }
    let mut catalog = ApiCatalog::new(api(), Limits::default());
    for delta in node.take_delta() {
        catalog.merge(&delta);
    }
    let endpoints = catalog.endpoints();
    let ids: BTreeSet<_> = endpoints.iter().map(|endpoint| endpoint.id).collect();
    assert_eq!(ids.len(), endpoints.len(), "ids are unique");
    for endpoint in &endpoints {
        assert!(endpoint.aliases.iter().all(|alias| !ids.contains(alias)));
        for leaf in &endpoint.leaves {
            assert!(catalog.template_of(*leaf).is_some());
        }
    }
    endpoints
        .iter()
        .map(|e| {
            let mark = if e.confirmed { "" } else { " ?" };
            format!("{} {} {}{mark}", e.method, e.template, e.stats.calls.total())
        })
        .collect()
}

#[test]
fn values_of_all_types_are_one_parameter() {
    let uuid = "/users/f47ac10b-58cc-4372-a567-0e02b2c3d479";
    let got = learn(&[
        ("GET /users", 1),
        ("GET /users/1", 1),
        (&format!("GET {uuid}"), 1),
        ("GET /users/me", 1),
        ("POST /users/1/orders/7", 1),
        ("GET /v1/7/8", 1),
        ("GET /", 1),
        ("GET /days/2024-01-31", 1),
        ("OPTIONS *", 1),
    ]);
    assert_eq!(
        got,
        [
            "OPTIONS * 1",
            "GET / 1",
            "GET /days/{date} 1",
            "GET /users 1",
            "GET /users/me 1",
            "GET /users/{user_id} 2",
            "POST /users/{user_id}/orders/{order_id} 1",
            "GET /v1/{id}/{id_2} 1",
        ]
    );
}

#[test]
fn a_word_outside_the_vocabulary_becomes_one_literal_with_all_its_calls() {
    assert_eq!(learn(&[("GET /flurbs", 1)]), ["GET /{text} 1"]);
    assert_eq!(learn(&[("GET /flurbs", 2)]), ["GET /{text} 2"]);
    assert_eq!(learn(&[("GET /flurbs", 5)]), ["GET /flurbs 5"]);
    assert_eq!(
        learn(&[
            ("GET /flurbs", 9),
            ("GET /flurbs/7", 9),
            ("GET /flurbs/7/snorks", 9)
        ]),
        [
            "GET /flurbs 9",
            "GET /flurbs/{flurb_id} 9",
            "GET /flurbs/{flurb_id}/snorks 9"
        ]
    );
}

#[test]
fn names_are_one_parameter() {
    let names = [
        "alice", "robert", "carol", "david", "erica", "frank", "gloria", "henry", "irena", "julia", "karl",
        "laura", "martin", "nadia", "oscar", "petra",
    ];
    let lines: Vec<String> = names
        .iter()
        .map(|name| format!("GET /users/{name}/orders"))
        .collect();
    let mut lines: Vec<(&str, usize)> = lines.iter().map(|line| (line.as_str(), 3)).collect();
    lines.push(("GET /users/me/settings", 40));
    assert_eq!(
        learn(&lines),
        ["GET /users/me/settings 40", "GET /users/{user}/orders 48"]
    );
}

#[test]
fn a_strong_word_stays_beside_values() {
    let got = learn(&[
        ("GET /users/alice", 2),
        ("GET /users/robert", 1),
        ("GET /users/carol", 1),
        ("GET /users/snork", 60),
    ]);
    assert_eq!(got, ["GET /users/snork 58", "GET /users/{user} 6"]);
}

#[test]
fn missed_calls_follow_but_do_not_teach() {
    let got = learn(&[
        ("GET /users/1", 1),
        ("GET /users/2 404", 1),
        ("GET /admin/backup 404", 1),
        ("GET /xyzzy 404", 9),
    ]);
    assert_eq!(
        got,
        [
            "GET /admin/backup 1 ?",
            "GET /users/{user_id} 2",
            "GET /{text} 9 ?"
        ]
    );
}
#[test]
fn an_id_from_before_a_template_was_learnt_is_an_alias() {
    let mut node = NodeCatalog::new(Limits::default());
    let mut catalog = ApiCatalog::new(api(), Limits::default());
    let mut call = |path: &str, times: usize| {
        for _ in 0..times {
            node.observe(
                &api(),
                &Observation {
                    path: path.as_bytes(),
                    ..CALL
                },
            );
        }
        node.take_delta()
            .iter()
            .for_each(|delta| drop(catalog.merge(delta)));
        let endpoints = catalog.endpoints();
        endpoints
            .into_iter()
            .map(|e| (e.template.clone(), e))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = call("/users/alice/orders", 1);
    let unknown = before["/users/{user}/orders"].id;
    let before = call("/users/alice/orders", 5);
    let alice = before["/users/alice/orders"].id;
    assert!(
        before["/users/alice/orders"].aliases.contains(&unknown),
        "free text became a literal"
    );
    let mut after = before;
    for name in ["robert", "carol", "david", "erica"] {
        after = call(&format!("/users/{name}/orders"), 2);
    }
    let users = &after["/users/{user}/orders"];
    assert_eq!(
        (users.id, users.stats.calls.total(), after.len()),
        (unknown, 14, 1)
    );
    assert!(users.aliases.contains(&alice), "a literal became a value");
}
