//! Kernels that were fetched: kept outside the checkout, so that each is fetched once, and compared with their checksums at each use.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::command;
use crate::vm_test::archive::{Apt, Mirrors};
use crate::vm_test::image::Payload;
use crate::vm_test::kernels::{self, Kernel, Package};
use crate::vm_test::package;
use crate::workspace::Workspace;

/// Names below a kernel's directory: the record, the kernel itself, the directory of its modules.
const RECORD: &str = "kernel.json";
const ELF: &str = "vmlinux.elf";
const MODULES: &str = "modules";

/// A kernel that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    pub package: String,
    pub version: String,
    /// Of the package file, as apt's signed index has it and as it was fetched.
    pub package_sha256: String,
    /// Of the kernel that was taken from it.
    pub elf_sha256: String,
    /// Names of the modules that were looked for in its packages.
    pub modules_sought: Vec<String>,
    /// Of its modules, by the name of the file. Those that it was built without are not there.
    pub modules_sha256: BTreeMap<String, String>,
    /// Where all of it lies; not recorded, so that the cache may be moved.
    #[serde(skip)]
    directory: PathBuf,
}

impl Stored {
    /// The kernel.
    pub fn elf(&self) -> PathBuf {
        self.directory.join(ELF)
    }

    /// Its modules, in the order in which they are loaded.
    pub fn modules(&self) -> Vec<PathBuf> {
        let there = kernels::MODULES
            .iter()
            .filter(|name| self.modules_sha256.contains_key(**name));
        there.map(|name| self.module(name)).collect()
    }

    fn module(&self, name: &str) -> PathBuf {
        self.directory.join(MODULES).join(name)
    }

    /// Whether everything is as it was recorded.
    fn is_whole(&self) -> Result<bool> {
        for (name, sha256) in &self.modules_sha256 {
            if checksum(&self.module(name))? != *sha256 {
                return Ok(false);
            }
        }
        Ok(checksum(&self.elf())? == self.elf_sha256)
    }
}

/// The kernel, fetched unless it is there.
pub fn ensure(workspace: &Workspace, kernel: &Kernel) -> Result<Stored> {
    let directory = directory(workspace, kernel);
    let stored = match load(&directory) {
        Some(stored) => stored,
        None => fetch(&directory, kernel).with_context(|| format!("getting kernel {}", kernel.series))?,
    };
    eprintln!(
        "     kernel {}: {} {}, package sha256 {}",
        kernel.series, stored.package, stored.version, stored.package_sha256
    );
    let (major, minor) = kernels::series_of(&stored.package).unwrap_or_default();
    if kernels::numbers(kernel.series) != Some((major, minor)) {
        eprintln!(
            "     note: {} is gone from its suite; {major}.{minor} is taken in its place",
            kernel.series
        );
    }
    Ok(stored)
}

/// The version of the kernel that is there, if it is.
pub fn version(workspace: &Workspace, kernel: &Kernel) -> Option<String> {
    load(&directory(workspace, kernel)).map(|stored| stored.version)
}

fn directory(workspace: &Workspace, kernel: &Kernel) -> PathBuf {
    workspace.cache.join("kernels").join(kernel.series)
}

/// What is recorded, when the kernel is there and is the one that was recorded.
fn load(directory: &Path) -> Option<Stored> {
    let record = fs::read(directory.join(RECORD)).ok()?;
    let mut stored: Stored = serde_json::from_slice(&record).ok()?;
    directory.clone_into(&mut stored.directory);
    let is_whole = stored.modules_sought == kernels::MODULES && stored.is_whole().ok()?;
    is_whole.then_some(stored)
}

