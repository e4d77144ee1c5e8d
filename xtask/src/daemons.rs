//! The collector on its embedded store and the agent of this node, started for `run` and `demo`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::children::{Children, Output};
use crate::workspace::{Profile, Workspace};

/// Both daemons write a line with this word when they do their work: the collector accepts connections and says on which
/// addresses (`listening grpc=URL http=URL`), the agent captures.
const READY_WORD: &str = "listening";

/// Lets the kernel choose the port.
const ANY_PORT: &str = "127.0.0.1:0";

/// Time for a daemon to be ready. Loading the eBPF programs takes the kernel's verifier a second or more.
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// Every exchange becomes a row, as one expects of a single node that one looks at.
const POLICY: &str = "[calls]\nbudget = \"unlimited\"\n";

/// Where the daemons of this run keep things and answer. The temporary directory goes with this value.
#[derive(Debug)]
pub struct Daemons {
    temporary: TempDir,
    /// The collector's addresses, once it has said them.
    collector: Addresses,
    /// The collector's database.
    store: PathBuf,
    binaries: PathBuf,
}

/// Base URLs of the collector.
#[derive(Debug, Default, PartialEq, Eq)]
struct Addresses {
    grpc: String,
    http: String,
}

impl Addresses {
    /// From the line in which the collector says that it is ready.
    fn parse(line: &str) -> Option<Self> {
        let (_, said) = line.split_once(READY_WORD)?;
        let find = |name: &str| {
            said.split_whitespace()
                .find_map(|word| word.strip_prefix(name))
                .map(str::to_owned)
        };
        Some(Self {
            grpc: find("grpc=")?,
            http: find("http=")?,
        })
    }
}

impl Daemons {
    /// Makes a directory; `store` is where the database shall survive, if anywhere.
    pub fn prepare(workspace: &Workspace, profile: Profile, store: Option<&Path>) -> Result<Self> {
        let temporary = tempfile::Builder::new()
            .prefix("eastwatch-")
            .tempdir()
            .context("creating a temporary directory")?;
        let store_dir = match store {
            Some(directory) => std::env::current_dir()
                .context("reading the working directory")?
                .join(directory),
            None => temporary.path().join("store"),
        };
        fs::create_dir_all(&store_dir).with_context(|| format!("creating {}", store_dir.display()))?;
        fs::write(temporary.path().join("policy.toml"), POLICY).context("writing the capture policy")?;
        Ok(Self {
            collector: Addresses::default(),
            store: store_dir.join("eastwatch.db"),
            binaries: workspace.target.join(profile.directory()),
            temporary,
        })
    }

    /// Starts both and waits until they do their work.
    pub fn start(&mut self, children: &mut Children, output: Output) -> Result<()> {
        let collector = self.collector();
        self.collector = children.start("collector", &collector, output, READY_DEADLINE, Addresses::parse)?;
        let ready = |line: &str| line.contains(READY_WORD).then_some(());
        children.start("agent", &self.agent(), output, READY_DEADLINE, ready)
    }

    /// The base of the collector's REST API.
    pub fn url(&self) -> &str {
        &self.collector.http
    }

    pub fn directory(&self) -> &Path {
        self.temporary.path()
    }

    pub fn store(&self) -> &Path {
        &self.store
    }

    /// The client of the API with `arguments`. In a process group of its own: Ctrl-C is for this program to act on.
    pub fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.binaries.join("eastwatch"));
        command
            .args(["--url", self.url()])
            .args(arguments)
            .process_group(0);
        command
    }

    fn collector(&self) -> Command {
        let mut command = Command::new(self.binaries.join("eastwatch-collector"));
        command
            .arg("serve")
            .env("EASTWATCH_COLLECTOR__LISTEN__GRPC", ANY_PORT)
            .env("EASTWATCH_COLLECTOR__LISTEN__HTTP", ANY_PORT)
            .env("EASTWATCH_COLLECTOR__STORE__PATH", &self.store)
            .env(
                "EASTWATCH_COLLECTOR__POLICY__FILE",
                self.temporary.path().join("policy.toml"),
            );
        command
    }

    fn agent(&self) -> Command {
        let mut command = Command::new(self.binaries.join("eastwatch-agent"));
        command
            .arg("run")
            .env("EASTWATCH_AGENT__COLLECTOR__URL", &self.collector.grpc)
            .env("EASTWATCH_AGENT__COLLECTOR__INTERVAL_MS", "1000")
            .env("EASTWATCH_AGENT__METRICS__LISTEN", ANY_PORT)
            .env("EASTWATCH_AGENT__SPOOL__DIR", self.temporary.path().join("spool"))
            .env(
                "EASTWATCH_AGENT__CONTROL__SOCKET",
                self.temporary.path().join("agent.sock"),
            );
        command
    }
}

/// A loopback address that nobody listens on.
pub fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("taking a free port")?;
    listener.local_addr().context("reading the port taken")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_where_the_collector_listens() {
        let line = "2026-01-01T00:00:00Z  INFO listening grpc=http://127.0.0.1:1 http=http://127.0.0.1:2";
        let expected = Addresses {
            grpc: "http://127.0.0.1:1".into(),
            http: "http://127.0.0.1:2".into(),
        };
        assert_eq!(Addresses::parse(line), Some(expected));
        assert_eq!(Addresses::parse("listening grpc=http://127.0.0.1:1"), None);
        assert_eq!(Addresses::parse("grpc=a http=b"), None);
    }
}
