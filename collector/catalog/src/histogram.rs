//! Base-2 exponential histogram of unsigned values, exact under merge.
//!
//! Bucket `i` at shift `k` holds the values in `[b^i, b^(i+1))` with `b = 2^(2^k / 16)`. Every histogram starts at shift 0 and
//! is coarsened (neighbours pair up, `i >> 1`) only when its values span more than [`BUCKETS_MAX`] buckets. The shift is
//! the smallest one at which the whole range fits, a function of the least and greatest bucket alone, so merging is
//! commutative and associative and never depends on the order of arrival. Bucket bounds are integers, so that every
//! machine puts a value into the same bucket.

use crate::Merge;

/// Most buckets of one histogram.
pub const BUCKETS_MAX: usize = 160;

/// Largest shift that can be needed: 64 octaves of 16 buckets, shifted by 3, are 128 buckets.
pub const SHIFT_MAX: u8 = 3;

const PER_OCTAVE: u32 = 16;

/// `ceil(2^63 * 2^(i/16))`: least normalised mantissa of each sixteenth of an octave.
const SIXTEENTHS: [u64; 16] = [
    0x8000_0000_0000_0000,
    0x85aa_c367_cc48_7b15,
    0x8b95_c1e3_ea8b_d6e7,
    0x91c3_d373_ab11_c337,
    0x9837_f051_8db8_a970,
    0x9ef5_3260_91a1_11ae,
    0xa5fe_d6a9_b151_38eb,
    0xad58_3eea_42a1_4ac7,
    0xb504_f333_f9de_6485,
    0xbd08_a39f_580c_36bf,
    0xc567_2a11_5506_dade,
    0xce24_8c15_1f84_80e4,
    0xd744_fcca_d69d_6af5,
    0xe0cc_deec_2a94_e112,
    0xeac0_c6e7_dd24_392f,
    0xf525_7d15_2486_cc2d,
];

/// Distribution of a `u64` quantity (microseconds, bytes). Counts and sum saturate instead of wrapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpHistogram {
    pub(crate) shift: u8,
    /// Index of `buckets[0]` at `shift`.
    pub(crate) low: u16,
    /// First and last are never zero.
    pub(crate) buckets: Vec<u64>,
    pub(crate) zeros: u64,
    pub(crate) sum: u64,
    pub(crate) min: u64,
    pub(crate) max: u64,
}

/// Bucket of `value` at shift 0; `value` is not zero. At most 1023.
fn index_of(value: u64) -> u16 {
    let zeros = value.leading_zeros();
    let mantissa = value << zeros;
    // log2(1 + x) ≥ x, so the linear position is a lower bound, off by at most two.
    let mut sixteenth = (mantissa >> 59) & 15;
    while SIXTEENTHS
        .get(sixteenth as usize + 1)
        .is_some_and(|bound| *bound <= mantissa)
    {
        sixteenth += 1;
    }
    ((63 - zeros) * PER_OCTAVE) as u16 + sixteenth as u16
}

impl ExpHistogram {
    /// Counts `value` `weight` times.
    pub fn record(&mut self, value: u64, weight: u64) {
        if weight == 0 {
            return;
        }
        if self.is_empty() {
            (self.min, self.max) = (value, value);
        } else {
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        }
        self.sum = self.sum.saturating_add(value.saturating_mul(weight));
        if value == 0 {
            self.zeros = self.zeros.saturating_add(weight);
        } else {
            self.add(index_of(value), 0, weight);
        }
    }

    /// Adds to bucket `index` of `shift`, coarsening first when it would not fit.
    fn add(&mut self, index: u16, shift: u8, weight: u64) {
        let mut at = index >> self.shift.saturating_sub(shift);
        if self.buckets.is_empty() {
            self.low = at;
            self.buckets.push(weight);
            return;
        }
        loop {
            let high = self.low + (self.buckets.len() - 1) as u16;
            if usize::from(high.max(at) - self.low.min(at)) < BUCKETS_MAX {
                break;
            }
            self.coarsen();
            at >>= 1;
        }
        if at < self.low {
            let grow = usize::from(self.low - at);
            self.buckets.splice(0..0, std::iter::repeat_n(0, grow));
            self.low = at;
        }
        let slot = usize::from(at - self.low);
        if slot >= self.buckets.len() {
            self.buckets.resize(slot + 1, 0);
        }
        if let Some(bucket) = self.buckets.get_mut(slot) {
            *bucket = bucket.saturating_add(weight);
        }
    }

