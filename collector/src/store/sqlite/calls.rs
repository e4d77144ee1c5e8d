//! Individual calls: a window bounded by rows and age, the oldest out first.

use catalog::{LeafId, Method};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use crate::store::{
    Call, CallFilter, CallId, CursorPart, Header, Page, Paging, Scheme, StatusFilter, Tls, flag_bits,
    flag_names,
};
use crate::timestamp::Timestamp;

use super::select::{Where, fetch_limit, int, page, uint};

/// Inserts a call of an API. False when it is there already.
pub fn insert(
    connection: &Connection,
    boot_id: i64,
    api_id: i64,
    leaf: Option<LeafId>,
    call: &Call,
) -> rusqlite::Result<bool> {
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO _calls (id, boot_id, api_id, leaf, leaf_method, ts_us, method, path, query_names, status, request_bytes, \
         response_bytes, request_body_bytes, response_body_bytes, duration_us, ttfb_us, protocol, flags, client_workload, \
         client_address, server_workload, server_address, request_headers, response_headers, weight, pid, application, operation, \
         rpc_status, rpc_error, request_messages, response_messages, request_message_bytes, response_message_bytes, streaming, \
         headers_unknown, tls_version, tls_cipher, tls_server_name, tls_alpn, tls_ja4, tls_library) VALUES (:id, \
         :boot_id, :api_id, :leaf, :leaf_method, :ts_us, :method, :path, :query_names, :status, :request_bytes, :response_bytes, \
         :request_body_bytes, :response_body_bytes, :duration_us, :ttfb_us, :protocol, :flags, :client_workload, \
         :client_address, :server_workload, :server_address, :request_headers, :response_headers, :weight, :pid, :application, \
         :operation, :rpc_status, :rpc_error, :request_messages, :response_messages, :request_message_bytes, \
         :response_message_bytes, :streaming, :headers_unknown, :tls_version, :tls_cipher, :tls_server_name, :tls_alpn, :tls_ja4, \
         :tls_library)",
    )?;
    let in_clear = Tls::default();
    let tls = call.tls.as_ref().unwrap_or(&in_clear);
    let inserted = insert.execute(named_params! {
        ":id": call.id.0,
        ":boot_id": boot_id,
        ":api_id": api_id,
        ":leaf": leaf.map(|leaf| leaf.0),
        ":leaf_method": Method::from_token(&call.method).as_str(),
        ":ts_us": call.ts.us(),
        ":method": call.method,
        ":path": call.path,
        ":query_names": json(&call.query_names),
        ":status": call.status,
        ":request_bytes": int(call.request_bytes),
        ":response_bytes": int(call.response_bytes),
        ":request_body_bytes": int(call.request_body_bytes),
        ":response_body_bytes": int(call.response_body_bytes),
        ":duration_us": int(call.duration_us),
        ":ttfb_us": int(call.ttfb_us),
        ":protocol": call.protocol,
        ":flags": flag_bits(&call.flags),
        ":client_workload": call.client_workload,
        ":client_address": call.client_address,
        ":server_workload": call.server_workload,
        ":server_address": call.server_address,
        ":request_headers": json(&call.request_headers),
        ":response_headers": json(&call.response_headers),
        ":weight": call.weight,
        ":pid": call.pid,
        ":application": call.application,
        ":operation": call.operation,
        ":rpc_status": call.rpc_status,
        ":rpc_error": call.rpc_error,
        ":request_messages": int(call.request_messages),
        ":response_messages": int(call.response_messages),
        ":request_message_bytes": int(call.request_message_bytes),
        ":response_message_bytes": int(call.response_message_bytes),
        ":streaming": call.streaming,
        ":headers_unknown": call.headers_unknown,
        ":tls_version": tls.version,
        ":tls_cipher": tls.cipher,
        ":tls_server_name": tls.server_name,
        ":tls_alpn": tls.alpn,
        ":tls_ja4": tls.ja4,
        ":tls_library": tls.library,
    })?;
    Ok(inserted == 1)
}

/// Number of calls.
pub fn count(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .query_row("SELECT COUNT(*) FROM _calls", [], |row| row.get(0))
        .map(uint)
}

/// Removes this many, the oldest first. Returns how many there were.
pub fn evict_oldest(connection: &Connection, rows: u64) -> rusqlite::Result<u64> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM _calls WHERE seq IN (SELECT seq FROM _calls ORDER BY ts_us, seq LIMIT ?1)",
    )?;
    delete.execute([int(rows)]).map(|count| count as u64)
}

/// Removes at most `rows` calls from before this time. Returns how many.
pub fn evict_before(connection: &Connection, before: Timestamp, rows: u64) -> rusqlite::Result<u64> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM _calls WHERE seq IN (SELECT seq FROM _calls WHERE ts_us < ?1 ORDER BY ts_us LIMIT ?2)",
    )?;
    delete.execute((before.us(), int(rows))).map(|count| count as u64)
}

const SELECT: &str = "SELECT c.id, b.node, c.ts_us, l.endpoint_id, a.workload, a.host, a.side, c.method, c.path, \
     c.query_names, c.status, c.request_bytes, c.response_bytes, c.request_body_bytes, c.response_body_bytes, c.duration_us, \
     c.ttfb_us, c.protocol, c.flags, c.client_workload, c.client_address, c.server_workload, c.server_address, \
     c.request_headers, c.response_headers, c.weight, c.pid, c.seq, c.application, c.operation, c.rpc_status, c.rpc_error, \
     c.request_messages, c.response_messages, c.request_message_bytes, c.response_message_bytes, c.streaming, \
     c.headers_unknown, c.tls_version, c.tls_cipher, c.tls_server_name, c.tls_alpn, c.tls_ja4, c.tls_library FROM _calls c JOIN _apis a ON a.id = c.api_id \
     JOIN _boots b ON b.id = c.boot_id \
     LEFT JOIN _leaves l ON l.api_id = c.api_id AND l.leaf = c.leaf AND l.method = c.leaf_method";

