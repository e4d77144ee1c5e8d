//! `cargo xtask <verb>`: everything one does with this repository besides editing it. One file per verb.

mod build;
mod build_ebpf;
mod command;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::{Profile, Workspace};

/// Builds, runs and tests Eastwatch.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build the eBPF object and put it where the agent's build finds it.
    BuildEbpf,
    /// Build the eBPF object, the agent, the collector and its client.
    Build {
        /// Optimised, as it is shipped.
        #[arg(long)]
        release: bool,
    },
}

fn main() -> ExitCode {
    match dispatch(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(verb: Verb) -> Result<()> {
    let workspace = Workspace::locate()?;
    match verb {
        Verb::BuildEbpf => build_ebpf::run(&workspace),
        Verb::Build { release } => build::run(&workspace, Profile::of(release)),
    }
}
