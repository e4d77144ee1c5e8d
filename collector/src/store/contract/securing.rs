//! TLS sessions of calls.

use wire::v1;

use crate::store::{CallFilter, Scheme, Tls};
use crate::testing::{Exchange, GET, payload, run, through_tls, tls};

use super::{Open, all, made};
use crate::config;

pub fn tls_sessions_are_kept_and_tell_calls_apart(open: Open) {
    run(async {
        let opened = open(config::Store::default());
        let store = &opened.store;
        // All that an agent may know: everything, only the library, not even that.
        let sessions = [
            None,
            Some(tls()),
            Some(v1::Tls {
                library: "go".to_owned(),
                ..v1::Tls::default()
            }),
            Some(v1::Tls::default()),
        ];
        for (session, at) in sessions.iter().zip(1..) {
            let one = payload(&[Exchange {
                id: at,
                second: at as i64,
                ..GET
            }]);
            let one = match session {
                Some(session) => through_tls(one, session),
                None => one,
            };
            store.apply(made("a", "b", at, &one)).await.unwrap();
        }
        let found = async |scheme| {
            let filter = CallFilter {
                scheme,
                ..CallFilter::default()
            };
            let calls = store.calls(filter, all()).await.unwrap().items;
            for call in &calls {
                assert_eq!(store.call(call.id).await.unwrap().as_ref(), Some(call));
            }
            calls.into_iter().rev().map(|call| call.tls).collect::<Vec<_>>()
        };
        let known = tls();
        let of = |library: &str| {
            Some(Tls {
                library: library.to_owned(),
                ..Tls::default()
            })
        };
        let whole = Some(Tls {
            version: known.version,
            cipher: known.cipher,
            server_name: known.server_name,
            alpn: known.alpn,
            ja4: known.ja4,
            library: known.library,
        });
        let secure = [whole, of("go"), of("unknown")];
        assert_eq!(found(Some(Scheme::Http)).await, [None]);
        assert_eq!(found(Some(Scheme::Https)).await, secure);
        assert_eq!(found(None).await, [&[None], secure.as_slice()].concat());
        // They are calls of one endpoint all the same.
        let endpoints = store.endpoints(Default::default(), all()).await.unwrap().items;
        assert_eq!(endpoints.len(), 1);
    });
}
