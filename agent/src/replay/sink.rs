//! Where the exchanges of all sources go: the catalog learns from each, and a line is kept of each.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use bytes::Bytes;
use catalog::{ApiKey, Observation, Side, path_of_target};
use detect::{Hosts, Redactor};
use foldhash::{HashMap, HashMapExt};
use policy::CapturePolicy;
use protocol::{Exchange, Request};
use xxhash_rust::xxh3::xxh3_64;

use super::endpoints::{Endpoints, NO_ENDPOINT};
use super::known::Known;
use super::line::{Line, Shown};
use super::parts::{Parts, Texts};
use super::spill::{Key, Spill};
use super::tally::Tally;
use crate::pipeline::Measures;
use crate::source::har::End;

/// Spellings of hosts that are remembered.
const HOSTS_KNOWN_MAX: usize = 4096;
/// Longest spelling remembered.
const HOST_KNOWN_BYTES_MAX: usize = 256;

/// An exchange as a source gives it. Its times are Unix epoch nanoseconds.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// What went over the wire.
    pub exchange: &'a Exchange,
    /// Client's end.
    pub client: End,
    /// Server's end.
    pub server: End,
    /// Its place among all.
    pub key: Key,
    /// Name of the file, as JSON.
    pub file: &'a [u8],
    /// It came over TLS.
    pub secure: bool,
}

/// See the module's description.
#[derive(Debug)]
pub struct Sink {
    reveal: bool,
    pub(super) redactor: Redactor,
    pub(super) hosts: KnownHosts,
    pub(super) endpoints: Endpoints,
    pub(super) spill: Spill,
    pub(super) texts: Texts,
    known: Known,
    pub(super) tally: Tally,
    /// Schemes that each host was called by.
    pub(super) schemes: HashMap<std::sync::Arc<str>, Schemes>,
}

/// Whether a host was called with and without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schemes {
    /// `http`
    pub plain: bool,
    /// `https`
    pub secure: bool,
}

impl Sink {
    /// Keeps what does not fit into memory in files of `dir`.
    #[must_use]
    pub fn new(dir: &Path, run_bytes: usize, reveal: bool) -> Self {
        Self {
            reveal,
            redactor: Redactor::new(&CapturePolicy::default()),
            hosts: KnownHosts::default(),
            endpoints: Endpoints::default(),
            spill: Spill::new(dir, run_bytes),
            texts: Texts::default(),
            known: Known::default(),
            tally: Tally::default(),
            schemes: HashMap::new(),
        }
    }

    /// Takes an exchange.
    ///
    /// # Errors
    /// The line cannot be kept.
    pub fn take(&mut self, arrival: &Arrival<'_>) -> io::Result<()> {
        let exchange = arrival.exchange;
        let request = &exchange.request;
        let measures = Measures::of(exchange, 0);
        self.tally.add(exchange, &measures);
        let api = self.hosts.of(request);
        let status = exchange
            .response
            .as_ref()
            .map(|response| response.status)
            .filter(|status| *status > 0);
        // Of a call whose method or path is not known (HTTP/2, joined late) no endpoint is made up.
        let observed = (!request.target.is_empty() && !request.method.is_empty()).then(|| {
            let observation = Observation {
                method: std::str::from_utf8(&request.method).unwrap_or_default(),
                path: path_of_target(&request.target),
                status,
                latency_us: exchange.response.as_ref().map(|_| measures.duration_us),
                request_bytes: measures.request_bytes,
                response_bytes: measures.response_bytes,
                client: client_identity(arrival.client.address),
                ts_us: measures.ts_us,
                weight: 1,
            };
            self.endpoints.observe(api, &observation)
        });
        let reference = observed.as_ref().map_or(NO_ENDPOINT, |(_, reference)| *reference);
        let recorded = observed.as_ref().map(|(recorded, _)| recorded);
        match recorded {
            None => self.tally.paths_unknown += 1,
            Some(recorded) => {
                if !self.schemes.contains_key(&recorded.host) {
                    self.schemes.insert(recorded.host.clone(), Schemes::default());
                }
                if let Some(schemes) = self.schemes.get_mut(&recorded.host) {
                    schemes.secure |= arrival.secure;
                    schemes.plain |= !arrival.secure;
                }
            }
        }
        let redacted;
        let shown = if self.reveal {
            Shown::Revealed { host: &api.host }
        } else {
            redacted = self.redactor.redact(exchange);
            Shown::Redacted {
                call: &redacted,
                recorded,
            }
        };
        let line = Line {
            file_index: arrival.key.file,
            file: arrival.file,
            client: arrival.client,
            server: arrival.server,
            exchange,
            measures,
            shown,
        };
        let (texts, known) = (&mut self.texts, &mut self.known);
        self.spill.add(arrival.key, reference, |out| {
            line.write(&mut Parts::new(out, texts), known);
        })
    }
}

fn client_identity(address: Option<IpAddr>) -> u64 {
    match address {
        Some(IpAddr::V4(address)) => xxh3_64(&address.octets()),
        Some(IpAddr::V6(address)) => xxh3_64(&address.octets()),
        None => 0,
    }
}

/// Hosts as clients spell them, and the API that each means.
#[derive(Debug, Default)]
pub struct KnownHosts {
    pub(super) hosts: Hosts,
    by_spelling: HashMap<Bytes, usize>,
    apis: Vec<ApiKey>,
    /// The API of a request whose host was not remembered.
    other: Option<ApiKey>,
}

impl KnownHosts {
    /// The API that a request is for.
    pub fn of(&mut self, request: &Request) -> &ApiKey {
        let spelling = spelling(request).filter(|spelling| spelling.len() <= HOST_KNOWN_BYTES_MAX);
        if let Some(known) = spelling.and_then(|spelling| self.by_spelling.get(spelling))
            && *known < self.apis.len()
        {
            return self.apis.get(*known).unwrap_or(const { &NOWHERE });
        }
        let api = ApiKey {
            workload: String::new(),
            host: self.hosts.of(request),
            side: Side::Server,
        };
        match spelling {
            // What is none is counted each time.
            Some(spelling) if !api.host.is_empty() => {
                if self.apis.len() >= HOSTS_KNOWN_MAX {
                    self.apis.clear();
                    self.by_spelling.clear();
                }
                self.by_spelling
                    .insert(Bytes::copy_from_slice(spelling), self.apis.len());
                self.apis.push(api);
                self.apis.last().unwrap_or(const { &NOWHERE })
            }
            _ => self.other.insert(api),
        }
    }
}

const NOWHERE: ApiKey = ApiKey {
    workload: String::new(),
    host: String::new(),
    side: Side::Server,
};

/// What names the host, where it is one thing alone: then the same spelling means the same host.
fn spelling(request: &Request) -> Option<&[u8]> {
    if request.target.first() != Some(&b'/') || &*request.method == b"CONNECT" {
        return None;
    }
    if let Some(authority) = &request.authority {
        return Some(authority)
            .filter(|text| !text.is_empty())
            .map(|text| &**text);
    }
    let mut fields = request.headers.all(b"host");
    fields.next().filter(|_| fields.next().is_none())
}
