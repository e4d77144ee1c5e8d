//! Values of headers without what they may carry of credentials and of others' data.

/// Stands for what is not shown.
pub(crate) const MASK: &str = "…";

/// Longest value looked at; headers beyond it are cut, and the word at the cut is dropped.
const INPUT_BYTES_MAX: usize = 4096;

/// Schemes of RFC 9110 section 11.1 and others in use: all that follows is the credential.
const SCHEMES: [&str; 10] = [
    "bearer",
    "basic",
    "digest",
    "negotiate",
    "ntlm",
    "token",
    "apikey",
    "hawk",
    "aws4-hmac-sha256",
    "oauth",
];

/// Names of values that are credentials, beside those that [`policy::is_secret_header`] knows by their parts.
const SECRET_KEYS: [&str; 13] = [
    "auth", "authkey", "code", "key", "otp", "pass", "pin", "pw", "pwd", "sid", "sig", "sign", "state",
];

/// Whom a value is masked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// It leaves the node: whatever looks generated, any address of a person, every path and query is masked.
    Remote,
    /// It stays on the node: only credentials are masked.
    Local,
}

/// Text without control characters and without marks that change how it is read, at most `bytes_max` bytes.
pub(crate) fn clean(raw: &[u8], bytes_max: usize) -> String {
    let raw = raw.get(..bytes_max.saturating_add(4)).unwrap_or(raw);
    cut(String::from_utf8_lossy(raw).chars().map(safe), bytes_max)
}

/// The longest beginning that fits.
pub(crate) fn cut(chars: impl Iterator<Item = char>, bytes_max: usize) -> String {
    let mut out = String::new();
    for c in chars {
        if out.len() + c.len_utf8() > bytes_max {
            break;
        }
        out.push(c);
    }
    out
}

fn safe(c: char) -> char {
    let harmful = c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if harmful { char::REPLACEMENT_CHARACTER } else { c }
}

/// Masks a value word by word. White space and punctuation between words stays.
pub(crate) fn mask(raw: &[u8], audience: Audience) -> String {
    let text = clean(raw, INPUT_BYTES_MAX);
    let mut text = text.as_str();
    let mut out = String::new();
    if raw.len() > INPUT_BYTES_MAX {
        // Half a secret does not look like one.
        text = text
            .rfind(is_delimiter)
            .and_then(|end| text.get(..end))
            .unwrap_or_default();
    }
    while !text.is_empty() {
        let start = text.find(|c| !is_delimiter(c)).unwrap_or(text.len());
        let (delimiters, rest) = text.split_at(start);
        out.push_str(delimiters);
        let (word, rest) = rest.split_at(rest.find(is_delimiter).unwrap_or(rest.len()));
        if SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme)) && !rest.trim().is_empty() {
            out.push_str(word);
            out.push(' ');
            out.push_str(MASK);
            return out;
        }
        mask_word(word, audience, &mut out);
        text = rest;
    }
    out
}

fn is_delimiter(c: char) -> bool {
    c.is_whitespace() || "\"'`<>(){}[],;|\\".contains(c)
}

fn mask_word(word: &str, audience: Audience, out: &mut String) {
    if let Some((key, value)) = word.split_once(['=', ':'])
        && !value.is_empty()
        && is_secret_key(key)
    {
        push_plain(key, out);
        let separator = word.get(key.len()..=key.len()).unwrap_or_default();
        out.push_str(separator);
        return out.push_str(MASK);
    }
    if let Some((before, rest)) = word.split_once("://") {
        // `url=https://…`, `+https://…`
        let mut ends = before
            .char_indices()
            .rev()
            .filter(|(_, c)| !c.is_ascii_alphanumeric());
        let start = ends.next().map_or(0, |(at, c)| at + c.len_utf8());
        let (prefix, scheme) = before.split_at(start);
        if !prefix.is_empty() {
            mask_word(prefix, audience, out);
        }
        return mask_url(scheme, rest, audience, out);
    }
    if is_jwt(word) {
        return out.push_str(MASK);
    }
    if audience == Audience::Local {
        return out.push_str(word);
    }
    let escaped = word.contains('%');
    let rooted = word.len() > 1 && word.starts_with('/');
    if escaped || rooted || word.contains(['@', '?', '#']) || is_generated(word) {
        return out.push_str(MASK);
    }
    out.push_str(word);
}

/// Origin only for those elsewhere: paths and queries are full of values. Never the user information.
fn mask_url(scheme: &str, rest: &str, audience: Audience, out: &mut String) {
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    push_plain(scheme, out);
    out.push_str("://");
    if host.len() < authority.len() {
        out.push_str(MASK);
        out.push('@');
    }
    match audience {
        Audience::Local => {
            out.push_str(host);
            out.push_str(&mask_query(path));
        }
        Audience::Remote => {
            push_plain(host, out);
            if path.len() > 1 {
                out.push('/');
                out.push_str(MASK);
            } else if path == "/" {
                out.push('/');
            }
        }
    }
}

/// A target or the end of a URL, with the values of credentials in its query masked.
pub(crate) fn mask_query(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else {
        return target.to_owned();
    };
    let mut out = format!("{path}?");
    for (index, pair) in query.split('&').enumerate() {
        if index > 0 {
            out.push('&');
        }
        match pair.split_once('=') {
            Some((key, value)) if !value.is_empty() && (is_secret_key(key) || is_jwt(value)) => {
                out.push_str(key);
                out.push('=');
                out.push_str(MASK);
            }
            _ => out.push_str(pair),
        }
    }
    out
}

