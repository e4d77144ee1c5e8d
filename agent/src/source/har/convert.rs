//! An entry becomes an exchange.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use protocol::body::{BodyReader, Inspected};
use protocol::{
    Application, Counters, Exchange, Flags, Headers, Limits, Request, Response, Version, WebSocket, classify,
};
use serde_json::error::Category;

use super::content::Archived;
use super::entry::{RawEntry, RawMessages, RawPair, RawRequest, RawResponse, RawTimings};
use super::text::{Bounded, Number, Text};
use super::url::{Url, UrlError};
use super::{End, Entry, HEADERS_MAX, Oddities, Reason, body, time};

/// Longest part of a strange value that is quoted in a report, bytes.
const QUOTED_BYTES_MAX: usize = 100;

/// Converts the entries of one archive, in order.
#[derive(Debug)]
pub(super) struct Converter {
    limits: Limits,
    /// Time of the entry before.
    now: u64,
    pub(super) oddities: Oddities,
    pub(super) counters: Counters,
}

/// A half of an exchange, and what its content was found to be.
struct Half<T> {
    message: T,
    inspected: Inspected,
    cut: bool,
}

/// Why there is no exchange.
#[derive(Debug)]
pub(super) enum Failure {
    /// The entry says too little.
    LeftOut(Reason, String),
    /// It is no JSON.
    Syntax(serde_json::Error),
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self::LeftOut(reason, String::new())
    }
}

/// When things happened, Unix epoch nanoseconds.
struct Times {
    begin: u64,
    request_end: u64,
    response_begin: u64,
    end: u64,
}

