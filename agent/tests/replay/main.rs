//! `eastwatch-agent replay` as its users run it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod captures;
mod run;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::atomic::AtomicUsize;

use eastwatch_agent::replay::{Options, RUN_BYTES, replay};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use run::{Run, agent, archive, check, entry, gzip, some};

/// Something of everything.
const ARCHIVE: &[u8] = include_bytes!("../fixtures/shop.har");

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
