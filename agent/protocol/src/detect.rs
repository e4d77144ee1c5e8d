//! What the first bytes of a message look like: enough to tell which side of a connection is the client.

/// Longest method token believed. The registry's longest is `UPDATEREDIRECTREF` (17).
pub(crate) const METHOD_BYTES_MAX: usize = 32;
/// HTTP/2 connection preface (RFC 9113 3.4).
pub(crate) const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Signature of a PROXY protocol header, version 2.
pub(crate) const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Begin of a PROXY protocol header, version 1.
pub(crate) const PROXY_V1: &[u8] = b"PROXY ";

/// What a stream begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine {
    /// A request line: these bytes come from a client.
    Request,
    /// A status line: these bytes come from a server.
    Response,
    /// The HTTP/2 connection preface: these bytes come from a client.
    Http2Preface,
    /// A PROXY protocol header (version 1 or 2), as a load balancer sends ahead of a request.
    ProxyHeader,
    /// None of them.
    Neither,
    /// Not enough bytes to tell.
    TooShort,
}

/// Tells what `data`, the first bytes of a stream or of a message, looks like. Strict: a request is a method token,
/// one space and a plausible target (RFC 9112 3.2), with an HTTP/1 version if the line is there that far; a response
/// is `HTTP/1.`, a digit, a space and three digits.
#[must_use]
pub fn looks_like(data: &[u8]) -> StartLine {
    if let Some(found) = preface(data) {
        return found;
    }
    // Empty lines before a request line are allowed (RFC 9112 2.2).
    let empty = data
        .iter()
        .take_while(|&&byte| matches!(byte, b'\r' | b'\n'))
        .count();
    let data = data.get(empty..).unwrap_or_default();
    match (status_line(data), request_line(data)) {
        (Line::Whole, _) => StartLine::Response,
        (_, Line::Whole | Line::Plausible) => StartLine::Request,
        (Line::Bad, Line::Bad) => StartLine::Neither,
        _ => StartLine::TooShort,
    }
}

fn preface(data: &[u8]) -> Option<StartLine> {
    let begins = |known: &[u8]| known.starts_with(data) || data.starts_with(known);
    if data.is_empty() {
        return Some(StartLine::TooShort);
    }
    // "PRI * HTTP/2.0\r\n" can be nothing else; what follows it may come in another segment.
    let enough = |known: &[u8], len: usize| {
        if data.len() >= len.min(known.len()) {
            Some(())
        } else {
            None
        }
    };
    if begins(HTTP2_PREFACE) {
        return Some(enough(HTTP2_PREFACE, 16).map_or(StartLine::TooShort, |()| StartLine::Http2Preface));
    }
    for known in [PROXY_V1, PROXY_V2] {
        if begins(known) {
            return Some(enough(known, known.len()).map_or(StartLine::TooShort, |()| StartLine::ProxyHeader));
        }
    }
    None
}

/// How far a start line got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// It is none, whatever follows.
    Bad,
    /// Too short to say anything.
    Short,
    /// Not complete; everything so far fits, and enough that it is no accident.
    Plausible,
    /// Complete as far as it is looked at.
    Whole,
}

/// Looks at a status line: `HTTP/1.x SP 3DIGIT` and then a space or the end of the line. No status begins with 0 (RFC 9110 section 15).
pub(crate) fn status_line(data: &[u8]) -> Line {
    const PATTERN: &[u8] = b"HTTP/1.v sdd$";
    for (&want, &byte) in PATTERN.iter().zip(data) {
        let fits = match want {
            b'v' => matches!(byte, b'0' | b'1'),
            b's' => matches!(byte, b'1'..=b'9'),
            b'd' => byte.is_ascii_digit(),
            b'$' => matches!(byte, b' ' | b'\r' | b'\n'),
            _ => byte == want,
        };
        if !fits {
            return Line::Bad;
        }
    }
    if data.len() >= PATTERN.len() {
        Line::Whole
    } else {
        Line::Short
    }
}

/// Looks at a request line: method, one space, target, one space, `HTTP/1.0` or `HTTP/1.1`, end of line.
pub(crate) fn request_line(data: &[u8]) -> Line {
    let head = data.get(..METHOD_BYTES_MAX + 1).unwrap_or(data);
    let Some(space) = memchr::memchr(b' ', head) else {
        let bad = head.len() > METHOD_BYTES_MAX || !head.iter().all(|&byte| is_token(byte));
        return if bad { Line::Bad } else { Line::Short };
    };
    let (method, rest) = data.split_at(space);
    if method.is_empty() || !method.iter().all(|&byte| is_token(byte)) {
        return Line::Bad;
    }
    let rest = rest.get(1..).unwrap_or_default();
    let target_end = rest.iter().position(|&byte| byte <= b' ' || byte == 0x7f);
    let target = rest.get(..target_end.unwrap_or(rest.len())).unwrap_or_default();
    match (target_end, plausible_target(target, target_end.is_some())) {
        (_, Line::Bad) => Line::Bad,
        (None, so_far) => so_far,
        (Some(end), _) => version(rest.get(end..).unwrap_or_default()),
    }
}

