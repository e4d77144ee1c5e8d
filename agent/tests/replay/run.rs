//! Running it on archives that are made for it, and what came out.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

pub fn agent() -> Command {
    Command::new(env!("CARGO_BIN_EXE_eastwatch-agent"))
}

pub struct Run {
    pub dir: TempDir,
    pub output: Output,
}

impl Run {
    /// Replays files that are made in the working directory, so that no path of this machine is in the results.
    pub fn of(files: &[(&str, &[u8])], args: &[&str]) -> Self {
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

    pub fn code(&self) -> i32 {
        self.output.status.code().unwrap()
    }

    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join("out").join(name)).unwrap()
    }

    pub fn calls(&self) -> Vec<Value> {
        let text = self.text("calls.jsonl");
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub fn summary(&self) -> Value {
        serde_json::from_str(&self.text("summary.json")).unwrap()
    }

    /// Every file of the results, by name.
    pub fn all(&self) -> Vec<(PathBuf, Vec<u8>)> {
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

/// Compares with a file of `golden`; `BLESS=1` writes it instead.
pub fn check(name: &str, got: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("BLESS").is_some_and(|bless| bless == "1") {
        fs::write(&path, got).unwrap();
    }
    let expect = fs::read_to_string(&path).unwrap_or_default();
    assert!(expect == got, "{name} differs; BLESS=1 accepts this:\n{got}");
}

pub fn entry(second: u32, path: &str, status: u16) -> String {
    format!(
        r#"{{"startedDateTime":"2025-06-24T06:00:{:02}.000Z","time":5,"request":{{"method":"GET","url":"http://shop.test{path}","httpVersion":"HTTP/1.1",
        "headers":[{{"name":"Host","value":"shop.test"}},{{"name":"Authorization","value":"Bearer s3cr3t"}}],"headersSize":-1,"bodySize":0}},
        "response":{{"status":{status},"httpVersion":"HTTP/1.1","headers":[{{"name":"Content-Type","value":"text/plain"}}],
        "content":{{"size":2,"text":"ok"}},"headersSize":-1,"bodySize":2}},"_client":"10.0.0.{}","serverIPAddress":"10.0.1.1"}}"#,
        second % 60,
        second % 3 + 1
    )
}

pub fn archive(entries: &[String]) -> Vec<u8> {
    format!(
        r#"{{"log":{{"version":"1.2","entries":[{}]}}}}"#,
        entries.join(",\n")
    )
    .into_bytes()
}

pub fn some(range: std::ops::Range<u32>) -> Vec<u8> {
    let entries: Vec<String> = range
        .map(|number| entry(number, &format!("/users/{number}"), 200))
        .collect();
    archive(&entries)
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
