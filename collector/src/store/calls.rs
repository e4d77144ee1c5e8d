//! Individual calls: rows that the store gives out, and the API serves as they are. Sizes are bytes, durations microseconds, times UTC.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::timestamp::Timestamp;

use super::rows::Side;

/// Identity of a call: a hash of (node, boot, id on the node), 32 hex digits outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub [u8; 16]);

impl CallId {
    /// Of what an agent sent.
    #[must_use]
    pub fn new(node: &str, boot: &str, id: u64) -> Self {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        // Lengths first: no two identities hash the same bytes.
        hasher.update(&(node.len() as u64).to_le_bytes());
        hasher.update(node.as_bytes());
        hasher.update(&(boot.len() as u64).to_le_bytes());
        hasher.update(boot.as_bytes());
        hasher.update(&id.to_le_bytes());
        Self(hasher.digest128().to_be_bytes())
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for CallId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        from_hex(text)
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not the id of a call, which has 32 hex digits"))
    }
}

impl Serialize for CallId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CallId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl utoipa::PartialSchema for CallId {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[0-9a-f]{32}$"))
            .into()
    }
}

impl ToSchema for CallId {}

/// Bytes of an even number of hex digits.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

/// One API call, redacted on its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Call {
    /// Unique over all nodes and time.
    pub id: CallId,
    /// Node that saw it.
    pub node: String,
    /// First byte of the request.
    pub ts: Timestamp,
    /// Endpoint that it belongs to; absent until its node has reported the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Workload that serves the API; empty when seen from the client's side only.
    pub workload: String,
    /// Host that was asked for.
    pub host: String,
    /// Which end it was seen at.
    pub side: Side,
    /// Method; empty when it is not known because the connection was joined late.
    pub method: String,
    /// Path with every segment that is not a literal replaced by its type in braces; empty when it is not known.
    pub path: String,
    /// Names of query parameters.
    pub query_names: Vec<String>,
    /// Absent when no response was seen, or its status is not known because the connection was joined late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Whole request.
    pub request_bytes: u64,
    /// Whole response.
    pub response_bytes: u64,
    /// Decoded request body.
    pub request_body_bytes: u64,
    /// Decoded response body.
    pub response_body_bytes: u64,
    /// First request byte to last response byte.
    pub duration_us: u64,
    /// First request byte to first response byte.
    pub ttfb_us: u64,
    /// `HTTP/1.1`, `HTTP/2`, …
    pub protocol: String,
    /// What speaks on top of it: `grpc`, `grpc-web`, `websocket`, `sse`, `graphql`, `json-rpc`, `soap`, `xml-rpc`, or `http` for nothing
    /// that is known.
    pub application: String,
    /// What is called in terms of the application: `package.Service/Method`, `query Name`, a method; several of a batch with commas.
    pub operation: String,
    /// `grpc-status`, code of a JSON-RPC error, code of a WebSocket Close frame; absent where none was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpc_status: Option<i32>,
    /// The application says that the call failed, whatever `status` says.
    pub rpc_error: bool,
    /// Messages that the client sent: of gRPC, of a WebSocket.
    pub request_messages: u64,
    /// Messages that the server sent: of gRPC, of a WebSocket, server-sent events.
    pub response_messages: u64,
    /// Payloads of the client's messages.
    pub request_message_bytes: u64,
    /// Payloads of the server's messages.
    pub response_message_bytes: u64,
    /// How messages of gRPC flowed: `unary`, `client_streaming`, `server_streaming`, `bidi_streaming`; empty for all else.
    pub streaming: String,
    /// Header fields that are not known because the connection was joined late.
    pub headers_unknown: u32,
    /// The TLS session that it went through (`https`); absent where it went in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// What is missing from it: `truncated`, `gap`, `late_join`, `unpaired`, `socket_guessed`.
    pub flags: Vec<String>,
    /// Workload that called.
    pub client_workload: String,
    /// Address that called.
    pub client_address: String,
    /// Workload that was called.
    pub server_workload: String,
    /// Address that was called.
    pub server_address: String,
    /// Allow-listed headers of the request.
    pub request_headers: Vec<Header>,
    /// Allow-listed headers of the response.
    pub response_headers: Vec<Header>,
    /// This row stands for this many calls.
    pub weight: u32,
    /// Process that was seen, on its node.
    pub pid: u32,
}

/// What is known of the TLS session of a call. What is not known is empty: its handshake was not seen, or does not say it in the clear.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tls {
    /// `TLS 1.3`, `TLS 1.2`, …; a number such as `0x7f1c` of one that has no name.
    pub version: String,
    /// Cipher suite by its name in the registry of IANA; a number such as `0x1301` of one that is not known.
    pub cipher: String,
    /// Host name that the client asked for (SNI); `*` beyond its node's limit of different ones.
    pub server_name: String,
    /// Protocol that the server chose (ALPN): never known of TLS 1.3, which encrypts it.
    pub alpn: String,
    /// JA4 fingerprint of the client.
    pub ja4: String,
    /// Library that the plaintext was captured at: `openssl`, `gnutls`, …; never empty.
    pub library: String,
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Header {
    /// Lower case.
    pub name: String,
    /// As sent.
    pub value: String,
}

/// Names of the bits of `wire.v1.Call.flags`, lowest first.
const FLAG_NAMES: [&str; 5] = ["truncated", "gap", "late_join", "unpaired", "socket_guessed"];

/// Names of the bits set; unknown bits are left out.
#[must_use]
pub fn flag_names(bits: u32) -> Vec<String> {
    let named = FLAG_NAMES.iter().enumerate();
    named
        .filter(|(bit, _)| bits >> bit & 1 == 1)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

/// Bits of the names; unknown names are left out.
#[must_use]
pub fn flag_bits(names: &[String]) -> u32 {
    let named = FLAG_NAMES.iter().enumerate();
    named
        .filter(|(_, name)| names.iter().any(|n| n == *name))
        .fold(0, |bits, (bit, _)| bits | 1 << bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_ids_tell_node_boot_and_id_apart() {
        let ids = [
            CallId::new("a", "b", 1),
            CallId::new("ab", "", 1),
            CallId::new("", "ab", 1),
            CallId::new("a", "b", 2),
        ];
        for (at, id) in ids.iter().enumerate() {
            assert_eq!(id.to_string().parse(), Ok(*id));
            assert!(ids.iter().skip(at + 1).all(|other| other != id));
        }
        assert!("12".parse::<CallId>().is_err());
    }

    #[test]
    fn flags_have_names() {
        let names = flag_names(0b10101);
        assert_eq!(names, ["truncated", "late_join", "socket_guessed"]);
        assert_eq!(flag_bits(&names), 0b10101);
        assert_eq!(flag_names(1 << 9), Vec::<String>::new());
    }
}
