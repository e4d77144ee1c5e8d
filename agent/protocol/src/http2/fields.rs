//! A header list as a request, a response or trailers (RFC 9113 8.2, 8.3).

use bytes::Bytes;

use crate::detect::is_token;
use crate::hpack::Field;
use crate::{Headers, Limits};

/// Fields of a header block, in order.
#[derive(Debug, Default)]
pub(super) struct Fields {
    method: Option<Bytes>,
    scheme: Option<Bytes>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
    protocol: Option<Bytes>,
    status: Option<Bytes>,
    pub(super) headers: Headers,
    /// Bytes of all, as RFC 9113 6.5.2 counts them.
    pub(super) list_bytes: usize,
    /// Fields of which the name, or the value too, is unknown.
    pub(super) unknown: u32,
    /// A pseudo-header field that is none, comes twice, or comes behind a header field.
    malformed: bool,
    /// What no sender may send and a reader can understand nevertheless: see [`Self::is_odd`].
    odd: bool,
}

/// A request's head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestHead {
    pub(super) method: Bytes,
    pub(super) target: Bytes,
    pub(super) authority: Option<Bytes>,
    /// `:protocol` of an extended CONNECT (RFC 8441).
    pub(super) protocol: Option<Bytes>,
    pub(super) headers: Headers,
    pub(super) unknown: u32,
}

/// What the header list of a response direction is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Status 100 to 999.
    Head(u16),
    /// No pseudo-header field: trailers, or a head whose status is unknown.
    NoStatus,
    Malformed,
}

/// The header list breaks the rules of pseudo-header fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Fields {
    pub(super) fn add(&mut self, field: Field) {
        let (Some(name), Some(value)) = (field.name, field.value) else {
            self.unknown = self.unknown.saturating_add(1);
            return;
        };
        if name.first() != Some(&b':') {
            self.odd |= is_odd(&name, &value);
            if self.headers.is_empty() {
                self.headers = Headers::with_capacity(FIELDS_USUAL, TEXT_BYTES_USUAL);
            }
            self.headers.push(&name, &value);
            return;
        }
        let place = match &name[..] {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            b":path" => &mut self.path,
            b":protocol" => &mut self.protocol,
            b":status" => &mut self.status,
            _ => {
                self.malformed = true;
                return;
            }
        };
        self.malformed |= place.is_some() || !self.headers.is_empty();
        *place = Some(value);
    }

    /// Whether a field name has upper-case or other odd bytes, a value control characters or white space around it,
    /// or a field belongs to the connection (RFC 9113 8.2.1, 8.2.2). An endpoint should refuse such a message; not
    /// all do.
    pub(super) const fn is_odd(&self) -> bool {
        self.odd
    }

    /// The head of a request. Of pseudo-header fields that have to be there, any may be missing if there are unknown
    /// fields, but not all.
    pub(super) fn request(self) -> Result<RequestHead, Malformed> {
        let Self {
            method,
            scheme,
            authority,
            path,
            protocol,
            status,
            headers,
            unknown,
            malformed,
            ..
        } = self;
        if malformed || status.is_some() {
            return Err(Malformed);
        }
        let known = |value: &Option<Bytes>| value.is_some();
        if !known(&method) && !known(&path) && !known(&scheme) {
            return Err(Malformed);
        }
        let tunnel = method.as_deref() == Some(b"CONNECT") && protocol.is_none();
        let complete = if tunnel {
            // RFC 9113 8.5. An unknown field may be `:protocol`.
            known(&authority) && !known(&scheme) && !known(&path)
        } else {
            known(&method) && known(&scheme) && known(&path)
        };
        let valid = method.as_deref().is_none_or(is_method)
            && scheme.as_deref().is_none_or(is_scheme)
            && path
                .as_deref()
                .is_none_or(|path| is_path(path, scheme.as_deref()))
            && protocol
                .as_deref()
                .is_none_or(|protocol| protocol.iter().all(|&byte| is_token(byte) || byte == b'/'));
        if !valid
            || !complete && unknown == 0
            || protocol.is_some() && method.as_deref().is_some_and(|m| m != b"CONNECT")
        {
            return Err(Malformed);
        }
        Ok(RequestHead {
            method: method.unwrap_or_default(),
            target: path.unwrap_or_default(),
            authority,
            protocol,
            headers,
            unknown,
        })
    }

    /// What it is in the response direction.
    pub(super) fn answer(&self) -> Answer {
        let request = [
            &self.method,
            &self.scheme,
            &self.authority,
            &self.path,
            &self.protocol,
        ];
        if self.malformed || request.into_iter().any(Option::is_some) {
            return Answer::Malformed;
        }
        match self.status.as_deref() {
            None => Answer::NoStatus,
            Some(&[hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9']) => {
                let digit = |byte: u8| u16::from(byte - b'0');
                match digit(hundreds) * 100 + digit(tens) * 10 + digit(ones) {
                    // RFC 9113 8.6.
                    101 => Answer::Malformed,
                    status => Answer::Head(status),
                }
            }
            Some(_) => Answer::Malformed,
        }
    }

    /// Whether it may be trailers: no pseudo-header field (RFC 9113 8.1).
    pub(super) fn is_trailers(&self) -> bool {
        let pseudo = [
            &self.method,
            &self.scheme,
            &self.authority,
            &self.path,
            &self.protocol,
            &self.status,
        ];
        !self.malformed && pseudo.into_iter().all(Option::is_none)
    }
}

