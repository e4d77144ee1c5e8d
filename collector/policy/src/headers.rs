//! Which header values may leave the node.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

/// Most entries in one list.
pub const HEADERS_MAX: usize = 256;

/// Longest header name in a list, bytes.
const NAME_BYTES_MAX: usize = 256;

/// Headers whose value is a credential or stands for one. Never sent, whatever a policy says. Lower case.
const SECRET_NAMES: &[&str] = &[
    "api-key",
    "apikey",
    "authentication",
    "authentication-info",
    "authorization",
    "cf-access-client-secret",
    "cf-access-jwt-assertion",
    "cookie",
    "cookie2",
    "dpop",
    "ocp-apim-subscription-key",
    "private-token",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "sec-websocket-key",
    "set-cookie",
    "set-cookie2",
    "www-authenticate",
    "x-amz-security-token",
    "x-api-key",
    "x-apikey",
    "x-auth-token",
    "x-authorization",
    "x-csrf-token",
    "x-csrftoken",
    "x-forwarded-access-token",
    "x-goog-api-key",
    "x-goog-iap-jwt-assertion",
    "x-ms-token-aad-access-token",
    "x-session-id",
    "x-vault-token",
    "x-xsrf-token",
    "xsrf-token",
];

/// Parts of a name that give a credential away.
const SECRET_PARTS: &[&str] = &[
    "api-key",
    "apikey",
    "assertion",
    "auth-key",
    "authorization",
    "bearer",
    "client-cert",
    "cookie",
    "credential",
    "jwt",
    "passphrase",
    "passwd",
    "password",
    "private-key",
    "secret",
    "session",
    "signature",
    "subscription-key",
    "token",
];

/// Whether values of this header are withheld whatever the policy: the header is known for carrying credentials, or its
/// name says so. Letters of either case.
#[must_use]
pub fn is_secret_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let plain = name.replace('_', "-");
    SECRET_NAMES.contains(&plain.as_str()) || SECRET_PARTS.iter().any(|part| plain.contains(part))
}

/// One entry of an allow-list: a header name in lower case, or the start of one followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct HeaderPattern(String);

impl HeaderPattern {
    /// Accepts letters of either case and keeps them in lower case.
    ///
    /// # Errors
    /// Cause and remedy, when the name is none (RFC 9110 section 5.6.2, token), has a `*` elsewhere than at its end, or
    /// belongs to a header that carries credentials ([`is_secret_header`]).
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.to_ascii_lowercase();
        let name = text.strip_suffix('*').unwrap_or(&text);
        if text.is_empty() || text.len() > NAME_BYTES_MAX {
            return Err(format!(
                "a header name has 1 to {NAME_BYTES_MAX} characters; this one has {}",
                text.len()
            ));
        }
        if name.contains('*') {
            return Err(format!(
                "{text:?} has a * before its end; only the end of a header name may be left open"
            ));
        }
        if let Some(wrong) = name.chars().find(|&character| !is_token(character)) {
            return Err(format!(
                "{text:?} is no header name because of {wrong:?}; write the bare name, as content-type"
            ));
        }
        if is_secret_header(name) {
            return Err(format!(
                "{text:?} carries credentials, and those never leave a node; remove it from the list"
            ));
        }
        Ok(Self(text))
    }

    /// Lower case, with its `*` if any.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for more than one name.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.ends_with('*')
    }

    /// Whether `name`, in any case, is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => name
                .as_bytes()
                .get(..start.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes())),
            None => name.eq_ignore_ascii_case(&self.0),
        }
    }
}

/// RFC 9110 section 5.6.2: tchar.
fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

/// An allow-list of at most [`HEADERS_MAX`] entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<HeaderPattern>", into = "Vec<HeaderPattern>")]
pub struct HeaderList(Vec<HeaderPattern>);

impl HeaderList {
    /// # Errors
    /// Cause and remedy, beyond [`HEADERS_MAX`] entries.
    pub fn new(entries: Vec<HeaderPattern>) -> Result<Self, String> {
        if entries.len() > HEADERS_MAX {
            return Err(format!(
                "{} headers are listed; list at most {HEADERS_MAX}, names with the same start as one entry with *",
                entries.len()
            ));
        }
        Ok(Self(entries))
    }

