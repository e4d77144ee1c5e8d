use std::collections::BTreeMap;

use policy::Share;
use proptest::prelude::*;

use super::*;

fn policy(budget: CallRate) -> CallsPolicy {
    CallsPolicy {
        budget,
        ..CallsPolicy::default()
    }
}

fn call(endpoint: u64) -> CallClass {
    CallClass {
        error: false,
        rare: false,
        endpoint,
    }
}

/// (endpoint or class key, calls per second): evenly spaced, in a fixed order.
struct Traffic<'a> {
    seconds: u64,
    rates: &'a [(CallClass, u64)],
}

/// What was sent of one endpoint.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    calls: u64,
    rows: u64,
    weight: u64,
}

impl Traffic<'_> {
    fn run(&self, budget: &mut CallBudget) -> (BTreeMap<u64, Sent>, Vec<u64>) {
        let mut events: Vec<(u64, CallClass)> = Vec::new();
        for &(class, rate) in self.rates {
            let total = rate * self.seconds;
            events.extend((0..total).map(|n| {
                (
                    n * SECOND_US / rate + mix(class.endpoint) % (SECOND_US / rate).max(1),
                    class,
                )
            }));
        }
        events.sort_by_key(|&(at, class)| (at, class.endpoint));
        let mut sent: BTreeMap<u64, Sent> = BTreeMap::new();
        let mut rows = vec![0; self.seconds as usize + 2];
        for (at, class) in events {
            let sent = sent.entry(class.endpoint).or_default();
            sent.calls += 1;
            if let Some(weight) = budget.admit(at, class) {
                sent.rows += 1;
                sent.weight += u64::from(weight);
                rows[(at / SECOND_US) as usize] += 1;
            }
        }
        (sent, rows)
    }
}

#[test]
fn unlimited_sends_all_with_weight_zero() {
    let mut budget = CallBudget::new(&policy(CallRate::Unlimited), 1);
    for n in 0..10_000 {
        assert_eq!(budget.admit(0, call(n)), Some(0));
    }
    assert_eq!(
        budget.counts().map(|(_, counts)| counts.sent).sum::<u64>(),
        10_000
    );
}

#[test]
fn nothing_sends_nothing_and_counts() {
    let mut budget = CallBudget::new(&policy(CallRate::PerSecond(0)), 1);
    for class in [
        CallClass {
            error: true,
            rare: true,
            endpoint: 1,
        },
        CallClass {
            error: false,
            rare: true,
            endpoint: 1,
        },
        call(1),
    ] {
        assert_eq!(budget.admit(5, class), None);
    }
    assert!(
        budget
            .counts()
            .all(|(_, counts)| counts == CallCounts { sent: 0, not_sent: 1 })
    );
}

#[test]
fn below_the_budget_every_call_is_sent_as_itself() {
    let mut budget = CallBudget::new(&policy(CallRate::PerSecond(50)), 1);
    let traffic = Traffic {
        seconds: 20,
        rates: &[(call(1), 10), (call(2), 10), (call(3), 2)],
    };
    let (sent, _) = traffic.run(&mut budget);
    for sent in sent.values() {
        assert_eq!((sent.rows, sent.weight), (sent.calls, sent.calls));
    }
}

#[test]
fn at_the_limit_and_one_beyond() {
    let all = CallsPolicy {
        budget: CallRate::PerSecond(8),
        error_share: Share::new(0.0).unwrap(),
        rare_share: Share::new(0.0).unwrap(),
    };
    let mut budget = CallBudget::new(&all, 1);
    for _ in 0..8 {
        assert_eq!(budget.admit(0, call(1)), Some(1));
    }
    assert_eq!(budget.admit(999_999, call(1)), None);
    assert!(budget.admit(1_000_000, call(2)).is_some());
}

