//! Fuzz targets: every parser of what strangers send, and whole connections as sequences of operations.
//!
//! A target is a plain function of bytes that panics when a law is broken: nothing panics, what comes out is within its limits, the same
//! bytes split differently say the same. `cargo xtask fuzz` searches for bytes that break one. Every input in `corpus/` and in
//! `regressions/` is run by `cargo test` as well, so what was found once stays fixed.

mod input;
mod targets;

pub use targets::{TARGETS, Target};
