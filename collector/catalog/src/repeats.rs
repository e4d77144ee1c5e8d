//! Which plausible words repeat, in fixed memory.
//!
//! A word is known by (parent, word). It becomes a literal of this node after a number of served calls, unless its parent has
//! shown too many different words: then that is the position of a value. Calls that were counted without the word's text
//! before are remembered by leaf and handed over once, so that the collector can tell them from calls of real values.

use foldhash::{HashSet, HashSetExt};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Slots for words and for leaves on trial; 8 bytes each.
const SLOTS: usize = 1 << 14;

/// Slots for parents.
const PARENT_SLOTS: usize = 1 << 12;

/// What became of a plausible word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It repeats: text.
    Literal,
    /// Not often enough yet.
    Withheld,
    /// Often enough, but its position is a value's.
    Value,
}

/// Direct-mapped counters: a hash has one slot; a stranger in it must be worn down first, so frequent hashes win.
#[derive(Debug)]
struct Counters {
    slots: Vec<(u32, u32)>,
}

impl Counters {
    fn new(slots: usize) -> Self {
        Self {
            slots: vec![(0, 0); slots],
        }
    }

    fn slot(&mut self, hash: u64) -> Option<(&mut (u32, u32), u32)> {
        let at = (hash % self.slots.len().max(1) as u64) as usize;
        self.slots.get_mut(at).map(|slot| (slot, (hash >> 32) as u32))
    }

    /// Adds and returns the count of `hash`; `None` while a stranger holds the slot.
    fn add(&mut self, hash: u64, weight: u32) -> Option<u32> {
        let (slot, tag) = self.slot(hash)?;
        if slot.1 == 0 {
            *slot = (tag, weight);
        } else if slot.0 == tag {
            slot.1 = slot.1.saturating_add(weight);
        } else {
            slot.1 -= 1;
            return None;
        }
        Some(slot.1)
    }

    fn get(&mut self, hash: u64) -> u32 {
        self.slot(hash)
            .map_or(0, |(slot, tag)| if slot.0 == tag { slot.1 } else { 0 })
    }

    fn take(&mut self, hash: u64) -> u32 {
        match self.slot(hash) {
            Some((slot, tag)) if slot.0 == tag => std::mem::take(&mut slot.1),
            _ => 0,
        }
    }
}

/// Memory of a node for words that are not in the vocabulary.
#[derive(Debug)]
pub(crate) struct Repeats {
    words: Counters,
    leaves: Counters,
    parents: Counters,
    /// Words that are literals; in two generations, the older of which is forgotten when the younger is full.
    young: HashSet<u64>,
    old: HashSet<u64>,
    literal_calls: u32,
    words_per_position: u32,
    generation_max: usize,
    forgotten: u64,
    /// How often the younger generation became the older one.
    turns: u64,
}

impl Repeats {
    pub(crate) fn new(literal_calls: u32, words_per_position: u32, words_max: usize) -> Self {
        Self {
            words: Counters::new(SLOTS),
            leaves: Counters::new(SLOTS),
            parents: Counters::new(PARENT_SLOTS),
            young: HashSet::new(),
            old: HashSet::new(),
            literal_calls,
            words_per_position,
            generation_max: (words_max / 2).max(1),
            forgotten: 0,
            turns: 0,
        }
    }

    /// Judges a plausible word below a parent; only a served call counts for it.
    pub(crate) fn judge(&mut self, parent: u64, word: &str, served: bool) -> Verdict {
        let hash = xxh3_64_with_seed(word.as_bytes(), parent);
        if self.young.contains(&hash) {
            return Verdict::Literal;
        }
        if self.old.remove(&hash) {
            self.keep(hash);
            return Verdict::Literal;
        }
        if !served {
            return Verdict::Withheld;
        }
        let Some(count) = self.words.add(hash, 1) else {
            return Verdict::Withheld;
        };
        let position = if count == 1 {
            self.parents.add(parent, 1)
        } else {
            Some(self.parents.get(parent))
        };
        if count < self.literal_calls {
            return Verdict::Withheld;
        }
        if position.unwrap_or(0) > self.words_per_position {
            return Verdict::Value;
        }
        self.words.take(hash);
        self.keep(hash);
        Verdict::Literal
    }

