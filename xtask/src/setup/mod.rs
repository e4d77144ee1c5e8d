//! `setup`: brings everything the other verbs need, says what it does before it does it, and does nothing when all is there.
//!
//! Two kinds of things are needed: the eBPF toolchain (always) and the programs of a [`Group`] (for `demo` and `test`).
//! A plan is made of the very commands that are run; where nothing may be installed it is printed for others to run.

mod ebpf;
mod needs;
mod packages;
mod plan;
mod services;

use anyhow::{Result, bail};
use clap::Args;

pub use needs::Group;

use crate::setup::ebpf::{Choice, SYSTEM_PACKAGES};
use crate::setup::needs::{Need, SYSTEM_CLIPPY};
use crate::setup::packages::Simulation;
use crate::setup::plan::{Plan, Step};
use crate::toolchain::{Compiler, Linker};
use crate::workspace::Workspace;

/// Rounds of planning: lists of packages, packages and compiler, linker; one more would mean that a step did not do what it
/// said.
const ROUNDS_MAX: usize = 4;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Also what `test` and `vm-test` need: servers and clients to test against, linters, QEMU.
    #[arg(long)]
    tests: bool,

    /// Also what `demo` needs: its servers.
    #[arg(long)]
    demo: bool,

    /// Only say what is there and what is missing; fails when something is missing.
    #[arg(long)]
    check: bool,
}

impl Arguments {
    fn groups(&self) -> Vec<Group> {
        let demo = self.demo.then_some(Group::Demo);
        demo.into_iter()
            .chain(self.tests.then_some(Group::Tests))
            .chain(self.tests.then_some(Group::Vm))
            .collect()
    }
}

/// The verb.
pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let groups = arguments.groups();
    if arguments.check {
        check(workspace, &groups)
    } else {
        ensure(workspace, &groups)
    }
}

/// Brings what is missing. Silent and fast when nothing is, but for one line.
pub fn ensure(workspace: &Workspace, groups: &[Group]) -> Result<()> {
    for _ in 0..ROUNDS_MAX {
        let state = State::take(workspace, groups)?;
        let next = state.plan(workspace)?;
        if next.plan.is_empty() {
            eprintln!("setup: complete ({})", state.summary());
            return Ok(());
        }
        let outlook = next
            .outlook
            .iter()
            .map(|line| format!("     {line}\n"))
            .collect::<String>();
        if let Some(obstacle) = next.obstacle {
            bail!(
                "{obstacle}, so setup cannot do this by itself. Missing:\n  {}\nThese commands bring it:\n{}{outlook}",
                state.missing_lines().join("\n  "),
                next.plan
            );
        }
        eprint!(
            "setup: this is missing and will be done now:\n{}{outlook}",
            next.plan
        );
        next.plan.execute(&workspace.root)?;
    }
    bail!("setup did all it knows and something is still missing; `cargo xtask setup --check` says what")
}

/// Prints what is there and what is missing.
fn check(workspace: &Workspace, groups: &[Group]) -> Result<()> {
    let state = State::take(workspace, groups)?;
    for line in &state.present {
        println!("ok       {line}");
    }
    for line in state.missing_lines() {
        println!("missing  {line}");
    }
    let next = state.plan(workspace)?;
    if next.plan.is_empty() {
        return Ok(());
    }
    print!("to get what is missing:\n{}", next.plan);
    next.outlook.iter().for_each(|line| println!("     {line}"));
    bail!("{} missing", state.missing_lines().len())
}

/// What is there and what is not.
struct State {
    choice: Choice,
    /// Whether the linker for the chosen compiler is there.
    linker_ready: bool,
    present: Vec<String>,
    missing: Vec<&'static Need>,
}

/// The next things to do.
struct Next {
    plan: Plan,
    /// What will follow but cannot be planned yet.
    outlook: Vec<String>,
    /// Why the plan cannot be carried out here.
    obstacle: Option<String>,
}

