//! `test`: everything that must hold before a change is good, from formatting to live end-to-end tests as root.

use std::env;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::metadata::Metadata;
use crate::setup::{self, Group};
use crate::toolchain::{self, Compiler};
use crate::workspace::{Profile, Workspace};
use crate::{build, build_ebpf, command, directions, licences, preflight, vm_test};

/// The package of the end-to-end tests.
const END_TO_END: &str = "tests";

/// Set for the end-to-end tests: the directory of the agent's and the collector's binaries.
const BINARIES_VARIABLE: &str = "EASTWATCH_BIN_DIR";

/// Golden files are written anew, not compared, when it is `1`.
const BLESS_VARIABLE: &str = "BLESS";

#[derive(Debug, Args)]
pub struct Arguments {
    /// Only format, dependency directions, licences and lints.
    #[arg(long, conflicts_with_all = ["without_live", "without_other_kernels", "release", "bless"])]
    lints: bool,

    /// Leave out the tests that need root and eBPF.
    #[arg(long)]
    without_live: bool,

    /// Leave out the live tests of one old and one new kernel in VMs; `vm-test` has more.
    #[arg(long)]
    without_other_kernels: bool,

    /// Test optimised binaries end to end.
    #[arg(long)]
    release: bool,

    /// Write golden files anew instead of comparing with them, then look at the difference before committing it.
    #[arg(long)]
    bless: bool,
}

/// Runs every check, also after one has failed, and says at the end which did.
pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    setup::ensure(workspace, &[Group::Tests, Group::Vm])?;
    let mut checks = Checks::default();
    checks.check("format", || {
        command::run(cargo(workspace).args(["fmt", "--all", "--check"]))
    });
    checks.check("dependency directions", || {
        directions::check(workspace, &Metadata::of_workspace(workspace)?)
    });
    checks.check("licences and sources", || {
        licences::check(workspace, &Metadata::of_everything(workspace)?)
    });
    if checks.check("eBPF object", || build_ebpf::run(workspace)) {
        checks.check("eBPF lints", || lint_ebpf(workspace));
        checks.check("lints", || {
            let lint = [
                "clippy",
                "--workspace",
                "--exclude",
                "agent-ebpf",
                "--all-targets",
                "--locked",
            ];
            command::run(cargo(workspace).args(lint).args(["--", "-D", "warnings"]))
        });
        if arguments.lints {
            return checks.conclude();
        }
        checks.check("unit and property tests", || {
            unit_tests(workspace, arguments.bless)
        });
        if !arguments.without_live {
            checks.check("end-to-end tests", || end_to_end_tests(workspace, arguments));
        }
        if !arguments.without_live && !arguments.without_other_kernels {
            checks.check("other kernels", || other_kernels(workspace));
        }
    }
    checks.conclude()
}

/// The verb `bless`: golden files are written by the tests that compare with them.
pub fn bless(workspace: &Workspace) -> Result<()> {
    setup::ensure(workspace, &[])?;
    build_ebpf::run(workspace)?;
    unit_tests(workspace, true)?;
    eprintln!("golden files are written; `git diff` shows what changed");
    Ok(())
}

fn cargo(workspace: &Workspace) -> Command {
    let mut command = command::cargo();
    command.current_dir(&workspace.root);
    command
}

/// The programs are linted for the target they are built for, by the linter of the compiler that builds them.
fn lint_ebpf(workspace: &Workspace) -> Result<()> {
    let (compiler, linker) = toolchain::ready(workspace)?;
    let target_dir = workspace.target.join("ebpf-lint");
    let mut lint = match &compiler {
        Compiler::System { rustc } => {
            let driver = rustc.with_file_name("clippy-driver");
            let mut lint = build_ebpf::cargo(workspace, &compiler, &linker, "check")?;
            // What `cargo clippy` does with the driver that lies beside cargo; this one belongs to another compiler.
            lint.env("RUSTC_WORKSPACE_WRAPPER", driver)
                .env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings");
            lint
        }
        Compiler::Rustup { .. } => build_ebpf::cargo(workspace, &compiler, &linker, "clippy")?,
    };
    lint.arg("--target-dir").arg(target_dir);
    if matches!(compiler, Compiler::Rustup { .. }) {
        lint.args(["--", "-D", "warnings"]);
    }
    command::run(&mut lint)
}

