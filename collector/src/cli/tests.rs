//! Commands against a collector in the process; what they print is kept in `golden/`.

use clap::{CommandFactory, Parser};
use wire::v1::agent_message::Body as Up;
use wire::v1::{CoverageKind as Kind, TrafficClass as Class};

use crate::serve::Running;
use crate::testing::{
    Agent, Exchange, GET, batch, carried, config, covered, golden, lowered, payload, run, spoken, start,
    through_tls, tls,
};

use super::{Args, CliError, EXIT_ERROR, EXIT_UNREACHABLE, EXIT_USAGE};

async fn ask(collector: &Running, words: &[&str]) -> Result<String, CliError> {
    let url = format!("http://{}", collector.http);
    let line = ["eastwatch", "--url", &url];
    let mut out = Vec::new();
    let mut args = Args::try_parse_from(line.iter().chain(words)).unwrap();
    args.width = args.width.or(Some(140));
    super::run(args, &mut out).await?;
    Ok(String::from_utf8(out).unwrap())
}

/// A collector that knows a few exchanges, and the agent that told it.
async fn shop(config: &crate::config::Config) -> (Running, Agent) {
    let collector = start(config).await;
    let (mut agent, _) = Agent::connect(&collector, "node-a", "b1").await;
    let exchanges = [
        GET,
        Exchange {
            id: 2,
            path: "/orders/18",
            duration_us: 2500,
            second: 30,
            ..GET
        },
        Exchange {
            id: 3,
            path: "/orders",
            method: "POST",
            status: 201,
            duration_us: 12_000,
            second: 61,
        },
        Exchange {
            id: 4,
            path: "/orders",
            method: "POST",
            status: 503,
            duration_us: 2_000_000,
            second: 90,
        },
        Exchange {
            id: 5,
            path: "/wp-login.php",
            status: 404,
            second: 95,
            ..GET
        },
    ];
    let mut sent = payload(&exchanges);
    sent.coverage = covered(
        "shop",
        &[
            (Kind::Read, "read", 1_234_567),
            (Kind::Missed, "opaque_call", 345_678),
            (Kind::Missed, "ring_full", 12),
            (Kind::LeftOut, "turn_limit", 9_000_000),
            (Kind::LeftOut, "other_end", 80_000),
            (Kind::LeftOut, "skipped", 70),
            (Kind::LeftOut, "unread", 6),
        ],
    )
    .coverage;
    sent.coverage
        .extend(covered("web", &[(Kind::Read, "read", 4096)]).coverage);
    for (workload, traffic) in [
        (
            "shop",
            &[
                (Class::Http, "", "", 12, 1_234_567),
                (Class::TlsDecrypted, "openssl", "", 7, 3_000_000),
                (Class::TlsUndecrypted, "openssl", "older_than_agent", 2, 40_000),
                (Class::TlsUndecrypted, "openssl", "not_bound", 1, 500),
            ][..],
        ),
        (
            "vault",
            &[(Class::TlsUndecrypted, "rustls", "unsupported", 3, 70_000)],
        ),
        (
            "web",
            &[(Class::TlsUndecrypted, "", "no_tls_library_found", 1, 900)],
        ),
    ] {
        sent.coverage.extend(carried(workload, traffic));
    }
    let status = sent.status.as_mut().unwrap();
    status.lowered = [("shop", "sampled-8", 3), ("web", "headers", 1), ("", "brief", 1)]
        .map(|(workload, level, processes)| lowered(workload, level, processes))
        .to_vec();
    status.lowered_more = 2;
    agent.send(Up::Batch(batch("node-a", "b1", 1, &sent))).await;
    assert_eq!(agent.ack().await.rejected, "");
    (collector, agent)
}