/// One call.
pub fn get(connection: &Connection, id: CallId) -> rusqlite::Result<Option<Call>> {
    let sql = format!("{SELECT} WHERE c.id = ?1");
    connection
        .query_row(&sql, [id.0.as_slice()], |row| from_row(row).map(|(call, _)| call))
        .optional()
}

/// Calls, newest first.
pub fn list(connection: &Connection, filter: &CallFilter, paging: &Paging) -> rusqlite::Result<Page<Call>> {
    let mut clause = Where::default();
    clause.and_range("c.ts_us", filter.range);
    clause.and_text(
        &["a.workload", "c.client_workload", "c.server_workload"],
        filter.workload.as_ref(),
    );
    clause.and_text(&["c.client_workload"], filter.client.as_ref());
    clause.and_text(&["c.server_workload"], filter.server.as_ref());
    clause.and_text(&["a.host"], filter.host.as_ref());
    clause.and_text(&["c.path"], filter.path.as_ref());
    if let Some(method) = &filter.method {
        clause.and("c.method = ?", method.clone());
    }
    match filter.status {
        Some(StatusFilter::Code(code)) => clause.and("c.status = ?", i64::from(code)),
        Some(StatusFilter::Class(class)) => {
            let from = i64::from(class) * 100;
            clause.and_all(
                "c.status BETWEEN ? AND ?".to_owned(),
                [Value::from(from), Value::from(from + 99)],
            );
        }
        Some(StatusFilter::NoResponse) => clause.and_all("c.status IS NULL".to_owned(), []),
        None => {}
    }
    if let Some(application) = &filter.application {
        clause.and("c.application = ?", application.clone());
    }
    clause.and_text(&["c.operation"], filter.operation.as_ref());
    match filter.scheme {
        Some(Scheme::Http) => clause.and_all("c.tls_library = ''".to_owned(), []),
        Some(Scheme::Https) => clause.and_all("c.tls_library <> ''".to_owned(), []),
        None => {}
    }
    if let Some(side) = filter.side {
        clause.and("a.side = ?", side.name().to_owned());
    }
    if let Some(endpoint) = &filter.endpoint {
        let id = super::endpoints::resolve(connection, endpoint)?.unwrap_or_default();
        clause.and("l.endpoint_id = ?", id);
    }
    clause.and_after(&["c.ts_us", "c.seq"], "<", paging.after.as_ref());
    let sql = format!(
        "{SELECT} {} ORDER BY c.ts_us DESC, c.seq DESC LIMIT {}",
        clause.clause(),
        fetch_limit(paging)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(clause.params()), from_row)?;
    let found = page(
        rows.collect::<rusqlite::Result<Vec<_>>>()?,
        paging,
        |(call, seq)| vec![CursorPart::Int(call.ts.us()), CursorPart::Int(*seq)],
    );
    Ok(Page {
        items: found.items.into_iter().map(|(call, _)| call).collect(),
        next: found.next,
    })
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<(Call, i64)> {
    let call = Call {
        id: CallId(row.get(0)?),
        node: row.get(1)?,
        ts: Timestamp::from_us(row.get(2)?),
        endpoint: row.get(3)?,
        workload: row.get(4)?,
        host: row.get(5)?,
        side: super::side(row, 6)?,
        method: row.get(7)?,
        path: row.get(8)?,
        query_names: from_json(&row.get::<_, String>(9)?),
        status: row.get(10)?,
        request_bytes: row.get(11).map(uint)?,
        response_bytes: row.get(12).map(uint)?,
        request_body_bytes: row.get(13).map(uint)?,
        response_body_bytes: row.get(14).map(uint)?,
        duration_us: row.get(15).map(uint)?,
        ttfb_us: row.get(16).map(uint)?,
        protocol: row.get(17)?,
        flags: flag_names(row.get(18)?),
        client_workload: row.get(19)?,
        client_address: row.get(20)?,
        server_workload: row.get(21)?,
        server_address: row.get(22)?,
        request_headers: from_json::<Vec<Header>>(&row.get::<_, String>(23)?),
        response_headers: from_json::<Vec<Header>>(&row.get::<_, String>(24)?),
        weight: row.get(25)?,
        pid: row.get(26)?,
        application: row.get(28)?,
        operation: row.get(29)?,
        rpc_status: row.get(30)?,
        rpc_error: row.get(31)?,
        request_messages: row.get(32).map(uint)?,
        response_messages: row.get(33).map(uint)?,
        request_message_bytes: row.get(34).map(uint)?,
        response_message_bytes: row.get(35).map(uint)?,
        streaming: row.get(36)?,
        headers_unknown: row.get(37)?,
        tls: tls(row)?,
    };
    Ok((call, row.get(27)?))
}

/// The library tells a session from none.
fn tls(row: &Row<'_>) -> rusqlite::Result<Option<Tls>> {
    let tls = Tls {
        version: row.get(38)?,
        cipher: row.get(39)?,
        server_name: row.get(40)?,
        alpn: row.get(41)?,
        ja4: row.get(42)?,
        library: row.get(43)?,
    };
    Ok((!tls.library.is_empty()).then_some(tls))
}

/// JSON of a value that always has one.
pub fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The value of JSON that this module wrote.
pub fn from_json<T: serde::de::DeserializeOwned + Default>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_default()
}
