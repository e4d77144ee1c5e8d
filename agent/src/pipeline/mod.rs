//! From a call to what leaves the node: catalog deltas, budgeted calls, edges, workloads.
//!
//! Invariant: nothing of an exchange reaches the outbox but through the redactor and the catalog, which decides what of a path is text.

#[cfg(test)]
mod application_tests;
mod drops;
pub mod edges;
#[cfg(test)]
mod flow_tests;
mod message;
mod tls;
#[cfg(test)]
mod tls_tests;
mod weigh;

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use catalog::{ApiKey, LeafId, NodeCatalog, Observation, path_of_target};
use detect::{Hosts, Outcome, Redactor};
use policy::CapturePolicy;
use protocol::Exchange;
use wire::v1::{CatalogDelta, Payload};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

pub use self::drops::redaction_drops;
use self::drops::{counted, left_out};
use self::edges::{EdgeCall, EdgeKey, Edges, End, Parties};
use self::message::{Redacted, application_name, call_message};
use self::tls::TlsNames;
use crate::attribution::Process;
use crate::budget::{CallBudget, CallClass};
use crate::decay::{Decay, Rules};
use crate::status::PipelineDrop;
use crate::tracker::{Address, Call, Side};

/// Call rows gathered before they are handed over, whatever the interval: bounds memory and the size of batches.
pub const CALLS_MAX: usize = 2000;

/// A call as `tail` shows it, or as it goes to the collector; the sizes and times that both need.
#[derive(Clone, Copy, Debug)]
pub struct Measures {
    /// Unix epoch microseconds of the first request byte.
    pub ts_us: i64,
    /// Bytes on the wire.
    pub request_bytes: u64,
    /// Bytes on the wire; 0 without a response.
    pub response_bytes: u64,
    /// First request byte to last response byte, microseconds.
    pub duration_us: u64,
    /// First request byte to first response byte, microseconds.
    pub ttfb_us: u64,
}

impl Measures {
    /// Of an exchange; `epoch_us` is Unix time of 0 on its clock.
    #[must_use]
    pub fn of(exchange: &Exchange, epoch_us: i64) -> Self {
        let request = &exchange.request;
        let since = |time: u64| time.saturating_sub(request.first_byte) / 1000;
        let response = exchange.response.as_ref();
        Self {
            ts_us: epoch_us.saturating_add(i64::try_from(request.first_byte / 1000).unwrap_or(i64::MAX)),
            request_bytes: request.head_bytes + request.body.wire_bytes,
            response_bytes: response.map_or(0, |response| response.head_bytes + response.body.wire_bytes),
            duration_us: response.map_or(0, |response| since(response.last_byte)),
            ttfb_us: response.map_or(0, |response| since(response.first_byte)),
        }
    }
}

/// See the module's description.
pub struct Pipeline {
    catalog: NodeCatalog,
    budget: CallBudget,
    redactor: Redactor,
    hosts: Hosts,
    edges: Edges,
    decay: Decay,
    calls: Vec<wire::v1::Call>,
    seed: u64,
    targets_unknown: u64,
    tls: TlsNames,
    /// Of the latest call without a row; kept to save the allocations.
    api: ApiKey,
    /// Host and path of a call that has none.
    nothing: Arc<str>,
}

/// Where a call belongs in the inventory.
struct Place {
    host: Arc<str>,
    path: Arc<str>,
    leaf: Option<LeafId>,
    rare: bool,
}

impl Pipeline {
    /// Starts with nothing learnt. `boot` names this run: it makes the ids of calls unique.
    #[must_use]
    pub fn new(policy: &CapturePolicy, boot: &str) -> Self {
        let seed = xxh3_64(boot.as_bytes());
        Self {
            catalog: NodeCatalog::new(catalog::Limits::default()),
            budget: CallBudget::new(&policy.calls, seed),
            redactor: Redactor::new(policy),
            hosts: Hosts::default(),
            edges: Edges::default(),
            decay: Decay::new(Rules::default(), false),
            calls: Vec::new(),
            seed,
            targets_unknown: 0,
            tls: TlsNames::default(),
            api: ApiKey {
                workload: String::new(),
                host: String::new(),
                side: catalog::Side::Server,
            },
            nothing: "".into(),
        }
    }