#[test]
fn a_hot_endpoint_does_not_starve_others() {
    let mut rates = vec![(call(0), 5000)];
    rates.extend((1..=15).map(|endpoint| (call(endpoint), 2)));
    let mut budget = CallBudget::new(&policy(CallRate::PerSecond(50)), 7);
    let (sent, rows) = Traffic {
        seconds: 60,
        rates: &rates,
    }
    .run(&mut budget);
    assert!(rows.iter().all(|&rows| rows <= 50), "{rows:?}");
    for (endpoint, sent) in sent.iter().filter(|(endpoint, _)| **endpoint != 0) {
        assert!(sent.rows * 10 >= sent.calls * 9, "{endpoint}: {sent:?}");
    }
    assert!(sent[&0].rows >= 60 * 5, "{:?}", sent[&0]);
    for sent in sent.values() {
        let error = (sent.weight as f64 / sent.calls as f64 - 1.0).abs();
        assert!(error < 0.05, "{sent:?}");
    }
}

#[test]
fn equal_endpoints_get_equal_parts() {
    let rates: Vec<_> = (0..20).map(|endpoint| (call(endpoint), 100)).collect();
    let mut budget = CallBudget::new(&policy(CallRate::PerSecond(40)), 3);
    let (sent, _) = Traffic {
        seconds: 100,
        rates: &rates,
    }
    .run(&mut budget);
    let rows: Vec<u64> = sent.values().map(|sent| sent.rows).collect();
    let (least, most) = (rows.iter().min().unwrap(), rows.iter().max().unwrap());
    assert!(*least * 10 >= *most * 8, "{rows:?}");
    assert!(
        rows.iter().sum::<u64>() >= 100 * 40 * 7 / 10,
        "the budget is used: {rows:?}"
    );
}

#[test]
fn errors_and_rare_endpoints_have_their_shares_in_a_storm() {
    let rates = [
        (call(0), 5000),
        (
            CallClass {
                error: true,
                rare: false,
                endpoint: 1,
            },
            10,
        ),
        (
            CallClass {
                error: false,
                rare: true,
                endpoint: 2,
            },
            5,
        ),
    ];
    let mut budget = CallBudget::new(&policy(CallRate::PerSecond(50)), 11);
    let (sent, _) = Traffic {
        seconds: 30,
        rates: &rates,
    }
    .run(&mut budget);
    assert!(sent[&1].rows * 10 >= sent[&1].calls * 9, "{:?}", sent[&1]);
    assert!(sent[&2].rows * 10 >= sent[&2].calls * 9, "{:?}", sent[&2]);
    assert!(sent[&0].rows >= 30 * 20, "{:?}", sent[&0]);
}

#[test]
fn an_error_storm_leaves_ordinary_calls_theirs() {
    let rates = [
        (
            CallClass {
                error: true,
                rare: false,
                endpoint: 1,
            },
            5000,
        ),
        (call(2), 20),
    ];
    let mut budget = CallBudget::new(&policy(CallRate::PerSecond(50)), 11);
    let (sent, _) = Traffic {
        seconds: 30,
        rates: &rates,
    }
    .run(&mut budget);
    assert!(sent[&2].rows * 10 >= sent[&2].calls * 7, "{:?}", sent[&2]);
    assert!(sent[&1].rows >= 30 * 15, "{:?}", sent[&1]);
}

#[test]
fn an_endpoint_that_becomes_quiet_is_still_seen() {
    let mut budget = CallBudget::new(&policy(CallRate::PerSecond(50)), 5);
    Traffic {
        seconds: 10,
        rates: &[(call(1), 20_000)],
    }
    .run(&mut budget);
    let later: Vec<_> = (12..22)
        .map(|second| budget.admit(second * SECOND_US, call(1)))
        .collect();
    assert!(
        later.iter().filter(|weight| weight.is_some()).count() >= 9,
        "{later:?}"
    );
}

