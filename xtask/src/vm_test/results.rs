//! What a VM says, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::vm_test::kernels::Kernel;

/// Lines of a step that a failure shows.
const SAID_LINES: usize = 40;

/// Name of the step that runs the live tests.
pub const PROVIDERS: &str = "providers";

/// Name of the step that judges every way into a socket, with each provider.
pub const WAYS: &str = "ways";

/// The check that loads and attaches a provider's programs.
const LOAD: &str = "load";

/// One line of the VM's first process.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Line {
    Object { step: String, line: serde_json::Value },
    Text { step: String, text: String },
    Exit { step: String, exit: i32, seconds: f64 },
    End { end: i32 },
}

/// A check of a provider.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    pub provider: String,
    pub check: String,
    pub ok: bool,
    pub seconds: f64,
    /// Figures, or what is wrong.
    pub detail: String,
    #[serde(default)]
    pub programs: Vec<Program>,
}

impl Check {
    /// Whether both are about the same.
    fn is_of(&self, other: &Self) -> bool {
        (&self.provider, &self.check) == (&other.provider, &other.check)
    }
}

/// A loaded program.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    pub name: String,
    /// Instructions that the verifier walked.
    pub verified: u32,
}

/// What became of a way into a socket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Cell {
    pub provider: String,
    pub way: String,
    pub verdict: Verdict,
    pub reason: String,
    /// Bytes by counter.
    #[serde(default)]
    pub counted_bytes: BTreeMap<String, u64>,
    /// What the counters mean.
    #[serde(default)]
    pub meanings: BTreeMap<String, String>,
}

impl Cell {
    /// Whether both are about the same.
    fn is_of(&self, other: &Self) -> bool {
        (&self.provider, &self.way) == (&other.provider, &other.way)
    }
}

/// As the judge has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Captured,
    Counted,
    Impossible,
    Unknown,
}

impl Verdict {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::Counted => "counted",
            Self::Impossible => "impossible",
            Self::Unknown => "unknown",
        }
    }
}

/// All that came of one VM.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    pub checks: Vec<Check>,
    pub cells: Vec<Cell>,
    /// Steps with their exit code and seconds.
    pub exits: Vec<(String, i32, f64)>,
    /// The last lines that are no results.
    pub said: Vec<String>,
    /// What could not be understood.
    pub strange: Vec<String>,
    /// Exit code of the first process, once it has ended.
    pub end: Option<i32>,
}

impl Run {
    /// Takes a line in. Gives what a person wants to see of it now.
    pub fn heed(&mut self, line: &str) -> Option<String> {
        match serde_json::from_str(line) {
            Ok(Line::Object { step, line }) => self.result(&step, line),
            Ok(Line::Text { step, text }) => {
                if self.said.len() == SAID_LINES {
                    self.said.remove(0);
                }
                let said = format!("{step}: {text}");
                self.said.push(said.clone());
                Some(said)
            }
            Ok(Line::Exit { step, exit, seconds }) => {
                let shown = format!("{step} ended with {exit} after {seconds:.1} s");
                self.exits.push((step, exit, seconds));
                Some(shown)
            }
            Ok(Line::End { end }) => {
                self.end = Some(end);
                None
            }
            Err(_) => {
                self.strange.push(line.to_owned());
                None
            }
        }
    }

    /// A result of a step.
    fn result(&mut self, step: &str, line: serde_json::Value) -> Option<String> {
        let text = line.to_string();
        match step {
            PROVIDERS => {
                if let Ok(check) = serde_json::from_value::<Check>(line) {
                    let verdict = if check.ok { "good" } else { "not so" };
                    let shown = format!(
                        "{} {}: {verdict} after {:.1} s {}",
                        check.provider,
                        check.check,
                        check.seconds,
                        check.detail.lines().next().unwrap_or_default()
                    );
                    match self.checks.iter_mut().find(|known| known.is_of(&check)) {
                        Some(known) => *known = check,
                        None => self.checks.push(check),
                    }
                    return Some(shown);
                }
            }
            WAYS => {
                if let Ok(cell) = serde_json::from_value::<Cell>(line) {
                    let shown = format!("{} {}: {}", cell.provider, cell.way, cell.verdict.name());
                    match self.cells.iter_mut().find(|known| known.is_of(&cell)) {
                        Some(known) => *known = cell,
                        None => self.cells.push(cell),
                    }
                    return Some(shown);
                }
            }
            _ => {}
        }
        self.strange.push(text);
        None
    }

