//! Connections and bytes by workload and class: how much of what the sockets of a workload moved was read, and why not the rest.

use std::collections::BTreeMap;

use foldhash::HashMap;

use super::class::Class;
use super::fate::{Fate, Fates};

/// Workloads counted at a time. The bytes of more count under [`OTHERS`].
pub const WORKLOADS_MAX: usize = 1024;
/// Name of all workloads beyond the limit. No workload has it: names have no parentheses around them.
pub const OTHERS: &str = "(others)";

/// Name under which the programs' own counts go, which know no workload.
pub const NODE: &str = "(node)";

/// What went by in a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections. One that changes its class counts in each.
    pub connections: u64,
    /// Bytes that their sockets moved, as the kernel says. Of [`Class::Http`] and [`Class::Other`] these are those that have a fate.
    pub wire_bytes: u64,
    /// What became of what was said: of [`Class::Decrypted`] the plaintext.
    pub fates: Fates,
}

impl Tally {
    fn merge(&mut self, other: &Self) {
        self.connections = self.connections.saturating_add(other.connections);
        self.wire_bytes = self.wire_bytes.saturating_add(other.wire_bytes);
        self.fates.merge(&other.fates);
    }
}

/// What a workload moved, by class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account(BTreeMap<Class, Tally>);

impl Account {
    fn class(&mut self, class: Class) -> &mut Tally {
        self.0.entry(class).or_default()
    }

    fn merge(&mut self, other: &Self) {
        for (class, tally) in other.iter() {
            self.class(class).merge(tally);
        }
    }

    /// By class.
    pub fn iter(&self) -> impl Iterator<Item = (Class, &Tally)> {
        self.0.iter().map(|(class, tally)| (*class, tally))
    }

    /// What was said, of all classes.
    #[must_use]
    pub fn fates(&self) -> Fates {
        let mut fates = Fates::default();
        self.0.values().for_each(|tally| fates.merge(&tally.fates));
        fates
    }
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Coverage {
    /// Since the last take.
    fresh: HashMap<String, Account>,
    /// Before that.
    earlier: HashMap<String, Account>,
    folded_bytes: u64,
    unseen_bytes: u64,
}

/// Where a workload counts, and whether that is with others.
fn account<'a>(accounts: &'a mut HashMap<String, Account>, workload: &str) -> (&'a mut Account, bool) {
    let known = accounts.contains_key(workload);
    let room = known || accounts.len() - usize::from(accounts.contains_key(OTHERS)) < WORKLOADS_MAX;
    let name = if room { workload } else { OTHERS };
    (accounts.entry(name.to_owned()).or_default(), !room)
}

impl Coverage {
    /// Changes what is counted of a workload's class, by so many bytes.
    fn change(&mut self, workload: &str, class: Class, bytes: u64, change: impl FnOnce(&mut Tally)) {
        if let Some(account) = self.fresh.get_mut(workload) {
            change(account.class(class));
            return;
        }
        let (account, folded) = account(&mut self.fresh, workload);
        change(account.class(class));
        if folded {
            self.folded_bytes = self.folded_bytes.saturating_add(bytes);
        }
    }