    /// A new policy is in force.
    pub fn set_policy(&mut self, policy: &CapturePolicy) {
        self.budget.set_policy(&policy.calls, self.seed);
        self.redactor.set_policy(policy);
    }

    /// Takes a call. `epoch_us` is Unix time of 0 on the clock of its times.
    pub fn take(&mut self, call: &Call, epoch_us: i64) {
        let exchange = &call.exchange;
        let measures = Measures::of(exchange, epoch_us);
        let server_side = call.side == Side::Server;
        let mut api = ApiKey {
            workload: std::mem::take(&mut self.api.workload),
            host: self.hosts.of(&exchange.request),
            side: if server_side {
                catalog::Side::Server
            } else {
                catalog::Side::Client
            },
        };
        api.workload.clear();
        if server_side {
            api.workload.push_str(&call.process.workload.name);
        }
        let method = std::str::from_utf8(&exchange.request.method).unwrap_or_default();
        let Place {
            host,
            path,
            leaf,
            rare,
        } = self.observe(call, &api, &measures);
        if *api.host != *host {
            api.host = host.to_string();
        }
        let failure = Failure::of(exchange);
        let edge_call = EdgeCall {
            weight: u64::from(call.weight),
            error: failure == Failure::Server,
            request_bytes: measures.request_bytes,
            response_bytes: measures.response_bytes,
            duration_us: measures.duration_us,
            ts_us: measures.ts_us,
        };
        let edge = self
            .edges
            .add_between(parties(call, host), edge_call, || edge_key(call, &api.host));
        if let Some(leaf) = leaf.filter(|_| !call.again) {
            self.weigh(call, &api, leaf, &edge);
        }
        if call.again {
            // One like it has a row, which is shown, or was left out.
            self.api = api;
            return;
        }
        let class = CallClass {
            error: failure != Failure::None,
            rare,
            endpoint: endpoint_hash(leaf, &api, method),
        };
        let now_us = u64::try_from(measures.ts_us).unwrap_or(0);
        let Some(weight) = self.budget.admit(now_us, class) else {
            self.api = api;
            return;
        };
        let redacted = Redacted {
            id: self.call_id(call),
            call: self.redactor.redact(exchange),
            tls: call.tls.as_ref().map(|tls| self.tls.message(tls, &api.host)),
            api,
            path: path.to_string(),
            leaf,
            weight: row_weight(weight, call.weight),
            measures,
        };
        self.calls.push(call_message(call, redacted));
    }

    /// Counts the call in the inventory. One whose method or path is not known makes no endpoint, and its host, which is learnt from the
    /// same source, is not guessed.
    fn observe(&mut self, call: &Call, api: &ApiKey, measures: &Measures) -> Place {
        let exchange = &call.exchange;
        let request = &exchange.request;
        // CONNECT has no path: it is one of its own.
        if request.method.is_empty() || (request.target.is_empty() && &*request.method != b"CONNECT") {
            self.targets_unknown += 1;
            return Place {
                host: Arc::clone(&self.nothing),
                path: Arc::clone(&self.nothing),
                leaf: None,
                rare: false,
            };
        }
        let recorded = self.catalog.observe(
            api,
            &Observation {
                method: std::str::from_utf8(&request.method).unwrap_or_default(),
                path: path_of_target(&request.target),
                status: known_status(exchange),
                latency_us: exchange.response.as_ref().map(|_| measures.duration_us),
                request_bytes: measures.request_bytes,
                response_bytes: measures.response_bytes,
                client: client_identity(call),
                ts_us: measures.ts_us,
                weight: u64::from(call.weight),
            },
        );
        Place {
            host: recorded.host,
            path: recorded.path,
            leaf: Some(recorded.leaf),
            rare: recorded.rare,
        }
    }

