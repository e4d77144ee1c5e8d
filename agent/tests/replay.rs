//! `eastwatch-agent replay` as its users run it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::AtomicUsize;

use eastwatch_agent::replay::{Options, RUN_BYTES, replay};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

fn agent() -> Command {
    Command::new(env!("CARGO_BIN_EXE_eastwatch-agent"))
}

struct Run {
    dir: TempDir,
    output: Output,
}

impl Run {
    /// Replays files that are made in the working directory, so that no path of this machine is in the results.
    fn of(files: &[(&str, &[u8])], args: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        for (name, bytes) in files {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        let output = agent()
            .current_dir(dir.path())
            .args(["replay", "--out-dir", "out"])
            .args(args)
            .args(files.iter().map(|(name, _)| name))
            .output()
            .unwrap();
        Self { dir, output }
    }

    fn code(&self) -> i32 {
        self.output.status.code().unwrap()
    }

    fn errors(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join("out").join(name)).unwrap()
    }

    fn calls(&self) -> Vec<Value> {
        let text = self.text("calls.jsonl");
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn summary(&self) -> Value {
        serde_json::from_str(&self.text("summary.json")).unwrap()
    }

    /// Every file of the results, by name.
    fn all(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let out = self.dir.path().join("out");
        let mut files = Vec::new();
        for dir in [out.clone(), out.join("openapi")] {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    files.push((
                        path.strip_prefix(&out).unwrap().to_owned(),
                        fs::read(&path).unwrap(),
                    ));
                }
            }
        }
        files.sort();
        files
    }
}

/// Compares with a file of this directory; `BLESS=1` writes it instead.
fn check(name: &str, got: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("BLESS").is_some_and(|bless| bless == "1") {
        fs::write(&path, got).unwrap();
    }
    let expect = fs::read_to_string(&path).unwrap_or_default();
    assert!(expect == got, "{name} differs; BLESS=1 accepts this:\n{got}");
}

fn entry(second: u32, path: &str, status: u16) -> String {
    format!(
        r#"{{"startedDateTime":"2025-06-24T06:00:{:02}.000Z","time":5,"request":{{"method":"GET","url":"http://shop.test{path}","httpVersion":"HTTP/1.1",
        "headers":[{{"name":"Host","value":"shop.test"}},{{"name":"Authorization","value":"Bearer s3cr3t"}}],"headersSize":-1,"bodySize":0}},
        "response":{{"status":{status},"httpVersion":"HTTP/1.1","headers":[{{"name":"Content-Type","value":"text/plain"}}],
        "content":{{"size":2,"text":"ok"}},"headersSize":-1,"bodySize":2}},"_client":"10.0.0.{}","serverIPAddress":"10.0.1.1"}}"#,
        second % 60,
        second % 3 + 1
    )
}

fn archive(entries: &[String]) -> Vec<u8> {
    format!(
        r#"{{"log":{{"version":"1.2","entries":[{}]}}}}"#,
        entries.join(",\n")
    )
    .into_bytes()
}

