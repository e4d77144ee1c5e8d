//! Who sends: the node, and this run of the agent on it.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Longest node name, bytes: that of a DNS name (RFC 1035 section 2.3.4).
const NODE_BYTES_MAX: usize = 253;

/// The host name of the agent's UTS namespace (proc_sys_kernel(5)).
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// Where the machine's id stands (machine-id(5)).
const MACHINE_ID: &str = "/etc/machine-id";

/// The first two parts of a batch's identity; its sequence is the third.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the node, the same after a restart.
    pub node: String,
    /// 128 random bits as lower-case hex, new at every start.
    pub boot: String,
}

/// Why no identity could be made.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No source gave a name.
    #[error(
        "this machine has neither a host name nor a machine id; set the node's name in the configuration"
    )]
    NoName,
    /// The kernel gave no random bytes.
    #[error("cannot read /dev/urandom: {0}; make the device available to the agent")]
    NoRandom(#[from] io::Error),
}

impl Identity {
    /// A new run on the node called `configured`, else by its host name, else by its machine id.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn new(configured: Option<&str>) -> Result<Self, IdentityError> {
        let node = configured
            .and_then(clean)
            .or_else(|| host_name(Path::new(HOST_NAME)))
            .or_else(|| machine_id(Path::new(MACHINE_ID)))
            .ok_or(IdentityError::NoName)?;
        Ok(Self {
            node,
            boot: random_hex()?,
        })
    }
}

/// Machines without a name of their own are all called the same.
fn host_name(path: &Path) -> Option<String> {
    short_file(path).filter(|name| name != "localhost" && name != "(none)")
}

fn machine_id(path: &Path) -> Option<String> {
    short_file(path).filter(|id| id != "uninitialized")
}

fn short_file(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path)
        .ok()?
        .take(NODE_BYTES_MAX as u64 + 2)
        .read_to_string(&mut text)
        .ok()?;
    clean(&text)
}

fn clean(name: &str) -> Option<String> {
    let name = name.trim();
    let fits = !name.is_empty() && name.len() <= NODE_BYTES_MAX && !name.chars().any(char::is_control);
    fits.then(|| name.to_owned())
}

fn random_hex() -> io::Result<String> {
    let mut bits = [0_u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut bits)?;
    Ok(bits.iter().fold(String::with_capacity(32), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_name_comes_first_and_every_run_is_new() {
        let first = Identity::new(Some(" node-7 ")).unwrap();
        let second = Identity::new(Some("node-7")).unwrap();
        assert_eq!(first.node, "node-7");
        assert_eq!(first.node, second.node);
        assert_ne!(first.boot, second.boot);
        assert!(first.boot.len() == 32 && first.boot.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
    }

    #[test]
    fn names_that_are_none_are_passed_over() {
        for name in ["", "  ", "a\nb", &"x".repeat(NODE_BYTES_MAX + 1)] {
            assert_eq!(clean(name), None, "{name:?}");
            assert!(!Identity::new(Some(name)).unwrap().node.is_empty());
        }
        assert_eq!(
            clean(&"x".repeat(NODE_BYTES_MAX)).map(|name| name.len()),
            Some(NODE_BYTES_MAX)
        );
    }

    #[test]
    fn names_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("machine-id");
        assert_eq!(machine_id(&path), None);
        std::fs::write(&path, "uninitialized\n").unwrap();
        assert_eq!(machine_id(&path), None);
        for (text, name) in [
            ("localhost\n", None),
            ("(none)\n", None),
            ("node-7\n", Some("node-7")),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(host_name(&path).as_deref(), name);
        }
        std::fs::write(&path, "0123456789abcdef0123456789abcdef\n").unwrap();
        assert_eq!(
            machine_id(&path).as_deref(),
            Some("0123456789abcdef0123456789abcdef")
        );
    }
}
