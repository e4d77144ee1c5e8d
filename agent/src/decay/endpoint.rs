//! One endpoint: what is known of it, and how much of it is captured therefore.

use foldhash::HashSet;

use super::Rules;

/// Facets remembered of one endpoint. One that shows more is never captured less: it goes on being different.
pub const FACETS_MAX: usize = 512;

/// How much each level lowers what is captured.
const FACTOR: u32 = 8;

/// What a call did to its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing that matters for what is captured.
    Same,
    /// Enough calls brought nothing new: less is captured.
    Less,
    /// Something new: everything is captured.
    New,
    /// It was looked at whole and nothing was new: as before the look.
    Confirmed,
    /// The last facet that can be remembered: it is never captured less again.
    Varied,
}

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    facets: HashSet<u64>,
    /// 0: everything.
    level: u32,
    /// Captured calls at this level that brought nothing new.
    unchanged: u32,
    /// Calls of a whole look that are still to come; 0: none is under way.
    look: u32,
    /// Since when not everything is captured, or since the latest whole look.
    since_ns: u64,
    /// Its facets are too many.
    varied: bool,
    /// Latest call.
    pub seen_ns: u64,
}

impl Endpoint {
    /// One call in so many is captured.
    #[must_use]
    pub fn every(&self, rules: &Rules) -> u32 {
        if self.look > 0 {
            1
        } else {
            every(self.level, rules)
        }
    }

    /// Facets that are remembered.
    #[must_use]
    pub fn facets(&self) -> usize {
        self.facets.len()
    }

    /// Takes a captured call. `room`: facets that may be added.
    pub fn take(&mut self, facets: &[u64], room: usize, rules: &Rules, now_ns: u64) -> Outcome {
        self.seen_ns = now_ns;
        if self.varied {
            return Outcome::Same;
        }
        let before = self.facets.len();
        let room = room.min(FACETS_MAX.saturating_sub(before));
        for facet in facets {
            if self.facets.contains(facet) {
                continue;
            }
            if self.facets.len() - before >= room {
                self.varied = true;
                self.whole();
                // They are not asked any more.
                self.facets = HashSet::default();
                return Outcome::Varied;
            }
            self.facets.insert(*facet);
        }
        if self.facets.len() > before {
            self.whole();
            return Outcome::New;
        }
        if self.look > 0 {
            self.look -= 1;
            if self.look == 0 {
                self.since_ns = now_ns;
                return Outcome::Confirmed;
            }
            return Outcome::Same;
        }
        if every(self.level, rules) >= rules.most {
            return Outcome::Same;
        }
        self.unchanged += 1;
        if self.unchanged < rules.after {
            return Outcome::Same;
        }
        if self.level == 0 {
            self.since_ns = now_ns;
        }
        self.level += 1;
        self.unchanged = 0;
        Outcome::Less
    }

    fn whole(&mut self) {
        self.level = 0;
        self.unchanged = 0;
        self.look = 0;
    }

    /// Begins a whole look if it is time for one. True when everything is captured from here on.
    pub fn review(&mut self, rules: &Rules, now_ns: u64) -> bool {
        let due = self.level > 0 && self.look == 0 && now_ns.saturating_sub(self.since_ns) >= rules.review_ns;
        if due {
            self.look = rules.after;
        }
        due
    }
}

