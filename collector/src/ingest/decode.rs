//! From the wire to the store's types. Everything an agent sends is checked and bounded here, once.

use catalog::ApiDelta;
use wire::v1;

use crate::metrics::{Dropped, Metrics};
use crate::store::{
    AgentState, Batch, BatchId, Call, CallId, CallSeen, CoverageIncrement, CoverageKind, CoveredBytes,
    DropCount, EdgeIncrement, Header, Lowered, Side, Tls, TrafficClass, WorkloadSeen, flag_names,
};
use crate::timestamp::Timestamp;

/// Longest name of a node, boot, workload, host, method, protocol or address, bytes; longer ones are cut.
pub(super) const NAME_BYTES_MAX: usize = 512;

/// Longest other text (a path, a command, a header's value), bytes; longer ones are cut.
const TEXT_BYTES_MAX: usize = 4096;

/// Most query names or headers of one call, or drop counters or lowered workloads of one agent; further ones are cut.
const LIST_MAX: usize = 256;

/// Application of what is HTTP alone.
const PLAIN: &str = "http";

/// TLS library of an agent that does not name it.
const UNNAMED: &str = "unknown";

/// A batch that was understood.
pub(super) struct Decoded {
    pub batch: Batch,
    /// About how much memory it takes.
    pub memory_bytes: usize,
}

/// A batch that was not.
#[derive(Debug)]
pub(super) struct Rejected {
    /// Whose it is, unless even that is not understood.
    pub id: Option<BatchId>,
    pub reason: String,
}

/// Checks who an agent says it is.
pub(super) fn check_identity(node: &str, boot: &str) -> Result<(), String> {
    for (name, value) in [("node", node), ("boot", boot)] {
        if value.is_empty() || value.len() > NAME_BYTES_MAX {
            return Err(format!(
                "`{name}` has {} bytes, must have 1 to {NAME_BYTES_MAX}",
                value.len()
            ));
        }
    }
    Ok(())
}

/// Decodes a batch.
pub(super) fn batch(batch: v1::Batch, received: Timestamp, metrics: &Metrics) -> Result<Decoded, Rejected> {
    let unknown = |reason: String| Rejected { id: None, reason };
    check_identity(&batch.node, &batch.boot).map_err(unknown)?;
    if batch.sequence == 0 || i64::try_from(batch.sequence).is_err() {
        return Err(unknown(format!(
            "sequence {} is not between 1 and 2^63 - 1",
            batch.sequence
        )));
    }
    let id = BatchId {
        node: batch.node,
        boot: batch.boot,
        sequence: batch.sequence,
    };
    let payload = match wire::decode_payload(&batch.payload_zstd) {
        Ok(payload) => payload,
        Err(error) => {
            return Err(Rejected {
                id: Some(id),
                reason: error.to_string(),
            });
        }
    };
    let encoded_bytes = prost::Message::encoded_len(&payload);
    metrics.payload_bytes.inc_by(encoded_bytes as u64);
    // Many empty rows are short on the wire and long in memory.
    let memory_bytes = encoded_bytes
        + payload.calls.len() * size_of::<CallSeen>()
        + payload.edges.len() * size_of::<EdgeIncrement>()
        + payload.workloads.len() * size_of::<WorkloadSeen>()
        + payload
            .coverage
            .iter()
            .map(|delta| size_of::<CoverageIncrement>() + delta.bytes.len() * size_of::<CoveredBytes>())
            .sum::<usize>();
    let decoder = Decoder { id: &id, metrics };
    let deltas = payload
        .catalog
        .into_iter()
        .map(delta)
        .collect::<Result<Vec<_>, _>>();
    let calls = payload
        .calls
        .into_iter()
        .map(|call| decoder.call(call))
        .collect::<Result<Vec<_>, _>>();
    let edges = payload
        .edges
        .into_iter()
        .map(|edge| decoder.edge(edge))
        .collect::<Result<Vec<_>, _>>();
    let workloads = payload
        .workloads
        .into_iter()
        .map(|workload| decoder.workload(workload))
        .collect();
    let status = payload.status.map(|status| decoder.status(status));
    let coverage = payload
        .coverage
        .into_iter()
        .map(|delta| decoder.coverage(delta))
        .collect();
    match (deltas, calls, edges) {
        (Ok(deltas), Ok(calls), Ok(edges)) => {
            let created = Timestamp::from_us(batch.created_us);
            let batch = Batch {
                id,
                created,
                received,
                deltas,
                calls,
                edges,
                workloads,
                status,
                coverage,
            };
            Ok(Decoded { batch, memory_bytes })
        }
        (Err(reason), ..) | (_, Err(reason), _) | (.., Err(reason)) => Err(Rejected { id: Some(id), reason }),
    }
}

