//! The exporter against a collector that does what each test tells it to. Time stands still but for what is waited for, and
//! connections are pipes in memory, except where a real socket is the point.

mod double;
mod failures;

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wire::v1::{Call, CatalogDelta, Payload, Policy};

use super::*;
use crate::spool::{DropReason, Spool, SpoolOptions};
use double::{Connection, Double, Serve};

const URL: &str = "http://collector.test:4470";

fn identity(boot: &str) -> Identity {
    Identity {
        node: "node-1".into(),
        boot: boot.into(),
    }
}

fn payload(id: u64) -> Payload {
    Payload {
        calls: vec![Call {
            id,
            path: "/a".into(),
            ..Call::default()
        }],
        ..Payload::default()
    }
}

/// A running exporter with its collector.
struct Rig {
    double: Double,
    outbox: Outbox,
    monitor: ExportMonitor,
    policy: watch::Receiver<Arc<PolicyState>>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    spool: SharedSpool,
    _dir: tempfile::TempDir,
}

impl Rig {
    fn start(double: Double, change: impl FnOnce(&mut ExportOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool = SharedSpool::new(Spool::open(SpoolOptions::new(dir.path())).unwrap());
        Self::over(double, spool, dir, change)
    }

    fn over(
        double: Double,
        spool: SharedSpool,
        dir: tempfile::TempDir,
        change: impl FnOnce(&mut ExportOptions),
    ) -> Self {
        let mut options = ExportOptions::new(URL);
        change(&mut options);
        let exporter = Exporter::with_dial(
            options,
            spool.clone(),
            identity("b2"),
            "1.2.3".into(),
            double.dial(),
        )
        .unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (outbox, monitor, policy) = (exporter.outbox(), exporter.monitor(), exporter.policy());
        let task = tokio::spawn(exporter.run(async {
            let _ = stopped.await;
        }));
        Self {
            double,
            outbox,
            monitor,
            policy,
            stop: Some(stop),
            task,
            spool,
            _dir: dir,
        }
    }

    fn submit(&self, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            self.outbox.submit(payload(id));
        }
    }

    async fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        (&mut self.task).await.unwrap();
    }

    fn failures(&self, kind: FailureKind) -> u64 {
        self.monitor
            .status()
            .counters
            .failures()
            .find(|(other, _)| *other == kind)
            .unwrap()
            .1
    }

    /// Until the exporter has seen a failure of this kind.
    async fn failed(&self, kind: FailureKind) -> ExportStatus {
        let seen = async {
            while self.failures(kind) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(300), seen).await;
        let status = self.monitor.status();
        assert!(waited.is_ok(), "no {kind:?}: {status:?}");
        status
    }
}

#[tokio::test(start_paused = true)]
async fn says_hello_and_delivers_in_order() {
    let mut rig = Rig::start(Double::new([]), |_| {});
    rig.submit(1..=50);
    rig.double.until(|seen| seen.applied.len() == 50).await;
    rig.stop().await;
    let seen = rig.double.seen();
    assert_eq!(seen.calls(), (1..=50).collect::<Vec<_>>());
    assert_eq!(
        seen.received,
        (1..=50).map(|n| ("b2".to_owned(), n)).collect::<Vec<_>>()
    );
    let hello = &seen.hellos[0];
    assert_eq!(
        (
            hello.node.as_str(),
            hello.boot.as_str(),
            hello.agent_version.as_str()
        ),
        ("node-1", "b2", "1.2.3")
    );
    assert_eq!(
        (hello.wire_version, hello.policy_version),
        (wire::WIRE_VERSION, 0)
    );
    let status = rig.monitor.status();
    assert_eq!((status.link, status.backlog.batches), (Link::Stopped, 0));
    assert_eq!(
        (
            status.counters.sent,
            status.counters.acknowledged,
            status.counters.resent
        ),
        (50, 50, 0)
    );
    assert_eq!(status.collector_version.as_deref(), Some("double"));
}

