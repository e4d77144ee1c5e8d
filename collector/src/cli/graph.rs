//! `eastwatch graph`

use std::io::Write;

use crate::store::{Edge, Side};
use crate::timestamp::Timestamp;

use super::args::GraphArgs;
use super::client::{CliError, Client, given};
use super::human::{bytes, count, duration, rate, share, time};
use super::table::Align::{Fixed, Left, Right};
use super::table::{Columns, View};

/// Answers it.
pub async fn run(
    client: &Client,
    args: &GraphArgs,
    view: View,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let query = given(&[
        ("from", &args.range.from),
        ("to", &args.range.to),
        ("workload", &args.workload),
        ("host", &args.host),
        ("side", &args.side),
    ]);
    let list = client.list::<Edge>("edges", &query, args.limit).await?;
    // The collector has checked both.
    let now = Timestamp::now();
    let bound = |text: &Option<String>| text.as_deref().and_then(|text| Timestamp::parse(text, now).ok());
    let (from, to) = (bound(&args.range.from), bound(&args.range.to));
    view.list(&list, &COLUMNS, |edge| row(edge, from, to), out)
}

const COLUMNS: Columns<12> = Columns {
    header: [
        ("CLIENT", Left),
        ("", Left),
        ("SERVER", Left),
        ("HOST", Left),
        ("PROTOCOL", Left),
        ("SEEN AT", Left),
        ("CALLS", Right),
        ("CALLS/S", Right),
        ("ERRORS", Right),
        ("MEAN", Right),
        ("RESPONSES", Right),
        ("LAST SEEN", Fixed),
    ],
    less_needed: &["HOST", "MEAN", "RESPONSES", "PROTOCOL", "LAST SEEN"],
};

fn row(edge: &Edge, from: Option<Timestamp>, to: Option<Timestamp>) -> [String; 12] {
    [
        end(&edge.client_workload, &edge.client_address),
        "→".to_owned(),
        server(edge),
        edge.host.clone(),
        if edge.application == "http" {
            edge.protocol.clone()
        } else {
            edge.application.clone()
        },
        if edge.side == Side::Server {
            String::new()
        } else {
            edge.side.name().to_owned()
        },
        count(edge.calls),
        rate(edge.calls as f64 / seconds(edge, from, to)),
        share(edge.errors, edge.calls),
        duration(edge.duration_us_sum.checked_div(edge.calls).unwrap_or_default()),
        bytes(edge.response_bytes),
        time(edge.last_seen),
    ]
}

/// How long the edge was in use, within the range asked for; at least a second.
fn seconds(edge: &Edge, from: Option<Timestamp>, to: Option<Timestamp>) -> f64 {
    let begin = from.map_or(edge.first_seen, |from| from.max(edge.first_seen));
    let end = to.map_or(edge.last_seen, |to| to.min(edge.last_seen));
    (end.us().saturating_sub(begin.us()) as f64 / 1e6).max(1.0)
}

fn end(workload: &str, address: &str) -> String {
    match (workload, address) {
        ("", "") => "?".to_owned(),
        ("", address) => address.to_owned(),
        (workload, _) => workload.to_owned(),
    }
}

fn server(edge: &Edge) -> String {
    let name = end(&edge.server_workload, &edge.server_address);
    match edge.server_port {
        0 => name,
        // A bare IPv6 address would run into its port.
        port if edge.server_workload.is_empty() && name.contains(':') => format!("[{name}]:{port}"),
        port => format!("{name}:{port}"),
    }
}
