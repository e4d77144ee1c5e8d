//! What speaks on top of HTTP, as far as an exchange shows it.

mod classify;
mod graphql;
mod json;
mod json_rpc;
pub(crate) mod recognise;
mod soap;
#[cfg(test)]
mod tests;
mod xml;

use bytes::Bytes;

pub use classify::classify;

/// The application protocol of an exchange. Names in it are exactly as sent and come from strangers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Application {
    /// Nothing that is known here: plain HTTP.
    #[default]
    Http,
    /// gRPC over HTTP/2.
    Grpc(Box<Rpc>),
    /// gRPC-Web, binary or base64, over any version.
    GrpcWeb(Box<Rpc>),
    /// WebSocket: RFC 6455 over HTTP/1.1, RFC 8441 over HTTP/2.
    WebSocket(Box<WebSocket>),
    /// Server-sent events: the response's messages are the events.
    EventStream,
    /// GraphQL over HTTP: one operation, or a batch in order, at most `Limits::operations`.
    GraphQl(Vec<GraphQlOperation>),
    /// JSON-RPC: one call, or a batch in order, at most `Limits::operations`.
    JsonRpc(Vec<JsonRpcCall>),
    /// SOAP 1.1 or 1.2.
    Soap(Box<SoapCall>),
    /// XML-RPC: the method's name; empty when it was not captured.
    XmlRpc(Bytes),
}

/// Gives each variant its name, and the list of all: one that lacks a name does not compile.
macro_rules! names {
    ($($variant:ident $name:literal,)*) => {
        impl Application {
            /// All names, as in every output.
            pub const NAMES: [&str; [$($name),*].len()] = [$($name),*];

            /// Name as in every output.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)*
                }
            }
        }
    };
}

names! {
    Http "http",
    Grpc "grpc",
    GrpcWeb "grpc-web",
    WebSocket "websocket",
    EventStream "sse",
    GraphQl "graphql",
    JsonRpc "json-rpc",
    Soap "soap",
    XmlRpc "xml-rpc",
}

/// A remote procedure call of gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rpc {
    /// Full name of the service, `package.Service`. Empty when the path is not known.
    pub service: Bytes,
    /// Name of the method.
    pub method: Bytes,
    /// `grpc-status` of the trailers, or of a response without messages; `None` when it was not seen or is no number.
    pub status: Option<u32>,
    /// How messages flowed.
    pub streaming: Streaming,
}

/// How the messages of a call flowed, as far as it was seen: a stream that carried a single message cannot be told from a plain call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Streaming {
    /// At most one message each way.
    #[default]
    Unary,
    /// Several requests.
    Client,
    /// Several responses.
    Server,
    /// Several of both.
    Bidirectional,
}

impl Streaming {
    /// Name as in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::Client => "client_streaming",
            Self::Server => "server_streaming",
            Self::Bidirectional => "bidi_streaming",
        }
    }
}

/// A WebSocket session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebSocket {
    /// `Sec-WebSocket-Protocol` that the server chose.
    pub subprotocol: Option<Bytes>,
    /// Status code of the first Close frame (RFC 6455 7.4), if one came with a code.
    pub close_code: Option<u16>,
}

/// An operation of a GraphQL request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GraphQlOperation {
    /// Its type; `None` for a persisted query, whose document was not sent.
    pub kind: Option<GraphQlKind>,
    /// Its name; `None` for an anonymous one.
    pub name: Option<Bytes>,
    /// The request names a persisted document by its hash or id.
    pub persisted: bool,
}

/// Type of a GraphQL operation (GraphQL specification 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphQlKind {
    /// Reads.
    Query,
    /// Writes.
    Mutation,
    /// Goes on.
    Subscription,
}

impl GraphQlKind {
    /// Keyword.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
            Self::Subscription => "subscription",
        }
    }
}

/// A call of JSON-RPC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonRpcCall {
    /// `method`.
    pub method: Bytes,
    /// It has no id and gets no answer.
    pub notification: bool,
    /// `error.code` of its answer, where the answer was captured.
    pub error: Option<i64>,
}

/// A call of SOAP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SoapCall {
    /// `SOAPAction`, or the `action` parameter of the content type, without quotes.
    pub action: Option<Bytes>,
    /// Local name of the first element of the body; empty when it was not captured.
    pub operation: Bytes,
    /// The answer is a fault.
    pub fault: bool,
}

/// Messages of one direction, counted: gRPC messages, WebSocket messages, server-sent events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// How many were complete.
    pub count: u64,
    /// Bytes of their payloads on the wire: without framing, before decompression.
    pub bytes: u64,
    /// The largest, bytes.
    pub bytes_max: u64,
    /// Those compressed (gRPC flag, permessage-deflate).
    pub compressed: u64,
    /// Those of text; the others are binary (WebSocket).
    pub text: u64,
    /// Control frames (WebSocket: ping, pong, close).
    pub control: u64,
    /// Some may not have been counted: bytes are missing, or their framing broke.
    pub partial: bool,
}
