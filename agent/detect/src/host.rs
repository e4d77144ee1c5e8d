//! The host that a request is for.

use std::net::Ipv6Addr;

use protocol::{Request, Version};
use xxhash_rust::xxh3::xxh3_64;

/// Longest host, port included: a DNS name, a colon and five digits.
pub const HOST_BYTES_MAX: usize = 253 + 6;

/// Longest label of a DNS name (RFC 1035 section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// Hosts remembered as they were sent: most requests name one that others have named. Each has one place, and the latest of a place stays.
const PLACES: usize = 64;

/// Requests without a usable host, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostCounters {
    /// Neither the target nor a header names one (HTTP/1.0), or the header is empty.
    pub missing: u64,
    /// What is named is no host.
    pub invalid: u64,
    /// It is in a header field that refers to what was said before the connection was joined (HTTP/2).
    pub unknown: u64,
    /// Several Host fields: the request must be refused (RFC 9112 section 3.2), nobody knows what the server made of it.
    pub repeated: u64,
}

/// Finds hosts, and counts what is none.
#[derive(Clone, Debug)]
pub struct Hosts {
    counters: HostCounters,
    known: Box<[Option<Known>]>,
}

/// A host as it was sent, and as it is called.
#[derive(Clone, Debug)]
struct Known {
    sent: Box<[u8]>,
    host: Box<str>,
}

impl Default for Hosts {
    fn default() -> Self {
        Self {
            counters: HostCounters::default(),
            known: std::iter::repeat_with(|| None).take(PLACES).collect(),
        }
    }
}

impl Hosts {
    /// Host as clients call it: `:authority` of HTTP/2 (RFC 9113 section 8.3.1), else that of an absolute target, else of the
    /// authority target of CONNECT, else of the Host field (RFC 9112 sections 3.2 and 3.3). Lower case, port kept where given, user information and the dot of the root
    /// dropped; empty where there is none that can be.
    ///
    /// A registered name is held to what DNS names and their usual extensions (`_`) are made of: RFC 3986 section 3.2.2
    /// would allow any text there.
    pub fn of(&mut self, request: &Request) -> String {
        let Some(authority) = authority_of(request) else {
            let mut fields = request.headers.all(b"host");
            let Some(field) = fields.next() else {
                if request.headers_unknown > 0 {
                    self.counters.unknown += 1;
                } else {
                    self.counters.missing += 1;
                }
                return String::new();
            };
            if fields.next().is_some() {
                self.counters.repeated += 1;
                return String::new();
            }
            return self.checked(field);
        };
        // The grammar of URLs still has user information; nothing in it belongs to the host.
        let host = authority
            .iter()
            .position(|b| *b == b'@')
            .and_then(|at| authority.get(at + 1..));
        self.checked(host.unwrap_or(authority))
    }

    /// How often there was none.
    #[must_use]
    pub const fn counters(&self) -> &HostCounters {
        &self.counters
    }

    fn checked(&mut self, raw: &[u8]) -> String {
        if raw.is_empty() {
            self.counters.missing += 1;
            return String::new();
        }
        let mut place = self.known.get_mut(xxh3_64(raw) as usize % PLACES);
        if let Some(Some(known)) = &place
            && *known.sent == *raw
        {
            return known.host.to_string();
        }
        let Some(host) = normalise(raw) else {
            self.counters.invalid += 1;
            return String::new();
        };
        if let Some(place) = &mut place {
            **place = Some(Known {
                sent: raw.into(),
                host: host.as_str().into(),
            });
        }
        host
    }
}

fn authority_of(request: &Request) -> Option<&[u8]> {
    if let Some(authority) = request.authority.as_deref().filter(|text| !text.is_empty()) {
        return Some(authority);
    }
    if request.version == Version::Http2 {
        return None;
    }
    let target: &[u8] = &request.target;
    if &*request.method == b"CONNECT" {
        return Some(target);
    }
    let at = target.windows(3).take(32).position(|window| window == b"://")?;
    let (scheme, rest) = (target.get(..at)?, target.get(at + 3..)?);
    // RFC 3986 section 3.1.
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b));
    is_scheme.then(|| rest.split(|b| b"/?#".contains(b)).next().unwrap_or_default())
}

