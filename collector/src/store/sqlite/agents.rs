//! Node agents: who they are, what they say of themselves, what became of their batches.

use rusqlite::{Connection, Row};

use crate::store::{Agent, AgentHello, AgentState, BatchId, CursorPart, Page, Paging};
use crate::timestamp::Timestamp;

use super::calls::{from_json, json};
use super::select::{Where, fetch_limit, int, page, uint};

/// Notes that an agent connected.
pub fn hello(connection: &Connection, hello: &AgentHello) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO agents (node, boot, version, policy_version, first_seen_us, last_seen_us) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT DO UPDATE SET boot = excluded.boot, version = excluded.version, \
         policy_version = excluded.policy_version, policy_error = '', \
         last_seen_us = MAX(last_seen_us, excluded.last_seen_us)",
    )?;
    upsert.execute((
        &hello.node,
        &hello.boot,
        &hello.version,
        int(hello.policy_version),
        hello.at.us(),
    ))?;
    Ok(())
}

/// Notes a batch, and the state in it unless a later one is known.
pub fn seen(
    connection: &Connection,
    id: &BatchId,
    created: Timestamp,
    received: Timestamp,
    state: Option<&AgentState>,
) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO agents (node, boot, first_seen_us, last_seen_us) VALUES (?1, ?2, ?3, ?3) \
         ON CONFLICT DO UPDATE SET last_seen_us = MAX(last_seen_us, excluded.last_seen_us)",
    )?;
    upsert.execute((&id.node, &id.boot, received.us()))?;
    let Some(state) = state else { return Ok(()) };
    let mut update = connection.prepare_cached(
        "UPDATE agents SET provider = ?3, kernel = ?4, hostname = ?5, started_us = ?6, connections = ?7, exchanges = ?8, \
         resident_bytes = ?9, drops = ?10, lowered = ?11, lowered_more = ?12, status_us = ?2 WHERE node = ?1 AND status_us <= ?2",
    )?;
    update.execute((
        &id.node,
        created.us(),
        &state.provider,
        &state.kernel,
        &state.hostname,
        state.started.us(),
        int(state.connections),
        int(state.exchanges),
        int(state.resident_bytes),
        json(&state.drops),
        json(&state.lowered),
        int(state.lowered_more),
    ))?;
    Ok(())
}

/// Notes that an agent applied a policy, or why it did not.
pub fn policy(
    connection: &Connection,
    node: &str,
    version: u64,
    error: &str,
    at: Timestamp,
) -> rusqlite::Result<()> {
    // A refused policy leaves the one before in force.
    connection.execute(
        "UPDATE agents SET policy_version = CASE WHEN ?3 = '' THEN ?2 ELSE policy_version END, policy_error = ?3, \
         last_seen_us = MAX(last_seen_us, ?4) WHERE node = ?1",
        (node, int(version), error, at.us()),
    )?;
    Ok(())
}

/// Removes agents, and runs of agents, not heard of since this time. Returns how many agents.
///
/// A run whose calls are still kept stays, because they refer to it.
pub fn evict_idle(connection: &Connection, before: Timestamp) -> rusqlite::Result<u64> {
    connection.execute(
        "DELETE FROM _applied WHERE boot_id IN (SELECT id FROM _boots WHERE last_seen_us < ?1)",
        [before.us()],
    )?;
    connection.execute(
        "DELETE FROM _boots WHERE last_seen_us < ?1 AND NOT EXISTS (SELECT 1 FROM _calls c WHERE c.boot_id = _boots.id)",
        [before.us()],
    )?;
    connection
        .execute("DELETE FROM agents WHERE last_seen_us < ?1", [before.us()])
        .map(|count| count as u64)
}

/// Agents by node. Whether they are connected is not the store's to know: always false here.
pub fn list(connection: &Connection, paging: &Paging) -> rusqlite::Result<Page<Agent>> {
    let mut clause = Where::default();
    clause.and_after(&["g.node"], ">", paging.after.as_ref());
    let sql = format!(
        "SELECT g.node, g.boot, g.version, g.provider, g.kernel, g.hostname, g.first_seen_us, g.last_seen_us, g.started_us, \
         g.policy_version, g.policy_error, g.connections, g.exchanges, g.resident_bytes, g.drops, COALESCE(b.batches, 0), \
         COALESCE(b.batches_rejected, 0), COALESCE(b.sequence_max, 0), COALESCE(b.last_rejection, ''), g.lowered, \
         g.lowered_more FROM agents g \
         LEFT JOIN _boots b ON b.node = g.node AND b.boot = g.boot {} ORDER BY g.node LIMIT {}",
        clause.clause(),
        fetch_limit(paging)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(clause.params()), from_row)?;
    Ok(page(
        rows.collect::<rusqlite::Result<Vec<_>>>()?,
        paging,
        |agent| vec![CursorPart::Text(agent.node.clone())],
    ))
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Agent> {
    let batches: u64 = row.get(15).map(uint)?;
    let batches_rejected: u64 = row.get(16).map(uint)?;
    let sequence_max: u64 = row.get(17).map(uint)?;
    Ok(Agent {
        node: row.get(0)?,
        boot: row.get(1)?,
        version: row.get(2)?,
        connected: false,
        provider: row.get(3)?,
        kernel: row.get(4)?,
        hostname: row.get(5)?,
        first_seen: Timestamp::from_us(row.get(6)?),
        last_seen: Timestamp::from_us(row.get(7)?),
        started: Timestamp::from_us(row.get(8)?),
        policy_version: row.get(9).map(uint)?,
        policy_error: row.get(10)?,
        connections: row.get(11).map(uint)?,
        exchanges: row.get(12).map(uint)?,
        resident_bytes: row.get(13).map(uint)?,
        drops: from_json(&row.get::<_, String>(14)?),
        batches,
        batches_rejected,
        batches_missing: sequence_max.saturating_sub(batches.saturating_add(batches_rejected)),
        last_rejection: row.get(18)?,
        lowered: from_json(&row.get::<_, String>(19)?),
        lowered_more: row.get(20).map(uint)?,
    })
}
