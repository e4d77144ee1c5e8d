//! What became of the bytes of workloads, by minute.

use rusqlite::types::Value;
use rusqlite::{Connection, Row};

use crate::store::{
    BatchId, Coverage, CoverageFilter, CoverageIncrement, CoverageKind, CoveredBytes, CursorPart, Page,
    Paging,
};
use crate::timestamp::{MINUTE_US, Timestamp};

use super::select::{Where, fetch_limit, int, page, uint};

/// Adds an increment of a batch that was made at this time.
pub fn add(
    connection: &Connection,
    id: &BatchId,
    created: Timestamp,
    increment: &CoverageIncrement,
) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO coverage (workload, node, provider, minute, kind, reason, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
         ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes",
    )?;
    for bytes in &increment.bytes {
        upsert.execute((
            &increment.workload,
            &id.node,
            &increment.provider,
            created.us() / MINUTE_US,
            bytes.kind.name(),
            &bytes.reason,
            int(bytes.bytes),
        ))?;
    }
    Ok(())
}

/// Removes minutes before this one. Returns how many rows.
pub fn evict_minutes(connection: &Connection, before: Timestamp) -> rusqlite::Result<u64> {
    let deleted = connection.execute(
        "DELETE FROM coverage WHERE minute < ?1",
        [before.us() / MINUTE_US],
    )?;
    Ok(deleted as u64)
}

const KEY: &str = "workload, node, provider";

/// Coverage by (workload, node, provider).
pub fn list(
    connection: &Connection,
    filter: &CoverageFilter,
    paging: &Paging,
) -> rusqlite::Result<Page<Coverage>> {
    let mut range = Where::default();
    // Whole minutes: the one that `from` lies in counts.
    if let Some(from) = filter.range.from {
        range.and("minute >= ?", from.us() / MINUTE_US);
    }
    if let Some(to) = filter.range.to {
        range.and("minute * 60000000 < ?", to.us());
    }
    let mut clause = range.clone();
    clause.and_text(&["workload"], filter.workload.as_ref());
    clause.and_text(&["node"], filter.node.as_ref());
    clause.and_after(&["workload", "node", "provider"], ">", paging.after.as_ref());
    let below = filter.below.map(Value::from);
    let having = if below.is_some() {
        "HAVING SUM(CASE kind WHEN 'read' THEN bytes ELSE 0 END) < ? * SUM(CASE kind WHEN 'left_out' THEN 0 ELSE bytes END)"
    } else {
        ""
    };
    let sql = format!(
        "WITH page AS (SELECT {KEY} FROM coverage {} GROUP BY {KEY} {having} ORDER BY {KEY} LIMIT {}) \
         SELECT {KEY}, kind, reason, SUM(bytes), MIN(minute), MAX(minute) FROM page JOIN coverage USING ({KEY}) {} \
         GROUP BY {KEY}, kind, reason ORDER BY {KEY}, 6 DESC, kind, reason",
        clause.clause(),
        fetch_limit(paging),
        range.clause(),
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let params = clause.params().chain(&below).chain(range.params());
    let rows = statement.query_map(rusqlite::params_from_iter(params), from_row)?;
    let mut found: Vec<Coverage> = Vec::new();
    for row in rows {
        let row = row?;
        match found.last_mut().filter(|last| same(last, &row)) {
            Some(last) => merge(last, row),
            None => found.push(row),
        }
    }
    for coverage in &mut found {
        let wanted = coverage.read_bytes.saturating_add(coverage.missed_bytes);
        coverage.capture_rate = (wanted > 0).then(|| coverage.read_bytes as f64 / wanted as f64);
    }
    Ok(page(found, paging, |coverage| {
        [&coverage.workload, &coverage.node, &coverage.provider]
            .map(|text| CursorPart::Text(text.clone()))
            .into()
    }))
}

fn same(left: &Coverage, right: &Coverage) -> bool {
    let key = |row: &Coverage| (row.workload.clone(), row.node.clone(), row.provider.clone());
    key(left) == key(right)
}

fn merge(into: &mut Coverage, row: Coverage) {
    into.read_bytes = into.read_bytes.saturating_add(row.read_bytes);
    into.missed_bytes = into.missed_bytes.saturating_add(row.missed_bytes);
    into.left_out_bytes = into.left_out_bytes.saturating_add(row.left_out_bytes);
    into.first_minute = into.first_minute.min(row.first_minute);
    into.last_minute = into.last_minute.max(row.last_minute);
    into.reasons.extend(row.reasons);
}

/// A row of one reason.
fn from_row(row: &Row<'_>) -> rusqlite::Result<Coverage> {
    let kind: String = row.get(3)?;
    let kind = kind.parse().map_err(|error: String| {
        rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, error.into())
    })?;
    let bytes = row.get(5).map(uint)?;
    let of = |which: CoverageKind| if which == kind { bytes } else { 0 };
    let minute = |column| -> rusqlite::Result<Timestamp> {
        row.get(column)
            .map(|minute: i64| Timestamp::from_us(minute.saturating_mul(MINUTE_US)))
    };
    Ok(Coverage {
        workload: row.get(0)?,
        node: row.get(1)?,
        provider: row.get(2)?,
        capture_rate: None,
        read_bytes: of(CoverageKind::Read),
        missed_bytes: of(CoverageKind::Missed),
        left_out_bytes: of(CoverageKind::LeftOut),
        reasons: vec![CoveredBytes {
            kind,
            reason: row.get(4)?,
            bytes,
        }],
        first_minute: minute(6)?,
        last_minute: minute(7)?,
    })
}
