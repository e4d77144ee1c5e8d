//! Every input that was kept, through its target: seeds, what the fuzzer found worth keeping, what once broke a law.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fuzz::TARGETS;

fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_kept_input_passes_its_target() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut failed = Vec::new();
    for target in TARGETS {
        let kept = ["corpus", "regressions"].map(|kind| entries(&here.join(kind).join(target.name)));
        assert!(!kept[0].is_empty(), "{} has no corpus", target.name);
        let files = kept.concat();
        for file in &files {
            let data = fs::read(file).unwrap();
            if catch_unwind(AssertUnwindSafe(|| (target.run)(&data))).is_err() {
                failed.push(file.display().to_string());
            }
        }
        println!("{}: {} inputs", target.name, files.len());
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_directory_belongs_to_a_target() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names.len(), TARGETS.len());
    for kind in ["corpus", "regressions"] {
        for directory in entries(&here.join(kind)) {
            let name = directory.file_name().unwrap().to_string_lossy();
            assert!(names.contains(&*name), "{}", directory.display());
        }
    }
}

#[test]
fn every_target_survives_nothing_and_noise() {
    for target in TARGETS {
        (target.run)(b"");
        let mut state = 1_u64;
        for len in [1, 2, 16, 300, 2000] {
            let noise: Vec<u8> = (0..len)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 56) as u8
                })
                .collect();
            (target.run)(&noise);
        }
    }
}
