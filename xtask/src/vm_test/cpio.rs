//! The archive that a kernel unpacks as its first root file system: cpio in the format `newc`
//! (Documentation/driver-api/early-userspace/buffer-format.rst of Linux), not compressed, because unpacking is emulated.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

/// What each entry starts with.
const MAGIC: &str = "070701";

/// Name of the last entry.
const TRAILER: &str = "TRAILER!!!";

/// Everything is aligned to so many bytes.
const ALIGNMENT: usize = 4;

/// Kinds of files (`S_IFMT`) with their permissions.
const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const SYMLINK: u32 = 0o120_777;

/// An archive that is being written. Directories are made as files need them; everything belongs to root.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    /// Paths of what is in it, without the first `/`.
    paths: BTreeSet<String>,
}

impl Archive {
    /// Adds an executable file at this absolute path; nothing when there is something already.
    pub fn file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.add(path, EXECUTABLE, content)
    }

    /// Adds a symbolic link at this absolute path.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.add(path, SYMLINK, target.as_bytes())
    }

    /// Adds an empty directory.
    pub fn directory(&mut self, path: &str) -> Result<()> {
        self.add(path, DIRECTORY, &[])
    }

    /// The archive with its end.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.entry(TRAILER, 0, &[])?;
        Ok(self.bytes)
    }

    fn add(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let path = path.trim_start_matches('/');
        if path.is_empty() || self.paths.contains(path) {
            return Ok(());
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.add(parent, DIRECTORY, &[])?;
        }
        self.paths.insert(path.to_owned());
        self.entry(path, mode, content)
    }

    /// Thirteen numbers of eight hexadecimal digits, the name with its NUL, the content.
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        let number = u32::try_from(self.paths.len()).context("too many files")?;
        let size = u32::try_from(content.len()).with_context(|| format!("{name} is too large"))?;
        let name_size = u32::try_from(name.len() + 1).context("a name is too long")?;
        let links = 1;
        let fields = [number, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(MAGIC.as_bytes());
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
        Ok(())
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn an_entry_is_what_the_format_says() {
        let mut archive = Archive::default();
        archive.link("/a", "bc").unwrap();
        let bytes = archive.finish().unwrap();
        let fields = [
            "070701", "00000001", "0000a1ff", "00000000", "00000000", "00000001", "00000000", "00000002",
            "00000000", "00000000", "00000000", "00000000", "00000002", "00000000",
        ];
        // The name and its NUL end at byte 112, a multiple of four; the content is filled up to the next one.
        let entry = [fields.concat().as_bytes(), b"a\x00", b"bc\x00\x00", b"070701"].concat();
        assert_eq!(
            String::from_utf8_lossy(bytes.get(..entry.len()).unwrap()),
            String::from_utf8_lossy(&entry)
        );
        assert_eq!(bytes.len() % ALIGNMENT, 0);
    }

    #[test]
    fn another_program_unpacks_it() {
        let mut archive = Archive::default();
        archive.file("/bin/program", b"#!").unwrap();
        archive.file("/bin/program", b"never").unwrap();
        archive.file("/bin/empty", b"").unwrap();
        archive.link("/bin/other", "program").unwrap();
        archive.directory("/proc").unwrap();
        let bytes = archive.finish().unwrap();

        let directory = tempfile::tempdir().unwrap();
        let mut cpio = Command::new("cpio")
            .args(["--extract", "--quiet", "--no-absolute-filenames"])
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        cpio.stdin.take().unwrap().write_all(&bytes).unwrap();
        assert!(cpio.wait().unwrap().success());
        let program = directory.path().join("bin/program");
        assert_eq!(std::fs::read(&program).unwrap(), b"#!");
        assert_eq!(
            std::fs::metadata(&program).unwrap().permissions().mode() & 0o777,
            0o755
        );
        assert_eq!(std::fs::read(directory.path().join("bin/other")).unwrap(), b"#!");
        assert_eq!(std::fs::read(directory.path().join("bin/empty")).unwrap(), b"");
        assert!(directory.path().join("proc").is_dir());
    }
}
