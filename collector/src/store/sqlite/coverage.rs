//! What workloads moved, over what, and what became of it, by minute.

use std::str::FromStr;

use rusqlite::types::{Type, Value};
use rusqlite::{Connection, Row};

use crate::store::{
    BatchId, Coverage, CoverageFilter, CoverageIncrement, CoverageKind, CoveredBytes, CursorPart, Page,
    Paging, Traffic, TrafficClass,
};
use crate::timestamp::{MINUTE_US, Timestamp};

use super::select::{Where, fetch_limit, int, page, uint};

/// `kind` of what went over sockets, whatever became of it.
const WIRE: &str = "wire";

/// Adds an increment of a batch that was made at this time.
pub fn add(
    connection: &Connection,
    id: &BatchId,
    created: Timestamp,
    increment: &CoverageIncrement,
) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO coverage (workload, node, provider, minute, class, library, kind, reason, bytes, connections) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
         ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes, connections = connections + excluded.connections",
    )?;
    let mut add = |kind: &str, reason: &str, bytes: u64, connections: u64| {
        upsert.execute((
            &increment.workload,
            &id.node,
            &increment.provider,
            created.us() / MINUTE_US,
            increment.class.name(),
            &increment.library,
            kind,
            reason,
            int(bytes),
            int(connections),
        ))
    };
    for bytes in &increment.bytes {
        add(bytes.kind.name(), &bytes.reason, bytes.bytes, 0)?;
    }
    if increment.connections > 0 || increment.wire_bytes > 0 {
        add(
            WIRE,
            &increment.reason,
            increment.wire_bytes,
            increment.connections,
        )?;
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
        "HAVING SUM(iif(kind = 'read', bytes, 0)) < ? * SUM(iif(kind IN ('read', 'missed'), bytes, 0))"
    } else {
        ""
    };
    let sql = format!(
        "WITH page AS (SELECT {KEY} FROM coverage {} GROUP BY {KEY} {having} ORDER BY {KEY} LIMIT {}) \
         SELECT {KEY}, class, library, kind, reason, SUM(bytes), SUM(connections), MIN(minute), MAX(minute) \
         FROM page JOIN coverage USING ({KEY}) {} \
         GROUP BY {KEY}, class, library, kind, reason ORDER BY {KEY}, class, library, kind, reason",
        clause.clause(),
        fetch_limit(paging),
        range.clause(),
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let params = clause.params().chain(&below).chain(range.params());
    let mut rows = statement.query(rusqlite::params_from_iter(params))?;
    let mut found: Vec<Coverage> = Vec::new();
    while let Some(row) = rows.next()? {
        let entry = Entry::from_row(row)?;
        match found.last_mut() {
            Some(last) if entry.is_of(last) => entry.add_to(last),
            _ => {
                let mut first = entry.coverage();
                entry.add_to(&mut first);
                found.push(first);
            }
        }
    }
    for coverage in &mut found {
        let wanted = coverage.read_bytes.saturating_add(coverage.missed_bytes);
        coverage.capture_rate = (wanted > 0).then(|| coverage.read_bytes as f64 / wanted as f64);
        let order = |bytes: &CoveredBytes| (std::cmp::Reverse(bytes.bytes), bytes.kind.name());
        coverage
            .reasons
            .sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.reason.cmp(&b.reason)));
    }
    Ok(page(found, paging, |coverage| {
        [&coverage.workload, &coverage.node, &coverage.provider]
            .map(|text| CursorPart::Text(text.clone()))
            .into()
    }))
}

/// A row: bytes that share all but their minute.
struct Entry {
    workload: String,
    node: String,
    provider: String,
    class: TrafficClass,
    library: String,
    /// `None`: [`WIRE`].
    kind: Option<CoverageKind>,
    reason: String,
    bytes: u64,
    connections: u64,
    first_minute: Timestamp,
    last_minute: Timestamp,
}

/// A text that is one of a few.
fn one_of<T: FromStr<Err = String>>(column: usize, text: &str) -> rusqlite::Result<T> {
    let wrong = |error: String| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into());
    text.parse().map_err(wrong)
}

impl Entry {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let minute = |column| -> rusqlite::Result<Timestamp> {
            row.get(column)
                .map(|minute: i64| Timestamp::from_us(minute.saturating_mul(MINUTE_US)))
        };
        let class: String = row.get(3)?;
        let kind: String = row.get(5)?;
        Ok(Self {
            workload: row.get(0)?,
            node: row.get(1)?,
            provider: row.get(2)?,
            class: one_of(3, &class)?,
            library: row.get(4)?,
            kind: (kind != WIRE).then(|| one_of(5, &kind)).transpose()?,
            reason: row.get(6)?,
            bytes: row.get(7).map(uint)?,
            connections: row.get(8).map(uint)?,
            first_minute: minute(9)?,
            last_minute: minute(10)?,
        })
    }

    fn is_of(&self, coverage: &Coverage) -> bool {
        (&self.workload, &self.node, &self.provider)
            == (&coverage.workload, &coverage.node, &coverage.provider)
    }

    /// With nothing in it yet.
    fn coverage(&self) -> Coverage {
        Coverage {
            workload: self.workload.clone(),
            node: self.node.clone(),
            provider: self.provider.clone(),
            capture_rate: None,
            read_bytes: 0,
            missed_bytes: 0,
            left_out_bytes: 0,
            reasons: Vec::new(),
            traffic: Vec::new(),
            first_minute: self.first_minute,
            last_minute: self.last_minute,
        }
    }

    fn add_to(self, coverage: &mut Coverage) {
        coverage.first_minute = coverage.first_minute.min(self.first_minute);
        coverage.last_minute = coverage.last_minute.max(self.last_minute);
        let more = Traffic {
            class: self.class,
            library: self.library,
            reason: String::new(),
            connections: self.connections,
            wire_bytes: 0,
            read_bytes: 0,
        };
        let Some(kind) = self.kind else {
            let wire = Traffic {
                reason: self.reason,
                wire_bytes: self.bytes,
                ..more
            };
            return merge(&mut coverage.traffic, wire);
        };
        if kind == CoverageKind::Read {
            let read = Traffic {
                read_bytes: self.bytes,
                ..more
            };
            merge(&mut coverage.traffic, read);
        }
        let sum = match kind {
            CoverageKind::Read => &mut coverage.read_bytes,
            CoverageKind::Missed => &mut coverage.missed_bytes,
            CoverageKind::LeftOut => &mut coverage.left_out_bytes,
        };
        *sum = sum.saturating_add(self.bytes);
        let known = |bytes: &&mut CoveredBytes| bytes.kind == kind && bytes.reason == self.reason;
        match coverage.reasons.iter_mut().find(known) {
            Some(known) => known.bytes = known.bytes.saturating_add(self.bytes),
            None => coverage.reasons.push(CoveredBytes {
                kind,
                reason: self.reason,
                bytes: self.bytes,
            }),
        }
    }
}

/// Adds to what is known of connections that carry the same.
fn merge(known: &mut Vec<Traffic>, more: Traffic) {
    let is_same = |one: &&mut Traffic| {
        (one.class, &one.library, &one.reason) == (more.class, &more.library, &more.reason)
    };
    match known.iter_mut().find(is_same) {
        Some(one) => {
            one.connections = one.connections.saturating_add(more.connections);
            one.wire_bytes = one.wire_bytes.saturating_add(more.wire_bytes);
            one.read_bytes = one.read_bytes.saturating_add(more.read_bytes);
        }
        None => known.push(more),
    }
}
