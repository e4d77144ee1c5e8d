//! What `cargo metadata` says about the workspace and, on request, about everything it depends on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::command;
use crate::workspace::Workspace;

/// The part that the checks read.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    pub packages: Vec<Package>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// An SPDX expression.
    pub license: Option<String>,
    /// `None` for a crate of this workspace.
    pub source: Option<String>,
    pub manifest_path: PathBuf,
    pub dependencies: Vec<Dependency>,
}

/// One line of a manifest's dependencies.
#[derive(Debug, Clone, Deserialize)]
pub struct Dependency {
    pub name: String,
    /// `dev`, `build` or, for an ordinary one, nothing.
    pub kind: Option<String>,
}

impl Metadata {
    /// The workspace's own packages.
    pub fn of_workspace(workspace: &Workspace) -> Result<Self> {
        Self::read(workspace, &["--no-deps"])
    }

    /// All packages that the lock file names for this machine's target. Fails when the lock file is out of date.
    pub fn of_everything(workspace: &Workspace) -> Result<Self> {
        let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        Self::read(workspace, &["--locked", "--filter-platform", &target])
    }

    fn read(workspace: &Workspace, arguments: &[&str]) -> Result<Self> {
        let mut cargo = command::cargo();
        cargo
            .args(["metadata", "--format-version", "1"])
            .args(arguments)
            .current_dir(&workspace.root);
        serde_json::from_str(&command::output(&mut cargo)?).context("reading cargo's metadata")
    }
}

impl Package {
    pub fn directory(&self) -> Result<&Path> {
        self.manifest_path
            .parent()
            .context("a manifest lies in a directory")
    }

    #[cfg(test)]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            version: "1.0.0".into(),
            license: None,
            source: None,
            manifest_path: "Cargo.toml".into(),
            dependencies: Vec::new(),
        }
    }
}

impl Dependency {
    pub fn is_for_development(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}
