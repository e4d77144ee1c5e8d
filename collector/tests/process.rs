//! The real binaries: start, signals, environment, exit codes, a disk that is full.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests, helpers included"
)]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};

use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use wire::v1;
use wire::v1::agent_message::Body as Up;
use wire::v1::collector_client::CollectorClient;
use wire::v1::collector_message::Body as Down;

const COLLECTOR: &str = env!("CARGO_BIN_EXE_eastwatch-collector");
const CLIENT: &str = env!("CARGO_BIN_EXE_eastwatch");

struct Collector {
    process: Child,
    grpc: String,
    http: String,
    _stdout: BufReader<ChildStdout>,
    stderr: ChildStderr,
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Only where a test failed half way: it has ended otherwise.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(program: &str, store: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("EASTWATCH_COLLECTOR__LISTEN__GRPC", "127.0.0.1:0")
        .env("EASTWATCH_COLLECTOR__LISTEN__HTTP", "127.0.0.1:0")
        .env("EASTWATCH_COLLECTOR__STORE__PATH", store)
        // Test data has fixed times; retention by age goes by the clock.
        .env("EASTWATCH_COLLECTOR__STORE__CALLS_MAX_AGE", "36500d")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn start(mut command: Command) -> Collector {
    let mut process = command.spawn().unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let stderr = process.stderr.take().unwrap();
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let url = |name: &str| {
        let word = line.split_whitespace().find_map(|word| word.strip_prefix(name));
        word.unwrap_or_else(|| panic!("{name} is not in {line:?}"))
            .to_owned()
    };
    assert!(line.starts_with("listening "), "{line:?}");
    let (grpc, http) = (url("grpc="), url("http="));
    Collector {
        process,
        grpc,
        http,
        _stdout: stdout,
        stderr,
    }
}

impl Collector {
    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.process.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for the end; the exit code and the log.
    fn end(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).unwrap();
        (self.process.wait().unwrap().code(), log)
    }

    fn client(&self, words: &[&str]) -> Output {
        Command::new(CLIENT)
            .args(["--url", &self.http])
            .args(words)
            .output()
            .unwrap()
    }
}

fn collector() -> (Collector, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = command(COLLECTOR, &directory.path().join("store.db"));
    command.arg("serve");
    (start(command), directory)
}

#[test]
fn it_starts_answers_and_ends_on_each_signal() {
    for signal in ["TERM", "INT"] {
        let (collector, directory) = collector();
        let answer = collector.client(&["agents", "--output", "json"]);
        assert_eq!(answer.status.code(), Some(0));
        assert_eq!(
            String::from_utf8(answer.stdout).unwrap(),
            "{\n  \"items\": []\n}\n"
        );
        collector.signal(signal);
        let (code, log) = collector.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("ended"), "{log}");
        assert!(
            !directory.path().join("store.db-wal").exists(),
            "one file is the whole database"
        );
    }
}

#[test]
fn a_hang_up_reads_the_policy_again() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy.toml");
    std::fs::write(&policy, "").unwrap();
    let mut command = command(COLLECTOR, &directory.path().join("store.db"));
    let collector = start({
        command
            .arg("serve")
            .env("EASTWATCH_COLLECTOR__POLICY__FILE", &policy);
        command
    });
    let (_up, mut down, runtime) = connect(&collector.grpc);
    let mut next_policy = || {
        runtime.block_on(async {
            loop {
                if let Some(Down::Policy(policy)) = down.message().await.unwrap().unwrap().body {
                    return policy.version;
                }
            }
        })
    };
    assert_eq!(next_policy(), 1);
    std::fs::write(&policy, "[calls]\nbudget = \"unlimited\"\n").unwrap();
    collector.signal("HUP");
    assert_eq!(next_policy(), 2);
    collector.signal("TERM");
    assert_eq!(collector.end().0, Some(0));
}

type Connection = (
    mpsc::Sender<v1::AgentMessage>,
    tonic::Streaming<v1::CollectorMessage>,
    tokio::runtime::Runtime,
);

/// An agent that has said hello.
fn connect(grpc: &str) -> Connection {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (up, down) = runtime.block_on(async {
        let mut client = CollectorClient::connect(grpc.to_owned()).await.unwrap();
        let (up, messages) = mpsc::channel(16);
        let hello = v1::Hello {
            wire_version: wire::WIRE_VERSION,
            node: "node-a".to_owned(),
            boot: "b1".to_owned(),
            ..v1::Hello::default()
        };
        up.send(v1::AgentMessage {
            body: Some(Up::Hello(hello)),
        })
        .await
        .unwrap();
        (
            up,
            client
                .export(ReceiverStream::new(messages))
                .await
                .unwrap()
                .into_inner(),
        )
    });
    (up, down, runtime)
}