/// Sums over sent calls, times their weights, against sums over all calls, for a property that goes with a call's place in
/// a repeating pattern: the worst case for a sampler that picks by order. Averaged over seeds, it must not lean.
#[test]
fn weights_are_unbiased_for_what_calls_are_like() {
    let (mut estimated, mut actual) = (0.0, 0.0);
    for seed in 0..40 {
        let mut budget = CallBudget::new(&policy(CallRate::PerSecond(20)), seed);
        for n in 0..20_000_u64 {
            let slow = n % 10 == 0;
            let value = if slow { 100.0 } else { 10.0 };
            actual += value;
            if let Some(weight) = budget.admit(n * 1000, call(n % 3)) {
                estimated += value * f64::from(weight);
            }
        }
    }
    let lean = estimated / actual - 1.0;
    assert!(lean.abs() < 0.03, "{lean}");
}

#[test]
fn a_clock_that_steps_back_gives_no_second_budget() {
    let mut budget = CallBudget::new(&policy(CallRate::PerSecond(10)), 1);
    let times = [
        10 * SECOND_US,
        9 * SECOND_US,
        10 * SECOND_US + 1,
        0,
        u64::MAX / 2,
        3,
    ];
    let admitted =
        |budget: &mut CallBudget, at| (0..1000).filter(|_| budget.admit(at, call(1)).is_some()).count();
    let rows: Vec<usize> = times.iter().map(|&at| admitted(&mut budget, at)).collect();
    assert!(rows[0] + rows[1] + rows[2] + rows[3] <= 10, "{rows:?}");
    assert!(rows[4] + rows[5] <= 10, "{rows:?}");
}

#[test]
fn a_new_policy_keeps_the_sums() {
    let mut budget = CallBudget::new(&policy(CallRate::Unlimited), 1);
    budget.admit(0, call(1));
    budget.set_policy(&policy(CallRate::PerSecond(0)), 1);
    budget.admit(0, call(1));
    budget.set_policy(&policy(CallRate::PerSecond(0)), 2);
    assert_eq!(
        budget.counts().last().unwrap().1,
        CallCounts { sent: 1, not_sent: 1 }
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the traffic: the cap holds in every second, every call is counted, the same seed gives the same rows.
    #[test]
    fn laws(
        rows in 0_u32..40,
        seed in any::<u64>(),
        calls in prop::collection::vec((0_u64..400_000, any::<bool>(), any::<bool>(), 0_u64..5000), 1..600),
    ) {
        let run = || {
            let mut budget = CallBudget::new(&policy(CallRate::PerSecond(rows)), seed);
            let mut now = 0;
            let mut log = Vec::new();
            for &(step, error, rare, endpoint) in &calls {
                now += step / 20;
                log.push((now, budget.admit(now, CallClass { error, rare, endpoint })));
            }
            (log, budget.counts().collect::<Vec<_>>())
        };
        let (log, counts) = run();
        prop_assert_eq!((&log, &counts), (&run().0, &run().1));
        let mut per_second: BTreeMap<u64, u32> = BTreeMap::new();
        for (at, weight) in &log {
            if let Some(weight) = weight {
                prop_assert!(*weight >= 1);
                *per_second.entry(at / SECOND_US).or_default() += 1;
            }
        }
        prop_assert!(per_second.values().all(|&sent| sent <= rows));
        let counted: u64 = counts.iter().map(|(_, counts)| counts.sent + counts.not_sent).sum();
        prop_assert_eq!(counted, calls.len() as u64);
    }

    /// For traffic that goes on, the weights add up to the calls.
    #[test]
    fn weights_add_up(seed in any::<u64>(), rows in 10_u32..100, rates in prop::collection::vec(1_u64..500, 1..8)) {
        let rates: Vec<_> = rates.iter().enumerate().map(|(n, &rate)| (call(n as u64), rate)).collect();
        let mut budget = CallBudget::new(&policy(CallRate::PerSecond(rows)), seed);
        let (sent, _) = Traffic { seconds: 40, rates: &rates }.run(&mut budget);
        let (calls, weight) = sent.values().fold((0, 0), |(c, w), sent| (c + sent.calls, w + sent.weight));
        let error = (weight as f64 / calls as f64 - 1.0).abs();
        prop_assert!(error < 0.1, "{} of {}", weight, calls);
    }
}
