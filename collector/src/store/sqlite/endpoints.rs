//! Endpoints: rows derived from the merged catalog, and what they did by minute.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::store::{
    Counts, CursorPart, Endpoint, EndpointFilter, Minute, Page, Paging, Quantiles, StatusCounts,
    StatusFilter, TimeRange,
};
use crate::timestamp::{MINUTE_US, Timestamp};

use super::select::{Where, fetch_limit, int, page, uint};

/// Writes the endpoint's row.
pub fn put(connection: &Connection, api_id: i64, endpoint: &Endpoint) -> rusqlite::Result<()> {
    let mut replace = connection.prepare_cached(
        "INSERT OR REPLACE INTO endpoints (id, api_id, workload, host, side, method, path, confirmed, calls, status_1xx, status_2xx, \
         status_3xx, status_4xx, status_5xx, status_none, duration_us_sum, request_bytes, response_bytes, latency_us_p50, \
         latency_us_p95, latency_us_p99, clients, first_seen_us, last_seen_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, \
         ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)",
    )?;
    let total = &endpoint.total;
    replace.execute(rusqlite::params![
        endpoint.id,
        api_id,
        endpoint.workload,
        endpoint.host,
        endpoint.side.name(),
        endpoint.method,
        endpoint.path,
        endpoint.confirmed,
        int(total.calls),
        int(total.status.informational),
        int(total.status.success),
        int(total.status.redirect),
        int(total.status.client_error),
        int(total.status.server_error),
        int(total.status.none),
        int(total.duration_us_sum),
        int(total.request_bytes),
        int(total.response_bytes),
        int(endpoint.latency_us.p50),
        int(endpoint.latency_us.p95),
        int(endpoint.latency_us.p99),
        int(endpoint.clients),
        endpoint.first_seen.us(),
        endpoint.last_seen.us(),
    ])?;
    Ok(())
}

/// Removes an endpoint whose leaves belong to another one now.
pub fn remove(connection: &Connection, id: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM endpoints WHERE id = ?1")?
        .execute([id])?;
    connection
        .prepare_cached("DELETE FROM endpoint_aliases WHERE endpoint_id = ?1")?
        .execute([id])?;
    Ok(())
}

/// Lets an id that an endpoint had before find it.
pub fn put_alias(connection: &Connection, alias: &str, endpoint_id: &str) -> rusqlite::Result<()> {
    let mut replace = connection
        .prepare_cached("INSERT OR REPLACE INTO endpoint_aliases (alias, endpoint_id) VALUES (?1, ?2)")?;
    replace.execute((alias, endpoint_id))?;
    Ok(())
}

/// The current id of what this id or alias means.
pub fn resolve(connection: &Connection, id: &str) -> rusqlite::Result<Option<String>> {
    let mut find = connection.prepare_cached(
        "SELECT id FROM endpoints WHERE id = ?1 UNION ALL SELECT endpoint_id FROM endpoint_aliases WHERE alias = ?1 LIMIT 1",
    )?;
    find.query_row([id], |row| row.get(0)).optional()
}

/// Ids that the endpoint had before.
pub fn aliases(connection: &Connection, id: &str) -> rusqlite::Result<Vec<String>> {
    let mut list = connection
        .prepare_cached("SELECT alias FROM endpoint_aliases WHERE endpoint_id = ?1 ORDER BY alias")?;
    list.query_map([id], |row| row.get(0))?.collect()
}

/// Removes minutes before this time. Returns how many.
pub fn evict_minutes(connection: &Connection, before: Timestamp) -> rusqlite::Result<u64> {
    let deleted = connection.execute(
        "DELETE FROM _leaf_minutes WHERE leaf_id IN (SELECT id FROM _leaves) AND minute < ?1",
        [before.us() / MINUTE_US],
    )?;
    Ok(deleted as u64)
}