impl Converter {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            now: 0,
            oddities: Oddities::default(),
            counters: Counters::default(),
        }
    }

    pub(super) fn convert(&mut self, text: Bytes, index: u64) -> Result<Entry, Failure> {
        let raw: RawEntry<'_> = serde_json::from_slice(&text).map_err(|error| match error.classify() {
            Category::Data => Failure::LeftOut(Reason::NoObject, error.to_string()),
            Category::Io | Category::Syntax | Category::Eof => Failure::Syntax(error),
        })?;
        let times = self.times(&raw);
        let Some(raw_request) = &raw.request else {
            return Err(Reason::NoRequest.into());
        };
        let method = raw_request
            .method
            .as_ref()
            .filter(|method| !method.0.is_empty())
            .ok_or(Reason::NoMethod)?;
        let url_text = raw_request
            .url
            .as_ref()
            .filter(|url| !url.0.is_empty())
            .ok_or(Reason::NoUrl)?;
        let url = Url::parse(&url_text.0).map_err(|error| {
            let reason = match error {
                UrlError::NotHttp => Reason::NotHttp,
                UrlError::Invalid => Reason::BadUrl,
            };
            Failure::LeftOut(reason, quoted(&url_text.0))
        })?;
        let request = self.request(&text, raw_request, method, &url, &times);
        let response = match &raw.response {
            Some(raw_response) => self.response(raw_response, &request.message, &times)?,
            None => None,
        };
        let exchange = exchange(index, request, response, raw.web_socket, &self.limits);
        let address = |text: &Option<Text<'_>>| end(text.as_ref().map_or(b"", |text| &text.0));
        let client = address(&raw.client).unwrap_or_else(|()| {
            self.oddities.client_addresses_invalid += 1;
            End::default()
        });
        let server = End {
            port: url.port(),
            ..address(&raw.server).unwrap_or_default()
        };
        Ok(Entry {
            index,
            exchange,
            client,
            server,
            secure: url.secure,
        })
    }

    /// The request's first byte is at the time of the entry. What the client spent before it had a connection (`blocked`, `dns`,
    /// `connect`) is no part of the exchange.
    fn times(&mut self, raw: &RawEntry<'_>) -> Times {
        let ts = raw.ts.0.filter(|seconds| (0.0..1.8e10).contains(seconds));
        let started = || raw.started.as_ref().and_then(|text| time::epoch_ns(&text.0));
        // Microseconds are what a double holds of present times.
        let begin = ts
            .map(|seconds| (seconds * 1e6).round() as u64 * 1000)
            .or_else(started);
        let begin = begin.unwrap_or_else(|| {
            self.oddities.without_time += 1;
            self.now
        });
        self.now = begin;
        let timings = raw.timings.unwrap_or_default();
        let ns = |number: Number| number.ms_as_ns().unwrap_or(0);
        let RawTimings {
            blocked,
            dns,
            connect,
            send,
            wait,
        } = timings;
        let before = ns(blocked) + ns(dns) + ns(connect);
        let total = ns(raw.time).saturating_sub(before);
        let sent = ns(send).min(total);
        let first = match wait.ms_as_ns() {
            Some(wait) => (ns(send) + wait).min(total),
            None => total,
        };
        Times {
            begin,
            request_end: begin + sent,
            response_begin: begin + first,
            end: begin + total,
        }
    }

    fn request(
        &mut self,
        text: &Bytes,
        raw: &RawRequest<'_>,
        method: &Text<'_>,
        url: &Url<'_>,
        times: &Times,
    ) -> Half<Request> {
        let version = raw
            .version
            .as_ref()
            .map_or(Version::Http11, |name| version(&name.0));
        let authority = part(text, url.authority);
        let target = match url.path.first() {
            _ if &*method.0 == b"CONNECT" => authority.clone(),
            Some(b'/') => part(text, url.path),
            _ => [b"/", url.path].concat().into(),
        };
        let mut headers = self.headers(&raw.headers, Splits::No);
        let has_host = headers.get(b"host").is_some();
        let in_authority = matches!(version, Version::Http2 | Version::Http3);
        if !has_host && !in_authority && version != Version::Http10 {
            let fields = std::mem::replace(&mut headers, Headers::from([("Host", &authority)]));
            headers.extend(&fields);
        }
        let method = whole(text, method);
        let content = raw
            .body
            .as_ref()
            .and_then(|post_data| body::of_request(post_data, &mut self.oddities));
        let known = raw
            .body_bytes
            .count()
            .filter(|bytes| *bytes > 0 || content.is_none());
        let archived = Archived {
            content: content.as_deref(),
            known,
            headers: &headers,
        };
        let fields = archived.fields();
        let reader = BodyReader::request(&method, &fields, &self.limits);
        let body = archived.read(reader, &fields, &mut self.counters);
        let head_bytes = raw
            .head_bytes
            .count()
            .filter(|bytes| *bytes > 0)
            .unwrap_or_else(|| head_bytes(method.len() + target.len() + 2, &headers));
        Half {
            message: Request {
                method,
                target,
                authority: in_authority.then_some(authority),
                version,
                headers,
                headers_unknown: 0,
                head_bytes,
                body: body.body,
                first_byte: times.begin,
                last_byte: times.request_end,
            },
            inspected: body.inspected,
            cut: body.cut,
        }
    }

    /// `None` for status 0: the client got no response.
    fn response(
        &mut self,
        raw: &RawResponse<'_>,
        request: &Request,
        times: &Times,
    ) -> Result<Option<Half<Response>>, Failure> {
        let status = match raw.status.0 {
            None | Some(0.0) => return Ok(None),
            Some(number) if (100.0..1000.0).contains(&number) => number as u16,
            Some(number) => return Err(Failure::LeftOut(Reason::BadStatus, number.to_string())),
        };
        let headers = self.headers(&raw.headers, Splits::AtLines);
        let raw_content = raw.content.as_ref();
        let content = raw_content.and_then(|content| body::of_response(content, &mut self.oddities));
        let unpacked = raw_content.and_then(|content| content.size.count());
        let saved = raw_content.and_then(|content| content.compression.count());
        let known = raw
            .body_bytes
            .count()
            .or_else(|| unpacked.map(|bytes| bytes.saturating_sub(saved.unwrap_or(0))));
        let archived = Archived {
            content: content.as_deref(),
            known,
            headers: &headers,
        };
        let fields = archived.fields();
        let reader = BodyReader::response(request, None, &fields, &self.limits);
        let body = archived.read(reader, &fields, &mut self.counters);
        let reason = raw.reason.as_ref().map_or(0, |reason| reason.0.len());
        let head_bytes = raw
            .head_bytes
            .count()
            .filter(|bytes| *bytes > 0)
            .unwrap_or_else(|| head_bytes(reason + 5, &headers));
        let named = raw.version.as_ref();
        Ok(Some(Half {
            message: Response {
                status,
                version: named.map_or(request.version, |name| version(&name.0)),
                headers,
                headers_unknown: 0,
                head_bytes,
                body: body.body,
                interim: 0,
                first_byte: times.response_begin,
                last_byte: times.end,
            },
            inspected: body.inspected,
            cut: body.cut,
        }))
    }

    fn headers(&mut self, raw: &Bounded<RawPair<'_>, HEADERS_MAX>, splits: Splits) -> Headers {
        self.oddities.headers_too_many += raw.more;
        let mut headers = Headers::with_capacity(raw.items.len() + 1, 0);
        for pair in &raw.items {
            let Some(name) = pair.name.as_ref().filter(|name| !name.0.is_empty()) else {
                continue;
            };
            // Chrome lists pseudo-header fields (RFC 9113 section 8.3); what they say is in the entry.
            if name.0.first() == Some(&b':') {
                continue;
            }
            let name = &*name.0;
            let value = pair.value.as_ref().map_or(&b""[..], |value| &value.0);
            match splits {
                // Chrome joins fields of one name with line ends.
                Splits::AtLines if value.contains(&b'\n') => {
                    let mut lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
                    headers.push(name, lines.next().unwrap_or_default());
                    // A long name and many lines make no large list.
                    lines.for_each(|line| headers.push_again(line));
                }
                Splits::AtLines | Splits::No => headers.push(name, value),
            }
        }
        headers
    }
}

