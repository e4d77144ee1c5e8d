//! Which crate may depend on which, and what the sans-io crates must not touch.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::metadata::{Metadata, Package};
use crate::workspace::Workspace;

/// Crate → the workspace crates that it may depend on. `tests` drives everything and is absent on purpose.
const ALLOWED: &[(&str, &[&str])] = &[
    ("agent-common", &[]),
    ("agent-ebpf", &["agent-common"]),
    ("catalog", &[]),
    ("detect", &["catalog", "policy", "protocol"]),
    (
        "eastwatch-agent",
        &["agent-common", "catalog", "detect", "policy", "protocol", "wire"],
    ),
    ("eastwatch-collector", &["catalog", "policy", "wire"]),
    (
        "fuzz",
        &[
            "agent-common",
            "catalog",
            "detect",
            "eastwatch-agent",
            "policy",
            "protocol",
            "wire",
        ],
    ),
    ("policy", &[]),
    ("protocol", &[]),
    ("wire", &[]),
    ("xtask", &[]),
];

/// The crate that may depend on every other.
const END_TO_END: &str = "tests";

/// Crates that neither do I/O nor read a clock: what they need comes as parameters.
const SANS_IO: &[&str] = &["catalog", "detect", "policy", "protocol"];

/// Crates that would bring I/O or clocks into a sans-io crate.
const IO_CRATES: &[&str] = &[
    "axum", "futures", "hyper", "libc", "mio", "nix", "reqwest", "socket2", "tokio", "tonic",
];

/// Modules of the standard library that do I/O, start threads or look at the environment.
const IO_MODULES: &[&str] = &["env", "fs", "process", "thread"];

/// Types of the standard library that read clocks or open sockets. The address types of `std::net` are plain data.
const IO_TYPES: &[&str] = &[
    "Instant",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixListener",
    "UnixStream",
];

/// Fails with every violation, one a line.
pub fn check(workspace: &Workspace, metadata: &Metadata) -> Result<()> {
    let mut violations = dependency_violations(&metadata.packages);
    for package in metadata
        .packages
        .iter()
        .filter(|package| SANS_IO.contains(&package.name.as_str()))
    {
        for file in sources(&package.directory()?.join("src"))? {
            let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            let shown = file
                .strip_prefix(&workspace.root)
                .unwrap_or(&file)
                .display()
                .to_string();
            violations.extend(source_violations(&shown, &text));
        }
    }
    if violations.is_empty() {
        return Ok(());
    }
    bail!(
        "dependency directions are violated:\n  {}",
        violations.join("\n  ")
    )
}

/// `packages` are the workspace's own; edges of every kind count, also those of tests and build scripts.
fn dependency_violations(packages: &[Package]) -> Vec<String> {
    let members: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut violations = Vec::new();
    for package in packages.iter().filter(|package| package.name != END_TO_END) {
        let name = package.name.as_str();
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
            violations.push(format!("{name} has no row in the table of allowed dependencies"));
            continue;
        };
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            // A crate may name itself, to enable a feature in its own tests.
            if members.contains(to) && to != name && !allowed.contains(&to) {
                let may = if allowed.is_empty() {
                    "no workspace crate".to_owned()
                } else {
                    allowed.join(", ")
                };
                violations.push(format!("{name} depends on {to}, but may depend on {may}"));
            }
            if SANS_IO.contains(&name) && !dependency.is_for_development() && IO_CRATES.contains(&to) {
                violations.push(format!("{name} does no I/O, but depends on {to}"));
            }
        }
    }
    violations
}

/// `file` is a name for people; code under `#[cfg(test)]` at the end of a file, and files of tests, may do I/O.
fn source_violations(file: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    if file.ends_with("src/lib.rs") && !text.contains("#![forbid(unsafe_code)]") {
        violations.push(format!(
            "{file}: a sans-io crate starts with #![forbid(unsafe_code)]"
        ));
    }
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let code = line.trim();
        let tests_follow = code == "#[cfg(test)]"
            && lines
                .peek()
                .is_some_and(|(_, next)| next.trim().starts_with("mod "));
        if tests_follow {
            // `mod tests;` is one line, `mod tests {` is the rest of the file.
            if lines.peek().is_some_and(|(_, next)| next.trim().ends_with('{')) {
                break;
            }
            continue;
        }
        if code.starts_with("//") {
            continue;
        }
        if let Some(what) = forbidden_word(code) {
            violations.push(format!("{file}:{}: {what} in a sans-io crate", index + 1));
        }
    }
    violations
}