    /// Whether the value of this header may leave the node. Never for a header that carries credentials, also where a
    /// `*` would take it in. Letters of either case.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        self.0.iter().any(|entry| entry.matches(name)) && !is_secret_header(name)
    }

    /// The entries in their order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &HeaderPattern> {
        self.0.iter()
    }

    fn of(names: &[&str]) -> Self {
        Self(names.iter().map(|&name| HeaderPattern(name.to_owned())).collect())
    }
}

impl TryFrom<Vec<HeaderPattern>> for HeaderList {
    type Error = String;

    fn try_from(entries: Vec<HeaderPattern>) -> Result<Self, String> {
        Self::new(entries)
    }
}

impl From<HeaderList> for Vec<HeaderPattern> {
    fn from(list: HeaderList) -> Self {
        list.0
    }
}

/// A visitor of its own, not `try_from`: only an error from inside carries the place of the entry within its list.
impl<'de> Deserialize<'de> for HeaderPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl Visitor<'_> for NameVisitor {
            type Value = HeaderPattern;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a header name")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<HeaderPattern, E> {
                HeaderPattern::new(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(NameVisitor)
    }
}

/// The table `[headers]`: values of these headers travel with a call; of every other header nothing does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderPolicy {
    /// Default: what describes the message and the client's program, and no value of a user's.
    pub request: HeaderList,
    /// Default: what describes the message and the server, and its security switches.
    pub response: HeaderList,
}

impl Default for HeaderPolicy {
    fn default() -> Self {
        Self {
            request: HeaderList::of(&[
                "accept",
                "accept-encoding",
                "connection",
                "content-encoding",
                "content-length",
                "content-type",
                "expect",
                "host",
                "transfer-encoding",
                "upgrade",
                "user-agent",
            ]),
            response: HeaderList::of(&[
                "allow",
                "cache-control",
                "connection",
                "content-encoding",
                "content-length",
                "content-type",
                "retry-after",
                "server",
                "strict-transport-security",
                "transfer-encoding",
                "upgrade",
                "vary",
                "x-content-type-options",
                "x-frame-options",
            ]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_recognised() {
        for name in [
            "Authorization",
            "COOKIE",
            "set-cookie",
            "proxy-authorization",
            "x-api-key",
            "X_API_KEY",
            "x-acme-token",
            "x-user-password",
            "x-amz-signature",
            "x-forwarded-client-cert",
            "php-session",
        ] {
            assert!(is_secret_header(name), "{name}");
            assert!(
                HeaderPattern::new(name).unwrap_err().contains("credentials"),
                "{name}"
            );
        }
        for name in [
            "content-type",
            "accept",
            "x-request-id",
            "server",
            "author",
            "etag",
            "x-frame-options",
        ] {
            assert!(!is_secret_header(name), "{name}");
            assert!(HeaderPattern::new(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_wildcard_never_takes_a_credential_in() {
        let list = HeaderList::new(vec![
            HeaderPattern::new("x-*").unwrap(),
            HeaderPattern::new("*").unwrap(),
        ])
        .unwrap();
        assert!(list.allows("X-Request-Id"));
        assert!(list.allows("date"));
        assert!(!list.allows("x-api-key"));
        assert!(!list.allows("Authorization"));
        assert!(HeaderPattern::new("authorization*").is_err());
        assert!(HeaderPattern::new("x-api-key-*").is_err());
    }

    #[test]
    fn defaults_are_valid_entries_and_free_of_secrets() {
        let HeaderPolicy { request, response } = HeaderPolicy::default();
        for entry in request.entries().chain(response.entries()) {
            assert_eq!(HeaderPattern::new(entry.as_str()).as_ref(), Ok(entry));
            assert!(!entry.is_wildcard());
        }
        assert!(request.allows("Content-Type"));
        assert!(!request.allows("referer"));
        assert!(!response.allows("location"));
    }

    #[test]
    fn names_that_are_none() {
        for (text, part) in [
            ("", "1 to 256"),
            ("a b", "' '"),
            ("x:y", "':'"),
            ("*-id", "only the end"),
            ("é", "'é'"),
        ] {
            assert!(HeaderPattern::new(text).unwrap_err().contains(part), "{text}");
        }
        assert!(HeaderPattern::new(&"x".repeat(NAME_BYTES_MAX)).is_ok());
        assert!(HeaderPattern::new(&"x".repeat(NAME_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn list_limit() {
        let entry = HeaderPattern::new("accept").unwrap();
        assert!(HeaderList::new(vec![entry.clone(); HEADERS_MAX]).is_ok());
        assert!(HeaderList::new(vec![entry; HEADERS_MAX + 1]).is_err());
    }
}
