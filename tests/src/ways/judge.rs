//! The verdict on a way: was it captured, was its loss counted, or is it unknown what became of it?
//!
//! The server goes the way, so `captured` asks for rows as the server's end saw them: what the client's end saw, which reads and writes
//! plainly, says only that the node was not blind.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::report::{Exchange, Outcome, Way};

/// A call as the agent shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Method; empty where it is not known.
    pub method: String,
    /// Target; empty where it is not known.
    pub target: String,
    /// Status; 0 where it is not known.
    pub status: u64,
    /// On the wire.
    pub request_bytes: u64,
    /// On the wire.
    pub response_bytes: u64,
    /// Whether it is as the server's end saw it.
    pub at_server: bool,
    /// Server's address.
    pub server: String,
    /// Completeness.
    pub flags: Vec<String>,
}

impl Row {
    /// Of a line of the agent's tail.
    #[must_use]
    pub fn parse(call: &Value) -> Self {
        let text = |name: &str| call[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| call[name].as_u64().unwrap_or_default();
        let flags = call["flags"].as_array().into_iter().flatten();
        Self {
            method: text("method"),
            target: text("target"),
            status: number("status"),
            request_bytes: number("request_bytes"),
            response_bytes: number("response_bytes"),
            at_server: call["read_at"] == "server",
            server: text("server"),
            flags: flags.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }
}

/// Bytes by which counters of losses have grown, by `stage.name`.
pub type Growth = BTreeMap<String, u64>;

/// What begins the names of the kernel's counters. Those of later stages count what is missing between what the kernel gave: the same
/// bytes, where the kernel has counted them.
const KERNEL: &str = "kernel.";
/// What no program was told of. Other counters of later stages say that something is missing, but not why.
pub const UNSEEN: &str = "tracker.unseen_bytes";

/// What became of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every exchange is a row as it was, given by the end that goes the way.
    Captured,
    /// What is not in rows is in counters.
    Counted,
    /// The kernel does not offer the way.
    Impossible,
    /// Anything else: a loss that nobody counted, or rows that are wrong.
    Unknown,
}

impl Verdict {
    /// As in the lines of the judge.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::Counted => "counted",
            Self::Impossible => "impossible",
            Self::Unknown => "unknown",
        }
    }
}

/// A verdict with its figures.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Way.
    pub way: String,
    /// Over TCP.
    pub is_tcp: bool,
    /// Verdict.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// Exchanges that took place.
    pub sent: usize,
    /// Rows of them.
    pub rows: usize,
    /// Rows of which every figure is right.
    pub exact: usize,
    /// Those of them of which nothing is missing.
    pub complete: usize,
    /// Bytes that the way carried and no complete row of the server's end shows.
    pub missing_bytes: u64,
    /// What the agent counted of losses meanwhile.
    pub growth: Growth,
    /// What those counters mean, in the agent's words.
    pub meanings: BTreeMap<String, String>,
}

impl Cell {
    /// A line of JSON.
    #[must_use]
    pub fn line(&self, kernel: &str, provider: &str) -> Value {
        json!({
            "kernel": kernel,
            "provider": provider,
            "way": self.way,
            "verdict": self.verdict.name(),
            "reason": self.reason,
            "sent": self.sent,
            "rows": self.rows,
            "exact": self.exact,
            "complete": self.complete,
            "missing_bytes": self.missing_bytes,
            "counted_bytes": self.growth,
            "meanings": self.meanings,
        })
    }
}

/// Judges a way by the rows that came of it and by what was counted meanwhile.
#[must_use]
pub fn judge(way: &Way, rows: &[Row], growth: &Growth) -> Cell {
    let mut cell = Cell {
        way: way.name.clone(),
        is_tcp: way.is_tcp,
        verdict: Verdict::Unknown,
        reason: String::new(),
        sent: 0,
        rows: 0,
        exact: 0,
        complete: 0,
        missing_bytes: 0,
        growth: Growth::new(),
        meanings: BTreeMap::new(),
    };
    match &way.outcome {
        Outcome::Impossible(reason) => {
            cell.verdict = Verdict::Impossible;
            cell.reason.clone_from(reason);
        }
        Outcome::Failed(reason) => cell.reason = format!("the way itself failed: {reason}"),
        Outcome::Sent { exchanges, port } => {
            let prefix = format!("/ways/{}/", way.name);
            let of_port = port.map(|port| format!(":{port}"));
            let here = |row: &&Row| {
                row.target.starts_with(&prefix)
                    || of_port.as_ref().is_some_and(|port| row.server.ends_with(port))
            };
            let rows: Vec<&Row> = rows.iter().filter(here).collect();
            cell.growth = growth.clone();
            weigh(&mut cell, exchanges, &rows);
        }
    }
    cell
}

