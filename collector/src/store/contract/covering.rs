//! What coverage must say.

use wire::v1::{CoverageKind as Kind, Payload, TrafficClass as Class};

use crate::config;
use crate::ingest::decoded;
use crate::store::{CoverageFilter, CoverageKind, Outcome, Paging, TextMatch, TimeRange, Traffic};
use crate::testing::{batch, carried, covered, run};
use crate::timestamp::Timestamp;

use super::{Open, all, at};

fn rate(below: f64) -> CoverageFilter {
    CoverageFilter {
        below: Some(below),
        ..CoverageFilter::default()
    }
}

pub fn coverage_is_counted_once_and_by_range(open: Open) {
    run(async {
        let opened = open(config::Store::default());
        let store = &opened.store;
        let shop = [
            (Kind::Read, "read", 600),
            (Kind::Missed, "opaque_call", 300),
            (Kind::Missed, "ring_full", 100),
            (Kind::LeftOut, "turn_limit", 5000),
        ];
        let whole = [(Kind::Read, "read", 7)];
        // A kind of a later version is not known here.
        let aside = [(Kind::LeftOut, "skipped", 9), (Kind::Unspecified, "future", 1)];
        let sent = [
            ("node-a", 1, 0, covered("shop", &shop)),
            ("node-a", 2, 30, covered("shop", &whole)),
            ("node-a", 3, 120, covered("shop", &shop)),
            ("node-b", 1, 0, covered("web", &whole)),
            ("node-b", 2, 0, covered("aside", &aside)),
        ];
        for (node, sequence, second, payload) in &sent {
            let mut made = batch(node, "b", *sequence, payload);
            made.created_us = at(*second).us();
            let made = decoded(made, Timestamp::from_us(0));
            assert_eq!(store.apply(made.clone()).await.unwrap(), Outcome::Applied);
            assert_eq!(store.apply(made).await.unwrap(), Outcome::Duplicate);
        }
        let found = store
            .coverage(CoverageFilter::default(), all())
            .await
            .unwrap()
            .items;
        let names: Vec<_> = found
            .iter()
            .map(|c| (c.workload.as_str(), c.node.as_str()))
            .collect();
        assert_eq!(
            names,
            [("aside", "node-b"), ("shop", "node-a"), ("web", "node-b")]
        );
        let shop = &found[1];
        assert_eq!(
            (shop.read_bytes, shop.missed_bytes, shop.left_out_bytes),
            (1207, 800, 10_000)
        );
        assert_eq!(shop.capture_rate, Some(1207.0 / 2007.0));
        assert_eq!((shop.first_minute, shop.last_minute), (at(0), at(120)));
        let reasons: Vec<_> = shop
            .reasons
            .iter()
            .map(|r| (r.kind, r.reason.as_str(), r.bytes))
            .collect();
        assert_eq!(
            reasons,
            [
                (CoverageKind::LeftOut, "turn_limit", 10_000),
                (CoverageKind::Read, "read", 1207),
                (CoverageKind::Missed, "opaque_call", 600),
                (CoverageKind::Missed, "ring_full", 200),
            ]
        );
        assert_eq!((found[0].capture_rate, found[0].left_out_bytes), (None, 9));
        assert_eq!(found[2].capture_rate, Some(1.0));

        let text = |text: &str| Some(TextMatch::exact_or_glob(text).unwrap());
        let range = |from, to| TimeRange {
            from: Some(at(from)),
            to: Some(at(to)),
        };
        let none = CoverageFilter::default;
        let cases = [
            (
                CoverageFilter {
                    workload: text("sh*"),
                    ..none()
                },
                vec![1207],
            ),
            (
                CoverageFilter {
                    node: text("node-b"),
                    ..none()
                },
                vec![0, 7],
            ),
            (
                CoverageFilter {
                    range: range(59, 120),
                    ..none()
                },
                vec![0, 607, 7],
            ),
            (
                CoverageFilter {
                    range: range(60, 600),
                    ..none()
                },
                vec![600],
            ),
            (rate(1.0), vec![1207]),
            (rate(0.6), vec![]),
            (
                CoverageFilter {
                    range: range(60, 600),
                    ..rate(0.601)
                },
                vec![600],
            ),
        ];
        for (filter, read) in cases {
            let items = store.coverage(filter.clone(), all()).await.unwrap().items;
            let found: Vec<_> = items.iter().map(|c| c.read_bytes).collect();
            assert_eq!(found, read, "{filter:?}");
        }

        let mut paged = Vec::new();
        let mut after = None;
        loop {
            let page = store.coverage(none(), Paging { limit: 1, after }).await.unwrap();
            assert_eq!(page.items.len(), 1);
            paged.extend(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(paged, found);
    });
}

pub fn traffic_is_told_apart_by_what_carries_it(open: Open) {
    run(async {
        let opened = open(config::Store::default());
        let store = &opened.store;
        let read = |bytes| covered("shop", &[(Kind::Read, "read", bytes)]).coverage.remove(0);
        let mut over_tls = read(900);
        over_tls.set_class(Class::TlsDecrypted);
        "openssl".clone_into(&mut over_tls.library);
        // As an agent says it that knows of HTTP alone, and one that knows more than is known here.
        let mut future = carried("shop", &[(Class::Other, "", "", 1, 4)]);
        future[0].class = 99;
        let mut sent = carried(
            "shop",
            &[
                (Class::Http, "", "", 2, 50),
                (Class::TlsDecrypted, "openssl", "", 3, 1_000),
                (Class::TlsUndecrypted, "openssl", "not_bound", 1, 70),
                (Class::TlsUndecrypted, "rustls", "unsupported", 1, 7),
            ],
        );
        sent.extend([read(50), over_tls]);
        sent.extend(future);
        sent.extend(carried(
            "vault",
            &[(Class::TlsUndecrypted, "", "no_tls_library_found", 1, 5)],
        ));
        let payload = Payload {
            coverage: sent,
            ..Payload::default()
        };
        for sequence in [1, 2] {
            let mut made = batch("node-a", "b", sequence, &payload);
            made.created_us = at(60 * sequence as i64).us();
            let made = decoded(made, Timestamp::from_us(0));
            assert_eq!(store.apply(made).await.unwrap(), Outcome::Applied);
        }
        let found = store.coverage(CoverageFilter::default(), all()).await.unwrap();
        let [shop, vault] = found.items.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!(
            (shop.capture_rate, shop.read_bytes, shop.reasons.len()),
            (Some(1.0), 1_900, 1)
        );
        let line = |one: &Traffic| {
            let class = one.class.name();
            let (library, reason) = (&one.library, &one.reason);
            let (connections, wire, read) = (one.connections, one.wire_bytes, one.read_bytes);
            format!("{class} {library} {reason} {connections} {wire} {read}")
        };
        let lines: Vec<_> = shop.traffic.iter().map(line).collect();
        assert_eq!(
            lines,
            [
                "http   4 100 100",
                "other   2 8 0",
                "tls_decrypted openssl  6 2000 1800",
                "tls_undecrypted openssl not_bound 2 140 0",
                "tls_undecrypted rustls unsupported 2 14 0",
            ]
        );
        // Where nothing can be read there is no rate, and it is below none.
        assert_eq!((vault.capture_rate, vault.traffic.len()), (None, 1));
        assert_eq!(store.coverage(rate(1.0), all()).await.unwrap().items, []);
    });
}
