//! `vm-test`: the live tests in VMs with other kernels than this machine's, with every provider that each kernel has.

mod archive;
mod cpio;
mod image;
mod initrd;
mod kernels;
mod machine;
mod package;
mod readme;
mod record;
mod report;
mod results;
mod store;

use std::fs;
use std::num::NonZero;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde_json::json;

use crate::setup::{self, Group};
use crate::vm_test::initrd::Contents;
use crate::vm_test::kernels::Kernel;
use crate::vm_test::machine::{Accelerator, Ended};
use crate::vm_test::report::Row;
use crate::vm_test::results::Run;
use crate::vm_test::store::Stored;
use crate::workspace::{Profile, Workspace};
use crate::{build, build_ebpf, command};

/// Longest time without a word from a step, times the accelerator's patience: a provider's programs are verified, or a burst of
/// processes runs. How long everything takes is not limited: it depends on the machine.
const STEP_SILENCE: Duration = Duration::from_secs(60);

/// And without one from the VM: more, so that it can still say what was the matter.
const SILENCE: Duration = Duration::from_secs(90);

/// The second serial port.
const RESULTS: &str = "/dev/ttyS1";

/// Programs of the system that the tests run in a VM.
const SYSTEM: [&str; 4] = ["curl", "nginx", "prlimit", "setpriv"];

/// Short-lived processes in a VM of this verb, and in one of `test`, which has less time. Ten times as many connections are open at once.
const PROCESSES: u32 = 30;
const PROCESSES_EVERY_RUN: u32 = 10;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Only this kernel series; may be repeated.
    #[arg(long = "kernel", value_name = "SERIES")]
    kernels: Vec<String>,

    /// Only this provider, which must then load; may be repeated.
    #[arg(long = "provider", value_name = "NAME")]
    providers: Vec<String>,

    /// Short-lived processes that each provider must see.
    #[arg(long, value_name = "NUMBER", default_value_t = PROCESSES)]
    processes: u32,

    /// Judge only this way into a socket, and check nothing else; may be repeated.
    #[arg(long = "way", value_name = "NAME")]
    ways: Vec<String>,

    /// Leave out the judgement of every way into a socket.
    #[arg(long, conflicts_with = "ways")]
    without_ways: bool,

    /// Put the tables into the README, when nothing is wrong or missing in them. What this run leaves out is taken from earlier ones.
    #[arg(long)]
    write: bool,

    /// Only list the kernels.
    #[arg(long)]
    list: bool,
}

impl Arguments {
    /// Whether a VM runs all that there is.
    fn is_of_everything(&self) -> bool {
        self.providers.is_empty() && self.ways.is_empty() && !self.without_ways
    }

    /// What `test` runs each time.
    pub fn every_run() -> Self {
        Self {
            kernels: kernels::EVERY_RUN.map(str::to_owned).into(),
            providers: Vec::new(),
            processes: PROCESSES_EVERY_RUN,
            ways: Vec::new(),
            without_ways: true,
            write: false,
            list: false,
        }
    }
}

/// The verb.
pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let kernels = kernels::choose(&arguments.kernels)?;
    if arguments.list {
        for kernel in kernels {
            let suites: Vec<&str> = kernel.suites.iter().map(|(_, suite)| *suite).collect();
            println!("{:5} {}", kernel.series, suites.join(" "));
        }
        return Ok(());
    }
    setup::ensure(workspace, &[Group::Tests, Group::Vm])?;
    build_ebpf::run(workspace)?;
    build::host_binaries(workspace, Profile::Debug)?;
    boot_all(workspace, arguments, &kernels)
}

/// The same for `test`, which has set up and built already.
pub fn every_run(workspace: &Workspace) -> Result<()> {
    let arguments = Arguments::every_run();
    boot_all(workspace, &arguments, &kernels::choose(&arguments.kernels)?)
}