/// Condition and parameters on `m.minute` for whole minutes of the range: the one that `from` lies in counts.
fn minutes_in(range: TimeRange) -> (String, Vec<Value>) {
    let mut condition = String::new();
    let mut params = Vec::new();
    if let Some(from) = range.from {
        condition.push_str(" AND m.minute >= ?");
        params.push(Value::from(from.us() / MINUTE_US));
    }
    if let Some(to) = range.to {
        condition.push_str(" AND m.minute < ?");
        params.push(Value::from((to.us() + MINUTE_US - 1) / MINUTE_US));
    }
    (condition, params)
}

const SUMS: &str = "SUM(m.calls), SUM(m.status_1xx), SUM(m.status_2xx), SUM(m.status_3xx), SUM(m.status_4xx), \
     SUM(m.status_5xx), SUM(m.status_none), SUM(m.duration_us_sum), SUM(m.request_bytes), SUM(m.response_bytes)";

const COLUMNS: &str = "e.id, e.workload, e.host, e.side, e.method, e.path, e.confirmed, e.calls, e.status_1xx, e.status_2xx, \
     e.status_3xx, e.status_4xx, e.status_5xx, e.status_none, e.duration_us_sum, e.request_bytes, e.response_bytes, \
     e.latency_us_p50, e.latency_us_p95, e.latency_us_p99, e.clients, e.first_seen_us, e.last_seen_us";

const ORDER: [&str; 6] = ["e.host", "e.path", "e.method", "e.workload", "e.side", "e.id"];

/// Endpoints by (host, path, method, workload, side, id). With a time range, only those called in it.
pub fn list(
    connection: &Connection,
    filter: &EndpointFilter,
    paging: &Paging,
) -> rusqlite::Result<Page<Endpoint>> {
    let mut clause = Where::default();
    let windowed = !filter.range.is_open();
    if windowed {
        // Cheap and sound: an endpoint called in the range was last seen in or after it, and first seen before its end.
        if let Some(from) = filter.range.from {
            clause.and("e.last_seen_us >= ?", from.us() / MINUTE_US * MINUTE_US);
        }
        let (minutes, params) = minutes_in(filter.range);
        let status = filter
            .status
            .map(status_column)
            .map_or_else(String::new, |column| format!(" AND m.{column} > 0"));
        clause.and_all(
            format!(
                "EXISTS (SELECT 1 FROM _leaves l JOIN _leaf_minutes m ON m.leaf_id = l.id \
                 WHERE l.endpoint_id = e.id{minutes}{status})"
            ),
            params,
        );
    } else if let Some(status) = filter.status {
        clause.and_all(format!("e.{} > 0", status_column(status)), []);
    }
    clause.and_text(&["e.workload"], filter.workload.as_ref());
    clause.and_text(&["e.host"], filter.host.as_ref());
    clause.and_text(&["e.path"], filter.path.as_ref());
    if let Some(method) = &filter.method {
        clause.and("e.method = ?", method.clone());
    }
    if let Some(side) = filter.side {
        clause.and("e.side = ?", side.name().to_owned());
    }
    if let Some(confirmed) = filter.confirmed {
        clause.and("e.confirmed = ?", i64::from(confirmed));
    }
    clause.and_after(&ORDER, ">", paging.after.as_ref());
    let sql = format!(
        "SELECT {COLUMNS} FROM endpoints e {} ORDER BY {} LIMIT {}",
        clause.clause(),
        ORDER.join(", "),
        fetch_limit(paging)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(clause.params()), from_row)?;
    let mut found = page(rows.collect::<rusqlite::Result<Vec<_>>>()?, paging, |endpoint| {
        let text = |text: &str| CursorPart::Text(text.to_owned());
        vec![
            text(&endpoint.host),
            text(&endpoint.path),
            text(&endpoint.method),
            text(&endpoint.workload),
            text(endpoint.side.name()),
            text(&endpoint.id),
        ]
    });
    if windowed {
        for endpoint in &mut found.items {
            endpoint.window = Some(window(connection, &endpoint.id, filter.range)?);
        }
    }
    Ok(found)
}

