//! What each provider costs for what happens on a node: the time of all its programs together, whichever of them run.

use std::collections::BTreeMap;

use crate::bench::programs::Runs;
use crate::bench::report::{Cell, Section};
use crate::bench::statistics::Spread;
use crate::bench::traffic::{KINDS, Kind};

/// What one provider's programs did, by kind of traffic.
#[derive(Debug, Default)]
pub struct Costs {
    /// Rounds, by the kind's place in [`KINDS`].
    rounds: BTreeMap<usize, Vec<Runs>>,
    /// What the kernel's statistics say of a program that does nothing, nanoseconds.
    pub empty_ns: f64,
}

impl Costs {
    /// Takes what all programs did in a round of a kind.
    pub fn note(&mut self, kind: usize, runs: Runs) {
        self.rounds.entry(kind).or_default().push(runs);
    }

    /// Nanoseconds an event, net, and how often a program ran for it.
    fn of(&self, kind: usize, events: f64) -> (Option<Spread>, Option<Spread>) {
        let rounds = || self.rounds.get(&kind).into_iter().flatten();
        let net = |runs: &Runs| (runs.nanoseconds as f64 - runs.count as f64 * self.empty_ns) / events;
        (
            Spread::of(rounds().map(net)),
            Spread::of(rounds().map(|runs| runs.count as f64 / events)),
        )
    }
}

/// What a kind's turn is made of: how one of it is called, and how many there are in a turn.
fn events(kind: Kind) -> (&'static str, u64) {
    let transfers = kind.calls.sends + kind.calls.receives;
    match kind.name {
        "connection without data" => ("connection", 1),
        "process start and end" => ("process", 1),
        name if name.starts_with("file") => ("call", 2),
        _ => ("transfer", transfers),
    }
}

/// The providers beside each other.
pub fn section(providers: &[&'static str], costs: &[Costs]) -> Section {
    let mut section = Section {
        name: "hooks, cost of each provider".into(),
        explanation: "Nanoseconds that all programs of a provider together take for a transfer, a call on a file, a connection that \
                      is opened and closed, a process, by the kernel's statistics, net of what an empty program costs: median (least … \
                      most) of the rounds, and how often a program runs for it. What the way to the program costs is not in it."
            .into(),
        columns: ["traffic", "for each"].into_iter().chain(providers.iter().copied()).collect(),
        rows: Vec::new(),
        targets: Vec::new(),
        notes: Vec::new(),
    };
    for (index, kind) in KINDS.into_iter().enumerate() {
        let (event, count) = events(kind);
        let events = (count * kind.turns as u64) as f64;
        let mut row = vec![Cell::from(kind.name), Cell::from(event)];
        row.extend(costs.iter().map(|costs| match costs.of(index, events) {
            (Some(net), Some(runs)) => Cell::Text(format!("{net}; {:.2} runs", runs.median)),
            _ => Cell::None(()),
        }));
        section.rows.push(row);
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_net_and_for_each_event() {
        let mut costs = Costs {
            empty_ns: 50.0,
            ..Costs::default()
        };
        for nanoseconds in [2_500, 4_500, 3_500] {
            costs.note(
                0,
                Runs {
                    count: 10,
                    nanoseconds,
                },
            );
        }
        let (net, runs) = costs.of(0, 5.0);
        let (net, runs) = (net.unwrap(), runs.unwrap());
        assert_eq!((net.median, net.min, net.max), (600.0, 400.0, 800.0));
        assert_eq!(runs.median, 2.0);
        assert_eq!(costs.of(1, 5.0), (None, None));
    }

    #[test]
    fn every_kind_has_events() {
        assert!(KINDS.into_iter().all(|kind| events(kind).1 > 0));
    }
}
