//! The contract, and what is SQLite's own: damaged, foreign, newer, locked and full files.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use crate::config;
use crate::ingest::decoded;
use crate::metrics::Metrics;
use crate::store::contract::{Opened, store_contract};
use crate::store::{
    CallFilter, CoverageFilter, EdgeFilter, EndpointFilter, Outcome, Paging, Scheme, Store, StoreError,
    TimeRange,
};
use crate::testing::{
    Exchange, GET, NOON_US, batch, covered, lowered, payload, payload_of, run, through_tls, tls,
};
use crate::timestamp::Timestamp;

use super::SqliteStore;

fn open(limits: config::Store) -> Opened {
    let directory = tempfile::tempdir().unwrap();
    let metrics = Arc::new(Metrics::default());
    let store = at(&directory.path().join("store.db"), limits, &metrics).unwrap();
    Opened {
        store: Arc::new(store),
        metrics,
        _keep: Box::new(directory),
    }
}

fn at(path: &Path, limits: config::Store, metrics: &Arc<Metrics>) -> Result<SqliteStore, StoreError> {
    let limits = config::Store {
        path: path.to_owned(),
        ..limits
    };
    SqliteStore::open(&limits, Duration::from_secs(30), Arc::clone(metrics))
}

store_contract!(open);

async fn counted(store: &SqliteStore) -> u64 {
    let page = store
        .endpoints(
            EndpointFilter::default(),
            Paging {
                limit: 1000,
                after: None,
            },
        )
        .await
        .unwrap();
    page.items.iter().map(|endpoint| endpoint.total.calls).sum()
}

fn error(path: &Path) -> StoreError {
    at(path, config::Store::default(), &Arc::new(Metrics::default()))
        .err()
        .unwrap()
}

#[test]
fn files_that_are_not_ours_are_refused_and_left_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let of = |name: &str| directory.path().join(name);
    std::fs::write(
        of("text"),
        "this is not a database, and longer than a header of SQLite would be: ".repeat(20),
    )
    .unwrap();
    let foreign = Connection::open(of("foreign")).unwrap();
    foreign.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(foreign);
    run(async {
        let store = at(&of("newer"), config::Store::default(), &Arc::default()).unwrap();
        store.close().await.unwrap();
    });
    let newer = Connection::open(of("newer")).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    for (name, word) in [
        ("text", "not an Eastwatch database"),
        ("foreign", "another program"),
        ("newer", "schema version 99"),
    ] {
        let before = std::fs::read(of(name)).unwrap();
        let message = error(&of(name)).to_string();
        assert!(message.contains(word), "{name}: {message}");
        assert!(std::fs::read(of(name)).unwrap() == before, "{name} was changed");
    }
    let message = error(&directory.path().join("missing/store.db")).to_string();
    assert!(message.contains("store.path"), "{message}");
}

#[test]
fn a_file_damaged_in_the_middle_says_so_and_keeps_what_it_has() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let store = at(&path, config::Store::default(), &Arc::default()).unwrap();
        store
            .apply(decoded(
                batch("a", "b", 1, &payload(&[GET])),
                Timestamp::default(),
            ))
            .await
            .unwrap();
        store.close().await.unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let length = bytes.len();
        bytes[4096..length].fill(0x5a);
        std::fs::write(&path, &bytes).unwrap();
        let failed = match at(&path, config::Store::default(), &Arc::default()) {
            Err(error) => error,
            Ok(store) => store
                .apply(decoded(
                    batch("a", "b", 2, &payload(&[GET])),
                    Timestamp::default(),
                ))
                .await
                .err()
                .unwrap(),
        };
        assert!(matches!(failed, StoreError::Corrupt { .. }), "{failed}");
        assert!(std::fs::read(&path).unwrap() == bytes, "left untouched");
    });
}

#[test]
fn a_second_collector_on_the_same_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let _first = at(&path, config::Store::default(), &Arc::default()).unwrap();
    let message = error(&path).to_string();
    assert!(message.contains("in use by another process"), "{message}");
}

