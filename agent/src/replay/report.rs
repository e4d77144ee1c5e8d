//! The files of results.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use catalog::EndpointReport;
use foldhash::HashMap;
use serde::Serialize;

use super::endpoints::{Learnt, NO_ENDPOINT};
use super::json;
use super::output::{self, BUFFER_BYTES, OPENAPI, Staging, file_name};
use super::parts::Texts;
use super::sink::Schemes;
use super::spill::Spill;
use super::tally::TallyReport;
use crate::source::har;
use crate::status::{CounterRow, Fate};

/// What came of a file.
#[derive(Debug, Serialize)]
pub struct FileReport {
    file: String,
    /// The name as it stands in every line.
    #[serde(skip)]
    pub json: Vec<u8>,
    /// `pcap` or `har`; absent when it is neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<&'static str>,
    /// Elements of `log.entries`, those left out included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Lines of `calls.jsonl`.
    pub exchanges: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<LeftOut>,
    /// Why it was not read, or not to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Entries of an archive that make no call.
#[derive(Debug, Serialize)]
struct LeftOut {
    reason: &'static str,
    entries: u64,
    first_index: u64,
    first_line: u64,
}

impl FileReport {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let mut json = Vec::new();
        json::string(&mut json, path.as_os_str().as_encoded_bytes());
        let text = serde_json::from_slice(&json).unwrap_or_default();
        Self {
            file: text,
            json,
            format: None,
            entries: None,
            exchanges: 0,
            left_out: Vec::new(),
            error: None,
        }
    }

    /// Notes which entries were left out.
    pub fn left_out(&mut self, summary: &har::Summary) {
        self.left_out = summary
            .left_out
            .iter()
            .map(|(reason, (entries, first))| LeftOut {
                reason: reason.name(),
                entries: *entries,
                first_index: first.index,
                first_line: first.position.line,
            })
            .collect();
    }

    /// For people: which file, and why.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let error = self.error.as_ref()?;
        Some(format!("{}: {error}", self.file))
    }
}

/// `calls.jsonl`. Gives the number of lines of each file; `entries` are those of archives.
///
/// # Errors
/// It cannot be written.
pub fn calls(
    staging: &Staging,
    (spill, texts): (Spill, &Texts),
    endpoints: &[String],
    entries: &[Option<u64>],
) -> Result<Vec<u64>> {
    const NAME: &str = "calls.jsonl";
    let mut out = staging.create(NAME)?;
    let names: Vec<Vec<u8>> = endpoints
        .iter()
        .map(|name| {
            let mut json = Vec::new();
            json::string(&mut json, name.as_bytes());
            json
        })
        .collect();
    let mut lines = vec![0u64; entries.len()];
    let (mut file, mut base) = (0, 0);
    let mut text = Vec::with_capacity(2 * BUFFER_BYTES);
    spill
        .finish(|key, tag, parts| {
            // The sequence goes on behind all entries of an archive, and behind all calls of a capture.
            while file < key.file as usize {
                let of_file = entries.get(file).copied().flatten();
                base += of_file.or(lines.get(file).copied()).unwrap_or(0);
                file += 1;
            }
            let count = lines.get_mut(file).map_or(0, |count| {
                *count += 1;
                *count - 1
            });
            let within = if entries.get(file).is_some_and(Option::is_some) {
                key.first
            } else {
                count
            };
            text.extend_from_slice(b"{\"entry_index\":");
            json::number(&mut text, base + within);
            text.extend_from_slice(b",\"endpoint\":");
            let name = names.get(tag as usize).filter(|_| tag != NO_ENDPOINT);
            text.extend_from_slice(name.map_or(&b"null"[..], Vec::as_slice));
            texts.write(parts, &mut text)?;
            if text.len() >= BUFFER_BYTES {
                out.write_all(&text)?;
                text.clear();
            }
            Ok(())
        })
        .and_then(|()| out.write_all(&text))
        .context("cannot write calls.jsonl")?;
    output::finish(out, NAME)?;
    Ok(lines)
}

