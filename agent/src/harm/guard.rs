//! When a process goes a step down, and when up again. Without I/O; time comes from outside.
//!
//! Down: what capturing added to it was over its budget in two looks one after the other. Up: what it would have added one step higher,
//! by the price of a transfer that was measured there, has stayed clearly below the budget for a while. A process that had to go down
//! again soon after it had come up waits twice as long the next time.

use agent_common::{Account, CHARGE_EVERY};

use super::rung::Rung;

/// Looks over the budget, one after the other, before a step down. One alone may hold what the step before left over.
const OVER_LOOKS: u32 = 2;
/// Part of the budget that the next step up may be expected to take.
const CALM_SHARE: f64 = 0.7;
/// A step down within so long after one up makes the next wait longer, nanoseconds.
const RELAPSE_NS: u64 = 60_000_000_000;
/// How often the wait may double.
const DOUBLINGS_MAX: u32 = 6;
/// Transfers timed in one look that tell what a transfer costs.
const PRICED_MIN: u64 = 8;
/// Part of a new price that is taken over.
const PRICE_WEIGHT: f64 = 0.25;

/// What capturing may add to a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Of the CPU time that the process itself takes.
    pub cpu_share: f64,
    /// Of one core; below, nothing is done.
    pub core_share: f64,
    /// What the hook costs for each transfer before anything is known of the connection, nanoseconds.
    pub hook_ns: f64,
    /// How long the load has to stay low before a step up, nanoseconds.
    pub calm_ns: u64,
}

/// What happened in a process between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Look {
    /// Time of this look, nanoseconds.
    pub now_ns: u64,
    /// Since the look before, nanoseconds; more than 0.
    pub elapsed_ns: u64,
    /// What was charged to it since then.
    pub charged: Account,
    /// CPU time that it took since then, nanoseconds; `None` when that is not known.
    pub cpu_ns: Option<u64>,
}

/// What a look said.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Transfers per second.
    pub transfers: f64,
    /// Nanoseconds per second that capturing added.
    pub added_ns: f64,
    /// Nanoseconds per second that it may.
    pub allowed_ns: f64,
    /// Nanoseconds per second of CPU time.
    pub cpu_ns: Option<f64>,
}

/// That less than everything is captured of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lowering {
    /// Since when, nanoseconds.
    pub since_ns: u64,
    /// Why: what the look said that took it down last.
    pub why: Load,
}

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    rung: Rung,
    /// Not on the first step alone.
    lowering: Option<Lowering>,
    load: Load,
    over: u32,
    calm_since_ns: Option<u64>,
    rose_ns: Option<u64>,
    doublings: u32,
    /// Nanoseconds that a transfer took in the programs on each step.
    prices: [Option<f64>; Rung::ALL.len()],
}

impl Guard {
    /// How much of the process is captured.
    #[must_use]
    pub const fn rung(&self) -> Rung {
        self.rung
    }

    /// Since when less than everything is captured, and why; `None` on the first step.
    #[must_use]
    pub const fn lowering(&self) -> Option<Lowering> {
        self.lowering
    }

    /// What the last look said.
    #[must_use]
    pub const fn load(&self) -> Load {
        self.load
    }

    /// Looks. True when the step has changed.
    pub fn look(&mut self, budget: &Budget, look: &Look) -> bool {
        self.learn(&look.charged);
        self.load = load(budget, look);
        if self.load.added_ns > self.load.allowed_ns {
            self.calm_since_ns = None;
            self.over += 1;
            return self.over >= OVER_LOOKS && self.step_down(look.now_ns);
        }
        self.over = 0;
        let Some(above) = self.rung.above() else {
            return false;
        };
        if self.expected_ns(budget, above) > CALM_SHARE * self.load.allowed_ns {
            self.calm_since_ns = None;
            return false;
        }
        let began_ns = look.now_ns.saturating_sub(look.elapsed_ns);
        let since_ns = *self.calm_since_ns.get_or_insert(began_ns);
        let needed_ns = budget.calm_ns << self.doublings;
        if look.now_ns.saturating_sub(since_ns) < needed_ns {
            return false;
        }
        self.rung = above;
        if above == Rung::Full {
            self.lowering = None;
        }
        self.calm_since_ns = None;
        self.rose_ns = Some(look.now_ns);
        true
    }

    /// Nanoseconds per second that the present transfers would cost on another step. A step that was never measured costs what this one does.
    fn expected_ns(&self, budget: &Budget, rung: Rung) -> f64 {
        let price = |rung: Rung| self.prices.get(rung as usize).copied().flatten();
        let body_ns = price(rung).or_else(|| price(self.rung)).unwrap_or(0.0);
        self.load.transfers * (budget.hook_ns + body_ns)
    }