/// One endpoint by its id.
pub fn get(connection: &Connection, id: &str) -> rusqlite::Result<Option<Endpoint>> {
    let sql = format!("SELECT {COLUMNS} FROM endpoints e WHERE e.id = ?1");
    connection
        .prepare_cached(&sql)?
        .query_row([id], from_row)
        .optional()
}

/// What the endpoint did in the range.
pub fn window(connection: &Connection, id: &str, range: TimeRange) -> rusqlite::Result<Counts> {
    let (minutes, params) = minutes_in(range);
    let sql = format!(
        "SELECT {SUMS} FROM _leaves l JOIN _leaf_minutes m ON m.leaf_id = l.id WHERE l.endpoint_id = ?{minutes}"
    );
    let params = std::iter::once(Value::from(id.to_owned())).chain(params);
    connection
        .prepare_cached(&sql)?
        .query_row(rusqlite::params_from_iter(params), |row| counts(row, 0))
}

/// The endpoint's minutes in the range, oldest first, at most `rows`: the newest ones.
pub fn minutes(
    connection: &Connection,
    id: &str,
    range: TimeRange,
    rows: u32,
) -> rusqlite::Result<Vec<Minute>> {
    let (minutes, params) = minutes_in(range);
    let sql = format!(
        "SELECT m.minute, {SUMS} FROM _leaves l JOIN _leaf_minutes m ON m.leaf_id = l.id \
         WHERE l.endpoint_id = ?{minutes} GROUP BY m.minute ORDER BY m.minute DESC LIMIT {rows}"
    );
    let params = std::iter::once(Value::from(id.to_owned())).chain(params);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(params), |row| {
        let minute = Timestamp::from_us(row.get::<_, i64>(0)?.saturating_mul(MINUTE_US));
        Ok(Minute {
            minute,
            counts: counts(row, 1)?,
        })
    })?;
    let mut newest_first = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    newest_first.reverse();
    Ok(newest_first)
}

/// Column of a status's class.
fn status_column(status: StatusFilter) -> &'static str {
    let class = match status {
        StatusFilter::Code(code) => code / 100,
        StatusFilter::Class(class) => u16::from(class),
        StatusFilter::NoResponse => 0,
    };
    match class {
        1 => "status_1xx",
        2 => "status_2xx",
        3 => "status_3xx",
        4 => "status_4xx",
        5 => "status_5xx",
        _ => "status_none",
    }
}

/// Ten columns from `at`; null sums are 0.
fn counts(row: &Row<'_>, at: usize) -> rusqlite::Result<Counts> {
    let column = |offset: usize| {
        row.get::<_, Option<i64>>(at + offset)
            .map(|value| uint(value.unwrap_or_default()))
    };
    let status = StatusCounts {
        informational: column(1)?,
        success: column(2)?,
        redirect: column(3)?,
        client_error: column(4)?,
        server_error: column(5)?,
        none: column(6)?,
    };
    Ok(Counts {
        calls: column(0)?,
        errors: status.server_error,
        status,
        duration_us_sum: column(7)?,
        request_bytes: column(8)?,
        response_bytes: column(9)?,
    })
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Endpoint> {
    Ok(Endpoint {
        id: row.get(0)?,
        workload: row.get(1)?,
        host: row.get(2)?,
        side: super::side(row, 3)?,
        method: row.get(4)?,
        path: row.get(5)?,
        confirmed: row.get(6)?,
        total: counts(row, 7)?,
        window: None,
        latency_us: Quantiles {
            p50: row.get(17).map(uint)?,
            p95: row.get(18).map(uint)?,
            p99: row.get(19).map(uint)?,
        },
        clients: row.get(20).map(uint)?,
        first_seen: Timestamp::from_us(row.get(21)?),
        last_seen: Timestamp::from_us(row.get(22)?),
    })
}
