//! What a call says about its endpoint: each statement is a facet. A call whose facets were all seen before brings nothing new.
//!
//! Facets are hashes with a seed that nobody outside knows, so that none can be made to look like another. They stay in this process.

use std::hash::BuildHasher;

use detect::{query_names, rpc_status};
use foldhash::fast::RandomState;
use protocol::{Application, Body, Exchange, Headers, Request, Response};
use smallvec::SmallVec;

use crate::tracker::Tls;

/// Most of one call; what is beyond is not looked at. A call has two or three dozen.
pub const FACETS_PER_CALL_MAX: usize = 256;

/// Bytes of a name that are looked at.
const NAME_BYTES_MAX: usize = 64;

/// Bytes of an authentication scheme (RFC 9110 11.1) that are looked at: registered ones are shorter.
const SCHEME_BYTES_MAX: usize = 16;

/// The facets of a call.
pub type Facets = SmallVec<[u64; 48]>;

/// What a facet is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum About {
    Status,
    Consumer,
    Version,
    RequestType,
    ResponseType,
    RequestField,
    ResponseField,
    Parameter,
    Scheme,
    Application,
    Operation,
    Outcome,
    RequestSize,
    ResponseSize,
    Tls,
}

/// Finds facets.
#[derive(Clone, Debug, Default)]
pub struct Finder {
    seed: RandomState,
}

impl Finder {
    /// Those of an exchange; `consumer` says who asked. Status code, consumer, version, media types, names of header fields and of
    /// query parameters, authentication scheme, operation and its status, the orders of magnitude of both bodies, and whether it went
    /// through TLS, of which version.
    #[must_use]
    pub fn of(&self, exchange: &Exchange, consumer: &str, tls: Option<&Tls>) -> Facets {
        let mut found = Found {
            seed: &self.seed,
            facets: Facets::new(),
        };
        found.add(About::Consumer, consumer.as_bytes());
        found.add(About::Tls, tls.map(|tls| tls.facts.version));
        found.request(&exchange.request);
        match &exchange.response {
            Some(response) => found.response(response),
            None => found.add(About::Status, 0_u16),
        }
        found.application(&exchange.application);
        found.facets
    }

    /// Hash of what names an endpoint.
    #[must_use]
    pub fn endpoint(&self, name: impl std::hash::Hash) -> u64 {
        self.seed.hash_one(name)
    }
}

struct Found<'a> {
    seed: &'a RandomState,
    facets: Facets,
}

