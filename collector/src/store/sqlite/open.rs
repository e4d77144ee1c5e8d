//! Opening the database: what it is, whether it is ours, whether nobody else writes to it; then its schema.
//!
//! Invariant: a file that is not an intact Eastwatch database of a known version is never written to.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::store::StoreError;

/// SQLite's application id of our files: "EWDB".
pub(super) const APPLICATION_ID: i32 = 0x4557_4442;

/// Schema changes in order; the index of one plus 1 is the version that it leads to.
pub(super) const MIGRATIONS: [&str; 6] = [
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
];

/// How long to wait for a lock that another connection holds for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Prepared statements kept by each connection.
const STATEMENTS_CACHED: usize = 128;

/// Size to which the write-ahead log is cut back after a checkpoint, bytes.
const WAL_BYTES_KEPT: i64 = 64 << 20;

/// The writer's connection, and the lock that makes it the only one. The lock ends with this value.
pub struct Writable {
    /// The connection.
    pub connection: Connection,
    /// Held for as long as the connection.
    pub lock: File,
}

/// Opens for writing, creating the file when it is missing and bringing its schema up to date.
///
/// # Errors
/// See [`StoreError`]; the file is unchanged then.
pub fn writable(path: &Path, bytes_max: u64) -> Result<Writable, StoreError> {
    let lock = lock(path)?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(|error| at_open(path, &error))?;
    prepare(&connection).map_err(|error| at_open(path, &error))?;
    let version = check(&connection, path)?;
    migrate(&mut connection, version).map_err(|error| at_open(path, &error))?;
    limit(&connection, bytes_max).map_err(|error| at_open(path, &error))?;
    Ok(Writable { connection, lock })
}

/// Opens for reading only.
///
/// # Errors
/// See [`StoreError`].
pub fn readable(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| at_open(path, &error))?;
    prepare(&connection).map_err(|error| at_open(path, &error))?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// Takes the lock file beside the database; SQLite's own locks come and go with each transaction.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock_path = PathBuf::from(name);
    let open = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path);
    let file = open.map_err(|error| StoreError::Open {
        path: path.to_owned(),
        cause: format!("its lock file {}: {error}", lock_path.display()),
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
            path: path.to_owned(),
            cause: format!("{} is locked", lock_path.display()),
        }),
        Err(TryLockError::Error(error)) => Err(StoreError::Open {
            path: path.to_owned(),
            cause: format!("locking {}: {error}", lock_path.display()),
        }),
    }
}

/// The schema's version, 0 for an empty file.
fn check(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let read = |pragma: &str| -> Result<i64, StoreError> {
        connection
            .query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
            .map_err(|error| at_open(path, &error))
    };
    let tables: i64 = connection
        .query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| at_open(path, &error))?;
    let application = read("application_id")?;
    if tables == 0 && application == 0 {
        return Ok(0);
    }
    if application != i64::from(APPLICATION_ID) {
        let cause = "it is an SQLite database of another program".to_owned();
        return Err(StoreError::Corrupt {
            path: path.to_owned(),
            cause,
        });
    }
    let found = read("user_version")?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(StoreError::NewerSchema {
            path: path.to_owned(),
            found,
            known,
        });
    }
    Ok(found)
}

fn migrate(connection: &mut Connection, version: i64) -> rusqlite::Result<()> {
    // FULL: what is acknowledged must survive a power failure. Group commit pays for it.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    let done = usize::try_from(version).unwrap_or_default();
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.execute_batch(
            "CREATE TABLE IF NOT EXISTS _migrations (version INTEGER PRIMARY KEY, applied_us INTEGER NOT NULL)",
        )?;
        let applied = crate::timestamp::Timestamp::now().us();
        transaction.execute(
            "INSERT INTO _migrations VALUES (?1, ?2)",
            (index as i64 + 1, applied),
        )?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", index as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

fn limit(connection: &Connection, bytes_max: u64) -> rusqlite::Result<()> {
    if bytes_max == 0 {
        return Ok(());
    }
    let page_bytes: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let pages = i64::try_from(bytes_max).unwrap_or(i64::MAX) / page_bytes.max(1);
    connection.query_row(&format!("PRAGMA max_page_count = {}", pages.max(1)), [], |_| {
        Ok(())
    })
}

fn at_open(path: &Path, error: &rusqlite::Error) -> StoreError {
    match explain(path, "opening it", error) {
        StoreError::Failed { cause, .. } => StoreError::Open {
            path: path.to_owned(),
            cause,
        },
        known => known,
    }
}

/// SQLite's error as ours.
pub fn explain(path: &Path, doing: &'static str, error: &rusqlite::Error) -> StoreError {
    let cause = error.to_string();
    let path = path.to_owned();
    match error.sqlite_error().map(|e| (e.code, e.extended_code)) {
        Some((ErrorCode::DiskFull, _)) => StoreError::Full { cause },
        // A write beyond a quota or a file size limit is an I/O error to SQLite, with the same cause and remedy.
        Some((_, rusqlite::ffi::SQLITE_IOERR_WRITE)) => StoreError::Full { cause },
        Some((ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _)) => {
            StoreError::Corrupt { path, cause }
        }
        Some((ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _)) => StoreError::Locked { path, cause },
        Some((ErrorCode::OperationInterrupted, _)) => StoreError::Timeout,
        _ => StoreError::Failed { doing, cause },
    }
}
