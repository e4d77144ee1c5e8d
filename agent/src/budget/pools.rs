//! The rows of one second, divided among the classes.
//!
//! Each class has rows of its own. Rows of errors and rare endpoints that were not needed in the part of the second that has
//! passed go to whoever asks. So the second's total is never exceeded, no share is taken away before its time, and little
//! is left over.

use policy::CallsPolicy;

use super::Class;

/// Microseconds in a second.
const SECOND_US: u64 = 1_000_000;

#[derive(Clone, Debug)]
pub(super) struct Pools {
    /// Rows per second, by class.
    quota: [u32; Class::ALL.len()],
    /// Rows given out in this second, those lent to other classes included.
    used: [u32; Class::ALL.len()],
}

impl Pools {
    pub(super) fn new(rows: u32, policy: &CallsPolicy) -> Self {
        // `as` truncates and saturates: shares are from 0 to 1.
        let part = |share: f64| (f64::from(rows) * share) as u32;
        let errors = part(policy.error_share.get()).min(rows);
        let rare = part(policy.rare_share.get()).min(rows - errors);
        Self {
            quota: [errors, rare, rows - errors - rare],
            used: [0; Class::ALL.len()],
        }
    }

    pub(super) fn next_second(&mut self) {
        self.used = [0; Class::ALL.len()];
    }

    /// Takes a row for a call of `class`, `elapsed_us` into the second; `false` when there is none.
    pub(super) fn take(&mut self, class: Class, elapsed_us: u64) -> bool {
        let own = |class: Class, quota: u32| (class, quota);
        let elapsed = |class: Class, quota: u32| {
            let released = u64::from(quota) * elapsed_us.min(SECOND_US) / SECOND_US;
            (class, u32::try_from(released).unwrap_or(quota))
        };
        let order = [
            own(class, self.quota(class)),
            own(Class::Other, self.quota(Class::Other)),
            elapsed(Class::Rare, self.quota(Class::Rare)),
            elapsed(Class::Error, self.quota(Class::Error)),
        ];
        order
            .into_iter()
            .any(|(class, limit)| match self.used.get_mut(class as usize) {
                Some(used) if *used < limit => {
                    *used += 1;
                    true
                }
                _ => false,
            })
    }

    /// How many rows a class can expect in a second in which the classes ask for `demand`.
    pub(super) fn expected(&self, class: Class, demand: &[u64; Class::ALL.len()]) -> f64 {
        let rows: u64 = self.quota.iter().copied().map(u64::from).sum();
        let others: u64 = Class::ALL
            .into_iter()
            .filter(|&other| other != class)
            .map(|other| {
                demand
                    .get(other as usize)
                    .copied()
                    .unwrap_or(0)
                    .min(u64::from(self.quota(other)))
            })
            .sum();
        rows.saturating_sub(others) as f64
    }

    fn quota(&self, class: Class) -> u32 {
        self.quota.get(class as usize).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use policy::{CallRate, Share};

    use super::*;

    fn pools(rows: u32, errors: f64, rare: f64) -> Pools {
        let policy = CallsPolicy {
            budget: CallRate::PerSecond(rows),
            error_share: Share::new(errors).unwrap(),
            rare_share: Share::new(rare).unwrap(),
        };
        Pools::new(rows, &policy)
    }

    fn takes(pools: &mut Pools, class: Class, elapsed_us: u64) -> usize {
        (0..1000).take_while(|_| pools.take(class, elapsed_us)).count()
    }

    #[test]
    fn a_share_is_kept_for_its_class() {
        let mut pools = pools(10, 0.3, 0.2);
        assert_eq!(takes(&mut pools, Class::Other, 0), 5);
        assert_eq!(takes(&mut pools, Class::Error, 0), 3);
        assert_eq!(takes(&mut pools, Class::Rare, 0), 2);
        pools.next_second();
        assert_eq!(
            takes(&mut pools, Class::Error, 0),
            8,
            "errors may take what others have not"
        );
        assert_eq!(takes(&mut pools, Class::Rare, 0), 2);
    }

    #[test]
    fn what_was_not_needed_is_lent_as_time_passes() {
        let mut pools = pools(10, 0.4, 0.2);
        assert_eq!(takes(&mut pools, Class::Other, 0), 4);
        assert_eq!(takes(&mut pools, Class::Other, 500_000), 3);
        assert_eq!(
            takes(&mut pools, Class::Error, 500_000),
            2,
            "the rest of the second is still theirs"
        );
        assert_eq!(takes(&mut pools, Class::Other, 999_999), 0);
        assert_eq!(takes(&mut pools, Class::Rare, 999_999), 1);
    }

    #[test]
    fn the_whole_is_never_exceeded() {
        for (rows, errors, rare) in [
            (0, 0.3, 0.2),
            (1, 0.3, 0.2),
            (3, 0.5, 0.5),
            (7, 1.0, 0.0),
            (50, 0.3, 0.2),
        ] {
            let mut pools = pools(rows, errors, rare);
            let mut given = 0;
            for step in 0..1000 {
                for class in Class::ALL {
                    given += u32::from(pools.take(class, step * 1000));
                }
            }
            assert_eq!(given, rows, "{rows} {errors} {rare}");
        }
    }
}
