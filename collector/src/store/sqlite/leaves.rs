//! Rows of the catalog: one for each (API, leaf, method), with its minutes.

use catalog::{LeafId, Method, MinuteCounts, RecordKey, StatusClass};
use rusqlite::Connection;

use super::select::int;

/// A row.
pub struct LeafRow {
    /// Its id.
    pub row: i64,
    /// Which record it is.
    pub record: RecordKey,
    /// Endpoint that it belongs to.
    pub endpoint: Option<String>,
    /// The record; absent where only minutes are known.
    pub bytes: Option<Vec<u8>>,
}

/// All rows of an API.
pub fn of_api(connection: &Connection, api_id: i64) -> rusqlite::Result<Vec<LeafRow>> {
    let mut list = connection
        .prepare_cached("SELECT id, leaf, method, endpoint_id, record FROM _leaves WHERE api_id = ?1")?;
    let rows = list.query_map([api_id], |row| {
        let method: String = row.get(2)?;
        let record = RecordKey {
            leaf: LeafId(row.get(1)?),
            method: Method::from_token(&method),
        };
        Ok(LeafRow {
            row: row.get(0)?,
            record,
            endpoint: row.get(3)?,
            bytes: row.get(4)?,
        })
    })?;
    rows.collect()
}

/// Records of an endpoint.
pub fn of_endpoint(connection: &Connection, endpoint_id: &str) -> rusqlite::Result<Vec<Vec<u8>>> {
    let mut list = connection
        .prepare_cached("SELECT record FROM _leaves WHERE endpoint_id = ?1 AND record IS NOT NULL")?;
    list.query_map([endpoint_id], |row| row.get(0))?.collect()
}

/// Writes a record into its row, if that is known, or into a new one. Returns the row.
pub fn put(
    connection: &Connection,
    api_id: i64,
    record: RecordKey,
    row: Option<i64>,
    bytes: &[u8],
) -> rusqlite::Result<i64> {
    if let Some(row) = row {
        connection
            .prepare_cached("UPDATE _leaves SET record = ?2 WHERE id = ?1")?
            .execute((row, bytes))?;
        return Ok(row);
    }
    let mut insert = connection
        .prepare_cached("INSERT INTO _leaves (api_id, leaf, method, record) VALUES (?1, ?2, ?3, ?4)")?;
    insert.insert((api_id, record.leaf.0, record.method.as_str(), bytes))
}

/// Makes a row for a record that the catalog does not have.
pub fn put_empty(connection: &Connection, api_id: i64, record: RecordKey) -> rusqlite::Result<i64> {
    let mut insert =
        connection.prepare_cached("INSERT INTO _leaves (api_id, leaf, method) VALUES (?1, ?2, ?3)")?;
    insert.insert((api_id, record.leaf.0, record.method.as_str()))
}

/// Lets a row belong to an endpoint.
pub fn belong(connection: &Connection, row: i64, endpoint_id: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE _leaves SET endpoint_id = ?2 WHERE id = ?1")?
        .execute((row, endpoint_id))?;
    Ok(())
}

/// Moves minutes and calls of a record that was folded into another one, and removes its row.
pub fn fold(
    connection: &Connection,
    api_id: i64,
    from: RecordKey,
    from_row: i64,
    into: RecordKey,
    into_row: i64,
) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO _leaf_minutes SELECT ?2, minute, calls, status_1xx, status_2xx, status_3xx, status_4xx, status_5xx, \
         status_none, duration_us_sum, request_bytes, response_bytes FROM _leaf_minutes WHERE leaf_id = ?1 {ADD}"
    );
    connection.prepare_cached(&sql)?.execute((from_row, into_row))?;
    connection
        .prepare_cached("DELETE FROM _leaf_minutes WHERE leaf_id = ?1")?
        .execute([from_row])?;
    let mut calls = connection
        .prepare_cached("UPDATE _calls SET leaf = ?4 WHERE api_id = ?1 AND leaf = ?2 AND leaf_method = ?3")?;
    calls.execute((api_id, from.leaf.0, from.method.as_str(), into.leaf.0))?;
    connection
        .prepare_cached("DELETE FROM _leaves WHERE id = ?1")?
        .execute([from_row])?;
    Ok(())
}

const ADD: &str = "ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, \
     status_1xx = status_1xx + excluded.status_1xx, status_2xx = status_2xx + excluded.status_2xx, \
     status_3xx = status_3xx + excluded.status_3xx, status_4xx = status_4xx + excluded.status_4xx, \
     status_5xx = status_5xx + excluded.status_5xx, status_none = status_none + excluded.status_none, \
     duration_us_sum = duration_us_sum + excluded.duration_us_sum, \
     request_bytes = request_bytes + excluded.request_bytes, response_bytes = response_bytes + excluded.response_bytes";

/// Adds to a minute.
pub fn add_minute(
    connection: &Connection,
    row: i64,
    minute: i64,
    counts: &MinuteCounts,
) -> rusqlite::Result<()> {
    let sql =
        format!("INSERT INTO _leaf_minutes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) {ADD}");
    let of = |class| int(counts.calls.get(class));
    connection.prepare_cached(&sql)?.execute((
        row,
        minute,
        int(counts.calls.total()),
        of(StatusClass::Informational),
        of(StatusClass::Success),
        of(StatusClass::Redirect),
        of(StatusClass::ClientError),
        of(StatusClass::ServerError),
        of(StatusClass::None),
        int(counts.duration_us_sum),
        int(counts.request_bytes_sum),
        int(counts.response_bytes_sum),
    ))?;
    Ok(())
}
