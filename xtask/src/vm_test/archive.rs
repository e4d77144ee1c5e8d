//! The machine's own package source, asked for another suite: apt with directories of its own, so that what the machine knows and
//! installs stays as it is.
//!
//! apt checks the signature of each suite's index with the keys that the machine trusts, and each package with that index.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::vm_test::kernels::{self, Archive, Kernel, Package};

/// The component that holds kernels.
const COMPONENT: &str = "main";

/// Name of apt's configuration.
const CONFIGURATION: &str = "apt.conf";

/// What the codename of a suite of security updates ends with.
const SECURITY_SUFFIX: &str = "-security";

/// Where the machine's package source keeps the two archives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    releases: Option<String>,
    security: Option<String>,
}

impl Mirrors {
    /// From what apt is configured with.
    pub fn detect() -> Result<Self> {
        let mut targets = Command::new("apt-get");
        targets.args([
            "indextargets",
            "--format",
            "$(ORIGIN) $(CODENAME) $(REPO_URI)",
            "Identifier: Packages",
        ]);
        let listing = command::output(&mut targets).context("asking apt for its package sources")?;
        let mirrors = Self::parse(&listing);
        if mirrors.releases.is_none() {
            bail!(
                "apt has no package source of Debian, from which the kernels come: run `apt-get update`, or add one to \
                 /etc/apt/sources.list.d"
            );
        }
        Ok(mirrors)
    }

    /// Lines of origin, codename and base address; the first of each kind counts.
    fn parse(listing: &str) -> Self {
        let find = |security: bool| {
            listing.lines().find_map(|line| {
                let mut words = line.split_whitespace();
                let (origin, codename, address) = (words.next()?, words.next()?, words.next()?);
                let fits = origin == "Debian" && codename.ends_with(SECURITY_SUFFIX) == security;
                fits.then(|| address.to_owned())
            })
        };
        Self {
            releases: find(false),
            security: find(true),
        }
    }

    /// Lines for apt with the suites of a kernel; none for an archive that the machine does not use.
    fn sources(&self, kernel: &Kernel) -> String {
        kernel
            .suites
            .iter()
            .filter_map(|(archive, suite)| {
                let address = match archive {
                    Archive::Releases => &self.releases,
                    Archive::Security => &self.security,
                };
                let address = address.as_ref()?;
                Some(format!("deb [arch=amd64] {address} {suite} {COMPONENT}\n"))
            })
            .collect()
    }
}

/// apt for one kernel's suites.
#[derive(Debug)]
pub struct Apt {
    directory: PathBuf,
    suites: String,
    /// What went wrong with an index, which matters when no other has the kernel.
    trouble: Option<String>,
}