fn weigh(cell: &mut Cell, exchanges: &[Exchange], rows: &[&Row]) {
    let mut by_path: HashMap<&str, Vec<&Row>> = HashMap::new();
    for row in rows {
        by_path.entry(&row.target).or_default().push(row);
    }
    (cell.sent, cell.rows) = (exchanges.len(), rows.len());
    let mut wrong = Vec::new();
    if rows.len() > exchanges.len() {
        wrong.push(format!("{} rows of {} exchanges", rows.len(), exchanges.len()));
    }
    let mut all_at_server = true;
    for exchange in exchanges {
        let found = by_path.remove(exchange.path.as_str()).unwrap_or_default();
        if found.len() > 1 {
            wrong.push(format!("{} rows of {}", found.len(), exchange.path));
        }
        let row = found.first().copied();
        wrong.extend(row.and_then(|row| contradiction(exchange, row)));
        let exact = row.is_some_and(|row| is_exact(exchange, row));
        let complete = exact && row.is_some_and(|row| row.flags.is_empty());
        let at_server = complete && row.is_some_and(|row| row.at_server);
        cell.exact += usize::from(exact);
        cell.complete += usize::from(complete);
        all_at_server &= at_server;
        if !at_server {
            cell.missing_bytes += exchange.carried_bytes;
        }
    }
    for (path, rows) in by_path {
        // Of a response whose request was not seen, no path is known; the row says so.
        let unexplained = rows.iter().filter(|row| !path.is_empty() || row.flags.is_empty());
        wrong.extend(unexplained.map(|row| format!("a row that nothing was like: {row:?}")));
    }
    if !wrong.is_empty() {
        cell.reason = wrong.join("; ");
        return;
    }
    if all_at_server {
        cell.verdict = Verdict::Captured;
        return;
    }
    cell.growth = needed(&cell.growth, cell.missing_bytes);
    let counted: u64 = cell.growth.values().sum();
    if counted >= cell.missing_bytes {
        cell.verdict = Verdict::Counted;
        let reasons = cell.growth.iter().map(|(name, bytes)| format!("{name} {bytes}"));
        cell.reason = reasons.collect::<Vec<_>>().join(", ");
    } else {
        cell.reason = format!(
            "{} bytes are neither in complete rows nor counted: rows {rows:?}",
            cell.missing_bytes - counted
        );
    }
}

/// The counters that it takes to explain so many bytes: the kernel's before others, those with a reason before those without, the largest
/// first. What little others counted meanwhile is of something else.
fn needed(growth: &Growth, bytes: u64) -> Growth {
    let mut counters: Vec<(&String, u64)> = growth.iter().map(|(name, bytes)| (name, *bytes)).collect();
    let rank = |name: &str| (!name.starts_with(KERNEL), name != UNSEEN);
    counters.sort_by_key(|(name, bytes)| (rank(name), std::cmp::Reverse(*bytes)));
    let mut explained = 0;
    let needed = counters.into_iter().take_while(|(_, counted)| {
        let more = explained < bytes;
        explained += counted;
        more
    });
    needed.map(|(name, counted)| (name.clone(), counted)).collect()
}

fn is_exact(exchange: &Exchange, row: &Row) -> bool {
    row.method == exchange.method
        && row.status == exchange.status
        && row.request_bytes == exchange.request_bytes
        && row.response_bytes == exchange.response_bytes
}

