//! What an exchange is in terms of its application protocol, without values.
//!
//! Names of operations come from strangers. They leave by the rules of path segments: held to the grammar of their protocol, judged part by
//! part, `{text}` in place of what could be a value.

use catalog::{Limits, Names};
use protocol::{Application, Exchange, GraphQlOperation, JsonRpcCall, Messages, Rpc, SoapCall, WebSocket};

use crate::mask::{Audience, cut, mask};

/// Longest operation kept.
pub const OPERATION_BYTES_MAX: usize = 256;

/// Parts of a name that are looked at; a name of more is a value.
const PARTS_MAX: usize = 16;

/// What stands for a part that could be a value, as in a path.
const TEXT: &str = "{text}";

/// What stands for operations of a batch that were left out.
const MORE: &str = "…";

/// Registered and common subprotocols of WebSocket; not all are words.
const SUBPROTOCOLS: [&str; 22] = [
    "amqp",
    "base64.channel.k8s.io",
    "binary",
    "channel.k8s.io",
    "graphql-transport-ws",
    "graphql-ws",
    "json",
    "jsonrpc",
    "mqtt",
    "mqttv3.1",
    "ocpp1.6",
    "ocpp2.0.1",
    "sip",
    "soap",
    "v10.stomp",
    "v11.stomp",
    "v12.stomp",
    "v4.base64.channel.k8s.io",
    "v4.channel.k8s.io",
    "v5.channel.k8s.io",
    "wamp.2.json",
    "xmpp",
];

/// How a call ended in terms of its application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It went well, or the application does not say.
    #[default]
    Unknown,
    /// It failed, and the caller is to blame, or nobody can tell: as a status of 4xx.
    Failed,
    /// It failed, and the server is to blame: as a status of 5xx.
    ServerFailed,
}

impl Outcome {
    /// Of an exchange.
    #[must_use]
    pub fn of(exchange: &Exchange) -> Self {
        match &exchange.application {
            Application::Grpc(rpc) | Application::GrpcWeb(rpc) => grpc_outcome(rpc.status),
            Application::JsonRpc(calls) => calls.iter().map(json_rpc_outcome).max().unwrap_or_default(),
            // RFC 6455 section 7.4.1 and its registry; 1011 to 1014 are the server's own trouble.
            Application::WebSocket(socket) => match socket.close_code {
                Some(1011..=1014) => Self::ServerFailed,
                Some(1002 | 1003 | 1007..=1010) => Self::Failed,
                _ => Self::Unknown,
            },
            Application::Soap(call) if call.fault => Self::Failed,
            _ => Self::Unknown,
        }
    }

    /// It failed, whoever is to blame.
    #[must_use]
    pub fn is_failure(self) -> bool {
        self != Self::Unknown
    }
}

/// Codes of gRPC that are the server's: UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
fn grpc_outcome(status: Option<u32>) -> Outcome {
    match status {
        None | Some(0) => Outcome::Unknown,
        Some(2 | 4 | 8 | 12..=15) => Outcome::ServerFailed,
        Some(_) => Outcome::Failed,
    }
}

/// JSON-RPC 2.0 section 5.1: -32603 and -32099 to -32000 are the server's.
fn json_rpc_outcome(call: &JsonRpcCall) -> Outcome {
    match call.error {
        None => Outcome::Unknown,
        Some(-32_603 | -32_099..=-32_000) => Outcome::ServerFailed,
        Some(_) => Outcome::Failed,
    }
}

/// An exchange in terms of its application. Nothing in it is a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operation {
    /// `package.Service/Method`, `query Name`, a method, a subprotocol; those of a batch with commas, each once. At most
    /// [`OPERATION_BYTES_MAX`]. Empty where nothing is known or the application has no operations.
    pub name: String,
    /// `grpc-status`, code of the first error of JSON-RPC, code of the Close frame of WebSocket.
    pub status: Option<i32>,
    /// How it ended.
    pub outcome: Outcome,
    /// Messages of the client.
    pub request: Messages,
    /// Messages of the server.
    pub response: Messages,
    /// How messages of gRPC flowed; empty for all else.
    pub streaming: &'static str,
}

/// Finds operations, and remembers which of their names repeat.
#[derive(Debug)]
pub(crate) struct Operations {
    names: Names,
    cut: u64,
}

impl Operations {
    pub(crate) fn new() -> Self {
        Self {
            names: Names::new(&Limits::default()),
            cut: 0,
        }
    }

    /// Batches of which operations were left out.
    pub(crate) const fn cut(&self) -> u64 {
        self.cut
    }

    pub(crate) fn of(&mut self, exchange: &Exchange) -> Operation {
        let outcome = Outcome::of(exchange);
        let namer = Namer {
            names: Some(&mut self.names),
            application: exchange.application.name().as_bytes(),
            host: host(exchange),
            served: !outcome.is_failure(),
        };
        let (name, left_out) = namer.of(&exchange.application);
        self.cut += u64::from(left_out);
        let response = exchange.response.as_ref();
        Operation {
            name,
            status: rpc_status(&exchange.application),
            outcome,
            request: exchange.request.body.messages,
            response: response.map_or_else(Messages::default, |response| response.body.messages),
            streaming: match &exchange.application {
                Application::Grpc(rpc) | Application::GrpcWeb(rpc) => rpc.streaming.name(),
                _ => "",
            },
        }
    }
}

/// The operation as sent, for people on the node, credentials masked.
pub(crate) fn revealed(exchange: &Exchange) -> String {
    let namer = Namer {
        names: None,
        application: b"",
        host: b"",
        served: true,
    };
    namer.of(&exchange.application).0
}