/// `inventory.json`: a page of the REST API with all endpoints. Gives their number.
///
/// # Errors
/// It cannot be written.
pub fn inventory(staging: &Staging, learnt: &Learnt) -> Result<u64> {
    #[derive(Serialize)]
    struct Page {
        items: Vec<EndpointReport>,
    }
    // Sorted by host, path and method, as the REST API has them: hosts are sorted, their workload and side are all the same.
    let items: Vec<EndpointReport> = learnt
        .apis
        .iter()
        .flat_map(|(key, api)| {
            api.endpoints()
                .into_iter()
                .map(|endpoint| EndpointReport::new(key, &endpoint))
        })
        .collect();
    let count = items.len() as u64;
    document(staging, "inventory.json", &Page { items })?;
    Ok(count)
}

/// `openapi/<host>.json` of each host.
///
/// # Errors
/// One cannot be written.
pub fn openapi(staging: &Staging, learnt: &Learnt, schemes: &HashMap<Arc<str>, Schemes>) -> Result<()> {
    for (key, api) in &learnt.apis {
        let host = key.host.as_str();
        let called = schemes.get(host).copied().unwrap_or_default();
        let servers: Vec<String> = if host.is_empty() || host == catalog::ANY_HOST {
            vec!["/".to_owned()]
        } else {
            [("https", called.secure), ("http", called.plain || !called.secure)]
                .into_iter()
                .filter(|(_, used)| *used)
                .map(|(scheme, _)| format!("{scheme}://{host}"))
                .collect()
        };
        let title = if host.is_empty() { "unknown host" } else { host };
        if let Some(openapi) = catalog::openapi(api, title, &servers) {
            document(staging, &format!("{OPENAPI}/{}", file_name(host)), &openapi)?;
        }
    }
    Ok(())
}

/// The files for which nothing is known yet.
///
/// # Errors
/// One cannot be written.
pub fn empty(staging: &Staging) -> Result<()> {
    for name in ["detections.jsonl", "findings.jsonl"] {
        output::finish(staging.create(name)?, name)?;
    }
    Ok(())
}

/// What `summary.json` says beside the counters.
#[derive(Debug, Serialize)]
pub struct Summary<'a> {
    /// In the order they were given.
    pub files: &'a [FileReport],
    /// It was told to stop: the rest of the files was not read.
    pub stopped: bool,
    /// Values are as they were.
    pub revealed: bool,
    /// What the calls were.
    pub calls: TallyReport,
    /// Calls without an endpoint, because their path is not known.
    pub paths_unknown: u64,
    /// Hosts in the inventory.
    pub hosts: usize,
    /// Endpoints in the inventory.
    pub endpoints: u64,
}

/// `summary.json`.
///
/// # Errors
/// It cannot be written.
pub fn summary(staging: &Staging, summary: Summary<'_>, rows: Vec<CounterRow>) -> Result<()> {
    #[derive(Serialize)]
    struct Row {
        stage: String,
        reason: String,
        events: u64,
        bytes: u64,
        fate: Fate,
        meaning: String,
    }
    #[derive(Serialize)]
    struct Whole<'a> {
        #[serde(flatten)]
        summary: Summary<'a>,
        drops: Vec<Row>,
        counters: BTreeMap<String, BTreeMap<String, u64>>,
    }
    let (mut drops, mut counters) = (
        Vec::<Row>::new(),
        BTreeMap::<String, BTreeMap<String, u64>>::new(),
    );
    for row in rows.into_iter().filter(|row| row.events + row.bytes > 0) {
        if row.fate == Fate::Counted {
            let count = counters
                .entry(row.stage)
                .or_default()
                .entry(row.name)
                .or_default();
            *count += row.events + row.bytes;
            continue;
        }
        // Captures that archives stand between are counted each for themselves.
        match drops
            .iter_mut()
            .find(|known| known.stage == row.stage && known.reason == row.name)
        {
            Some(known) => {
                known.events += row.events;
                known.bytes += row.bytes;
            }
            None => drops.push(Row {
                stage: row.stage,
                reason: row.name,
                events: row.events,
                bytes: row.bytes,
                fate: row.fate,
                meaning: row.meaning,
            }),
        }
    }
    document(
        staging,
        "summary.json",
        &Whole {
            summary,
            drops,
            counters,
        },
    )
}

fn document(staging: &Staging, name: &str, value: &impl Serialize) -> Result<()> {
    let mut out = staging.create(name)?;
    serde_json::to_writer_pretty(&mut out, value)
        .map_err(std::io::Error::from)
        .and_then(|()| out.write_all(b"\n"))
        .with_context(|| format!("cannot write {name}"))?;
    output::finish(out, name)
}
