//! `eastwatch endpoints`

use std::io::Write;

use crate::store::{Endpoint, EndpointDetail, HistogramBucket, Side};

use super::args::EndpointsArgs;
use super::client::{CliError, Client, given};
use super::human::{bytes, count, duration, share, time};
use super::table::Align::{Fixed, Left, Right};
use super::table::{Columns, View};

/// Answers it.
pub async fn run(
    client: &Client,
    args: &EndpointsArgs,
    view: View,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let range = [("from", &args.range.from), ("to", &args.range.to)];
    if let Some(id) = &args.id {
        let detail: EndpointDetail = client.get(&["endpoints", id], &given(&range)).await?;
        return view.one(&detail, show, out);
    }
    let mut query = given(&range);
    query.extend(given(&[
        ("workload", &args.workload),
        ("host", &args.host),
        ("path", &args.path),
        ("method", &args.method),
        ("status", &args.status),
        ("side", &args.side),
        ("confirmed", &args.confirmed),
    ]));
    let list = client.list::<Endpoint>("endpoints", &query, args.limit).await?;
    view.list(&list, &COLUMNS, row, out)
}

const COLUMNS: Columns<13> = Columns {
    header: [
        ("HOST", Left),
        ("METHOD", Left),
        ("PATH", Left),
        ("WORKLOAD", Left),
        ("SEEN AT", Left),
        ("CALLS", Right),
        ("4XX", Right),
        ("5XX", Right),
        ("P50", Right),
        ("P95", Right),
        ("P99", Right),
        ("CLIENTS", Right),
        ("LAST SEEN", Fixed),
    ],
    less_needed: &["P95", "P50", "P99", "CLIENTS", "WORKLOAD", "LAST SEEN"],
};

fn row(endpoint: &Endpoint) -> [String; 13] {
    let counts = endpoint.window.as_ref().unwrap_or(&endpoint.total);
    [
        endpoint.host.clone(),
        endpoint.method.clone(),
        endpoint.path.clone(),
        endpoint.workload.clone(),
        // The usual case is left out: the column shows only where there is something to tell.
        if endpoint.side == Side::Server {
            String::new()
        } else {
            endpoint.side.name().to_owned()
        },
        count(counts.calls),
        share(counts.status.client_error, counts.calls),
        share(counts.status.server_error, counts.calls),
        duration(endpoint.latency_us.p50),
        duration(endpoint.latency_us.p95),
        duration(endpoint.latency_us.p99),
        count(endpoint.clients),
        time(endpoint.last_seen),
    ]
}

fn show(detail: &EndpointDetail, view: View, out: &mut (dyn Write + Send)) -> Result<(), CliError> {
    let endpoint = &detail.endpoint;
    let status = &endpoint.total.status;
    view.record(
        &[
            ("id", endpoint.id.clone()),
            ("endpoint", format!("{} {}", endpoint.method, endpoint.path)),
            ("host", endpoint.host.clone()),
            ("workload", endpoint.workload.clone()),
            ("side", endpoint.side.name().to_owned()),
            ("calls", endpoint.total.calls.to_string()),
            (
                "status",
                format!(
                    "1xx {}, 2xx {}, 3xx {}, 4xx {}, 5xx {}, none {}",
                    status.informational,
                    status.success,
                    status.redirect,
                    status.client_error,
                    status.server_error,
                    status.none
                ),
            ),
            (
                "latency",
                format!(
                    "p50 {}, p95 {}, p99 {}",
                    duration(endpoint.latency_us.p50),
                    duration(endpoint.latency_us.p95),
                    duration(endpoint.latency_us.p99)
                ),
            ),
            (
                "sent",
                format!(
                    "{} in, {} out",
                    bytes(endpoint.total.request_bytes),
                    bytes(endpoint.total.response_bytes)
                ),
            ),
            ("clients", endpoint.clients.to_string()),
            ("first seen", time(endpoint.first_seen)),
            ("last seen", time(endpoint.last_seen)),
            ("before", detail.aliases.join(", ")),
        ],
        out,
    )?;
    histogram("LATENCY", &detail.latency_histogram, duration, view, out)?;
    histogram("RESPONSE", &detail.response_bytes_histogram, bytes, view, out)
}

fn histogram(
    name: &'static str,
    buckets: &[HistogramBucket],
    unit: fn(u64) -> String,
    view: View,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    const BAR_WIDTH: u64 = 40;
    if buckets.is_empty() {
        return Ok(());
    }
    let most = buckets
        .iter()
        .map(|bucket| bucket.count)
        .max()
        .unwrap_or(1)
        .max(1);
    let rows: Vec<_> = buckets
        .iter()
        .map(|bucket| {
            let bar = u128::from(bucket.count) * u128::from(BAR_WIDTH) / u128::from(most);
            [
                unit(bucket.from),
                count(bucket.count),
                "█".repeat(usize::try_from(bar).unwrap_or_default().max(1)),
            ]
        })
        .collect();
    writeln!(out)?;
    let columns = Columns {
        header: [(name, Right), ("COUNT", Right), ("", Left)],
        less_needed: &[],
    };
    view.table(&columns, &rows, out)
}
