//! Telling what speaks on top of HTTP once both halves of an exchange are complete.

use bytes::Bytes;

use super::{graphql, soap};
use crate::body::{Found, Inspected};
use crate::media::Media;
use crate::{Application, Exchange, Headers, Limits, Messages, Response, Rpc, SoapCall, Streaming};

/// Longest name that is kept, bytes: names come from strangers, and real ones are far shorter.
pub(crate) const NAME_BYTES_MAX: usize = 256;

/// Sets `exchange.application` where something is known that is not plain HTTP. Call it once, when both halves are complete
/// or will not come; `request` and `response` are what [`BodyReader`](crate::body::BodyReader) found in their contents,
/// [`Inspected::default`] where there was no body. An application that is set already stays as it is.
///
/// A source that has whole bodies does by hand what a connection does as bytes come:
///
/// ```
/// use protocol::body::{BodyReader, End, Inspected};
/// use protocol::{
///     Application, Body, Counters, Exchange, Flags, Headers, Limits, Request, Version, classify,
/// };
///
/// let content = br#"{"query": "mutation Pay($amount: Int!) { pay(amount: $amount) { id } }"}"#;
/// let limits = Limits { body_bytes: 16, ..Limits::default() };
/// let mut counters = Counters::default();
/// let headers = Headers::from([("Content-Type", "application/json")]);
///
/// // `decoded_before`, because this content has no coding any more, whatever the header fields say.
/// let mut reader = BodyReader::request(b"POST", &headers, &limits).decoded_before();
/// reader.data(content, &mut counters);
/// let request = reader.finish(End::Complete, &mut counters);
/// assert!(request.cut, "only 16 bytes were captured: the exchange is truncated");
///
/// let mut exchange = Exchange {
///     index: 0,
///     stream: None,
///     request_offset: 0,
///     request: Request {
///         method: "POST".into(),
///         target: "/graphql".into(),
///         authority: None,
///         version: Version::Http2,
///         headers,
///         headers_unknown: 0,
///         head_bytes: 0,
///         body: Body { wire_bytes: content.len() as u64, ..request.body },
///         first_byte: 0,
///         last_byte: 0,
///     },
///     response: None,
///     application: Application::default(),
///     flags: Flags::TRUNCATED,
/// };
/// classify(&mut exchange, request.inspected, Inspected::default(), &limits);
/// assert!(matches!(exchange.application, Application::GraphQl(operations) if operations[0].name == Some("Pay".into())));
/// ```
pub fn classify(exchange: &mut Exchange, request: Inspected, response: Inspected, limits: &Limits) {
    if exchange.application != Application::Http {
        return;
    }
    let asked = request.media(&exchange.request.headers);
    let answered = exchange
        .response
        .as_ref()
        .map_or(Media::Other, |answer| response.media(&answer.headers));
    let application = match (asked, answered) {
        (Media::Grpc, _) | (Media::Other, Media::Grpc) => Some(Application::Grpc(Box::new(rpc(exchange)))),
        (Media::GrpcWeb | Media::GrpcWebText, _) | (Media::Other, Media::GrpcWeb | Media::GrpcWebText) => {
            Some(Application::GrpcWeb(Box::new(rpc(exchange))))
        }
        _ => {
            let answer = response.found.filter(|_| exchange.response.is_some());
            called(exchange, request, answer, asked, answered, limits)
        }
    };
    // Calls may be answered by events, which are counted all the same.
    let events = || (answered == Media::EventStream).then_some(Application::EventStream);
    if let Some(application) = application.or_else(events) {
        exchange.application = application;
    }
}

/// Calls that stand in the content of the request, or in its target.
fn called(
    exchange: &Exchange,
    request: Inspected,
    answer: Option<Box<Found>>,
    asked: Media,
    answered: Media,
    limits: &Limits,
) -> Option<Application> {
    match request.found.map(|found| *found) {
        Some(Found::JsonRpc(calls)) => {
            let answers = match answer.as_deref() {
                Some(Found::JsonRpcAnswer(answers)) => Some(answers),
                _ => None,
            };
            calls.answered(answers).map(Application::JsonRpc)
        }
        Some(Found::Xml(soap::Message::XmlRpc(method))) => Some(Application::XmlRpc(method)),
        Some(Found::Xml(soap::Message::Soap { operation, sure })) => {
            (sure || says_soap(exchange, asked)).then(|| soap_call(exchange, operation, answer.as_deref()))
        }
        Some(Found::GraphQl(found)) => {
            (found.sure || says_graphql(exchange, answered)).then_some(Application::GraphQl(found.operations))
        }
        Some(Found::JsonRpcAnswer(_) | Found::XmlAnswer(_)) | None => {
            if says_soap(exchange, asked) {
                return Some(soap_call(exchange, Bytes::new(), answer.as_deref()));
            }
            graphql_in_target(exchange, answered, limits)
        }
    }
}

