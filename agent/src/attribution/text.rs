//! Names that come from processes, made safe to log, store and show.

/// Stands for what may not be shown.
pub(super) const MASK: &str = "…";

/// Replaces control characters, line and direction marks, and what is not UTF-8, and cuts to `bytes_max` bytes.
pub(super) fn clean(raw: &[u8], bytes_max: usize) -> String {
    let mut out = String::new();
    // A lossy character takes at most three bytes for one, so this prefix always suffices.
    let raw = raw.get(..bytes_max.saturating_add(4)).unwrap_or(raw);
    for c in String::from_utf8_lossy(raw).chars() {
        let c = if is_unsafe(c) {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        };
        if out.len() + c.len_utf8() > bytes_max {
            break;
        }
        out.push(c);
    }
    out
}

/// Like [`clean`] for paths, which are told apart by their end: a long one loses its beginning.
pub(super) fn clean_path(raw: &[u8], bytes_max: usize) -> String {
    let raw = raw.strip_suffix(b" (deleted)").unwrap_or(raw);
    if raw.len() <= bytes_max {
        return clean_within(raw, bytes_max);
    }
    let keep = bytes_max.saturating_sub(MASK.len());
    let tail = raw.get(raw.len() - keep..).unwrap_or(raw);
    format!("{MASK}{}", clean_within(tail, keep))
}

/// [`clean`] that keeps the end when replacement characters make the text longer than it was.
fn clean_within(raw: &[u8], bytes_max: usize) -> String {
    let text = clean(raw, raw.len().saturating_mul(3));
    let mut start = text.len().saturating_sub(bytes_max);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.get(start..).unwrap_or_default().to_owned()
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// The part after the last slash; the whole text where there is none or nothing follows it.
pub(super) fn base_name(path: &str) -> &str {
    match path.rsplit('/').next() {
        Some(name) if !name.is_empty() => name,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_become_harmless() {
        let cases: [(&[u8], &str); 6] = [
            (b"nginx", "nginx"),
            (b"a\nb\x1b[31mc", "a\u{fffd}b\u{fffd}[31mc"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
            ("a\u{202e}b\u{200b}".as_bytes(), "a\u{fffd}b\u{fffd}"),
            ("größe".as_bytes(), "größe"),
            (b"", ""),
        ];
        for (raw, expected) in cases {
            assert_eq!(clean(raw, 64), expected, "{raw:?}");
        }
    }

    #[test]
    fn cut_at_the_limit_on_a_character() {
        assert_eq!(clean(&[b'a'; 4096], 8), "aaaaaaaa");
        assert_eq!(clean("ééééé".as_bytes(), 5), "éé");
        assert!(clean(&[0xff; 4096], 100).len() <= 100);
    }

    #[test]
    fn long_paths_keep_their_end() {
        let long = format!("/{}/app.py", "d".repeat(4096));
        let cut = clean_path(long.as_bytes(), 64);
        assert!(
            cut.len() <= 64 && cut.starts_with('…') && cut.ends_with("/app.py"),
            "{cut}"
        );
        assert_eq!(clean_path(b"/usr/bin/app (deleted)", 64), "/usr/bin/app");
        assert!(clean_path(&[0xff; 64], 64).len() <= 64);
    }

    #[test]
    fn base_names() {
        for (path, name) in [
            ("/usr/bin/a", "a"),
            ("a", "a"),
            ("/", "/"),
            ("x/", "x/"),
            ("", ""),
        ] {
            assert_eq!(base_name(path), name);
        }
    }
}
