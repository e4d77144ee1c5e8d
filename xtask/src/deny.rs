//! `deny`: `cargo deny` with `deny.toml`. A verb of its own, because `cargo-deny` takes many minutes to build; `test` checks
//! licences and sources against the same file without it.

use anyhow::{Result, bail};

use crate::command;
use crate::workspace::Workspace;

pub fn run(workspace: &Workspace) -> Result<()> {
    if command::find_program("cargo-deny").is_none() {
        bail!(
            "cargo-deny is not installed; `cargo install cargo-deny --locked` builds it (10 minutes or more on 2 cores)"
        );
    }
    let mut cargo = command::cargo();
    command::run(
        cargo
            .args(["deny", "check", "bans", "licenses", "sources"])
            .current_dir(&workspace.root),
    )
}
