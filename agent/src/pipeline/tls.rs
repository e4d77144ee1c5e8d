//! What of a TLS session leaves the node, and with it which names: as they are while there are few of them.

use std::collections::HashSet;

use catalog::ANY_HOST;
use wire::v1;

use super::drops::left_out;
use crate::status::PipelineDrop;
use crate::tracker::Tls;

/// Different names that TLS clients asked for, other than the host of their call, that leave the node; more are folded.
pub(super) const SERVER_NAMES_MAX: usize = 256;

/// Different protocols (ALPN) that leave the node; more are folded. Some 40 are registered, and a node speaks a handful.
pub(super) const ALPN_NAMES_MAX: usize = 64;

/// The names of sessions.
#[derive(Debug)]
pub(super) struct TlsNames {
    servers: FewNames,
    protocols: FewNames,
}

impl Default for TlsNames {
    fn default() -> Self {
        Self {
            servers: FewNames::new(SERVER_NAMES_MAX),
            protocols: FewNames::new(ALPN_NAMES_MAX),
        }
    }
}

impl TlsNames {
    /// A session in the form of the wire, of a call to this host of the catalog.
    pub fn message(&mut self, tls: &Tls, host: &str) -> v1::Tls {
        let facts = &tls.facts;
        let server_name = facts.server_name.as_deref();
        let server_name = server_name.map(|name| self.servers.send_server_name(name, host));
        let alpn = facts.alpn.as_deref().map(|name| self.protocols.send(name));
        v1::Tls {
            version: facts.version_name().unwrap_or_default().into_owned(),
            cipher: facts.cipher_name().unwrap_or_default().into_owned(),
            server_name: server_name.unwrap_or_default().to_owned(),
            alpn: alpn.unwrap_or_default().to_owned(),
            ja4: facts.ja4.clone().unwrap_or_default(),
            library: tls.library.to_string(),
        }
    }

    /// What was folded.
    pub fn drops(&self) -> [PipelineDrop; 2] {
        [
            left_out(
                "tls",
                "server_names",
                self.servers.folded,
                "calls whose TLS server name is sent as *: too many different ones",
            ),
            left_out(
                "tls",
                "alpn_names",
                self.protocols.folded,
                "calls whose TLS protocol (ALPN) is sent as *: too many different ones",
            ),
        ]
    }
}

/// Names that peers choose freely could carry anything: so many different ones are sent, then only that there was one.
#[derive(Debug)]
struct FewNames {
    sent: HashSet<Box<str>>,
    names_max: usize,
    folded: u64,
}

impl FewNames {
    /// At most so many.
    fn new(names_max: usize) -> Self {
        Self {
            sent: HashSet::new(),
            names_max,
            folded: 0,
        }
    }

    /// The name, or `*`.
    fn send<'a>(&mut self, name: &'a str) -> &'a str {
        if self.sent.contains(name) {
            return name;
        }
        if self.sent.len() >= self.names_max {
            return self.fold();
        }
        self.sent.insert(name.into());
        name
    }

    /// The host name that a TLS client asked for, in a call to this host of the catalog: what is sent of the one is sent of the other.
    /// Only a name of its own takes a place.
    fn send_server_name<'a>(&mut self, name: &'a str, host: &str) -> &'a str {
        if host == ANY_HOST {
            return self.fold();
        }
        let of_host = host
            .strip_prefix(name)
            .is_some_and(|port| port.is_empty() || port.starts_with(':'));
        if of_host { name } else { self.send(name) }
    }

    fn fold(&mut self) -> &'static str {
        self.folded += 1;
        ANY_HOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sent_up_to_the_limit() {
        let mut names = FewNames::new(2);
        for (name, expect) in [
            ("a", "a"),
            ("b", "b"),
            ("c", "*"),
            ("a", "a"),
            ("d", "*"),
            ("b", "b"),
        ] {
            assert_eq!(names.send(name), expect);
        }
        assert_eq!(names.folded, 2);
    }

    #[test]
    fn the_name_of_a_host_is_sent_as_the_host_is() {
        let mut names = FewNames::new(1);
        for (name, host, expect) in [
            ("shop.test", "shop.test", "shop.test"),
            ("stock.test", "stock.test:8443", "stock.test"),
            // Another name than the host's takes a place.
            ("shop.test", "shop.test.evil", "shop.test"),
            ("stock.test", "", "*"),
            ("shop.test", "*", "*"),
            ("shop.test", "other.test", "shop.test"),
        ] {
            assert_eq!(names.send_server_name(name, host), expect, "{name} {host}");
        }
        assert_eq!(names.folded, 2);
    }
}