fn delta(delta: v1::CatalogDelta) -> Result<ApiDelta, String> {
    ApiDelta::decode(&delta.delta).map_err(|error| format!("a catalog delta cannot be decoded: {error}"))
}

fn side(side: i32) -> Result<Side, String> {
    match v1::Side::try_from(side) {
        Ok(v1::Side::Server) => Ok(Side::Server),
        Ok(v1::Side::Client) => Ok(Side::Client),
        Ok(v1::Side::Unspecified) | Err(_) => Err(format!("side {side} is neither server nor client")),
    }
}

/// Cuts a text at a character's boundary. True when it was too long.
pub(super) fn cut(text: &mut String, bytes_max: usize) -> bool {
    if text.len() <= bytes_max {
        return false;
    }
    let end = (0..=bytes_max)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    text.truncate(end);
    true
}

/// A text within its limit; what is cut is counted.
pub(super) fn text(mut text: String, metrics: &Metrics) -> String {
    metrics.count_dropped(Dropped::TextCut, u64::from(cut(&mut text, TEXT_BYTES_MAX)));
    text
}

struct Decoder<'a> {
    id: &'a BatchId,
    metrics: &'a Metrics,
}

impl Decoder<'_> {
    fn name(&self, mut name: String) -> String {
        self.metrics
            .count_dropped(Dropped::TextCut, u64::from(cut(&mut name, NAME_BYTES_MAX)));
        name
    }

    fn application(&self, name: String) -> String {
        if name.is_empty() {
            PLAIN.to_owned()
        } else {
            self.name(name)
        }
    }

    fn text(&self, value: String) -> String {
        text(value, self.metrics)
    }

    fn list<T, U>(&self, mut items: Vec<T>, map: impl Fn(T) -> U) -> Vec<U> {
        self.metrics
            .count_dropped(Dropped::TextCut, items.len().saturating_sub(LIST_MAX) as u64);
        items.truncate(LIST_MAX);
        items.into_iter().map(map).collect()
    }

    fn headers(&self, headers: Vec<v1::Header>) -> Vec<Header> {
        self.list(headers, |header| Header {
            name: self.name(header.name),
            value: self.text(header.value),
        })
    }

    fn tls(&self, tls: v1::Tls) -> Tls {
        let library = if tls.library.is_empty() {
            UNNAMED.to_owned()
        } else {
            self.name(tls.library)
        };
        Tls {
            version: self.name(tls.version),
            cipher: self.name(tls.cipher),
            server_name: self.name(tls.server_name),
            alpn: self.name(tls.alpn),
            ja4: self.name(tls.ja4),
            library,
        }
    }

    fn call(&self, call: v1::Call) -> Result<CallSeen, String> {
        let api = call.api.unwrap_or_default();
        let leaf = match call.leaf.len() {
            0 => None,
            _ => Some(call.leaf.as_slice().try_into().map_err(|_| {
                format!(
                    "the leaf of a call has {} bytes, must have 16 or none",
                    call.leaf.len()
                )
            })?),
        };
        let status = match call.status {
            0 => None,
            status => Some(u16::try_from(status).map_err(|_| format!("{status} is not a status"))?),
        };
        let decoded = Call {
            id: CallId::new(&self.id.node, &self.id.boot, call.id),
            node: self.id.node.clone(),
            ts: Timestamp::from_us(call.ts_us),
            endpoint: None,
            workload: self.name(api.workload),
            host: self.name(api.host),
            side: side(api.side).map_err(|reason| format!("a call's {reason}"))?,
            method: self.name(call.method),
            path: self.text(call.path),
            query_names: self.list(call.query_names, |name| self.name(name)),
            status,
            request_bytes: call.request_bytes,
            response_bytes: call.response_bytes,
            request_body_bytes: call.request_body_bytes,
            response_body_bytes: call.response_body_bytes,
            duration_us: call.duration_us,
            ttfb_us: call.ttfb_us,
            protocol: self.name(call.protocol),
            application: self.application(call.application),
            operation: self.name(call.operation),
            rpc_status: call.rpc_status,
            rpc_error: call.rpc_error,
            request_messages: call.request_messages,
            response_messages: call.response_messages,
            request_message_bytes: call.request_message_bytes,
            response_message_bytes: call.response_message_bytes,
            streaming: self.name(call.streaming),
            headers_unknown: call.headers_unknown,
            tls: call.tls.map(|tls| self.tls(tls)),
            flags: flag_names(call.flags),
            client_workload: self.name(call.client_workload),
            client_address: self.name(call.client_address),
            server_workload: self.name(call.server_workload),
            server_address: self.name(call.server_address),
            request_headers: self.headers(call.request_headers),
            response_headers: self.headers(call.response_headers),
            weight: call.weight.max(1),
            pid: call.pid,
        };
        Ok(CallSeen { call: decoded, leaf })
    }

    fn edge(&self, edge: v1::EdgeDelta) -> Result<EdgeIncrement, String> {
        Ok(EdgeIncrement {
            client_workload: self.name(edge.client_workload),
            client_address: self.name(edge.client_address),
            server_workload: self.name(edge.server_workload),
            server_address: self.name(edge.server_address),
            server_port: u16::try_from(edge.server_port)
                .map_err(|_| format!("{} is not a port", edge.server_port))?,
            host: self.name(edge.host),
            protocol: self.name(edge.protocol),
            application: self.application(edge.application),
            side: side(edge.side).map_err(|reason| format!("an edge's {reason}"))?,
            calls: edge.calls,
            errors: edge.errors,
            request_bytes: edge.request_bytes,
            response_bytes: edge.response_bytes,
            duration_us_sum: edge.duration_us_sum,
            first_seen: Timestamp::from_us(edge.first_seen_us),
            last_seen: Timestamp::from_us(edge.last_seen_us),
        })
    }

    fn workload(&self, workload: v1::Workload) -> WorkloadSeen {
        WorkloadSeen {
            name: self.name(workload.name),
            node: self.id.node.clone(),
            kind: self.name(workload.kind),
            executable: self.text(workload.executable),
            command: self.text(workload.command),
            user: self.name(workload.user),
            container_id: self.name(workload.container_id),
            container_runtime: self.name(workload.container_runtime),
            systemd_unit: self.name(workload.systemd_unit),
            cgroup_id: workload.cgroup_id,
            netns: workload.netns,
            pid: workload.pid,
            first_seen: Timestamp::from_us(workload.first_seen_us),
            last_seen: Timestamp::from_us(workload.seen_us),
        }
    }

    fn coverage(&self, delta: v1::CoverageDelta) -> CoverageIncrement {
        let known = |bytes: v1::CoveredBytes| {
            let kind = match bytes.kind() {
                v1::CoverageKind::Read => CoverageKind::Read,
                v1::CoverageKind::LeftOut => CoverageKind::LeftOut,
                v1::CoverageKind::Missed => CoverageKind::Missed,
                // Of a later version of the agent.
                v1::CoverageKind::Unspecified => return None,
            };
            Some(CoveredBytes {
                kind,
                reason: self.name(bytes.reason),
                bytes: bytes.bytes,
            })
        };
        let class = match v1::TrafficClass::try_from(delta.class) {
            Ok(v1::TrafficClass::Unspecified | v1::TrafficClass::Http) => TrafficClass::Http,
            Ok(v1::TrafficClass::TlsDecrypted) => TrafficClass::TlsDecrypted,
            Ok(v1::TrafficClass::TlsUndecrypted) => TrafficClass::TlsUndecrypted,
            // Of a later version of the agent.
            Ok(v1::TrafficClass::Other) | Err(_) => TrafficClass::Other,
        };
        CoverageIncrement {
            workload: self.name(delta.workload),
            provider: self.name(delta.provider),
            class,
            library: self.name(delta.library),
            reason: self.name(delta.reason),
            connections: delta.connections,
            wire_bytes: delta.wire_bytes,
            bytes: self.list(delta.bytes, known).into_iter().flatten().collect(),
        }
    }

    fn status(&self, status: v1::AgentStatus) -> AgentState {
        AgentState {
            provider: self.name(status.provider),
            kernel: self.name(status.kernel),
            hostname: self.name(status.hostname),
            started: Timestamp::from_us(status.started_us),
            connections: status.connections,
            exchanges: status.exchanges,
            resident_bytes: status.resident_bytes,
            drops: self.list(status.drops, |drop| DropCount {
                stage: self.name(drop.stage),
                reason: self.name(drop.reason),
                events: drop.events,
                bytes: drop.bytes,
            }),
            lowered: self.list(status.lowered, |lowered| Lowered {
                workload: self.name(lowered.workload),
                level: self.name(lowered.level),
                processes: lowered.processes,
                since: Timestamp::from_us(lowered.since_us),
                added_us_per_s: lowered.added_us_per_s,
                allowed_us_per_s: lowered.allowed_us_per_s,
            }),
            lowered_more: status.lowered_more,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(payload: &v1::Payload) -> v1::Batch {
        v1::Batch {
            node: "n".into(),
            boot: "b".into(),
            sequence: 1,
            created_us: 1,
            payload_zstd: wire::encode_payload(payload).unwrap(),
        }
    }

    fn call() -> v1::Call {
        let api = v1::ApiKey {
            side: v1::Side::Server.into(),
            ..v1::ApiKey::default()
        };
        v1::Call {
            api: Some(api),
            ..v1::Call::default()
        }
    }

    fn decode(batch: v1::Batch) -> Result<Decoded, Rejected> {
        super::batch(batch, Timestamp::default(), &Metrics::default())
    }

    #[test]
    fn what_cannot_be_understood_is_rejected_with_its_identity_and_reason() {
        let with_call = |change: fn(&mut v1::Call)| {
            let mut call = call();
            change(&mut call);
            of(&v1::Payload {
                calls: vec![call],
                ..v1::Payload::default()
            })
        };
        let edge = v1::EdgeDelta {
            server_port: 70_000,
            side: 1,
            ..v1::EdgeDelta::default()
        };
        let delta = v1::CatalogDelta {
            api: None,
            delta: vec![0xff; 9],
        };
        for (batch, reason) in [
            (with_call(|call| call.api = None), "a call's side 0"),
            (
                with_call(|call| call.leaf = vec![1; 15]),
                "leaf of a call has 15 bytes",
            ),
            (with_call(|call| call.status = 70_000), "70000 is not a status"),
            (
                of(&v1::Payload {
                    edges: vec![edge],
                    ..v1::Payload::default()
                }),
                "70000 is not a port",
            ),
            (
                of(&v1::Payload {
                    catalog: vec![delta],
                    ..v1::Payload::default()
                }),
                "catalog delta cannot be decoded",
            ),
            (
                v1::Batch {
                    payload_zstd: b"garbage".to_vec(),
                    ..of(&v1::Payload::default())
                },
                "zstd",
            ),
        ] {
            let rejected = decode(batch).err().unwrap();
            assert!(
                rejected.reason.contains(reason),
                "{} does not say {reason}",
                rejected.reason
            );
            assert!(rejected.id.is_some(), "{reason}");
        }
    }

    #[test]
    fn a_batch_of_nobody_is_rejected() {
        for batch in [
            v1::Batch {
                node: String::new(),
                ..of(&v1::Payload::default())
            },
            v1::Batch {
                boot: "x".repeat(NAME_BYTES_MAX + 1),
                ..of(&v1::Payload::default())
            },
            v1::Batch {
                sequence: 0,
                ..of(&v1::Payload::default())
            },
            v1::Batch {
                sequence: u64::MAX,
                ..of(&v1::Payload::default())
            },
        ] {
            assert!(decode(batch).err().unwrap().id.is_none());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..2000), framed: bool) {
            let payload_zstd = if framed { zstd::bulk::compress(&bytes, 1).unwrap() } else { bytes };
            let sent = v1::Batch { payload_zstd, ..of(&v1::Payload::default()) };
            if let Err(rejected) = decode(sent) {
                proptest::prop_assert!(!rejected.reason.is_empty());
            }
        }
    }

    #[test]
    fn texts_are_cut_at_their_limit_and_counted() {
        let metrics = Metrics::default();
        let mut long = call();
        long.path = "é".repeat(TEXT_BYTES_MAX);
        long.method = "M".repeat(NAME_BYTES_MAX);
        long.query_names = vec![String::new(); LIST_MAX + 3];
        let payload = v1::Payload {
            calls: vec![long],
            ..v1::Payload::default()
        };
        let decoded = super::batch(of(&payload), Timestamp::default(), &metrics)
            .map_err(|r| r.reason)
            .unwrap();
        let call = &decoded.batch.calls[0].call;
        assert_eq!(call.path.len(), TEXT_BYTES_MAX);
        assert_eq!(call.method.len(), NAME_BYTES_MAX);
        assert_eq!(call.query_names.len(), LIST_MAX);
        assert_eq!(metrics.dropped(Dropped::TextCut), 1 + 3);
    }
}