#[tokio::test(start_paused = true)]
async fn exactly_once_through_lost_acknowledgements_and_resets() {
    let cut = |apply, ack| {
        Connection::Up(Serve {
            apply: Some(apply),
            ack: Some(ack),
            ..Serve::default()
        })
    };
    let plan = [cut(3, 1), cut(0, 0), cut(5, 5), cut(16, 0), cut(2, 1)];
    let mut rig = Rig::start(Double::new(plan), |_| {});
    rig.submit(1..=40);
    rig.double.until(|seen| seen.applied.len() == 40).await;
    rig.stop().await;
    let seen = rig.double.seen();
    assert_eq!(seen.calls(), (1..=40).collect::<Vec<_>>());
    assert!(
        seen.repeated > 0,
        "acknowledgements were lost, so batches came again"
    );
    assert!(seen.in_order_on_each_connection(), "{:?}", seen.received);
    let status = rig.monitor.status();
    assert_eq!((status.backlog.batches, status.counters.acknowledged), (0, 40));
    assert!(status.counters.resent >= seen.repeated);
    assert_eq!(status.counters.connections, 6);
    assert_eq!(rig.failures(FailureKind::Closed), 4, "{status:?}");
    assert_eq!(
        rig.failures(FailureKind::Hung),
        1,
        "the window of 16 was taken and never acknowledged"
    );
    assert!(status.spool.losses().all(|(_, lost)| lost.batches == 0));
}

#[tokio::test(start_paused = true)]
async fn batches_of_an_earlier_run_go_first_with_their_own_identity() {
    let dir = tempfile::tempdir().unwrap();
    let options = SpoolOptions::new(dir.path());
    let spool = SharedSpool::new(Spool::open(options.clone()).unwrap());
    let old = Outbox::new(identity("b1"), spool.clone(), Arc::default(), 1 << 20);
    old.submit(payload(1));
    old.submit(payload(2));
    drop((old, spool));
    let spool = SharedSpool::new(Spool::open(options).unwrap());
    let mut rig = Rig::over(Double::new([]), spool, dir, |_| {});
    rig.submit([3]);
    rig.double.until(|seen| seen.applied.len() == 3).await;
    rig.stop().await;
    let expect = [("b1", 1), ("b1", 2), ("b2", 1)].map(|(boot, sequence)| (boot.to_owned(), sequence));
    assert_eq!(rig.double.seen().received, expect);
}