impl Found<'_> {
    fn add(&mut self, about: About, what: impl std::hash::Hash) {
        if self.facets.len() < FACETS_PER_CALL_MAX {
            self.facets.push(self.seed.hash_one((about, what)));
        }
    }

    /// Names are the same in whatever case.
    fn add_name(&mut self, about: About, name: &[u8]) {
        let mut lower = [0_u8; NAME_BYTES_MAX];
        let length = name.len().min(NAME_BYTES_MAX);
        for (to, from) in lower.iter_mut().zip(name) {
            *to = from.to_ascii_lowercase();
        }
        self.add(about, (lower.get(..length), name.len()));
    }

    fn request(&mut self, request: &Request) {
        self.add(About::Version, request.version);
        self.message(
            &request.headers,
            &request.body,
            [About::RequestField, About::RequestType, About::RequestSize],
        );
        if let Some(credentials) = request.headers.get(b"authorization") {
            let scheme = credentials.split(|byte| *byte == b' ').next().unwrap_or_default();
            // Without a scheme it is a value, of which only that it is there says anything.
            let scheme =
                Some(scheme).filter(|it| it.len() < credentials.len() && it.len() <= SCHEME_BYTES_MAX);
            self.add_name(About::Scheme, scheme.unwrap_or_default());
        }
        if request.target.contains(&b'?') {
            for name in query_names(&request.target) {
                self.add(About::Parameter, name);
            }
        }
    }

    fn response(&mut self, response: &Response) {
        self.add(About::Status, response.status);
        self.message(
            &response.headers,
            &response.body,
            [About::ResponseField, About::ResponseType, About::ResponseSize],
        );
    }

    fn message(&mut self, headers: &Headers, body: &Body, [field, kind, size]: [About; 3]) {
        for (name, _) in headers {
            self.add_name(field, name);
        }
        if let Some(media) = headers.get(b"content-type") {
            let media = media.split(|byte| *byte == b';').next().unwrap_or_default();
            self.add_name(kind, media.trim_ascii());
        }
        self.add(size, magnitude(body.decoded_bytes));
    }

    fn application(&mut self, application: &Application) {
        self.add(About::Application, application.name());
        if let Some(status) = rpc_status(application) {
            self.add(About::Outcome, status);
        }
        match application {
            Application::Http | Application::EventStream => {}
            Application::Grpc(rpc) | Application::GrpcWeb(rpc) => {
                self.add(About::Operation, (&rpc.service, &rpc.method));
                self.add(About::Operation, rpc.streaming.name());
            }
            Application::WebSocket(socket) => self.add(About::Operation, &socket.subprotocol),
            Application::GraphQl(operations) => {
                for operation in operations {
                    let kind = operation.kind.map(protocol::GraphQlKind::name);
                    self.add(About::Operation, (kind, &operation.name, operation.persisted));
                }
            }
            Application::JsonRpc(calls) => {
                for call in calls {
                    self.add(About::Operation, (&call.method, call.notification));
                }
            }
            Application::Soap(call) => {
                self.add(About::Operation, (&call.action, &call.operation, call.fault));
            }
            Application::XmlRpc(method) => self.add(About::Operation, method),
        }
    }
}

