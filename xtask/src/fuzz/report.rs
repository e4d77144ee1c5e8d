//! What libFuzzer wrote about a run.

use std::path::PathBuf;

/// Above the lines of [`Ran::line`].
pub const HEADER: &str =
    "TARGET                  RUNS   RUNS/S  EDGES  FEATURES  INPUTS  SLOWEST  PEAK     RESULT";

/// Lines of a panic's message that are shown.
const SAID_LINES_MAX: usize = 8;

/// A run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ran {
    pub target: String,
    pub runs: u64,
    pub runs_per_second: u64,
    /// Edges of the control flow that were reached.
    pub edges: u64,
    /// Edges, how often, and comparisons.
    pub features: u64,
    /// Inputs that reach all of them.
    pub inputs: u64,
    /// Longest run of one input, seconds.
    pub slowest_seconds: u64,
    pub peak_mib: u64,
    /// The input that broke a law.
    pub found: Option<PathBuf>,
    /// How it broke.
    pub said: String,
}

impl Ran {
    /// From the fuzzer's output.
    pub fn read(target: &str, text: &str) -> Self {
        let mut ran = Self {
            target: target.to_owned(),
            ..Self::default()
        };
        let mut said = Vec::new();
        for line in text.lines() {
            if line.starts_with('#') {
                ran.progress(line);
            }
            if let Some((name, value)) = line.strip_prefix("stat::").and_then(|line| line.split_once(':')) {
                let value = value.trim().parse().unwrap_or_default();
                match name {
                    "number_of_executed_units" => ran.runs = value,
                    "average_exec_per_sec" => ran.runs_per_second = value,
                    "slowest_unit_time_sec" => ran.slowest_seconds = value,
                    "peak_rss_mb" => ran.peak_mib = value,
                    _ => {}
                }
            }
            if let Some((_, path)) = line.split_once("Test unit written to ") {
                ran.found = Some(path.trim().into());
            }
            let begins = line.contains(" panicked at ") || line.contains("ERROR: libFuzzer");
            if (begins || !said.is_empty()) && said.len() < SAID_LINES_MAX {
                said.push(line);
            }
        }
        ran.said = said.join("\n");
        ran
    }

    /// `#1024 pulse cov: 9 ft: 12 corp: 2/9b …`
    fn progress(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        while let Some(word) = words.next() {
            let place = match word {
                "cov:" => &mut self.edges,
                "ft:" => &mut self.features,
                "corp:" => &mut self.inputs,
                _ => continue,
            };
            let value = words.next().and_then(|value| value.split('/').next());
            if let Some(value) = value.and_then(|value| value.parse().ok()) {
                *place = value;
            }
        }
    }

    /// For people.
    pub fn line(&self) -> String {
        let result = if self.found.is_some() { "BROKEN" } else { "good" };
        format!(
            "{:<18} {:>9} {:>8} {:>6} {:>9} {:>7} {:>6} s {:>4} MiB  {result}",
            self.target,
            self.runs,
            self.runs_per_second,
            self.edges,
            self.features,
            self.inputs,
            self.slowest_seconds,
            self.peak_mib
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_findings() {
        let text = "INFO: Seed: 1\n#2\tINITED cov: 8 ft: 9 corp: 1/1b exec/s: 0 rss: 27Mb\n\
                    #56194081\tDONE   cov: 19 ft: 29 corp: 3/9b lim: 4096 exec/s: 1812712 rss: 27Mb\n\
                    Done 56194081 runs in 31 second(s)\nstat::number_of_executed_units: 56194081\n\
                    stat::average_exec_per_sec:     1812712\nstat::slowest_unit_time_sec:    0\nstat::peak_rss_mb:              27\n";
        let ran = Ran::read("http1", text);
        let expected = Ran {
            target: "http1".into(),
            runs: 56_194_081,
            runs_per_second: 1_812_712,
            edges: 19,
            features: 29,
            inputs: 3,
            peak_mib: 27,
            ..Ran::default()
        };
        assert_eq!(ran, expected);
        assert!(ran.line().ends_with("good"));
        assert_eq!(
            ran.line().find("good"),
            HEADER.find("RESULT"),
            "{}\n{HEADER}",
            ran.line()
        );
    }

    #[test]
    fn a_run_that_broke() {
        let text = "#9\tNEW    cov: 9 ft: 9 corp: 2/9b\nthread '<unnamed>' (7) panicked at agent/fuzz/src/lib.rs:1:2:\nassertion failed\n\
                    ==1== ERROR: libFuzzer: deadly signal\nartifact_prefix='x/'; Test unit written to x/crash-12\nBase64: AA==\n";
        let ran = Ran::read("http1", text);
        assert_eq!(ran.found, Some("x/crash-12".into()));
        assert!(ran.said.contains("assertion failed"));
        assert!(ran.line().ends_with("BROKEN"));
    }
}
