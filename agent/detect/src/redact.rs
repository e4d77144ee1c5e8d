//! What of a call may leave the node.

use std::borrow::Cow;

use policy::CapturePolicy;
use protocol::Exchange;

use crate::fields::{FieldList, Fields};
use crate::operation::{Operation, Operations};
use crate::query;

/// Longest method kept.
pub const METHOD_BYTES_MAX: usize = 20;
/// Most header fields kept of each message.
pub const HEADERS_MAX: usize = 32;
/// Longest value of a header field kept.
pub const VALUE_BYTES_MAX: usize = 256;
/// Stands for a method that is none.
const OTHER: &str = "OTHER";
/// Methods that are most of all, and that of a call whose method is not known.
const COMMON: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", ""];

/// A call without what is secret: no body, no value of a query, no header that is not allowed. The path is the catalog's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedactedCall {
    /// Method; empty when it is not known, `OTHER` for what is not made of capital letters, hyphens and underscores or is longer than
    /// [`METHOD_BYTES_MAX`].
    pub method: Cow<'static, str>,
    /// Names of query parameters, sorted, each once, at most [`query::QUERY_NAMES_MAX`]; `{text}` for one that looks like a
    /// value.
    pub query_names: Vec<String>,
    /// Allowed header fields of the request: name in lower case and masked value, at most [`HEADERS_MAX`].
    pub request_headers: FieldList,
    /// Allowed header fields of the response, likewise.
    pub response_headers: FieldList,
    /// What it is in terms of its application.
    pub operation: Operation,
}

/// What limits cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedactCounters {
    /// Methods shown as `OTHER`.
    pub methods_other: u64,
    /// Calls with more query parameters than are kept or looked at.
    pub queries_cut: u64,
    /// Allowed header fields beyond the limit.
    pub headers_dropped: u64,
    /// Values of header fields that were cut.
    pub values_cut: u64,
    /// Calls of which operations of a batch were left out.
    pub operations_cut: u64,
}

/// Redacts calls by a policy.
#[derive(Debug)]
pub struct Redactor {
    request_fields: Fields,
    response_fields: Fields,
    operations: Operations,
    counters: RedactCounters,
}

impl Redactor {
    /// By the header lists of the policy. The lists cannot allow what carries credentials ([`policy::is_secret_header`]).
    #[must_use]
    pub fn new(policy: &CapturePolicy) -> Self {
        Self {
            request_fields: Fields::new(&policy.headers.request),
            response_fields: Fields::new(&policy.headers.response),
            operations: Operations::new(),
            counters: RedactCounters::default(),
        }
    }

    /// Another policy is in force from now on; the counters go on.
    pub fn set_policy(&mut self, policy: &CapturePolicy) {
        self.request_fields = Fields::new(&policy.headers.request);
        self.response_fields = Fields::new(&policy.headers.response);
    }

    /// What may leave.
    pub fn redact(&mut self, exchange: &Exchange) -> RedactedCall {
        let (query_names, query_cut) = query::names(&exchange.request.target);
        self.counters.queries_cut += u64::from(query_cut);
        let method = self.method(&exchange.request.method);
        let counters = &mut self.counters;
        let request_headers = self.request_fields.of(&exchange.request.headers, counters);
        let response_headers = exchange
            .response
            .as_ref()
            .map_or_else(FieldList::default, |response| {
                self.response_fields.of(&response.headers, counters)
            });
        let operation = self.operations.of(exchange);
        self.counters.operations_cut = self.operations.cut();
        RedactedCall {
            method,
            query_names,
            request_headers,
            response_headers,
            operation,
        }
    }

    /// What limits cut off so far.
    #[must_use]
    pub const fn counters(&self) -> &RedactCounters {
        &self.counters
    }

    /// RFC 9110 section 9.1 allows any token; without digits and small letters it is hardly a value.
    fn method(&mut self, raw: &[u8]) -> Cow<'static, str> {
        let common = COMMON.iter().find(|method| method.as_bytes() == raw);
        if let Some(method) = common {
            return Cow::Borrowed(method);
        }
        let plain = (1..=METHOD_BYTES_MAX).contains(&raw.len())
            && raw
                .iter()
                .all(|b| b.is_ascii_uppercase() || *b == b'-' || *b == b'_');
        if !plain {
            self.counters.methods_other += 1;
            return Cow::Borrowed(OTHER);
        }
        raw.iter().map(|b| char::from(*b)).collect()
    }
}

#[cfg(test)]
#[path = "redact_tests.rs"]
pub(crate) mod tests;