    /// Names of the providers that were tried, in order.
    pub fn providers(&self) -> Vec<&str> {
        let loads = self.checks.iter().filter(|check| check.check == LOAD);
        loads.map(|check| check.provider.as_str()).collect()
    }

    /// The attempt to load this provider.
    pub fn load<'a>(&'a self, provider: &'a str) -> Option<&'a Check> {
        self.checks_of(provider).find(|check| check.check == LOAD)
    }

    /// Checks of this provider.
    pub fn checks_of<'a>(&'a self, provider: &'a str) -> impl Iterator<Item = &'a Check> {
        self.checks.iter().filter(move |check| check.provider == provider)
    }

    /// Ways that a provider was not judged by, of those that another was; one a line.
    pub fn omissions(&self) -> Vec<String> {
        let ways: BTreeSet<&str> = self.cells.iter().map(|cell| cell.way.as_str()).collect();
        let loaded = self.checks.iter().filter(|check| check.check == LOAD && check.ok);
        let mut omissions = Vec::new();
        for provider in loaded.map(|check| check.provider.as_str()) {
            let of_provider = self.cells.iter().filter(|cell| cell.provider == provider);
            let judged: BTreeSet<&str> = of_provider.map(|cell| cell.way.as_str()).collect();
            let missing = ways.difference(&judged);
            omissions.extend(missing.map(|way| format!("{provider}: {way} was not judged")));
            if judged.is_empty() {
                omissions.push(format!("{provider}: no way was judged"));
            }
        }
        omissions
    }

    /// Everything that is not as it must be, one a line; empty when all is.
    pub fn failures(&self, kernel: &Kernel) -> Vec<String> {
        let mut failures = self.blemishes(kernel);
        let broken = self.exits.iter().filter(|(_, exit, _)| *exit != 0);
        failures.extend(broken.map(|(step, exit, _)| format!("{step} ended with {exit}")));
        failures.extend(
            self.strange
                .iter()
                .map(|line| format!("a line that is no result: {line}")),
        );
        if self.end.is_none() {
            failures.push("the VM ended before its work did".to_owned());
        }
        failures
    }