fn some(range: std::ops::Range<u32>) -> Vec<u8> {
    let entries: Vec<String> = range
        .map(|number| entry(number, &format!("/users/{number}"), 200))
        .collect();
    archive(&entries)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A capture of raw IP packets (link type 101): microseconds, and what they carry.
struct Capture(Vec<(u64, Vec<u8>)>);

#[derive(Clone, Copy)]
struct Flow {
    client_port: u16,
    /// Next sequence numbers of client and server.
    next: [u32; 2],
}

const SYN: u8 = 2;
const ACK: u8 = 16;

impl Capture {
    /// The head of every file.
    const HEAD: [u8; 24] = [
        0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0,
    ];

    /// A connection to port 80 of 10.0.0.2, with its handshake.
    fn connect(&mut self, us: u64, client_port: u16) -> Flow {
        let mut flow = Flow {
            client_port,
            next: [1000, 5000],
        };
        self.packet(us, &mut flow, 0, SYN, b"");
        self.packet(us + 1, &mut flow, 1, SYN | ACK, b"");
        self.packet(us + 2, &mut flow, 0, ACK, b"");
        flow
    }

    /// A segment of the client (0) or the server (1).
    fn packet(&mut self, us: u64, flow: &mut Flow, from: usize, flags: u8, data: &[u8]) {
        let addresses = [[10u8, 0, 0, 1], [10, 0, 0, 2]];
        let ports = [flow.client_port, 80];
        let mut ip = vec![0x45, 0];
        ip.extend(u16::try_from(40 + data.len()).unwrap().to_be_bytes());
        ip.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        ip.extend(addresses[from]);
        ip.extend(addresses[1 - from]);
        ip.extend(ports[from].to_be_bytes());
        ip.extend(ports[1 - from].to_be_bytes());
        ip.extend(flow.next[from].to_be_bytes());
        let acknowledged = if flags & ACK == 0 { 0 } else { flow.next[1 - from] };
        ip.extend(acknowledged.to_be_bytes());
        ip.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        ip.extend(data);
        flow.next[from] += data.len() as u32 + u32::from(flags & SYN != 0);
        self.0.push((us, ip));
    }

    fn get(&mut self, us: u64, flow: &mut Flow, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n");
        self.packet(us, flow, 0, ACK, request.as_bytes());
    }

    fn answer(&mut self, us: u64, flow: &mut Flow) {
        self.packet(
            us,
            flow,
            1,
            ACK,
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        );
    }

    /// Files of these packets, cut before each of `cuts`.
    fn files(&self, cuts: &[usize]) -> Vec<Vec<u8>> {
        let mut files = vec![Self::HEAD.to_vec()];
        for (at, (us, packet)) in self.0.iter().enumerate() {
            if cuts.contains(&at) {
                files.push(Self::HEAD.to_vec());
            }
            let file = files.last_mut().unwrap();
            let length = u32::try_from(packet.len()).unwrap();
            for number in [
                u32::try_from(us / 1_000_000).unwrap(),
                (us % 1_000_000) as u32,
                length,
                length,
            ] {
                file.extend(number.to_le_bytes());
            }
            file.extend(packet);
        }
        files
    }
}

/// Three connections whose exchanges end in another order than they begin.
fn capture() -> Capture {
    capture_of(1_750_744_800_000_000, 4001)
}

fn capture_of(begin: u64, port: u16) -> Capture {
    let mut capture = Capture(Vec::new());
    let mut slow = capture.connect(begin, port);
    let mut quick = capture.connect(begin + 10, port + 1);
    capture.get(begin + 1000, &mut slow, "/slow");
    for round in 0..5 {
        let now = begin + 2000 + round * 100;
        capture.get(now, &mut quick, &format!("/users/{round}"));
        capture.answer(now + 50, &mut quick);
    }
    let mut late = capture.connect(begin + 3000, port + 2);
    capture.get(begin + 4000, &mut late, "/late");
    capture.answer(begin + 5000, &mut slow);
    capture.answer(begin + 6000, &mut late);
    capture.get(begin + 7000, &mut slow, "/last");
    capture
}

/// Something of everything.
const ARCHIVE: &[u8] = include_bytes!("fixtures/shop.har");

#[test]
fn results() {
    for (mode, args) in [("redacted", &[][..]), ("revealed", &["--reveal"])] {
        let run = Run::of(&[("shop.har", ARCHIVE)], args);
        assert_eq!(run.code(), 0, "{}", run.errors());
        check(&format!("calls-{mode}.jsonl"), &run.text("calls.jsonl"));
        check(&format!("summary-{mode}.json"), &run.text("summary.json"));
        check("inventory.json", &run.text("inventory.json"));
        check("openapi-shop.test.json", &run.text("openapi/shop.test.json"));
        assert_eq!(run.text("detections.jsonl") + &run.text("findings.jsonl"), "");
    }
}

#[test]
fn redacted_results_hold_no_value() {
    let run = Run::of(&[("shop.har", ARCHIVE)], &[]);
    for (name, bytes) in run.all() {
        let text = String::from_utf8(bytes).unwrap();
        for secret in ["s3cr3t", "jane", "4711", "hunter2"] {
            assert!(!text.contains(secret), "{secret} in {}", name.display());
        }
    }
    let revealed = Run::of(&[("shop.har", ARCHIVE)], &["--reveal"]);
    assert!(revealed.text("calls.jsonl").contains("s3cr3t"));
}

#[test]
fn same_input_same_output() {
    let text = some(0..300);
    let plain = Run::of(&[("a.har", &text)], &[]);
    assert_eq!(plain.code(), 0, "{}", plain.errors());
    let again = Run::of(&[("a.har", &text)], &[]);
    assert_eq!(plain.all(), again.all());
    let packed = Run::of(&[("a.har", &gzip(&text))], &[]);
    assert_eq!(plain.all(), packed.all());
}

#[test]
fn files_are_one_sequence() {
    let whole = Run::of(&[("a.har", &some(0..90))], &[]);
    let parts = Run::of(&[("a.har", &some(0..20)), ("b.har", &gzip(&some(20..90)))], &[]);
    let without_file = |run: &Run| -> Vec<Value> {
        let mut calls = run.calls();
        calls.iter_mut().for_each(|call| {
            call.as_object_mut().unwrap().remove("file");
        });
        calls
    };
    assert_eq!(without_file(&whole), without_file(&parts));
    assert_eq!(whole.text("inventory.json"), parts.text("inventory.json"));
    let calls = parts.calls();
    assert_eq!(
        (&calls[19]["file"], &calls[20]["file"]),
        (&Value::from("a.har"), &Value::from("b.har"))
    );
    assert_eq!(calls[89]["entry_index"], 89);
}

#[test]
fn entries_left_out_keep_their_index() {
    let entries = [
        entry(0, "/a", 200),
        "{}".to_owned(),
        r#"{"request":{"method":"GET","url":"data:,x"}}"#.to_owned(),
        entry(3, "/b", 200),
    ];
    let run = Run::of(&[("a.har", &archive(&entries)), ("b.har", &some(0..1))], &[]);
    assert_eq!(run.code(), 0, "{}", run.errors());
    let indices: Vec<Value> = run
        .calls()
        .into_iter()
        .map(|call| call["entry_index"].clone())
        .collect();
    assert_eq!(indices, [0, 3, 4]);
    let summary = run.summary();
    assert_eq!(summary["files"][0]["left_out"][0]["reason"], "request_missing");
    assert_eq!(summary["files"][0]["left_out"][1]["first_index"], 2);
    let reasons: Vec<&str> = summary["drops"]
        .as_array()
        .unwrap()
        .iter()
        .map(|drop| drop["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, ["request_missing", "url_not_http"]);
}

#[test]
fn what_cannot_be_read_is_said_and_the_rest_is_kept() {
    let broken = [&some(0..3)[..some(0..3).len() - 5], b"}"].concat();
    let run = Run::of(
        &[
            ("cut.har", &broken),
            ("text.txt", b"hello"),
            ("empty", b""),
            ("bad.gz", b"\x1f\x8bgarbage"),
            ("good.har", &some(3..5)),
        ],
        &[],
    );
    assert_eq!(run.code(), 3);
    let errors = run.errors();
    for expect in [
        "cut.har: no JSON at line ",
        "text.txt: is neither pcap, pcapng nor HAR: it begins with `hello`; export the traffic as one of them",
        "empty: is empty",
        "bad.gz: cannot be read: ",
        "exchanges/s",
    ] {
        assert!(errors.contains(expect), "{expect} is not in:\n{errors}");
    }
    let calls = run.calls();
    let files: Vec<&str> = calls.iter().map(|call| call["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["cut.har", "cut.har", "good.har", "good.har"]);
    assert!(
        run.summary()["files"][0]["error"]
            .as_str()
            .unwrap()
            .starts_with("no JSON")
    );
    let missing = Run::of(&[], &["nowhere.har"]);
    assert_eq!(missing.code(), 3);
    assert!(
        missing
            .errors()
            .contains("nowhere.har: cannot be opened: No such file"),
        "{}",
        missing.errors()
    );
}

#[test]
fn results_that_cannot_be_written_leave_the_old_ones() {
    let run = Run::of(&[("a.har", &some(0..1)), ("not-a-dir", b"")], &[]);
    let output = agent()
        .current_dir(run.dir.path())
        .args(["replay", "--out-dir", "not-a-dir/out", "a.har"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        errors.contains("cannot write to not-a-dir/out: give --out-dir a directory"),
        "{errors}"
    );
    assert_eq!(run.calls().len(), 1);
    assert_eq!(
        agent().args(["replay", "a.har"]).output().unwrap().status.code(),
        Some(2)
    );
}

/// The reader is stopped while it waits for more of a file that grows no further: a FIFO would be refused, so the file is large.
#[test]
fn a_signal_keeps_what_is_done() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("large.har");
    let entries: Vec<String> = (0..2000).map(|number| entry(number, "/users/1", 200)).collect();
    let part = entries.join(",\n");
    {
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(br#"{"log":{"entries":["#).unwrap();
        for round in 0..100 {
            file.write_all(if round == 0 { b"" } else { b"," }).unwrap();
            file.write_all(part.as_bytes()).unwrap();
        }
        file.write_all(b"]}}").unwrap();
    }
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let mut child = agent()
            .current_dir(dir.path())
            .args(["replay", "--out-dir", "out", "large.har"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It has begun when the place for its results is there.
        while !dir
            .path()
            .join("out")
            .join(format!(".replay-{}", child.id()))
            .exists()
        {
            assert!(
                child.try_wait().unwrap().is_none(),
                "it ended before it could be stopped"
            );
            std::thread::yield_now();
        }
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        let errors: Vec<String> = BufReader::new(child.stderr.take().unwrap())
            .lines()
            .map(Result::unwrap)
            .collect();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{errors:?}");
        assert!(
            errors.iter().any(|line| line.starts_with("stopped: ")),
            "{errors:?}"
        );
        let calls = fs::read_to_string(dir.path().join("out/calls.jsonl")).unwrap();
        assert!(calls.lines().count() < 200_000);
        assert!(
            calls
                .lines()
                .all(|line| serde_json::from_str::<Value>(line).is_ok())
        );
        let summary: Value =
            serde_json::from_slice(&fs::read(dir.path().join("out/summary.json")).unwrap()).unwrap();
        assert_eq!(summary["stopped"], true);
        let names: Vec<String> = fs::read_dir(dir.path().join("out"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");
    }
}

#[test]
fn captures_in_the_order_of_requests() {
    let files = capture().files(&[]);
    let run = Run::of(&[("a.pcap", &files[0])], &["--reveal"]);
    assert_eq!(run.code(), 0, "{}", run.errors());
    let calls = run.calls();
    let targets: Vec<&str> = calls
        .iter()
        .map(|call| call["request"]["target"].as_str().unwrap())
        .collect();
    assert_eq!(
        targets,
        [
            "/slow", "/users/0", "/users/1", "/users/2", "/users/3", "/users/4", "/late", "/last"
        ]
    );
    let slow = &calls[0];
    assert_eq!(
        (&slow["client"], &slow["server"]),
        (&"10.0.0.1:4001".into(), &"10.0.0.2:80".into())
    );
    assert_eq!(
        (&slow["duration_us"], &slow["ts"]),
        (&4000.into(), &1_750_744_800.001.into())
    );
    assert_eq!(calls[1]["endpoint"], "GET /users/{user_id}");
    assert_eq!(
        (&calls[7]["flags"][0], &calls[7]["response"]),
        (&"unpaired".into(), &Value::Null)
    );
    assert!(
        calls
            .iter()
            .enumerate()
            .all(|(at, call)| call["entry_index"] == at)
    );
}

#[test]
fn captures_go_on_in_the_next_file() {
    let capture = capture();
    let whole = Run::of(&[("a.pcap", &capture.files(&[])[0])], &[]);
    for cut in 1..capture.0.len() {
        let files = capture.files(&[cut]);
        let parts = Run::of(&[("a.pcap", &files[0]), ("b.pcap", &files[1])], &[]);
        assert_eq!(parts.code(), 0, "{}", parts.errors());
        let in_second = |call: &Value| call["file"] == "b.pcap";
        for (whole, part) in whole.calls().iter().zip(parts.calls()) {
            let begun_us = (part["ts"].as_f64().unwrap() * 1e6).round() as u64;
            assert_eq!(
                in_second(&part),
                begun_us >= capture.0[cut].0,
                "cut before packet {cut}: {part}"
            );
            let mut whole = whole.clone();
            whole["file"] = part["file"].clone();
            assert_eq!(whole, part, "cut before packet {cut}");
        }
        assert_eq!(whole.text("inventory.json"), parts.text("inventory.json"));
    }
}

#[test]
fn captures_and_archives_of_other_times_in_one_sequence() {
    let file = &capture().files(&[])[0];
    let older = &capture_of(1_750_000_000_000_000, 5001).files(&[])[0];
    let files: [(&str, &[u8]); 4] = [
        ("a.pcap", file),
        ("x.har", &some(0..2)),
        ("b.pcap", file),
        ("c.pcap", &gzip(older)),
    ];
    let run = Run::of(&files, &[]);
    assert_eq!(run.code(), 0, "{}", run.errors());
    let calls = run.calls();
    let found: Vec<&str> = calls.iter().map(|call| call["file"].as_str().unwrap()).collect();
    let expect = [
        ["a.pcap"; 8].as_slice(),
        &["x.har"; 2],
        &["b.pcap"; 8],
        &["c.pcap"; 8],
    ]
    .concat();
    assert_eq!(found, expect);
    assert!(
        calls
            .iter()
            .enumerate()
            .all(|(at, call)| call["entry_index"] == at)
    );
}

#[test]
fn runs_on_disk_make_no_difference() {
    let dir = TempDir::new().unwrap();
    let archive = dir.path().join("a.har");
    fs::write(&archive, some(0..200)).unwrap();
    let results = |name: &str, run_bytes: usize| {
        let options = Options {
            reveal: true,
            out_dir: dir.path().join(name),
            files: vec![archive.clone()],
            run_bytes,
        };
        let outcome = replay(&options, &AtomicUsize::new(0), &mut |_| ()).unwrap();
        assert_eq!((outcome.done.exchanges, outcome.stopped), (200, false));
        fs::read_to_string(options.out_dir.join("calls.jsonl")).unwrap()
    };
    assert_eq!(results("memory", RUN_BYTES), results("disk", 1));
}
