//! A child process that ends with the test.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::wait::{DEADLINE, found_within, until, until_within};

/// How long a child gets between SIGTERM and SIGKILL when a test is over.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// After so many times the deadline a child that works but does not say what is waited for is given up.
const WORKING_MAX: u32 = 10;

/// Finds a program on `PATH` or where system programs lie.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into(), "/usr/bin".into()])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// A running child, leader of a process group of its own; its output goes to files.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`; `NAME.out` and `NAME.err` in `directory` take what it writes. Its standard input stays open until it is
    /// dropped, and the kernel ends it should this test be killed.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(name: &str, directory: &Path, command: &Command) -> Self {
        let (out, err) = (
            directory.join(format!("{name}.out")),
            directory.join(format!("{name}.err")),
        );
        let mut wrapped = match program("setpriv") {
            Some(setpriv) => {
                let mut wrapped = Command::new(setpriv);
                wrapped.args(["--pdeathsig", "TERM"]).arg(command.get_program());
                wrapped
            }
            // A machine that lives for the tests alone may lack it: whatever it starts ends with it.
            None => Command::new(command.get_program()),
        };
        wrapped.args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            wrapped.current_dir(directory);
        }
        let child = wrapped
            .stdin(Stdio::piped())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self {
            name: name.to_owned(),
            child,
            out,
            err,
            ended: None,
        }
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to its standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        text(&self.out)
    }

    /// What it wrote to its standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        text(&self.err)
    }

    /// Waits until it has written a line, on either output, in which `find` finds something.
    ///
    /// # Panics
    /// It ended first, or the deadline passed.
    pub fn until_line<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let what = format!("{}: {what}", self.name);
        let mut worked = self.ticks();
        for _ in 0..WORKING_MAX {
            if let Some(found) = found_within(DEADLINE, || self.line(&what, &find)) {
                return found;
            }
            let before = std::mem::replace(&mut worked, self.ticks());
            assert!(worked > before, "{what}: it does nothing\n{}", self.stderr());
        }
        panic!("{what}: it works and works\n{}", self.stderr());
    }

    /// What `find` finds in its lines.
    fn line<T>(&mut self, what: &str, find: &impl Fn(&str) -> Option<T>) -> Option<T> {
        let ended = self.try_wait();
        let found = [self.stdout(), self.stderr()]
            .iter()
            .find_map(|text| text.lines().find_map(find));
        assert!(
            found.is_some() || ended.is_none(),
            "ended ({ended:?}) before: {what}\n{}",
            self.stderr()
        );
        found
    }

    /// Processor time that it has taken, in the kernel's ticks: fields `utime` and `stime` of proc_pid_stat(5). 0 when it is gone.
    fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let times = fields.split(' ').skip(11).take(2);
        times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
    }

    /// Writes a line to its standard input.
    ///
    /// # Panics
    /// It has ended.
    pub fn write_line(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{line}").unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Writes a line to its standard input and waits until it has said `done` once more.
    ///
    /// # Panics
    /// It ended, or the deadline passed.
    pub fn order(&mut self, line: &str) {
        let said = |text: &str| text.lines().filter(|line| *line == "done").count();
        let before = said(&self.stdout());
        self.write_line(line);
        let what = format!("{} does {line}", self.name);
        until(&what, || {
            let ended = self.try_wait();
            let done = said(&self.stdout()) > before;
            assert!(done || ended.is_none(), "{what}: {ended:?}\n{}", self.stderr());
            done.then_some(())
        });
    }

    /// Its exit status, once it has ended.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It does not end within the deadline.
    pub fn wait(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        until_within(DEADLINE, &what, || self.try_wait())
    }

    /// Sends a signal to it alone.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Asks it to end and waits. Gives its status and how long that took.
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        self.signal(Signal::SIGTERM);
        (self.wait(), asked.elapsed())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.try_wait().is_none() {
            let _ = kill(self.pid(), Signal::SIGTERM);
            let end = Instant::now() + END_DEADLINE;
            while self.try_wait().is_none() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        // What is left of its group: workers of a server, for instance.
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
        if std::thread::panicking() {
            let error = self.stderr();
            let tail: Vec<&str> = error.lines().rev().take(30).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            eprintln!("--- {} wrote:\n{}", self.name, tail.join("\n"));
        }
    }
}
