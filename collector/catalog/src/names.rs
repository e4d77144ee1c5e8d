//! Which names that callers give to operations are text, by the rules of path segments.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::Limits;
use crate::repeats::{Repeats, Verdict};
use crate::segment::literal_allowed;
use crate::words::{WordKind, judge};

/// Different plausible names of one scope after which none becomes text there any more: it is the place of a value. Services have more
/// operations than a path has words at one place.
const NAMES_PER_SCOPE: u32 = 256;

/// Judges names of operations (`GetOrder`, `orders.list`) part by part, in fixed memory.
#[derive(Debug)]
pub struct Names(Repeats);

impl Names {
    /// Nothing is known yet. Of the limits, `literal_calls` and `repeated_words` count.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self(Repeats::new(
            limits.literal_calls,
            NAMES_PER_SCOPE,
            limits.repeated_words,
        ))
    }

    /// Whether a part of a name may be text: a route word, or a plausible one that repeats in its scope. `served`: the call did not fail;
    /// only such a call counts for a word.
    pub fn is_text(&mut self, scope: &[&[u8]], part: &str, served: bool) -> bool {
        if !literal_allowed(part) {
            return false;
        }
        match judge(part) {
            WordKind::Route => true,
            WordKind::Opaque => false,
            WordKind::Plausible => {
                let parent = scope
                    .iter()
                    .fold(scope.len() as u64, |seed, bytes| xxh3_64_with_seed(bytes, seed));
                self.0.judge(parent, part, served) == Verdict::Literal
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_path_segments_are_judged() {
        let mut names = Names::new(&Limits::default());
        let scope: &[&[u8]] = &[b"graphql", b"shop.test"];
        for (name, expect) in [
            ("GetOrder", true),
            ("listUsers", true),
            ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", false),
            ("a3f19c", false),
            ("", false),
            ("a b", false),
            ("{text}", false),
        ] {
            assert_eq!(names.is_text(scope, name, true), expect, "{name}");
        }
    }

    #[test]
    fn a_plausible_name_is_text_once_it_repeats_in_its_scope() {
        let limits = Limits::default();
        let mut names = Names::new(&limits);
        let scope: &[&[u8]] = &[b"graphql", b"shop.test"];
        for _ in 1..limits.literal_calls {
            assert!(!names.is_text(scope, "Flurbs", true));
            assert!(
                !names.is_text(scope, "Flurbs", false),
                "a failed call does not count"
            );
        }
        assert!(names.is_text(scope, "Flurbs", true));
        assert!(!names.is_text(&[b"graphql", b"other.test"], "Flurbs", true));
    }

    #[test]
    fn a_scope_of_very_many_names_holds_values() {
        let mut names = Names::new(&Limits::default());
        let scope: &[&[u8]] = &[b"json-rpc"];
        let name = |at: usize| {
            let letter = |at: usize| char::from(b"bdfgklmnprstvwz"[at % 15]);
            format!("{}a{}o{}e", letter(at), letter(at / 15), letter(at / 225))
        };
        let plausible: Vec<String> = (0..3375)
            .map(name)
            .filter(|name| judge(name) == WordKind::Plausible)
            .take(NAMES_PER_SCOPE as usize * 2)
            .collect();
        assert_eq!(plausible.len(), NAMES_PER_SCOPE as usize * 2);
        for name in &plausible {
            names.is_text(scope, name, true);
        }
        let last = plausible.last().unwrap();
        assert!((0..10).all(|_| !names.is_text(scope, last, true)));
    }
}