/// Room for the fields of a usual head.
const FIELDS_USUAL: usize = 8;
/// Room for their names and values.
const TEXT_BYTES_USUAL: usize = 256;

fn is_method(method: &[u8]) -> bool {
    !method.is_empty()
        && method.len() <= crate::detect::METHOD_BYTES_MAX
        && method.iter().all(|&byte| is_token(byte))
}

fn is_scheme(scheme: &[u8]) -> bool {
    scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// RFC 9113 8.3.1: not empty and, for `http` and `https`, a path or `*`. White space and control characters would end
/// it in HTTP/1.
fn is_path(path: &[u8], scheme: Option<&[u8]>) -> bool {
    let web = scheme.is_none_or(|scheme| matches!(scheme, b"http" | b"https"));
    let begins = match path {
        [] => false,
        [b'/', ..] | b"*" => true,
        _ => !web,
    };
    begins && path.iter().all(|&byte| byte > b' ' && byte != 0x7f)
}

fn is_odd(name: &[u8], value: &[u8]) -> bool {
    let space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    name.is_empty()
        || !name.iter().all(|&byte| is_name_byte(byte))
        || space(value.first())
        || space(value.last())
        || memchr::memchr3(0, b'\r', b'\n', value).is_some()
        || of_connection(name, value)
}

/// Whether a byte belongs in a field name: `tchar` of RFC 9110 5.6.2 but for upper-case letters.
const fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'0'..=b'9' | b'^'..=b'z' | b'|' | b'~')
}

/// RFC 9113 8.2.2.
fn of_connection(name: &[u8], value: &[u8]) -> bool {
    match name {
        b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade" => true,
        b"te" => !value.eq_ignore_ascii_case(b"trailers"),
        _ => false,
    }
}