impl Apt {
    /// Fetches the indices of the suites.
    pub fn update(directory: &Path, mirrors: &Mirrors, kernel: &Kernel) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.join(part))
                .with_context(|| format!("creating {}", directory.display()))?;
        }
        fs::write(directory.join("sources.list"), mirrors.sources(kernel))
            .context("writing apt's sources")?;
        fs::write(directory.join(CONFIGURATION), configuration(directory))
            .context("writing apt's configuration")?;
        let names: Vec<&str> = kernel.suites.iter().map(|(_, suite)| *suite).collect();
        let mut apt = Self {
            directory: directory.to_owned(),
            suites: names.join(" and "),
            trouble: None,
        };
        let updated = command::run(apt.get().args(["update", "--quiet", "--error-on=any"]));
        apt.trouble = updated.err().map(|error| format!("{error:#}"));
        Ok(apt)
    }

    /// The newest package of the kernel's series, or of the next where that has moved on.
    pub fn find(&self, kernel: &Kernel) -> Result<Package> {
        let mut names = String::new();
        for prefix in kernels::PREFIXES {
            names.push_str(&command::output(self.cache().args(["pkgnames", prefix]))?);
        }
        let names: Vec<&str> = names.lines().collect();
        let candidates = kernels::candidates(kernel, &names);
        let found = if candidates.is_empty() {
            None
        } else {
            let shown = command::output(self.cache().args(["show", "--no-all-versions"]).args(&candidates))?;
            kernels::newest(kernels::parse_show(&shown))
        };
        found.with_context(|| {
            let mut there: Vec<String> = names
                .iter()
                .filter_map(|name| kernels::series_of(name))
                .map(|(major, minor)| format!("{major}.{minor}"))
                .collect();
            there.sort();
            there.dedup();
            match &self.trouble {
                Some(trouble) => format!(
                    "kernel {} cannot be had from {}: {trouble}. Where apt says above that an index is not there, the distribution has \
                     retired the suite: name another in `xtask/src/vm_test/kernels.rs`. Where apt cannot check a signature, install \
                     the package debian-archive-keyring of a newer release",
                    kernel.series, self.suites
                ),
                None => format!(
                    "{} has no kernel {} for VMs any more, only: {}; take another series in `xtask/src/vm_test/kernels.rs`",
                    self.suites,
                    kernel.series,
                    there.join(" ")
                ),
            }
        })
    }

    /// The newest package of this name.
    pub fn package(&self, name: &str) -> Result<Package> {
        let shown = command::output(self.cache().args(["show", "--no-all-versions", name]))?;
        kernels::newest(kernels::parse_show(&shown))
            .with_context(|| format!("{} has no package {name}", self.suites))
    }

    /// Fetches the package into a directory and gives its path there. apt has compared it with the index.
    pub fn download(&self, package: &Package, into: &Path) -> Result<PathBuf> {
        fs::create_dir_all(into).with_context(|| format!("creating {}", into.display()))?;
        let wanted = format!("{}={}", package.name, package.version);
        command::run(
            self.get()
                .args(["download", "--quiet", &wanted])
                .current_dir(into),
        )
        .with_context(|| {
            format!("the machine's package source does not give {wanted}: is it reachable, and still what its index says?")
        })?;
        let entries = fs::read_dir(into).with_context(|| format!("reading {}", into.display()))?;
        entries
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .with_context(|| format!("apt left no package in {}", into.display()))
    }

    fn get(&self) -> Command {
        self.configured("apt-get")
    }

    fn cache(&self) -> Command {
        self.configured("apt-cache")
    }

    fn configured(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .arg("-c")
            .arg(self.directory.join(CONFIGURATION))
            .env("LC_ALL", "C");
        command
    }
}

/// apt's own settings for a directory of its own.
fn configuration(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "Dir::Etc::sourcelist \"{directory}/sources.list\";
Dir::Etc::sourceparts \"-\";
Dir::State::lists \"{directory}/lists\";
Dir::Cache \"{directory}/cache\";
APT::Architecture \"amd64\";
// The user that apt fetches as cannot write here.
APT::Sandbox::User \"root\";
// Kernels have no translations, icons or lists of files that matter here.
Acquire::Languages \"none\";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled \"false\";
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_mirrors_are_used_with_other_suites() {
        let listing = "Other tool http://x.test/tool/\nDebian bookworm http://m.test/debian/\n\
                       Debian bookworm-updates http://second.test/debian/\nDebian bookworm-security http://m.test/security/\n";
        let mirrors = Mirrors::parse(listing);
        let [old, .., new] = kernels::KERNELS;
        assert_eq!(
            mirrors.sources(&old),
            "deb [arch=amd64] http://m.test/security/ bullseye-security main\n\
             deb [arch=amd64] http://m.test/debian/ bullseye main\n"
        );
        assert_eq!(
            mirrors.sources(&new),
            "deb [arch=amd64] http://m.test/debian/ sid main\n"
        );
        let without_security = Mirrors::parse("Debian bookworm http://m.test/debian/\n");
        assert_eq!(
            without_security.sources(&old),
            "deb [arch=amd64] http://m.test/debian/ bullseye main\n"
        );
        assert_eq!(Mirrors::parse("Ubuntu noble http://u.test/\n").releases, None);
    }
}
