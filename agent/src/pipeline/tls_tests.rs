//! What a TLS session adds to rows, and does not change in the inventory.

use protocol::tls::Facts;

use super::flow_tests::{
    EPOCH_US, REQUEST, RESPONSE, attribution, call, exchange, process, through, unlimited,
};
use super::tls::{ALPN_NAMES_MAX, SERVER_NAMES_MAX};
use super::*;
use crate::tracker::Tls;

fn over_tls(facts: Facts) -> Call {
    let stock = process(&mut attribution(), 200, "/usr/bin/stock");
    Call {
        tls: Some(Arc::new(Tls {
            facts,
            library: "openssl".into(),
        })),
        ..call(exchange(REQUEST, RESPONSE), Side::Server, stock, None)
    }
}

fn named(name: &str) -> Facts {
    Facts {
        server_name: Some(name.to_owned()),
        ..Facts::default()
    }
}

#[test]
fn a_session_is_in_the_row() {
    let facts = Facts {
        version: Some(0x0303),
        cipher: Some(0xc02f),
        alpn_offered: vec!["h2".to_owned(), "http/1.1".to_owned()],
        alpn: Some("http/1.1".to_owned()),
        ja4: Some("t13d1516h2_8daaf6152771_e5627efa2ab1".to_owned()),
        ..named("stock.local")
    };
    let payload = through(&over_tls(facts), &unlimited());
    assert_eq!(
        payload.calls[0].tls,
        Some(wire::v1::Tls {
            version: "TLS 1.2".to_owned(),
            cipher: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".to_owned(),
            server_name: "stock.local".to_owned(),
            alpn: "http/1.1".to_owned(),
            ja4: "t13d1516h2_8daaf6152771_e5627efa2ab1".to_owned(),
            library: "openssl".to_owned(),
        })
    );
    // Of one whose handshake was not seen only the library is known.
    let payload = through(&over_tls(Facts::default()), &unlimited());
    assert_eq!(
        payload.calls[0].tls,
        Some(wire::v1::Tls {
            library: "openssl".to_owned(),
            ..wire::v1::Tls::default()
        })
    );
}

#[test]
fn an_api_is_one_with_and_without_tls() {
    let mut pipeline = Pipeline::new(&unlimited(), "boot");
    let secure = over_tls(named("stock.local"));
    let in_clear = Call {
        tls: None,
        ..over_tls(Facts::default())
    };
    for call in [&secure, &in_clear] {
        pipeline.take(call, EPOCH_US);
    }
    let payload = pipeline.take_payload();
    assert_eq!((payload.catalog.len(), payload.edges.len()), (1, 1));
    let [first, second] = payload.calls.as_slice() else {
        panic!("{:?}", payload.calls)
    };
    assert!(first.tls.is_some() && second.tls.is_none());
    assert_eq!((&first.api, &first.leaf), (&second.api, &second.leaf));
}

#[test]
fn names_beyond_the_limit_are_folded_and_counted() {
    let mut pipeline = Pipeline::new(&unlimited(), "boot");
    let sent = |pipeline: &mut Pipeline, facts| {
        pipeline.take(&over_tls(facts), EPOCH_US);
        let row = pipeline.take_payload().calls.remove(0);
        row.tls.map(|tls| (tls.server_name, tls.alpn)).unwrap()
    };
    let spoken = |name: &str| Facts {
        alpn: Some(name.to_owned()),
        ..named("stock.local")
    };
    for at in 0..SERVER_NAMES_MAX {
        let name = format!("tenant-{at}.test");
        assert_eq!(sent(&mut pipeline, named(&name)).0, name);
    }
    for at in 0..ALPN_NAMES_MAX {
        let name = format!("p{at}");
        assert_eq!(sent(&mut pipeline, spoken(&name)).1, name);
    }
    assert_eq!(sent(&mut pipeline, named("one-more.test")).0, "*");
    assert_eq!(sent(&mut pipeline, spoken("one-more")).1, "*");
    // Those that are known, and that of the host, go on.
    assert_eq!(sent(&mut pipeline, named("tenant-0.test")).0, "tenant-0.test");
    assert_eq!(
        sent(&mut pipeline, spoken("p0")),
        ("stock.local".to_owned(), "p0".to_owned())
    );
    for name in ["server_names", "alpn_names"] {
        let drops = pipeline.drops();
        let drop = drops.iter().find(|drop| drop.name == name).unwrap();
        assert_eq!((drop.stage, drop.events), ("tls", 1));
    }
}
