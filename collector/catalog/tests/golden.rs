//! The encoding is a persisted format: it may only change together with its version.
//!
//! `BLESS=1 cargo test -p catalog --test golden` writes the files anew.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::fmt::Write as _;
use std::path::PathBuf;

use catalog::{ApiCatalog, ApiDelta, ApiKey, Limits, NodeCatalog, Observation, Side};

fn check(name: &str, got: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, got).unwrap();
    }
    let expect = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        got, expect,
        "{name} differs; if that is meant, raise the version and bless it"
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.chunks(32).fold(String::new(), |mut lines, chunk| {
        chunk.iter().for_each(|byte| write!(lines, "{byte:02x}").unwrap());
        lines.push('\n');
        lines
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn delta() -> ApiDelta {
    let api = ApiKey {
        workload: "shop".into(),
        host: "Shop.Test".into(),
        side: Side::Server,
    };
    let mut node = NodeCatalog::new(Limits::default());
    let calls: &[(&str, &str, Option<u16>)] = &[
        ("GET", "/", Some(200)),
        ("GET", "/users/17", Some(200)),
        ("GET", "/users/18", Some(404)),
        ("PUT", "/users/18", None),
        ("BREW", "/flurbs", Some(500)),
        ("GET", "/flurbs", Some(200)),
        ("GET", "/flurbs", Some(302)),
        ("GET", "/flurbs", Some(200)),
        ("GET", "/files/d41d8cd98f00b204e9800998ecf8427e", Some(200)),
        ("OPTIONS", "*", Some(204)),
    ];
    for (at, (method, path, status)) in calls.iter().enumerate() {
        let at = at as u64;
        let observation = Observation {
            method,
            path: path.as_bytes(),
            status: *status,
            latency_us: status.map(|_| 250 << at),
            request_bytes: 100 + at,
            response_bytes: at * 1000,
            client: at % 3,
            ts_us: 1_700_000_000_000_000 + at as i64 * 45_000_000,
            weight: 1 + at % 2,
        };
        node.observe(&api, &observation);
    }
    node.take_delta().pop().unwrap()
}

#[test]
fn delta_bytes() {
    let delta = delta();
    check("delta-v1.hex", &hex(&delta.encode()));
    let stored =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/delta-v1.hex")).unwrap();
    assert_eq!(ApiDelta::decode(&unhex(&stored)).unwrap(), delta);
}

#[test]
fn record_bytes_and_ids() {
    let delta = delta();
    let mut catalog = ApiCatalog::new(delta.api.clone(), Limits::default());
    catalog.merge(&delta);
    let mut text = String::new();
    for (key, bytes) in catalog.records() {
        write!(text, "{} {}\n{}", key.leaf, key.method, hex(&bytes)).unwrap();
    }
    check("records-v1.hex", &text);
    let mut text = String::new();
    for endpoint in catalog.endpoints() {
        writeln!(text, "{} {} {}", endpoint.id, endpoint.method, endpoint.template).unwrap();
    }
    check("endpoints-v1.txt", &text);
}
