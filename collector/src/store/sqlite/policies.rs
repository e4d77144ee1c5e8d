//! The policy last put, with the fingerprint key.

use rusqlite::{Connection, OptionalExtension};

use crate::store::StoredPolicy;

use super::select::{int, uint};

const VERSION: &str = "policy_version";
const TOML: &str = "policy_toml";
const KEY: &str = "fingerprint_key";
const EPOCH: &str = "fingerprint_epoch";

/// The policy, if one was put.
pub fn get(connection: &Connection) -> rusqlite::Result<Option<StoredPolicy>> {
    let Some(version) = value::<i64>(connection, VERSION)? else {
        return Ok(None);
    };
    let (Some(capture_toml), Some(fingerprint_key), Some(fingerprint_epoch)) = (
        value(connection, TOML)?,
        value(connection, KEY)?,
        value(connection, EPOCH)?,
    ) else {
        return Ok(None);
    };
    Ok(Some(StoredPolicy {
        version: uint(version),
        capture_toml,
        fingerprint_key,
        fingerprint_epoch,
    }))
}

/// Replaces it. The caller's transaction makes it one step.
pub fn put(connection: &Connection, policy: &StoredPolicy) -> rusqlite::Result<()> {
    let mut replace =
        connection.prepare_cached("INSERT OR REPLACE INTO _meta (key, value) VALUES (?1, ?2)")?;
    replace.execute((VERSION, int(policy.version)))?;
    replace.execute((TOML, &policy.capture_toml))?;
    replace.execute((KEY, policy.fingerprint_key))?;
    replace.execute((EPOCH, policy.fingerprint_epoch))?;
    Ok(())
}

fn value<T: rusqlite::types::FromSql>(connection: &Connection, key: &str) -> rusqlite::Result<Option<T>> {
    let mut find = connection.prepare_cached("SELECT value FROM _meta WHERE key = ?1")?;
    find.query_row([key], |row| row.get(0)).optional()
}
