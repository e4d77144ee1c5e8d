//! What could be a value does not leave the node as text.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use catalog::{ApiKey, Limits, NodeCatalog, Observation, Side};

/// Never text, however often they repeat.
const SECRETS: &[&str] = &[
    "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
    "dGhpcyBpcyBhIHNlY3JldA==",
    "V1StGXR8_Z5jdHi6B-myT",
    "xoxb-17653672481-19874698323",
    "hunter2",
    "Tr0ub4dor",
    "correcthorsebatterystaple",
    "4111111111111111",
    "4111-1111-1111-1111",
    "078-05-1120",
    "DE89370400440532013000",
    "+14155552671",
    "alice@example.com",
    "alice.smith%40example.com",
    "alice1987",
    "J%C3%BCrgen",
    "10.1.2.3",
    "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    "5f4dcc3b5aa765d61d8327deb882cf99",
    "qzxjkvwpbtmr",
    "XKQJZWVB",
    "aGVsbG9Xb3JsZFNlY3JldA",
    "QWxhZGRpbjpvcGVuIHNlc2FtZQ",
    "reset-8f3kd92ls0",
    "%41%4b%49%41%49%4f%53%46%4f%44%4e%4e7",
    "ssn=078051120",
    "Alice+Smith",
    "Alice%20Smith",
];

/// Text once they repeat, not before.
const NAMES: &[&str] = &[
    "alice",
    "jurgen",
    "smith",
    "fatima",
    "rossi",
    "alice-smith",
    "AliceSmith",
    "hiroshi",
];

fn api() -> ApiKey {
    ApiKey {
        workload: "shop".into(),
        host: "shop.test".into(),
        side: Side::Server,
    }
}

/// Everything that leaves the node after `times` calls of `/users/{segment}/orders`, as text.
fn leaves_node(segment: &str, times: usize, status: u16) -> String {
    let mut node = NodeCatalog::new(Limits::default());
    let path = format!("/users/{segment}/orders");
    let mut out = String::new();
    for at in 0..times {
        let recorded = node.observe(
            &api(),
            &Observation {
                method: "GET",
                path: path.as_bytes(),
                status: Some(status),
                latency_us: Some(1),
                request_bytes: 1,
                response_bytes: 1,
                client: 1,
                ts_us: at as i64,
                weight: 1,
            },
        );
        out.push_str(&recorded.path);
    }
    for delta in node.take_delta() {
        out.push_str(&String::from_utf8_lossy(&delta.encode()));
    }
    out
}

#[test]
fn secrets_never_leave() {
    for secret in SECRETS {
        for times in [1, 3, 100] {
            let text = leaves_node(secret, times, 200);
            assert!(!text.contains(secret), "{secret} after {times}");
            assert!(
                text.contains("/users/{") && text.contains("}/orders"),
                "{secret}: {text}"
            );
        }
    }
}

#[test]
fn names_leave_only_when_they_repeat() {
    let repeats = Limits::default().literal_calls as usize;
    for name in NAMES {
        assert!(
            !leaves_node(name, repeats - 1, 200).contains(name),
            "{name} at the limit"
        );
        assert!(
            leaves_node(name, repeats, 200).contains(name),
            "{name} over the limit"
        );
        assert!(
            !leaves_node(name, 100, 404).contains(name),
            "{name} was never served"
        );
    }
}

#[test]
fn a_position_of_many_names_gives_away_no_more_than_its_limit() {
    let limits = Limits::default();
    let mut node = NodeCatalog::new(limits.clone());
    // Pronounceable and all different: two syllables of 12 consonants and 5 vowels.
    let syllables: Vec<String> = "bdfgklmnprst"
        .chars()
        .flat_map(|c| "aeiou".chars().map(move |v| format!("{c}{v}")))
        .collect();
    let names: Vec<String> = syllables
        .iter()
        .take(20)
        .flat_map(|a| syllables.iter().map(move |b| format!("{a}{b}n")))
        .collect();
    let mut given = std::collections::BTreeSet::new();
    for _ in 0..5 {
        for name in &names {
            let path = format!("/users/{name}");
            let recorded = node.observe(
                &api(),
                &Observation {
                    method: "GET",
                    path: path.as_bytes(),
                    status: Some(200),
                    latency_us: None,
                    request_bytes: 0,
                    response_bytes: 0,
                    client: 0,
                    ts_us: 0,
                    weight: 1,
                },
            );
            if *recorded.path == *path {
                given.insert(path);
            }
        }
    }
    assert!(given.len() <= limits.words_per_position as usize, "{given:?}");
    let folded: std::collections::BTreeMap<_, _> = node.folded().collect();
    assert!(folded["words_per_position"] > 0);
}