/// The first I/O module or type that a line of code names.
fn forbidden_word(code: &str) -> Option<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let words: Vec<&str> = code
        .split(|c: char| !is_word(c))
        .filter(|word| !word.is_empty())
        .collect();
    if let Some(found) = words.iter().find(|word| IO_TYPES.contains(word)) {
        return Some((*found).to_owned());
    }
    let from_std = code.contains("std::");
    let found = from_std.then(|| {
        let group = code.strip_prefix("use std::{");
        IO_MODULES.iter().find(|module| {
            code.contains(&format!("std::{module}::"))
                || code.contains(&format!("std::{module};"))
                || group.is_some_and(|group| group.split(|c: char| !is_word(c)).any(|word| word == **module))
        })
    });
    found.flatten().map(|module| format!("std::{module}"))
}

/// Every Rust file below `directory` that is not a file of tests, in order.
fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut pending = vec![directory.to_path_buf()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))? {
            let path = entry
                .with_context(|| format!("reading {}", directory.display()))?
                .path();
            let is_tests = path.file_stem().is_some_and(|stem| {
                let stem = stem.to_string_lossy();
                stem == "tests" || stem.ends_with("_tests")
            });
            if path.is_dir() && !is_tests {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_tests {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|(name, kind)| Dependency {
                name: (*name).into(),
                kind: kind.map(str::to_owned),
            })
            .collect();
        Package {
            dependencies,
            ..Package::named(name)
        }
    }

    #[test]
    fn accepts_the_directions_of_the_design() {
        let packages = [
            package("agent-common", &[]),
            package("catalog", &[("serde", None), ("tokio", Some("dev"))]),
            package("detect", &[("catalog", None), ("protocol", None)]),
            package("protocol", &[("protocol", Some("dev"))]),
            package("tests", &[("eastwatch-agent", Some("dev"))]),
        ];
        assert_eq!(dependency_violations(&packages), Vec::<String>::new());
    }

    #[test]
    fn catches_a_wrong_direction_a_newcomer_and_io() {
        for (packages, expected) in [
            (
                vec![package("catalog", &[("wire", None)]), package("wire", &[])],
                "catalog depends on wire, but may depend on no workspace crate",
            ),
            (
                vec![
                    package("eastwatch-collector", &[("protocol", Some("dev"))]),
                    package("protocol", &[]),
                ],
                "eastwatch-collector depends on protocol, but may depend on catalog, policy, wire",
            ),
            (
                vec![package("newcomer", &[])],
                "newcomer has no row in the table of allowed dependencies",
            ),
            (
                vec![package("protocol", &[("tokio", None)])],
                "protocol does no I/O, but depends on tokio",
            ),
        ] {
            assert_eq!(dependency_violations(&packages), [expected]);
        }
    }

    #[test]
    fn catches_io_in_sources() {
        for (line, found) in [
            ("use std::time::Instant;", Some("Instant")),
            ("let now = std::time::SystemTime::now();", Some("SystemTime")),
            ("use std::fs::File;", Some("std::fs")),
            ("use std::fs;", Some("std::fs")),
            ("use std::{collections::BTreeMap, fs};", Some("std::fs")),
            ("let socket: TcpStream = connect();", Some("TcpStream")),
            ("use std::net::IpAddr;", None),
            ("use std::time::Duration;", None),
            ("// std::fs is not used here", None),
            ("let offs = header.std::offsets;", None),
        ] {
            let expected: Vec<String> = found
                .map(|what| format!("a.rs:2: {what} in a sans-io crate"))
                .into_iter()
                .collect();
            assert_eq!(
                source_violations("a.rs", &format!("\n{line}\n")),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn tests_may_do_io_and_libraries_forbid_unsafe_code() {
        let forbid = "#![forbid(unsafe_code)]\n";
        let tests = "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(
            source_violations("x/src/lib.rs", &format!("{forbid}{tests}")),
            Vec::<String>::new()
        );
        assert_eq!(source_violations("x/src/lib.rs", tests).len(), 1);
        let after_a_tests_file = "#[cfg(test)]\nmod tests;\nuse std::fs;\n";
        assert_eq!(source_violations("a.rs", after_a_tests_file).len(), 1);
    }
}
