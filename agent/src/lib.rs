//! The node agent: sources of bytes in, catalog deltas and calls out.
//!
//! The way of the data, one module each: `loader` (programs into the kernel) → `source` (records to events) → `tracker` (connections
//! to exchanges, with `attribution`) → `pipeline` (exchanges to deltas, calls, edges) → `export` by way of the `spool`. `capture` is the
//! thread that drives all of it; `harm` keeps a budget for the time that it adds to each process, `decay` has less captured of what
//! is known; `status`, `tap`, `control` and `metrics` let people see. `replay` drives the same way from files.

pub mod attribution;
pub mod budget;
pub mod capture;
pub mod cli;
mod clock;
pub mod config;
pub mod control;
pub mod coverage;
pub mod decay;
pub mod export;
pub mod harm;
pub mod loader;
pub mod metrics;
pub mod pipeline;
pub mod replay;
pub mod source;
pub mod spool;
pub mod status;
pub mod tap;
pub mod tls;
pub mod tracker;