    fn coarsen(&mut self) {
        let (low, shift) = (self.low >> 1, self.shift + 1);
        let high = (self.low + (self.buckets.len().max(1) - 1) as u16) >> 1;
        let mut paired = vec![0u64; usize::from(high - low) + 1];
        for (offset, count) in self.buckets.iter().enumerate() {
            let slot = usize::from(((self.low + offset as u16) >> 1) - low);
            if let Some(bucket) = paired.get_mut(slot) {
                *bucket = bucket.saturating_add(*count);
            }
        }
        (self.low, self.shift, self.buckets) = (low, shift, paired);
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.zeros == 0 && self.buckets.is_empty()
    }

    /// Number of values recorded.
    pub fn count(&self) -> u64 {
        self.buckets
            .iter()
            .fold(self.zeros, |sum, count| sum.saturating_add(*count))
    }

    /// Sum of the values recorded.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Least value recorded, exact.
    pub fn min(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.min)
    }

    /// Greatest value recorded, exact.
    pub fn max(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.max)
    }

    /// Arithmetic mean.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum as f64 / count as f64)
    }

    /// The value at `quantile` (0 to 1, clamped): the geometric middle of the bucket that holds the value of rank
    /// `ceil(quantile * count)`, limited to the exact minimum and maximum. Off from that value by at most
    /// [`Self::relative_error`], and half a unit of rounding.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((quantile.clamp(0.0, 1.0) * count as f64).ceil() as u64).clamp(1, count);
        let mut seen = self.zeros;
        if rank <= seen {
            return Some(0);
        }
        let width = f64::from(1u32 << self.shift) / f64::from(PER_OCTAVE);
        for (offset, bucket) in self.buckets.iter().enumerate() {
            seen = seen.saturating_add(*bucket);
            if rank <= seen {
                let middle = ((f64::from(self.low) + offset as f64 + 0.5) * width)
                    .exp2()
                    .round();
                return Some((middle as u64).clamp(self.min.max(1), self.max));
            }
        }
        Some(self.max)
    }

    /// Bound on the relative error of [`Self::quantile`]: 2.2 % while the values span less than a factor of about 1,000,
    /// 4.4 % up to a factor of 10^6, 9.1 % up to 10^12, 18.9 % beyond.
    pub fn relative_error(&self) -> f64 {
        let width = f64::from(1u32 << self.shift) / f64::from(PER_OCTAVE);
        (width / 2.0).exp2() - 1.0
    }

    /// The buckets that hold values, in ascending order: least value of the bucket, count. Zero is a bucket of its own.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let zeros = (self.zeros > 0).then_some((0, self.zeros));
        let low = u32::from(self.low);
        let filled = self
            .buckets
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(move |(offset, count)| {
                let fine = (low + offset as u32) << self.shift;
                let mantissa = SIXTEENTHS
                    .get((fine % PER_OCTAVE) as usize)
                    .copied()
                    .unwrap_or(u64::MAX);
                let drop = 63 - (fine / PER_OCTAVE).min(63);
                let bound = mantissa >> drop;
                (bound + u64::from(drop > 0 && bound << drop != mantissa), *count)
            });
        zeros.into_iter().chain(filled)
    }
}

