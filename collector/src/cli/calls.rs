//! `eastwatch calls`

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use crate::api::{LIMIT_MAX, List};
use crate::store::{Call, CallId};
use crate::timestamp::Timestamp;

use super::args::{CallsArgs, Output};
use super::client::{CliError, Client, Query, given};
use super::human::{bytes, duration, safe, time};
use super::table::Align::{Fixed, Left, Right};
use super::table::View;

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
        return match view.output {
            Output::Json => view.json(&call, out),
            Output::Table => show(&call, view, out),
        };
    }
    let filters = given(&[
        ("workload", &args.workload),
        ("client", &args.client),
        ("server", &args.server),
        ("host", &args.host),
        ("path", &args.path),
        ("method", &args.method),
        ("status", &args.status),
        ("endpoint", &args.endpoint),
        ("side", &args.side),
    ]);
    if args.follow {
        return follow(client, &filters, args.range.from.as_deref(), view, out).await;
    }
    let mut query = given(&[("from", &args.range.from), ("to", &args.range.to)]);
    query.extend(filters);
    let list = client.list::<Call>("calls", &query, args.limit).await?;
    if view.output == Output::Json {
        return view.json(&list, out);
    }
    let rows: Vec<_> = list.items.iter().map(row).collect();
    let header = [
        ("TIME", Fixed),
        ("CLIENT", Left),
        ("SERVER", Left),
        ("HOST", Left),
        ("METHOD", Left),
        ("PATH", Left),
        ("STATUS", Right),
        ("DURATION", Right),
        ("RESPONSE", Right),
        ("FLAGS", Left),
    ];
    view.table(
        header,
        &["HOST", "DURATION", "CLIENT", "RESPONSE", "FLAGS"],
        &rows,
        out,
    )?;
    view.more(list.next.is_some(), out)
}

/// The workload, or the address where there is none.
fn end(workload: &str, address: &str) -> String {
    if workload.is_empty() {
        address.to_owned()
    } else {
        workload.to_owned()
    }
}

fn row(call: &Call) -> [String; 10] {
    [
        time(call.ts),
        end(&call.client_workload, &call.client_address),
        end(&call.server_workload, &call.server_address),
        call.host.clone(),
        call.method.clone(),
        call.path.clone(),
        call.status
            .map_or_else(|| "-".to_owned(), |status| status.to_string()),
        duration(call.duration_us),
        bytes(call.response_bytes),
        call.flags.join(" "),
    ]
}

fn show(call: &Call, view: View, out: &mut (dyn Write + Send)) -> Result<(), CliError> {
    let headers = |headers: &[crate::store::Header]| {
        headers
            .iter()
            .map(|header| format!("{}: {}", header.name, header.value))
            .collect::<Vec<_>>()
            .join("; ")
    };
    view.record(
        &[
            ("id", call.id.to_string()),
            ("time", call.ts.to_string()),
            ("request", format!("{} {}", call.method, call.path)),
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
            ("protocol", call.protocol.clone()),
            ("flags", call.flags.join(" ")),
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
        status,
        duration,
        bytes,
        flags,
    ] = row(call);
    safe(
        format!("{time}  {client} → {server}  {method} {host}{path}  {status}  {duration}  {bytes}  {flags}")
            .trim_end(),
    )
}