fn every(level: u32, rules: &Rules) -> u32 {
    FACTOR.saturating_pow(level).min(rules.most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules {
        after: 4,
        most: 512,
        review_ns: 1000,
    };

    fn known() -> Endpoint {
        let mut endpoint = Endpoint::default();
        assert_eq!(endpoint.take(&[1, 2], FACETS_MAX, &RULES, 0), Outcome::New);
        endpoint
    }

    fn take(endpoint: &mut Endpoint, facets: &[u64]) -> Outcome {
        endpoint.take(facets, FACETS_MAX, &RULES, 0)
    }

    /// Its levels while calls bring nothing new.
    fn levels(endpoint: &mut Endpoint, rules: &Rules, calls: u32) -> Vec<u32> {
        let mut levels = vec![endpoint.every(rules)];
        for _ in 0..calls {
            endpoint.take(&[1, 2], FACETS_MAX, rules, 0);
            if levels.last() != Some(&endpoint.every(rules)) {
                levels.push(endpoint.every(rules));
            }
        }
        levels
    }

    #[test]
    fn less_and_less_while_nothing_is_new() {
        for (most, expected) in [
            (512, &[1, 8, 64, 512][..]),
            (4096, &[1, 8, 64, 512, 4096]),
            (100, &[1, 8, 64, 100]),
            (8, &[1, 8]),
            (2, &[1, 2]),
            (1, &[1]),
        ] {
            let rules = Rules { most, ..RULES };
            assert_eq!(levels(&mut known(), &rules, 100), expected, "{most}");
        }
        let mut endpoint = known();
        assert_eq!(levels(&mut endpoint, &RULES, RULES.after - 1), [1]);
        assert_eq!(take(&mut endpoint, &[2]), Outcome::Less);
        assert_eq!(levels(&mut endpoint, &RULES, RULES.after - 1), [8]);
    }

    #[test]
    fn anything_new_brings_everything_back() {
        let mut endpoint = known();
        assert_eq!(levels(&mut endpoint, &RULES, 100).last(), Some(&512));
        assert_eq!(take(&mut endpoint, &[2, 3]), Outcome::New);
        assert_eq!(endpoint.every(&RULES), 1);
        // And it is known from then on, with all steps before it.
        assert_eq!(levels(&mut endpoint, &RULES, 100), [1, 8, 64, 512]);
        assert_eq!(take(&mut endpoint, &[3]), Outcome::Same);
    }

    #[test]
    fn a_whole_look_now_and_then() {
        let mut endpoint = known();
        assert!(!endpoint.review(&RULES, u64::MAX), "everything is captured");
        levels(&mut endpoint, &RULES, 100);
        assert!(!endpoint.review(&RULES, 999));
        assert!(endpoint.review(&RULES, 1000));
        assert!(!endpoint.review(&RULES, 5000), "one is under way");
        assert_eq!(endpoint.every(&RULES), 1);
        for _ in 1..RULES.after {
            assert_eq!(endpoint.take(&[1], FACETS_MAX, &RULES, 6000), Outcome::Same);
            assert_eq!(endpoint.every(&RULES), 1);
        }
        assert_eq!(endpoint.take(&[1], FACETS_MAX, &RULES, 6000), Outcome::Confirmed);
        assert_eq!(endpoint.every(&RULES), 512, "where it was before");
        assert!(!endpoint.review(&RULES, 6999) && endpoint.review(&RULES, 7000));
        assert_eq!(take(&mut endpoint, &[9]), Outcome::New);
        assert_eq!(
            levels(&mut endpoint, &RULES, 100),
            [1, 8, 64, 512],
            "the look found something"
        );
    }

    #[test]
    fn one_that_is_always_different_is_never_captured_less() {
        let mut endpoint = known();
        levels(&mut endpoint, &RULES, 100);
        let more: Vec<u64> = (10..).take(FACETS_MAX - 2).collect();
        assert_eq!(take(&mut endpoint, &more), Outcome::New);
        assert_eq!(endpoint.facets(), FACETS_MAX);
        levels(&mut endpoint, &RULES, 100);
        assert_eq!(take(&mut endpoint, &[7]), Outcome::Varied);
        assert_eq!((endpoint.facets(), endpoint.every(&RULES)), (0, 1));
        assert_eq!(levels(&mut endpoint, &RULES, 100), [1]);
        assert!(!endpoint.review(&RULES, u64::MAX));
        // Also when others have taken all the room.
        let mut crowded = known();
        assert_eq!(crowded.take(&[3], 0, &RULES, 0), Outcome::Varied);
        assert_eq!(known().take(&[1, 2], 0, &RULES, 0), Outcome::Same);
    }

    proptest! {
        /// Whatever comes: less than everything only after so many calls in a row without anything new.
        #[test]
        fn never_less_too_early(calls in prop::collection::vec((0u64..6, prop::bool::weighted(0.05)), 0..400)) {
            let mut endpoint = Endpoint::default();
            let mut known = std::collections::HashSet::new();
            let mut in_a_row = 0;
            for (time, (facet, review)) in calls.into_iter().enumerate() {
                if review {
                    endpoint.review(&RULES, time as u64 * 100);
                }
                endpoint.take(&[facet], FACETS_MAX, &RULES, time as u64 * 100);
                in_a_row = if known.insert(facet) { 0 } else { in_a_row + 1 };
                let level = in_a_row / RULES.after;
                prop_assert!(endpoint.every(&RULES) <= FACTOR.saturating_pow(level).min(RULES.most));
                prop_assert!(in_a_row > 0 || endpoint.every(&RULES) == 1);
            }
        }
    }
}
