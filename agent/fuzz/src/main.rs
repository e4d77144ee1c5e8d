//! The fuzzer: one program for every target, which `EASTWATCH_FUZZ_TARGET` names. `cargo xtask fuzz` builds and runs it.
#![no_main]

use std::sync::OnceLock;

use fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

/// Names the target.
const VARIABLE: &str = "EASTWATCH_FUZZ_TARGET";

static TARGET: OnceLock<&Target> = OnceLock::new();

fn chosen() -> &'static Target {
    TARGET.get_or_init(|| {
        let name = std::env::var(VARIABLE).unwrap_or_default();
        TARGETS
            .iter()
            .find(|target| target.name == name)
            .unwrap_or_else(|| {
                let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
                eprintln!("{VARIABLE} must name a target: {}", names.join(" "));
                std::process::exit(2)
            })
    })
}

fuzz_target!(|data: &[u8]| (chosen().run)(data));
