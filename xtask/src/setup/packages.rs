//! Debian packages: what apt knows, what an installation would cost, and whether it may be done here.

use std::collections::BTreeMap;
use std::env;
use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::command;
use crate::setup::plan::Invocation;

/// Set to anything but `0` or nothing: `setup` installs nothing and says what is missing.
pub const NO_INSTALL_VARIABLE: &str = "EASTWATCH_NO_INSTALL";

/// How this user becomes root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    Already,
    Sudo,
    No,
}

impl Root {
    /// `sudo` counts where it asks for no password or has a terminal to ask on.
    pub fn detect() -> Self {
        if nix::unistd::geteuid().is_root() {
            return Self::Already;
        }
        let passwordless = || {
            let mut sudo = Command::new("sudo");
            sudo.args(["-n", "true"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            sudo.status().is_ok_and(|status| status.success())
        };
        let found = command::find_program("sudo").is_some();
        if found && (std::io::stdin().is_terminal() || passwordless()) {
            Self::Sudo
        } else {
            Self::No
        }
    }
}

/// The words of a command that needs root, with `sudo` in front for everyone else.
pub fn as_root<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let sudo = (!nix::unistd::geteuid().is_root()).then_some("sudo");
    sudo.into_iter().chain(words).map(str::to_owned).collect()
}

/// Why packages cannot be installed here; `None` where they can.
pub fn obstacle() -> Option<String> {
    if let Some(reason) = forbidden() {
        return Some(reason);
    }
    if !has_apt() {
        return Some("there is no apt-get on this system".into());
    }
    (Root::detect() == Root::No).then(|| "this user is not root and cannot use sudo".into())
}

/// The obstacle that also holds for what needs no root.
pub fn forbidden() -> Option<String> {
    let set = env::var(NO_INSTALL_VARIABLE).is_ok_and(|value| !value.is_empty() && value != "0");
    set.then(|| format!("{NO_INSTALL_VARIABLE} is set"))
}

pub fn has_apt() -> bool {
    command::find_program("apt-get").is_some()
}

/// Refreshes what apt knows of its archives.
pub fn update() -> Invocation {
    Invocation::new(as_root(["apt-get", "update"]))
}

/// Installs without questions and without ever removing a package of the user's.
pub fn install<'a>(packages: impl IntoIterator<Item = &'a str>) -> Invocation {
    let fixed = [
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "install",
        "--quiet",
        "--yes",
        "--no-install-recommends",
        "--no-remove",
    ];
    // Through `env`, because sudo drops variables.
    Invocation::new(as_root(std::iter::once("env").chain(fixed).chain(packages)))
}

/// The version that apt would install of each package; a package that apt does not know, or cannot install, is missing.
pub fn candidates(packages: &[&str]) -> BTreeMap<String, String> {
    let mut policy = Command::new("apt-cache");
    policy.arg("policy").args(packages).env("LC_ALL", "C");
    parse_policy(&command::output(&mut policy).unwrap_or_default())
}

fn parse_policy(text: &str) -> BTreeMap<String, String> {
    let mut package = None;
    let mut found = BTreeMap::new();
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with(' ')) {
            package = Some(name);
        } else if let (Some(name), Some(version)) = (package, line.trim().strip_prefix("Candidate: "))
            && version != "(none)"
        {
            found.insert(name.to_owned(), version.to_owned());
        }
    }
    found
}

/// What apt says an installation would take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Simulation {
    Possible {
        cost: Option<String>,
    },
    /// In apt's words.
    Impossible(String),
}

/// Asks apt without changing anything: `--print-uris` never installs, whereas `--assume-no` does when apt sees nothing to ask.
pub fn simulate(packages: &[&str]) -> Simulation {
    let mut apt = Command::new("apt-get");
    apt.args([
        "install",
        "--no-install-recommends",
        "--no-remove",
        "--print-uris",
    ])
    .args(packages)
    .env("LC_ALL", "C");
    match apt.stdin(Stdio::null()).output() {
        Ok(output) => parse_simulation(
            &String::from_utf8_lossy(&output.stdout),
            &String::from_utf8_lossy(&output.stderr),
        ),
        Err(error) => Simulation::Impossible(format!("apt-get cannot be started: {error}")),
    }
}

fn parse_simulation(stdout: &str, stderr: &str) -> Simulation {
    if let Some(error) = stderr.lines().find_map(|line| line.strip_prefix("E: ")) {
        return Simulation::Impossible(error.to_owned());
    }
    let find = |prefix: &str, suffix: &str| {
        stdout
            .lines()
            .find_map(|line| line.strip_prefix(prefix)?.strip_suffix(suffix).map(str::to_owned))
    };
    let fetch = find("Need to get ", " of archives.").map(|size| format!("{size} to fetch"));
    let disk = find(
        "After this operation, ",
        " of additional disk space will be used.",
    )
    .map(|size| format!("{size} on disk"));
    let cost = fetch.into_iter().chain(disk).collect::<Vec<_>>().join(", ");
    Simulation::Possible {
        cost: (!cost.is_empty()).then_some(cost),
    }
}

/// Whether the package lists were ever fetched; without them apt knows nothing.
pub fn lists_are_empty() -> bool {
    let lists = std::fs::read_dir("/var/lib/apt/lists");
    !lists.is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            Path::new(&name).to_string_lossy().contains("_Packages")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_candidates_and_skips_what_apt_cannot_install() {
        let text = "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n  Version table:\n     \
                    1.96.0+dfsg1-1~deb12u2 500\n        500 http://x bookworm/main amd64 Packages\n\
                    rustup:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n";
        let found = parse_policy(text);
        assert_eq!(
            found.get("rustc-web").map(String::as_str),
            Some("1.96.0+dfsg1-1~deb12u2")
        );
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn reads_the_cost_and_the_refusal_of_an_installation() {
        let stdout = "Need to get 3787 kB of archives.\n\
                      After this operation, 15.5 MB of additional disk space will be used.\n";
        let cost = Some("3787 kB to fetch, 15.5 MB on disk".to_owned());
        assert_eq!(parse_simulation(stdout, ""), Simulation::Possible { cost });
        assert_eq!(parse_simulation("", ""), Simulation::Possible { cost: None });
        let refusal = "Packages need to be removed but remove is disabled.";
        assert_eq!(
            parse_simulation(stdout, &format!("E: {refusal}\n")),
            Simulation::Impossible(refusal.to_owned())
        );
    }
}