#[test]
fn a_full_store_refuses_whole_batches_loses_nothing_and_takes_them_once_there_is_room() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let metrics = Arc::new(Metrics::default());
        let small = config::Store {
            bytes_max: 400_000,
            ..config::Store::default()
        };
        let store = at(&path, small, &metrics).unwrap();
        let numbered = |sequence: u64| {
            let calls: Vec<_> = (0..50)
                .map(|id| Exchange {
                    id: sequence * 100 + id,
                    ..GET
                })
                .collect();
            decoded(
                batch("a", "b", sequence, &payload(&calls)),
                Timestamp::from_us(NOON_US),
            )
        };
        let mut applied = 0;
        let full = loop {
            match store.apply(numbered(applied + 1)).await {
                Ok(outcome) => assert_eq!(outcome, Outcome::Applied),
                Err(error) => break error,
            }
            applied += 1;
        };
        assert!(applied > 0);
        assert!(matches!(full, StoreError::Full { .. }), "{full}");
        assert!(full.to_string().contains("store.bytes_max"), "{full}");
        assert_eq!(counted(&store).await, applied * 50, "nothing half applied");
        // A group with one batch that fits: a duplicate needs no room.
        assert_eq!(store.apply(numbered(applied)).await.unwrap(), Outcome::Duplicate);
        store.close().await.unwrap();

        let store = at(&path, config::Store::default(), &metrics).unwrap();
        assert_eq!(
            store.apply(numbered(applied + 1)).await.unwrap(),
            Outcome::Applied
        );
        assert_eq!(counted(&store).await, (applied + 1) * 50);
        let calls = store
            .calls(
                CallFilter::default(),
                Paging {
                    limit: 1000,
                    after: None,
                },
            )
            .await
            .unwrap();
        assert!(calls.items.iter().all(|call| call.endpoint.is_some()));
    });
}

#[test]
fn a_query_beyond_its_time_is_given_up_and_the_connection_is_usable_again() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let limits = config::Store {
            readers: 1,
            path: path.clone(),
            ..config::Store::default()
        };
        let store = SqliteStore::open(&limits, Duration::from_millis(200), Arc::default()).unwrap();
        let endless = store.readers.query("counting forever", |connection| {
            connection.query_row(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n",
                [],
                |_| Ok(()),
            )
        });
        assert!(matches!(endless.await, Err(StoreError::Timeout)));
        store.ping().await.unwrap();
    });
}

#[test]
fn catalogs_beyond_the_cache_are_dropped_counted_and_read_again() {
    run(async {
        let opened = open(config::Store {
            cached_records_max: 2,
            ..config::Store::default()
        });
        let names = ["one", "two", "three", "four"];
        for sequence in 1..=12 {
            let name = names[sequence as usize % names.len()];
            let sent = batch(
                "a",
                "b",
                sequence,
                &payload_of(name, &[Exchange { id: sequence, ..GET }]),
            );
            opened
                .store
                .apply(decoded(sent, Timestamp::default()))
                .await
                .unwrap();
        }
        let endpoints = opened
            .store
            .endpoints(
                EndpointFilter::default(),
                Paging {
                    limit: 100,
                    after: None,
                },
            )
            .await
            .unwrap();
        let calls: Vec<_> = endpoints
            .items
            .iter()
            .map(|endpoint| endpoint.total.calls)
            .collect();
        assert_eq!(calls, [3; 4]);
        assert!(opened.metrics.dropped(crate::metrics::Dropped::CachedApis) >= 8);
    });
}

/// What version 1 knew of a call, its edge and the edge's minute.
const ROWS_1: &str = "INSERT INTO _boots (id, node, boot, last_seen_us) VALUES (1, 'a', 'b', 1);
    INSERT INTO _apis VALUES (1, 'shop', 'shop.test', 'server');
    INSERT INTO _calls VALUES (1, zeroblob(16), 1, 1, NULL, 'GET', 60000000, 'GET', '/orders', '[]', 200, 1, 2, 3, 4, 5, 6,
        'HTTP/1.1', 0, 'web', '', 'shop', '', '[]', '[]', 1, 42);
    INSERT INTO edges VALUES (7, 'web', '', 'shop', '', 80, 'shop.test', 'HTTP/1.1', 'server', 3, 1, 2, 3, 4, 60000000, 60000000);
    INSERT INTO edge_minutes VALUES (7, 1, 3, 1, 2, 3, 4);";