fn exchange(
    index: u64,
    mut request: Half<Request>,
    mut response: Option<Half<Response>>,
    messages: Option<RawMessages>,
    limits: &Limits,
) -> Exchange {
    let mut application = Application::Http;
    if let Some(messages) = messages {
        request.message.body.messages = messages.sent;
        let subprotocol = response.as_mut().and_then(|response| {
            response.message.body.messages = messages.received;
            let chosen = response.message.headers.get(b"sec-websocket-protocol");
            chosen.map(Bytes::copy_from_slice)
        });
        application = Application::WebSocket(Box::new(WebSocket {
            subprotocol,
            close_code: None,
        }));
    }
    let mut flags = Flags::default();
    if request.cut || response.as_ref().is_some_and(|response| response.cut) {
        flags.insert(Flags::TRUNCATED);
    }
    let (response, inspected) = match response {
        Some(half) => (Some(half.message), half.inspected),
        None => {
            flags.insert(Flags::UNPAIRED);
            (None, Inspected::default())
        }
    };
    let mut exchange = Exchange {
        index,
        stream: None,
        request_offset: 0,
        request: request.message,
        response,
        application,
        flags,
    };
    classify(&mut exchange, request.inspected, inspected, limits);
    exchange
}

/// Whether a value may be those of several fields.
#[derive(Clone, Copy)]
enum Splits {
    No,
    AtLines,
}

/// The text's own bytes where it needed no unescaping.
fn whole(entry: &Bytes, text: &Text<'_>) -> Bytes {
    match &text.0 {
        Cow::Borrowed(bytes) => entry.slice_ref(bytes),
        Cow::Owned(bytes) => Bytes::copy_from_slice(bytes),
    }
}