#[test]
fn what_is_printed() {
    run(async {
        let (config, _directory) = config();
        let (collector, _agent) = shop(&config).await;
        for (name, words) in [
            ("endpoints", &["endpoints"][..]),
            (
                "endpoints_window",
                &["endpoints", "--from", "2026-01-01T12:01:00Z", "--method", "post"],
            ),
            (
                "endpoints_json",
                &[
                    "endpoints",
                    "--path",
                    "/orders",
                    "--method",
                    "POST",
                    "--output",
                    "json",
                ],
            ),
            ("calls", &["calls"]),
            ("calls_errors", &["calls", "--status", "5xx"]),
            ("calls_none", &["calls", "--workload", "nobody"]),
            ("calls_none", &["calls", "--from", "-15m"]),
            ("calls_more", &["calls", "--limit", "2"]),
            ("calls_json", &["calls", "--status", "201", "--output", "json"]),
            ("graph", &["graph"]),
            ("graph_json", &["graph", "--output", "json"]),
            ("workloads", &["workloads"]),
            ("coverage", &["coverage"]),
            ("coverage_below", &["coverage", "--below", "0.99"]),
            (
                "coverage_json",
                &["coverage", "--workload", "shop", "--output", "json"],
            ),
            ("narrow_coverage", &["coverage", "--width", "70"]),
            ("coverage_tls", &["coverage", "--tls"]),
            ("narrow_calls", &["calls", "--width", "80"]),
            ("narrow_endpoints", &["endpoints", "--width", "80"]),
            ("narrow_graph", &["graph", "--width", "60"]),
        ] {
            golden(
                &format!("src/cli/golden/{name}.txt"),
                &ask(&collector, words).await.unwrap(),
            );
        }
        // The last column is the clock's.
        let agents = ask(&collector, &["agents"]).await.unwrap();
        let (table, below) = agents.split_once("\n\n").unwrap();
        let end = table.lines().next().unwrap().find("LAST SEEN").unwrap();
        let cut: Vec<_> = table
            .lines()
            .map(|line| line.get(..end).unwrap().trim_end())
            .collect();
        golden(
            "src/cli/golden/agents.txt",
            &format!("{}\n\n{below}", cut.join("\n")),
        );
    });
}

/// What an agent that is gone captured less of when it was last heard of is not what it captures.
#[test]
fn an_agent_that_is_gone_lowers_nothing() {
    run(async {
        let (config, _directory) = config();
        let (collector, agent) = shop(&config).await;
        drop(agent);
        let gone = async {
            loop {
                let agents = ask(&collector, &["agents"]).await.unwrap();
                if agents.contains("gone") {
                    return agents;
                }
                tokio::task::yield_now().await;
            }
        };
        let agents = gone.await;
        assert!(
            !agents.contains("LOWERED") && !agents.contains("sampled"),
            "{agents}"
        );
    });
}

#[test]
fn what_applications_say() {
    run(async {
        let (config, _directory) = config();
        let collector = start(&config).await;
        let (mut agent, _) = Agent::connect(&collector, "node-a", "b1").await;
        let calls = [
            ("/shop.v1.Orders/List", "grpc", "shop.v1.Orders/List", Some(0)),
            ("/shop.v1.Orders/Get", "grpc", "shop.v1.Orders/Get", Some(5)),
            ("/graphql", "graphql", "query OrdersOfUser, mutation Pay", None),
            ("/rpc", "json-rpc", "orders.list", Some(-32_601)),
            ("/feed", "websocket", "graphql-ws", Some(1000)),
            ("/orders/17", "http", "", None),
        ];
        for ((path, application, operation, rpc_status), at) in calls.into_iter().zip(1..) {
            let call = Exchange {
                id: at,
                path,
                second: at as i64,
                ..GET
            };
            let mut said = spoken(payload(&[call]), application, operation, rpc_status);
            said.calls[0].flags = 0;
            said.calls[0].rpc_error = rpc_status.is_some_and(|code| code != 0 && code != 1000);
            agent.send(Up::Batch(batch("node-a", "b1", at, &said))).await;
            assert_eq!(agent.ack().await.rejected, "");
        }
        for (name, words) in [
            ("rpc_calls", &["calls"][..]),
            ("rpc_grpc", &["calls", "--application", "gRPC"]),
            (
                "rpc_operation",
                &["calls", "--operation", "*Pay", "--width", "100"],
            ),
            ("rpc_graph", &["graph"]),
        ] {
            golden(
                &format!("src/cli/golden/{name}.txt"),
                &ask(&collector, words).await.unwrap(),
            );
        }
        let json = ask(
            &collector,
            &["calls", "--operation", "shop.v1.Orders/G", "-o", "json"],
        )
        .await
        .unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let id = value["items"][0]["id"].as_str().unwrap();
        golden(
            "src/cli/golden/rpc_call.txt",
            &ask(&collector, &["calls", id]).await.unwrap(),
        );
    });
}

