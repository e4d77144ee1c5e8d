//! A scan grows the catalog to its limits and no further, counts everything, and leaves the real inventory as it was.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::collections::BTreeMap;

use catalog::{ApiCatalog, ApiKey, Limits, NodeCatalog, Observation, Side};

const WORDS: &str = include_str!("../src/words/route.txt");

const REAL: &[(&str, &str)] = &[
    ("GET", "/users"),
    ("GET", "/users/17"),
    ("POST", "/users/17/orders"),
    ("GET", "/flurbs/3"),
    ("DELETE", "/v2/sessions/f47ac10b-58cc-4372-a567-0e02b2c3d479"),
];

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    fn letters(&mut self, alphabet: &[u8], length: usize) -> String {
        (0..length)
            .map(|_| char::from(alphabet[self.below(alphabet.len())]))
            .collect()
    }

    /// A path as scanners and fuzzers send them.
    fn path(&mut self, words: &[&str]) -> Vec<u8> {
        let mut path = Vec::new();
        let depth = if self.below(50) == 0 {
            self.below(60)
        } else {
            1 + self.below(5)
        };
        for _ in 0..depth {
            path.push(b'/');
            let segment = match self.below(16) {
                0..=5 => words[self.below(words.len())].to_owned(),
                6 => self.letters(b"0123456789abcdef", 32),
                7 => format!(
                    "20{:02}-{:02}-{:02}",
                    self.below(30),
                    1 + self.below(12),
                    1 + self.below(28)
                ),
                8 => self.below(1 << 30).to_string(),
                9 => {
                    let length = 2 + self.below(8);
                    self.letters(b"abcdefghijklmnopqrstuvwxyz", length)
                }
                10 => self.letters(
                    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
                    20,
                ),
                11 => format!(
                    "%{}%2f{}",
                    self.letters(b"0123456789abcdefz", 2),
                    self.below(1000)
                ),
                12 => format!("{};v={}", words[self.below(words.len())], self.below(1000)),
                13 => ["..", ".", "", "%00", "{id}", "a b"][self.below(6)].to_owned(),
                14 => format!(
                    "{}-{}.php",
                    words[self.below(words.len())],
                    self.letters(b"abcdeiou", 5)
                ),
                _ => {
                    let length = if self.below(100) == 0 { 5000 } else { 3 };
                    path.extend(
                        (0..length)
                            .map(|_| self.below(256) as u8)
                            .filter(|byte| *byte != b'/'),
                    );
                    String::new()
                }
            };
            path.extend_from_slice(segment.as_bytes());
        }
        path
    }
}

fn api() -> ApiKey {
    ApiKey {
        workload: "shop".into(),
        host: "shop.test".into(),
        side: Side::Server,
    }
}

fn call<'a>(method: &'a str, path: &'a [u8], status: u16, at: usize) -> Observation<'a> {
    Observation {
        method,
        path,
        status: Some(status),
        latency_us: Some(at as u64 % 10_000),
        request_bytes: 200,
        response_bytes: at as u64 % 4096,
        client: at as u64 % 50,
        ts_us: at as i64 * 1000,
        weight: 1,
    }
}

/// Confirmed endpoints: method, template.
fn inventory(catalog: &ApiCatalog) -> Vec<String> {
    let confirmed = catalog
        .endpoints()
        .into_iter()
        .filter(|endpoint| endpoint.confirmed);
    confirmed
        .map(|endpoint| format!("{} {}", endpoint.method, endpoint.template))
        .collect()
}

/// Runs real calls, then a scan answered with `status` among more of them.
fn scan(
    paths: usize,
    status: u16,
    limits: &Limits,
) -> (ApiCatalog, Vec<String>, BTreeMap<&'static str, u64>) {
    let words: Vec<&str> = WORDS.lines().collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut node = NodeCatalog::new(limits.clone());
    let mut catalog = ApiCatalog::new(api(), limits.clone());
    let mut sent = 0;
    let mut before = Vec::new();
    for at in 0..paths {
        if at % 100 < REAL.len() {
            let (method, path) = REAL[at % 100];
            node.observe(&api(), &call(method, path.as_bytes(), 200, at));
            sent += 1;
        }
        if at == 1000 {
            node.take_delta()
                .iter()
                .for_each(|delta| drop(catalog.merge(delta)));
            before = inventory(&catalog);
        }
        if at >= 1000 {
            let path = random.path(&words);
            node.observe(&api(), &call(["GET", "POST", "TRACK"][at % 3], &path, status, at));
            sent += 1;
        }
        if at % 50_000 == 49_999 || at + 1 == paths {
            assert!(node.leaves() <= limits.leaves + 1, "{}", node.leaves());
            for delta in node.take_delta() {
                let decoded = catalog::ApiDelta::decode(&delta.encode()).unwrap();
                catalog.merge(&decoded);
            }
        }
    }
    assert_eq!(
        catalog
            .endpoints()
            .iter()
            .map(|e| e.stats.calls.total())
            .sum::<u64>(),
        sent,
        "sums are conserved"
    );
    let mut folded: BTreeMap<&'static str, u64> = node.folded().collect();
    for (name, count) in catalog.folded() {
        *folded.entry(name).or_default() += count;
    }
    (catalog, before, folded)
}