/// Boots as many VMs at a time as there are processors, for the verifier of a kernel uses one only, and reports on all.
fn boot_all(workspace: &Workspace, arguments: &Arguments, kernels: &[Kernel]) -> Result<()> {
    let built = &Built::build(workspace)?;
    let stored: Vec<(&Kernel, Stored)> = kernels
        .iter()
        .map(|kernel| Ok((kernel, store::ensure(workspace, kernel)?)))
        .collect::<Result<_>>()?;
    let Some((_, first)) = stored.first() else {
        bail!("no kernel is asked for");
    };
    let accelerator = Accelerator::detect(&first.elf(), &built.nothing()?, &directory(workspace)?)?;
    eprintln!("     VMs are run by {}", accelerator.name());
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    let mut rows = Vec::new();
    for group in stored.chunks(at_once) {
        let booted: Vec<Result<Row>> = thread::scope(|scope| {
            let mut running = Vec::new();
            for (kernel, stored) in group {
                running.push(
                    scope.spawn(move || boot(workspace, arguments, kernel, stored, built, accelerator)),
                );
            }
            let ended = running.into_iter().map(|vm| vm.join());
            ended
                .map(|row| row.unwrap_or_else(|_| Err(anyhow!("a thread that runs a VM has panicked"))))
                .collect()
        });
        for row in booted {
            rows.push(row?);
        }
    }
    let failed: Vec<&str> = rows
        .iter()
        .filter(|row| !row.failures.is_empty())
        .map(|row| row.kernel.series)
        .collect();
    let failed = failed.join(", ");
    let faults = tabulate(workspace, rows, arguments.write)?;
    if !failed.is_empty() {
        bail!("failed on kernel {failed}");
    }
    if arguments.write && !faults.is_empty() {
        bail!("the tables are not written:\n{}", faults.join("\n"));
    }
    Ok(())
}

/// Prints the tables of all that is recorded, and writes them where they are good. Gives what is wrong or missing in them.
fn tabulate(workspace: &Workspace, mut rows: Vec<Row>, write: bool) -> Result<Vec<String>> {
    let directory = directory(workspace)?;
    for kernel in kernels::KERNELS {
        if !rows.iter().any(|row| row.kernel == kernel)
            && let Some(version) = store::version(workspace, &kernel)
        {
            rows.push(Row {
                kernel,
                version,
                run: Run::default(),
                failures: Vec::new(),
            });
        }
    }
    let mut faults = Vec::new();
    for row in &mut rows {
        row.run = record::load(&directory, &row.kernel)?;
        let blemishes = row.run.blemishes(&row.kernel);
        let of_kernel = blemishes.into_iter().chain(row.run.omissions());
        faults.extend(of_kernel.map(|fault| format!("{}: {fault}", row.kernel.series)));
    }
    rows.retain(|row| !row.run.checks.is_empty());
    rows.sort_by_key(|row| kernels::numbers(row.kernel.series));
    let recorded: Vec<&str> = rows.iter().map(|row| row.kernel.series).collect();
    let never = kernels::KERNELS
        .iter()
        .filter(|kernel| !recorded.contains(&kernel.series));
    faults.extend(never.map(|kernel| format!("{}: never run", kernel.series)));
    let tables = [report::providers(&rows), report::ways(&rows)].join("\n");
    let file = directory.join("tables.md");
    fs::write(&file, &tables).with_context(|| format!("writing {}", file.display()))?;
    println!("{tables}");
    eprintln!("     the tables are in {}", file.display());
    if write && faults.is_empty() {
        readme::write(workspace, &tables)?;
    }
    Ok(faults)
}

/// Where images, consoles and tables go.
fn directory(workspace: &Workspace) -> Result<PathBuf> {
    let directory = workspace.target.join("vm-test");
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    Ok(directory)
}

