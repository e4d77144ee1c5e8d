//! A call in the form of the wire.

use catalog::{ApiKey, LeafId};
use detect::{FieldList, RedactedCall, headers_unknown};
use protocol::Application;
use wire::v1;

use super::{Measures, client_process, server_process, workload_name};
use crate::tracker::Call;

/// What the call became on its way: nothing in it is a value from the traffic.
pub struct Redacted {
    /// Unique within the run.
    pub id: u64,
    /// Method, names, allowed headers.
    pub call: RedactedCall,
    /// Which API.
    pub api: ApiKey,
    /// Rendering of the leaf; empty without one.
    pub path: String,
    /// Leaf of the trie; none of a call whose method or path is not known.
    pub leaf: Option<LeafId>,
    /// Calls that it stands for, see the budget.
    pub weight: u32,
    /// The TLS session that it went through.
    pub tls: Option<v1::Tls>,
    /// Sizes and times.
    pub measures: Measures,
}

/// An API's key.
pub fn api_message(api: &ApiKey) -> v1::ApiKey {
    v1::ApiKey {
        workload: api.workload.clone(),
        host: api.host.clone(),
        side: match api.side {
            catalog::Side::Server => v1::Side::Server,
            catalog::Side::Client => v1::Side::Client,
        }
        .into(),
    }
}

/// As on the wire: empty for HTTP alone.
pub fn application_name(application: &Application) -> &'static str {
    match application {
        Application::Http => "",
        known => known.name(),
    }
}

/// The row.
pub fn call_message(call: &Call, redacted: Redacted) -> v1::Call {
    let exchange = &call.exchange;
    let response = exchange.response.as_ref();
    let operation = redacted.call.operation;
    let headers = |fields: &FieldList| {
        let header = |(name, value): &(String, String)| v1::Header {
            name: name.clone(),
            value: value.clone(),
        };
        fields.iter().map(|field| header(field)).collect()
    };
    v1::Call {
        id: redacted.id,
        ts_us: redacted.measures.ts_us,
        api: Some(api_message(&redacted.api)),
        method: redacted.call.method.into_owned(),
        path: redacted.path,
        query_names: redacted.call.query_names,
        status: response.map_or(0, |response| u32::from(response.status)),
        request_bytes: redacted.measures.request_bytes,
        response_bytes: redacted.measures.response_bytes,
        request_body_bytes: exchange.request.body.decoded_bytes,
        response_body_bytes: response.map_or(0, |response| response.body.decoded_bytes),
        duration_us: redacted.measures.duration_us,
        ttfb_us: redacted.measures.ttfb_us,
        protocol: exchange.request.version.name().to_owned(),
        flags: exchange.flags.0,
        client_workload: workload_name(client_process(call)),
        client_address: call.client.to_string(),
        server_workload: workload_name(server_process(call)),
        server_address: call.server.to_string(),
        leaf: redacted.leaf.map(|leaf| leaf.0.to_vec()).unwrap_or_default(),
        request_headers: headers(&redacted.call.request_headers),
        response_headers: headers(&redacted.call.response_headers),
        weight: redacted.weight,
        pid: call.process.key.pid,
        application: application_name(&exchange.application).to_owned(),
        operation: operation.name,
        rpc_status: operation.status,
        rpc_error: operation.outcome.is_failure(),
        request_messages: operation.request.count,
        response_messages: operation.response.count,
        request_message_bytes: operation.request.bytes,
        response_message_bytes: operation.response.bytes,
        streaming: operation.streaming.to_owned(),
        headers_unknown: headers_unknown(exchange),
        tls: redacted.tls,
    }
}
