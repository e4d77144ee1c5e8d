//! Ingest through a real gRPC client.

use tonic::Code;
use wire::v1;
use wire::v1::agent_message::Body as Up;
use wire::v1::collector_message::Body as Down;

use crate::metrics::{BatchOutcome, Dropped};
use crate::serve::Drained;
use crate::testing::{Agent, Exchange, GET, batch, config, get, hello, payload, run, start};

#[test]
fn a_batch_becomes_rows_that_the_api_answers_with() {
    run(async {
        let (config, _directory) = config();
        let collector = start(&config).await;
        let (mut agent, policy) = Agent::connect(&collector, "node-a", "b1").await;
        assert_eq!(
            (
                policy.version,
                policy.fingerprint_key.len(),
                policy.fingerprint_epoch
            ),
            (1, 32, 1)
        );
        agent
            .send(Up::Batch(batch("node-a", "b1", 1, &payload(&[GET]))))
            .await;
        assert_eq!(
            agent.ack().await,
            v1::Ack {
                boot: "b1".into(),
                sequence: 1,
                rejected: String::new()
            }
        );

        let (status, endpoints) = get(&collector, "/api/v1/endpoints").await;
        assert_eq!(status, 200);
        let endpoint = &endpoints["items"][0];
        assert_eq!(
            (&endpoint["workload"], &endpoint["method"]),
            (&"shop".into(), &"GET".into())
        );
        assert_eq!(endpoint["total"]["status"]["2xx"], 1);
        let (_, calls) = get(&collector, "/api/v1/calls").await;
        assert_eq!(calls["items"][0]["endpoint"], endpoint["id"]);
        assert_eq!(calls["items"][0]["node"], "node-a");
        assert_eq!(calls["items"][0]["flags"], serde_json::json!(["truncated"]));
        let (_, agents) = get(&collector, "/api/v1/agents").await;
        assert_eq!(agents["items"][0]["connected"], true);
        drop(agent);
        assert_eq!(collector.drain().await.unwrap(), Drained::Complete);
    });
}

#[test]
fn a_batch_sent_again_over_another_stream_is_acknowledged_and_not_applied_again() {
    run(async {
        let (config, _directory) = config();
        let collector = start(&config).await;
        for _ in 0..3 {
            let (mut agent, _) = Agent::connect(&collector, "node-a", "b1").await;
            agent
                .send(Up::Batch(batch("node-a", "b1", 1, &payload(&[GET]))))
                .await;
            assert_eq!(agent.ack().await.rejected, "");
        }
        // Left over from a run before: its own boot counts.
        let (mut agent, _) = Agent::connect(&collector, "node-a", "b2").await;
        agent
            .send(Up::Batch(batch("node-a", "b1", 1, &payload(&[GET]))))
            .await;
        agent
            .send(Up::Batch(batch("node-a", "b2", 1, &payload(&[GET]))))
            .await;
        assert_eq!(agent.ack().await.boot, "b1");
        assert_eq!(agent.ack().await.boot, "b2");
        assert_eq!(collector.metrics.batches(BatchOutcome::Applied), 2);
        assert_eq!(collector.metrics.batches(BatchOutcome::Duplicate), 3);
        let (_, endpoints) = get(&collector, "/api/v1/endpoints").await;
        assert_eq!(endpoints["items"][0]["total"]["calls"], 2);
        let (_, edges) = get(&collector, "/api/v1/edges").await;
        assert_eq!(edges["items"][0]["calls"], 2);
    });
}

#[test]
fn what_was_acknowledged_survives_a_restart_and_stays_applied_once() {
    run(async {
        let (config, _directory) = config();
        let mut keys = Vec::new();
        for run in 0..2 {
            let collector = start(&config).await;
            let (mut agent, policy) = Agent::connect(&collector, "node-a", "b1").await;
            keys.push((policy.version, policy.fingerprint_key));
            agent
                .send(Up::Batch(batch("node-a", "b1", 1, &payload(&[GET]))))
                .await;
            agent
                .send(Up::Batch(batch(
                    "node-a",
                    "b1",
                    2 + run,
                    &payload(&[Exchange { id: 2 + run, ..GET }]),
                )))
                .await;
            agent.ack().await;
            agent.ack().await;
            let (_, endpoints) = get(&collector, "/api/v1/endpoints").await;
            assert_eq!(endpoints["items"][0]["total"]["calls"], 2 + run);
            drop(agent);
            collector.drain().await.unwrap();
        }
        assert_eq!(keys[0], keys[1], "the key and the version are made once");
    });
}

