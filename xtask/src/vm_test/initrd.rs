//! The file system that a VM starts with: the programs under test at the very paths that they have here, with the shared libraries
//! that they ask for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::vm_test::cpio::Archive;

/// Programs of busybox that something calls by name.
const APPLETS: [&str; 5] = ["sh", "insmod", "ip", "mount", "poweroff"];

/// Where modules lie.
const MODULES: &str = "/vm/modules";

/// Mount points, and directories that programs expect.
const DIRECTORIES: [&str; 9] = [
    "/dev",
    "/proc",
    "/root",
    "/run",
    "/sys",
    "/tmp",
    "/var/lib/eastwatch",
    "/var/lib/nginx",
    "/var/log/nginx",
];

/// Users that servers become.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";
const HOSTS: &str = "127.0.0.1 localhost\n";

/// What goes into it.
#[derive(Debug)]
pub struct Contents<'a> {
    /// The first process.
    pub init: &'a Path,
    /// What it does: `/vm/plan.json`.
    pub plan: &'a str,
    /// Programs of this workspace, stripped of debug information.
    pub built: &'a [PathBuf],
    /// Programs of the system.
    pub system: &'a [PathBuf],
    /// Modules of the kernel.
    pub modules: &'a [PathBuf],
    /// A busybox that needs no libraries.
    pub busybox: &'a Path,
}

/// The archive.
pub fn pack(contents: &Contents<'_>) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in DIRECTORIES {
        archive.directory(directory)?;
    }
    for (path, text) in [
        ("/etc/passwd", PASSWD),
        ("/etc/group", GROUP),
        ("/etc/hosts", HOSTS),
        ("/vm/plan.json", contents.plan),
    ] {
        archive.file(path, text.as_bytes())?;
    }
    archive.file("/bin/busybox", &read(contents.busybox)?)?;
    for applet in APPLETS {
        archive.link(&format!("/bin/{applet}"), "busybox")?;
    }
    archive.file("/init", &stripped(contents.init)?)?;
    for module in contents.modules {
        archive.file(&module_path(module), &read(module)?)?;
    }
    let mut libraries = libraries(contents.init)?;
    for program in contents.built {
        archive.file(text(program)?, &stripped(program)?)?;
        libraries.append(&mut self::libraries(program)?);
    }
    for program in contents.system {
        archive.file(text(program)?, &read(program)?)?;
        libraries.append(&mut self::libraries(program)?);
    }
    for library in libraries {
        archive.file(text(&library)?, &read(&library)?)?;
    }
    archive.finish()
}

/// Where the VM has this module.
pub fn module_path(module: &Path) -> String {
    let name = module.file_name().unwrap_or_default();
    format!("{MODULES}/{}", name.to_string_lossy())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("reading {}", file.display()))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}

/// A program without debug information, which is most of its size.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let file = tempfile::NamedTempFile::new().context("creating a temporary file")?;
    let mut strip = Command::new("strip");
    strip.args(["--strip-debug", "-o"]).arg(file.path()).arg(program);
    command::output(&mut strip)?;
    read(file.path())
}

/// The loader and every shared library that a program needs.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut ldd = Command::new("ldd");
    let listing = command::output(command::without_toolchain_variables(ldd.arg(program)))?;
    parse_ldd(&listing).with_context(|| format!("the libraries of {}", program.display()))
}

/// Reads lines such as `libc.so.6 => /lib/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`; what the kernel brings has no path.
fn parse_ldd(listing: &str) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for line in listing.lines() {
        let line = line.trim();
        if line.ends_with("=> not found") {
            bail!("{line}");
        }
        let file = line.rsplit("=> ").next().unwrap_or(line);
        if let Some((path, _)) = file.split_once(" (0x").filter(|(path, _)| path.starts_with('/')) {
            found.insert(path.into());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_with_a_path() {
        let listing = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected: BTreeSet<PathBuf> = ["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]
            .map(PathBuf::from)
            .into();
        assert_eq!(parse_ldd(listing).unwrap(), expected);
        assert_eq!(parse_ldd("\tstatically linked\n").unwrap(), BTreeSet::new());
        let error = parse_ldd("\tlibx.so => not found\n").unwrap_err();
        assert!(error.to_string().contains("libx.so"));
    }
}
