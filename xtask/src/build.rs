//! `build`: the eBPF object, the agent that carries it, the collector and its client.

use anyhow::Result;

use crate::workspace::{Profile, Workspace};
use crate::{build_ebpf, command, setup};

/// The packages whose binaries people run.
const PACKAGES: [&str; 2] = ["eastwatch-agent", "eastwatch-collector"];

pub fn run(workspace: &Workspace, profile: Profile) -> Result<()> {
    setup::ensure(workspace, &[])?;
    build_ebpf::run(workspace)?;
    host_binaries(workspace, profile)
}

/// The user-space binaries alone; the eBPF object must be there already.
pub fn host_binaries(workspace: &Workspace, profile: Profile) -> Result<()> {
    let mut cargo = command::cargo();
    cargo.arg("build").current_dir(&workspace.root);
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    command::run(&mut cargo)
}