fn boot(
    workspace: &Workspace,
    arguments: &Arguments,
    kernel: &Kernel,
    stored: &Stored,
    built: &Built,
    accelerator: Accelerator,
) -> Result<Row> {
    let directory = directory(workspace)?;
    let image = directory.join(format!("{}.cpio", kernel.series));
    let console = directory.join(format!("{}.console", kernel.series));
    let archive = initrd::pack(&Contents {
        init: &built.init,
        plan: &built.plan(workspace, arguments, kernel, accelerator, &stored.modules()),
        built: &built.programs,
        system: &built.system,
        modules: &stored.modules(),
        busybox: &built.busybox,
    })?;
    fs::write(&image, &archive).with_context(|| format!("writing {}", image.display()))?;
    eprintln!(
        "     kernel {}: booting, file system of {} MB, console in {}",
        kernel.series,
        archive.len() >> 20,
        console.display()
    );
    let started = Instant::now();
    let silence = SILENCE * accelerator.patience();
    let (mut run, mut lines) = (Run::default(), Vec::new());
    let ended = machine::run(accelerator, &stored.elf(), &image, &console, silence, |line| {
        lines.push(line.to_owned());
        if let Some(shown) = run.heed(line) {
            eprintln!(
                "     kernel {} at {:.0} s: {shown}",
                kernel.series,
                started.elapsed().as_secs_f64()
            );
        }
    })?;
    eprintln!(
        "     kernel {}: off after {:.1} s",
        kernel.series,
        started.elapsed().as_secs_f64()
    );
    record::store(&directory, kernel, &lines, arguments.is_of_everything())?;
    let mut failures = run.failures(kernel);
    if ended == Ended::Silent {
        failures.push(format!("it said nothing for {} s", silence.as_secs()));
    }
    if !failures.is_empty() {
        eprintln!("--- kernel {}: what is wrong", kernel.series);
        failures.iter().for_each(|line| eprintln!("{line}"));
        eprintln!("--- kernel {}: what the tests said at last", kernel.series);
        run.said.iter().for_each(|line| eprintln!("{line}"));
        eprintln!("--- its console");
        eprintln!("{}", machine::last_lines(&console));
    }
    fs::remove_file(&image).with_context(|| format!("removing {}", image.display()))?;
    Ok(Row {
        kernel: *kernel,
        version: stored.version.clone(),
        run,
        failures,
    })
}

/// What runs in every VM.
#[derive(Debug)]
struct Built {
    init: PathBuf,
    /// The live tests.
    suite: PathBuf,
    agent: PathBuf,
    /// Goes every way into a socket, and who judges what became of it.
    ways: PathBuf,
    judge: PathBuf,
    /// All programs of this workspace but the first process.
    programs: Vec<PathBuf>,
    system: Vec<PathBuf>,
    busybox: PathBuf,
}

impl Built {
    /// Builds what only VMs need and finds the rest.
    fn build(workspace: &Workspace) -> Result<Self> {
        let mut cargo = command::cargo();
        cargo
            .args(["test", "--no-run", "--locked", "--package", "tests"])
            .args([
                "--test",
                results::PROVIDERS,
                "--message-format",
                "json-render-diagnostics",
            ])
            .current_dir(&workspace.root);
        eprintln!("     $ {}", command::display(&cargo));
        let suite = executable(&command::output(&mut cargo)?, results::PROVIDERS)
            .context("cargo built no live tests of the providers")?;
        let binaries = workspace.target.join(Profile::Debug.directory());
        let [agent, collector, server, same_pid, ways, judge] = [
            "eastwatch-agent",
            "eastwatch-collector",
            "loadserver",
            "same-pid",
            "ways",
            "ways-judge",
        ]
        .map(|name| binaries.join(name));
        let programs = [&agent, &collector, &server, &same_pid, &ways, &judge, &suite].map(Clone::clone);
        let find =
            |name: &str| command::find_program(name).with_context(|| format!("{name} is not installed"));
        Ok(Self {
            init: binaries.join("vm-init"),
            suite,
            programs: programs.into(),
            agent,
            ways,
            judge,
            system: SYSTEM.into_iter().map(find).collect::<Result<_>>()?,
            busybox: find("busybox")?,
        })
    }

