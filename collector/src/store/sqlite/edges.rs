//! Who calls whom: totals, and increments by minute for questions about a span of time.

use rusqlite::{Connection, Row};

use crate::store::{CursorPart, Edge, EdgeFilter, EdgeIncrement, Page, Paging};
use crate::timestamp::{MINUTE_US, Timestamp};

use super::select::{Where, fetch_limit, int, page, uint};

/// Adds an increment. It counts in the minute of its last call: agents send increments every few seconds.
pub fn add(connection: &Connection, edge: &EdgeIncrement) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO edges (client_workload, client_address, server_workload, server_address, server_port, host, protocol, \
         application, side, calls, errors, request_bytes, response_bytes, duration_us_sum, first_seen_us, last_seen_us) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) ON CONFLICT DO UPDATE SET \
         calls = calls + excluded.calls, errors = errors + excluded.errors, \
         request_bytes = request_bytes + excluded.request_bytes, response_bytes = response_bytes + excluded.response_bytes, \
         duration_us_sum = duration_us_sum + excluded.duration_us_sum, \
         first_seen_us = MIN(first_seen_us, excluded.first_seen_us), \
         last_seen_us = MAX(last_seen_us, excluded.last_seen_us) RETURNING id",
    )?;
    let counts = [
        int(edge.calls),
        int(edge.errors),
        int(edge.request_bytes),
        int(edge.response_bytes),
        int(edge.duration_us_sum),
    ];
    let [calls, errors, request_bytes, response_bytes, duration_us_sum] = counts;
    let id: i64 = upsert.query_row(
        (
            &edge.client_workload,
            &edge.client_address,
            &edge.server_workload,
            &edge.server_address,
            edge.server_port,
            &edge.host,
            &edge.protocol,
            &edge.application,
            edge.side.name(),
            calls,
            errors,
            request_bytes,
            response_bytes,
            duration_us_sum,
            edge.first_seen.us(),
            edge.last_seen.us(),
        ),
        |row| row.get(0),
    )?;
    let mut minute = connection.prepare_cached(
        "INSERT INTO edge_minutes (edge_id, minute, calls, errors, request_bytes, response_bytes, duration_us_sum) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, \
         errors = errors + excluded.errors, request_bytes = request_bytes + excluded.request_bytes, \
         response_bytes = response_bytes + excluded.response_bytes, \
         duration_us_sum = duration_us_sum + excluded.duration_us_sum",
    )?;
    minute.execute((
        id,
        edge.last_seen.us() / MINUTE_US,
        calls,
        errors,
        request_bytes,
        response_bytes,
        duration_us_sum,
    ))?;
    Ok(())
}

/// Removes minutes before this one. Returns how many.
pub fn evict_minutes(connection: &Connection, before: Timestamp) -> rusqlite::Result<u64> {
    let deleted = connection.execute(
        "DELETE FROM edge_minutes WHERE edge_id IN (SELECT id FROM edges) AND minute < ?1",
        [before.us() / MINUTE_US],
    )?;
    Ok(deleted as u64)
}

/// Removes edges without a call since this time, with their minutes. Returns how many edges.
pub fn evict_idle(connection: &Connection, before: Timestamp) -> rusqlite::Result<u64> {
    connection.execute(
        "DELETE FROM edge_minutes WHERE edge_id IN (SELECT id FROM edges WHERE last_seen_us < ?1)",
        [before.us()],
    )?;
    connection
        .execute("DELETE FROM edges WHERE last_seen_us < ?1", [before.us()])
        .map(|count| count as u64)
}

const ORDER: [&str; 10] = [
    "e.client_workload",
    "e.client_address",
    "e.server_workload",
    "e.server_address",
    "e.server_port",
    "e.host",
    "e.protocol",
    "e.application",
    "e.side",
    "e.id",
];

/// Edges by who calls whom; with a time range, its minutes' counts.
pub fn list(connection: &Connection, filter: &EdgeFilter, paging: &Paging) -> rusqlite::Result<Page<Edge>> {
    let mut clause = Where::default();
    let (counts, from) = if filter.range.is_open() {
        (
            "e.calls, e.errors, e.request_bytes, e.response_bytes, e.duration_us_sum",
            "edges e",
        )
    } else {
        // Whole minutes: the one that `from` lies in counts.
        let minutes = [filter.range.from, filter.range.to];
        if let [Some(from), _] = minutes {
            clause.and("m.minute >= ?", from.us() / MINUTE_US);
        }
        if let [_, Some(to)] = minutes {
            clause.and("m.minute * 60000000 < ?", to.us());
        }
        (
            "SUM(m.calls), SUM(m.errors), SUM(m.request_bytes), SUM(m.response_bytes), SUM(m.duration_us_sum)",
            "edges e JOIN edge_minutes m ON m.edge_id = e.id",
        )
    };
    clause.and_text(
        &["e.client_workload", "e.server_workload"],
        filter.workload.as_ref(),
    );
    clause.and_text(&["e.host"], filter.host.as_ref());
    if let Some(side) = filter.side {
        clause.and("e.side = ?", side.name().to_owned());
    }
    clause.and_after(&ORDER, ">", paging.after.as_ref());
    let order = ORDER.join(", ");
    let group = if filter.range.is_open() {
        ""
    } else {
        "GROUP BY e.id"
    };
    let sql = format!(
        "SELECT {order}, e.first_seen_us, e.last_seen_us, {counts} FROM {from} {} {group} ORDER BY {order} LIMIT {}",
        clause.clause(),
        fetch_limit(paging)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(clause.params()), from_row)?;
    let found = page(
        rows.collect::<rusqlite::Result<Vec<_>>>()?,
        paging,
        |(edge, id)| {
            let text = |text: &String| CursorPart::Text(text.clone());
            vec![
                text(&edge.client_workload),
                text(&edge.client_address),
                text(&edge.server_workload),
                text(&edge.server_address),
                CursorPart::Int(i64::from(edge.server_port)),
                text(&edge.host),
                text(&edge.protocol),
                text(&edge.application),
                CursorPart::Text(edge.side.name().to_owned()),
                CursorPart::Int(*id),
            ]
        },
    );
    Ok(Page {
        items: found.items.into_iter().map(|(edge, _)| edge).collect(),
        next: found.next,
    })
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<(Edge, i64)> {
    let edge = Edge {
        client_workload: row.get(0)?,
        client_address: row.get(1)?,
        server_workload: row.get(2)?,
        server_address: row.get(3)?,
        server_port: row.get(4)?,
        host: row.get(5)?,
        protocol: row.get(6)?,
        application: row.get(7)?,
        side: super::side(row, 8)?,
        first_seen: Timestamp::from_us(row.get(10)?),
        last_seen: Timestamp::from_us(row.get(11)?),
        calls: row.get(12).map(uint)?,
        errors: row.get(13).map(uint)?,
        request_bytes: row.get(14).map(uint)?,
        response_bytes: row.get(15).map(uint)?,
        duration_us_sum: row.get(16).map(uint)?,
    };
    Ok((edge, row.get(9)?))
}
