//! What a message's `Content-Type` says about how to read it (RFC 9110 8.3).

use crate::Headers;

/// Media types that are read as more than bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Media {
    /// Any other, or none.
    #[default]
    Other,
    /// `application/grpc`, with any suffix (`+proto`, `+json`).
    Grpc,
    /// `application/grpc-web`, with any suffix.
    GrpcWeb,
    /// `application/grpc-web-text`: the same in base64.
    GrpcWebText,
    /// `text/event-stream`.
    EventStream,
    /// JSON that a call may be written in.
    Json,
    /// `text/plain`: what some clients of JSON-RPC send so that a browser asks no leave.
    Text,
    /// `application/graphql`: a document.
    GraphQl,
    /// `application/graphql-response+json`: only answers to GraphQL have it.
    GraphQlResponse,
    /// XML that a call may be written in.
    Xml,
    /// `application/soap+xml`: SOAP 1.2.
    Soap,
    /// `multipart/form-data`: GraphQL with files.
    FormData,
    /// `multipart/related`: SOAP with attachments.
    Related,
}

impl Media {
    /// That of a message with these header fields.
    pub(crate) fn of(headers: &Headers) -> Self {
        content_type(headers).map_or(Self::Other, Self::named)
    }

    fn named(value: &[u8]) -> Self {
        let essence = value.split(|&byte| byte == b';').next().unwrap_or_default();
        let essence = essence.trim_ascii();
        // Most are this one.
        if essence == b"application/json" {
            return Self::Json;
        }
        let has = |prefix: &[u8]| {
            essence
                .get(..prefix.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
        };
        let is = |name: &[u8]| essence.eq_ignore_ascii_case(name);
        // Told apart by the type's first letters, so that most are not compared with all.
        if has(b"application/") {
            if has(b"application/grpc") {
                return Self::grpc(essence.get(b"application/grpc".len()..).unwrap_or_default());
            }
            const JSON: [&[u8]; 5] = [
                b"application/json",
                b"application/json-rpc",
                b"application/jsonrequest",
                b"application/graphql+json",
                b"application/graphql-request+json",
            ];
            if JSON.iter().any(|name| is(name)) {
                Self::Json
            } else if is(b"application/graphql-response+json") {
                Self::GraphQlResponse
            } else if is(b"application/graphql") {
                Self::GraphQl
            } else if is(b"application/xml") {
                Self::Xml
            } else if is(b"application/soap+xml") {
                Self::Soap
            } else {
                Self::Other
            }
        } else if has(b"text/") {
            if is(b"text/event-stream") {
                Self::EventStream
            } else if is(b"text/xml") {
                Self::Xml
            } else if is(b"text/plain") {
                Self::Text
            } else if is(b"text/json") {
                Self::Json
            } else {
                Self::Other
            }
        } else if is(b"multipart/form-data") {
            Self::FormData
        } else if is(b"multipart/related") {
            Self::Related
        } else {
            Self::Other
        }
    }

    /// By what follows `application/grpc`.
    fn grpc(rest: &[u8]) -> Self {
        let (dialect, _) = rest.split_at(rest.iter().position(|&byte| byte == b'+').unwrap_or(rest.len()));
        if dialect.is_empty() {
            Self::Grpc
        } else if dialect.eq_ignore_ascii_case(b"-web") {
            Self::GrpcWeb
        } else if dialect.eq_ignore_ascii_case(b"-web-text") {
            Self::GrpcWebText
        } else {
            Self::Other
        }
    }
}

/// The first value of `Content-Type`. Every message is asked for it.
pub(crate) fn content_type(headers: &Headers) -> Option<&[u8]> {
    headers.get(b"content-type")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        let cases = [
            ("application/grpc", Media::Grpc),
            ("application/grpc+proto", Media::Grpc),
            ("Application/gRPC; charset=utf-8", Media::Grpc),
            ("application/grpc-web", Media::GrpcWeb),
            ("application/grpc-web+thrift", Media::GrpcWeb),
            ("application/grpc-web-text+proto", Media::GrpcWebText),
            ("application/grpcx", Media::Other),
            ("application/json;charset=UTF-8", Media::Json),
            ("APPLICATION/JSON", Media::Json),
            ("application/vnd.api+json", Media::Other),
            ("application/graphql", Media::GraphQl),
            ("application/graphql+json", Media::Json),
            (
                "application/graphql-response+json; charset=utf-8",
                Media::GraphQlResponse,
            ),
            ("text/event-stream;charset=utf-8", Media::EventStream),
            ("text/xml", Media::Xml),
            ("application/soap+xml; action=\"urn:a\"", Media::Soap),
            ("text/plain", Media::Text),
            ("text/html", Media::Other),
            ("multipart/form-data; boundary=x", Media::FormData),
            ("multipart/related; type=\"application/xop+xml\"", Media::Related),
            ("", Media::Other),
            ("grpc", Media::Other),
        ];
        for (value, want) in cases {
            let headers = Headers::from([("Content-type", value)]);
            assert_eq!(Media::of(&headers), want, "{value}");
        }
        assert_eq!(Media::of(&Headers::new()), Media::Other);
    }
}