#[test]
fn garbage_is_rejected_for_good_and_the_stream_goes_on() {
    run(async {
        let (config, _directory) = config();
        let collector = start(&config).await;
        let (mut agent, _) = Agent::connect(&collector, "node-a", "b1").await;
        let garbage = v1::Batch {
            payload_zstd: b"garbage".to_vec(),
            ..batch("node-a", "b1", 1, &payload(&[]))
        };
        agent.send(Up::Batch(garbage)).await;
        let ack = agent.ack().await;
        assert_eq!(
            (ack.sequence, ack.rejected.contains("zstd")),
            (1, true),
            "{}",
            ack.rejected
        );
        agent
            .send(Up::Batch(batch("node-a", "b1", 2, &payload(&[GET]))))
            .await;
        assert_eq!(agent.ack().await.rejected, "");
        assert_eq!(collector.metrics.batches(BatchOutcome::Rejected), 1);
        let (_, agents) = get(&collector, "/api/v1/agents").await;
        let agent = &agents["items"][0];
        assert_eq!(
            (&agent["batches"], &agent["batches_rejected"]),
            (&1.into(), &1.into())
        );
        assert_eq!(agent["batches_missing"], 0);
        assert!(agent["last_rejection"].as_str().unwrap().contains("zstd"));
    });
}

#[test]
fn gaps_in_the_sequence_are_shown_as_missing_until_they_come() {
    run(async {
        let (config, _directory) = config();
        let collector = start(&config).await;
        let (mut agent, _) = Agent::connect(&collector, "node-a", "b1").await;
        for (sequence, missing) in [(3, 2), (1, 1), (2, 0)] {
            agent
                .send(Up::Batch(batch("node-a", "b1", sequence, &payload(&[]))))
                .await;
            agent.ack().await;
            let (_, agents) = get(&collector, "/api/v1/agents").await;
            assert_eq!(agents["items"][0]["batches_missing"], missing, "after {sequence}");
        }
    });
}

#[test]
fn a_batch_too_far_behind_is_rejected_because_nobody_knows_whether_it_was_applied() {
    run(async {
        let (config, _directory) = config();
        let collector = start(&config).await;
        let (mut agent, _) = Agent::connect(&collector, "node-a", "b1").await;
        let newest = crate::store::SEQUENCE_WINDOW + 10;
        for (sequence, rejected) in [(newest, false), (11, false), (10, true), (11, false)] {
            agent
                .send(Up::Batch(batch("node-a", "b1", sequence, &payload(&[]))))
                .await;
            assert_eq!(!agent.ack().await.rejected.is_empty(), rejected, "{sequence}");
        }
        assert_eq!(collector.metrics.batches(BatchOutcome::TooOld), 1);
        assert_eq!(collector.metrics.batches(BatchOutcome::Duplicate), 1);
    });
}

#[test]
fn streams_that_do_not_begin_well_are_refused_with_the_reason() {
    run(async {
        let (config, _directory) = config();
        let collector = start(&config).await;
        let wrong_version = v1::Hello {
            wire_version: wire::WIRE_VERSION + 1,
            ..hello("a", "b")
        };
        let cases = [
            (Up::Hello(wrong_version), Code::FailedPrecondition, "upgrade"),
            (
                Up::Hello(v1::Hello {
                    wire_version: 0,
                    ..hello("a", "b")
                }),
                Code::FailedPrecondition,
                "upgrade",
            ),
            (Up::Hello(hello("", "b")), Code::InvalidArgument, "node"),
            (
                Up::Batch(batch("a", "b", 1, &payload(&[]))),
                Code::InvalidArgument,
                "hello",
            ),
        ];
        for (first, code, word) in cases {
            let mut agent = Agent::silent(&collector).await.unwrap();
            agent.send(first).await;
            let status = agent.next().await.err().unwrap();
            assert_eq!(status.code(), code, "{status:?}");
            assert!(status.message().contains(word), "{status:?}");
        }
        assert_eq!(collector.metrics.dropped(Dropped::StreamsWireVersion), 2);
        assert_eq!(collector.metrics.dropped(Dropped::StreamsWithoutHello), 2);

        let (mut agent, _) = Agent::connect(&collector, "a", "b").await;
        agent.send(Up::Hello(hello("a", "b"))).await;
        assert_eq!(agent.next().await.err().unwrap().code(), Code::InvalidArgument);
    });
}