#[test]
fn calls_through_tls() {
    run(async {
        let (config, _directory) = config();
        let collector = start(&config).await;
        let (mut agent, _) = Agent::connect(&collector, "node-a", "b1").await;
        let sessions = [
            Some(tls()),
            Some(wire::v1::Tls {
                library: "go".to_owned(),
                ..wire::v1::Tls::default()
            }),
            None,
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
            agent.send(Up::Batch(batch("node-a", "b1", at, &one))).await;
            assert_eq!(agent.ack().await.rejected, "");
        }
        for (name, words) in [
            ("tls_calls", &["calls"][..]),
            ("tls_https", &["calls", "--scheme", "https"]),
            ("tls_http", &["calls", "--scheme", "http"]),
            ("tls_json", &["calls", "--scheme", "https", "-o", "json"]),
        ] {
            golden(
                &format!("src/cli/golden/{name}.txt"),
                &ask(&collector, words).await.unwrap(),
            );
        }
        let json = ask(&collector, &["calls", "--scheme", "https", "-o", "json"])
            .await
            .unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let id = value["items"][1]["id"].as_str().unwrap();
        golden(
            "src/cli/golden/tls_call.txt",
            &ask(&collector, &["calls", id]).await.unwrap(),
        );
        let error = ask(&collector, &["calls", "--scheme", "ftp"])
            .await
            .err()
            .unwrap();
        assert_eq!(error.exit_code(), EXIT_USAGE, "{error}");
    });
}

#[test]
fn one_endpoint_and_one_call() {
    run(async {
        let (config, _directory) = config();
        let (collector, _agent) = shop(&config).await;
        let id = |json: &str| {
            let value: serde_json::Value = serde_json::from_str(json).unwrap();
            value["items"][0]["id"].as_str().unwrap().to_owned()
        };
        let endpoint = id(&ask(
            &collector,
            &["endpoints", "--path", "/orders", "--method", "POST", "-o", "json"],
        )
        .await
        .unwrap());
        golden(
            "src/cli/golden/endpoint.txt",
            &ask(&collector, &["endpoints", &endpoint]).await.unwrap(),
        );
        let call = id(&ask(&collector, &["calls", "--status", "503", "-o", "json"])
            .await
            .unwrap());
        golden(
            "src/cli/golden/call.txt",
            &ask(&collector, &["calls", &call]).await.unwrap(),
        );
    });
}

#[test]
fn a_limit_beyond_one_page_reads_several() {
    run(async {
        let (config, _directory) = config();
        let collector = start(&config).await;
        let (mut agent, _) = Agent::connect(&collector, "node-a", "b1").await;
        let many: Vec<_> = (0..1500).map(|id| Exchange { id, ..GET }).collect();
        agent
            .send(Up::Batch(batch("node-a", "b1", 1, &payload(&many))))
            .await;
        agent.ack().await;
        for (limit, want, more) in [("1200", 1200, true), ("2000", 1500, false)] {
            let json = ask(&collector, &["calls", "--limit", limit, "-o", "json"])
                .await
                .unwrap();
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(
                (
                    value["items"].as_array().unwrap().len(),
                    value["next"].is_string()
                ),
                (want, more)
            );
        }
    });
}

#[test]
fn errors_have_their_exit_codes_and_name_cause_and_remedy() {
    run(async {
        let (config, _directory) = config();
        let (collector, agent) = shop(&config).await;
        let missing = "0".repeat(32);
        for (words, code, word) in [
            (&["calls", "--status", "6xx"][..], EXIT_USAGE, "6xx"),
            (&["calls", "--status", "6xx"], EXIT_USAGE, "--help"),
            (&["calls", "--from", "yesterday"], EXIT_USAGE, "yesterday"),
            (&["endpoints", &missing], EXIT_ERROR, "no endpoint"),
            (&["calls", &missing], EXIT_ERROR, "calls_max_age"),
            (&["calls", "../agents"], EXIT_USAGE, "32 hex digits"),
        ] {
            let error = ask(&collector, words).await.err().unwrap();
            assert_eq!(error.exit_code(), code, "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
        for url in ["ftp://x", "127.0.0.1:4461", ""] {
            let error = super::client::Client::new(url).err().unwrap();
            assert_eq!(error.exit_code(), EXIT_USAGE, "{url}");
        }
        let url = format!("http://{}", collector.http);
        drop(agent);
        collector.drain().await.unwrap();
        let error = super::run(
            Args::parse_from(["eastwatch", "--url", &url, "agents"]),
            &mut Vec::new(),
        )
        .await;
        let error = error.err().unwrap();
        assert_eq!(error.exit_code(), EXIT_UNREACHABLE);
        assert!(error.to_string().contains("eastwatch-collector serve"), "{error}");
    });
}

#[test]
fn the_command_line_is_consistent_and_each_command_has_examples() {
    let command = Args::command();
    command.clone().debug_assert();
    for sub in command.get_subcommands() {
        let help = sub.get_after_help().unwrap().to_string();
        assert!(
            help.contains("Examples:") && help.contains(&format!("eastwatch {}", sub.get_name())),
            "{help}"
        );
    }
}
