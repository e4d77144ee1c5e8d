//! A plan: what will be done, why and at what cost, as the very commands that are then run.

use std::fmt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;
use crate::setup::services::ServiceStarts;

/// One command line with the variables that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    pub variables: Vec<(String, String)>,
    pub words: Vec<String>,
}

impl Invocation {
    pub fn new<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Self {
        Self {
            variables: Vec::new(),
            words: words.into_iter().map(Into::into).collect(),
        }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    fn command(&self) -> Result<Command> {
        let (program, arguments) = self.words.split_first().context("an empty command in a plan")?;
        let mut command = Command::new(program);
        command::without_toolchain_variables(&mut command);
        // A tool is built outside this workspace's target directory.
        command
            .args(arguments)
            .env_remove("CARGO_TARGET_DIR")
            .envs(self.variables.iter().cloned());
        Ok(command)
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it brings and what for.
    pub purpose: String,
    /// Download, disk or time, where known.
    pub cost: Option<String>,
    pub invocations: Vec<Invocation>,
    /// Services that the packages of this step would start; empty when none.
    pub services: Vec<String>,
}

/// What is to be done, in order. Empty when everything is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Runs every step in `directory`; the first failure ends it and names its step.
    pub fn execute(&self, directory: &std::path::Path) -> Result<()> {
        let count = self.steps.len();
        for (number, step) in (1..).zip(&self.steps) {
            eprintln!("[{number}/{count}] {}", step.purpose);
            let starts = ServiceStarts::forbid(&step.services)?;
            for invocation in &step.invocations {
                command::run(invocation.command()?.current_dir(directory))
                    .with_context(|| format!("step {number} of {count}: {}", step.purpose))?;
            }
            starts.restore()?;
        }
        Ok(())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in (1..).zip(&self.steps) {
            match &step.cost {
                Some(cost) => writeln!(f, "  {number}. {} ({cost})", step.purpose)?,
                None => writeln!(f, "  {number}. {}", step.purpose)?,
            }
            for invocation in &step.invocations {
                let command = invocation.command().map_err(|_| fmt::Error)?;
                writeln!(f, "     $ {}", command::display(&command))?;
            }
            if !step.services.is_empty() {
                writeln!(
                    f,
                    "     services not started, now or at boot: {}",
                    step.services.join(", ")
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let echo = Invocation::new(["sh", "-c", "exit $CODE"]).with("CODE", "7");
        Plan {
            steps: vec![
                Step {
                    purpose: "install nginx".into(),
                    cost: Some("1,500 kB to fetch".into()),
                    invocations: vec![Invocation::new(["true"]), Invocation::new(["true", "a b"])],
                    services: vec!["nginx".into()],
                },
                Step {
                    purpose: "fail".into(),
                    cost: None,
                    invocations: vec![echo],
                    services: Vec::new(),
                },
            ],
        }
    }

    #[test]
    fn prints_numbered_steps_with_cost_and_commands() {
        assert_eq!(
            plan().to_string(),
            "  1. install nginx (1,500 kB to fetch)\n     $ true\n     $ true 'a b'\n     \
             services not started, now or at boot: nginx\n  2. fail\n     $ CODE=7 sh -c 'exit $CODE'\n"
        );
        assert_eq!(Plan::default().to_string(), "");
    }

    #[test]
    fn a_failure_names_its_step() {
        let failing = Plan {
            steps: plan().steps.split_off(1),
        };
        let error = format!("{:#}", failing.execute(std::path::Path::new("/")).unwrap_err());
        assert!(
            error.contains("step 1 of 1: fail") && error.contains("exit status: 7"),
            "{error}"
        );
    }
}