    /// Where the bytes of a workload are counted.
    pub const fn of<'a>(&'a mut self, workload: &'a str, class: Class) -> Row<'a> {
        Row {
            coverage: self,
            workload,
            class,
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
    pub fn take(&mut self) -> Vec<(String, Account)> {
        let mut taken: Vec<_> = self.fresh.drain().collect();
        taken.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for (workload, counted) in &taken {
            account(&mut self.earlier, workload).0.merge(counted);
        }
        taken
    }

    /// All that was ever counted, by name.
    pub fn all(&self) -> Vec<(String, Account)> {
        let mut sums = self.earlier.clone();
        for (workload, counted) in &self.fresh {
            account(&mut sums, workload).0.merge(counted);
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
    class: Class,
}

impl Row<'_> {
    /// Counts bytes that were said.
    pub fn add(&mut self, fate: Fate, bytes: u64) {
        if bytes == 0 {
            return;
        }
        if fate == Fate::Unseen {
            self.coverage.unseen_bytes = self.coverage.unseen_bytes.saturating_add(bytes);
        }
        let class = match (self.class, fate) {
            (Class::Http, Fate::OtherProtocol) => Class::Other,
            (class, _) => class,
        };
        let on_socket = if matches!(class, Class::Http | Class::Other) {
            bytes
        } else {
            0
        };
        self.coverage.change(self.workload, class, bytes, |tally| {
            tally.fates.add(fate, bytes);
            tally.wire_bytes = tally.wire_bytes.saturating_add(on_socket);
        });
    }

    /// Counts connections, and bytes that went over their sockets as ciphertext.
    pub fn wire(&mut self, connections: u64, wire_bytes: u64) {
        if connections == 0 && wire_bytes == 0 {
            return;
        }
        self.coverage
            .change(self.workload, self.class, wire_bytes, |tally| {
                tally.connections = tally.connections.saturating_add(connections);
                tally.wire_bytes = tally.wire_bytes.saturating_add(wire_bytes);
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Class = Class::Decrypted { library: "openssl" };

    fn read(bytes: u64) -> Account {
        let mut account = Account::default();
        let tally = account.class(Class::Http);
        tally.fates.add(Fate::Read, bytes);
        tally.wire_bytes = bytes;
        account
    }

    fn add(coverage: &mut Coverage, workload: &str, bytes: u64) {
        coverage.of(workload, Class::Http).add(Fate::Read, bytes);
    }

    #[test]
    fn increments_are_taken_once_and_all_stays() {
        let mut coverage = Coverage::default();
        for (workload, bytes) in [("b", 1), ("a", 2), ("b", 3)] {
            add(&mut coverage, workload, bytes);
        }
        let expect = vec![("a".to_owned(), read(2)), ("b".to_owned(), read(4))];
        assert_eq!(coverage.take(), expect);
        assert_eq!(coverage.take(), []);
        add(&mut coverage, "b", 5);
        assert_eq!(coverage.all()[1], ("b".to_owned(), read(9)));
    }

    #[test]
    fn each_class_has_its_own_bytes_and_no_byte_of_a_socket_two() {
        let mut coverage = Coverage::default();
        let http = &mut coverage.of("shop", Class::Http);
        http.add(Fate::Read, 70);
        http.add(Fate::OtherProtocol, 5);
        http.wire(1, 0);
        // A hundred bytes of plaintext, and what they became on the wire.
        let tls = &mut coverage.of("shop", OPEN);
        tls.add(Fate::Read, 100);
        tls.add(Fate::OtherProtocol, 3);
        tls.wire(1, 160);
        let all = coverage.all();
        let found: Vec<_> = (all[0].1.iter())
            .map(|(class, tally)| {
                (
                    class.name(),
                    tally.connections,
                    tally.wire_bytes,
                    tally.fates.total(),
                )
            })
            .collect();
        let expect = [
            ("http", 1, 70, 70),
            ("tls_decrypted", 1, 160, 103),
            ("other", 0, 5, 5),
        ];
        assert_eq!(found, expect);
        assert_eq!(all[0].1.fates().get(Fate::Read), 170);
    }

    #[test]
    fn more_workloads_than_are_counted_lose_their_name_and_no_byte() {
        let mut coverage = Coverage::default();
        for i in 0..WORKLOADS_MAX + 7 {
            add(&mut coverage, &format!("w{i}"), 1);
        }
        assert_eq!(coverage.folded_bytes(), 7);
        coverage.of("beyond", OPEN).wire(1, 11);
        assert_eq!(coverage.folded_bytes(), 18);
        let taken = coverage.take();
        assert_eq!(taken.len(), WORKLOADS_MAX + 1);
        let (others, account) = &taken[0];
        let wire: u64 = account.iter().map(|(_, tally)| tally.wire_bytes).sum();
        assert_eq!((others.as_str(), wire, account.fates().total()), (OTHERS, 18, 7));
        // Others, in the next batch.
        for i in 0..3 {
            add(&mut coverage, &format!("x{i}"), 1);
        }
        assert_eq!((coverage.take().len(), coverage.folded_bytes()), (3, 18));
        let all = coverage.all();
        assert_eq!(all.len(), WORKLOADS_MAX + 1);
        let bytes: u64 = all.iter().map(|(_, account)| account.fates().total()).sum();
        assert_eq!(bytes, WORKLOADS_MAX as u64 + 10);
    }
}
