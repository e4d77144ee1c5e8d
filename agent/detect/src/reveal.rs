//! A call as it was, for the terminal of someone on the node.

use protocol::{Exchange, Headers};

use crate::fields::name_of;
use crate::mask::{Audience, MASK, clean, cut, mask, mask_query};
use crate::operation;
use crate::redact::{HEADERS_MAX, METHOD_BYTES_MAX, VALUE_BYTES_MAX};

/// Longest target shown.
pub const TARGET_BYTES_MAX: usize = 1024;

/// Whether credentials are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Schemes and names only.
    #[default]
    Masked,
    /// As they are.
    Shown,
}

/// A call for people on the node: all headers, the whole target, no bodies. Safe to print: no control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevealedCall {
    /// Method.
    pub method: String,
    /// Target as sent, at most [`TARGET_BYTES_MAX`] bytes.
    pub target: String,
    /// Header fields of the request, names in lower case, at most [`HEADERS_MAX`]; `:authority` of HTTP/2 before them.
    pub request_headers: Vec<(String, String)>,
    /// Header fields of the response, likewise.
    pub response_headers: Vec<(String, String)>,
    /// What is called in terms of the application, as sent.
    pub operation: String,
    /// Header fields of both that are not known because the connection was joined late.
    pub headers_unknown: u32,
}

/// Makes a call readable. This must not leave the node.
#[must_use]
pub fn reveal(exchange: &Exchange, credentials: Credentials) -> RevealedCall {
    let headers = |fields: &Headers| {
        let shown = fields.iter().map(|field| shown(field, credentials));
        shown.take(HEADERS_MAX).collect::<Vec<_>>()
    };
    let target = clean(&exchange.request.target, TARGET_BYTES_MAX);
    let target = match credentials {
        Credentials::Shown => target,
        Credentials::Masked => cut(masked_target(&target).chars(), TARGET_BYTES_MAX),
    };
    let request = &exchange.request;
    let authority = request.authority.as_ref().map(|authority| {
        let text = clean(authority, VALUE_BYTES_MAX);
        let shown = match (credentials, text.rsplit_once('@')) {
            (Credentials::Masked, Some((_, host))) => format!("{MASK}@{host}"),
            _ => text,
        };
        (":authority".to_owned(), shown)
    });
    RevealedCall {
        method: clean(&request.method, METHOD_BYTES_MAX),
        target,
        request_headers: authority.into_iter().chain(headers(&request.headers)).collect(),
        operation: operation::revealed(exchange),
        headers_unknown: headers_unknown(exchange),
        response_headers: exchange
            .response
            .as_ref()
            .map_or_else(Vec::new, |response| headers(&response.headers)),
    }
}

/// Header fields of both messages that are not known because the connection was joined late.
#[must_use]
pub fn headers_unknown(exchange: &Exchange) -> u32 {
    let response = exchange.response.as_ref();
    let response = response.map_or(0, |response| response.headers_unknown);
    exchange.request.headers_unknown.saturating_add(response)
}

fn masked_target(target: &str) -> String {
    let absolute = target
        .split_once("://")
        .filter(|(scheme, _)| scheme.bytes().all(|b| b.is_ascii_alphanumeric()));
    let Some((scheme, rest)) = absolute else {
        return mask_query(target);
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let path = mask_query(path);
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{MASK}@{host}{path}"),
        None => format!("{scheme}://{authority}{path}"),
    }
}

fn shown((name, value): (&[u8], &[u8]), credentials: Credentials) -> (String, String) {
    let name = name_of(name).unwrap_or_else(|| clean(name, VALUE_BYTES_MAX));
    let value = match credentials {
        Credentials::Shown => clean(value, VALUE_BYTES_MAX),
        Credentials::Masked if policy::is_secret_header(&name) => masked_secret(&name, value),
        Credentials::Masked => cut(mask(value, Audience::Local).chars(), VALUE_BYTES_MAX),
    };
    (name, value)
}

