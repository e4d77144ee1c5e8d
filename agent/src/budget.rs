//! Which calls travel: the budget of call rows per second.
//!
//! Invariants: never more rows in a second than the policy allows; errors and rare endpoints get their shares; among the
//! rest, and within each class, every endpoint gets as much as the busiest ones leave it, so that no endpoint starves
//! another; the weights of the calls sent add up to the calls that were made. Memory does not grow with anything. No clock
//! and no source of chance but the seed: the same calls at the same times give the same answer.

mod pools;
mod random;
mod stratum;
#[cfg(test)]
mod tests;

use policy::{CallRate, CallsPolicy};

use pools::Pools;
use random::{Random, mix};
use stratum::Stratum;

/// Places for endpoints in each class. Endpoints beyond share places.
pub const STRATA: usize = 1024;

/// Microseconds in a second.
const SECOND_US: u64 = 1_000_000;

/// Part of its rows that a class in need plans with. Picks come at random, and what finds no row left waits for the next
/// pick of its endpoint; planning with the whole would make that happen to the calls at the end of every second.
const PLANNED: f64 = 0.9;

/// What the budget wants to know of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallClass {
    /// It failed.
    pub error: bool,
    /// Its endpoint is rarely called.
    pub rare: bool,
    /// Hash of its endpoint.
    pub endpoint: u64,
}

/// The classes that rows are divided among.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Failed, of whatever endpoint.
    Error,
    /// Succeeded, of a rarely called endpoint.
    Rare,
    /// All else.
    Other,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Error, Self::Rare, Self::Other];

    /// Its name in metrics and in the agent's status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Rare => "rare",
            Self::Other => "other",
        }
    }
}

impl From<CallClass> for Class {
    fn from(call: CallClass) -> Self {
        match call {
            CallClass { error: true, .. } => Self::Error,
            CallClass { rare: true, .. } => Self::Rare,
            _ => Self::Other,
        }
    }
}

/// Calls sent and not sent of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Rows that travel.
    pub sent: u64,
    /// Calls that only counters know of.
    pub not_sent: u64,
}

/// See the module's description.
#[derive(Clone, Debug)]
pub struct CallBudget {
    policy: CallsPolicy,
    /// `None`: unlimited.
    limits: Option<Limits>,
    counts: [CallCounts; Class::ALL.len()],
}

#[derive(Clone, Debug)]
struct Limits {
    pools: Pools,
    random: Random,
    /// Number of the second that is running; `None` before the first call.
    second: Option<u64>,
    classes: [ClassState; Class::ALL.len()],
}

#[derive(Clone, Debug)]
struct ClassState {
    strata: Box<[Stratum]>,
    fair: FairShare,
}

/// How many rows a second an endpoint may have.
#[derive(Clone, Copy, Debug)]
enum FairShare {
    /// The class asks for less than it may have: each endpoint what it had, and what is left over on top.
    Spare(f64),
    /// It asks for more: each at most so many.
    Level(f64),
}

impl FairShare {
    fn allowance(self, stratum: &Stratum) -> f64 {
        match self {
            Self::Spare(spare) => f64::from(stratum.demand) + spare,
            Self::Level(level) => level,
        }
    }
}

impl CallBudget {
    /// Starts with nothing known of the traffic. `seed` decides which calls are picked.
    #[must_use]
    pub fn new(policy: &CallsPolicy, seed: u64) -> Self {
        let limits = match policy.budget {
            CallRate::Unlimited => None,
            CallRate::PerSecond(rows) => Some(Limits::new(rows, policy, seed)),
        };
        Self {
            policy: *policy,
            limits,
            counts: Default::default(),
        }
    }

    /// A newer policy. Sums go on; what is known of the traffic too, unless the budget changed.
    pub fn set_policy(&mut self, policy: &CallsPolicy, seed: u64) {
        if self.policy != *policy {
            let counts = self.counts;
            *self = Self {
                counts,
                ..Self::new(policy, seed)
            };
        }
    }

