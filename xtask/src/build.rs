//! `build`: the eBPF object, the agent that carries it, the collector and its client.

use anyhow::Result;

use crate::workspace::{Profile, Workspace};
use crate::{build_ebpf, command};

/// The packages whose binaries people run.
pub const PACKAGES: [&str; 2] = ["eastwatch-agent", "eastwatch-collector"];

pub fn run(workspace: &Workspace, profile: Profile) -> Result<()> {
    build_ebpf::run(workspace)?;
    let mut cargo = command::cargo();
    cargo.args(["build", "--locked"]).current_dir(&workspace.root);
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    command::run(&mut cargo)
}
