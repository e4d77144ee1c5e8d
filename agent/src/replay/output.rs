//! The directory of results: nothing in it changes until everything new is complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Documents by host.
pub const OPENAPI: &str = "openapi";
/// Every file of a replay beside those documents.
pub const FILES: [&str; 5] = [
    "calls.jsonl",
    "inventory.json",
    "detections.jsonl",
    "findings.jsonl",
    "summary.json",
];
/// Bytes gathered before they are written.
pub const BUFFER_BYTES: usize = 256 << 10;
/// Longest file name, bytes: file systems allow 255.
const NAME_BYTES_MAX: usize = 200;

/// Results that are being made, in a directory of their own inside of the target.
#[derive(Debug)]
pub struct Staging {
    target: PathBuf,
    dir: PathBuf,
}

impl Staging {
    /// Makes the target if need be, and a place in it.
    ///
    /// # Errors
    /// It cannot be made or written to.
    pub fn new(target: &Path) -> Result<Self> {
        let advice = || {
            format!(
                "cannot write to {}: give --out-dir a directory that you may write to",
                target.display()
            )
        };
        fs::create_dir_all(target).with_context(advice)?;
        let dir = target.join(format!(".replay-{}", std::process::id()));
        if dir.exists() {
            // Of a process that is gone: this one has its number now.
            fs::remove_dir_all(&dir).with_context(advice)?;
        }
        fs::create_dir(&dir).with_context(advice)?;
        let staging = Self {
            target: target.to_owned(),
            dir,
        };
        fs::create_dir(staging.dir.join(OPENAPI)).with_context(advice)?;
        Ok(staging)
    }

    /// Where temporary files go.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A new file of the results.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(&self, name: &str) -> Result<BufWriter<File>> {
        let path = self.dir.join(name);
        let file = File::create_new(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(BufWriter::with_capacity(BUFFER_BYTES, file))
    }

    /// Puts the results in the place of those of an earlier replay.
    ///
    /// # Errors
    /// A file cannot be moved.
    pub fn publish(self) -> Result<()> {
        let (old, new) = (self.target.join(OPENAPI), self.dir.join(OPENAPI));
        let moving = |path: &Path| format!("cannot replace {}", path.display());
        match fs::rename(&old, self.dir.join("openapi-old")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.with_context(|| moving(&old))?,
        }
        fs::rename(&new, &old).with_context(|| moving(&old))?;
        for name in FILES {
            let path = self.target.join(name);
            fs::rename(self.dir.join(name), &path).with_context(|| moving(&path))?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What is left is of no use to anybody; if it cannot be removed, that is no reason to fail.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Ends a file.
///
/// # Errors
/// It cannot be written.
pub fn finish(mut file: BufWriter<File>, name: &str) -> Result<()> {
    file.flush().with_context(|| format!("cannot write {name}"))
}

/// Name of the file of a host: percent-encoded but for `[a-z0-9.-]`; a long one is cut, with a hash of all of it. `_.json` where there
/// is no host.
#[must_use]
pub fn file_name(host: &str) -> String {
    if host.is_empty() {
        return "_.json".to_owned();
    }
    let mut name = String::with_capacity(host.len() + 5);
    for byte in host.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => name.push(char::from(byte)),
            // `.` and `..` are no names, and a file that begins with a dot is hidden.
            b'.' if !name.is_empty() => name.push('.'),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    if name.len() > NAME_BYTES_MAX {
        name.truncate(NAME_BYTES_MAX);
        name.push_str(&format!("-{:016x}", xxhash_rust::xxh3::xxh3_64(host.as_bytes())));
    }
    name.push_str(".json");
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        for (host, expect) in [
            ("shop.test", "shop.test.json"),
            ("shop.test:8080", "shop.test%3A8080.json"),
            ("[2001:db8::1]:80", "%5B2001%3Adb8%3A%3A1%5D%3A80.json"),
            ("my_service", "my%5Fservice.json"),
            ("*", "%2A.json"),
            ("..", "%2E..json"),
            ("", "_.json"),
        ] {
            assert_eq!(file_name(host), expect);
        }
        let long = |last: char| file_name(&format!("{}{last}", "a".repeat(NAME_BYTES_MAX)));
        assert_ne!(long('x'), long('y'));
        assert_eq!(long('x').len(), NAME_BYTES_MAX + 1 + 16 + 5);
        assert_eq!(file_name(&"a".repeat(NAME_BYTES_MAX)).len(), NAME_BYTES_MAX + 5);
    }

    fn write(staging: &Staging, text: &str) {
        for name in FILES {
            let mut file = staging.create(name).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            finish(file, name).unwrap();
        }
    }

    #[test]
    fn all_or_nothing() {
        let target = tempfile::tempdir().unwrap();
        let staging = Staging::new(target.path()).unwrap();
        write(&staging, "old");
        staging.create("openapi/old.json").unwrap();
        staging.publish().unwrap();
        let staging = Staging::new(target.path()).unwrap();
        write(&staging, "half");
        drop(staging);
        let names = || {
            let mut names: Vec<String> = fs::read_dir(target.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(
            names(),
            [
                "calls.jsonl",
                "detections.jsonl",
                "findings.jsonl",
                "inventory.json",
                "openapi",
                "summary.json"
            ]
        );
        assert_eq!(
            fs::read_to_string(target.path().join("calls.jsonl")).unwrap(),
            "old"
        );
        assert!(target.path().join("openapi/old.json").exists());
        let staging = Staging::new(target.path()).unwrap();
        write(&staging, "new");
        staging.create("openapi/new.json").unwrap();
        staging.publish().unwrap();
        assert_eq!(
            fs::read_to_string(target.path().join("summary.json")).unwrap(),
            "new"
        );
        assert!(!target.path().join("openapi/old.json").exists());
        assert!(target.path().join("openapi/new.json").exists());
        assert_eq!(names().len(), FILES.len() + 1);
    }
}
