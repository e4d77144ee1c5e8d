//! Segments seen lately and what they are: most calls repeat the words of others, and to judge a word takes longer than to look it up.
//! Words that push each other out, also on purpose, are judged as often as they would be without.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_64;

use crate::classify::{Shape, classify};

/// Words remembered; each has one place, and the latest word of a place stays.
const PLACES: usize = 512;
/// Longest segment remembered, bytes.
const SEGMENT_BYTES_MAX: usize = 32;

/// See the module's description. Values are not remembered: they do not come again.
#[derive(Debug)]
pub(crate) struct Memo {
    places: Vec<Option<Word>>,
}

#[derive(Debug)]
struct Word {
    segment: Box<[u8]>,
    text: Box<str>,
    is_route: bool,
}

impl Default for Memo {
    fn default() -> Self {
        Self {
            places: std::iter::repeat_with(|| None).take(PLACES).collect(),
        }
    }
}

impl Memo {
    /// As [`classify`].
    pub(crate) fn classify<'a>(&'a mut self, segment: &'a [u8]) -> Shape<'a> {
        if segment.len() > SEGMENT_BYTES_MAX {
            return classify(segment);
        }
        let hash = xxh3_64(segment);
        let Some(place) = self.places.get_mut(hash as usize % PLACES) else {
            return classify(segment);
        };
        if place.as_ref().is_none_or(|word| *word.segment != *segment) {
            let (text, is_route) = match classify(segment) {
                Shape::Route(text) => (text, true),
                Shape::Plausible(text) => (text, false),
                value @ Shape::Typed(_) => return value,
            };
            *place = Some(Word {
                segment: segment.into(),
                text: text.into(),
                is_route,
            });
        }
        match place.as_ref() {
            Some(word) if word.is_route => Shape::Route(Cow::Borrowed(&word.text)),
            Some(word) => Shape::Plausible(Cow::Borrowed(&word.text)),
            None => classify(segment),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_classifying_says_also_the_second_time() {
        let mut memo = Memo::default();
        let words = (0..4 * PLACES).map(|i| {
            format!(
                "word{}",
                char::from(b'a' + (i % 26) as u8).to_string().repeat(i % 9)
            )
        });
        let segments: Vec<String> = [
            "users",
            "v1",
            "item.txt",
            "4711",
            "a%2Fb",
            "%ff",
            "",
            "x".repeat(33).as_str(),
        ]
        .into_iter()
        .map(str::to_owned)
        .chain(words)
        .collect();
        for _ in 0..2 {
            for segment in &segments {
                assert_eq!(
                    memo.classify(segment.as_bytes()),
                    classify(segment.as_bytes()),
                    "{segment}"
                );
            }
        }
        assert_eq!(memo.places.len(), PLACES);
        assert!(memo.places.iter().flatten().any(|word| *word.text == *"users"));
    }
}
