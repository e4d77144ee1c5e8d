//! Installing a server must not start it. Debian's maintainer scripts start what they install unless
//! `/usr/sbin/policy-rc.d` forbids it by exiting with 101; so it does, while a step with services runs.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::setup::packages;
use crate::stop::Held;

const POLICY_FILE: &str = "/usr/sbin/policy-rc.d";

/// `invoke-rc.d` and `deb-systemd-invoke` take this exit code for "action forbidden by policy".
const FORBIDDEN: i32 = 101;

/// Forbids everything; says whose it is, should it ever be left behind.
const POLICY: &str = "#!/bin/sh\n# Put here by `cargo xtask setup` of Eastwatch while it installs test servers; safe to delete.\nexit 101\n";

/// Keeps services from being started until it is restored or dropped.
#[derive(Debug)]
pub struct ServiceStarts {
    services: Vec<String>,
    /// Whether the policy file is ours to remove.
    ours: bool,
    /// Ctrl-C must end the installation, but not this program before it has removed the file again. Dropped after the removal.
    _held: Option<Held>,
}

impl ServiceStarts {
    /// Does nothing where there are no `services`. A policy that an administrator wrote stays, and must forbid starting.
    pub fn forbid(services: &[String]) -> Result<Self> {
        let Some(first) = services.first() else {
            return Ok(Self {
                services: Vec::new(),
                ours: false,
                _held: None,
            });
        };
        let held = Some(Held::new()?);
        let guard = |ours| Self {
            services: services.to_vec(),
            ours,
            _held: held,
        };
        match fs::read_to_string(POLICY_FILE) {
            Ok(text) if text == POLICY => Ok(guard(true)),
            Ok(_) => {
                let answer = Command::new(POLICY_FILE).args([first, "start"]).status();
                if !answer.is_ok_and(|status| status.code() == Some(FORBIDDEN)) {
                    bail!(
                        "{POLICY_FILE} lets packages start their services; make it exit {FORBIDDEN} for {} or move it away",
                        services.join(", ")
                    );
                }
                Ok(guard(false))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                write_policy()?;
                Ok(guard(true))
            }
            Err(error) => Err(error).context(format!("reading {POLICY_FILE}")),
        }
    }

    /// Lets services start again, after taking those just installed out of the boot sequence.
    pub fn restore(mut self) -> Result<()> {
        if Path::new("/run/systemd/system").is_dir() {
            for service in &self.services {
                command::run(&mut as_root(&["systemctl", "disable", service]))?;
            }
        }
        self.remove_policy()
    }

    fn remove_policy(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.ours) {
            return Ok(());
        }
        command::output(&mut as_root(&["rm", "-f", POLICY_FILE])).map(drop)
    }
}

impl Drop for ServiceStarts {
    fn drop(&mut self) {
        if let Err(error) = self.remove_policy() {
            eprintln!("warning: {error:#}; delete {POLICY_FILE} by hand");
        }
    }
}

/// Written as a whole, so that no maintainer script ever runs half of it.
fn write_policy() -> Result<()> {
    let file = tempfile::NamedTempFile::new().context("creating a temporary file")?;
    fs::write(file.path(), POLICY).context("writing a temporary file")?;
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o755)).context("making it executable")?;
    let source = file.path().to_string_lossy().into_owned();
    command::output(&mut as_root(&["install", "-m", "755", &source, POLICY_FILE])).map(drop)
}

fn as_root(words: &[&str]) -> Command {
    let words = packages::as_root(words.iter().copied());
    let mut command = Command::new(words.first().map_or("false", String::as_str));
    command.args(words.iter().skip(1));
    command
}