/// A file as a collector of before left it: with rows of version 1, brought to a later version.
fn old(path: &Path, version: usize, rows_1: &str) {
    let file = Connection::open(path).unwrap();
    let (first, later) = super::open::MIGRATIONS.split_first().unwrap();
    file.execute_batch(first).unwrap();
    file.execute_batch(rows_1).unwrap();
    for migration in &later[..version - 1] {
        file.execute_batch(migration).unwrap();
    }
    file.pragma_update(None, "application_id", super::open::APPLICATION_ID)
        .unwrap();
    file.pragma_update(None, "user_version", version as i64).unwrap();
}

#[test]
fn a_file_of_version_1_keeps_its_rows() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        old(&path, 1, ROWS_1);

        let store = at(&path, config::Store::default(), &Arc::default()).unwrap();
        let paging = Paging {
            limit: 10,
            after: None,
        };
        let calls = store.calls(CallFilter::default(), paging.clone()).await.unwrap();
        let [call] = calls.items.as_slice() else {
            panic!("{calls:?}")
        };
        assert_eq!(
            (
                call.path.as_str(),
                call.application.as_str(),
                call.operation.as_str()
            ),
            ("/orders", "http", "")
        );
        assert_eq!((call.rpc_status, call.rpc_error, call.pid), (None, false, 42));
        // Of the range too, so that its minutes are still its own.
        for from in [None, Some(Timestamp::from_us(0))] {
            let filter = EdgeFilter {
                range: TimeRange { from, to: None },
                ..EdgeFilter::default()
            };
            let edges = store.edges(filter, paging.clone()).await.unwrap();
            let [edge] = edges.items.as_slice() else {
                panic!("{edges:?}")
            };
            assert_eq!(
                (edge.application.as_str(), edge.calls, edge.errors),
                ("http", 3, 1)
            );
        }
        // An agent of before goes on counting on the same edge.
        let mut more = payload(&[GET]);
        more.edges[0].client_workload = "web".to_owned();
        more.edges[0].server_port = 80;
        more.edges[0].host = "shop.test".to_owned();
        more.edges[0].protocol = "HTTP/1.1".to_owned();
        store
            .apply(decoded(batch("a", "b", 1, &more), Timestamp::default()))
            .await
            .unwrap();
        let edges = store.edges(EdgeFilter::default(), paging).await.unwrap().items;
        assert_eq!(edges.len(), 1, "{edges:?}");
        assert_eq!(edges[0].calls, 4);
    });
}

#[test]
fn a_file_of_version_2_keeps_its_rows_and_learns_of_coverage() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        old(&path, 2, ROWS_1);

        let store = at(&path, config::Store::default(), &Arc::default()).unwrap();
        let paging = || Paging {
            limit: 10,
            after: None,
        };
        let calls = store.calls(CallFilter::default(), paging()).await.unwrap().items;
        assert_eq!(calls.len(), 1);
        let edges = store.edges(EdgeFilter::default(), paging()).await.unwrap().items;
        assert_eq!(edges.len(), 1);
        let coverage = || store.coverage(CoverageFilter::default(), paging());
        assert_eq!(coverage().await.unwrap().items, []);
        let read = covered("shop", &[(wire::v1::CoverageKind::Read, "read", 5)]);
        store
            .apply(decoded(batch("a", "b", 1, &read), Timestamp::default()))
            .await
            .unwrap();
        assert_eq!(coverage().await.unwrap().items[0].read_bytes, 5);
    });
}

