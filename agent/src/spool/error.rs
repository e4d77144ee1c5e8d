//! Why the spool cannot use its directory: cause and remedy.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// What went wrong with the spool's directory.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another agent has it.
    #[error(
        "the spool {} is in use by another agent{holder}; stop that agent or give this one a spool directory of its own", dir.display()
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// " (process 123)" where the other wrote its id.
        holder: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}; {}", path.display(), remedy(source))]
    Io {
        /// What was tried, as "write to".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
}

impl SpoolError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Whether both have the same cause, so that the second need not be told.
    pub(super) fn same_cause(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Locked { .. }, Self::Locked { .. }) => true,
            (Self::Io { source: a, .. }, Self::Io { source: b, .. }) => a.kind() == b.kind(),
            _ => false,
        }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free space on that file system, or lower the spool's max_bytes below what is free"
        }
        ErrorKind::PermissionDenied => "let the agent's user write there, or set another spool directory",
        ErrorKind::ReadOnlyFilesystem => "mount it writable, or set a spool directory on a writable volume",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "a file is in the way: remove it, or set another spool directory"
        }
        ErrorKind::NotFound => {
            "the directory or file was removed while in use: restore it, or restart the agent"
        }
        _ => "check the disk and the kernel's log, or set another spool directory",
    }
}