fn version(data: &[u8]) -> Line {
    const PATTERN: &[u8] = b" HTTP/1.v$";
    for (&want, &byte) in PATTERN.iter().zip(data) {
        let fits = match want {
            b'v' => matches!(byte, b'0' | b'1'),
            b'$' => matches!(byte, b'\r' | b'\n'),
            _ => byte == want,
        };
        if !fits {
            return Line::Bad;
        }
    }
    if data.len() >= PATTERN.len() {
        Line::Whole
    } else {
        Line::Plausible
    }
}

/// The four forms of RFC 9112 3.2: `/path`, `scheme://…`, `host:port`, `*`.
pub(crate) fn plausible_target(target: &[u8], complete: bool) -> Line {
    let Some(&first) = target.first() else {
        return if complete { Line::Bad } else { Line::Short };
    };
    if first == b'/' {
        return Line::Plausible;
    }
    if first == b'*' {
        return if target.len() == 1 {
            Line::Plausible
        } else {
            Line::Bad
        };
    }
    let scheme = target
        .iter()
        .take_while(|&&byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        .count();
    let after = target.get(scheme..).unwrap_or_default();
    if scheme > 0 && after.starts_with(b"://") {
        return Line::Plausible;
    }
    let authority = target
        .iter()
        .all(|&byte| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(&byte));
    let has_port = target
        .iter()
        .rposition(|&byte| byte == b':')
        .is_some_and(|colon| {
            target
                .get(colon + 1..)
                .is_some_and(|port| port.iter().all(u8::is_ascii_digit))
        });
    match (complete, authority) {
        (true, true) if has_port => Line::Plausible,
        (false, true) => Line::Short,
        (false, false) if b"://".starts_with(after) => Line::Short,
        _ => Line::Bad,
    }
}

/// `tchar` of RFC 9110 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: &[(&[u8], StartLine)] = &[
        (b"GET / HTTP/1.1\r\n", StartLine::Request),
        (b"GET / HTTP/1.0\n", StartLine::Request),
        (b"GET /a/very/long/pa", StartLine::Request),
        (b"GET / HTT", StartLine::Request),
        (b"purge /x HTTP/1.1\r\n", StartLine::Request),
        (b"M-SEARCH * HTTP/1.1\r\n", StartLine::Request),
        (b"OPTIONS * HTTP/1.1\r\n", StartLine::Request),
        (b"CONNECT example.com:443 HTTP/1.1\r\n", StartLine::Request),
        (b"CONNECT [::1]:443 HTTP/1.1\r\n", StartLine::Request),
        (b"GET http://example.com/ HTTP/1.1\r\n", StartLine::Request),
        (b"GET /\xc3\xa9|{} HTTP/1.1\r\n", StartLine::Request),
        (b"HTTP/1.1 200 OK\r\n", StartLine::Response),
        (b"HTTP/1.0 404\r\n", StartLine::Response),
        (b"HTTP/1.1 204 \r\n", StartLine::Response),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", StartLine::Http2Preface),
        (b"PRI * HTTP/2.0\r\n", StartLine::Http2Preface),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", StartLine::ProxyHeader),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", StartLine::ProxyHeader),
        (b"\r\nGET / HTTP/1.1\r\n", StartLine::Request),
        (b"\r\n\r\n\r\n", StartLine::TooShort),
        (b"", StartLine::TooShort),
        (b"G", StartLine::TooShort),
        (b"GET", StartLine::TooShort),
        (b"GET ", StartLine::TooShort),
        (b"GET ht", StartLine::TooShort),
        (b"CONNECT exam", StartLine::TooShort),
        (b"PRI * HT", StartLine::TooShort),
        (b"HTTP/1.1 20", StartLine::TooShort),
        (b"HTTP/1.1 200", StartLine::TooShort),
        (b"HTTP/2 200 OK\r\n", StartLine::Neither),
        (b"HTTP/1.1 2000\r\n", StartLine::Neither),
        (b"HTTP/1.1 000 OK\r\n", StartLine::Neither),
        (b"GET  / HTTP/1.1\r\n", StartLine::Neither),
        (b"GET / HTTP/2.0\r\n", StartLine::Neither),
        (b"GET /\r\n", StartLine::Neither),
        (b"GET key\r\n", StartLine::Neither),
        (b"INVITE sip:bob@example.com SIP/2.0\r\n", StartLine::Neither),
        (b"OPTIONS rtsp://example.com/ RTSP/1.0\r\n", StartLine::Neither),
        (b" GET / HTTP/1.1\r\n", StartLine::Neither),
        (b"\x16\x03\x01\x02\x00\x01", StartLine::Neither),
        (b"SSH-2.0-OpenSSH_9.2\r\n", StartLine::Neither),
        (b"*1\r\n$4\r\nPING\r\n", StartLine::Neither),
        (b"AVERYLONGWORDTHATCANNOTBEAMETHODEVER", StartLine::Neither),
    ];

    #[test]
    fn table() {
        for (data, want) in CASES {
            assert_eq!(looks_like(data), *want, "{}", data.escape_ascii());
        }
    }

    /// A verdict on a prefix may become `Neither`, never another kind; `Neither` is final.
    #[test]
    fn longer_prefixes_only_refine() {
        for (data, _) in CASES {
            let mut last = StartLine::TooShort;
            for end in 0..=data.len() {
                let now = looks_like(&data[..end]);
                assert!(
                    last == StartLine::TooShort || now == last || now == StartLine::Neither,
                    "{}",
                    data.escape_ascii()
                );
                last = now;
            }
        }
    }
}