#[test]
fn a_scan_of_a_million_urls_that_are_not_found() {
    let limits = Limits::default();
    let (catalog, before, folded) = scan(1_000_000, 404, &limits);
    assert_eq!(before.len(), REAL.len());
    assert_eq!(inventory(&catalog), before, "the real inventory does not change");
    assert!(
        catalog.len() <= 3 * limits.missed_leaves_per_api + 1 + REAL.len() + 8,
        "{}",
        catalog.len()
    );
    for name in ["missed_leaves_per_api", "depth", "methods"] {
        assert!(folded[name] > 0, "{name}: {folded:?}");
    }
    assert!(catalog.encode().len() < 4 << 20);
}

#[test]
fn a_scan_that_everything_answers() {
    let limits = Limits {
        route_leaves_per_api: 1000,
        text_leaves_per_api: 300,
        rest_leaves_per_api: 50,
        ..Limits::default()
    };
    let (catalog, _, folded) = scan(150_000, 200, &limits);
    assert!(catalog.len() <= 1000 + 300 + 50 + 1, "{}", catalog.len());
    for name in [
        "route_leaves_per_api",
        "rest_leaves_per_api",
        "words_per_position",
    ] {
        assert!(folded[name] > 0, "{name}: {folded:?}");
    }
}

#[test]
fn random_hosts_and_workloads_are_folded() {
    let limits = Limits {
        apis: 14,
        hosts_per_workload: 8,
        ..Limits::default()
    };
    let mut node = NodeCatalog::new(limits.clone());
    let mut hosts = std::collections::BTreeSet::new();
    for at in 0..10_000usize {
        let key = ApiKey {
            workload: format!("w{}", at * at % 3),
            host: if at % 10 == 0 {
                "not a host".into()
            } else {
                format!("H{at}.test")
            },
            side: Side::Server,
        };
        hosts.insert(
            node.observe(&key, &call("GET", b"/users", 200, at))
                .host
                .to_string(),
        );
        assert!(node.apis() <= limits.apis + 1, "one more for what is folded");
    }
    assert!(hosts.contains("*"));
    let folded: BTreeMap<_, _> = node.folded().collect();
    assert!(
        folded["apis"] > 0 && folded["hosts_per_workload"] > 0,
        "{folded:?}"
    );
    assert_eq!(folded["invalid_host"], 1000);
    let deltas = node.take_delta();
    assert!(deltas.len() <= limits.apis + 1);
    assert_eq!(deltas.iter().map(catalog::ApiDelta::calls).sum::<u64>(), 10_000);
    assert!(
        deltas
            .iter()
            .any(|delta| delta.api.workload == "*" && delta.api.host == "*")
    );
}

#[test]
fn repeated_words_over_their_limit_are_values() {
    let limits = Limits {
        literal_calls: 1,
        words_per_position: 1000,
        text_leaves_per_api: 10,
        ..Limits::default()
    };
    let mut node = NodeCatalog::new(limits.clone());
    for at in 0..500 {
        let (first, second, third) = (
            ["ba", "ko", "ri", "lu", "se"][at % 5],
            ["mo", "ti", "da"][at % 3],
            ["la", "pi"][at % 2],
        );
        let path = format!("/users/{first}{second}{third}n");
        node.observe(&api(), &call("GET", path.as_bytes(), 200, at));
    }
    let mut catalog = ApiCatalog::new(api(), limits);
    node.take_delta()
        .iter()
        .for_each(|delta| drop(catalog.merge(delta)));
    assert_eq!(catalog.len(), 11, "ten names and what they were folded into");
    let endpoints: Vec<(String, u64)> = catalog
        .endpoints()
        .into_iter()
        .map(|e| (e.template, e.stats.calls.total()))
        .collect();
    assert_eq!(endpoints, [("/users/{user}".to_owned(), 500)]);
    assert!(
        node.folded()
            .any(|(name, count)| name == "text_leaves_per_api" && count > 0)
    );
}