/// Sizes that differ by less than four times are mostly of one magnitude: 0 for nothing, then one more for each factor of 16.
fn magnitude(bytes: u64) -> u32 {
    bytes.checked_ilog2().map_or(0, |log| 1 + log / 4)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use protocol::{Boundary, Connection, Direction, Limits, Start};

    use super::*;

    const REQUEST: &str = "POST /a?page=1 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer x\r\nContent-Type: application/json\r\n\
        Content-Length: 3\r\n\r\nabc";
    const RESPONSE: &str =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\nok";

    fn exchange(request: &str, response: &str) -> Exchange {
        let mut connection = Connection::new(Limits::default(), Start::Fresh);
        for (direction, text) in [(Direction::Request, request), (Direction::Response, response)] {
            connection.segment(direction, 0, 1, text.as_bytes(), Boundary::TurnStart);
        }
        connection.close(2);
        connection.poll().expect("an exchange")
    }

    /// Facets that the second has and the first has not.
    fn news(finder: &Finder, first: &(String, String, &str), second: &(String, String, &str)) -> usize {
        let of = |(request, response, consumer): &(String, String, &str)| -> BTreeSet<u64> {
            finder
                .of(&exchange(request, response), consumer, None)
                .into_iter()
                .collect()
        };
        of(second).difference(&of(first)).count()
    }

    #[test]
    fn what_is_new_and_what_is_not() {
        let finder = Finder::default();
        let known = (REQUEST.to_owned(), RESPONSE.to_owned(), "shop");
        let request = |from: &str, to: &str| (REQUEST.replace(from, to), known.1.clone(), known.2);
        let response = |from: &str, to: &str| (known.0.clone(), RESPONSE.replace(from, to), known.2);
        let cases = [
            ("the same", request("", ""), 0),
            ("values of fields", request("Bearer x", "Bearer y"), 0),
            ("case of names", request("Content-Type", "content-type"), 0),
            ("values of parameters", request("page=1", "page=2"), 0),
            ("parameters of media types", response("utf-8", "ascii"), 0),
            ("a scheme", request("Bearer x", "Basic x"), 1),
            ("no scheme", request("Bearer x", "x"), 1),
            ("a field", request("Host: h", "Host: h\r\nX-Tenant: 1"), 1),
            ("a parameter", request("page=1", "page=1&size=2"), 1),
            ("a media type", request("application/json", "text/csv"), 1),
            ("a status", response("200 OK", "500 Oops"), 1),
            ("a status of the same class", response("200 OK", "201 Created"), 1),
            (
                "a media type of a response",
                response("text/plain", "text/csv"),
                1,
            ),
            (
                "a field of a response",
                response("\r\n\r\n", "\r\nSet-Cookie: a=b\r\n\r\n"),
                1,
            ),
            ("a version", request("HTTP/1.1", "HTTP/1.0"), 1),
            ("a consumer", (known.0.clone(), known.1.clone(), "bank"), 1),
            (
                "a body of another magnitude",
                response("2\r\n\r\nok", &format!("99\r\n\r\n{}", "x".repeat(99))),
                1,
            ),
            (
                "a body of about the same size",
                response("2\r\n\r\nok", "3\r\n\r\nyes"),
                0,
            ),
        ];
        for (what, other, expected) in &cases {
            assert_eq!(news(&finder, &known, other), *expected, "{what}");
        }
        let unanswered = (known.0.clone(), String::new(), known.2);
        assert_eq!(news(&finder, &known, &unanswered), 1, "no answer");
    }

    #[test]
    fn what_goes_through_tls_is_told_from_what_goes_in_the_clear() {
        let finder = Finder::default();
        let exchange = exchange(REQUEST, RESPONSE);
        let of = |version: Option<Option<u16>>| -> BTreeSet<u64> {
            let tls = version.map(|version| Tls {
                facts: protocol::tls::Facts {
                    version,
                    ..protocol::tls::Facts::default()
                },
                ..Tls::default()
            });
            finder.of(&exchange, "", tls.as_ref()).into_iter().collect()
        };
        let kinds = [None, Some(None), Some(Some(0x0301)), Some(Some(0x0304))].map(of);
        for (at, one) in kinds.iter().enumerate() {
            for (beside, other) in kinds.iter().enumerate() {
                assert_eq!(one.difference(other).count(), usize::from(at != beside));
            }
        }
    }

    #[test]
    fn operations_are_told_apart() {
        let finder = Finder::default();
        let call = |application: Application| Exchange {
            application,
            ..exchange(REQUEST, RESPONSE)
        };
        let rpc = |method: &'static str, error: Option<i64>| {
            call(Application::JsonRpc(vec![protocol::JsonRpcCall {
                method: method.into(),
                error,
                ..protocol::JsonRpcCall::default()
            }]))
        };
        let known: BTreeSet<u64> = finder.of(&rpc("get", None), "", None).into_iter().collect();
        for (other, expected) in [
            (rpc("get", None), 0),
            (rpc("put", None), 1),
            (rpc("get", Some(-32_600)), 1),
            (call(Application::XmlRpc("get".into())), 2),
        ] {
            let found = finder.of(&other, "", None);
            assert_eq!(
                found.iter().filter(|facet| !known.contains(facet)).count(),
                expected
            );
        }
    }

    #[test]
    fn a_call_of_many_facets_is_cut() {
        let many: String = (0..2 * FACETS_PER_CALL_MAX)
            .map(|n| format!("x-{n}: 1\r\n"))
            .collect();
        let mut large = exchange(REQUEST, RESPONSE);
        large.request.headers = many
            .lines()
            .filter_map(|line| line.split_once(": "))
            .collect::<Vec<_>>()
            .into_iter()
            .collect();
        assert_eq!(Finder::default().of(&large, "", None).len(), FACETS_PER_CALL_MAX);
    }

    #[test]
    fn magnitudes() {
        let cases = [
            (0, 0),
            (1, 1),
            (15, 1),
            (16, 2),
            (255, 2),
            (256, 3),
            (u64::MAX, 16),
        ];
        for (bytes, expected) in cases {
            assert_eq!(magnitude(bytes), expected, "{bytes}");
        }
    }
}