    /// A file system of a first process that has nothing to do.
    fn nothing(&self) -> Result<Vec<u8>> {
        initrd::pack(&Contents {
            init: &self.init,
            plan: &json!({"results": RESULTS, "modules": [], "steps": []}).to_string(),
            built: &[],
            system: &[],
            modules: &[],
            busybox: &self.busybox,
        })
    }

    /// What the first process does.
    fn plan(
        &self,
        workspace: &Workspace,
        arguments: &Arguments,
        kernel: &Kernel,
        accelerator: Accelerator,
        modules: &[PathBuf],
    ) -> String {
        let silence = STEP_SILENCE * accelerator.patience();
        let mut environment = json!({
            // What the tests need must be in the VM.
            "CI": "true",
            "EASTWATCH_BIN_DIR": workspace.target.join(Profile::Debug.directory()),
            "EASTWATCH_TEST_PATIENCE": accelerator.patience().to_string(),
            "EASTWATCH_TEST_PROCESSES": arguments.processes.to_string(),
            "HOME": "/root",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "RUST_BACKTRACE": "0",
        });
        let wanted = arguments.providers.iter();
        let wanted: Vec<&str> = wanted
            .filter(|name| kernel.lack_of(name).is_none())
            .map(String::as_str)
            .collect();
        if let (Some(environment), false) = (environment.as_object_mut(), arguments.providers.is_empty()) {
            environment.insert("EASTWATCH_TEST_PROVIDERS".to_owned(), json!(wanted.join(",")));
        }
        if let (Some(environment), false) = (environment.as_object_mut(), arguments.ways.is_empty()) {
            environment.insert("EASTWATCH_TEST_CHECKS".to_owned(), json!("load"));
        }
        let mut steps = vec![json!({
            "name": results::PROVIDERS,
            "argv": [self.suite, "--nocapture", "--test-threads=1"],
            "env": environment,
            "silence_s": silence.as_secs(),
        })];
        if !arguments.without_ways {
            let mut words = vec![json!(self.judge), json!("--agent"), json!(self.agent)];
            words.extend([json!("--ways"), json!(self.ways)]);
            words.extend(["--kernel", kernel.series, "--provider", "{provider}"].map(|word| json!(word)));
            words.extend(arguments.ways.iter().map(|way| json!(way)));
            steps.push(json!({
                "name": results::WAYS,
                "argv": words,
                "env": environment,
                "silence_s": silence.as_secs(),
            }));
        }
        let modules: Vec<String> = modules.iter().map(|module| initrd::module_path(module)).collect();
        json!({"results": RESULTS, "modules": modules, "steps": steps}).to_string()
    }
}

/// The path of a test target in cargo's messages.
fn executable(messages: &str, target: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let name = message.pointer("/target/name")?.as_str()?;
        let path = message.get("executable")?.as_str()?;
        (name == target).then(|| path.into())
    })
}

/// Why VMs cannot be run here; `None` when they can.
pub fn obstacle() -> Option<String> {
    if std::env::consts::ARCH != "x86_64" {
        return Some("the kernels of the VMs are for x86-64".to_owned());
    }
    let programs = ["qemu-system-x86_64", "dpkg-deb", "apt-get"];
    let missing = programs
        .iter()
        .find(|name| command::find_program(name).is_none())?;
    Some(format!(
        "{missing} is not installed; run `cargo xtask setup --tests`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_executable_of_a_target_in_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"tests\"},\"executable\":null}\n\
                        {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"providers\"},\"executable\":\"/t/providers-1\"}\n\
                        {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages, "providers"), Some("/t/providers-1".into()));
        assert_eq!(executable(messages, "tests"), None);
    }
}
