//! The first process of a test VM: prepares the machine, runs the steps that it finds, powers off.
//!
//! `/vm/plan.json` is `{"results":"/dev/ttyS1","modules":["/vm/…"],"steps":[{"name":…,"argv":[…],"env":{…},"silence_s":…}]}`; a step that says nothing
//! for so long is ended. A step with the word
//! `{provider}` is run once for each provider that an earlier step has loaded, with its name there. To the file `results` it
//! writes one JSON object a line: `{"step":NAME,"line":{…}}` for each line of a step's standard output that is a JSON object,
//! `{"step":NAME,"text":"…"}` for each other line of it and each of its standard error, `{"step":NAME,"exit":CODE,"seconds":S}` at the
//! step's end, where the code of a step that a signal ended is 128 and the signal, and `{"end":CODE}` at last: 0, or the code of the
//! first step that failed.

#![forbid(unsafe_code)]
#![allow(
    clippy::indexing_slicing,
    reason = "indexing a JSON value by a name cannot fail"
)]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// What is to be done.
const PLAN: &str = "/vm/plan.json";

/// Where, and which file system. What a kernel does not have is left out; a step that needs it says so. Nothing on `/tmp`: programs lie
/// where they were built, which may be there.
const MOUNTS: [(&str, &str); 8] = [
    ("/proc", "proc"),
    ("/sys", "sysfs"),
    ("/dev", "devtmpfs"),
    ("/dev/shm", "tmpfs"),
    ("/sys/kernel/tracing", "tracefs"),
    ("/sys/fs/bpf", "bpf"),
    ("/sys/fs/cgroup", "cgroup2"),
    ("/run", "tmpfs"),
];

/// Between two looks at a running step.
const INTERVAL: Duration = Duration::from_millis(50);

/// The code of a step that was silent for too long, as `timeout` has it.
const TIMED_OUT: i32 = 124;

/// The code when there is no plan, or it cannot be read.
const NO_PLAN: i32 = 125;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// In a step's words: the name of each provider that works here.
const PROVIDER: &str = "{provider}";

/// Where results go, for all threads.
type Results = Arc<Mutex<Record>>;

/// What was said, each line written as a whole.
struct Record {
    file: File,
    /// Providers that a step has loaded.
    loaded: Vec<String>,
    /// When something was said last.
    last: Instant,
}

/// One program to run.
#[derive(Clone)]
struct Step {
    name: String,
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    /// Longest time without a word.
    silence: Duration,
}

impl Step {
    /// What is to be run of it, as far as is known now which providers work.
    fn variants(&self, results: &Results) -> Vec<Self> {
        if !self.argv.iter().any(|word| word == PROVIDER) {
            return vec![self.clone()];
        }
        let loaded = results
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .loaded
            .clone();
        let of_provider = |provider: String| {
            let argv = self.argv.iter().map(|word| word.replace(PROVIDER, &provider));
            Self {
                argv: argv.collect(),
                ..self.clone()
            }
        };
        loaded.into_iter().map(of_provider).collect()
    }
}

fn main() {
    for (place, kind) in MOUNTS {
        let mounted = fs::create_dir_all(place).and_then(|()| {
            Ok(mount(
                Some(kind),
                place,
                Some(kind),
                MsFlags::empty(),
                None::<&str>,
            )?)
        });
        if let Err(error) = mounted {
            eprintln!("vm-init: {kind} on {place}: {error}");
        }
    }
    if let Err(error) = fs::set_permissions("/tmp", Permissions::from_mode(0o1777)) {
        eprintln!("vm-init: /tmp: {error}");
    }
    if let Err(error) = run() {
        eprintln!("vm-init: {error}");
    }
    let failed = reboot(RebootMode::RB_POWER_OFF);
    eprintln!("vm-init: cannot power off: {failed:?}");
}

fn run() -> Result<(), AnyError> {
    let plan: Value = serde_json::from_slice(&fs::read(PLAN)?)?;
    let results = plan["results"].as_str().ok_or("the plan names no results")?;
    let results = Arc::new(Mutex::new(Record {
        file: OpenOptions::new().write(true).open(results)?,
        loaded: Vec::new(),
        last: Instant::now(),
    }));
    let code = match prepare(&plan).and_then(|()| steps(&plan)) {
        Ok(steps) => steps
            .iter()
            .flat_map(|step| step.variants(&results))
            .map(|step| conduct(&step, &results))
            .fold(0, |first, code| if first == 0 { code } else { first }),
        Err(error) => {
            eprintln!("vm-init: {error}");
            NO_PLAN
        }
    };
    say(&results, &json!({"end": code}));
    // The last user's close waits until the terminal has sent everything.
    Ok(())
}