/// Most of a block that is given: see [`crate::hpack::ListLimits`].
pub(super) const fn list_limits(limits: &Limits) -> crate::hpack::ListLimits {
    crate::hpack::ListLimits {
        bytes: limits.header_list_bytes,
        fields: limits.headers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &str) -> Fields {
        let mut fields = Fields::default();
        for field in list.split('|').filter(|field| !field.is_empty()) {
            let (name, value) = match field.rsplit_once('=') {
                Some((name, value)) => (
                    Some(Bytes::copy_from_slice(name.as_bytes())),
                    Some(Bytes::copy_from_slice(value.as_bytes())),
                ),
                None => (None, None),
            };
            fields.add(Field {
                name,
                value,
                never_indexed: false,
            });
        }
        fields
    }

    #[test]
    fn requests() {
        let cases = [
            (
                ":method=GET|:scheme=https|:path=/|:authority=a|accept=x",
                Some("GET / a"),
            ),
            (":method=GET|:scheme=https|:path=/", Some("GET / -")),
            (":method=OPTIONS|:scheme=http|:path=*", Some("OPTIONS * -")),
            (":method=GET|:scheme=urn|:path=a:b", Some("GET a:b -")),
            (":method=CONNECT|:authority=a:1", Some("CONNECT  a:1")),
            (
                ":method=CONNECT|:protocol=websocket|:scheme=https|:path=/|:authority=a",
                Some("CONNECT / a"),
            ),
            (
                ":method=CONNECT|:protocol=webtransport|:scheme=https|:path=/|:authority=a",
                Some("CONNECT / a"),
            ),
            // Unknown fields may be what is missing.
            (":method=GET|?|?", Some("GET  -")),
            (":scheme=https|:path=/x|?", Some(" /x -")),
            (":method=POST|:scheme=http|?|:authority=a|x=y", Some("POST  a")),
            (":method=CONNECT|?", Some("CONNECT  -")),
            ("?|?|?", None),
            (":authority=a|?|?|?", None),
            // Missing.
            ("", None),
            (":method=GET|:scheme=https", None),
            (":method=GET|:path=/", None),
            (":scheme=https|:path=/", None),
            (":method=CONNECT", None),
            (":method=CONNECT|:scheme=https|:path=/|:authority=a", None),
            (
                ":method=GET|:protocol=websocket|:scheme=https|:path=/|:authority=a",
                None,
            ),
            (":method=CONNECT|:protocol=websocket|:authority=a", None),
            // Twice, misplaced, not of requests, none at all.
            (":method=GET|:method=GET|:scheme=https|:path=/", None),
            (":method=GET|:scheme=https|accept=x|:path=/", None),
            (":method=GET|:scheme=https|:path=/|:status=200", None),
            (":method=GET|:scheme=https|:path=/|:version=2", None),
            // Bad values.
            (":method=|:scheme=https|:path=/", None),
            (":method=G T|:scheme=https|:path=/", None),
            (":method=GET|:scheme=|:path=/", None),
            (":method=GET|:scheme=1a|:path=/", None),
            (":method=GET|:scheme=https|:path=", None),
            (":method=GET|:scheme=https|:path=x", None),
            (":method=GET|:scheme=https|:path=/ x", None),
            (":method=GET|:scheme=https|:path=/\0", None),
        ];
        for (list, want) in cases {
            let got = fields(list).request().ok().map(|head| {
                let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
                let authority = head.authority.as_deref().map_or("-".to_owned(), text);
                format!("{} {} {authority}", text(&head.method), text(&head.target))
            });
            assert_eq!(got.as_deref(), want, "{list}");
        }
    }

    #[test]
    fn answers() {
        let cases = [
            (":status=200", Answer::Head(200)),
            (":status=103|link=x", Answer::Head(103)),
            (":status=999", Answer::Head(999)),
            ("grpc-status=0", Answer::NoStatus),
            ("?", Answer::NoStatus),
            ("", Answer::NoStatus),
            (":status=101", Answer::Malformed),
            (":status=099", Answer::Malformed),
            (":status=20", Answer::Malformed),
            (":status=2000", Answer::Malformed),
            (":status=2x0", Answer::Malformed),
            (":status=200|:status=200", Answer::Malformed),
            ("a=b|:status=200", Answer::Malformed),
            (":status=200|:path=/", Answer::Malformed),
        ];
        for (list, want) in cases {
            assert_eq!(fields(list).answer(), want, "{list}");
        }
    }

    #[test]
    fn odd_fields() {
        let cases = [
            ("accept=x", false),
            ("te=trailers", false),
            ("te=gzip", true),
            ("Accept=x", true),
            ("a b=x", true),
            ("=x", true),
            ("a= x", true),
            ("a=x\t", true),
            ("a=x\ny", true),
            ("connection=close", true),
            ("transfer-encoding=chunked", true),
            ("a=", false),
        ];
        for (list, want) in cases {
            assert_eq!(fields(list).is_odd(), want, "{list}");
        }
    }
}
