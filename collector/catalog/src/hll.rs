//! HyperLogLog: how many distinct clients, in at most 4 KiB.
//!
//! 2^12 registers; the standard error is 1.04 / 64 = 1.6 %. Few entries are kept as a sorted list, many as an array; which of the
//! two is a function of the number of registers in use, so equal sketches are equal in memory and when encoded.
//! Merging takes the maximum of each register: commutative, associative and idempotent.

use crate::Merge;

/// Number of index bits.
pub const PRECISION: u32 = 12;

/// Number of registers.
pub const REGISTERS: usize = 1 << PRECISION;

/// Registers in use up to which the sketch is a list (4 bytes each) instead of an array (1 byte for each register).
pub const SPARSE_MAX: usize = REGISTERS / 8;

/// Greatest value of a register: 52 hash bits after the index may all be zero.
pub const RANK_MAX: u8 = (64 - PRECISION + 1) as u8;

/// A set of 64-bit hashes of which only the cardinality can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HyperLogLog(Registers);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Registers {
    /// `index << 8 | rank`, ascending, one for each index.
    Sparse(Vec<u32>),
    Dense(Box<[u8; REGISTERS]>),
}

impl Default for HyperLogLog {
    fn default() -> Self {
        Self(Registers::Sparse(Vec::new()))
    }
}

/// Finaliser of MurmurHash3: callers' hashes need not be uniform in all bits.
fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

impl HyperLogLog {
    /// Adds an element by its hash.
    pub fn insert(&mut self, hash: u64) {
        let hash = mix(hash);
        let index = (hash >> (64 - PRECISION)) as u16;
        let rank = ((hash << PRECISION).leading_zeros() + 1).min(u32::from(RANK_MAX)) as u8;
        self.raise(index, rank);
    }

    /// Raises a register to at least `rank` (1 to [`RANK_MAX`]); `index` is below [`REGISTERS`].
    pub(crate) fn raise(&mut self, index: u16, rank: u8) {
        match &mut self.0 {
            Registers::Sparse(list) => {
                let entry = u32::from(index) << 8 | u32::from(rank);
                match list.binary_search_by_key(&u32::from(index), |entry| *entry >> 8) {
                    Ok(at) => {
                        if let Some(old) = list.get_mut(at) {
                            *old = entry.max(*old);
                        }
                    }
                    Err(at) => {
                        list.insert(at, entry);
                        if list.len() > SPARSE_MAX {
                            let mut dense = Box::new([0u8; REGISTERS]);
                            for entry in list.iter() {
                                if let Some(register) = dense.get_mut((*entry >> 8) as usize) {
                                    *register = *entry as u8;
                                }
                            }
                            self.0 = Registers::Dense(dense);
                        }
                    }
                }
            }
            Registers::Dense(dense) => {
                if let Some(register) = dense.get_mut(usize::from(index)) {
                    *register = rank.max(*register);
                }
            }
        }
    }

    /// Registers in use, ascending: index and rank.
    pub(crate) fn registers(&self) -> impl Iterator<Item = (u16, u8)> + '_ {
        let (sparse, dense): (&[u32], &[u8]) = match &self.0 {
            Registers::Sparse(list) => (list, &[]),
            Registers::Dense(dense) => (&[], dense.as_slice()),
        };
        let dense = dense
            .iter()
            .enumerate()
            .filter(|(_, rank)| **rank > 0)
            .map(|(i, rank)| (i as u16, *rank));
        sparse
            .iter()
            .map(|entry| ((*entry >> 8) as u16, *entry as u8))
            .chain(dense)
    }

    /// Whether nothing was ever inserted.
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Registers::Sparse(list) if list.is_empty())
    }

    /// Estimated number of distinct hashes inserted, by Ertl's improved estimator ("New cardinality estimation
    /// algorithms for HyperLogLog sketches", 2017, algorithm 6), which needs no tables of bias.
    pub fn estimate(&self) -> u64 {
        let mut histogram = [0u32; RANK_MAX as usize + 1];
        let mut used = 0u32;
        for (_, rank) in self.registers() {
            used += 1;
            if let Some(count) = histogram.get_mut(usize::from(rank)) {
                *count += 1;
            }
        }
        if used == 0 {
            return 0;
        }
        let m = REGISTERS as f64;
        let (ranks, top) = histogram.split_at(usize::from(RANK_MAX));
        let saturated = top.first().copied().map_or(0.0, f64::from);
        let mut z = m * tau(1.0 - saturated / m);
        for count in ranks.iter().skip(1).rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += m * sigma((m - f64::from(used)) / m);
        let alpha = 0.5 / std::f64::consts::LN_2;
        (alpha * m * m / z).round() as u64
    }
}

