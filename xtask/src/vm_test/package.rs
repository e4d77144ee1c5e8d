//! What is in a Debian package, and how it is compressed there.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Name, without its directory.
    name: String,
    pub content: Vec<u8>,
}

impl Packed {
    /// The content as it was before it was compressed.
    pub fn plain(self) -> Result<Vec<u8>> {
        if self.name.ends_with(".xz") {
            return decompressed("xz", &self.content);
        }
        Ok(self.content)
    }
}

/// The files whose names, without directory, begin so.
pub fn find(package: &Path, beginning: &str) -> Result<Vec<Packed>> {
    let listing = tar(package, &["-t".to_owned()])?;
    let listing = String::from_utf8_lossy(&listing);
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let found = listing.lines().filter(|path| name(path).starts_with(beginning));
    found
        .map(|path| {
            Ok(Packed {
                name: name(path),
                content: tar(package, &["-x".to_owned(), "-O".to_owned(), path.to_owned()])?,
            })
        })
        .collect()
}

/// What tar says of the package's files.
fn tar(package: &Path, arguments: &[String]) -> Result<Vec<u8>> {
    let mut files = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("starting dpkg-deb")?;
    let archive = files.stdout.take().context("dpkg-deb has an output")?;
    let output = Command::new("tar")
        .args(arguments)
        .stdin(archive)
        .stderr(Stdio::inherit())
        .output()
        .context("starting tar")?;
    let unpacked = files.wait().context("waiting for dpkg-deb")?;
    if !output.status.success() || !unpacked.success() {
        bail!(
            "{} cannot be read: tar {}, dpkg-deb {unpacked}",
            package.display(),
            output.status
        );
    }
    Ok(output.stdout)
}

/// What `program` makes of it.
pub fn decompressed(program: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new(program)
        .args(["-d", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    let mut input = child.stdin.take().context("it has an input")?;
    // The other end is read meanwhile, or both would wait.
    let (written, output) = std::thread::scope(|scope| {
        let writer = scope.spawn(move || input.write_all(bytes));
        let output = child.wait_with_output();
        (writer.join(), output)
    });
    let output = output.with_context(|| format!("waiting for {program}"))?;
    if !output.status.success() {
        bail!("{program} ended with {}", output.status);
    }
    match written {
        Ok(written) => written.with_context(|| format!("giving {program} what it decompresses"))?,
        Err(_) => bail!("the thread that writes to {program} has panicked"),
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_are_found_by_their_names_and_decompressed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        let long = "module ".repeat(100_000);
        fs::create_dir_all(root.join("lib/net")).unwrap();
        fs::create_dir_all(root.join("DEBIAN")).unwrap();
        fs::write(
            root.join("DEBIAN/control"),
            "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: m <m@m.test>\nDescription: d\n",
        )
        .unwrap();
        fs::write(root.join("lib/net/tls.ko"), &long).unwrap();
        let packed = Command::new("xz")
            .arg(root.join("lib/net/tls.ko"))
            .status()
            .unwrap();
        assert!(packed.success());
        fs::write(root.join("lib/vmlinuz-1"), "image").unwrap();
        let package = directory.path().join("p.deb");
        let mut build = Command::new("dpkg-deb");
        build.args(["--build", "--root-owner-group"]);
        let built = build.arg(&root).arg(&package).output().unwrap();
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );

        let image = find(&package, "vmlinuz").unwrap();
        assert_eq!(image.len(), 1);
        assert_eq!(image[0].content, b"image");
        let module = find(&package, "tls.ko").unwrap().remove(0);
        assert_eq!(String::from_utf8(module.plain().unwrap()).unwrap(), long);
        assert_eq!(find(&package, "wireguard.ko").unwrap(), []);
        assert!(find(directory.path(), "vmlinuz").is_err());
    }

    #[test]
    fn what_is_not_compressed_is_an_error() {
        let error = decompressed("xz", b"plain").unwrap_err().to_string();
        assert!(error.contains("xz ended with"), "{error}");
    }
}
