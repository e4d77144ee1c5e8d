//! A line of `calls.jsonl`: everything but `entry_index` and `endpoint`, which are known at the end.

use catalog::Recorded;
use detect::{Field, RedactedCall};
use protocol::{Exchange, Header, Messages};

use super::blocks::Blocks;
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
    /// Name of the file, as JSON.
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
    pub fn write(&self, out: &mut Vec<u8>, blocks: &mut Blocks) {
        out.extend_from_slice(b",\"file\":");
        out.extend_from_slice(self.file);
        out.extend_from_slice(b",\"client\":");
        json::end(out, &self.client);
        out.extend_from_slice(b",\"server\":");
        json::end(out, &self.server);
        self.request(out, blocks);
        self.response(out, blocks);
        let exchange = self.exchange;
        let answered = exchange.response.is_some();
        out.extend_from_slice(b",\"ts\":");
        json::seconds(out, self.measures.ts_us);
        out.extend_from_slice(b",\"duration_us\":");
        json::number_or_null(out, answered.then_some(self.measures.duration_us));
        out.extend_from_slice(b",\"ttfb_us\":");
        json::number_or_null(out, answered.then_some(self.measures.ttfb_us));
        out.extend_from_slice(b",\"protocol\":\"");
        out.extend_from_slice(exchange.request.version.name().as_bytes());
        out.extend_from_slice(b"\",\"flags\":[");
        for (at, name) in exchange.flags.names().enumerate() {
            comma(out, at);
            json::string(out, name.as_bytes());
        }
        out.push(b']');
        if let Some(stream) = exchange.stream {
            out.extend_from_slice(b",\"stream\":");
            json::number(out, stream.into());
        }
        match self.shown {
            Shown::Revealed { .. } => application::write(out, &exchange.application),
            Shown::Redacted { call, .. } => {
                application::write_redacted(out, &exchange.application, &call.operation);
            }
        }
        out.extend_from_slice(b"}\n");
    }

    fn request(&self, out: &mut Vec<u8>, blocks: &mut Blocks) {
        let request = &self.exchange.request;
        out.extend_from_slice(b",\"request\":{\"method\":");
        match self.shown {
            Shown::Revealed { host } => {
                json::string(out, &request.method);
                out.extend_from_slice(b",\"target\":");
                json::string(out, &request.target);
                out.extend_from_slice(b",\"host\":");
                json::string(out, host.as_bytes());
                headers(out, &request.headers);
            }
            Shown::Redacted { call, recorded } => {
                json::string(out, call.method.as_bytes());
                out.extend_from_slice(b",\"target\":");
                redacted_target(
                    out,
                    recorded.map_or("", |recorded| &recorded.path),
                    &call.query_names,
                );
                out.extend_from_slice(b",\"host\":");
                json::string(out, recorded.map_or("", |recorded| &recorded.host).as_bytes());
                redacted_headers(out, blocks, &call.request_headers);
            }
        }
        out.extend_from_slice(b",\"size\":");
        json::number(out, self.measures.request_bytes);
        messages(out, &request.body.messages);
        out.push(b'}');
    }

    fn response(&self, out: &mut Vec<u8>, blocks: &mut Blocks) {
        let Some(response) = &self.exchange.response else {
            return out.extend_from_slice(b",\"response\":null");
        };
        out.extend_from_slice(b",\"response\":{\"status\":");
        json::number_or_null(out, Some(u64::from(response.status)).filter(|status| *status > 0));
        match self.shown {
            Shown::Revealed { .. } => headers(out, &response.headers),
            Shown::Redacted { call, .. } => redacted_headers(out, blocks, &call.response_headers),
        }
        out.extend_from_slice(b",\"size\":");
        json::number(out, self.measures.response_bytes);
        messages(out, &response.body.messages);
        out.push(b'}');
    }
}

fn comma(out: &mut Vec<u8>, at: usize) {
    if at > 0 {
        out.push(b',');
    }
}

fn headers(out: &mut Vec<u8>, fields: &[Header]) {
    out.extend_from_slice(b",\"headers\":[");
    for (at, field) in fields.iter().enumerate() {
        comma(out, at);
        out.extend_from_slice(b"{\"name\":");
        json::string(out, &field.name);
        out.extend_from_slice(b",\"value\":");
        json::string(out, &field.value);
        out.push(b'}');
    }
    out.push(b']');
}

fn redacted_headers(out: &mut Vec<u8>, blocks: &mut Blocks, fields: &[Field]) {
    out.extend_from_slice(b",\"headers\":");
    blocks.write(out, fields);
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

fn messages(out: &mut Vec<u8>, messages: &Messages) {
    if *messages == Messages::default() {
        return;
    }
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
