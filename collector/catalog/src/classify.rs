//! One raw path segment to a literal candidate or a type. A pure function of the segment.

use std::borrow::Cow;
use std::net::IpAddr;
use std::str::FromStr;

use crate::segment::{LITERAL_BYTES_MAX, SegmentType, literal_allowed};
use crate::words::{self, WordKind};

/// What a segment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape<'a> {
    /// Part of the route.
    Route(Cow<'a, str>),
    /// Looks like a word: part of the route if it repeats.
    Plausible(Cow<'a, str>),
    /// A value.
    Typed(SegmentType),
}

/// Longest segment that is looked at closely, in bytes. Longer ones are tokens.
const SEGMENT_BYTES_MAX: usize = 512;

/// Extensions of files that are served as they are. What is not listed is not taken for an extension.
const EXTENSIONS: &[&str] = &[
    "asp",
    "aspx",
    "atom",
    "avi",
    "bin",
    "bmp",
    "bz2",
    "cgi",
    "css",
    "csv",
    "deb",
    "do",
    "doc",
    "docx",
    "eot",
    "gif",
    "gz",
    "htm",
    "html",
    "ico",
    "ics",
    "jar",
    "jpeg",
    "jpg",
    "js",
    "json",
    "jsp",
    "log",
    "m3u8",
    "map",
    "md",
    "mjs",
    "mov",
    "mp3",
    "mp4",
    "mpd",
    "ndjson",
    "odt",
    "ogg",
    "otf",
    "parquet",
    "pdf",
    "php",
    "png",
    "ppt",
    "pptx",
    "rar",
    "rdf",
    "rpm",
    "rss",
    "rtf",
    "sql",
    "svg",
    "tar",
    "tgz",
    "tif",
    "tiff",
    "ts",
    "tsv",
    "ttf",
    "txt",
    "vcf",
    "wasm",
    "wav",
    "webm",
    "webmanifest",
    "webp",
    "whl",
    "woff",
    "woff2",
    "xhtml",
    "xls",
    "xlsx",
    "xml",
    "xz",
    "yaml",
    "yml",
    "zip",
    "zst",
];

/// Classifies one segment, percent-encoding as sent. Matrix parameters (RFC 3986 section 3.3) must be cut off already.
pub(crate) fn classify(raw: &[u8]) -> Shape<'_> {
    if raw.len() > SEGMENT_BYTES_MAX {
        return Shape::Typed(SegmentType::Token);
    }
    let text = match decode(raw) {
        Some(text) => text,
        None => return Shape::Typed(SegmentType::Encoded),
    };
    if may_be_word(text.as_bytes())
        && literal_allowed(&text)
        && let Some(kind) = literal(&text)
    {
        return match kind {
            WordKind::Route => Shape::Route(text),
            _ => Shape::Plausible(text),
        };
    }
    Shape::Typed(type_of(&text))
}

/// Most digits of a literal: vocabulary and versions have up to three in a part.
const LITERAL_DIGITS_MAX: usize = 6;

/// A quick look that spares numbers, UUIDs and hashes the closer one.
fn may_be_word(text: &[u8]) -> bool {
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    digits <= LITERAL_DIGITS_MAX && digits < text.len()
}