/// Contribution of the empty registers.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let previous = z;
        z += x * y;
        y += y;
        if z == previous {
            return z;
        }
    }
}

/// Contribution of the saturated registers.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let previous = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == previous {
            return z / 3.0;
        }
    }
}

impl Merge for HyperLogLog {
    fn merge(&mut self, other: &Self) {
        if self.is_empty() {
            self.0 = other.0.clone();
            return;
        }
        if let (Registers::Dense(mine), Registers::Dense(theirs)) = (&mut self.0, &other.0) {
            for (register, rank) in mine.iter_mut().zip(theirs.iter()) {
                *register = (*rank).max(*register);
            }
            return;
        }
        for (index, rank) in other.registers() {
            self.raise(index, rank);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(hashes: &[u64]) -> HyperLogLog {
        let mut sketch = HyperLogLog::default();
        for hash in hashes {
            sketch.insert(*hash);
        }
        sketch
    }

    #[test]
    fn estimates_are_within_four_standard_errors() {
        for (count, seed) in [
            (0u64, 1u64),
            (1, 2),
            (2, 3),
            (10, 4),
            (100, 5),
            (512, 6),
            (700, 7),
            (5_000, 8),
            (100_000, 9),
            (1_000_000, 10),
        ] {
            let mut sketch = HyperLogLog::default();
            for element in 0..count {
                sketch.insert(
                    element
                        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                        .wrapping_add(seed << 40),
                );
            }
            let error = (sketch.estimate() as f64 - count as f64).abs();
            assert!(
                error <= count as f64 * 4.0 * 1.04 / 64.0 + 0.5,
                "{count}: {}",
                sketch.estimate()
            );
        }
    }

    #[test]
    fn representation_changes_exactly_at_the_limit() {
        let mut sketch = HyperLogLog::default();
        for index in 0..SPARSE_MAX {
            sketch.raise(index as u16 * 7, 1);
        }
        assert!(matches!(sketch.0, Registers::Sparse(_)));
        sketch.raise(4095, 3);
        assert!(matches!(sketch.0, Registers::Dense(_)));
        assert_eq!(sketch.registers().count(), SPARSE_MAX + 1);
    }

    #[test]
    fn saturated_registers_do_not_break_the_estimate() {
        let mut sketch = HyperLogLog::default();
        for index in 0..REGISTERS {
            sketch.raise(index as u16, RANK_MAX);
        }
        assert!(sketch.estimate() > 1 << 50);
    }

    proptest! {
        #[test]
        fn merge_laws(a in prop::collection::vec(any::<u64>(), 0..700), b in prop::collection::vec(any::<u64>(), 0..700),
                      c in prop::collection::vec(0u64..50, 0..60)) {
            let (x, y, z) = (of(&a), of(&b), of(&c));
            let merged = |p: &HyperLogLog, q: &HyperLogLog| { let mut r = p.clone(); r.merge(q); r };
            prop_assert_eq!(merged(&x, &y), merged(&y, &x));
            prop_assert_eq!(merged(&merged(&x, &y), &z), merged(&x, &merged(&y, &z)));
            prop_assert_eq!(merged(&x, &x), x.clone());
            prop_assert_eq!(merged(&x, &HyperLogLog::default()), x.clone());
            prop_assert_eq!(merged(&HyperLogLog::default(), &x), x.clone());
            let all: Vec<_> = a.iter().chain(&b).copied().collect();
            prop_assert_eq!(merged(&x, &y), of(&all));
        }
    }
}
