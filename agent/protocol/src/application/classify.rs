//! Telling what speaks on top of HTTP once both halves of an exchange are complete.

use bytes::Bytes;

use crate::body::Inspected;
use crate::media::{Media, field};
use crate::{Application, Exchange, Header, Messages, Response, Rpc, Streaming};

/// Longest name that is kept, bytes: names come from strangers, and real ones are far shorter.
pub(crate) const NAME_BYTES_MAX: usize = 256;

/// Sets `exchange.application` where something is known that is not plain HTTP. Call it once, when both halves are complete
/// or will not come; `request` and `response` are what [`BodyReader`](crate::body::BodyReader) found in their contents,
/// [`Inspected::default`] where there was no body. An application that is set already stays as it is.
pub fn classify(exchange: &mut Exchange, request: Inspected, response: Inspected) {
    if exchange.application != Application::Http {
        return;
    }
    let _ = (request, response);
    let asked = Media::of(&exchange.request.headers);
    let answered = exchange
        .response
        .as_ref()
        .map_or(Media::Other, |response| Media::of(&response.headers));
    exchange.application = match (asked, answered) {
        (Media::Grpc, _) | (Media::Other, Media::Grpc) => Application::Grpc(Box::new(rpc(exchange))),
        (Media::GrpcWeb | Media::GrpcWebText, _) | (Media::Other, Media::GrpcWeb | Media::GrpcWebText) => {
            Application::GrpcWeb(Box::new(rpc(exchange)))
        }
        (_, Media::EventStream) => Application::EventStream,
        _ => return,
    };
}

fn rpc(exchange: &mut Exchange) -> Rpc {
    let (service, method) = service_and_method(&exchange.request.target);
    // The header that tells the type of the body may have been unknown when the body began.
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
    let end = memchr::memchr2(b'?', b'#', target).unwrap_or(target.len());
    let path = target.get(..end).unwrap_or_default();
    let mut segments = path.rsplitn(3, |&byte| byte == b'/');
    let method = segments.next().unwrap_or_default();
    let service = segments.next().unwrap_or_default();
    (name(target, service), name(target, method))
}

/// `part` of `whole`, at most `NAME_BYTES_MAX` of it.
pub(crate) fn name(whole: &Bytes, part: &[u8]) -> Bytes {
    match part.get(..NAME_BYTES_MAX).unwrap_or(part) {
        [] => Bytes::new(),
        part => whole.slice_ref(part),
    }
}

/// In trailers, or in the header fields of a response that is nothing but them.
fn grpc_status(response: &Response) -> Option<u32> {
    let of = |fields: &[Header]| {
        let value = field(fields, b"grpc-status")?.trim_ascii();
        std::str::from_utf8(value).ok()?.parse().ok()
    };
    of(&response.body.trailers).or_else(|| of(&response.headers))
}
