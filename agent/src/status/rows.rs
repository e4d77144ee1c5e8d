//! What all stages counted, as one table: each row says what it means, and whether anything is missing because of it.

use agent_common::Counter;

use super::{CounterRow, Fate};

/// What a limit cut off or folded behind the tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PipelineDrop {
    /// Stage.
    pub stage: &'static str,
    /// What.
    pub name: &'static str,
    /// How often.
    pub events: u64,
    /// One line about it.
    pub meaning: &'static str,
    /// Whether anything is missing because of it.
    pub fate: Fate,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Rows(Vec<CounterRow>);

impl Rows {
    /// What the programs counted.
    pub fn kernel(&mut self, counter: Counter, events: u64, bytes: u64) {
        self.0.push(CounterRow {
            stage: "kernel".to_owned(),
            name: counter.name().to_owned(),
            events,
            bytes,
            meaning: counter.explanation().to_owned(),
            fate: of_kernel(counter),
        });
    }

    /// What a stage of the agent counted: name, value, meaning. A name that ends in `bytes` counts those.
    pub fn stage(&mut self, stage: &str, counters: impl Iterator<Item = (&'static str, u64, &'static str)>) {
        for (name, value, meaning) in counters {
            let (events, bytes) = if name.ends_with("bytes") {
                (0, value)
            } else {
                (value, 0)
            };
            // The bytes of what the row before counted.
            if let Some(counted) = bytes_of(name)
                && let Some(row) = self.0.last_mut().filter(|row| row.name == counted)
            {
                row.bytes = bytes;
                continue;
            }
            self.0.push(CounterRow {
                stage: stage.to_owned(),
                name: name.to_owned(),
                events,
                bytes,
                meaning: phrase(meaning),
                fate: fate(stage, name),
            });
        }
    }

    /// Runs of programs that the kernel left out, and no other program did; at most so many.
    pub fn runs_left_out(&mut self, events: u64) {
        self.0.push(CounterRow {
            stage: "kernel".to_owned(),
            name: "runs_left_out".to_owned(),
            events,
            bytes: 0,
            meaning: "runs that the kernel left out because the program was interrupted at work on that processor: what they would have \
                      told is `unseen`"
                .to_owned(),
            fate: Fate::Lost,
        });
    }

    /// States of connections that had to make room for others.
    pub fn states_evicted(&mut self, events: u64) {
        self.0.push(CounterRow {
            stage: "kernel".to_owned(),
            name: "states_evicted".to_owned(),
            events,
            bytes: 0,
            meaning: "connections that were not used for longest and had to make room (UNIX; TCP with kprobe and at system calls): \
                      one that is used again is joined late. Raise capture.states_max"
                .to_owned(),
            fate: Fate::LeftOut,
        });
    }

    /// What the pipeline cut off or folded.
    pub fn pipeline(&mut self, drops: impl IntoIterator<Item = PipelineDrop>) {
        self.0.extend(drops.into_iter().map(|drop| CounterRow {
            stage: drop.stage.to_owned(),
            name: drop.name.to_owned(),
            events: drop.events,
            bytes: 0,
            meaning: drop.meaning.to_owned(),
            fate: drop.fate,
        }));
    }

    /// The table.
    #[must_use]
    pub fn finish(self) -> Vec<CounterRow> {
        self.0
    }
}

/// The sentence that documents a counter, as the other rows say what they mean.
fn phrase(sentence: &str) -> String {
    let mut letters = sentence.trim_end_matches('.').chars();
    let first = letters.next().map(|first| first.to_lowercase());
    first.into_iter().flatten().chain(letters).collect()
}

fn bytes_of(name: &str) -> Option<&'static str> {
    match name {
        "gap_bytes" => Some("gaps"),
        "left_out_bytes" => Some("left_out"),
        _ => None,
    }
}

fn of_kernel(counter: Counter) -> Fate {
    match counter {
        Counter::Capped | Counter::Skipped | Counter::Filtered | Counter::Lowered => Fate::LeftOut,
        _ if counter.is_loss() => Fate::Lost,
        _ => Fate::Counted,
    }
}

