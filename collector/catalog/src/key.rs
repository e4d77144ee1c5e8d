//! What belongs together as one API, and the names that are safe to key it by.

use std::borrow::Cow;

/// Host of an API whose real host was folded away by a limit, or could not be a host name at all.
pub const ANY_HOST: &str = "*";

/// Longest host name kept, in bytes: 253 of a DNS name (RFC 1035 section 2.3.4) and room for a port.
pub const HOST_BYTES_MAX: usize = 260;

/// Which end of the connection the call was seen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The server's socket: the record of the API.
    Server,
    /// The client's socket: the record of a dependency.
    Client,
}

/// One API: the workload that serves it (empty when only its clients were seen), the host that clients call it by
/// and the side of the observation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiKey {
    /// Name of the serving workload.
    pub workload: String,
    /// Lower-case host, port kept where the client gave one; [`ANY_HOST`] when folded.
    pub host: String,
    /// Where the calls were seen.
    pub side: Side,
}

/// Brings a `Host` header or `:authority` to the form that keys an API: lower case, no trailing dot.
/// Empty stays empty (HTTP/1.0
/// needs no host); `None` when it cannot be a host (too long, or with bytes outside RFC 3986 section 3.2.2's `host [":" port]`).
pub fn normalise_host(host: &str) -> Option<Cow<'_, str>> {
    let trimmed = host.strip_suffix('.').unwrap_or(host);
    if trimmed.len() > HOST_BYTES_MAX {
        return None;
    }
    let mut upper = false;
    for byte in trimmed.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b':' | b'[' | b']' => {}
            b'A'..=b'Z' => upper = true,
            _ => return None,
        }
    }
    Some(if upper {
        Cow::Owned(trimmed.to_ascii_lowercase())
    } else {
        Cow::Borrowed(trimmed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (host, expect) in [
            ("Example.COM", Some("example.com")),
            ("example.com.", Some("example.com")),
            ("10.0.0.1:8080", Some("10.0.0.1:8080")),
            ("[::1]:80", Some("[::1]:80")),
            ("", Some("")),
            (".", Some("")),
            ("a b", None),
            ("exa\u{e9}mple", None),
            ("evil\r\nx", None),
            ("*", None),
        ] {
            assert_eq!(normalise_host(host).as_deref(), expect, "{host:?}");
        }
        assert_eq!(
            normalise_host(&"a".repeat(HOST_BYTES_MAX)).map(|h| h.len()),
            Some(HOST_BYTES_MAX)
        );
        assert_eq!(normalise_host(&"a".repeat(HOST_BYTES_MAX + 1)), None);
    }
}