    fn step_down(&mut self, now_ns: u64) -> bool {
        let Some(below) = self.rung.below() else {
            return false;
        };
        let relapsed = self
            .rose_ns
            .take()
            .is_some_and(|rose_ns| now_ns.saturating_sub(rose_ns) < RELAPSE_NS);
        if relapsed {
            self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX);
        } else if self.rung == Rung::Full {
            self.doublings = 0;
        }
        self.rung = below;
        self.lowering = Some(Lowering {
            since_ns: self.lowering.map_or(now_ns, |before| before.since_ns),
            why: self.load,
        });
        self.over = 0;
        true
    }

    fn learn(&mut self, charged: &Account) {
        if charged.timed < PRICED_MIN {
            return;
        }
        let seen = charged.timed_ns as f64 / charged.timed as f64;
        if let Some(price) = self.prices.get_mut(self.rung as usize) {
            *price = Some(price.map_or(seen, |known| known + (seen - known) * PRICE_WEIGHT));
        }
    }
}

fn load(budget: &Budget, look: &Look) -> Load {
    let seconds = look.elapsed_ns.max(1) as f64 / 1e9;
    let transfers = look.charged.timed as f64 * f64::from(CHARGE_EVERY) / seconds;
    let body_ns = look.charged.timed_ns as f64 * f64::from(CHARGE_EVERY) / seconds;
    let cpu_ns = look.cpu_ns.map(|cpu_ns| cpu_ns as f64 / seconds);
    Load {
        transfers,
        added_ns: body_ns + transfers * budget.hook_ns,
        allowed_ns: (budget.core_share * 1e9).max(budget.cpu_share * cpu_ns.unwrap_or(0.0)),
        cpu_ns,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;
    const CALM_NS: u64 = 10 * SECOND_NS;

    const BUDGET: Budget = Budget {
        cpu_share: 0.1,
        core_share: 0.05,
        hook_ns: 100.0,
        calm_ns: CALM_NS,
    };

    /// A process whose transfers cost `prices` nanoseconds on each step.
    struct Bench {
        guard: Guard,
        prices: [u64; 5],
        now_ns: u64,
    }

    impl Bench {
        fn new(prices: [u64; 5]) -> Self {
            Self {
                guard: Guard::default(),
                prices,
                now_ns: 0,
            }
        }

        /// A second with so many transfers. True when the step has changed.
        fn second(&mut self, transfers: u64, cpu_ns: Option<u64>) -> bool {
            self.now_ns += SECOND_NS;
            let timed = transfers / u64::from(CHARGE_EVERY);
            let look = Look {
                now_ns: self.now_ns,
                elapsed_ns: SECOND_NS,
                charged: Account {
                    timed,
                    timed_ns: timed * self.prices[self.guard.rung() as usize],
                },
                cpu_ns,
            };
            self.guard.look(&BUDGET, &look)
        }

        fn rungs(&mut self, seconds: usize, transfers: u64) -> Vec<Rung> {
            (0..seconds)
                .map(|_| {
                    self.second(transfers, Some(SECOND_NS));
                    self.guard.rung()
                })
                .collect()
        }
    }

    #[test]
    fn a_busy_process_goes_down_step_by_step_until_it_fits() {
        // 200,000 transfers at 900 ns and the hook: a fifth of a core where a tenth is allowed.
        let mut bench = Bench::new([900, 900, 300, 250, 20]);
        use Rung::*;
        assert_eq!(
            bench.rungs(7, 200_000),
            [Full, Headers, Headers, Sampled8, Sampled8, Sampled8, Sampled8]
        );
        let load = bench.guard.load();
        assert!((load.added_ns / 1e9 - 0.08).abs() < 0.001, "{load:?}");
        assert!((load.transfers / 200_000.0 - 1.0).abs() < 0.001, "{load:?}");
        // It stays there: one step higher it would be over again.
        assert!(bench.rungs(100, 200_000).iter().all(|rung| *rung == Sampled8));
        // Down since the second look; the last step was taken for what two looks after that said.
        let lowering = bench.guard.lowering().unwrap();
        assert_eq!(lowering.since_ns, 2 * SECOND_NS);
        assert!((lowering.why.added_ns / 1e9 - 0.2).abs() < 0.001, "{lowering:?}");
    }

    #[test]
    fn one_look_over_the_budget_changes_nothing() {
        let mut bench = Bench::new([900; 5]);
        for _ in 0..10 {
            assert!(!bench.second(400_000, Some(SECOND_NS)));
            assert!(!bench.second(1_000, Some(SECOND_NS)));
        }
    }

    #[test]
    fn nothing_is_below_the_last_step() {
        let mut bench = Bench::new([5_000; 5]);
        let rungs = bench.rungs(20, 200_000);
        assert_eq!(rungs.last(), Some(&Rung::Detached));
        assert!(rungs.is_sorted());
    }

    #[test]
    fn when_it_is_calm_it_comes_back_step_by_step() {
        let mut bench = Bench::new([900, 900, 300, 250, 20]);
        bench.prices = [900, 900, 900, 900, 20];
        bench.rungs(8, 200_000);
        assert_eq!(bench.guard.rung(), Rung::Detached);
        let back = bench.rungs(45, 1_000);
        let changes: Vec<usize> = (1..back.len())
            .filter(|i| back[*i] != back[*i - 1])
            .map(|i| i + 1)
            .collect();
        assert_eq!(changes, [10, 20, 30, 40]);
        assert_eq!(back.last(), Some(&Rung::Full));
    }

    #[test]
    fn no_traffic_at_all_is_calm_also_where_no_cpu_time_is_known() {
        let mut bench = Bench::new([900; 5]);
        bench.rungs(2, 400_000);
        assert_eq!(bench.guard.rung(), Rung::Headers);
        for _ in 0..10 {
            bench.second(0, None);
        }
        assert_eq!(bench.guard.rung(), Rung::Full);
    }

    #[test]
    fn the_larger_of_both_shares_counts() {
        // 0.06 cores added: over a tenth of what the process takes, and over the twentieth of a core.
        let mut idle = Bench::new([900; 5]);
        idle.second(60_000, Some(SECOND_NS / 10));
        assert!(idle.second(60_000, Some(SECOND_NS / 10)));
        // Within a tenth of a whole core.
        let mut busy = Bench::new([900; 5]);
        for _ in 0..10 {
            assert!(!busy.second(60_000, Some(SECOND_NS)));
        }
        // 0.04 cores are never too much.
        let mut small = Bench::new([900; 5]);
        for _ in 0..10 {
            assert!(!small.second(40_000, Some(SECOND_NS / 100)));
        }
    }

    #[test]
    fn who_relapses_waits_longer_each_time() {
        let mut bench = Bench::new([2_000, 300, 300, 300, 20]);
        let mut waits = Vec::new();
        for _ in 0..9 {
            while bench.guard.rung() == Rung::Full {
                bench.second(200_000, Some(SECOND_NS));
            }
            let went_down = bench.now_ns;
            // The load goes, and comes back as soon as everything is captured again.
            while bench.guard.rung() != Rung::Full {
                bench.second(10, Some(SECOND_NS));
            }
            waits.push((bench.now_ns - went_down) / CALM_NS);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        // Long enough in peace, and it is as if nothing had been.
        for _ in 0..120 {
            bench.second(10, Some(SECOND_NS));
        }
        bench.rungs(2, 200_000);
        let went_down = bench.now_ns;
        while bench.guard.rung() != Rung::Full {
            bench.second(10, Some(SECOND_NS));
        }
        assert_eq!((bench.now_ns - went_down) / CALM_NS, 1);
    }

    proptest! {
        /// Whatever the load does, a process moves one step at a time, and never up while it is over its budget.
        #[test]
        fn steps_are_single_and_in_the_right_direction(loads in prop::collection::vec((0_u64..2_000_000, prop::option::of(0..2 * SECOND_NS)), 1..200),
                                                      prices in prop::array::uniform5(0_u64..10_000)) {
            let mut bench = Bench::new(prices);
            for (transfers, cpu_ns) in loads {
                let before = bench.guard.rung();
                let changed = bench.second(transfers, cpu_ns);
                let (after, load) = (bench.guard.rung(), bench.guard.load());
                prop_assert_eq!(changed, before != after);
                prop_assert_eq!(bench.guard.lowering().is_some(), after != Rung::Full);
                if after > before {
                    prop_assert_eq!(before.below(), Some(after));
                    prop_assert!(load.added_ns > load.allowed_ns);
                } else if after < before {
                    prop_assert_eq!(before.above(), Some(after));
                    prop_assert!(load.added_ns <= load.allowed_ns);
                }
            }
        }

        /// A load that does not change ends on one step and stays there.
        #[test]
        fn a_constant_load_finds_its_step(transfers in 0_u64..2_000_000, mut prices in prop::array::uniform5(0_u64..10_000)) {
            prices.sort_unstable_by(|a, b| b.cmp(a));
            let mut bench = Bench::new(prices);
            bench.rungs(20, transfers);
            let rungs = bench.rungs(200, transfers);
            prop_assert!(rungs.windows(2).all(|pair| pair[0] == pair[1]), "{:?}", rungs);
        }
    }
}
