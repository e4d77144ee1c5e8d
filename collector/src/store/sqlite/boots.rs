//! Runs of agents and which of their batches were applied: exactly once by (node, boot, sequence).

use rusqlite::{Connection, OptionalExtension};

use crate::store::{BatchId, Outcome, SEQUENCE_WINDOW};
use crate::timestamp::Timestamp;

use super::select::{int, uint};

/// Claims the batch for applying. Returns the boot's row when it is new.
pub fn claim(connection: &Connection, id: &BatchId, at: Timestamp) -> rusqlite::Result<Result<i64, Outcome>> {
    let boot_id = boot_id(connection, &id.node, &id.boot, at)?;
    let mut newest = connection.prepare_cached("SELECT sequence_max FROM _boots WHERE id = ?1")?;
    let newest = uint(newest.query_row([boot_id], |row| row.get(0))?);
    if id.sequence.saturating_add(SEQUENCE_WINDOW) <= newest {
        return Ok(Err(Outcome::TooOld));
    }
    let sequence = int(id.sequence);
    let mut insert =
        connection.prepare_cached("INSERT OR IGNORE INTO _applied (boot_id, sequence) VALUES (?1, ?2)")?;
    if insert.execute((boot_id, sequence))? == 0 {
        return Ok(Err(Outcome::Duplicate));
    }
    let mut advance = connection.prepare_cached(
        "UPDATE _boots SET batches = batches + 1, sequence_max = MAX(sequence_max, ?2), last_seen_us = ?3 WHERE id = ?1",
    )?;
    advance.execute((boot_id, sequence, at.us()))?;
    let oldest = id.sequence.max(newest).saturating_sub(SEQUENCE_WINDOW);
    let mut forget =
        connection.prepare_cached("DELETE FROM _applied WHERE boot_id = ?1 AND sequence <= ?2")?;
    forget.execute((boot_id, int(oldest)))?;
    Ok(Ok(boot_id))
}

/// Notes a batch that could not be understood; once by sequence.
pub fn reject(connection: &Connection, id: &BatchId, reason: &str, at: Timestamp) -> rusqlite::Result<()> {
    let Ok(boot_id) = claim(connection, id, at)? else {
        return Ok(());
    };
    connection.execute(
        "UPDATE _boots SET batches = batches - 1, batches_rejected = batches_rejected + 1, last_rejection = ?2 WHERE id = ?1",
        (boot_id, reason),
    )?;
    Ok(())
}

fn boot_id(connection: &Connection, node: &str, boot: &str, at: Timestamp) -> rusqlite::Result<i64> {
    let mut find = connection.prepare_cached("SELECT id FROM _boots WHERE node = ?1 AND boot = ?2")?;
    if let Some(id) = find.query_row((node, boot), |row| row.get(0)).optional()? {
        return Ok(id);
    }
    connection.execute(
        "INSERT INTO _boots (node, boot, last_seen_us) VALUES (?1, ?2, ?3)",
        (node, boot, at.us()),
    )?;
    Ok(connection.last_insert_rowid())
}
