//! Live calls for people on the node: what `tail` shows. Costs nothing while nobody looks.

use std::borrow::Cow;
use std::sync::Arc;

use detect::{Credentials, reveal, rpc_status};
use protocol::Application;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::pipeline::Measures;
use crate::tracker::{Call, Side, Tls};

/// Calls that a slow viewer may be behind before it misses some; it is told how many.
const BACKLOG: usize = 4096;

/// A call as it is shown on the node: the target as sent, credentials masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapCall {
    /// Unix epoch microseconds.
    pub ts_us: i64,
    /// `server` or `client`: the end that tells it.
    pub side: String,
    /// The end where it was read: also the client's where the server's tells it, but could not read all of it.
    #[serde(default)]
    pub read_at: String,
    /// Client's workload; empty when it is not on this node.
    pub client_workload: String,
    /// Client's address.
    pub client: String,
    /// Server's workload; empty when it is not on this node.
    pub server_workload: String,
    /// Server's address.
    pub server: String,
    /// Host asked for.
    pub host: String,
    /// Method.
    pub method: String,
    /// Target.
    pub target: String,
    /// Protocol version.
    #[serde(default)]
    pub protocol: String,
    /// What speaks on top of HTTP; `http` for nothing that is known.
    #[serde(default)]
    pub application: String,
    /// What is called in terms of the application, as sent.
    #[serde(default)]
    pub operation: String,
    /// `grpc-status`, or what else the application says with a number.
    #[serde(default)]
    pub rpc_status: Option<i32>,
    /// Messages of the client, and of the server.
    #[serde(default)]
    pub messages: [u64; 2],
    /// Status; 0: no response seen, or its status is not known.
    pub status: u16,
    /// Bytes on the wire.
    pub request_bytes: u64,
    /// Bytes on the wire.
    pub response_bytes: u64,
    /// First request byte to last response byte, microseconds.
    pub duration_us: u64,
    /// First request byte to first response byte, microseconds.
    pub ttfb_us: u64,
    /// Completeness.
    pub flags: Vec<String>,
    /// Process that saw it.
    pub pid: u32,
    /// The TLS session that it went through; absent: it went in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TapTls>,
}

impl TapCall {
    const fn scheme(&self) -> &'static str {
        let [clear, secure] = SCHEMES;
        if self.tls.is_some() { secure } else { clear }
    }
}

/// A TLS session as it is shown on the node. What is not known is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TapTls {
    /// Version: `TLS 1.3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Cipher suite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cipher: Option<String>,
    /// Host name that the client asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Protocols that the client offered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alpn_offered: Vec<String>,
    /// Protocol that the server chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn: Option<String>,
    /// JA4 fingerprint of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ja4: Option<String>,
    /// Library that the plaintext was captured at.
    pub library: String,
}

/// Which calls a viewer wants. Empty fields match all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TapFilter {
    /// Client's or server's workload contains this.
    pub workload: String,
    /// Host contains this.
    pub host: String,
    /// Path begins with this.
    pub path: String,
    /// Method, any case.
    pub method: String,
    /// Status: a code, a class as `5xx`, or `none` for no response.
    pub status: String,
    /// What speaks on top of HTTP, any case. An agent that does not know it yet is not told of it in vain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub application: String,
    /// `https` for calls through TLS, `http` for those in the clear. As with `application`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scheme: String,
}

/// Schemes that are asked for: of calls in the clear, and through TLS.
const SCHEMES: [&str; 2] = ["http", "https"];

/// A status that is asked for.
enum Wanted {
    NoResponse,
    /// Hundreds.
    Class(u16),
    Code(u16),
}

impl Wanted {
    fn parse(text: &str) -> Option<Self> {
        match text.as_bytes() {
            b"none" => Some(Self::NoResponse),
            [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => Some(Self::Class(u16::from(class - b'0'))),
            [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] => text.parse().map(Self::Code).ok(),
            _ => None,
        }
    }
}

impl TapFilter {
    /// Whether a call is wanted.
    #[must_use]
    pub fn matches(&self, call: &TapCall) -> bool {
        let contains = |text: &str, part: &str| part.is_empty() || text.contains(part);
        (contains(&call.client_workload, &self.workload) || contains(&call.server_workload, &self.workload))
            && contains(&call.host, &self.host.to_ascii_lowercase())
            && call.target.starts_with(&self.path)
            && (self.method.is_empty() || call.method.eq_ignore_ascii_case(&self.method))
            && self.matches_status(call.status)
            && (self.application.is_empty() || call.application.eq_ignore_ascii_case(&self.application))
            && (self.scheme.is_empty() || self.scheme == call.scheme())
    }