    /// Whether so many rows wait that they should be handed over before the interval is up.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.calls.len() >= CALLS_MAX
    }

    /// Call rows that wait.
    pub fn take_calls(&mut self) -> Payload {
        Payload {
            calls: std::mem::take(&mut self.calls),
            ..Payload::default()
        }
    }

    /// Everything that is new since the last call.
    pub fn take_payload(&mut self) -> Payload {
        let catalog = self
            .catalog
            .take_delta()
            .iter()
            .map(|delta| CatalogDelta {
                api: Some(message::api_message(&delta.api)),
                delta: delta.encode(),
            })
            .collect();
        Payload {
            catalog,
            calls: std::mem::take(&mut self.calls),
            edges: self.edges.take(),
            ..Payload::default()
        }
    }

    /// What limits cut off or folded, and what was not as it should be.
    pub fn drops(&self) -> Vec<PipelineDrop> {
        let folds = self.catalog.folded().map(|(limit, count)| {
            let meaning = "paths beyond this limit of the catalog: counted with others";
            left_out("catalog", limit, count, meaning)
        });
        let calls = self.budget.counts().map(|(class, counts)| {
            let meaning = "calls of this kind without a row of their own (calls.budget): counted by minute all the same";
            left_out("calls", class.name(), counts.not_sent, meaning)
        });
        folds
            .chain(calls)
            .chain([
                left_out(
                    "edges",
                    "folded",
                    self.edges.folded(),
                    "calls whose edge lost its addresses: too many edges",
                ),
                counted(
                    "catalog",
                    "targets_unknown",
                    self.targets_unknown,
                    "calls whose method or path was said before the connection was joined: in no endpoint",
                ),
            ])
            .chain(self.tls.drops())
            .chain(redaction_drops(self.redactor.counters(), self.hosts.counters()))
            .collect()
    }

    /// Rows sent so far.
    #[must_use]
    pub fn calls_sent(&self) -> u64 {
        self.budget.counts().map(|(_, counts)| counts.sent).sum()
    }

    fn call_id(&self, call: &Call) -> u64 {
        let mut hasher = Xxh3::with_seed(self.seed);
        call.connection.hash(&mut hasher);
        // Not the index alone: a connection that was joined again counts from 0.
        call.exchange.index.hash(&mut hasher);
        call.exchange.request.first_byte.hash(&mut hasher);
        hasher.finish()
    }
}

/// Weight of a row: of the calls that its budget had to choose from it stands for `of_rows` (0 without a limit), each of which stands
/// for as many as this one, `of_captured`, more or less: which of them are rows does not depend on that, so sums over rows are unbiased.
fn row_weight(of_rows: u32, of_captured: u32) -> u32 {
    match of_captured {
        0 | 1 => of_rows,
        more => of_rows.max(1).saturating_mul(more),
    }
}

/// Calls without a leaf share a place with those of their API.
fn endpoint_hash(leaf: Option<LeafId>, api: &ApiKey, method: &str) -> u64 {
    let mut hasher = Xxh3::new();
    match leaf {
        Some(leaf) => hasher.write(&leaf.0),
        None => hasher.write(api.workload.as_bytes()),
    }
    hasher.write(method.as_bytes());
    hasher.finish()
}

/// `None` when no response was seen, or its status is not known (0).
fn known_status(exchange: &Exchange) -> Option<u16> {
    let response = exchange.response.as_ref()?;
    (response.status != 0).then_some(response.status)
}

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    None,
    /// 4xx, or what an application says that is like it.
    Client,
    /// 5xx, no response, or what an application says that is like it.
    Server,
}

impl Failure {
    /// The worse of what HTTP and the application say. A response of unknown status is none by itself.
    fn of(exchange: &Exchange) -> Self {
        let http = match exchange.response.as_ref().map(|response| response.status) {
            None | Some(500..) => return Self::Server,
            Some(400..) => Self::Client,
            Some(_) => Self::None,
        };
        match Outcome::of(exchange) {
            Outcome::Unknown => http,
            Outcome::Failed => Self::Client,
            Outcome::ServerFailed => Self::Server,
        }
    }
}

/// Who the client is: its workload where it is on this node, else its address.
fn client_identity(call: &Call) -> u64 {
    match client_process(call) {
        Some(process) => xxh3_64(process.workload.name.as_bytes()),
        None => match call.client.ip() {
            Some(address) => xxh3_64(address.to_string().as_bytes()),
            None => xxh3_64(call.client.to_string().as_bytes()),
        },
    }
}

