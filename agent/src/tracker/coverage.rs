//! Bytes by workload and fate: how much of what the sockets of a workload moved was read, and why not the rest.

use foldhash::HashMap;

use super::fate::{Fate, Fates};

/// Workloads counted at a time. The bytes of more count under [`OTHERS`].
pub const WORKLOADS_MAX: usize = 1024;
/// Name of all workloads beyond the limit. No workload has it: names have no parentheses around them.
pub const OTHERS: &str = "(others)";

/// See the module's description.
#[derive(Debug, Default)]
pub struct Coverage {
    /// Since the last take.
    fresh: HashMap<String, Fates>,
    /// Before that.
    earlier: HashMap<String, Fates>,
    folded_bytes: u64,
    unseen_bytes: u64,
}

fn merge(into: &mut HashMap<String, Fates>, workload: &str, fates: &Fates) -> u64 {
    if let Some(sums) = into.get_mut(workload) {
        sums.merge(fates);
        return 0;
    }
    let room = into.len() - usize::from(into.contains_key(OTHERS)) < WORKLOADS_MAX;
    let name = if room { workload } else { OTHERS };
    into.entry(name.to_owned()).or_default().merge(fates);
    if room { 0 } else { fates.total() }
}

impl Coverage {
    /// Counts bytes of a workload.
    pub fn add(&mut self, workload: &str, fate: Fate, bytes: u64) {
        if fate == Fate::Unseen {
            self.unseen_bytes = self.unseen_bytes.saturating_add(bytes);
        }
        if let Some(sums) = self.fresh.get_mut(workload) {
            sums.add(fate, bytes);
            return;
        }
        let mut fates = Fates::default();
        fates.add(fate, bytes);
        self.folded_bytes += merge(&mut self.fresh, workload, &fates);
    }

    /// Where the bytes of a workload are counted.
    pub const fn of<'a>(&'a mut self, workload: &'a str) -> Row<'a> {
        Row {
            coverage: self,
            workload,
        }
    }

    /// Bytes that count under [`OTHERS`] because there were too many workloads.
    pub const fn folded_bytes(&self) -> u64 {
        self.folded_bytes
    }

    /// Bytes of all workloads that no record told of.
    pub const fn unseen_bytes(&self) -> u64 {
        self.unseen_bytes
    }

    /// What was counted since the last call, by name.
    pub fn take(&mut self) -> Vec<(String, Fates)> {
        let mut taken: Vec<_> = self.fresh.drain().collect();
        taken.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for (workload, fates) in &taken {
            merge(&mut self.earlier, workload, fates);
        }
        taken
    }

    /// All that was ever counted, by name.
    pub fn all(&self) -> Vec<(String, Fates)> {
        let mut sums = self.earlier.clone();
        for (workload, fates) in &self.fresh {
            merge(&mut sums, workload, fates);
        }
        let mut all: Vec<_> = sums.into_iter().collect();
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all
    }
}

/// Where the bytes of a workload are counted.
#[derive(Debug)]
pub struct Row<'a> {
    coverage: &'a mut Coverage,
    workload: &'a str,
}

impl Row<'_> {
    /// Counts bytes.
    pub fn add(&mut self, fate: Fate, bytes: u64) {
        if bytes > 0 {
            self.coverage.add(self.workload, fate, bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(bytes: u64) -> Fates {
        let mut fates = Fates::default();
        fates.add(Fate::Read, bytes);
        fates
    }

    #[test]
    fn increments_are_taken_once_and_all_stays() {
        let mut coverage = Coverage::default();
        coverage.add("b", Fate::Read, 1);
        coverage.add("a", Fate::Read, 2);
        coverage.add("b", Fate::Read, 3);
        let expect = vec![("a".to_owned(), fates(2)), ("b".to_owned(), fates(4))];
        assert_eq!(coverage.take(), expect);
        assert_eq!(coverage.take(), []);
        coverage.add("b", Fate::Read, 5);
        assert_eq!(coverage.all()[1], ("b".to_owned(), fates(9)));
    }

    #[test]
    fn more_workloads_than_are_counted_lose_their_name_and_no_byte() {
        let mut coverage = Coverage::default();
        for i in 0..WORKLOADS_MAX + 7 {
            coverage.add(&format!("w{i}"), Fate::Read, 1);
        }
        assert_eq!(coverage.folded_bytes(), 7);
        let taken = coverage.take();
        assert_eq!(taken.len(), WORKLOADS_MAX + 1);
        assert_eq!(taken[0], (OTHERS.to_owned(), fates(7)));
        // Others, in the next batch.
        for i in 0..3 {
            coverage.add(&format!("x{i}"), Fate::Read, 1);
        }
        assert_eq!((coverage.take().len(), coverage.folded_bytes()), (3, 7));
        let all = coverage.all();
        assert_eq!(all.len(), WORKLOADS_MAX + 1);
        let bytes: u64 = all.iter().map(|(_, fates)| fates.total()).sum();
        assert_eq!(bytes, WORKLOADS_MAX as u64 + 10);
    }
}
