//! Counts of a replay.

use std::collections::BTreeMap;

use protocol::{Application, Exchange, Flags, Version};
use serde::Serialize;

use crate::pipeline::Measures;

/// What the exchanges were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    exchanges: u64,
    answered: u64,
    versions: [u64; 4],
    flags: [u64; Flags::NAMES.len()],
    applications: BTreeMap<&'static str, u64>,
    /// By hundreds; below 100 and from 600 on at 0.
    classes: [u64; 6],
    request_bytes: u64,
    response_bytes: u64,
    messages: [u64; 2],
    /// Times of the first and the last request.
    span_us: Option<(i64, i64)>,
    /// Calls whose path is not known.
    pub paths_unknown: u64,
}

/// A tally in `summary.json`.
#[derive(Debug, Serialize)]
pub struct TallyReport {
    exchanges: u64,
    unanswered: u64,
    status: BTreeMap<&'static str, u64>,
    protocols: BTreeMap<&'static str, u64>,
    applications: BTreeMap<&'static str, u64>,
    flags: BTreeMap<&'static str, u64>,
    request_bytes: u64,
    response_bytes: u64,
    request_messages: u64,
    response_messages: u64,
    first: Option<String>,
    last: Option<String>,
}

const VERSIONS: [Version; 4] = [Version::Http10, Version::Http11, Version::Http2, Version::Http3];
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl Tally {
    /// Counts an exchange.
    pub fn add(&mut self, exchange: &Exchange, measures: &Measures) {
        self.exchanges += 1;
        let version = exchange.request.version;
        for (known, count) in VERSIONS.iter().zip(&mut self.versions) {
            *count += u64::from(*known == version);
        }
        if exchange.flags != Flags::default() {
            for ((flag, _), count) in Flags::NAMES.iter().zip(&mut self.flags) {
                *count += u64::from(exchange.flags.contains(*flag));
            }
        }
        if exchange.application != Application::Http {
            *self.applications.entry(exchange.application.name()).or_default() += 1;
        }
        let class = exchange
            .response
            .as_ref()
            .map_or(0, |response| response.status / 100);
        let class = if class < 6 { usize::from(class) } else { 0 };
        if let Some(count) = self.classes.get_mut(class) {
            *count += 1;
        }
        self.answered += u64::from(exchange.response.is_some());
        self.request_bytes = self.request_bytes.saturating_add(measures.request_bytes);
        self.response_bytes = self.response_bytes.saturating_add(measures.response_bytes);
        let [sent, received] = &mut self.messages;
        *sent += exchange.request.body.messages.count;
        *received += exchange
            .response
            .as_ref()
            .map_or(0, |response| response.body.messages.count);
        let ts = measures.ts_us;
        let (first, last) = self.span_us.unwrap_or((ts, ts));
        self.span_us = Some((first.min(ts), last.max(ts)));
    }

    /// Exchanges counted.
    #[must_use]
    pub const fn exchanges(&self) -> u64 {
        self.exchanges
    }

    /// For people and tools.
    #[must_use]
    pub fn report(&self) -> TallyReport {
        let some = |names: &mut dyn Iterator<Item = (&'static str, u64)>| {
            names.filter(|(_, count)| *count > 0).collect()
        };
        let mut applications = self.applications.clone();
        let plain = self.exchanges - applications.values().sum::<u64>();
        if plain > 0 {
            applications.insert(Application::Http.name(), plain);
        }
        TallyReport {
            exchanges: self.exchanges,
            unanswered: self.exchanges - self.answered,
            status: some(&mut CLASSES.into_iter().zip(self.classes)),
            protocols: some(&mut VERSIONS.into_iter().map(Version::name).zip(self.versions)),
            applications,
            flags: some(&mut Flags::NAMES.into_iter().map(|(_, name)| name).zip(self.flags)),
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            request_messages: self.messages[0],
            response_messages: self.messages[1],
            first: self.span_us.map(|(first, _)| catalog::rfc3339(first)),
            last: self.span_us.map(|(_, last)| catalog::rfc3339(last)),
        }
    }
}
