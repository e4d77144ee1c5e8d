//! Why the store could not do something: cause and remedy.

use std::path::PathBuf;

/// An error of any backend.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room on the disk, or the size limit is reached.
    #[error(
        "the store is full: {cause}. Free space on its disk, raise store.bytes_max, or lower store.calls_max_rows; \
         nothing already stored is lost and agents keep what was not taken"
    )]
    Full {
        /// What was refused.
        cause: String,
    },
    /// The file is not a database or is damaged.
    #[error(
        "{} is damaged or is not an Eastwatch database: {cause}. It was left untouched: restore a backup, or move the file \
         away and start with an empty one", path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        cause: String,
    },
    /// Another process holds it.
    #[error("{} is in use by another process: {cause}. Only one collector may write to it; stop the other one", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// What was refused.
        cause: String,
    },
    /// Written by a newer collector.
    #[error(
        "{} has schema version {found}, this collector knows up to {known}. Run the newer collector, or restore a backup \
         made before the upgrade", path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest one known.
        known: i64,
    },
    /// The file or its directory cannot be used.
    #[error(
        "cannot open {}: {cause}. Check that the directory exists and that this user may write to it, or set store.path",
        path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// What was refused.
        cause: String,
    },
    /// The query took too long.
    #[error(
        "the query was given up after its time limit. Ask for a shorter time range or more selective filters"
    )]
    Timeout,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// Anything else.
    #[error("the store failed while {doing}: {cause}")]
    Failed {
        /// What it was doing.
        doing: &'static str,
        /// What was refused.
        cause: String,
    },
}
