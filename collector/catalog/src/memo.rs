//! Segments seen lately and what they are: most calls repeat the words of others, and to judge a word takes longer than to look it up.
//! Words that push each other out, also on purpose, are judged as often as they would be without. The same of whole paths.

use std::borrow::Cow;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::LeafId;
use crate::classify::{Shape, classify};
use crate::tokens::Walk;

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

/// Paths remembered, likewise.
const PATHS: usize = 512;
/// Longest path remembered, bytes.
const PATH_BYTES_MAX: usize = 128;

/// Paths without values seen lately, and what came of walking them.
#[derive(Debug)]
pub(crate) struct Paths {
    places: Vec<Option<Path>>,
}

#[derive(Debug)]
struct Path {
    text: Box<[u8]>,
    seed: u64,
    /// See [`Repeats::turns`](crate::repeats::Repeats::turns).
    turns: u64,
    found: Walk,
    leaf: LeafId,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            places: std::iter::repeat_with(|| None).take(PATHS).collect(),
        }
    }
}

impl Paths {
    /// What the walk found, and the leaf.
    pub(crate) fn get(&self, path: &[u8], seed: u64, turns: u64) -> Option<(Walk, LeafId)> {
        let known = self.places.get(place_of(path, seed)?)?.as_ref()?;
        let same = known.seed == seed && known.turns == turns && *known.text == *path;
        same.then_some((known.found, known.leaf))
    }

    /// Remembers that, if it is the same next time: all words were literals, and became so in the turn that is on.
    pub(crate) fn put(
        &mut self,
        path: &[u8],
        seed: u64,
        turns: (u64, u64),
        found: Walk,
        leaf: impl FnOnce() -> LeafId,
    ) {
        if found.values + found.withheld > 0 || turns.0 != turns.1 {
            return;
        }
        if let Some(place) = place_of(path, seed).and_then(|at| self.places.get_mut(at)) {
            *place = Some(Path {
                text: path.into(),
                seed,
                turns: turns.0,
                found,
                leaf: leaf(),
            });
        }
    }
}

fn place_of(path: &[u8], seed: u64) -> Option<usize> {
    (path.len() <= PATH_BYTES_MAX).then(|| xxh3_64_with_seed(path, seed) as usize % PATHS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_next_time() {
        let leaf = LeafId([7; 16]);
        let found = Walk {
            private: 1,
            repeated: 2,
            ..Walk::default()
        };
        let mut paths = Paths::default();
        let longest = [b'a'; PATH_BYTES_MAX];
        for path in [&b"/a/b"[..], &longest] {
            paths.put(path, 1, (3, 3), found, || leaf);
            assert_eq!(paths.get(path, 1, 3), Some((found, leaf)));
        }
        for (path, seed, turns) in [
            (&b"/a/c"[..], 1, 3),
            (b"/a/b/", 1, 3),
            (b"/a/b", 2, 3),
            (b"/a/b", 1, 4),
        ] {
            assert_eq!(paths.get(path, seed, turns), None, "{path:?} {seed} {turns}");
        }
        let valued = Walk { values: 1, ..found };
        let withheld = Walk { withheld: 1, ..found };
        let longer = [b'a'; PATH_BYTES_MAX + 1];
        for (path, turns, found) in [
            (&b"/x"[..], (3, 3), valued),
            (b"/x", (3, 3), withheld),
            (b"/x", (3, 4), found),
            (&longer, (3, 3), found),
        ] {
            paths.put(path, 1, turns, found, || leaf);
            assert_eq!(paths.get(path, 1, turns.0), None);
            assert_eq!(paths.get(path, 1, turns.1), None);
        }
        for number in 0..4 * PATHS {
            paths.put(number.to_string().as_bytes(), 1, (3, 3), found, || leaf);
        }
        assert_eq!(paths.places.len(), PATHS);
    }

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