#[test]
fn on_a_full_disk_batches_are_refused_whole_and_nothing_acknowledged_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store.db");
    // No file beyond 600 KiB (units of 1024 bytes in bash): what a full disk is to a program that writes one file.
    let mut limited = command("bash", &store);
    limited.args(["-c", "trap '' XFSZ; ulimit -f 600; exec \"$0\" serve", COLLECTOR]);
    let collector = start(limited);
    let (up, mut down, runtime) = connect(&collector.grpc);
    let (acknowledged, status) = runtime.block_on(async {
        let mut acknowledged = 0;
        for sequence in 1..10_000 {
            let calls = (0..100).map(|id| v1::Call {
                id: sequence * 1000 + id,
                ts_us: 1_767_268_800_000_000,
                api: Some(v1::ApiKey {
                    workload: "w".into(),
                    host: "h".into(),
                    side: v1::Side::Server.into(),
                }),
                method: "GET".into(),
                path: format!("/{}", "x".repeat(200)),
                ..v1::Call::default()
            });
            let payload = v1::Payload {
                calls: calls.collect(),
                ..v1::Payload::default()
            };
            let batch = v1::Batch {
                node: "node-a".into(),
                boot: "b1".into(),
                sequence,
                created_us: 1,
                payload_zstd: wire::encode_payload(&payload).unwrap(),
            };
            up.send(v1::AgentMessage {
                body: Some(Up::Batch(batch)),
            })
            .await
            .unwrap();
            loop {
                match down.message().await {
                    Ok(Some(v1::CollectorMessage {
                        body: Some(Down::Ack(ack)),
                    })) => {
                        assert_eq!((ack.sequence, ack.rejected.as_str()), (sequence, ""));
                        acknowledged += 1;
                        break;
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("the stream ended without a status"),
                    Err(status) => return (acknowledged, status),
                }
            }
        }
        panic!("ten thousand batches fitted");
    });
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    assert!(
        status.message().contains("the store is full") && status.message().contains("Free space"),
        "{status:?}"
    );
    assert!(acknowledged > 0);
    collector.signal("TERM");
    let (_, log) = collector.end();
    assert!(log.contains("the store is full"), "{log}");

    // With room again everything acknowledged is there, and nothing else.
    let mut command = command(COLLECTOR, &store);
    command.arg("serve");
    let collector = start(command);
    let answer = collector.client(&["calls", "--limit", "1000000", "--output", "json"]);
    let calls: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(calls["items"].as_array().unwrap().len(), acknowledged * 100);
    collector.signal("TERM");
    assert_eq!(collector.end().0, Some(0));
}

#[test]
fn exit_codes() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store.db");
    let of = |command: &mut Command| {
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, message) = of(command(COLLECTOR, &store)
        .arg("serve")
        .env("EASTWATCH_COLLECTOR__STORE__PAHT", "x"));
    assert_eq!(code, Some(2), "{message}");
    assert!(
        message.contains("paht") && message.contains("environment"),
        "{message}"
    );
    let (code, message) = of(command(COLLECTOR, &store).args(["serve", "--config", "no-such-file"]));
    assert_eq!(
        (code, message.contains("no-such-file")),
        (Some(2), true),
        "{message}"
    );
    let (code, message) = of(command(COLLECTOR, &store)
        .arg("serve")
        .env("EASTWATCH_COLLECTOR__LOG__LEVEL", "a=b=c"));
    assert_eq!(
        (code, message.contains("log.level")),
        (Some(2), true),
        "{message}"
    );
    std::fs::write(directory.path().join("text"), "no database".repeat(100)).unwrap();
    let (code, message) = of(command(COLLECTOR, &directory.path().join("text")).arg("serve"));
    assert_eq!(
        (code, message.contains("restore a backup")),
        (Some(1), true),
        "{message}"
    );
    assert_eq!(of(&mut command(COLLECTOR, &store)).0, Some(2));
    assert_eq!(
        of(Command::new(CLIENT).args(["--url", "http://127.0.0.1:1", "agents"])).0,
        Some(3)
    );
    assert_eq!(
        of(Command::new(CLIENT).args(["--url", "nonsense", "agents"])).0,
        Some(2)
    );
    assert_eq!(of(Command::new(CLIENT).arg("no-such-command")).0, Some(2));
    let (collector, _directory) = collector();
    assert_eq!(
        collector.client(&["calls", "--status", "6xx"]).status.code(),
        Some(2)
    );
    assert_eq!(
        collector.client(&["calls", &"0".repeat(32)]).status.code(),
        Some(1)
    );
    collector.signal("TERM");
    assert_eq!(collector.end().0, Some(0));
}