impl State {
    fn take(workspace: &Workspace, groups: &[Group]) -> Result<Self> {
        let choice = ebpf::choose()?;
        let mut present = Vec::new();
        let mut linker_ready = false;
        if let Some(version) = &choice.installed {
            present.push(format!(
                "compiler for eBPF: {}, rustc {}, LLVM {}",
                choice.compiler.describe(),
                version.release,
                version.llvm_major
            ));
            linker_ready = ebpf::linker_step(workspace, &choice.compiler, version)?.is_none();
            if linker_ready {
                present.push(format!(
                    "bpf-linker: {}",
                    Linker::in_cache(workspace).binary_dir().display()
                ));
            }
        }
        let mut missing: Vec<&'static Need> = Vec::new();
        let system = matches!(choice.compiler, Compiler::System { .. });
        let linter = (system && groups.contains(&Group::Tests)).then_some(&SYSTEM_CLIPPY);
        for need in groups.iter().flat_map(|group| group.needs()).chain(linter) {
            let line = format!("{} ({})", need.probe.name(), need.purpose);
            if present.contains(&line) || missing.contains(&need) {
                continue;
            }
            if need.probe.is_satisfied() {
                present.push(line)
            } else {
                missing.push(need)
            }
        }
        Ok(Self {
            choice,
            linker_ready,
            present,
            missing,
        })
    }

    fn missing_lines(&self) -> Vec<String> {
        let compiler = self.choice.installed.is_none().then(ebpf::describe_missing);
        let linker = (!self.linker_ready).then(|| "bpf-linker for that compiler's LLVM".to_owned());
        let needs = self.missing.iter().map(|need| {
            format!(
                "{} ({}): Debian package {}",
                need.probe.name(),
                need.purpose,
                need.package
            )
        });
        compiler.into_iter().chain(linker).chain(needs).collect()
    }

    fn summary(&self) -> String {
        match &self.choice.installed {
            Some(version) => format!(
                "rustc {} and bpf-linker, LLVM {}",
                version.release, version.llvm_major
            ),
            None => "no compiler".into(),
        }
    }

    fn plan(&self, workspace: &Workspace) -> Result<Next> {
        let wanted = self.packages();
        let unknown_to_apt = !wanted.is_empty() && packages::has_apt() && packages::lists_are_empty();
        let compiler_unknown = self.choice.installed.is_none() && Compiler::requested().is_none();
        if unknown_to_apt || (compiler_unknown && packages::has_apt() && packages::lists_are_empty()) {
            let compiler = compiler_unknown.then(|| format!("{}, or a nightly", SYSTEM_PACKAGES.join(", ")));
            let wanted = compiler
                .into_iter()
                .chain(self.missing.iter().map(|need| need.package.to_owned()));
            let linker = (!self.linker_ready).then(ebpf::linker_outlook);
            let install = format!("then: install {}", wanted.collect::<Vec<_>>().join(", "));
            return Ok(Next {
                plan: Plan {
                    steps: vec![update_step()],
                },
                outlook: std::iter::once(install).chain(linker).collect(),
                obstacle: packages::obstacle(),
            });
        }
        let mut steps = Vec::new();
        let mut obstacle = None;
        if !wanted.is_empty() {
            obstacle = packages::obstacle();
            steps.push(self.packages_step(&wanted));
        }
        if let Some(step) = ebpf::compiler_step(&self.choice)? {
            obstacle = obstacle.or_else(packages::forbidden);
            steps.push(step);
        }
        let mut outlook = Vec::new();
        match &self.choice.installed {
            Some(version) => {
                if let Some(step) = ebpf::linker_step(workspace, &self.choice.compiler, version)? {
                    obstacle = obstacle.or_else(packages::forbidden);
                    steps.push(step);
                }
            }
            None => outlook.push(ebpf::linker_outlook()),
        }
        Ok(Next {
            plan: Plan { steps },
            outlook,
            obstacle,
        })
    }

    /// The Debian packages that are missing.
    fn packages(&self) -> Vec<&'static str> {
        let system =
            matches!(self.choice.compiler, Compiler::System { .. }) && self.choice.installed.is_none();
        let compiler = system.then_some(SYSTEM_PACKAGES).into_iter().flatten();
        compiler
            .chain(self.missing.iter().map(|need| need.package))
            .collect()
    }

    fn packages_step(&self, wanted: &[&str]) -> Step {
        let cost = match packages::simulate(wanted) {
            Simulation::Possible { cost } => cost,
            Simulation::Impossible(error) => Some(format!("apt says: {error}")),
        };
        let purpose = match self.choice.installed {
            Some(_) => format!("install {}", wanted.join(", ")),
            None => format!("install {} ({})", wanted.join(", "), self.choice.reason),
        };
        Step {
            purpose,
            cost,
            invocations: vec![packages::install(wanted.iter().copied())],
            services: self
                .missing
                .iter()
                .filter_map(|need| need.service)
                .map(str::to_owned)
                .collect(),
        }
    }
}

fn update_step() -> Step {
    Step {
        purpose: "fetch apt's lists of packages, to see what this system offers".into(),
        cost: Some("about 10 MB to fetch".into()),
        invocations: vec![packages::update()],
        services: Vec::new(),
    }
}