/// As [`whole`], for a part of a text.
fn part(entry: &Bytes, part: &[u8]) -> Bytes {
    if entry.as_ptr_range().contains(&part.as_ptr()) {
        entry.slice_ref(part)
    } else {
        Bytes::copy_from_slice(part)
    }
}

/// Bytes that the head has in HTTP/1.1: what is in the start line beside the version, and the fields. An estimate for HTTP/2 and 3.
fn head_bytes(start_line: usize, headers: &Headers) -> u64 {
    let fields: usize = headers
        .iter()
        .map(|(name, value)| name.len() + value.len() + b": \r\n".len())
        .sum();
    (start_line + b"HTTP/1.1\r\n".len() + fields + b"\r\n".len()) as u64
}

/// `h2`, `HTTP/2.0`, `http/1.1`, `h3-29`; what is not known (Chrome leaves it empty for failed requests) is taken for HTTP/1.1.
fn version(name: &[u8]) -> Version {
    let name = name.trim_ascii().to_ascii_lowercase();
    let number = name
        .strip_prefix(b"http/")
        .or_else(|| name.strip_prefix(b"h"))
        .unwrap_or_default();
    match number {
        b"1.0" => Version::Http10,
        b"2" | b"2.0" | b"2c" => Version::Http2,
        [b'3', ..] => Version::Http3,
        _ if name.starts_with(b"http/2+quic") || name.starts_with(b"quic") => Version::Http3,
        _ => Version::Http11,
    }
}

/// An address, perhaps with a port, perhaps in brackets. Empty: not known.
fn end(text: &[u8]) -> Result<End, ()> {
    let text = std::str::from_utf8(text.trim_ascii()).map_err(|_| ())?;
    if text.is_empty() {
        return Ok(End::default());
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(text).parse::<IpAddr>() {
        return Ok(End {
            address: Some(address.to_canonical()),
            port: None,
        });
    }
    let address: SocketAddr = text.parse().map_err(|_| ())?;
    Ok(End {
        address: Some(address.ip().to_canonical()),
        port: Some(address.port()),
    })
}

fn quoted(text: &[u8]) -> String {
    let begin = text.get(..QUOTED_BYTES_MAX).unwrap_or(text);
    begin.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (name, expect) in [
            ("HTTP/1.1", Version::Http11),
            ("http/1.1", Version::Http11),
            ("HTTP/1.0", Version::Http10),
            ("h2", Version::Http2),
            ("HTTP/2", Version::Http2),
            ("HTTP/2.0", Version::Http2),
            ("http/2.0", Version::Http2),
            ("h2c", Version::Http2),
            ("h3", Version::Http3),
            ("h3-29", Version::Http3),
            ("HTTP/3", Version::Http3),
            ("http/2+quic/46", Version::Http3),
            ("", Version::Http11),
            ("unknown", Version::Http11),
        ] {
            assert_eq!(version(name.as_bytes()), expect, "{name}");
        }
    }

    #[test]
    fn ends() {
        let end_of = |address: &str, port| End {
            address: Some(address.parse().unwrap()),
            port,
        };
        for (text, expect) in [
            ("", Ok(End::default())),
            ("10.0.0.1", Ok(end_of("10.0.0.1", None))),
            ("10.0.0.1:80", Ok(end_of("10.0.0.1", Some(80)))),
            ("2001:db8::1", Ok(end_of("2001:db8::1", None))),
            ("[2001:db8::1]", Ok(end_of("2001:db8::1", None))),
            ("[2001:db8::1]:80", Ok(end_of("2001:db8::1", Some(80)))),
            ("::ffff:10.0.0.1", Ok(end_of("10.0.0.1", None))),
            ("laptop", Err(())),
            ("10.0.0.1:x", Err(())),
        ] {
            assert_eq!(end(text.as_bytes()), expect, "{text}");
        }
    }
}
