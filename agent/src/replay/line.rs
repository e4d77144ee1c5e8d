//! A line of `calls.jsonl`: everything but `entry_index` and `endpoint`, which are known at the end.

use catalog::Recorded;
use detect::{Field, RedactedCall};
use protocol::{Application, Exchange, Headers, Messages, Response};

use super::known::Known;
use super::parts::{Fixed, Parts};
use super::{application, json};
use crate::pipeline::Measures;
use crate::source::har::End;

/// What is written of a call's values.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// What may leave a node: no values.
    Redacted {
        /// Method, names, allowed header fields.
        call: &'a RedactedCall,
        /// Where the catalog counted it; `None` for a call whose path is not known.
        recorded: Option<&'a Recorded>,
    },
    /// Everything as it was, with the host that was found.
    Revealed {
        /// Host.
        host: &'a str,
    },
}

/// A call.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Index of the file.
    pub file_index: u32,
    /// Its name, as JSON.
    pub file: &'a [u8],
    /// Client's end.
    pub client: End,
    /// Server's end.
    pub server: End,
    /// What went over the wire.
    pub exchange: &'a Exchange,
    /// Its sizes and times.
    pub measures: Measures,
    /// What is said of its values.
    pub shown: Shown<'a>,
}

impl Line<'_> {
    /// Appends the members of the object, each after a comma, and the end of the line.
    pub fn write(&self, parts: &mut Parts<'_>, known: &mut Known) {
        let exchange = self.exchange;
        known.ends(parts, self.file_index, (self.client, self.server), |out| {
            out.extend_from_slice(b",\"file\":");
            out.extend_from_slice(self.file);
            out.extend_from_slice(b",\"client\":");
            json::end(out, &self.client);
            out.extend_from_slice(b",\"server\":");
            json::end(out, &self.server);
        });
        self.request(parts, known);
        parts.number(self.measures.request_bytes);
        messages(parts, &exchange.request.body.messages);
        match &exchange.response {
            None => {
                parts.common_text(b"},\"response\":null,\"ts\":");
            }
            Some(response) => {
                self.response(parts, known, response);
                parts.number(self.measures.response_bytes);
                messages(parts, &response.body.messages);
                parts.fixed(Fixed::Ts);
            }
        }
        parts.seconds(self.measures.ts_us);
        let answered = exchange.response.is_some();
        parts.fixed(Fixed::DurationUs);
        parts.number_or_null(answered.then_some(self.measures.duration_us));
        parts.fixed(Fixed::TtfbUs);
        parts.number_or_null(answered.then_some(self.measures.ttfb_us));
        if let Some(stream) = exchange.stream {
            parts.common(|out| self.protocol(out, b",\"stream\":"));
            parts.number(stream.into());
            parts.common(|out| self.application(out));
        } else if exchange.application == Application::Http {
            known.end(parts, (exchange.request.version, exchange.flags), |out| {
                self.protocol(out, b"}\n");
            });
        } else {
            parts.common(|out| self.protocol(out, b""));
            parts.common(|out| self.application(out));
        }
    }

    fn protocol(&self, out: &mut Vec<u8>, after: &[u8]) {
        out.extend_from_slice(b",\"protocol\":\"");
        out.extend_from_slice(self.exchange.request.version.name().as_bytes());
        out.extend_from_slice(b"\",\"flags\":[");
        for (at, name) in self.exchange.flags.names().enumerate() {
            comma(out, at);
            json::string(out, name.as_bytes());
        }
        out.push(b']');
        out.extend_from_slice(after);
    }

    /// To the end of the line.
    fn application(&self, out: &mut Vec<u8>) {
        let application = &self.exchange.application;
        match self.shown {
            Shown::Revealed { .. } => application::write(out, application),
            Shown::Redacted { call, .. } => application::write_redacted(out, application, &call.operation),
        }
        out.extend_from_slice(b"}\n");
    }

    /// To the number of its size.
    fn request(&self, parts: &mut Parts<'_>, known: &mut Known) {
        let request = &self.exchange.request;
        match self.shown {
            Shown::Revealed { host } => {
                parts.common(|out| {
                    out.extend_from_slice(b",\"request\":{\"method\":");
                    json::string(out, &request.method);
                    out.extend_from_slice(b",\"target\":");
                    json::string(out, &request.target);
                    out.extend_from_slice(b",\"host\":");
                    json::string(out, host.as_bytes());
                    headers(out, &request.headers);
                    out.extend_from_slice(b",\"size\":");
                });
            }
            Shown::Redacted { call, recorded } => known.request(parts, call, recorded, |out| {
                out.extend_from_slice(b",\"request\":{\"method\":");
                json::string(out, call.method.as_bytes());
                out.extend_from_slice(b",\"target\":");
                redacted_target(
                    out,
                    recorded.map_or("", |recorded| &recorded.path),
                    &call.query_names,
                );
                out.extend_from_slice(b",\"host\":");
                json::string(out, recorded.map_or("", |recorded| &recorded.host).as_bytes());
                redacted_headers(out, &call.request_headers);
                out.extend_from_slice(b",\"size\":");
            }),
        }
    }

    /// From the end of the request to the number of its size.
    fn response(&self, parts: &mut Parts<'_>, known: &mut Known, response: &Response) {
        let begin = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"},\"response\":{\"status\":");
            json::number_or_null(out, Some(u64::from(response.status)).filter(|status| *status > 0));
        };
        match self.shown {
            Shown::Revealed { .. } => {
                parts.common(|out| {
                    begin(out);
                    headers(out, &response.headers);
                    out.extend_from_slice(b",\"size\":");
                });
            }
            Shown::Redacted { call, .. } => known.response(parts, call, response.status, |out| {
                begin(out);
                redacted_headers(out, &call.response_headers);
                out.extend_from_slice(b",\"size\":");
            }),
        }
    }
}

