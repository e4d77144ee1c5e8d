//! A collector of its own for each test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::api::Api;
use crate::process::Process;

/// Directory of the binaries under test.
pub(crate) fn binary(name: &str) -> PathBuf {
    let directory = std::env::var_os("EASTWATCH_BIN_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug"),
        PathBuf::from,
    );
    let binary = directory.join(name);
    assert!(
        binary.is_file(),
        "{} is not there: build it, or set EASTWATCH_BIN_DIR",
        binary.display()
    );
    binary.canonicalize().unwrap()
}

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    /// The process.
    pub process: Process,
    /// Where agents connect.
    pub grpc: SocketAddr,
    /// Where the API answers.
    pub http: SocketAddr,
    store: PathBuf,
}

impl Collector {
    /// The command, keeping its things in `directory`, with the policy in `policy.toml` there.
    #[must_use]
    pub fn command(directory: &Path, grpc: &str) -> Command {
        let mut command = Command::new(binary("eastwatch-collector"));
        command
            .arg("serve")
            .env("EASTWATCH_COLLECTOR__LISTEN__GRPC", grpc)
            .env("EASTWATCH_COLLECTOR__LISTEN__HTTP", "127.0.0.1:0")
            .env("EASTWATCH_COLLECTOR__STORE__PATH", directory.join("eastwatch.db"))
            .env(
                "EASTWATCH_COLLECTOR__POLICY__FILE",
                directory.join("policy.toml"),
            );
        command
    }

    /// Starts one and waits until it listens.
    #[must_use]
    pub fn start(directory: &Path, policy: &str, grpc: &str) -> Self {
        std::fs::write(directory.join("policy.toml"), policy).unwrap();
        let mut process = Process::start("collector", directory, &Self::command(directory, grpc));
        let (grpc, http) = process.until_line("listens", |line| {
            let find = |name: &str| {
                line.split_whitespace()
                    .find_map(|word| word.strip_prefix(name)?.strip_prefix("http://")?.parse().ok())
            };
            Some((find("grpc=")?, find("http=")?))
        });
        Self {
            process,
            grpc,
            http,
            store: directory.join("eastwatch.db"),
        }
    }

    /// A client of its API.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(self.http)
    }

    /// The database file.
    #[must_use]
    pub fn store(&self) -> &Path {
        &self.store
    }
}