fn client_process(call: &Call) -> Option<&Arc<Process>> {
    match call.side {
        Side::Client => Some(&call.process),
        Side::Server => call.peer.as_ref(),
    }
}

fn server_process(call: &Call) -> Option<&Arc<Process>> {
    match call.side {
        Side::Server => Some(&call.process),
        Side::Client => call.peer.as_ref(),
    }
}

fn workload_name(process: Option<&Arc<Process>>) -> String {
    process
        .map(|process| process.workload.name.clone())
        .unwrap_or_default()
}

/// How an edge names an end that is not on this node. Addresses of the private ranges are machines one knows; the public ones are
/// too many and change too often to be ends of their own: callers from there are one, servers there are told apart by the host that
/// was asked for.
fn edge_address(address: &Address, host: Option<&str>) -> String {
    let Some(address) = address.ip() else {
        return address.to_string();
    };
    let private = match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local() || is_shared(v4),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local(),
    };
    match host {
        _ if private => address.to_string(),
        Some("") => address.to_string(),
        Some(_) | None => EXTERNAL.to_owned(),
    }
}

/// 100.64.0.0/10 (RFC 6598), which clusters use for pods.
fn is_shared(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [100, 64..=127, _, _])
}

/// Stands for all public addresses in edges.
const EXTERNAL: &str = "external";

/// What [`edge_key`] follows from.
fn parties(call: &Call, host: Arc<str>) -> Parties {
    let end = |process: Option<&Arc<Process>>, address: &Address| match (process, address) {
        (Some(process), _) => End::Here(Arc::clone(&process.workload)),
        (None, Address::Ip(address)) => End::There(address.ip()),
        (None, Address::Unix(name)) => End::Named(Arc::clone(name)),
    };
    Parties {
        client: end(client_process(call), &call.client),
        server: end(server_process(call), &call.server),
        server_port: call.server.port().unwrap_or(0),
        host,
        server_side: call.side == Side::Server,
        protocol: call.exchange.request.version.name(),
        application: application_name(&call.exchange.application),
    }
}

fn edge_key(call: &Call, host: &str) -> EdgeKey {
    let client = client_process(call);
    let server = server_process(call);
    let unless_here =
        |here: Option<&Arc<Process>>, address: String| if here.is_some() { String::new() } else { address };
    EdgeKey {
        client_workload: workload_name(client),
        server_workload: workload_name(server),
        client_address: unless_here(client, edge_address(&call.client, None)),
        server_address: unless_here(server, edge_address(&call.server, Some(host))),
        server_port: call.server.port().unwrap_or(0),
        host: host.to_owned(),
        server_side: call.side == Side::Server,
        protocol: call.exchange.request.version.name(),
        application: application_name(&call.exchange.application),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_one_end_of_edges() {
        for (address, host, expect) in [
            ("10.1.2.3", None, "10.1.2.3"),
            ("100.64.3.4", None, "100.64.3.4"),
            ("::ffff:192.168.0.9", None, "::ffff:192.168.0.9"),
            ("fd00::1", Some("api"), "fd00::1"),
            ("203.0.113.7", None, "external"),
            ("2001:db8::1", None, "external"),
            ("203.0.113.7", Some("api.example.com"), "external"),
            ("203.0.113.7", Some(""), "203.0.113.7"),
        ] {
            assert_eq!(
                edge_address(
                    &Address::Ip((address.parse::<IpAddr>().unwrap(), 80).into()),
                    host
                ),
                expect,
                "{address} {host:?}"
            );
        }
    }

    #[test]
    fn a_row_stands_for_what_its_budget_and_its_connection_stand_for() {
        for (of_rows, of_connections, expect) in [
            (0, 1, 0),
            (5, 1, 5),
            (0, 8, 8),
            (5, 8, 40),
            (u32::MAX, 64, u32::MAX),
        ] {
            assert_eq!(row_weight(of_rows, of_connections), expect);
        }
    }
}
