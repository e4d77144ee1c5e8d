//! `eastwatch calls`

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use crate::api::{LIMIT_MAX, List};
use crate::store::{Call, CallId, Tls};
use crate::timestamp::Timestamp;

use super::args::{CallsArgs, Output};
use super::client::{CliError, Client, Query, given};
use super::human::{bytes, duration, safe, time};
use super::table::Align::{Fixed, Left, Right};
use super::table::{Columns, View};

/// How often new calls are asked for.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// How much later than it happened a call may arrive and still be shown when following.
const LATE_MAX: Duration = Duration::from_secs(60);

/// Answers it.
pub async fn run(
    client: &Client,
    args: &CallsArgs,
    view: View,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    if let Some(id) = &args.id {
        let call: Call = client.get(&["calls", id], &Query::new()).await?;
        return view.one(&call, show, out);
    }
    let filters = given(&[
        ("workload", &args.workload),
        ("client", &args.client),
        ("server", &args.server),
        ("host", &args.host),
        ("path", &args.path),
        ("method", &args.method),
        ("status", &args.status),
        ("application", &args.application),
        ("operation", &args.operation),
        ("scheme", &args.scheme),
        ("endpoint", &args.endpoint),
        ("side", &args.side),
    ]);
    if args.follow {
        return follow(client, &filters, args.range.from.as_deref(), view, out).await;
    }
    let mut query = given(&[("from", &args.range.from), ("to", &args.range.to)]);
    query.extend(filters);
    let list = client.list::<Call>("calls", &query, args.limit).await?;
    view.list(&list, &COLUMNS, row, out)
}

const COLUMNS: Columns<14> = Columns {
    header: [
        ("TIME", Fixed),
        ("CLIENT", Left),
        ("SERVER", Left),
        ("HOST", Left),
        ("METHOD", Left),
        ("PATH", Left),
        ("TLS", Left),
        ("PROTOCOL", Left),
        ("OPERATION", Left),
        ("STATUS", Right),
        ("RESULT", Left),
        ("DURATION", Right),
        ("RESPONSE", Right),
        ("FLAGS", Left),
    ],
    less_needed: &[
        "TLS", "HOST", "PROTOCOL", "DURATION", "CLIENT", "RESPONSE", "FLAGS",
    ],
};

/// The workload, or the address where there is none.
fn end(workload: &str, address: &str) -> String {
    if workload.is_empty() {
        address.to_owned()
    } else {
        workload.to_owned()
    }
}

fn row(call: &Call) -> [String; 14] {
    [
        time(call.ts),
        end(&call.client_workload, &call.client_address),
        end(&call.server_workload, &call.server_address),
        call.host.clone(),
        known(&call.method).to_owned(),
        known(&call.path).to_owned(),
        tls(call).to_owned(),
        protocol(call).to_owned(),
        operation(call).to_owned(),
        call.status
            .map_or_else(|| "-".to_owned(), |status| status.to_string()),
        result(call),
        duration(call.duration_us),
        bytes(call.response_bytes),
        call.flags.join(" "),
    ]
}

/// What was said before the connection was joined is not known.
fn known(text: &str) -> &str {
    if text.is_empty() { "?" } else { text }
}

/// Empty for what went in the clear.
fn tls(call: &Call) -> &str {
    call.tls.as_ref().map_or("", version)
}

/// Its number, where that is known.
fn version(tls: &Tls) -> &str {
    if tls.version.is_empty() {
        "TLS"
    } else {
        &tls.version
    }
}

/// Empty for HTTP alone.
fn protocol(call: &Call) -> &str {
    if call.application == "http" {
        ""
    } else {
        &call.application
    }
}

/// Empty where the path says the same, as in gRPC.
fn operation(call: &Call) -> &str {
    if call.path.strip_prefix('/') == Some(&call.operation) {
        ""
    } else {
        &call.operation
    }
}

/// What the application says of a call that failed.
fn result(call: &Call) -> String {
    match (call.application.as_str(), call.rpc_status) {
        _ if !call.rpc_error => String::new(),
        (_, None) => "FAULT".to_owned(),
        ("grpc" | "grpc-web", Some(code)) => {
            grpc_status(code).map_or_else(|| code.to_string(), str::to_owned)
        }
        (_, Some(code)) => code.to_string(),
    }
}

/// Names of the status codes of gRPC.
fn grpc_status(code: i32) -> Option<&'static str> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES.get(usize::try_from(code).ok()?).copied()
}

/// Messages each way; empty where there can be none.
fn messages(call: &Call) -> String {
    if call.request_messages + call.response_messages == 0 {
        return String::new();
    }
    format!(
        "{} of {} in, {} of {} out",
        call.request_messages,
        bytes(call.request_message_bytes),
        call.response_messages,
        bytes(call.response_message_bytes)
    )
}

