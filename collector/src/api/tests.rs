//! The API over HTTP.

use wire::v1::agent_message::Body as Up;

use crate::testing::{Agent, Exchange, GET, batch, config, get, golden, payload, run, start};

#[test]
fn wrong_parameters_are_refused_by_name() {
    run(async {
        let (config, _directory) = config();
        let collector = start(&config).await;
        for (path, words) in [
            (
                "/api/v1/calls?stauts=200",
                &["unknown parameter `stauts`", "status"][..],
            ),
            ("/api/v1/endpoints?client=x", &["unknown parameter `client`"]),
            ("/api/v1/agents?from=-1h", &["unknown parameter `from`"]),
            (
                "/api/v1/calls/00000000000000000000000000000000?x=1",
                &["unknown parameter `x`"],
            ),
            ("/api/v1/calls?status=700", &["status: `700`"][..0]),
            ("/api/v1/calls?status=abc", &["status: `abc`", "5xx"]),
            ("/api/v1/calls?from=soon", &["from: `soon`", "-15m"]),
            ("/api/v1/calls?from=-1h&to=-2h", &["must be before"]),
            ("/api/v1/calls?limit=0", &["limit: `0`", "1 to 1000"]),
            ("/api/v1/calls?limit=1001", &["limit: `1001`"]),
            ("/api/v1/coverage?below=1.5", &["below: `1.5`", "0 to 1"]),
            ("/api/v1/calls?cursor=zz", &["cursor"]),
            ("/api/v1/calls?side=left", &["side: `left`"]),
            ("/api/v1/calls?path=*a*b*c*d*", &["at most 4 `*`"]),
            ("/api/v1/endpoints?confirmed=1", &["confirmed: `1`"]),
            ("/api/v1/calls/12", &["32 hex digits"]),
        ] {
            let (status, body) = get(&collector, path).await;
            if words.is_empty() {
                assert_eq!(status, 200, "{path}: {body}");
                continue;
            }
            assert_eq!(
                (status, &body["error"]["code"]),
                (400, &"bad_parameter".into()),
                "{path}: {body}"
            );
            let message = body["error"]["message"].as_str().unwrap();
            assert!(
                words.iter().all(|word| message.contains(word)),
                "{path}: {message}"
            );
            assert!(body["error"]["hint"].as_str().unwrap().contains("openapi.json"));
        }
    });
}

#[test]
fn what_does_not_exist_is_said_in_json() {
    run(async {
        let (config, _directory) = config();
        let collector = start(&config).await;
        let id = "0".repeat(32);
        for (path, code) in [
            ("/nothing".to_owned(), "no_such_path"),
            ("/api/v1/nothing".to_owned(), "no_such_path"),
            (format!("/api/v1/endpoints/{id}"), "not_found"),
            (format!("/api/v1/calls/{id}"), "not_found"),
        ] {
            let (status, body) = get(&collector, &path).await;
            assert_eq!((status, &body["error"]["code"]), (404, &code.into()), "{path}");
        }
        let url = format!("http://{}/api/v1/calls", collector.http);
        let response = reqwest::Client::new().post(&url).send().await.unwrap();
        assert_eq!(response.status(), 405);
    });
}