#[test]
fn a_file_of_version_3_keeps_its_agents_and_learns_what_they_capture_less_of() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let rows = "INSERT INTO agents (node, boot, first_seen_us, last_seen_us, exchanges, drops) VALUES ('a', 'b', 1, 2, 3,
            '[{\"stage\":\"kernel\",\"reason\":\"ring_full\",\"events\":4,\"bytes\":5}]');";
        old(&path, 3, rows);

        let store = at(&path, config::Store::default(), &Arc::default()).unwrap();
        let paging = || Paging {
            limit: 10,
            after: None,
        };
        let agent = async || store.agents(paging()).await.unwrap().items.remove(0);
        let known = agent().await;
        assert_eq!((known.exchanges, known.drops.len()), (3, 1));
        assert_eq!((known.lowered, known.lowered_more), (Vec::new(), 0));
        let mut told = payload(&[]);
        told.status.as_mut().unwrap().lowered = vec![lowered("shop", "detached", 2)];
        store
            .apply(decoded(batch("a", "b", 1, &told), Timestamp::default()))
            .await
            .unwrap();
        let known = agent().await;
        assert_eq!(known.lowered[0].workload, "shop");
    });
}

#[test]
fn a_file_of_version_4_keeps_its_calls_as_those_in_the_clear() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        old(&path, 4, ROWS_1);

        let store = at(&path, config::Store::default(), &Arc::default()).unwrap();
        let calls = async |scheme| {
            let filter = CallFilter {
                scheme,
                ..CallFilter::default()
            };
            let paging = Paging {
                limit: 10,
                after: None,
            };
            store.calls(filter, paging).await.unwrap().items
        };
        assert_eq!(calls(Some(Scheme::Http)).await.len(), 1);
        let secure = through_tls(payload(&[GET]), &tls());
        store
            .apply(decoded(batch("a", "b", 1, &secure), Timestamp::default()))
            .await
            .unwrap();
        assert_eq!(calls(Some(Scheme::Https)).await.len(), 1);
        assert_eq!(calls(None).await.len(), 2);
    });
}

#[test]
fn a_file_of_version_5_keeps_what_went_in_the_clear() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        old(&path, 5, ROWS_1);
        let rows = "INSERT INTO coverage (workload, node, provider, minute, kind, reason, bytes) VALUES
            ('shop', 'a', 'p', 7, 'read', 'read', 60), ('shop', 'a', 'p', 8, 'left_out', 'other_protocol', 40),
            ('shop', 'a', 'p', 8, 'missed', 'unseen', 20);";
        Connection::open(&path).unwrap().execute_batch(rows).unwrap();

        let store = at(&path, config::Store::default(), &Arc::default()).unwrap();
        let paging = Paging {
            limit: 10,
            after: None,
        };
        let found = store
            .coverage(CoverageFilter::default(), paging)
            .await
            .unwrap()
            .items;
        assert_eq!(found.len(), 1);
        let shop = &found[0];
        assert_eq!(
            (shop.read_bytes, shop.left_out_bytes, shop.missed_bytes),
            (60, 40, 20)
        );
        let file = Connection::open(&path).unwrap();
        let class = |reason: &str| -> String {
            let sql = "SELECT class FROM coverage WHERE reason = ?1 AND library = '' AND connections = 0";
            file.query_row(sql, [reason], |row| row.get(0)).unwrap()
        };
        assert_eq!(
            ["read", "other_protocol", "unseen"].map(class),
            ["http", "other", "http"]
        );
    });
}

#[test]
fn the_tables_that_people_query_have_the_documented_columns() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let _store = at(&path, config::Store::default(), &Arc::default()).unwrap();
    let connection = Connection::open(&path).unwrap();
    let mut text = String::new();
    for table in [
        "endpoints",
        "endpoint_minutes",
        "edges",
        "coverage",
        "calls",
        "workloads",
        "agents",
    ] {
        let mut columns = connection
            .prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))
            .unwrap();
        let names: Vec<String> = columns
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        text += &format!("{table}: {}\n", names.join(" "));
    }
    crate::testing::golden("src/store/sqlite/columns.txt", &text);
}