/// What programs expect of a machine besides file systems.
fn prepare(plan: &Value) -> Result<(), AnyError> {
    for module in words(&plan["modules"]).ok_or("the plan names no modules")? {
        let loaded = Command::new("insmod").arg(&module).status()?;
        if !loaded.success() {
            return Err(format!("cannot load {module}").into());
        }
    }
    let loopback = Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    if !loopback.success() {
        return Err("cannot bring the loopback interface up".into());
    }
    fs::write("/proc/sys/kernel/hostname", "vm")?;
    Ok(())
}

fn words(value: &Value) -> Option<Vec<String>> {
    let items = value.as_array()?.iter();
    items.map(|item| item.as_str().map(str::to_owned)).collect()
}

fn steps(plan: &Value) -> Result<Vec<Step>, AnyError> {
    let read = |step: &Value| {
        let env = step["env"].as_object()?.iter();
        Some(Step {
            name: step["name"].as_str()?.to_owned(),
            argv: words(&step["argv"])?,
            env: env
                .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect::<Option<_>>()?,
            silence: Duration::from_secs(step["silence_s"].as_u64()?),
        })
    };
    let steps = plan["steps"].as_array().ok_or("the plan has no steps")?;
    let steps: Option<Vec<Step>> = steps.iter().map(read).collect();
    Ok(steps.ok_or("a step of the plan lacks something")?)
}

/// Runs a step to its end and gives its code. Nothing that it started is left.
fn conduct(step: &Step, results: &Results) -> i32 {
    let started = Instant::now();
    results.lock().unwrap_or_else(PoisonError::into_inner).last = started;
    let code = match start(step) {
        Ok(mut child) => {
            let readers = [
                child
                    .stdout
                    .take()
                    .map(|out| forward(out, as_line, &step.name, results)),
                child
                    .stderr
                    .take()
                    .map(|err| forward(err, as_text, &step.name, results)),
            ];
            let code = wait(&mut child, step.silence, results);
            end_everything();
            for reader in readers.into_iter().flatten() {
                if reader.join().is_err() {
                    eprintln!("vm-init: {}: what it said could not be read", step.name);
                }
            }
            code
        }
        Err(error) => {
            say(results, &json!({"step": step.name, "text": error.to_string()}));
            NO_PLAN
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    say(
        results,
        &json!({"step": step.name, "exit": code, "seconds": seconds}),
    );
    code
}

fn start(step: &Step) -> Result<Child, AnyError> {
    let (program, arguments) = step.argv.split_first().ok_or("a step without a program")?;
    if !Path::new(program).exists() {
        return Err(format!("{program} is not in this machine").into());
    }
    let child = Command::new(program)
        .args(arguments)
        .envs(&step.env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    Ok(child)
}

fn wait(child: &mut Child, silence: Duration, results: &Results) -> i32 {
    let is_silent = || {
        let last = results.lock().unwrap_or_else(PoisonError::into_inner).last;
        last.elapsed() > silence
    };
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                let signal = status.signal().map(|signal| 128 + signal);
                return status.code().or(signal).unwrap_or(NO_PLAN);
            }
            Ok(None) if !is_silent() => thread::sleep(INTERVAL),
            Ok(None) => return TIMED_OUT,
            Err(error) => {
                eprintln!("vm-init: waiting: {error}");
                return NO_PLAN;
            }
        }
    }
}

/// Kills every other process and takes leave of it.
fn end_everything() {
    // An error means that there is none.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    while !matches!(
        waitpid(None, Some(WaitPidFlag::empty())),
        Err(_) | Ok(WaitStatus::StillAlive)
    ) {}
}

/// Passes lines on until the last process that could write one is gone.
fn forward(
    from: impl Read + Send + 'static,
    shape: fn(&str, &str) -> Value,
    step: &str,
    results: &Results,
) -> JoinHandle<()> {
    let (step, results) = (step.to_owned(), Arc::clone(results));
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            if !line.trim().is_empty() {
                say(&results, &shape(&step, &line));
            }
        }
    })
}

/// A line of the standard output.
fn as_line(step: &str, line: &str) -> Value {
    match serde_json::from_str::<Value>(line) {
        Ok(object) if object.is_object() => json!({"step": step, "line": object}),
        _ => as_text(step, line),
    }
}

fn as_text(step: &str, line: &str) -> Value {
    json!({"step": step, "text": line})
}

fn say(results: &Results, line: &Value) {
    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
    results.last = Instant::now();
    let said = &line["line"];
    if said["check"] == "load" && said["ok"] == true {
        results
            .loaded
            .extend(said["provider"].as_str().map(str::to_owned));
    }
    if let Err(error) = writeln!(results.file, "{line}") {
        eprintln!("vm-init: {error}: {line}");
    }
}