/// Whether header fields say that the request is SOAP.
fn says_soap(exchange: &Exchange, asked: Media) -> bool {
    match asked {
        Media::Soap => true,
        Media::Xml | Media::Related => exchange.request.headers.get(b"soapaction").is_some(),
        _ => false,
    }
}

fn soap_call(exchange: &Exchange, operation: Bytes, answer: Option<&Found>) -> Application {
    let fault = matches!(
        answer,
        Some(Found::XmlAnswer(soap::Message::Soap { operation, .. })) if operation == "Fault"
    );
    Application::Soap(Box::new(SoapCall {
        action: soap::action(&exchange.request.headers),
        operation,
        fault,
    }))
}

/// Whether the answer or the path says that the request is GraphQL.
fn says_graphql(exchange: &Exchange, answered: Media) -> bool {
    let path = path(&exchange.request.target);
    let called = |name: &[u8]| {
        path.windows(name.len())
            .any(|part| part.eq_ignore_ascii_case(name))
    };
    answered == Media::GraphQlResponse || called(b"graphql") || called(b"gql")
}

/// GraphQL that is asked for by GET, or whose request was not captured.
fn graphql_in_target(exchange: &Exchange, answered: Media, limits: &Limits) -> Option<Application> {
    let target = &exchange.request.target;
    let query = memchr::memchr(b'?', target).and_then(|at| target.get(at + 1..));
    let found = query
        .filter(|_| matches!(&exchange.request.method[..], b"GET" | b""))
        .and_then(|query| graphql::query_string(query, limits));
    match found {
        Some(found) if found.sure || says_graphql(exchange, answered) => {
            Some(Application::GraphQl(found.operations))
        }
        // Nothing else is answered like that.
        _ => (answered == Media::GraphQlResponse).then(|| Application::GraphQl(Vec::new())),
    }
}

fn path(target: &[u8]) -> &[u8] {
    let end = memchr::memchr2(b'?', b'#', target).unwrap_or(target.len());
    target.get(..end).unwrap_or_default()
}

fn rpc(exchange: &mut Exchange) -> Rpc {
    let (service, method) = service_and_method(&exchange.request.target);
    // The header field that tells the type of the body may have been unknown when the body began.
    let body = &mut exchange.request.body;
    body.messages.partial |= body.decoded_bytes > 0 && body.messages == Messages::default();
    let requests = body.messages.count;
    let responses = exchange
        .response
        .as_ref()
        .map_or(0, |response| response.body.messages.count);
    Rpc {
        service,
        method,
        status: exchange.response.as_ref().and_then(grpc_status),
        streaming: match (requests > 1, responses > 1) {
            (false, false) => Streaming::Unary,
            (true, false) => Streaming::Client,
            (false, true) => Streaming::Server,
            (true, true) => Streaming::Bidirectional,
        },
    }
}

/// The last two segments of the path, each as sent: `/package.Service/Method`. Gateways may put a prefix before them.
fn service_and_method(target: &Bytes) -> (Bytes, Bytes) {
    let mut segments = path(target).rsplitn(3, |&byte| byte == b'/');
    let method = segments.next().unwrap_or_default();
    let service = segments.next().unwrap_or_default();
    (name(target, service), name(target, method))
}

/// `part` of `whole`, at most `NAME_BYTES_MAX` of it.
fn name(whole: &Bytes, part: &[u8]) -> Bytes {
    match part.get(..NAME_BYTES_MAX).unwrap_or(part) {
        [] => Bytes::new(),
        part => whole.slice_ref(part),
    }
}

/// In trailers, or in the header fields of a response that is nothing but them.
fn grpc_status(response: &Response) -> Option<u32> {
    let of = |fields: &Headers| {
        let value = fields.get(b"grpc-status")?.trim_ascii();
        std::str::from_utf8(value).ok()?.parse().ok()
    };
    of(&response.body.trailers).or_else(|| of(&response.headers))
}