    fn keep(&mut self, hash: u64) {
        if self.young.len() >= self.generation_max {
            self.forgotten += self.old.len() as u64;
            self.old = std::mem::take(&mut self.young);
            self.turns += 1;
        }
        self.young.insert(hash);
    }

    /// While this stays the same, a word that was judged a literal is one, and judging it again changes nothing.
    pub(crate) const fn turns(&self) -> u64 {
        self.turns
    }

    /// Remembers calls that were counted without the text of their leaf's words.
    pub(crate) fn withhold(&mut self, leaf: u64, weight: u64) {
        self.leaves.add(leaf, u32::try_from(weight).unwrap_or(u32::MAX));
    }

    /// Hands over what [`Self::withhold`] remembers of a leaf whose words are literals now.
    pub(crate) fn hand_over(&mut self, leaf: u64) -> u64 {
        self.leaves.take(leaf).into()
    }

    /// Words forgotten since the last call.
    pub(crate) fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_text_from_the_configured_call_on() {
        let mut repeats = Repeats::new(3, 16, 100);
        assert_eq!(repeats.judge(1, "flurbs", true), Verdict::Withheld);
        assert_eq!(
            repeats.judge(1, "flurbs", false),
            Verdict::Withheld,
            "a missed call does not count"
        );
        assert_eq!(repeats.judge(1, "flurbs", true), Verdict::Withheld);
        assert_eq!(
            repeats.judge(2, "flurbs", true),
            Verdict::Withheld,
            "another parent"
        );
        assert_eq!(repeats.judge(1, "flurbs", true), Verdict::Literal);
        assert_eq!(repeats.judge(1, "flurbs", false), Verdict::Literal);
    }

    #[test]
    fn a_position_of_many_words_has_no_new_literals() {
        let mut repeats = Repeats::new(2, 4, 100);
        for at in 0..4 {
            assert_eq!(repeats.judge(1, &format!("w{at}"), true), Verdict::Withheld);
        }
        assert_eq!(repeats.judge(1, "w0", true), Verdict::Literal, "at the limit");
        assert_eq!(repeats.judge(1, "w5", true), Verdict::Withheld);
        assert_eq!(repeats.judge(1, "w1", true), Verdict::Value, "over the limit");
        assert_eq!(
            repeats.judge(1, "w0", true),
            Verdict::Literal,
            "what is text stays text"
        );
    }

    #[test]
    fn within_a_turn_literals_stay() {
        let mut repeats = Repeats::new(1, u32::MAX, 8);
        let (mut turns, mut literals) = (0, Vec::new());
        for at in 0..100u64 {
            repeats.judge(at, "word", true);
            if std::mem::replace(&mut turns, repeats.turns()) != repeats.turns() {
                literals.clear();
            }
            literals.push(at);
            for literal in &literals {
                assert_eq!(repeats.judge(*literal, "word", false), Verdict::Literal);
            }
            assert_eq!(turns, repeats.turns());
        }
        assert_eq!(turns, 24, "after every four words but the first");
    }

    #[test]
    fn generations_are_bounded_and_counted() {
        let mut repeats = Repeats::new(1, u32::MAX, 8);
        for at in 0..1000u64 {
            repeats.judge(at, "word", true);
            assert!(repeats.young.len() + repeats.old.len() <= 8);
        }
        assert_eq!(
            repeats.take_forgotten() as usize + repeats.young.len() + repeats.old.len(),
            1000
        );
        assert_eq!(repeats.judge(999, "word", false), Verdict::Literal);
    }
}
