//! From a request target to the path within it (RFC 9112 section 3.2).

/// The path of a request target, without query and fragment, percent-encoding as sent.
///
/// - origin form `/a/b?q` → `/a/b`
/// - absolute form `http://host/a?q` → `/a`, or `/` when it has no path
/// - authority form of CONNECT `host:443` → `/`
/// - asterisk form of OPTIONS `*` → `*`
/// - empty → `/`
pub fn path_of_target(target: &[u8]) -> &[u8] {
    let end = target
        .iter()
        .position(|byte| matches!(byte, b'?' | b'#'))
        .unwrap_or(target.len());
    let bare = target.get(..end).unwrap_or(target);
    match bare.first() {
        Some(b'/') => return bare,
        Some(b'*') if bare.len() == 1 => return bare,
        _ => {}
    }
    // RFC 3986 section 3.1: a scheme is a letter, then letters, digits, "+", "-" and ".".
    let authority = bare
        .windows(3)
        .position(|window| window == b"://")
        .filter(|colon| {
            let scheme = bare.get(..*colon).unwrap_or_default();
            scheme.first().is_some_and(u8::is_ascii_alphabetic)
                && scheme
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        });
    let Some(colon) = authority else { return b"/" };
    let rest = bare.get(colon + 3..).unwrap_or_default();
    match rest.iter().position(|byte| *byte == b'/') {
        Some(slash) => rest.get(slash..).unwrap_or(b"/"),
        None => b"/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (target, path) in [
            ("/a/b", "/a/b"),
            ("/a?x=1", "/a"),
            ("/a#f", "/a"),
            ("/?", "/"),
            ("", "/"),
            ("?x", "/"),
            ("*", "*"),
            ("*a", "/"),
            ("host:443", "/"),
            ("[::1]:443", "/"),
            ("http://host/a/b?q=/c", "/a/b"),
            ("http://host", "/"),
            ("http://host?x=/y", "/"),
            ("HTTPS://user@host:8/a", "/a"),
            ("://x/y", "/"),
            ("1x://x/y", "/"),
            ("//a//b", "//a//b"),
            ("/http://x/y", "/http://x/y"),
        ] {
            assert_eq!(path_of_target(target.as_bytes()), path.as_bytes(), "{target}");
        }
    }
}