    /// What is not as it must be in the results themselves.
    pub fn blemishes(&self, kernel: &Kernel) -> Vec<String> {
        let mut failures = Vec::new();
        let mut works = false;
        for check in &self.checks {
            let provider = &check.provider;
            let lack = kernel.lack_of(provider);
            match (check.check == LOAD, check.ok, lack) {
                (true, true, Some(reason)) => failures.push(format!(
                    "{provider} works, and is listed as lacking on this kernel: {reason}"
                )),
                (true, true, None) => works = true,
                (true, false, Some(_)) | (false, true, _) => {}
                (_, false, _) => failures.push(format!("{provider}: {}: {}", check.check, check.detail)),
            }
        }
        if !works {
            failures.push("no provider works".to_owned());
        }
        let unknown = self.cells.iter().filter(|cell| cell.verdict == Verdict::Unknown);
        failures.extend(unknown.map(|cell| {
            format!(
                "{}: nobody knows what became of {}: {}",
                cell.provider, cell.way, cell.reason
            )
        }));
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm_test::kernels;

    fn run(lines: &[&str]) -> Run {
        let mut run = Run::default();
        for line in lines {
            run.heed(line);
        }
        run
    }

    fn failures(series: &str, lines: &[&str]) -> Vec<String> {
        let kernel = kernels::choose(&[series.to_owned()]).unwrap().remove(0);
        run(lines).failures(&kernel)
    }

    fn check(provider: &str, check: &str, ok: bool) -> String {
        format!(
            r#"{{"step":"providers","line":{{"provider":"{provider}","check":"{check}","ok":{ok},"seconds":1.5,"detail":"why"}}}}"#
        )
    }

    const EXIT: &str = r#"{"step":"providers","exit":0,"seconds":2.5}"#;
    const END: &str = r#"{"end":0}"#;

    #[test]
    fn reads_what_a_vm_says() {
        let loaded = r#"{"step":"providers","line":{"provider":"a","check":"load","ok":true,"seconds":1,"detail":"","programs":[{"name":"p","verified":7}]}}"#;
        let text = r#"{"step":"providers","text":"running 1 test"}"#;
        let run = run(&[text, loaded, &check("a", "keep-alive", true), EXIT, END]);
        assert_eq!(run.providers(), ["a"]);
        let programs = &run.load("a").unwrap().programs;
        assert_eq!((programs[0].name.as_str(), programs[0].verified), ("p", 7));
        assert_eq!(run.checks_of("a").count(), 2);
        assert_eq!(run.exits, [("providers".to_owned(), 0, 2.5)]);
        assert_eq!(run.said, ["providers: running 1 test"]);
        assert_eq!((run.end, run.strange.len()), (Some(0), 0));
    }

    #[test]
    fn a_later_result_takes_the_place_of_an_earlier_one() {
        let cell = |provider: &str, way: &str, verdict: &str| {
            format!(
                r#"{{"step":"ways","line":{{"provider":"{provider}","way":"{way}","verdict":"{verdict}","reason":""}}}}"#
            )
        };
        let (load_a, load_b) = (check("a", "load", true), check("b", "load", true));
        let mut run = run(&[
            &load_a,
            &load_b,
            &check("a", "keep-alive", false),
            &cell("a", "read", "unknown"),
            &cell("a", "write", "captured"),
            &cell("b", "read", "captured"),
        ]);
        let kernel = kernels::choose(&["6.12".to_owned()]).unwrap().remove(0);
        assert_eq!(run.blemishes(&kernel).len(), 2);
        assert_eq!(run.omissions(), ["b: write was not judged"]);
        run.heed(&check("a", "keep-alive", true));
        run.heed(&cell("a", "read", "captured"));
        run.heed(&cell("b", "write", "counted"));
        assert_eq!(run.blemishes(&kernel), [""; 0]);
        assert_eq!(run.omissions(), [""; 0]);
        assert_eq!((run.checks.len(), run.cells.len()), (3, 4));
    }

    #[test]
    fn a_way_of_which_nothing_is_known_is_a_failure() {
        let cell = |verdict: &str| {
            format!(
                r#"{{"step":"ways","line":{{"kernel":"6.12","provider":"a","way":"read","verdict":"{verdict}","reason":"why","sent":3,"counted_bytes":{{"kernel.x":7}}}}}}"#
            )
        };
        let load = check("a", "load", true);
        for verdict in ["captured", "counted", "impossible"] {
            let lines = [load.as_str(), &cell(verdict), EXIT, END];
            assert_eq!(failures("6.12", &lines), [""; 0]);
            let cells = run(&lines).cells;
            assert_eq!(cells[0].verdict.name(), verdict);
            assert_eq!(cells[0].counted_bytes["kernel.x"], 7);
        }
        let unknown = failures("6.12", &[&load, &cell("unknown"), EXIT, END]);
        assert_eq!(unknown, ["a: nobody knows what became of read: why"]);
        let other = failures("6.12", &[&load, &cell("perhaps"), EXIT, END]);
        assert!(other[0].contains("no result"), "{other:?}");
    }

    #[test]
    fn everything_that_is_not_as_it_must_be_is_a_failure() {
        let load = |ok| check("sock-length", "load", ok);
        let good = [load(true), check("sock-length", "keep-alive", true)];
        let good: Vec<&str> = good.iter().map(String::as_str).chain([EXIT, END]).collect();
        assert_eq!(failures("6.12", &good), [""; 0]);

        // A verifier that refuses where the hooks are.
        let refused = failures("6.12", &[&check("fexit", "load", false), &load(true), EXIT, END]);
        assert_eq!(refused, ["fexit: load: why"]);
        // Where they are not, it is as it must be, but then another must work.
        assert_eq!(failures("6.1", &[&load(false), EXIT, END]), ["no provider works"]);
        let other = check("fexit", "load", true);
        assert_eq!(failures("6.1", &[&load(false), &other, EXIT, END]), [""; 0]);
        // The list of what kernels lack is wrong.
        assert!(failures("6.1", &[&load(true), &other, EXIT, END])[0].contains("listed as lacking"));

        let lost = check("sock-length", "keep-alive", false);
        assert_eq!(
            failures("6.12", &[&load(true), &lost, EXIT, END]),
            ["sock-length: keep-alive: why"]
        );
        let exit = EXIT.replace(":0,", ":101,");
        assert_eq!(
            failures("6.12", &[&load(true), &exit, END]),
            ["providers ended with 101"]
        );
        assert!(failures("6.12", &[&load(true), EXIT])[0].contains("before its work did"));
        assert!(failures("6.12", &[&load(true), "[ 1.0] panic", EXIT, END])[0].contains("panic"));
    }
}
