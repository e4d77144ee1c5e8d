//! Kernels that were fetched: kept outside the checkout, so that each is fetched once, and compared with their checksums at each use.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::command;
use crate::vm_test::archive::{Apt, Mirrors};
use crate::vm_test::image::Payload;
use crate::vm_test::kernels::{self, Kernel};
use crate::workspace::Workspace;

/// Names below a kernel's directory: the record, and the kernel itself.
const RECORD: &str = "kernel.json";
const ELF: &str = "vmlinux.elf";

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
    /// Where the kernel lies; not recorded, so that the cache may be moved.
    #[serde(skip)]
    pub elf: PathBuf,
}

/// The kernel, fetched unless it is there.
pub fn ensure(workspace: &Workspace, kernel: &Kernel) -> Result<Stored> {
    let directory = workspace.cache.join("kernels").join(kernel.series);
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

/// What is recorded, when the kernel is there and is the one that was recorded.
fn load(directory: &Path) -> Option<Stored> {
    let record = fs::read(directory.join(RECORD)).ok()?;
    let mut stored: Stored = serde_json::from_slice(&record).ok()?;
    stored.elf = directory.join(ELF);
    let found = checksum(&stored.elf).ok()?;
    (found == stored.elf_sha256).then_some(stored)
}

/// Fetches, checks and unpacks. The record comes last: without it nothing counts as there.
fn fetch(directory: &Path, kernel: &Kernel) -> Result<Stored> {
    let mirrors = Mirrors::detect()?;
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    let temporary = tempfile::tempdir_in(directory).context("creating a temporary directory")?;
    let apt = Apt::update(&temporary.path().join("apt"), &mirrors, kernel)?;
    let package = apt.find(kernel)?;
    let file = apt.download(&package, &temporary.path().join("package"))?;
    let sha256 = checksum(&file)?;
    if sha256 != package.sha256 {
        bail!(
            "{} has sha256 {sha256}, and the index says {}",
            file.display(),
            package.sha256
        );
    }
    let image = unpack(&file, &temporary.path().join("unpacked"))?;
    let image = fs::read(&image).with_context(|| format!("reading {}", image.display()))?;
    let elf = directory.join(ELF);
    extract(&image, &elf)?;
    let stored = Stored {
        package: package.name,
        version: package.version,
        package_sha256: sha256,
        elf_sha256: checksum(&elf)?,
        elf,
    };
    let record = serde_json::to_vec_pretty(&stored)?;
    fs::write(directory.join(RECORD), record).context("recording the kernel")?;
    Ok(stored)
}

/// Unpacks the kernel image alone and gives its path: below `boot`, or with newer packages below `usr/lib/modules`.
fn unpack(package: &Path, into: &Path) -> Result<PathBuf> {
    fs::create_dir_all(into).with_context(|| format!("creating {}", into.display()))?;
    let mut files = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("starting dpkg-deb")?;
    let listing = files.stdout.take().context("dpkg-deb has an output")?;
    let mut tar = Command::new("tar");
    tar.arg("-C")
        .arg(into)
        .args([
            "-x",
            "--no-anchored",
            "--wildcards",
            "--transform",
            "s|.*/||",
            "vmlinuz*",
        ])
        .stdin(listing);
    let status = tar.status().context("starting tar")?;
    let unpacked = files.wait().context("waiting for dpkg-deb")?;
    if !status.success() || !unpacked.success() {
        bail!(
            "{} holds no kernel image: tar {status}, dpkg-deb {unpacked}",
            package.display()
        );
    }
    let mut entries = fs::read_dir(into).with_context(|| format!("reading {}", into.display()))?;
    let entry = entries.next().context("a package without a kernel image")??;
    Ok(entry.path())
}

/// Decompresses the kernel in the image.
fn extract(image: &[u8], elf: &Path) -> Result<()> {
    let payload = Payload::find(image)?;
    let program = payload.compression.program();
    let output = File::create(elf).with_context(|| format!("creating {}", elf.display()))?;
    let mut child = Command::new(program)
        .args(["-d", "-c"])
        .stdin(Stdio::piped())
        .stdout(output)
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    let written = child
        .stdin
        .take()
        .context("it has an input")?
        .write_all(payload.bytes);
    let status = child.wait().with_context(|| format!("waiting for {program}"))?;
    written.with_context(|| format!("{program} ended with {status}"))?;
    if !status.success() {
        bail!("{program} ended with {status}");
    }
    payload.check(&fs::read(elf).with_context(|| format!("reading {}", elf.display()))?)
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
    fn a_kernel_that_was_changed_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let elf = directory.path().join(ELF);
        fs::write(&elf, "kernel").unwrap();
        let stored = Stored {
            package: "linux-image-1".into(),
            version: "1".into(),
            package_sha256: "00".into(),
            elf_sha256: checksum(&elf).unwrap(),
            elf: elf.clone(),
        };
        assert_eq!(load(directory.path()), None);
        fs::write(
            directory.path().join(RECORD),
            serde_json::to_vec(&stored).unwrap(),
        )
        .unwrap();
        assert_eq!(load(directory.path()), Some(stored));
        fs::write(&elf, "another").unwrap();
        assert_eq!(load(directory.path()), None);
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
