//! A bounded map that forgets what was used longest ago.

use std::collections::HashMap;
use std::hash::Hash;

/// Part of the entries that one eviction removes, so that its cost is spread over as many insertions.
const EVICTED_SHARE: usize = 8;

/// At most `limit` entries. When it is full the least recently used eighth goes at once: constant cost per insertion on
/// average, no links to maintain.
#[derive(Debug)]
pub(super) struct Lru<K, V> {
    entries: HashMap<K, (u64, V)>,
    limit: usize,
    clock: u64,
}

impl<K: Eq + Hash + Clone, V> Lru<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            entries: HashMap::new(),
            limit: limit.max(1),
            clock: 0,
        }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<&mut V> {
        self.clock += 1;
        let (used, value) = self.entries.get_mut(key)?;
        *used = self.clock;
        Some(value)
    }

    /// Looks without counting as a use.
    pub(super) fn peek(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// Returns the entries that had to make room.
    pub(super) fn insert(&mut self, key: K, value: V) -> Vec<(K, V)> {
        self.clock += 1;
        let evicted = if self.entries.len() >= self.limit && !self.entries.contains_key(&key) {
            self.evict()
        } else {
            Vec::new()
        };
        self.entries.insert(key, (self.clock, value));
        evicted
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key).map(|(_, value)| value)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.values_mut().map(|(_, value)| value)
    }

    fn evict(&mut self) -> Vec<(K, V)> {
        let count = (self.limit / EVICTED_SHARE).max(1);
        let mut by_use: Vec<(u64, K)> = self
            .entries
            .iter()
            .map(|(key, (used, _))| (*used, key.clone()))
            .collect();
        if count < by_use.len() {
            by_use.select_nth_unstable_by_key(count, |(used, _)| *used);
            by_use.truncate(count);
        }
        by_use
            .into_iter()
            .filter_map(|(_, key)| self.remove(&key).map(|value| (key, value)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_limit_the_least_recently_used_go() {
        let mut lru = Lru::new(16);
        for i in 0..16 {
            assert!(lru.insert(i, i).is_empty());
        }
        assert_eq!(lru.get(&0), Some(&mut 0));
        assert!(lru.insert(3, 33).is_empty(), "replacing needs no room");
        let mut evicted = lru.insert(16, 16);
        evicted.sort_unstable();
        assert_eq!(evicted, [(1, 1), (2, 2)]);
        assert_eq!(lru.len(), 15);
        assert_eq!(
            (lru.peek(&0), lru.peek(&1), lru.peek(&3)),
            (Some(&0), None, Some(&33))
        );
    }

    #[test]
    fn never_beyond_the_limit() {
        for limit in [0, 1, 2, 7, 64] {
            let mut lru = Lru::new(limit);
            for i in 0..1000 {
                lru.insert(i, ());
                assert!(lru.len() <= limit.max(1));
                assert!(lru.peek(&i).is_some());
            }
        }
    }
}
