//! Collectors that are down, hang, refuse, or are none.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

#[tokio::test(start_paused = true)]
async fn waits_longer_and_longer_for_a_collector_that_is_down() {
    let mut rig = Rig::start(Double::new(vec![Connection::Refused; 8]), |options| {
        options.backoff_min = Duration::from_secs(1);
        options.backoff_max = Duration::from_secs(16);
    });
    rig.submit(1..=3);
    rig.double.until(|seen| seen.applied.len() == 3).await;
    let status = rig.monitor.status();
    let failure = status.last_error.unwrap();
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert!(failure.to_string().contains("start the collector"), "{failure}");
    assert_eq!(rig.failures(FailureKind::Unreachable), 8);
    let dials = rig.double.dials();
    let waits: Vec<Duration> = dials.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (wait, step) in waits.iter().zip([1, 2, 4, 8, 16, 16, 16, 16]) {
        let step = Duration::from_secs(step);
        assert!(
            *wait >= step / 2 && *wait <= step + Duration::from_millis(10),
            "{waits:?}"
        );
    }
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_made_in_time_is_given_up() {
    let mut rig = Rig::start(Double::new([Connection::NeverMade]), |_| {});
    let began = Instant::now();
    rig.submit([1]);
    let status = rig.failed(FailureKind::Unreachable).await;
    assert!(began.elapsed() >= Duration::from_secs(10));
    assert!(status.last_error.unwrap().cause.contains("within 10 s"));
    rig.double.until(|seen| seen.applied.len() == 1).await;
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_hangs_is_left_and_nothing_is_lost() {
    for (first, part) in [
        (Connection::Silent, "did not welcome"),
        (
            Connection::Up(Serve {
                welcome: None,
                ..Serve::default()
            }),
            "did not welcome",
        ),
        (
            Connection::Up(Serve {
                ack: Some(0),
                ..Serve::default()
            }),
            "acknowledged nothing within 60 s",
        ),
    ] {
        let mut rig = Rig::start(Double::new([first]), |options| {
            options.keepalive_interval = Duration::from_secs(100_000);
        });
        rig.submit(1..=3);
        let failure = rig.failed(FailureKind::Hung).await.last_error.unwrap();
        assert!(failure.cause.contains(part), "{failure}");
        rig.double
            .until(|seen| seen.applied.len() == 3 && seen.acked >= 3)
            .await;
        rig.stop().await;
        assert_eq!(rig.double.seen().calls(), [1, 2, 3]);
        assert_eq!(rig.monitor.status().backlog.batches, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_connection_is_noticed_by_pings_also_when_nothing_is_sent() {
    let mut rig = Rig::start(Double::new([Connection::FreezesAfterWelcome]), |_| {});
    rig.double.until(|seen| seen.hellos.len() == 1).await;
    let began = Instant::now();
    let status = rig.failed(FailureKind::Hung).await;
    assert!(
        began.elapsed() <= Duration::from_secs(31),
        "{:?}",
        began.elapsed()
    );
    assert!(status.last_error.unwrap().cause.contains("does not answer pings"));
    rig.submit([1]);
    rig.double.until(|seen| seen.applied.len() == 1).await;
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_collector_of_another_age_gets_nothing() {
    for version in [0, wire::WIRE_VERSION + 2, u32::MAX] {
        let wrong = Connection::Up(Serve {
            welcome: Some(version),
            ..Serve::default()
        });
        let mut rig = Rig::start(Double::new([wrong]), |_| {});
        rig.submit([1]);
        let failure = rig.failed(FailureKind::WireVersion).await.last_error.unwrap();
        assert!(
            failure.to_string().contains(&format!("version {version}")),
            "{failure}"
        );
        assert!(failure.to_string().contains("upgrade the older"), "{failure}");
        assert_eq!(rig.double.seen().received, []);
        rig.double.until(|seen| seen.applied.len() == 1).await;
        rig.stop().await;
    }
    let next = Connection::Up(Serve {
        welcome: Some(wire::WIRE_VERSION + 1),
        ..Serve::default()
    });
    let mut rig = Rig::start(Double::new([next]), |_| {});
    rig.submit([1]);
    rig.double.until(|seen| seen.applied.len() == 1).await;
    rig.stop().await;
    assert_eq!(rig.monitor.status().counters.connections, 1);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_told_apart() {
    for (status, kind, part) in [
        (
            tonic::Status::failed_precondition("agent\ntoo old"),
            FailureKind::Refused,
            "agent\u{fffd}too old",
        ),
        (
            tonic::Status::unimplemented("no"),
            FailureKind::NotCollector,
            "correct the agent's collector URL",
        ),
        (
            tonic::Status::unavailable("draining"),
            FailureKind::Closed,
            "draining",
        ),
    ] {
        let mut rig = Rig::start(
            Double::new([Connection::Up(Serve {
                status: Some(status),
                ..Serve::default()
            })]),
            |_| {},
        );
        rig.submit([1]);
        let failure = rig.failed(kind).await.last_error.unwrap();
        assert!(failure.to_string().contains(part), "{failure}");
        rig.double.until(|seen| seen.applied.len() == 1).await;
        rig.stop().await;
    }
}

/// Real sockets: what listens there is no gRPC server at all.
#[tokio::test]
async fn garbage_is_named_and_costs_nothing() {
    for answer in [
        &b"\x16\x03\x01\x00\xff\x01 this is not what you are looking for, whatever that is............"[..],
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                // The whole greeting first: closing over unread bytes would reset the connection.
                let mut greeting = [0; 24];
                stream.read_exact(&mut greeting).await.unwrap();
                let _ = stream.write_all(answer).await;
                let _ = stream.flush().await;
                open.push(stream);
            }
        });
        let dir = tempfile::tempdir().unwrap();
        let spool = SharedSpool::new(Spool::open(SpoolOptions::new(dir.path())).unwrap());
        let options = ExportOptions {
            backoff_min: Duration::from_millis(1),
            ..ExportOptions::new(url)
        };
        let exporter = Exporter::new(options, spool.clone(), identity("b2"), "1").unwrap();
        let (outbox, monitor) = (exporter.outbox(), exporter.monitor());
        outbox.submit(payload(1));
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(exporter.run(async {
            let _ = stopped.await;
        }));
        let failed = async {
            while monitor
                .status()
                .counters
                .failures()
                .map(|(_, count)| count)
                .sum::<u64>()
                < 3
            {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), failed)
            .await
            .unwrap();
        let status = monitor.status();
        let failure = status.last_error.unwrap();
        assert_eq!(failure.kind, FailureKind::NotGrpc, "{failure}");
        assert!(failure.to_string().contains("gRPC port"), "{failure}");
        assert_eq!(status.backlog.batches, 1);
        assert!(status.local_address.is_some());
        stop.send(()).unwrap();
        task.await.unwrap();
        server.abort();
        assert_eq!(spool.lock().backlog().batches, 1, "still there for the next run");
    }
}

/// A real socket that nobody listens at.
#[tokio::test]
async fn nobody_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let dir = tempfile::tempdir().unwrap();
    let spool = SharedSpool::new(Spool::open(SpoolOptions::new(dir.path())).unwrap());
    let exporter = Exporter::new(ExportOptions::new(url), spool, identity("b2"), "1").unwrap();
    let monitor = exporter.monitor();
    let failed = async {
        while monitor.status().last_error.is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    exporter.run(failed).await;
    let failure = monitor.status().last_error.unwrap();
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert!(failure.cause.contains("refused"), "{failure}");
}