/// See [`Operation::status`]. What is beyond any code that there is says nothing.
#[must_use]
pub fn rpc_status(application: &Application) -> Option<i32> {
    match application {
        Application::Grpc(rpc) | Application::GrpcWeb(rpc) => rpc.status?.try_into().ok(),
        Application::JsonRpc(calls) => calls.iter().find_map(|call| call.error)?.try_into().ok(),
        Application::WebSocket(socket) => socket.close_code.map(i32::from),
        _ => None,
    }
}
/// The host as sent: names are learnt by it. It does not leave from here.
fn host(exchange: &Exchange) -> &[u8] {
    let request = &exchange.request;
    if let Some(authority) = &request.authority {
        return authority;
    }
    request.headers.get(b"host").unwrap_or_default()
}

/// Each once, in order, as many as fit.
fn joined(names: impl Iterator<Item = String>, left_out: &mut bool) -> String {
    const COMMA: &str = ", ";
    let mut kept: Vec<String> = Vec::new();
    let mut bytes = 0;
    for name in names {
        if name.is_empty() || kept.contains(&name) {
            continue;
        }
        bytes += name.len() + COMMA.len();
        if bytes + MORE.len() > OPERATION_BYTES_MAX {
            *left_out = true;
            kept.push(MORE.to_owned());
            break;
        }
        kept.push(name);
    }
    kept.join(COMMA)
}

struct Namer<'a> {
    /// `None`: names are shown as they are.
    names: Option<&'a mut Names>,
    application: &'a [u8],
    host: &'a [u8],
    served: bool,
}

impl Namer<'_> {
    /// The name, and whether operations of a batch were left out.
    fn of(mut self, application: &Application) -> (String, bool) {
        let mut left_out = false;
        let name = match application {
            Application::Http | Application::EventStream => String::new(),
            Application::Grpc(rpc) | Application::GrpcWeb(rpc) => self.rpc(rpc),
            Application::WebSocket(socket) => self.subprotocol(socket),
            Application::GraphQl(operations) => {
                let names = operations.iter().map(|operation| self.graphql(operation));
                joined(names, &mut left_out)
            }
            Application::JsonRpc(calls) => {
                let names = calls.iter().map(|call| self.name(&call.method, b"./:-"));
                joined(names, &mut left_out)
            }
            Application::Soap(call) => self.soap(call),
            Application::XmlRpc(method) => self.name(method, b"./:"),
        };
        (name, left_out)
    }

    fn rpc(&mut self, rpc: &Rpc) -> String {
        if rpc.service.is_empty() && rpc.method.is_empty() {
            return String::new();
        }
        let service = self.name(&rpc.service, b".");
        format!("{service}/{}", self.name(&rpc.method, b""))
    }

    fn graphql(&mut self, operation: &GraphQlOperation) -> String {
        let kind = match operation.kind {
            Some(kind) => kind.name(),
            None if operation.persisted => "persisted",
            None => "",
        };
        let name = operation.name.as_deref().unwrap_or_default();
        let name = self.name(name, b"");
        let words = [kind, &name].into_iter().filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join(" ")
    }

    /// The operation; where the body was not captured, what the action ends in (`urn:orders#Get`, `http://shop/orders/Get`).
    fn soap(&mut self, call: &SoapCall) -> String {
        if !call.operation.is_empty() {
            return self.name(&call.operation, b".-");
        }
        let action = call.action.as_deref().unwrap_or_default();
        let last = action.rsplit(|byte| b"/#:?&=".contains(byte)).next();
        self.name(last.unwrap_or_default(), b".-")
    }

    fn subprotocol(&mut self, socket: &WebSocket) -> String {
        let name = socket.subprotocol.as_deref().unwrap_or_default();
        match SUBPROTOCOLS.into_iter().find(|known| known.as_bytes() == name) {
            Some(known) => known.to_owned(),
            None => self.name(name, b".-"),
        }
    }

    /// A name whose parts are divided by `_` and these bytes; at most half of [`OPERATION_BYTES_MAX`], a longer one is a value.
    fn name(&mut self, raw: &[u8], separators: &[u8]) -> String {
        let Some(names) = &mut self.names else {
            return cut(mask(raw, Audience::Local).chars(), OPERATION_BYTES_MAX / 2);
        };
        let scope = [self.application, self.host];
        let separates = |byte: &u8| *byte == b'_' || separators.contains(byte);
        let mut out = String::new();
        for (index, part) in raw.split_inclusive(separates).enumerate() {
            let (part, separator) = match part.split_last() {
                Some((last, part)) if separates(last) => (part, Some(*last)),
                _ => (part, None),
            };
            out.push_str(text_of(part, |text| names.is_text(&scope, text, self.served)));
            out.extend(separator.map(char::from));
            if index >= PARTS_MAX || out.len() > OPERATION_BYTES_MAX / 2 {
                return TEXT.to_owned();
            }
        }
        out
    }
}

/// An identifier that may be text. Empty parts and the mark of reserved names (`$/cancelRequest`) tell nobody anything.
fn text_of(part: &[u8], may_be_text: impl FnOnce(&str) -> bool) -> &str {
    let identifier = part.iter().all(u8::is_ascii_alphanumeric);
    match std::str::from_utf8(part) {
        Ok(text) if text.is_empty() || text == "$" => text,
        Ok(text) if identifier && may_be_text(text) => text,
        _ => TEXT,
    }
}

#[cfg(test)]
#[path = "operation_tests.rs"]
mod tests;