#[test]
fn leaves_of_a_node_at_their_limit() {
    let mut node = NodeCatalog::new(Limits {
        leaves: 3,
        ..Limits::default()
    });
    let mut path = |path: &str| {
        node.observe(&api(), &call("GET", path.as_bytes(), 200, 0))
            .path
            .to_string()
    };
    for known in ["/users", "/orders", "/items"] {
        assert_eq!(path(known), known);
    }
    assert_eq!(path("/search"), "/{rest}");
    assert_eq!(path("/search/7"), "/{rest}");
    assert_eq!(path("/users"), "/users");
    assert_eq!(
        node.folded().find(|(name, _)| *name == "leaves"),
        Some(("leaves", 2))
    );
    assert_eq!(node.take_delta()[0].calls(), 6);
}

#[test]
fn a_busy_api_is_told_in_several_deltas() {
    let mut node = NodeCatalog::new(Limits {
        records_per_delta: 3,
        ..Limits::default()
    });
    for path in ["/users", "/orders", "/items"] {
        node.observe(&api(), &call("GET", path.as_bytes(), 200, 0));
    }
    assert_eq!(node.take_delta().len(), 1, "at the limit");
    for path in ["/users", "/orders", "/items", "/search"] {
        node.observe(&api(), &call("GET", path.as_bytes(), 200, 0));
    }
    assert_eq!(
        node.take_delta()
            .iter()
            .map(catalog::ApiDelta::len)
            .collect::<Vec<_>>(),
        [3, 1]
    );
}

#[test]
fn idle_leaves_and_apis_are_forgotten() {
    let mut node = NodeCatalog::new(Limits::default());
    node.observe(&api(), &call("GET", b"/users", 200, 0));
    assert_eq!((node.take_delta().len(), node.leaves(), node.apis()), (1, 1, 1));
    for _ in 0..40 {
        assert_eq!(node.take_delta(), [], "nothing happened");
    }
    assert_eq!((node.leaves(), node.apis()), (0, 0));
    node.observe(&api(), &call("GET", b"/users", 200, 0));
    assert_eq!(node.take_delta()[0].calls(), 1);
}

#[test]
fn minutes_at_their_limit() {
    let limits = Limits {
        minutes_per_record: 3,
        ..Limits::default()
    };
    let mut node = NodeCatalog::new(limits);
    for minute in [5, 3, 4, 3, 9, 1, 4] {
        let observation = Observation {
            ts_us: minute * catalog::MINUTE_US + 1,
            ..call("GET", b"/users", 200, 0)
        };
        node.observe(&api(), &observation);
    }
    let delta = node.take_delta().pop().unwrap();
    let minutes: Vec<(i64, u64)> = delta
        .minutes()
        .map(|minute| (minute.minute_us / catalog::MINUTE_US, minute.counts.calls.total()))
        .collect();
    assert_eq!(minutes, [(3, 3), (4, 2), (5, 2)], "9 counts with 5, 1 with 3");
    assert_eq!(
        node.folded().find(|(name, _)| *name == "minutes_per_record"),
        Some(("minutes_per_record", 2))
    );
}

#[test]
fn depth_at_its_limit() {
    let mut node = NodeCatalog::new(Limits {
        depth: 3,
        ..Limits::default()
    });
    let mut path = |path: &str| {
        node.observe(&api(), &call("GET", path.as_bytes(), 200, 0))
            .path
            .to_string()
    };
    assert_eq!(path("/users/7/orders"), "/users/{integer}/orders");
    assert_eq!(path("/users/7/orders/8"), "/users/{integer}/orders/{rest}");
    assert_eq!(path("/users/7/orders/8/9/10"), "/users/{integer}/orders/{rest}");
    assert_eq!(path("//users//7/./orders//;x=1/"), "/users/{integer}/orders");
    assert_eq!(path("/users;v=1/7"), "/users/{integer}");
    assert_eq!(path(""), "/");
    assert_eq!(path("*"), "*");
    assert_eq!(
        node.folded().find(|(name, _)| *name == "depth"),
        Some(("depth", 2))
    );
}

#[test]
fn rare_until_it_is_not() {
    let mut node = NodeCatalog::new(Limits::default());
    let mut rare = |times: usize| {
        let mut count = 0;
        for at in 0..times {
            count += usize::from(node.observe(&api(), &call("GET", b"/users", 200, at)).rare);
        }
        count
    };
    assert_eq!(rare(20), 7);
    assert_eq!(rare(20), 0);
}
