//! URLs of archives: what of them went over the wire.

/// A URL, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Url<'a> {
    /// `https` or `wss`.
    pub(super) secure: bool,
    /// Host and port as written, without user information.
    pub(super) authority: &'a [u8],
    /// Path and query, without fragment; may be empty, or begin with `?`.
    pub(super) path: &'a [u8],
}

/// Why a URL is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UrlError {
    /// It has another scheme than `http`, `https`, `ws`, `wss`.
    NotHttp,
    /// It is none.
    Invalid,
}

impl<'a> Url<'a> {
    /// Takes a URL apart (RFC 3986 section 3). Path and query are as they are, also where they hold what no URL should.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, UrlError> {
        let colon = text
            .iter()
            .position(|byte| *byte == b':')
            .ok_or(UrlError::Invalid)?;
        let (scheme, rest) = text.split_at(colon);
        let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
            && scheme
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b));
        if !is_scheme {
            return Err(UrlError::Invalid);
        }
        let is = |name: &[u8]| scheme.eq_ignore_ascii_case(name);
        let secure = is(b"https") || is(b"wss");
        if !(secure || is(b"http") || is(b"ws")) {
            return Err(UrlError::NotHttp);
        }
        let rest = rest.strip_prefix(b"://").ok_or(UrlError::Invalid)?;
        let end = rest.iter().position(|b| b"/?#".contains(b)).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let host = authority
            .iter()
            .rposition(|byte| *byte == b'@')
            .map_or(0, |at| at + 1);
        let authority = authority.get(host..).unwrap_or_default();
        if authority.is_empty() || authority.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
            return Err(UrlError::Invalid);
        }
        let path = path.split(|byte| *byte == b'#').next().unwrap_or_default();
        Ok(Self {
            secure,
            authority,
            path,
        })
    }

    /// The port written, or that of the scheme.
    pub(super) fn port(&self) -> Option<u16> {
        let after_host = match self.authority.iter().position(|byte| *byte == b']') {
            Some(end) => self.authority.get(end + 1..).unwrap_or_default(),
            None => self.authority,
        };
        let digits = after_host
            .iter()
            .rposition(|byte| *byte == b':')
            .and_then(|at| after_host.get(at + 1..))
            .filter(|digits| !digits.is_empty());
        match digits {
            None => Some(if self.secure { 443 } else { 80 }),
            Some(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_apart() {
        for (text, secure, authority, path, port) in [
            ("http://h/a?b#c", false, "h", "/a?b", Some(80)),
            ("HTTPS://u:p@h:8443/", true, "h:8443", "/", Some(8443)),
            ("wss://[::1]:9/s", true, "[::1]:9", "/s", Some(9)),
            ("ws://[::1]", false, "[::1]", "", Some(80)),
            ("http://h?x=1", false, "h", "?x=1", Some(80)),
            ("http://h#f", false, "h", "", Some(80)),
            ("http://h:/", false, "h:", "/", Some(80)),
            ("http://h:99999/", false, "h:99999", "/", None),
            ("https://h/a b\u{e9}", true, "h", "/a b\u{e9}", Some(443)),
        ] {
            let url = Url::parse(text.as_bytes()).unwrap();
            assert_eq!(
                (url.secure, url.authority, url.path),
                (secure, authority.as_bytes(), path.as_bytes()),
                "{text}"
            );
            assert_eq!(url.port(), port, "{text}");
        }
    }

    #[test]
    fn none() {
        for (text, expect) in [
            ("", UrlError::Invalid),
            ("/a", UrlError::Invalid),
            ("1http://h/", UrlError::Invalid),
            ("http:/h", UrlError::Invalid),
            ("http://", UrlError::Invalid),
            ("http:///a", UrlError::Invalid),
            ("http://u@/a", UrlError::Invalid),
            ("http://a b/", UrlError::Invalid),
            ("data:text/html,x", UrlError::NotHttp),
            ("chrome-extension://abc/x.js", UrlError::NotHttp),
            ("file:///etc/hosts", UrlError::NotHttp),
        ] {
            assert_eq!(Url::parse(text.as_bytes()), Err(expect), "{text}");
        }
    }
}