#[test]
fn the_document_lists_every_route_and_parameter() {
    let document = super::openapi();
    golden(
        "src/api/openapi.json",
        &(document.to_pretty_json().unwrap() + "\n"),
    );
    run(async {
        let (config, _directory) = config();
        let collector = start(&config).await;
        let (_, served) = get(&collector, "/api/v1/openapi.json").await;
        assert_eq!(served, serde_json::to_value(&document).unwrap());
        let (_, index) = get(&collector, "/").await;
        for (path, item) in served["paths"].as_object().unwrap() {
            let url = path.replace("{id}", &"0".repeat(32));
            let (status, body) = get(&collector, &url).await;
            assert!(
                status == 200 || body["error"]["code"] == "not_found",
                "{path}: {body}"
            );
            let links = index["links"].as_array().unwrap();
            assert!(
                path.contains('{') || links.contains(&path.as_str().into()),
                "{path} is not in the index"
            );
            // Every documented parameter is taken by the route.
            for parameter in item["get"]["parameters"].as_array().unwrap() {
                let name = parameter["name"].as_str().unwrap();
                if parameter["in"] == "query" {
                    let (_, body) = get(&collector, &format!("{url}?{name}=")).await;
                    assert_ne!(body["error"]["code"], "bad_parameter", "{path}: {name}: {body}");
                }
            }
        }
        for link in index["links"].as_array().unwrap() {
            let url = format!("http://{}{}", collector.http, link.as_str().unwrap());
            assert_eq!(reqwest::get(url).await.unwrap().status(), 200, "{link}");
        }
    });
}

#[test]
fn pages_follow_each_other_and_times_are_relative_or_absolute() {
    run(async {
        let (config, _directory) = config();
        let collector = start(&config).await;
        let (mut agent, _) = Agent::connect(&collector, "node-a", "b1").await;
        let calls: Vec<_> = (0..5)
            .map(|id| Exchange {
                id,
                second: id as i64,
                ..GET
            })
            .collect();
        agent
            .send(Up::Batch(batch("node-a", "b1", 1, &payload(&calls))))
            .await;
        agent.ack().await;
        let mut found = Vec::new();
        let mut url = "/api/v1/calls?limit=2".to_owned();
        loop {
            let (_, page) = get(&collector, &url).await;
            found.extend(
                page["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|call| call["ts"].as_str().unwrap().to_owned()),
            );
            match page["next"].as_str() {
                Some(next) => url = format!("/api/v1/calls?limit=2&cursor={next}"),
                None => break,
            }
        }
        let times: Vec<_> = (0..5)
            .rev()
            .map(|second| format!("2026-01-01T12:00:0{second}.000000Z"))
            .collect();
        assert_eq!(found, times);
        for (query, want) in [
            ("from=2026-01-01T12:00:01Z&to=2026-01-01T12:00:03Z", 2),
            ("to=2026-01-01T12:00:03Z", 3),
            ("from=now", 0),
        ] {
            let (_, page) = get(&collector, &format!("/api/v1/calls?{query}")).await;
            assert_eq!(page["items"].as_array().unwrap().len(), want, "{query}");
        }
        let (_, list) = get(&collector, "/api/v1/endpoints").await;
        let id = list["items"][0]["id"].as_str().unwrap();
        let (_, detail) = get(&collector, &format!("/api/v1/endpoints/{id}")).await;
        assert_eq!(detail["minutes"][0]["minute"], "2026-01-01T12:00:00.000000Z");
        assert_eq!(detail["minutes"][0]["calls"], 5);
        assert_eq!(detail["latency_histogram"][0]["count"], 5);
    });
}

#[test]
fn metrics_count_what_happened() {
    run(async {
        let (config, _directory) = config();
        let collector = start(&config).await;
        let (mut agent, _) = Agent::connect(&collector, "node-a", "b1").await;
        agent
            .send(Up::Batch(batch("node-a", "b1", 1, &payload(&[GET]))))
            .await;
        agent.ack().await;
        get(&collector, "/api/v1/calls").await;
        get(&collector, "/made/up/path").await;
        let text = reqwest::get(format!("http://{}/metrics", collector.http))
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        for line in [
            "eastwatch_collector_ingest_batches_total{outcome=\"applied\"} 1",
            "eastwatch_collector_ingest_streams 1",
            "eastwatch_collector_store_calls_kept 1",
            "eastwatch_collector_store_endpoint_deltas_total 1",
            "eastwatch_collector_policy_version 1",
            "eastwatch_collector_http_requests_total{route=\"/api/v1/calls\",status=\"200\"} 1",
            "eastwatch_collector_http_requests_total{route=\"other\",status=\"404\"} 1",
        ] {
            assert!(text.lines().any(|got| got == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    });
}
