//! `cargo xtask <verb>`: everything one does with this repository besides editing it. One file per verb.

mod bench;
mod build;
mod build_ebpf;
mod children;
mod command;
mod daemons;
mod demo;
mod deny;
mod directions;
mod fuzz;
mod licences;
mod metadata;
mod preflight;
mod run;
mod setup;
mod stop;
mod test;
mod toolchain;
mod vm_test;
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
    /// Install what the other verbs need: the eBPF toolchain, servers and clients. Says what it does before it does it.
    Setup(setup::Arguments),
    /// Build the eBPF object and put it where the agent's build finds it.
    BuildEbpf,
    /// Build the eBPF object, the agent, the collector and its client.
    Build {
        /// Optimised, as it is shipped.
        #[arg(long)]
        release: bool,
    },
    /// Start the collector on its embedded store and the agent on this node, until Ctrl-C.
    Run(run::Arguments),
    /// The same with a few real services and traffic to look at; prints the inventory as it grows.
    Demo(demo::Arguments),
    /// Check everything: format, lints, dependency directions, licences, unit, property and live end-to-end tests.
    Test(test::Arguments),
    /// Run the live tests in VMs with other kernels, with every provider that each kernel has.
    VmTest(vm_test::Arguments),
    /// Measure what Eastwatch costs: eBPF programs, a web server under load, memory, the crates' benchmarks.
    Bench(bench::Arguments),
    /// Search for inputs that break a parser, for a bounded time; what was found before is run by `test`.
    Fuzz(fuzz::Arguments),
    /// Write golden files anew instead of comparing with them.
    Bless,
    /// Check licences, bans and sources with cargo-deny.
    Deny,
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
        Verb::Setup(arguments) => setup::run(&workspace, &arguments),
        Verb::BuildEbpf => build_ebpf::run(&workspace),
        Verb::Run(arguments) => run::run(&workspace, &arguments),
        Verb::Demo(arguments) => demo::run(&workspace, &arguments),
        Verb::Test(arguments) => test::run(&workspace, &arguments),
        Verb::VmTest(arguments) => vm_test::run(&workspace, &arguments),
        Verb::Bench(arguments) => bench::run(&workspace, &arguments),
        Verb::Fuzz(arguments) => fuzz::run(&workspace, &arguments),
        Verb::Bless => test::bless(&workspace),
        Verb::Deny => deny::run(&workspace),
        Verb::Build { release } => build::run(&workspace, Profile::of(release)),
    }
}
