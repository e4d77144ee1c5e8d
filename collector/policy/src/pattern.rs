//! A text with `*` for any run of characters, as filters use it.

use serde::{Deserialize, Serialize};

/// Longest pattern, bytes: Linux paths are at most as long.
pub const PATTERN_BYTES_MAX: usize = 4096;

/// Matches a whole text; `*` stands for any run of characters, also none and also across `/`. No other character is special.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

impl Pattern {
    /// # Errors
    /// Cause and remedy, when empty, longer than [`PATTERN_BYTES_MAX`], or holding a control character.
    pub fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        if text.is_empty() {
            return Err("empty pattern, which nothing matches; write a text or leave the key out".to_owned());
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!(
                "pattern of {} bytes; shorten it to {PATTERN_BYTES_MAX} bytes with *",
                text.len()
            ));
        }
        if text.chars().any(char::is_control) {
            return Err("pattern holds a control character; write * in its place".to_owned());
        }
        Ok(Self(text))
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole of `text` matches. Time is at most the product of the two lengths.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        glob(self.0.as_bytes(), text.as_bytes())
    }

    /// Whether nothing but `*` is written.
    #[must_use]
    pub fn matches_everything(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'*')
    }

    /// Whether the pattern stands for exactly one text.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        !self.0.contains('*')
    }
}

/// Greedy matching that returns only to the latest star: what an earlier star could take, the latest can too.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = text.get(seen) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(&wanted) if wanted == byte => {
                at += 1;
                seen += 1;
            }
            _ => match star.as_mut() {
                Some((star_at, taken)) => {
                    *taken += 1;
                    at = *star_at + 1;
                    seen = *taken;
                }
                None => return false,
            },
        }
    }
    pattern
        .get(at..)
        .is_some_and(|rest| rest.iter().all(|&byte| byte == b'*'))
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars() {
        for (pattern, text, expect) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("*c", "abd", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("*", "", true),
            ("**", "x", true),
            ("*ab", "aab", true),
            ("a*b*", "acccb", true),
            ("/usr/bin/*", "/usr/bin/curl", true),
            ("é*", "éa", true),
        ] {
            assert_eq!(
                Pattern::new(pattern).unwrap().matches(text),
                expect,
                "{pattern} on {text}"
            );
        }
    }

    #[test]
    fn many_stars_on_a_long_text_finish() {
        let pattern = Pattern::new("*a".repeat(PATTERN_BYTES_MAX / 2)).unwrap();
        assert!(!pattern.matches(&"a".repeat(PATTERN_BYTES_MAX / 2 - 1)));
        assert!(pattern.matches(&"a".repeat(PATTERN_BYTES_MAX)));
    }

    #[test]
    fn limits() {
        assert!(Pattern::new("x".repeat(PATTERN_BYTES_MAX)).is_ok());
        assert!(Pattern::new("x".repeat(PATTERN_BYTES_MAX + 1)).is_err());
        assert!(Pattern::new("").is_err());
        assert!(Pattern::new("a\nb").is_err());
    }
}