#[test]
fn streams_beyond_the_limit_are_refused_and_counted() {
    run(async {
        let (mut config, _directory) = config();
        config.ingest.streams_max = 1;
        let collector = start(&config).await;
        let (_first, _) = Agent::connect(&collector, "a", "b").await;
        let second = Agent::silent(&collector).await.err().unwrap();
        assert_eq!(second.code(), Code::ResourceExhausted);
        assert!(second.message().contains("ingest.streams_max"));
        assert_eq!(collector.metrics.dropped(Dropped::Streams), 1);
    });
}

#[test]
fn a_message_beyond_the_limit_ends_the_stream_and_is_counted() {
    run(async {
        let (mut config, _directory) = config();
        let at_limit = v1::Batch {
            payload_zstd: vec![0; 2000],
            ..batch("a", "b", 1, &payload(&[]))
        };
        let message = v1::AgentMessage {
            body: Some(Up::Batch(at_limit.clone())),
        };
        config.ingest.message_bytes_max = prost::Message::encoded_len(&message);
        let collector = start(&config).await;
        let (mut agent, _) = Agent::connect(&collector, "a", "b").await;
        agent.send(Up::Batch(at_limit.clone())).await;
        assert!(agent.ack().await.rejected.contains("zstd"));
        agent
            .send(Up::Batch(v1::Batch {
                payload_zstd: vec![0; 2001],
                ..at_limit
            }))
            .await;
        assert_eq!(agent.next().await.err().unwrap().code(), Code::OutOfRange);
        assert_eq!(collector.metrics.dropped(Dropped::StreamsBroken), 1);
    });
}

#[test]
fn a_changed_policy_reaches_open_streams_and_what_agents_say_of_it_is_kept() {
    run(async {
        let (mut config, directory) = config();
        let file = directory.path().join("policy.toml");
        std::fs::write(&file, "").unwrap();
        config.policy.file = Some(file.clone());
        let collector = start(&config).await;
        let (mut agent, policy) = Agent::connect(&collector, "node-a", "b1").await;
        assert_eq!((policy.version, policy.capture_toml.as_str()), (1, ""));
        agent
            .send(Up::PolicyApplied(v1::PolicyApplied {
                version: 1,
                error: String::new(),
            }))
            .await;

        std::fs::write(&file, "[capture]\nno_such_key = 1\n").unwrap();
        collector.reload_policy().await;
        let text = "[calls]\nbudget = \"unlimited\"\n";
        std::fs::write(&file, text).unwrap();
        collector.reload_policy().await;
        let Ok(Down::Policy(changed)) = agent.next().await else {
            panic!("expected the policy")
        };
        assert_eq!((changed.version, changed.capture_toml.as_str()), (2, text));
        assert_eq!(changed.fingerprint_key, policy.fingerprint_key);

        agent
            .send(Up::PolicyApplied(v1::PolicyApplied {
                version: 2,
                error: "no room".into(),
            }))
            .await;
        agent
            .send(Up::Batch(batch("node-a", "b1", 1, &payload(&[]))))
            .await;
        agent.ack().await;
        let (_, agents) = get(&collector, "/api/v1/agents").await;
        assert_eq!(
            agents["items"][0]["policy_version"], 1,
            "the one before stays in force"
        );
        assert_eq!(agents["items"][0]["policy_error"], "no room");
        drop(agent);
        collector.drain().await.unwrap();

        // The same text is the same version, also after a restart.
        let collector = start(&config).await;
        let (_agent, policy) = Agent::connect(&collector, "node-a", "b2").await;
        assert_eq!(policy.version, 2);
    });
}

#[test]
fn draining_acknowledges_what_was_taken_and_ends_streams() {
    run(async {
        let (config, _directory) = config();
        let collector = start(&config).await;
        let metrics = collector.metrics.clone();
        let (mut agent, _) = Agent::connect(&collector, "node-a", "b1").await;
        for sequence in 1..=20 {
            agent
                .send(Up::Batch(batch("node-a", "b1", sequence, &payload(&[GET]))))
                .await;
        }
        agent.ack().await;
        let reader = tokio::spawn(async move {
            let mut acks = 1;
            while let Ok(Down::Ack(_)) = agent.next().await {
                acks += 1;
            }
            acks
        });
        assert_eq!(collector.drain().await.unwrap(), Drained::Complete);
        let acks: u64 = reader.await.unwrap();
        assert_eq!(
            metrics.batches(BatchOutcome::Applied),
            acks,
            "each applied batch was acknowledged"
        );
    });
}