/// A word that must not itself be a secret: a scheme, a host, a key.
fn push_plain(word: &str, out: &mut String) {
    let plain = word.len() <= 253 && word.chars().all(|c| c.is_alphanumeric() || "-_.:[]+".contains(c));
    out.push_str(if plain && !is_generated(word) { word } else { MASK });
}

/// True for the name of a value that is a credential.
pub(crate) fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let last = key
        .rsplit(|c: char| !c.is_ascii_alphanumeric())
        .next()
        .unwrap_or_default();
    SECRET_KEYS.contains(&last) || policy::is_secret_header(&key)
}

/// A JSON Web Token begins with the base64 of `{"` (RFC 7519).
fn is_jwt(word: &str) -> bool {
    word.len() >= 10 && word.starts_with("eyJ")
}

/// True for a word that looks made by a machine: ids, keys, hashes. Judged by its alphanumeric parts.
pub(crate) fn is_generated(word: &str) -> bool {
    let (mut total, mut total_digits, mut mixed, mut long_mixed) = (0, 0, 0, 0);
    for part in word.split(|c: char| !c.is_ascii_alphanumeric()) {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        let letters = part.len() - digits;
        let changes = part
            .bytes()
            .zip(part.bytes().skip(1))
            .filter(|(a, b)| a.is_ascii_digit() != b.is_ascii_digit())
            .count();
        let generated = (letters == 0 && digits >= 12)
            || (part.len() >= 16 && digits >= 2 && letters >= 2)
            || (part.len() >= 10 && changes >= 4)
            || (digits == 0 && letters >= 24);
        if generated {
            return true;
        }
        total += part.len();
        total_digits += digits;
        mixed += usize::from(digits > 0 && letters > 0);
        long_mixed += usize::from(part.len() >= 4 && digits > 0 && letters > 0);
    }
    long_mixed >= 3 || (total >= 24 && total_digits >= 4 && mixed > 0) || is_jwt(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_values_stay() {
        for value in [
            "application/json; charset=utf-8",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "gzip, deflate, br",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
            "curl/7.88.1",
            "python-requests/2.31.0",
            "nginx/1.18.0 (Ubuntu)",
            "max-age=31536000; includeSubDomains",
            "Wed, 21 Oct 2015 07:28:00 GMT",
            "1234567890",
            "en-US,en;q=0.5",
            "localhost:8080",
            "shop.prod.svc.cluster.local:8080",
            "",
        ] {
            assert_eq!(mask(value.as_bytes(), Audience::Remote), value);
        }
    }

    #[test]
    fn what_may_not_leave_is_masked() {
        for (value, remote, local) in [
            ("Bearer abc", "Bearer …", "Bearer …"),
            ("x basic dTpw extra", "x basic …", "x basic …"),
            (
                "https://u:p@h.com/a?b=c",
                "https://…@h.com/…",
                "https://…@h.com/a?b=c",
            ),
            ("https://h.com/", "https://h.com/", "https://h.com/"),
            (
                "https://h.com?token=x",
                "https://h.com/…",
                "https://h.com?token=…",
            ),
            ("/users/42", "…", "/users/42"),
            ("mail bob@example.com", "mail …", "mail bob@example.com"),
            ("eyJhbGciOiJI.e30.x", "…", "…"),
            ("api_key=x; q=1", "api_key=…; q=1", "api_key=…; q=1"),
            ("password:x", "password:…", "password:…"),
            (
                "8dbc5577-d0e2-4706-8787-57d52c03ddf2",
                "…",
                "8dbc5577-d0e2-4706-8787-57d52c03ddf2",
            ),
            (
                "form; boundary=--x7MA4YWxkTrZu0gW9",
                "form; …",
                "form; boundary=--x7MA4YWxkTrZu0gW9",
            ),
            ("4111111111111111", "…", "4111111111111111"),
            ("a%53ecret", "…", "a%53ecret"),
            (
                "url=https://h.com/x",
                "url=https://h.com/…",
                "url=https://h.com/x",
            ),
            (
                "bot (+http://h.com)",
                "bot (+http://h.com)",
                "bot (+http://h.com)",
            ),
            ("é://h", "é://h", "é://h"),
            ("://", "://", "://"),
        ] {
            assert_eq!(mask(value.as_bytes(), Audience::Remote), remote, "{value}");
            assert_eq!(mask(value.as_bytes(), Audience::Local), local, "{value}");
        }
    }

    #[test]
    fn a_long_value_loses_the_word_at_its_cut() {
        let value = format!("{} s3cr3tp4rt", "a ".repeat(INPUT_BYTES_MAX / 2 - 3));
        assert!(value.len() > INPUT_BYTES_MAX);
        assert!(!mask(value.as_bytes(), Audience::Remote).contains("s3"));
        assert_eq!(mask(&vec![b'x'; INPUT_BYTES_MAX + 1], Audience::Remote), "");
    }

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(
            mask(b"a\x1b[2J\r\nb\xff", Audience::Local),
            "a\u{fffd}[2J\u{fffd}\u{fffd}b\u{fffd}"
        );
    }
}