/// What a row says that was not so. What it leaves open, and says that it does, is no contradiction.
fn contradiction(exchange: &Exchange, row: &Row) -> Option<String> {
    let other = |said: u64, was: u64| said != was && (said > was || row.flags.is_empty());
    let wrong = (!row.method.is_empty() && row.method != exchange.method)
        || (row.status != exchange.status && (row.status != 0 || row.flags.is_empty()))
        || other(row.request_bytes, exchange.request_bytes)
        || other(row.response_bytes, exchange.response_bytes);
    wrong.then(|| format!("{row:?} of {exchange:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way() -> Way {
        let exchange = |number: u64| Exchange {
            method: "POST".into(),
            path: format!("/ways/read/{number}"),
            status: 200,
            request_bytes: 100 + number,
            response_bytes: 300,
            carried_bytes: 100,
        };
        Way {
            name: "read".into(),
            is_tcp: true,
            outcome: Outcome::Sent {
                exchanges: vec![exchange(0), exchange(1)],
                port: Some(4000),
            },
        }
    }

    fn row(number: u64) -> Row {
        Row {
            method: "POST".into(),
            target: format!("/ways/read/{number}"),
            status: 200,
            request_bytes: 100 + number,
            response_bytes: 300,
            at_server: true,
            server: "127.0.0.1:4000".into(),
            flags: Vec::new(),
        }
    }

    fn verdict(rows: &[Row], counted: u64) -> Verdict {
        let growth = Growth::from([("kernel.opaque_call".to_owned(), counted)]);
        judge(&way(), rows, &growth).verdict
    }

    #[test]
    fn captured_is_every_exchange_once_as_it_was() {
        let stranger = Row {
            target: "/other".into(),
            server: "127.0.0.1:4001".into(),
            ..Row::default()
        };
        assert_eq!(verdict(&[row(1), stranger, row(0)], 0), Verdict::Captured);
    }

    #[test]
    fn what_the_rows_lack_has_to_be_counted() {
        let from_client = Row {
            at_server: false,
            ..row(1)
        };
        let unfinished = Row {
            status: 0,
            response_bytes: 0,
            flags: vec!["gap".into()],
            ..row(1)
        };
        for (second, counted, expected) in [
            (None, 100, Verdict::Counted),
            (None, 99, Verdict::Unknown),
            (Some(from_client.clone()), 100, Verdict::Counted),
            (Some(from_client), 99, Verdict::Unknown),
            (Some(unfinished.clone()), 100, Verdict::Counted),
            (Some(unfinished), 0, Verdict::Unknown),
        ] {
            let rows: Vec<Row> = [row(0)].into_iter().chain(second).collect();
            assert_eq!(verdict(&rows, counted), expected, "{rows:?} {counted}");
        }
    }

    #[test]
    fn a_reason_of_the_kernel_goes_before_what_later_stages_make_of_it() {
        for (by_kernel, unseen, reasons) in [
            (100, 0, &["kernel.opaque_call"][..]),
            (99, 0, &["kernel.opaque_call", "tracker.gaps"]),
            (99, 1, &["kernel.opaque_call", UNSEEN]),
            (0, 100, &[UNSEEN]),
        ] {
            let counters = [
                ("kernel.opaque_call", by_kernel),
                ("tracker.gaps", 100),
                (UNSEEN, unseen),
            ];
            let growth = counters
                .into_iter()
                .filter(|(_, bytes)| *bytes > 0)
                .map(|(name, bytes)| (name.to_owned(), bytes))
                .collect();
            let cell = judge(&way(), &[row(0)], &growth);
            assert_eq!(cell.verdict, Verdict::Counted);
            assert!(cell.growth.keys().eq(reasons), "{:?}", cell.growth);
        }
    }

    #[test]
    fn what_was_not_so_is_never_good() {
        let plenty = u64::MAX;
        let changed = |change: fn(&mut Row)| {
            let mut second = row(1);
            change(&mut second);
            second
        };
        for second in [
            changed(|row| row.method = "GET".into()),
            changed(|row| row.status = 500),
            changed(|row| row.response_bytes = 299),
            changed(|row| {
                row.response_bytes = 301;
                row.flags = vec!["gap".into()];
            }),
            changed(|row| row.target = "/ways/read/7".into()),
            changed(|row| row.target = String::new()),
            changed(|row| row.target = "/ways/read/0".into()),
        ] {
            assert_eq!(
                verdict(&[row(0), second.clone()], plenty),
                Verdict::Unknown,
                "{second:?}"
            );
        }
        let unpaired = Row {
            target: String::new(),
            flags: vec!["unpaired".into()],
            ..row(1)
        };
        assert_eq!(verdict(&[row(0), unpaired.clone()], plenty), Verdict::Counted);
        assert_eq!(
            verdict(&[row(0), row(1), unpaired], plenty),
            Verdict::Unknown,
            "one too many"
        );
    }
}
