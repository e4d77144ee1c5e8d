//! A collector of its own for each test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::api::Api;
use crate::process::Process;
use crate::servers::free_port;

/// A binary under test, from the directory in `EASTWATCH_BIN_DIR`.
///
/// # Panics
/// It was not built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
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
    directory: PathBuf,
}

fn write_policy(directory: &Path, policy: &str, api_port: u16) {
    let policy = policy.replace("API_PORT", &api_port.to_string());
    std::fs::write(directory.join("policy.toml"), policy).unwrap();
}

impl Collector {
    /// The command, keeping its things in `directory`, with the policy in `policy.toml` there.
    #[must_use]
    pub fn command(directory: &Path, grpc: &str, http: &str) -> Command {
        let mut command = Command::new(binary("eastwatch-collector"));
        command
            .arg("serve")
            .env("EASTWATCH_COLLECTOR__LISTEN__GRPC", grpc)
            .env("EASTWATCH_COLLECTOR__LISTEN__HTTP", http)
            .env("EASTWATCH_COLLECTOR__STORE__PATH", directory.join("eastwatch.db"))
            .env("EASTWATCH_COLLECTOR__POLICY__FILE", directory.join("policy.toml"));
        command
    }

    /// Starts one and waits until it listens. In the policy, `API_PORT` stands for the API's port.
    #[must_use]
    pub fn start(directory: &Path, policy: &str, grpc: &str) -> Self {
        let port = free_port();
        write_policy(directory, policy, port);
        let command = Self::command(directory, grpc, &format!("127.0.0.1:{port}"));
        let mut process = Process::start("collector", directory, &command);
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
            directory: directory.to_owned(),
        }
    }

    /// Puts another policy into force, as an administrator does: the file, then SIGHUP.
    pub fn change_policy(&self, policy: &str) {
        write_policy(&self.directory, policy, self.http.port());
        self.process.signal(Signal::SIGHUP);
    }

    /// A client of its API.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(self.http)
    }
}