fn comma(out: &mut Vec<u8>, at: usize) {
    if at > 0 {
        out.push(b',');
    }
}

fn headers(out: &mut Vec<u8>, fields: &Headers) {
    pairs(out, fields.iter());
}

fn redacted_headers(out: &mut Vec<u8>, fields: &[Field]) {
    pairs(
        out,
        fields
            .iter()
            .map(|field| (field.0.as_bytes(), field.1.as_bytes())),
    );
}

fn pairs<'a>(out: &mut Vec<u8>, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
    out.extend_from_slice(b",\"headers\":[");
    for (at, (name, value)) in fields.enumerate() {
        comma(out, at);
        out.extend_from_slice(b"{\"name\":");
        json::string(out, name);
        out.extend_from_slice(b",\"value\":");
        json::string(out, value);
        out.push(b'}');
    }
    out.push(b']');
}

/// The path with values as their types, the names of the query's parameters without theirs: `/users/{integer}?fields=…`.
fn redacted_target(out: &mut Vec<u8>, path: &str, names: &[String]) {
    out.push(b'"');
    json::push(out, path.as_bytes());
    for (at, name) in names.iter().enumerate() {
        out.push(if at == 0 { b'?' } else { b'&' });
        json::push(out, name.as_bytes());
        out.extend_from_slice("=…".as_bytes());
    }
    out.push(b'"');
}

fn messages(parts: &mut Parts<'_>, messages: &Messages) {
    if *messages != Messages::default() {
        parts.common(|out| counts(out, messages));
    }
}

fn counts(out: &mut Vec<u8>, messages: &Messages) {
    out.extend_from_slice(b",\"messages\":{");
    let counts = [
        ("count", messages.count),
        ("bytes", messages.bytes),
        ("bytes_max", messages.bytes_max),
        ("compressed", messages.compressed),
        ("text", messages.text),
        ("control", messages.control),
    ];
    for (at, (name, count)) in counts.into_iter().enumerate() {
        comma(out, at);
        json::string(out, name.as_bytes());
        out.push(b':');
        json::number(out, count);
    }
    out.extend_from_slice(b",\"partial\":");
    out.extend_from_slice(if messages.partial { b"true" } else { b"false" });
    out.push(b'}');
}