/// Fetches, checks and unpacks. The record comes last: without it nothing counts as there.
fn fetch(directory: &Path, kernel: &Kernel) -> Result<Stored> {
    let mirrors = Mirrors::detect()?;
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    let temporary = tempfile::tempdir_in(directory).context("creating a temporary directory")?;
    let apt = Apt::update(&temporary.path().join("apt"), &mirrors, kernel)?;
    let package = apt.find(kernel)?;
    let file = checked(&apt, &package, &temporary.path().join("package"))?;
    let image = package::find(&file, "vmlinuz")?
        .into_iter()
        .next()
        .with_context(|| format!("{} holds no kernel image", package.name))?;
    let payload = Payload::find(&image.content)?;
    let elf = package::decompressed(payload.compression.program(), payload.bytes)?;
    payload.check(&elf)?;
    let mut stored = Stored {
        package_sha256: package.sha256.clone(),
        elf_sha256: String::new(),
        modules_sought: kernels::MODULES.map(str::to_owned).into(),
        modules_sha256: BTreeMap::new(),
        directory: directory.to_owned(),
        package: package.name,
        version: package.version,
    };
    write(&stored.elf(), &elf)?;
    stored.elf_sha256 = checksum(&stored.elf())?;
    let name = kernels::modules_package(&stored.package);
    let modules = if name == stored.package {
        file
    } else {
        checked(&apt, &apt.package(&name)?, &temporary.path().join("modules"))?
    };
    for name in kernels::MODULES {
        for module in package::find(&modules, name)? {
            write(&stored.module(name), &module.plain()?)?;
            let sha256 = checksum(&stored.module(name))?;
            stored.modules_sha256.insert(name.to_owned(), sha256);
        }
    }
    let record = serde_json::to_vec_pretty(&stored)?;
    write(&directory.join(RECORD), &record)?;
    Ok(stored)
}

/// Fetches a package whose checksum is the index's.
fn checked(apt: &Apt, package: &Package, into: &Path) -> Result<PathBuf> {
    let file = apt.download(package, into)?;
    let sha256 = checksum(&file)?;
    if sha256 != package.sha256 {
        bail!(
            "{} has sha256 {sha256}, and the index says {}",
            file.display(),
            package.sha256
        );
    }
    Ok(file)
}

fn write(file: &Path, content: &[u8]) -> Result<()> {
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    fs::write(file, content).with_context(|| format!("writing {}", file.display()))
}

/// SHA-256 of a file, in hexadecimal digits.
fn checksum(file: &Path) -> Result<String> {
    let printed = command::output(Command::new("sha256sum").arg("--binary").arg(file))?;
    let digits = printed.split_whitespace().next().unwrap_or_default();
    // A name with unusual characters is announced by a backslash.
    Ok(digits.trim_start_matches('\\').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_not_there() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path();
        let mut stored = Stored {
            package: "linux-image-1".into(),
            version: "1".into(),
            package_sha256: "00".into(),
            elf_sha256: String::new(),
            modules_sought: kernels::MODULES.map(str::to_owned).into(),
            modules_sha256: BTreeMap::new(),
            directory: directory.to_owned(),
        };
        let module = stored.module("tls.ko");
        write(&stored.elf(), b"kernel").unwrap();
        write(&module, b"module").unwrap();
        stored.elf_sha256 = checksum(&stored.elf()).unwrap();
        let sha256 = checksum(&module).unwrap();
        stored.modules_sha256.insert("tls.ko".into(), sha256);
        assert_eq!(load(directory), None);
        let record = serde_json::to_vec(&stored).unwrap();
        write(&directory.join(RECORD), &record).unwrap();
        assert_eq!(load(directory).as_ref(), Some(&stored));
        assert_eq!(stored.modules(), std::slice::from_ref(&module));
        for file in [stored.elf(), module] {
            let before = fs::read(&file).unwrap();
            write(&file, b"another").unwrap();
            assert_eq!(load(directory), None, "{}", file.display());
            write(&file, &before).unwrap();
        }
        assert_eq!(load(directory), Some(stored.clone()));
        // Fetched by a version that needed others.
        stored.modules_sought.pop();
        let record = serde_json::to_vec(&stored).unwrap();
        write(&directory.join(RECORD), &record).unwrap();
        assert_eq!(load(directory), None);
    }

    #[test]
    fn checksums_are_those_of_the_standard() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            checksum(file.path()).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