/// Percent-decoding where it is safe: the result is UTF-8 without a slash, a percent sign or a control character, so
/// that it can be neither another path nor another encoding.
fn decode(raw: &[u8]) -> Option<Cow<'_, str>> {
    if !raw.contains(&b'%') {
        let text = std::str::from_utf8(raw).ok()?;
        return (!text.bytes().any(|byte| byte.is_ascii_control())).then_some(Cow::Borrowed(text));
    }
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        if *byte == b'%' {
            let decoded = (hex(raw.get(at + 1))? * 16 + hex(raw.get(at + 2))?) as u8;
            if matches!(decoded, b'/' | b'%' | b'\\' | 0..=31 | 127) {
                return None;
            }
            bytes.push(decoded);
            at += 3;
        } else if byte.is_ascii_control() {
            return None;
        } else {
            bytes.push(*byte);
            at += 1;
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// Whether text is a word of either kind.
fn literal(text: &str) -> Option<WordKind> {
    match words::judge(text) {
        WordKind::Opaque => None,
        kind => Some(kind),
    }
}

fn type_of(text: &str) -> SegmentType {
    let bytes = text.as_bytes();
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = bytes.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    if digits == bytes.len() {
        return type_of_digits(text);
    }
    if digits > 0 {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
            return SegmentType::Integer;
        }
        if let Some((whole, fraction)) = unsigned.split_once('.')
            && !whole.is_empty()
            && !fraction.is_empty()
            && whole
                .bytes()
                .chain(fraction.bytes())
                .all(|byte| byte.is_ascii_digit())
        {
            return SegmentType::Number;
        }
        if is_uuid(bytes) {
            return SegmentType::Uuid;
        }
        if let Some(kind) = type_of_date(bytes) {
            return kind;
        }
    }
    if (digits > 0 || text.contains("::")) && (text.contains('.') || text.contains(':')) && is_ip(text) {
        return SegmentType::Ip;
    }
    if let Some((local, domain)) = text.split_once('@')
        && !local.is_empty()
        && domain.contains('.')
    {
        return SegmentType::Email;
    }
    if is_hex(text, digits, letters) {
        return SegmentType::Hex;
    }
    if let Some((stem, extension)) = text.rsplit_once('.')
        && !stem.is_empty()
        && EXTENSIONS.binary_search(&extension).is_ok()
    {
        return SegmentType::File;
    }
    if is_token(bytes, digits, letters) {
        SegmentType::Token
    } else {
        SegmentType::Text
    }
}

fn type_of_digits(text: &str) -> SegmentType {
    let number = |range: std::ops::Range<usize>| {
        text.get(range)
            .and_then(|part| part.parse::<u32>().ok())
            .unwrap_or(0)
    };
    match text.len() {
        // 2001-09-09 to 2033-05-18.
        10 | 13 if text.starts_with('1') => SegmentType::Timestamp,
        8 if (1900..2100).contains(&number(0..4))
            && (1..=12).contains(&number(4..6))
            && (1..=31).contains(&number(6..8)) =>
        {
            SegmentType::Date
        }
        _ => SegmentType::Integer,
    }
}

/// RFC 9562 section 4, hyphens at 8, 13, 18, 23.
fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// `2024-01`, `2024-01-31`, `2024-01-31T…` and `2024-01-31 …`.
fn type_of_date(bytes: &[u8]) -> Option<SegmentType> {
    let digits = |from: usize, to: usize| {
        bytes
            .get(from..to)
            .is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let hyphen = |at: usize| bytes.get(at) == Some(&b'-');
    let month = (digits(0, 4) && hyphen(4) && digits(5, 7)) && matches!(bytes.get(5), Some(b'0' | b'1'));
    match bytes.len() {
        7 if month => Some(SegmentType::Date),
        10 if month && hyphen(7) && digits(8, 10) => Some(SegmentType::Date),
        13.. if month && hyphen(7) && digits(8, 10) && matches!(bytes.get(10), Some(b'T' | b't' | b' ')) => {
            Some(SegmentType::Timestamp)
        }
        _ => None,
    }
}

fn is_ip(text: &str) -> bool {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    IpAddr::from_str(bare).is_ok()
}

/// Six digits and letters mixed, or sixteen of any kind.
fn is_hex(text: &str, digits: usize, letters: usize) -> bool {
    let bare = text.strip_prefix("0x").unwrap_or(text);
    let mixed = digits > 0 && letters > 0 && bare.len() >= 6;
    (mixed || bare.len() >= 16) && bare.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Letters, digits and the punctuation of base64 (RFC 4648), JWT and key formats, too mixed or too long for a name.
fn is_token(bytes: &[u8], digits: usize, letters: usize) -> bool {
    let punctuation = bytes.len() - digits - letters;
    let alphabet = bytes.iter().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'=' | b'~' | b'+' | b':')
    });
    if !alphabet || bytes.len() < 8 {
        return false;
    }
    if bytes.len() > LITERAL_BYTES_MAX {
        return true;
    }
    let upper = bytes.iter().filter(|byte| byte.is_ascii_uppercase()).count();
    let changes = bytes
        .windows(2)
        .filter(|pair| matches!(pair, [a, b] if class(*a) != class(*b)))
        .count();
    // A slug changes its class at every separator only; random text at about every second byte.
    let unpunctuated = changes.saturating_sub(2 * punctuation);
    (digits > 0 && letters > 0 && (unpunctuated >= 3 || upper > 0 && letters > upper && bytes.len() >= 12))
        || (bytes.len() - punctuation >= 16 && punctuation * 8 < bytes.len())
}

