//! What runs on the nodes and speaks HTTP.

use rusqlite::{Connection, Row};

use crate::store::{CursorPart, Page, Paging, Workload, WorkloadFilter, WorkloadSeen};
use crate::timestamp::Timestamp;

use super::select::{Where, fetch_limit, int, page, uint};

/// Replaces the workload's state unless a later one is known.
pub fn put(connection: &Connection, seen: &WorkloadSeen) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO workloads (name, node, kind, executable, command, user, container_id, container_runtime, systemd_unit, \
         cgroup_id, netns, pid, first_seen_us, last_seen_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, \
         ?14) ON CONFLICT DO UPDATE SET kind = excluded.kind, executable = excluded.executable, command = excluded.command, \
         user = excluded.user, container_id = excluded.container_id, container_runtime = excluded.container_runtime, \
         systemd_unit = excluded.systemd_unit, cgroup_id = excluded.cgroup_id, netns = excluded.netns, pid = excluded.pid, \
         first_seen_us = MIN(first_seen_us, excluded.first_seen_us), last_seen_us = excluded.last_seen_us \
         WHERE excluded.last_seen_us >= last_seen_us",
    )?;
    upsert.execute((
        &seen.name,
        &seen.node,
        &seen.kind,
        &seen.executable,
        &seen.command,
        &seen.user,
        &seen.container_id,
        &seen.container_runtime,
        &seen.systemd_unit,
        int(seen.cgroup_id),
        int(seen.netns),
        seen.pid,
        seen.first_seen.us(),
        seen.last_seen.us(),
    ))?;
    Ok(())
}

/// Removes workloads not seen since this time. Returns how many.
pub fn evict_idle(connection: &Connection, before: Timestamp) -> rusqlite::Result<u64> {
    connection
        .execute("DELETE FROM workloads WHERE last_seen_us < ?1", [before.us()])
        .map(|count| count as u64)
}

/// Workloads by (name, node).
pub fn list(
    connection: &Connection,
    filter: &WorkloadFilter,
    paging: &Paging,
) -> rusqlite::Result<Page<Workload>> {
    let mut clause = Where::default();
    if let Some(from) = filter.range.from {
        clause.and("last_seen_us >= ?", from.us());
    }
    if let Some(to) = filter.range.to {
        clause.and("first_seen_us < ?", to.us());
    }
    clause.and_text(&["name"], filter.workload.as_ref());
    clause.and_text(&["node"], filter.node.as_ref());
    clause.and_after(&["name", "node"], ">", paging.after.as_ref());
    let sql = format!(
        "SELECT name, node, kind, executable, command, user, container_id, container_runtime, systemd_unit, cgroup_id, netns, \
         pid, first_seen_us, last_seen_us FROM workloads {} ORDER BY name, node LIMIT {}",
        clause.clause(),
        fetch_limit(paging)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(clause.params()), from_row)?;
    Ok(page(
        rows.collect::<rusqlite::Result<Vec<_>>>()?,
        paging,
        |workload| {
            vec![
                CursorPart::Text(workload.name.clone()),
                CursorPart::Text(workload.node.clone()),
            ]
        },
    ))
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Workload> {
    Ok(Workload {
        name: row.get(0)?,
        node: row.get(1)?,
        kind: row.get(2)?,
        executable: row.get(3)?,
        command: row.get(4)?,
        user: row.get(5)?,
        container_id: row.get(6)?,
        container_runtime: row.get(7)?,
        systemd_unit: row.get(8)?,
        cgroup_id: row.get(9).map(uint)?,
        netns: row.get(10).map(uint)?,
        pid: row.get(11)?,
        first_seen: Timestamp::from_us(row.get(12)?),
        last_seen: Timestamp::from_us(row.get(13)?),
    })
}
