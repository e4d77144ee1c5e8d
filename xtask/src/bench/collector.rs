//! The collector as a thing to be measured.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::bench::process::Process;
use crate::workspace::{Profile, Workspace};

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    pub process: Process,
    /// Where agents connect.
    pub url: String,
    /// The database; goes with this value.
    _directory: TempDir,
}

impl Collector {
    /// Starts it with the policy that `policy` holds, or without one.
    pub fn start(workspace: &Workspace, policy: Option<&str>) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("eastwatch-bench-")
            .tempdir()
            .context("creating a temporary directory")?;
        let mut command = Command::new(
            workspace
                .target
                .join(Profile::Release.directory())
                .join("eastwatch-collector"),
        );
        command
            .arg("serve")
            .env("EASTWATCH_COLLECTOR__LISTEN__GRPC", "127.0.0.1:0")
            .env("EASTWATCH_COLLECTOR__LISTEN__HTTP", "127.0.0.1:0")
            .env(
                "EASTWATCH_COLLECTOR__STORE__PATH",
                directory.path().join("eastwatch.db"),
            );
        if let Some(policy) = policy {
            let file = directory.path().join("policy.toml");
            fs::write(&file, policy).with_context(|| format!("writing {}", file.display()))?;
            command.env("EASTWATCH_COLLECTOR__POLICY__FILE", file);
        }
        let ready = |line: &str| {
            let (_, said) = line.split_once("listening")?;
            let url = said
                .split_whitespace()
                .find_map(|word| word.strip_prefix("grpc="));
            url.map(str::to_owned)
        };
        let (process, url) = Process::start("the collector", &command, ready)?;
        Ok(Self {
            process,
            url,
            _directory: directory,
        })
    }
}