fn show(call: &Call, view: View, out: &mut (dyn Write + Send)) -> Result<(), CliError> {
    let headers = |headers: &[crate::store::Header]| {
        headers
            .iter()
            .map(|header| format!("{}: {}", header.name, header.value))
            .collect::<Vec<_>>()
            .join("; ")
    };
    let said = |of: fn(&Tls) -> String| call.tls.as_ref().map(of).unwrap_or_default();
    view.record(
        &[
            ("id", call.id.to_string()),
            ("time", call.ts.to_string()),
            (
                "request",
                format!("{} {}", known(&call.method), known(&call.path)),
            ),
            ("host", call.host.clone()),
            ("query", call.query_names.join(" ")),
            (
                "status",
                call.status
                    .map_or_else(|| "no response".to_owned(), |status| status.to_string()),
            ),
            ("endpoint", call.endpoint.clone().unwrap_or_default()),
            (
                "client",
                format!("{} {}", call.client_workload, call.client_address)
                    .trim()
                    .to_owned(),
            ),
            (
                "server",
                format!("{} {}", call.server_workload, call.server_address)
                    .trim()
                    .to_owned(),
            ),
            (
                "duration",
                format!(
                    "{}, first byte after {}",
                    duration(call.duration_us),
                    duration(call.ttfb_us)
                ),
            ),
            (
                "sent",
                format!(
                    "{} in, {} out",
                    bytes(call.request_bytes),
                    bytes(call.response_bytes)
                ),
            ),
            (
                "bodies",
                format!(
                    "{} in, {} out",
                    bytes(call.request_body_bytes),
                    bytes(call.response_body_bytes)
                ),
            ),
            (
                "protocol",
                format!("{} {}", call.protocol, protocol(call)).trim().to_owned(),
            ),
            ("operation", call.operation.clone()),
            ("result", result(call)),
            (
                "messages",
                format!("{} {}", messages(call), call.streaming).trim().to_owned(),
            ),
            (
                "tls",
                said(|session| {
                    format!("{} {}", version(session), session.cipher)
                        .trim()
                        .to_owned()
                }),
            ),
            ("tls server name", said(|tls| tls.server_name.clone())),
            ("tls alpn", said(|tls| tls.alpn.clone())),
            ("tls ja4", said(|tls| tls.ja4.clone())),
            ("tls library", said(|tls| tls.library.clone())),
            ("flags", call.flags.join(" ")),
            (
                "headers unknown",
                if call.headers_unknown == 0 {
                    String::new()
                } else {
                    call.headers_unknown.to_string()
                },
            ),
            ("request headers", headers(&call.request_headers)),
            ("response headers", headers(&call.response_headers)),
            ("weight", call.weight.to_string()),
            (
                "seen by",
                format!("{} at the {}, pid {}", call.node, call.side.name(), call.pid),
            ),
        ],
        out,
    )
}

/// Shows calls as they arrive, oldest first.
async fn follow(
    client: &Client,
    filters: &Query<'_>,
    from: Option<&str>,
    view: View,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let mut shown: HashMap<CallId, Timestamp> = HashMap::new();
    let mut first_from = Some(from.unwrap_or("now").to_owned());
    let started = Timestamp::now();
    let mut ticks = tokio::time::interval(FOLLOW_INTERVAL);
    let limit = LIMIT_MAX.to_string();
    loop {
        ticks.tick().await;
        let since = Timestamp::now().earlier_by(LATE_MAX).max(started);
        // The first question may reach further back than what can still arrive.
        let since = first_from.take().unwrap_or_else(|| since.to_string());
        let mut query = filters.clone();
        query.extend([("from", since.as_str()), ("limit", limit.as_str())]);
        let page: List<Call> = client.get(&["calls"], &query).await?;
        if page.next.is_some() {
            eprintln!("eastwatch: more than {LIMIT_MAX} calls at once; the older ones are not shown");
        }
        for call in page.items.iter().rev() {
            if shown.insert(call.id, Timestamp::now()).is_some() {
                continue;
            }
            match view.output {
                Output::Json => writeln!(
                    out,
                    "{}",
                    serde_json::to_string(call).map_err(std::io::Error::from)?
                )?,
                Output::Table => writeln!(out, "{}", line(call))?,
            }
        }
        out.flush()?;
        let forget = Timestamp::now().earlier_by(LATE_MAX * 2);
        shown.retain(|_, at| *at >= forget);
    }
}

fn line(call: &Call) -> String {
    let [
        time,
        client,
        server,
        host,
        method,
        path,
        _,
        protocol,
        operation,
        status,
        result,
        duration,
        bytes,
        flags,
    ] = row(call);
    let scheme = if call.tls.is_some() { "https://" } else { "" };
    let request = [method, format!("{scheme}{host}{path}"), protocol, operation];
    let answer = [status, result];
    let said = |words: &[String]| {
        let words = words.iter().filter(|word| !word.is_empty()).map(String::as_str);
        words.collect::<Vec<_>>().join(" ")
    };
    safe(
        format!(
            "{time}  {client} → {server}  {}  {}  {duration}  {bytes}  {flags}",
            said(&request),
            said(&answer)
        )
        .trim_end(),
    )
}