    fn matches_status(&self, status: u16) -> bool {
        match Wanted::parse(&self.status) {
            _ if self.status.is_empty() => true,
            Some(Wanted::NoResponse) => status == 0,
            Some(Wanted::Class(class)) => status / 100 == class,
            Some(Wanted::Code(code)) => status == code,
            None => false,
        }
    }

    /// Refuses what could never match.
    ///
    /// # Errors
    /// Cause and remedy.
    pub fn check(&self) -> Result<(), String> {
        if !self.status.is_empty() && Wanted::parse(&self.status).is_none() {
            return Err(format!(
                "--status `{}` is no status: give a code as 404, a class as 5xx, or none for no response",
                self.status
            ));
        }
        let known = |name: &&str| self.application.eq_ignore_ascii_case(name);
        if !self.application.is_empty() && !Application::NAMES.iter().any(known) {
            return Err(format!(
                "--application `{}` is no application protocol: give one of {}",
                self.application,
                Application::NAMES.join(", ")
            ));
        }
        if !self.scheme.is_empty() && !SCHEMES.contains(&self.scheme.as_str()) {
            return Err(format!(
                "--scheme `{}` is no scheme: give http for calls in the clear, https for those through TLS",
                self.scheme
            ));
        }
        Ok(())
    }
}

/// Where calls are handed to viewers.
#[derive(Clone, Debug)]
pub struct Taps(broadcast::Sender<Arc<TapCall>>);

impl Default for Taps {
    fn default() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }
}

impl Taps {
    /// A new viewer.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<TapCall>> {
        self.0.subscribe()
    }

    /// Shows a call, if anybody looks.
    pub fn show(&self, call: &Call, host: impl FnOnce() -> String, epoch_us: i64) {
        if self.0.receiver_count() > 0 && !call.again {
            // Without receivers by now: nobody wanted it.
            let _ = self.0.send(Arc::new(tap_call(call, host(), epoch_us)));
        }
    }
}

const fn side_name(side: Side) -> &'static str {
    match side {
        Side::Server => "server",
        Side::Client => "client",
    }
}

fn tap_call(call: &Call, host: String, epoch_us: i64) -> TapCall {
    let shown = reveal(&call.exchange, Credentials::Masked);
    let measures = Measures::of(&call.exchange, epoch_us);
    let name = |process: Option<&Arc<crate::attribution::Process>>| {
        process
            .map(|process| process.workload.name.clone())
            .unwrap_or_default()
    };
    let (client, server) = match call.side {
        Side::Server => (call.peer.as_ref(), Some(&call.process)),
        Side::Client => (Some(&call.process), call.peer.as_ref()),
    };
    TapCall {
        ts_us: measures.ts_us,
        side: side_name(call.side).to_owned(),
        read_at: side_name(call.read_at).to_owned(),
        client_workload: name(client),
        client: call.client.to_string(),
        server_workload: name(server),
        server: call.server.to_string(),
        host,
        method: shown.method,
        target: shown.target,
        protocol: call.exchange.request.version.name().to_owned(),
        application: call.exchange.application.name().to_owned(),
        operation: shown.operation,
        rpc_status: rpc_status(&call.exchange.application),
        messages: [
            call.exchange.request.body.messages.count,
            call.exchange
                .response
                .as_ref()
                .map_or(0, |response| response.body.messages.count),
        ],
        status: call
            .exchange
            .response
            .as_ref()
            .map_or(0, |response| response.status),
        request_bytes: measures.request_bytes,
        response_bytes: measures.response_bytes,
        duration_us: measures.duration_us,
        ttfb_us: measures.ttfb_us,
        flags: call.exchange.flags.names().map(str::to_owned).collect(),
        pid: call.process.key.pid,
        tls: call.tls.as_deref().map(tap_tls),
    }
}