impl Merge for ExpHistogram {
    fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        if self.is_empty() {
            *self = other.clone();
            return;
        }
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum = self.sum.saturating_add(other.sum);
        self.zeros = self.zeros.saturating_add(other.zeros);
        if other.buckets.is_empty() {
            return;
        }
        if self.buckets.is_empty() {
            (self.shift, self.low, self.buckets) = (other.shift, other.low, other.buckets.clone());
            return;
        }
        while self.shift < other.shift {
            self.coarsen();
        }
        // The far ends first: afterwards the shift is final and nothing in between can move it.
        let last = other.buckets.len() - 1;
        for offset in std::iter::once(last).chain(0..last) {
            let count = other.buckets.get(offset).copied().unwrap_or(0);
            if count > 0 {
                self.add(other.low + offset as u16, other.shift, count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[(u64, u64)]) -> ExpHistogram {
        let mut histogram = ExpHistogram::default();
        for (value, weight) in values {
            histogram.record(*value, *weight);
        }
        histogram
    }

    fn value() -> impl Strategy<Value = u64> {
        prop_oneof![
            Just(0),
            Just(1),
            Just(u64::MAX),
            0u64..2000,
            any::<u64>(),
            (0u32..64).prop_map(|bit| 1 << bit)
        ]
    }

    fn values() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((value(), prop_oneof![0u64..5, Just(u64::MAX)]), 0..60)
    }

    #[test]
    fn every_power_and_its_neighbours_are_in_ascending_buckets() {
        let mut previous = 0;
        for bit in 0..64u32 {
            let index = index_of(1 << bit);
            assert_eq!(u32::from(index), bit * PER_OCTAVE);
            if bit > 0 {
                assert!(index_of((1 << bit) - 1) < index && index_of((1 << bit) - 1) >= previous);
            }
            previous = index;
        }
        assert_eq!(index_of(u64::MAX), 1023);
    }

    #[test]
    fn whole_range_stays_bounded() {
        let mut histogram = ExpHistogram::default();
        for bit in 0..64 {
            histogram.record(1 << bit, 1);
            histogram.record(u64::MAX >> bit, 1);
        }
        assert!(histogram.buckets.len() <= BUCKETS_MAX);
        assert_eq!(histogram.shift, SHIFT_MAX);
        assert_eq!(histogram.count(), 128);
    }

    #[test]
    fn exactly_at_the_bucket_limit_nothing_is_coarsened() {
        // Bucket 0 and bucket 159: 160 buckets. Bucket 160 is one more.
        let last = |index: u64| (2f64.powf(index as f64 / 16.0)).ceil() as u64;
        assert_eq!(of(&[(1, 1), (last(159), 1)]).shift, 0);
        assert_eq!(of(&[(1, 1), (last(160), 1)]).shift, 1);
    }

    proptest! {
        #[test]
        fn merge_laws(a in values(), b in values(), c in values()) {
            let (x, y, z) = (of(&a), of(&b), of(&c));
            let merged = |p: &ExpHistogram, q: &ExpHistogram| { let mut r = p.clone(); r.merge(q); r };
            prop_assert_eq!(merged(&x, &y), merged(&y, &x));
            prop_assert_eq!(merged(&merged(&x, &y), &z), merged(&x, &merged(&y, &z)));
            prop_assert_eq!(merged(&x, &ExpHistogram::default()), x.clone());
            prop_assert_eq!(merged(&ExpHistogram::default(), &x), x.clone());
            let all: Vec<_> = a.iter().chain(&b).copied().collect();
            prop_assert_eq!(merged(&x, &y), of(&all));
        }

        #[test]
        fn quantiles_keep_their_bound(mut data in prop::collection::vec(value(), 1..200), q in 0.0f64..=1.0) {
            let histogram = of(&data.iter().map(|v| (*v, 1)).collect::<Vec<_>>());
            data.sort_unstable();
            let rank = ((q * data.len() as f64).ceil() as usize).clamp(1, data.len());
            let exact = data[rank - 1] as f64;
            let got = histogram.quantile(q).unwrap() as f64;
            prop_assert!((got - exact).abs() <= exact * (histogram.relative_error() + 1e-9) + 0.5,
                "{} is not {} within {}", got, exact, histogram.relative_error());
        }

        #[test]
        fn values_lie_in_their_bucket(v in 1u64..) {
            let bound = of(&[(v, 1)]).buckets().next().unwrap().0;
            prop_assert!(bound <= v && index_of(bound) == index_of(v));
        }
    }
}