/// `host [":" port]` (RFC 9110 section 7.2).
fn normalise(raw: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(raw).ok()?;
    if text.len() > HOST_BYTES_MAX + 1 {
        return None;
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            let port = if after.is_empty() {
                None
            } else {
                Some(after.strip_prefix(':')?)
            };
            (format!("[{address}]"), port)
        }
        None => {
            let (host, port) = text
                .split_once(':')
                .map_or((text, None), |(host, port)| (host, Some(port)));
            let host = host.strip_suffix('.').unwrap_or(host);
            (is_name(host).then(|| host.to_ascii_lowercase())?, port)
        }
    };
    match port {
        // An empty port is the scheme's own, like none (RFC 3986 section 6.2.3).
        None | Some("") => Some(host),
        Some(port) if port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()) => {
            let number: u16 = port.parse().ok()?;
            Some(format!("{host}:{number}"))
        }
        Some(_) => None,
    }
}

fn is_name(host: &str) -> bool {
    host.len() <= 253
        && host.split('.').all(|label| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::tests::request;

    fn host(method: &str, target: &str, hosts: &[&str]) -> (String, HostCounters) {
        let headers: Vec<(&str, &str)> = hosts.iter().map(|host| ("HoSt", *host)).collect();
        let mut finder = Hosts::default();
        (finder.of(&request(method, target, &headers)), finder.counters)
    }

    #[test]
    fn the_same_again_when_others_came_between() {
        let mut finder = Hosts::default();
        for round in 0..2 {
            for number in 0..4 * PLACES {
                let name = format!("Host{number}.example:0{number}");
                let found = finder.of(&request("GET", "/", &[("Host", &name)]));
                assert_eq!(found, format!("host{number}.example:{number}"), "round {round}");
            }
            assert_eq!(finder.of(&request("GET", "/", &[("Host", "no host")])), "");
        }
        assert_eq!(finder.counters().invalid, 2);
        assert_eq!(finder.known.len(), PLACES);
    }

    #[test]
    fn target_before_header() {
        for (method, target, header, expected) in [
            ("GET", "/", "Example.COM", "example.com"),
            ("GET", "/", "example.com:8080", "example.com:8080"),
            ("GET", "/", "example.com:", "example.com"),
            ("GET", "/", "example.com:0080", "example.com:80"),
            ("GET", "/", "example.com.", "example.com"),
            (
                "GET",
                "/",
                "shop.prod.svc.cluster.local",
                "shop.prod.svc.cluster.local",
            ),
            ("GET", "/", "my_service", "my_service"),
            ("GET", "/", "10.0.0.1:80", "10.0.0.1:80"),
            ("GET", "/", "[::1]:80", "[::1]:80"),
            ("GET", "/", "[2001:DB8:0::1]", "[2001:db8::1]"),
            (
                "GET",
                "http://Other.com:81/p?q=http://x/",
                "example.com",
                "other.com:81",
            ),
            ("GET", "http://u:p@other.com/", "example.com", "other.com"),
            ("GET", "HTTPS://other.com?x", "example.com", "other.com"),
            (
                "GET",
                "/redirect?to=http://evil.com/",
                "example.com",
                "example.com",
            ),
            ("CONNECT", "other.com:443", "example.com", "other.com:443"),
            ("OPTIONS", "*", "example.com", "example.com"),
        ] {
            assert_eq!(
                host(method, target, &[header]),
                (expected.to_owned(), HostCounters::default()),
                "{target} {header}"
            );
        }
    }

    #[test]
    fn what_is_no_host() {
        let invalid = [
            "a b",
            "a/b",
            "u:p@h",
            "u@h",
            "h:x",
            "h:65536",
            "h:-1",
            "h:80:90",
            "[::1",
            "[x]",
            "[::1]x",
            "[fe80::1%25e]",
            "::1",
            "a..b",
            ".",
            "é.com",
            "a%41",
            "a\u{0}b",
            "<script>",
        ];
        let label = "l".repeat(LABEL_BYTES_MAX + 1);
        let long = "l.".repeat(127) + "lll";
        for text in invalid.into_iter().chain([label.as_str(), long.as_str()]) {
            let counters = HostCounters {
                invalid: 1,
                ..HostCounters::default()
            };
            assert_eq!(host("GET", "/", &[text]), (String::new(), counters), "{text}");
        }
        let missing = HostCounters {
            missing: 1,
            ..HostCounters::default()
        };
        assert_eq!(host("GET", "/", &[]), (String::new(), missing));
        assert_eq!(host("GET", "/", &[""]), (String::new(), missing));
        assert_eq!(host("GET", "http:///p", &["h"]), (String::new(), missing));
        let repeated = HostCounters {
            repeated: 1,
            ..HostCounters::default()
        };
        assert_eq!(host("GET", "/", &["a", "a"]), (String::new(), repeated));
    }

    #[test]
    fn authority_of_http2_before_all() {
        let of = |method: &str,
                  target: &str,
                  authority: Option<&str>,
                  fields: &[(&str, &str)],
                  headers_unknown| {
            let mut finder = Hosts::default();
            let request = Request {
                authority: authority.map(|text| bytes::Bytes::copy_from_slice(text.as_bytes())),
                version: Version::Http2,
                headers_unknown,
                ..request(method, target, fields)
            };
            (finder.of(&request), *finder.counters())
        };
        let none = HostCounters::default();
        let unknown = HostCounters { unknown: 1, ..none };
        let missing = HostCounters { missing: 1, ..none };
        let invalid = HostCounters { invalid: 1, ..none };
        for (method, target, authority, fields, headers_unknown, expect) in [
            (
                "GET",
                "/",
                Some("Shop.test:443"),
                &[][..],
                0,
                ("shop.test:443", none),
            ),
            (
                "GET",
                "/",
                Some("shop.test"),
                &[("host", "other.test")],
                0,
                ("shop.test", none),
            ),
            ("GET", "/", Some("u:p@shop.test"), &[], 0, ("shop.test", none)),
            ("GET", "/", None, &[("host", "shop.test")], 0, ("shop.test", none)),
            (
                "GET",
                "/",
                Some(""),
                &[("host", "shop.test")],
                0,
                ("shop.test", none),
            ),
            (
                "CONNECT",
                "",
                Some("shop.test:443"),
                &[],
                0,
                ("shop.test:443", none),
            ),
            ("CONNECT", "/chat", Some("shop.test"), &[], 0, ("shop.test", none)),
            ("CONNECT", "/chat", None, &[], 0, ("", missing)),
            ("", "", None, &[], 3, ("", unknown)),
            ("GET", "/", None, &[], 0, ("", missing)),
            (
                "GET",
                "/",
                Some("a b"),
                &[("host", "shop.test")],
                0,
                ("", invalid),
            ),
        ] {
            let (host, counters) = of(method, target, authority, fields, headers_unknown);
            assert_eq!(
                (host.as_str(), counters),
                expect,
                "{method} {target} {authority:?} {fields:?}"
            );
        }
    }

    #[test]
    fn at_the_limits() {
        let name = "l.".repeat(126) + "l";
        assert_eq!(name.len(), 253);
        let longest = format!("{name}:65535");
        assert_eq!(longest.len(), HOST_BYTES_MAX);
        assert_eq!(host("GET", "/", &[&longest]).0, longest);
        assert_eq!(host("GET", "/", &[&format!("{name}.:65535")]).0, longest);
    }
}