fn unit_tests(workspace: &Workspace, bless: bool) -> Result<()> {
    let packages = [
        "--workspace",
        "--exclude",
        "agent-ebpf",
        "--exclude",
        END_TO_END,
        "--locked",
    ];
    let prepare = |command: &mut Command| {
        if bless {
            command.env(BLESS_VARIABLE, "1");
        }
    };
    let mut tests = cargo(workspace);
    prepare(&mut tests);
    if command::find_program("cargo-nextest").is_none() {
        return command::run(tests.arg("test").args(packages));
    }
    command::run(tests.args(["nextest", "run", "--no-fail-fast"]).args(packages))?;
    // nextest runs no examples of the documentation.
    let mut examples = cargo(workspace);
    prepare(&mut examples);
    command::run(examples.args(["test", "--doc"]).args(packages))
}

/// Live tests, one after the other: they share the machine's kernel.
fn end_to_end_tests(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let obstacles = preflight::obstacles();
    if !obstacles.is_empty() {
        let reasons = obstacles.join("\n  ");
        if env::var_os("CI").is_some() {
            bail!("eBPF must work where CI runs:\n  {reasons}");
        }
        eprintln!("skipped: eBPF cannot run here:\n  {reasons}");
        return Ok(());
    }
    let profile = Profile::of(arguments.release);
    build::host_binaries(workspace, profile)?;
    let mut tests = cargo(workspace);
    tests.env(BINARIES_VARIABLE, workspace.target.join(profile.directory()));
    if arguments.bless {
        tests.env(BLESS_VARIABLE, "1");
    }
    if command::find_program("cargo-nextest").is_some() {
        let one_by_one = ["--test-threads", "1", "--no-fail-fast", "--no-tests", "fail"];
        return command::run(
            tests
                .args(["nextest", "run", "--package", END_TO_END])
                .args(one_by_one),
        );
    }
    command::run(tests.args([
        "test",
        "--package",
        END_TO_END,
        "--locked",
        "--",
        "--test-threads=1",
    ]))
}

/// Live tests on one old and one new kernel.
fn other_kernels(workspace: &Workspace) -> Result<()> {
    if let Some(reason) = vm_test::obstacle() {
        if env::var_os("CI").is_some() {
            bail!("VMs must work where CI runs: {reason}");
        }
        eprintln!("skipped: {reason}");
        return Ok(());
    }
    build::host_binaries(workspace, Profile::Debug)?;
    vm_test::every_run(workspace)
}

/// The checks so far.
#[derive(Debug, Default)]
struct Checks {
    passed: usize,
    /// Name and error, whole.
    failed: Vec<(String, String)>,
}

impl Checks {
    /// Whether it passed.
    fn check(&mut self, name: &str, check: impl FnOnce() -> Result<()>) -> bool {
        let started = std::time::Instant::now();
        eprintln!("test: {name}");
        let result = check().with_context(|| name.to_owned());
        let seconds = started.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                eprintln!("test: {name}: good after {seconds:.1} s");
                self.passed += 1;
                true
            }
            Err(error) => {
                let error = format!("{error:#}");
                eprintln!("test: {error} (after {seconds:.1} s)");
                self.failed.push((name.to_owned(), error));
                false
            }
        }
    }

    /// Prints the closing line; an error when something failed.
    fn conclude(self) -> Result<()> {
        for (_, error) in &self.failed {
            eprintln!("failed: {error}");
        }
        println!("{}", self.closing_line());
        if self.failed.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = self.failed.iter().map(|(name, _)| name.as_str()).collect();
        bail!("failed: {}", names.join(", "))
    }

    /// Counts checks, not test cases: the runners' own closing lines count those.
    fn closing_line(&self) -> String {
        format!("checks: {} passed, {} failed", self.passed, self.failed.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_is_counted_named_and_does_not_stop_the_rest() {
        let mut checks = Checks::default();
        assert!(checks.check("first", || Ok(())));
        assert!(!checks.check("second", || bail!("because")));
        assert!(checks.check("third", || Ok(())));
        assert_eq!(checks.closing_line(), "checks: 2 passed, 1 failed");
        assert_eq!(
            checks.failed,
            [("second".to_owned(), "second: because".to_owned())]
        );
        assert_eq!(checks.conclude().unwrap_err().to_string(), "failed: second");
    }
}