    /// Decides on a call at `now_us` (microseconds on any clock; one that steps back is taken to stand still). `Some` when
    /// it is to be sent, with the weight for its row: 0 without a limit, else the number of calls of its class and endpoint
    /// that it stands for, itself included.
    pub fn admit(&mut self, now_us: u64, call: CallClass) -> Option<u32> {
        let class = Class::from(call);
        let weight = match &mut self.limits {
            None => Some(0),
            Some(limits) => limits.admit(now_us, class, call.endpoint),
        };
        if let Some(counts) = self.counts.get_mut(class as usize) {
            match weight {
                Some(_) => counts.sent += 1,
                None => counts.not_sent += 1,
            }
        }
        weight
    }

    /// Sums since the start.
    pub fn counts(&self) -> impl Iterator<Item = (Class, CallCounts)> + '_ {
        Class::ALL.into_iter().zip(self.counts)
    }
}

impl Limits {
    fn new(rows: u32, policy: &CallsPolicy, seed: u64) -> Self {
        let pools = Pools::new(rows, policy);
        let classes = Class::ALL.map(|class| ClassState {
            strata: vec![Stratum::default(); STRATA].into_boxed_slice(),
            fair: FairShare::Spare(pools.expected(class, &[0; Class::ALL.len()])),
        });
        Self {
            pools,
            random: Random::new(seed),
            second: None,
            classes,
        }
    }

    fn admit(&mut self, now_us: u64, class: Class, endpoint: u64) -> Option<u32> {
        let now_us = self.turn(now_us);
        let Self {
            pools,
            random,
            classes,
            ..
        } = self;
        let ClassState { strata, fair } = classes.get_mut(class as usize)?;
        let place = usize::try_from(mix(endpoint) % STRATA as u64).ok()?;
        let stratum = strata.get_mut(place)?;
        let weight = stratum.offer(fair.allowance(stratum), random)?;
        if pools.take(class, now_us % SECOND_US) {
            stratum.sent();
            Some(weight)
        } else {
            stratum.put_off();
            None
        }
    }

    /// Begins a new second where it is time. Gives the time that counts: never before what it gave last.
    fn turn(&mut self, now_us: u64) -> u64 {
        let now_second = now_us / SECOND_US;
        match self.second {
            Some(second) if now_second == second => now_us,
            Some(second) if now_second < second => second * SECOND_US,
            before => {
                self.second = Some(now_second);
                // What was asked for last, and nothing where there was a whole second without a call.
                for _ in 0..before.map_or(0, |before| (now_second - before).min(2)) {
                    self.next_second();
                }
                now_us
            }
        }
    }

    fn next_second(&mut self) {
        self.pools.next_second();
        for stratum in self.classes.iter_mut().flat_map(|class| class.strata.iter_mut()) {
            stratum.next_second();
        }
        let demand = Class::ALL.map(|class| {
            let strata = self.classes.get(class as usize).map(|state| &state.strata);
            strata
                .into_iter()
                .flatten()
                .map(|stratum| u64::from(stratum.demand))
                .sum::<u64>()
        });
        for (class, state) in Class::ALL.into_iter().zip(&mut self.classes) {
            state.fair = fair_share(&state.strata, self.pools.expected(class, &demand));
            for stratum in &mut state.strata {
                stratum.shorten(state.fair.allowance(stratum));
            }
        }
    }
}

/// The largest level at which endpoints, each getting its demand or the level, whichever is less, ask for what is planned.
fn fair_share(strata: &[Stratum], rows: f64) -> FairShare {
    let mut demands: Vec<u32> = strata
        .iter()
        .map(|stratum| stratum.demand)
        .filter(|&demand| demand > 0)
        .collect();
    let total: f64 = demands.iter().copied().map(f64::from).sum();
    if total <= rows {
        return FairShare::Spare(rows - total);
    }
    demands.sort_unstable();
    let mut left = rows * PLANNED;
    let mut level = 0.0;
    for (served, &demand) in demands.iter().enumerate() {
        level = left / (demands.len() - served) as f64;
        if f64::from(demand) >= level {
            break;
        }
        left -= f64::from(demand);
    }
    FairShare::Level(level)
}
