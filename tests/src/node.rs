//! One collector and one agent that work together.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::agent::{Agent, AgentOptions};
use crate::api::{Api, Call};
use crate::collector::Collector;
use crate::process::Process;
use crate::wait::until;

/// Every exchange is a row; the tests' own questions to the collector are left out, both ends of them. Responses may name
/// themselves. `API_PORT` becomes the collector's.
pub const UNLIMITED: &str = "[calls]\nbudget = \"unlimited\"\n[headers]\nrequest = [\"content-type\", \"user-agent\"]\n\
    response = [\"content-type\", \"x-seq\"]\n[[filter.exclude]]\nport = API_PORT\n";

/// As [`UNLIMITED`], of the programs whose path matches one of these alone.
#[must_use]
pub fn only(programs: &[&str]) -> String {
    let include = programs
        .iter()
        .map(|name| format!("[[filter.include]]\nexecutable = \"{name}\"\n"));
    format!("{UNLIMITED}{}", include.collect::<String>())
}

/// How both are configured.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The agent.
    pub agent: AgentOptions,
    /// The capture policy.
    pub policy: String,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            agent: AgentOptions::default(),
            policy: UNLIMITED.to_owned(),
        }
    }
}

/// Both, and their directory. The agent ends first.
#[derive(Debug)]
pub struct Node {
    /// The agent.
    pub agent: Agent,
    /// The collector.
    pub collector: Collector,
    directory: TempDir,
}

impl Node {
    /// Starts both and waits until the policy is in force.
    #[must_use]
    pub fn start(options: &NodeOptions) -> Self {
        let directory = directory();
        let collector = Collector::start(directory.path(), &options.policy, "127.0.0.1:0");
        let agent = Agent::start(directory.path(), collector.grpc, &options.agent);
        let node = Self {
            agent,
            collector,
            directory,
        };
        node.until_policy(1);
        node
    }

    /// Waits until a version of the policy is in force.
    pub fn until_policy(&self, version: u64) {
        until(&format!("policy {version} is in force"), || {
            (self.agent.metrics().get("eastwatch_agent_policy_version") >= version).then_some(())
        });
    }

    /// The test's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A client of the collector's API.
    #[must_use]
    pub fn api(&self) -> Api {
        self.collector.api()
    }

    /// Waits until at least so many calls of this server are stored, for as long as their number grows.
    ///
    /// # Panics
    /// It stopped growing before.
    pub fn until_stored(&self, port: u16, count: u64) {
        let mut stored = 0;
        while stored < count {
            let what = format!("more than {stored} of {count} calls on port {port} are stored");
            stored = until(&what, || {
                let now = self.api().call_count(port);
                (now > stored).then_some(now)
            });
        }
    }

    /// As [`Self::until_stored`], of rows with this path.
    ///
    /// # Panics
    /// Their number stopped growing before.
    pub fn until_path(&self, port: u16, path: &str, count: u64) {
        let mut stored = 0;
        while stored < count {
            let what = format!("more than {stored} of {count} calls of {path} on port {port} are stored");
            stored = until(&what, || {
                let calls = self.api().all(&format!("calls?path={path}"));
                let of_server = format!(":{port}");
                let here = |call: &&serde_json::Value| {
                    call["server_address"]
                        .as_str()
                        .is_some_and(|address| address.ends_with(&of_server))
                };
                let now = calls.iter().filter(here).count() as u64;
                (now > stored).then_some(now)
            });
        }
    }

    /// Ends the agent, which hands over everything that it knows; nothing is stored later. Gives how long it took.
    ///
    /// # Panics
    /// It did not end well.
    pub fn stop_agent(&mut self) -> Duration {
        let (status, took) = self.agent.process.terminate();
        assert_eq!(status.code(), Some(0), "{}", self.agent.process.stderr());
        took
    }

    /// Waits for `count` calls of this server, ends the agent and gives all calls of this server: there are exactly `count`.
    ///
    /// # Panics
    /// There are others.
    pub fn all_calls(&mut self, port: u16, count: u64) -> Vec<Call> {
        self.until_stored(port, count);
        println!("counted: {}", self.agent.metrics().nonzero_events());
        self.stop_agent();
        let calls = self.api().calls(port);
        assert_eq!(calls.len() as u64, count, "calls on port {port}");
        calls
    }

    /// Runs the client of the API.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn cli(&self, arguments: &[&str]) -> std::process::Output {
        std::process::Command::new(crate::collector::binary("eastwatch"))
            .args(["--url", &format!("http://{}", self.collector.http)])
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Starts something beside them that ends with them.
    #[must_use]
    pub fn spawn(&self, name: &str, command: &std::process::Command) -> Process {
        Process::start(name, self.directory(), command)
    }
}

/// A test that fails says what the agent counted.
impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(response) = crate::http::get(self.agent.metrics, "/metrics")
        {
            let counted = crate::Metrics::parse(&response.text()).nonzero_events();
            eprintln!("--- the agent counted: {counted}");
        }
    }
}

/// A directory of its own that servers of other users may enter.
#[must_use]
pub fn directory() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::Builder::new()
        .prefix("eastwatch-test-")
        .tempdir()
        .unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    directory
}
