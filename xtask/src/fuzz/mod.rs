//! `fuzz`: searches for inputs that break a law of a parser, for a bounded time.
//!
//! The targets are functions of the crate `fuzz`; libFuzzer drives them. Coverage comes from the compiler's own pass, which the stable
//! toolchain has: nothing but a C++ compiler is needed besides. What is found in between runs lies in the target directory, what is worth
//! keeping in `agent/fuzz`: `corpus` and `regressions`, which `cargo test` runs.

mod corpus;
mod report;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command;
use crate::workspace::Workspace;
use report::Ran;

/// Names the target to the fuzzer.
const TARGET_VARIABLE: &str = "EASTWATCH_FUZZ_TARGET";

/// The crate of the targets, and its directory.
const PACKAGE: &str = "fuzz";
const DIRECTORY: &str = "agent/fuzz";

/// Longest run of one input, seconds. They take microseconds.
const INPUT_SECONDS_MAX: u32 = 10;

/// Most memory of the fuzzer, MiB: inputs are of some KiB and must not grow a thousandfold.
const MEMORY_MIB_MAX: u32 = 1024;

/// Edges of the control flow are counted, comparisons are seen.
const COVERAGE: [&str; 6] = [
    "--cfg fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

#[derive(Debug, Args)]
pub struct Arguments {
    /// Targets to fuzz; all when none is named.
    targets: Vec<String>,

    /// Seconds of fuzzing in total, divided among the targets.
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,

    /// Afterwards, put some of the inputs that cover most into the corpus of the repository, in place of what was chosen before.
    #[arg(long)]
    minimise: bool,

    /// Only say which targets there are.
    #[arg(long, conflicts_with_all = ["minimise", "targets"])]
    list: bool,
}

/// Where everything is.
#[derive(Debug)]
struct Places {
    /// The crate of the targets.
    package: PathBuf,
    /// What grows from run to run.
    grown: PathBuf,
    /// Inputs that broke a law.
    found: PathBuf,
}

impl Places {
    fn of(workspace: &Workspace) -> Self {
        let work = workspace.target.join("fuzz");
        Self {
            package: workspace.root.join(DIRECTORY),
            grown: work.join("corpus"),
            found: work.join("found"),
        }
    }

    fn corpus(&self, target: &str) -> PathBuf {
        self.package.join("corpus").join(target)
    }

    fn regressions(&self, target: &str) -> PathBuf {
        self.package.join("regressions").join(target)
    }

    fn grown(&self, target: &str) -> PathBuf {
        self.grown.join(target)
    }
}

pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let places = Places::of(workspace);
    let known = corpus::directories(&places.package.join("corpus"))?;
    if arguments.list {
        known.iter().for_each(|name| println!("{name}"));
        return Ok(());
    }
    if let Some(unknown) = arguments.targets.iter().find(|name| !known.contains(name)) {
        bail!("there is no target `{unknown}`; there are {}", known.join(" "));
    }
    let targets = if arguments.targets.is_empty() {
        &known
    } else {
        &arguments.targets
    };
    let fuzzer = build(workspace)?;
    let seconds = (arguments.seconds / targets.len() as u64).max(1);
    let mut broken = Vec::new();
    println!("{}", report::HEADER);
    for target in targets {
        let ran = fuzz(&fuzzer, &places, target, seconds)?;
        println!("{}", ran.line());
        if let Some(input) = &ran.found {
            broken.push((target.clone(), input.clone(), ran.said.clone()));
        } else if arguments.minimise {
            corpus::minimise(&places, target, |options, directories| {
                let mut merge = fuzzer_command(&fuzzer, target);
                merge.args(options).args(directories);
                command::output(&mut merge).map(drop)
            })?;
        }
    }
    conclude(&broken)
}

/// Tells of what was found, and what to do about it.
fn conclude(broken: &[(String, PathBuf, String)]) -> Result<()> {
    for (target, input, said) in broken {
        println!("\n{target}: {}", input.display());
        println!("{said}");
        println!("To keep it as a test that `cargo test -p {PACKAGE}` runs:");
        println!(
            "  mkdir -p {DIRECTORY}/regressions/{target} && cp {} {DIRECTORY}/regressions/{target}/<what-it-shows>",
            input.display()
        );
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("{} of the targets broke", broken.len())
}

/// Builds the fuzzer with coverage, apart from ordinary builds.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    if ["c++", "g++", "clang++"]
        .iter()
        .all(|name| command::find_program(name).is_none())
    {
        bail!("libFuzzer needs a C++ compiler: install g++");
    }
    let directory = workspace.target.join("fuzz");
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = command::cargo();
    cargo
        .args(["build", "--locked", "--profile", "fuzz", "--package", PACKAGE])
        .args(["--bin", PACKAGE, "--features", "libfuzzer"])
        // With a target, build scripts and macros are built without coverage.
        .args(["--target", &triple])
        .arg("--target-dir")
        .arg(&directory)
        .current_dir(&workspace.root)
        .env("RUSTFLAGS", COVERAGE.join(" "))
        // No program is loaded by a parser.
        .env("EASTWATCH_EBPF_OBJECT", "/dev/null");
    command::run(&mut cargo)?;
    Ok(directory.join(triple).join("fuzz").join(PACKAGE))
}

fn fuzzer_command(fuzzer: &Path, target: &str) -> Command {
    let mut command = Command::new(fuzzer);
    command.env(TARGET_VARIABLE, target);
    command
}

/// Runs one target for so long, or until a law breaks.
fn fuzz(fuzzer: &Path, places: &Places, target: &str, seconds: u64) -> Result<Ran> {
    let grown = places.grown(target);
    let found = places.found.join(target);
    for directory in [&grown, &found] {
        fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    }
    let log = places.found.join(format!("{target}.log"));
    let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
    let mut command = fuzzer_command(fuzzer, target);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .arg("-print_final_stats=1")
        .arg(&grown)
        .arg(places.corpus(target));
    let regressions = places.regressions(target);
    if regressions.is_dir() {
        command.arg(regressions);
    }
    let status = command
        .stdin(std::process::Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .status()
        .with_context(|| format!("starting {}", fuzzer.display()))?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let ran = Ran::read(target, &text);
    if !status.success() && ran.found.is_none() {
        bail!("{target}: the fuzzer ended with {status}; see {}", log.display());
    }
    Ok(ran)
}
