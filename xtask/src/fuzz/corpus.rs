//! The corpora of the repository: small, and covering most.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Places;

/// Most inputs of a target.
const FILES_MAX: usize = 40;

/// Most bytes of them together.
const BYTES_MAX: u64 = 32 << 10;

/// Names of the directories in a directory, sorted.
pub fn directories(of: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(of).with_context(|| format!("reading {}", of.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Adds to the corpus of the repository some of what the grown one covers beyond it: small inputs and large ones alike, because the
/// large reach deeper, as far as the limits allow. What has a name given by people stays.
pub fn minimise(
    places: &Places,
    target: &str,
    merge: impl Fn(&[&str], Vec<OsString>) -> Result<()>,
) -> Result<()> {
    let kept = places.corpus(target);
    let scratch = tempfile::tempdir().context("creating a directory")?;
    let merged = scratch.path().join("merged");
    fs::create_dir_all(&merged)?;
    // What a run before put there is judged again.
    for (path, _) in files(&kept)? {
        if !is_generated(&path) {
            fs::copy(&path, merged.join(path.file_name().unwrap_or_default()))?;
        }
    }
    merge(
        &["-merge=1"],
        vec![
            merged.clone().into(),
            kept.clone().into(),
            places.grown(target).into(),
        ],
    )?;
    let (mut count, mut bytes) = (0, 0);
    for (path, length) in files(&kept)? {
        if is_generated(&path) {
            fs::remove_file(&path)?;
        } else {
            count += 1;
            bytes += length;
        }
    }
    let mut candidates = files(&merged)?;
    candidates.retain(|(path, _)| is_generated(path));
    candidates.sort_by_key(|(path, length)| (*length, path.clone()));
    let room = FILES_MAX.saturating_sub(count).max(1);
    let step = candidates.len().div_ceil(room).max(1);
    // From the largest on, so that it is always among them.
    for (path, length) in candidates.into_iter().rev().step_by(step) {
        if bytes + length > BYTES_MAX {
            continue;
        }
        fs::copy(&path, kept.join(path.file_name().unwrap_or_default()))?;
        count += 1;
        bytes += length;
    }
    println!("{target}: {count} inputs of {bytes} bytes kept");
    Ok(())
}

/// libFuzzer names inputs by their SHA-1.
fn is_generated(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn files(of: &Path) -> Result<Vec<(std::path::PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(of).with_context(|| format!("reading {}", of.display()))? {
        let entry = entry?;
        files.push((entry.path(), entry.metadata()?.len()));
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef0123456";

    #[test]
    fn inputs_of_all_sizes_are_kept_within_the_limits() {
        let directory = tempfile::tempdir().unwrap();
        let places = Places {
            package: directory.path().join("package"),
            grown: directory.path().join("grown"),
            found: directory.path().join("found"),
        };
        let kept = places.corpus("http1");
        fs::create_dir_all(&kept).unwrap();
        fs::create_dir_all(places.grown("http1")).unwrap();
        fs::write(kept.join("seed"), b"seed").unwrap();
        fs::write(kept.join(format!("{HASH}f")), b"of a run before").unwrap();
        let merge = |options: &[&str], directories: Vec<OsString>| -> Result<()> {
            assert_eq!(options, ["-merge=1"]);
            let merged = Path::new(&directories[0]);
            assert!(merged.join("seed").exists(), "seeds count as there already");
            for (digit, length) in [("0", 40_000), ("1", 3), ("2", 2000), ("3", 8000)] {
                fs::write(merged.join(format!("{HASH}{digit}")), vec![0; length])?;
            }
            Ok(())
        };
        minimise(&places, "http1", merge).unwrap();
        let names: Vec<String> = files(&kept)
            .unwrap()
            .iter()
            .map(|(path, _)| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(
            names,
            [
                format!("{HASH}1"),
                format!("{HASH}2"),
                format!("{HASH}3"),
                "seed".into()
            ]
        );
    }
}
