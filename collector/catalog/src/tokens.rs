//! A path as sent to the canonical bytes of its leaf.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::classify::Shape;
use crate::memo::Memo;
use crate::segment::{SegmentType, push_literal, push_rest, push_typed};

/// What was found on the way through a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Walk {
    /// Hash of the path with plausible words as text, for use on this node only.
    pub(crate) private: u64,
    /// Plausible words that were kept as text.
    pub(crate) repeated: u32,
    /// Plausible words that were not.
    pub(crate) withheld: u32,
    /// Segments that are values.
    pub(crate) values: u32,
    /// The path was deeper than allowed.
    pub(crate) cut: bool,
}

/// Walks `path` and writes the canonical bytes of its leaf. `keep` decides on each plausible word, by a hash of its parent
/// (types in place of values) and the word.
///
/// Empty segments and `.` are dropped, so `/a//b/` is `/a/b`; `..` is a value. Matrix parameters (`;v=1`) are dropped.
/// `*` alone is the target of OPTIONS for the whole server.
pub(crate) fn walk(
    path: &[u8],
    depth: usize,
    seed: u64,
    memo: &mut Memo,
    canonical: &mut Vec<u8>,
    mut keep: impl FnMut(u64, &str) -> bool,
) -> Walk {
    canonical.clear();
    let mut found = Walk {
        private: seed,
        ..Walk::default()
    };
    if path == b"*" {
        push_literal(canonical, "*");
        return found;
    }
    let mut parent = seed;
    let mut count = 0;
    for whole in path.split(|byte| *byte == b'/') {
        let end = whole.iter().position(|byte| *byte == b';').unwrap_or(whole.len());
        let segment = whole.get(..end).unwrap_or(whole);
        if segment.is_empty() || segment == b"." {
            continue;
        }
        if count == depth {
            push_rest(canonical);
            found.cut = true;
            return found;
        }
        count += 1;
        let start = canonical.len();
        match memo.classify(segment) {
            Shape::Route(text) => push_literal(canonical, &text),
            Shape::Typed(kind) => {
                found.values += 1;
                push_typed(canonical, kind);
            }
            Shape::Plausible(text) => {
                found.private = xxh3_64_with_seed(text.as_bytes(), found.private);
                if keep(parent, &text) {
                    found.repeated += 1;
                    push_literal(canonical, &text);
                } else {
                    found.withheld += 1;
                    push_typed(canonical, SegmentType::Text);
                }
                parent = xxh3_64_with_seed(canonical.get(start..).unwrap_or_default(), parent);
                continue;
            }
        }
        let written = canonical.get(start..).unwrap_or_default();
        found.private = xxh3_64_with_seed(written, found.private);
        parent = xxh3_64_with_seed(written, parent);
    }
    found
}