/// Of a credential what it is: its scheme, the names of its cookies.
fn masked_secret(name: &str, value: &[u8]) -> String {
    let text = clean(value, VALUE_BYTES_MAX * 4);
    let is_word = |word: &str| word.len() <= 24 && word.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-');
    match name {
        "cookie" | "set-cookie" => {
            // Attributes of a set cookie are not pairs of its own.
            let pairs = text
                .split(';')
                .take(if name == "cookie" { usize::MAX } else { 1 });
            let names = pairs.map(|pair| match pair.split_once('=') {
                Some((name, _)) => format!("{}={MASK}", name.trim()),
                None => MASK.to_owned(),
            });
            cut(names.collect::<Vec<_>>().join("; ").chars(), VALUE_BYTES_MAX)
        }
        "authorization" | "proxy-authorization" => match text.split_once(' ') {
            Some((scheme, _)) if is_word(scheme) => format!("{scheme} {MASK}"),
            _ => MASK.to_owned(),
        },
        _ => MASK.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::tests::request;
    use bytes::Bytes;
    use protocol::Flags;

    fn call(target: &str, fields: &[(&str, &str)]) -> Exchange {
        let request = request("GET", target, fields);
        Exchange {
            index: 0,
            stream: None,
            request_offset: 0,
            request,
            response: None,
            application: protocol::Application::default(),
            flags: Flags::default(),
        }
    }

    #[test]
    fn credentials_are_masked_by_default() {
        let fields = [
            ("Authorization", "Bearer abc"),
            ("Proxy-Authorization", "abc"),
            ("Cookie", "a=1; b=2; c"),
            ("X-Api-Key", "k"),
            ("Referer", "https://u:p@h/a?token=t&x=1"),
            ("X-Id", "8dbc5577-d0e2-4706-8787-57d52c03ddf2"),
        ];
        let call = call("/a?api_key=k&page=2&sig=s", &fields);
        let masked = reveal(&call, Credentials::default());
        assert_eq!(masked.target, "/a?api_key=…&page=2&sig=…");
        let values: Vec<&str> = masked
            .request_headers
            .iter()
            .map(|(_, value)| value.as_str())
            .collect();
        let expected = [
            "Bearer …",
            "…",
            "a=…; b=…; …",
            "…",
            "https://…@h/a?token=…&x=1",
            "8dbc5577-d0e2-4706-8787-57d52c03ddf2",
        ];
        assert_eq!(values, expected);
        let all = reveal(&call, Credentials::Shown);
        assert_eq!(all.target, "/a?api_key=k&page=2&sig=s");
        assert!(
            all.request_headers
                .iter()
                .zip(fields)
                .all(|((_, shown), (_, sent))| shown == sent)
        );
    }

    #[test]
    fn authority_and_small_letters_of_http2() {
        let mut call = call(
            "/a",
            &[
                ("authorization", "Bearer abc"),
                ("cookie", "a=1"),
                ("x-api-key", "k"),
            ],
        );
        call.request.authority = Some(Bytes::from_static(b"u:p@shop.test"));
        call.request.headers_unknown = 2;
        let masked = reveal(&call, Credentials::Masked);
        let fields: Vec<_> = masked
            .request_headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let expected = [
            (":authority", "…@shop.test"),
            ("authorization", "Bearer …"),
            ("cookie", "a=…"),
            ("x-api-key", "…"),
        ];
        assert_eq!(fields, expected);
        assert_eq!(masked.headers_unknown, 2);
    }

    #[test]
    fn absolute_targets_lose_their_user() {
        assert_eq!(
            reveal(&call("http://u:p@h/a?x=1", &[]), Credentials::Masked).target,
            "http://…@h/a?x=1"
        );
        assert_eq!(
            reveal(&call("/a?to=http://u@h/", &[]), Credentials::Masked).target,
            "/a?to=http://u@h/"
        );
    }

    #[test]
    fn nothing_for_the_terminal_to_obey() {
        let shown = reveal(
            &call("/\u{1b}[2J", &[("x\u{7}", "\u{1b}]0;t\u{7}")]),
            Credentials::Shown,
        );
        let text = format!(
            "{}{}{}",
            shown.target, shown.request_headers[0].0, shown.request_headers[0].1
        );
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }

    #[test]
    fn bounded() {
        let fields = vec![("a", "b"); HEADERS_MAX + 1];
        let shown = reveal(&call(&"/a".repeat(4096), &fields), Credentials::Masked);
        assert_eq!(
            (shown.target.len(), shown.request_headers.len()),
            (TARGET_BYTES_MAX, HEADERS_MAX)
        );
    }
}