/// Of what the agent's own stages count.
fn fate(stage: &str, name: &str) -> Fate {
    match (stage, name) {
        (
            "tracker",
            "connections_beyond_limit"
            | "chunks_unoriented"
            | "chunks_misplaced"
            | "gaps"
            | "unseen_bytes"
            | "records_invalid",
        )
        | (
            "protocol",
            "responses_without_request"
            | "requests_without_head"
            | "responses_without_head"
            | "requests_without_response"
            | "gaps"
            | "pairings_withdrawn"
            | "heads_too_large"
            | "trailers_too_large"
            | "headers_too_many"
            | "malformed_start_line"
            | "malformed_header"
            | "malformed_chunked"
            | "pipeline_overflow"
            | "held_overflow",
        ) => Fate::Lost,
        (
            "tracker",
            "connections_filtered"
            | "connections_lowered"
            | "connections_evicted"
            | "chunks_untracked"
            | "tls_sockets_evicted"
            | "tls_hellos_untracked",
        )
        | ("protocol", "left_out")
        | (
            "attribution",
            "processes_evicted" | "execs_evicted" | "exits_cut_short" | "cgroups_evicted"
            | "containers_evicted" | "workloads_evicted" | "cgroup_walks_cut",
        )
        | (
            "discovery",
            "processes_beyond_limit"
            | "mappings_beyond_limit"
            | "files_beyond_limit"
            | "libraries_beyond_limit"
            | "libraries_failed"
            | "files_served"
            | "files_refused"
            | "files_mismatched"
            | "maps_cut"
            | "departed_cut_short",
        )
        | ("harm", "steps_refused" | "accounts_evicted") => Fate::LeftOut,
        _ => Fate::Counted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution;
    use crate::decay;
    use crate::harm;
    use crate::tls;
    use crate::tracker;

    fn table() -> Vec<CounterRow> {
        let mut rows = Rows::default();
        for counter in Counter::ALL {
            rows.kernel(counter, 1, 2);
        }
        let tracker = tracker::Counters {
            gaps: 3,
            gap_bytes: 400,
            bytes: 5,
            ..tracker::Counters::default()
        };
        rows.stage("tracker", tracker.explained());
        let protocol = protocol::Counters {
            gaps: 1,
            gap_bytes: 10,
            left_out: 6,
            left_out_bytes: 7000,
            ..protocol::Counters::default()
        };
        rows.stage("protocol", protocol.explained());
        rows.stage("attribution", attribution::Counters::default().explained());
        rows.stage("discovery", tls::Counters::default().explained());
        rows.stage("harm", harm::Counters::default().explained());
        rows.stage("decay", decay::Counters::default().explained());
        rows.finish()
    }

    fn find(stage: &str, name: &str) -> (u64, u64, Fate) {
        let row = table()
            .into_iter()
            .find(|row| row.stage == stage && row.name == name)
            .unwrap();
        (row.events, row.bytes, row.fate)
    }

    #[test]
    fn what_was_lost_is_told_from_what_was_left_out() {
        assert_eq!(find("tracker", "gaps"), (3, 400, Fate::Lost));
        assert_eq!(find("tracker", "bytes"), (0, 5, Fate::Counted));
        assert_eq!(find("protocol", "gaps"), (1, 10, Fate::Lost));
        assert_eq!(find("protocol", "left_out"), (6, 7000, Fate::LeftOut));
        assert_eq!(find("kernel", "ring_full"), (1, 2, Fate::Lost));
        assert_eq!(find("kernel", "capped"), (1, 2, Fate::LeftOut));
        assert_eq!(find("kernel", "captured"), (1, 2, Fate::Counted));
    }

    #[test]
    fn every_row_is_one_and_says_what_it_means() {
        let mut seen = std::collections::HashSet::new();
        for row in table() {
            let begins = row.meaning.chars().next();
            assert!(
                begins.is_some_and(|first| !first.is_uppercase()),
                "{}: {}",
                row.name,
                row.meaning
            );
            assert!(!row.meaning.ends_with('.'), "{}: {}", row.name, row.meaning);
            assert!(seen.insert((row.stage.clone(), row.name.clone())), "{}", row.name);
        }
    }

    #[test]
    fn every_name_that_is_judged_exists() {
        let table = table();
        let judged = table.iter().filter(|row| row.fate != Fate::Counted);
        let of = |stage| judged.clone().filter(|row| row.stage == stage).count();
        assert_eq!(
            (of("tracker"), of("protocol"), of("attribution"), of("harm")),
            (12, 15, 7, 2)
        );
    }
}