fn tap_tls(tls: &Tls) -> TapTls {
    let facts = &tls.facts;
    TapTls {
        version: facts.version_name().map(Cow::into_owned),
        cipher: facts.cipher_name().map(Cow::into_owned),
        server_name: facts.server_name.clone(),
        alpn_offered: facts.alpn_offered.clone(),
        alpn: facts.alpn.clone(),
        ja4: facts.ja4.clone(),
        library: tls.library.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> TapCall {
        TapCall {
            ts_us: 0,
            side: "server".into(),
            read_at: "server".into(),
            client_workload: "curl".into(),
            client: String::new(),
            server_workload: "python3:shop.py".into(),
            server: String::new(),
            host: "shop.local".into(),
            method: "GET".into(),
            target: "/orders/1?x=2".into(),
            protocol: "HTTP/2".into(),
            application: "grpc".into(),
            operation: "shop.Orders/Get".into(),
            rpc_status: Some(5),
            messages: [1, 0],
            status: 404,
            request_bytes: 0,
            response_bytes: 0,
            duration_us: 0,
            ttfb_us: 0,
            flags: Vec::new(),
            pid: 1,
            tls: None,
        }
    }

    #[test]
    fn a_session_is_shown_as_far_as_it_is_known() {
        let tls = Tls {
            facts: protocol::tls::Facts {
                version: Some(0x0304),
                cipher: Some(0x1301),
                alpn_offered: vec!["h2".into()],
                ..protocol::tls::Facts::default()
            },
            library: "openssl".into(),
        };
        let shown = TapCall {
            tls: Some(tap_tls(&tls)),
            ..call()
        };
        let json = serde_json::to_value(&shown).unwrap();
        let expect = serde_json::json!({
            "version": "TLS 1.3", "cipher": "TLS_AES_128_GCM_SHA256", "alpn_offered": ["h2"], "library": "openssl",
        });
        assert_eq!(json["tls"], expect);
        assert_eq!(serde_json::from_value::<TapCall>(json).unwrap(), shown);
        let in_clear = serde_json::to_value(call()).unwrap();
        assert!(in_clear.get("tls").is_none());
    }

    #[test]
    fn filters() {
        let filter = |field: &str, value: &str| -> TapFilter {
            serde_json::from_value(serde_json::json!({ field: value })).unwrap()
        };
        for (field, value, expect) in [
            ("workload", "shop.py", true),
            ("workload", "curl", true),
            ("workload", "nginx", false),
            ("host", "Shop", true),
            ("host", "other", false),
            ("path", "/orders", true),
            ("path", "/users", false),
            ("method", "get", true),
            ("method", "POST", false),
            ("status", "404", true),
            ("status", "4xx", true),
            ("status", "5xx", false),
            ("status", "none", false),
            ("status", "4XX", true),
            ("application", "gRPC", true),
            ("application", "grpc-web", false),
            ("application", "http", false),
            ("scheme", "http", true),
            ("scheme", "https", false),
        ] {
            assert_eq!(filter(field, value).matches(&call()), expect, "{field}={value}");
        }
        assert!(TapFilter::default().matches(&call()));
        for wrong in ["ok", "0", "6xx", "xx", "42", "+404", "1000"] {
            assert!(filter("status", wrong).check().is_err(), "{wrong}");
        }
        for right in ["", "none", "404", "999", "1xx", "5xx"] {
            assert_eq!(filter("status", right).check(), Ok(()), "{right}");
        }
        let unanswered = TapCall { status: 0, ..call() };
        assert!(filter("status", "none").matches(&unanswered));
        let secure = TapCall {
            tls: Some(TapTls::default()),
            ..call()
        };
        assert!(filter("scheme", "https").matches(&secure) && !filter("scheme", "http").matches(&secure));
        assert!(filter("scheme", "ftp").check().is_err());
        for name in SCHEMES {
            assert_eq!(filter("scheme", name).check(), Ok(()));
        }
        assert!(filter("application", "corba").check().is_err());
        for name in Application::NAMES {
            assert_eq!(filter("application", name).check(), Ok(()));
        }
        assert!(serde_json::from_str::<TapFilter>(r#"{"colour":"red"}"#).is_err());
    }
}