fn class(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => 0,
        b'a'..=b'z' => 1,
        b'A'..=b'Z' => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_sorted() {
        assert!(EXTENSIONS.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn shapes() {
        for (raw, expect) in [
            ("users", "users"),
            ("%75sers", "users"),
            ("v1", "v1"),
            ("alice", "?alice"),
            ("12345", "{integer}"),
            ("-7", "{integer}"),
            ("3.14", "{number}"),
            ("1700000000", "{timestamp}"),
            ("1700000000123", "{timestamp}"),
            ("20240131", "{date}"),
            ("2024-01-31", "{date}"),
            ("2024-01", "{date}"),
            ("2024-01-31T10:00:00Z", "{timestamp}"),
            ("f47ac10b-58cc-4372-a567-0e02b2c3d479", "{uuid}"),
            ("d41d8cd98f00b204e9800998ecf8427e", "{hex}"),
            ("507f1f77bcf86cd799439011", "{hex}"),
            ("3f2a1b", "{hex}"),
            ("0xdeadbeef1", "{hex}"),
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "{token}"),
            ("0ujtsYcgvSTl8PAuAdqWYSMnLOv", "{token}"),
            ("V1StGXR8_Z5jdHi6B-myT", "{token}"),
            ("cus_9s6XKzkNRiz8i3", "{token}"),
            ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", "{token}"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "{token}"),
            ("dGhpcyBpcyBhIHRlc3Q=", "{token}"),
            ("correcthorsebatterystaple", "{token}"),
            ("192.168.1.1", "{ip}"),
            ("2001:db8::1", "{ip}"),
            ("alice@example.com", "{email}"),
            ("alice%40example.com", "{email}"),
            ("report-2024.pdf", "{file}"),
            ("index.html", "index.html"),
            ("app.js", "app.js"),
            ("my-post-about-2024", "{text}"),
            ("user123", "{text}"),
            ("hello%20world", "{text}"),
            ("Z%C3%BCrich", "{text}"),
            ("%2e%2e%2fetc", "{encoded}"),
            ("%ff%fe", "{encoded}"),
            ("%zz", "{encoded}"),
            ("%", "{encoded}"),
            ("%2525", "{encoded}"),
            ("a\u{1}b", "{encoded}"),
            ("..", "{text}"),
            ("{id}", "{text}"),
            ("QXJ", "{text}"),
        ] {
            let got = match classify(raw.as_bytes()) {
                Shape::Route(text) => text.into_owned(),
                Shape::Plausible(text) => format!("?{text}"),
                Shape::Typed(kind) => format!("{{{}}}", kind.name()),
            };
            assert_eq!(got, expect, "{raw}");
        }
        assert_eq!(classify(b"\xff\xfe"), Shape::Typed(SegmentType::Encoded));
    }

    #[test]
    fn long_segments() {
        assert_eq!(
            classify(&[b'q'; SEGMENT_BYTES_MAX + 1]),
            Shape::Typed(SegmentType::Token)
        );
        assert_eq!(classify(&[b'q'; 65]), Shape::Typed(SegmentType::Token));
        let literal = "users-".repeat(10) + "user";
        assert_eq!(literal.len(), LITERAL_BYTES_MAX);
        assert!(
            matches!(classify(literal.as_bytes()), Shape::Typed(_)),
            "more parts than a route word has"
        );
    }
}
