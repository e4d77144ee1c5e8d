//! The ways of capturing that this kernel has.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::command;
use crate::workspace::{Profile, Workspace};

/// All that there are, best first.
const ALL: [&str; 5] = [
    "fexit",
    "sock-length",
    "kprobe",
    "syscall-exit",
    "syscall-enter-exit",
];

/// The part of `doctor`'s report that is of interest here.
#[derive(Debug, Deserialize)]
struct Report {
    providers: Vec<Provider>,
}

#[derive(Debug, Deserialize)]
struct Provider {
    name: String,
    /// Why it does not work; empty when it does.
    error: String,
}

/// Those that `doctor` could load and attach here, best first.
pub fn working(workspace: &Workspace) -> Result<Vec<&'static str>> {
    let mut doctor = Command::new(
        workspace
            .target
            .join(Profile::Release.directory())
            .join("eastwatch-agent"),
    );
    doctor.args(["doctor", "--output", "json"]);
    let text = command::output(&mut doctor).context("asking which providers work here")?;
    let found = parse(&text)?;
    if found.is_empty() {
        bail!("no provider works on this kernel: see `eastwatch-agent doctor`");
    }
    Ok(found)
}

fn parse(text: &str) -> Result<Vec<&'static str>> {
    let report: Report = serde_json::from_str(text).context("doctor's report is not understood")?;
    let works = |name: &&str| {
        report
            .providers
            .iter()
            .any(|provider| provider.name == *name && provider.error.is_empty())
    };
    Ok(ALL.into_iter().filter(works).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_without_an_error_work() {
        let text = r#"{"kernel":"6.18","providers":[{"name":"syscall-exit","error":""},{"name":"fexit","error":"refused"},
            {"name":"sock-length","error":""}]}"#;
        assert_eq!(parse(text).unwrap(), ["sock-length", "syscall-exit"]);
        assert!(parse("{}").is_err());
    }
}