#[tokio::test(start_paused = true)]
async fn rejected_batches_leave_the_spool_and_are_counted() {
    let reject = Connection::Up(Serve {
        reject: vec![2, 4],
        ..Serve::default()
    });
    let mut rig = Rig::start(Double::new([reject]), |_| {});
    rig.submit(1..=5);
    rig.double.until(|seen| seen.acked == 5).await;
    rig.stop().await;
    let status = rig.monitor.status();
    assert_eq!((status.counters.acknowledged, status.counters.rejected), (3, 2));
    assert_eq!(status.spool.lost(DropReason::Rejected).calls, 2);
    assert_eq!(status.backlog.batches, 0);
    assert_eq!(rig.double.seen().calls(), [1, 3, 5]);
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_of_nothing_change_nothing() {
    let strange = Connection::Up(Serve {
        strange_acks: 5,
        ack: Some(0),
        ..Serve::default()
    });
    let mut rig = Rig::start(Double::new([strange]), |_| {});
    rig.submit(1..=3);
    rig.failed(FailureKind::Hung).await;
    assert_eq!(rig.monitor.status().counters.unknown_acks, 5);
    assert_eq!(rig.spool.lock().backlog().batches, 3);
    rig.double.until(|seen| seen.acked >= 3).await;
    rig.stop().await;
    assert_eq!(rig.spool.lock().backlog().batches, 0);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_window_is_on_its_way() {
    for (window, window_bytes, expect) in [(4, usize::MAX, 4), (100, 1, 1), (0, 0, 1)] {
        let deaf = Connection::Up(Serve {
            ack: Some(0),
            ..Serve::default()
        });
        let mut rig = Rig::start(Double::new([deaf]), |options| {
            options.window = window;
            options.window_bytes = window_bytes;
        });
        rig.submit(1..=20);
        rig.failed(FailureKind::Hung).await;
        assert_eq!(rig.double.seen().received.len(), expect);
        rig.double.until(|seen| seen.applied.len() == 20).await;
        rig.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn policies_are_applied_in_ascending_order_and_answered() {
    let policy = |version, text: &str| Policy {
        version,
        capture_toml: text.into(),
        fingerprint_key: vec![9; 32],
        fingerprint_epoch: 4,
    };
    let policies = vec![
        policy(3, "calls.budget = 7"),
        policy(4, "calls.budgte = 8"),
        policy(3, "calls.budget = 9"),
        policy(2, ""),
        policy(5, "calls.budget = \"unlimited\""),
    ];
    let ends = Serve {
        policies,
        apply: Some(0),
        ack: Some(0),
        ..Serve::default()
    };
    let mut rig = Rig::start(Double::new([Connection::Up(ends)]), |_| {});
    rig.double.until(|seen| seen.policy_answers.len() == 5).await;
    let answers = rig.double.seen().policy_answers;
    let expect = [
        (3, ""),
        (4, "unknown field `budgte`"),
        (3, ""),
        (2, "older than version 3"),
        (5, ""),
    ];
    for (answer, (version, part)) in answers.iter().zip(expect) {
        assert_eq!(answer.version, version);
        assert_eq!(answer.error.is_empty(), part.is_empty(), "{answer:?}");
        assert!(answer.error.contains(part), "{answer:?}");
    }
    let state = rig
        .policy
        .wait_for(|state| state.version == 5)
        .await
        .unwrap()
        .clone();
    assert_eq!(state.policy.calls.budget, policy::CallRate::Unlimited);
    assert_eq!(
        state.fingerprint,
        Some(FingerprintKey {
            key: [9; 32],
            epoch: 4
        })
    );
    let counters = rig.monitor.status().counters;
    assert_eq!((counters.policies_applied, counters.policies_refused), (2, 2));
    // The stream ends with the first batch; the next hello names the policy in force.
    rig.submit([1]);
    rig.double
        .until(|seen| seen.hellos.len() == 2 && seen.applied.len() == 1)
        .await;
    assert_eq!(rig.double.seen().hellos[1].policy_version, 5);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_large_payload_travels_as_several_batches() {
    let mut rig = Rig::start(Double::new([]), |options| options.payload_bytes = 1000);
    let calls = (0..100)
        .map(|id| Call {
            id,
            path: "/".repeat(50),
            ..Call::default()
        })
        .collect();
    let delta = CatalogDelta {
        delta: vec![1; 5000],
        ..CatalogDelta::default()
    };
    let last = rig.outbox.submit(Payload {
        calls,
        catalog: vec![delta],
        ..Payload::default()
    });
    assert!(last > 5, "{last}");
    rig.double.until(|seen| seen.applied.len() as u64 == last).await;
    rig.stop().await;
    assert_eq!(rig.double.seen().calls(), (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn stopping_sends_what_is_left() {
    let mut rig = Rig::start(Double::new([]), |_| {});
    rig.double.until(|seen| seen.hellos.len() == 1).await;
    rig.submit(1..=30);
    rig.stop().await;
    assert_eq!(rig.double.seen().applied.len(), 30);
    assert_eq!(rig.monitor.status().backlog.batches, 0);
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_a_collector_that_hangs_or_is_down() {
    let deaf = Connection::Up(Serve {
        ack: Some(0),
        ..Serve::default()
    });
    for (plan, limit) in [(deaf, 5), (Connection::NeverMade, 5), (Connection::Refused, 0)] {
        let mut rig = Rig::start(Double::new([plan]), |options| {
            options.backoff_min = Duration::from_secs(20)
        });
        rig.submit(1..=3);
        rig.double.until_dialed(1).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        rig.stop().await;
        assert!(
            began.elapsed() <= Duration::from_secs(limit) + Duration::from_millis(10),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(rig.spool.lock().backlog().batches, 3);
    }
}
