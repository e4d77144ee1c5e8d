//! Child processes that never outlive this program.
//!
//! Each child leads a process group, is ended by its own process id through that group, and asks the kernel for SIGTERM when
//! this program dies in whatever way (`PR_SET_PDEATHSIG`, set by `setpriv`). Its standard input is a pipe that closes with
//! this program. What it writes and its end arrive as events of one channel, so that waiting never polls.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::command;
use crate::stop;

/// Time that a child gets between SIGTERM and SIGKILL.
const END_DEADLINE: Duration = Duration::from_secs(15);

/// Lines of each child that are kept to explain a failure.
const KEPT_LINES_MAX: usize = 40;

/// What happened.
#[derive(Debug)]
enum Event {
    /// A child wrote a line; its index.
    Line(usize, String),
    /// A child has ended but is not reaped yet, so that its process id still names it.
    Ended(usize),
    /// Ctrl-C or a signal to end.
    Stop,
}

/// Why a wait came to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Pause {
    /// The time is over.
    Elapsed,
    /// Somebody asked this program to end.
    Stopped,
}

/// What becomes of the lines that a child writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Shown with the child's name in front.
    Shown,
    /// Kept, to be shown should the child fail.
    Kept,
}

/// The children, in the order of their start; ended in the opposite order.
#[derive(Debug)]
pub struct Children {
    running: Vec<Running>,
    events: Receiver<Event>,
    sender: Sender<Event>,
}

#[derive(Debug)]
struct Running {
    name: String,
    child: Child,
    output: Output,
    kept: VecDeque<String>,
    ended: bool,
}

impl Children {
    /// From now on Ctrl-C and SIGTERM end waits instead of this program.
    pub fn new() -> Result<Self> {
        let (sender, events) = mpsc::channel();
        let stop = sender.clone();
        // The receiver is gone only when this program ends anyway.
        stop::forward(move || drop(stop.send(Event::Stop)))?;
        Ok(Self {
            running: Vec::new(),
            events,
            sender,
        })
    }

    /// Starts a child and waits until `ready` finds what it looks for in a line; returns that.
    pub fn start<T>(
        &mut self,
        name: &str,
        command: &Command,
        output: Output,
        deadline: Duration,
        ready: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let index = self.spawn(name, command, output)?;
        let until = Instant::now() + deadline;
        loop {
            match self.next(until) {
                Ok(Event::Line(from, line)) if from == index => {
                    let found = ready(&line);
                    self.take_line(from, line);
                    if let Some(found) = found {
                        return Ok(found);
                    }
                }
                Ok(Event::Line(from, line)) => self.take_line(from, line),
                Ok(Event::Ended(which)) => return Err(self.failure(which, "ended before it was ready")),
                Ok(Event::Stop) => bail!("interrupted while {name} started"),
                Err(_) => {
                    let what = format!("was not ready after {} s", deadline.as_secs());
                    return Err(self.failure(index, &what));
                }
            }
        }
    }

    /// Waits for `duration`, or less when asked to end; an error when a child ends meanwhile.
    pub fn pause(&mut self, duration: Duration) -> Result<Pause> {
        let until = Instant::now() + duration;
        loop {
            match self.next(until) {
                Ok(Event::Line(from, line)) => self.take_line(from, line),
                Ok(Event::Ended(which)) => return Err(self.failure(which, "ended by itself")),
                Ok(Event::Stop) => return Ok(Pause::Stopped),
                Err(_) => return Ok(Pause::Elapsed),
            }
        }
    }

    /// Ends every child, the last one first. Each has [`END_DEADLINE`] to finish what it does.
    pub fn end(&mut self) {
        while let Some(index) = self.running.len().checked_sub(1) {
            self.signal(index, Signal::SIGTERM);
            let until = Instant::now() + END_DEADLINE;
            while self.running.get(index).is_some_and(|running| !running.ended) {
                match self.next(until) {
                    Ok(Event::Line(from, line)) => self.take_line(from, line),
                    Ok(Event::Ended(which)) => self.mark_ended(which),
                    // Whoever asks twice is in a hurry.
                    Ok(Event::Stop) | Err(_) => break,
                }
            }
            // What is left of the group, workers of a killed server for instance.
            self.signal(index, Signal::SIGKILL);
            if let Some(mut running) = self.running.pop()
                && let Err(error) = running.child.wait()
            {
                eprintln!("warning: waiting for {}: {error}", running.name);
            }
        }
    }

    fn spawn(&mut self, name: &str, command: &Command, output: Output) -> Result<usize> {
        let index = self.running.len();
        let mut wrapped = dying_with_parent(command);
        wrapped
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = wrapped
            .spawn()
            .with_context(|| format!("starting {name}: `{}`", command::display(command)))?;
        if let Some(stdout) = child.stdout.take() {
            self.forward_lines(index, stdout);
        }
        if let Some(stderr) = child.stderr.take() {
            self.forward_lines(index, stderr);
        }
        self.forward_end(index, pid(&child));
        self.running.push(Running {
            name: name.to_owned(),
            child,
            output,
            kept: VecDeque::new(),
            ended: false,
        });
        Ok(index)
    }

    fn forward_lines(&self, index: usize, stream: impl Read + Send + 'static) {
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                if sender.send(Event::Line(index, line)).is_err() {
                    break;
                }
            }
        });
    }

    fn forward_end(&self, index: usize, pid: Pid) {
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            // Not reaped here: until `end` has signalled the group, the number must not be given to another process.
            while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(nix::Error::EINTR)
            {
            }
            // The receiver is gone only when this program ends anyway.
            drop(sender.send(Event::Ended(index)));
        });
    }

    fn next(&self, until: Instant) -> Result<Event, RecvTimeoutError> {
        self.events
            .recv_timeout(until.saturating_duration_since(Instant::now()))
    }

    fn take_line(&mut self, index: usize, line: String) {
        let Some(running) = self.running.get_mut(index) else {
            return;
        };
        if running.output == Output::Shown {
            eprintln!("{}: {line}", running.name);
        }
        if running.kept.len() == KEPT_LINES_MAX {
            running.kept.pop_front();
        }
        running.kept.push_back(line);
    }

    fn mark_ended(&mut self, index: usize) {
        if let Some(running) = self.running.get_mut(index) {
            running.ended = true;
        }
    }

    fn failure(&mut self, index: usize, what: &str) -> anyhow::Error {
        self.mark_ended_if_reaped(index);
        // What it said last may still be on its way.
        while let Ok(event) = self.events.recv_timeout(Duration::from_millis(100)) {
            match event {
                Event::Line(from, line) => self.take_line(from, line),
                Event::Ended(which) => self.mark_ended(which),
                Event::Stop => break,
            }
        }
        let Some(running) = self.running.get(index) else {
            return anyhow::anyhow!("a child {what}");
        };
        let said: String = match running.output {
            Output::Shown => String::new(),
            Output::Kept => running.kept.iter().map(|line| format!("\n  {line}")).collect(),
        };
        anyhow::anyhow!("{} {what}{said}", running.name)
    }

    fn mark_ended_if_reaped(&mut self, index: usize) {
        let Some(running) = self.running.get_mut(index) else {
            return;
        };
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        running.ended = matches!(
            waitid(Id::Pid(pid(&running.child)), flags),
            Ok(nix::sys::wait::WaitStatus::Exited(..) | nix::sys::wait::WaitStatus::Signaled(..))
        );
    }

    fn signal(&self, index: usize, signal: Signal) {
        let Some(running) = self.running.get(index) else {
            return;
        };
        match killpg(pid(&running.child), signal) {
            Ok(()) | Err(nix::Error::ESRCH | nix::Error::EPERM) => {}
            Err(error) => eprintln!("warning: sending {signal} to {}: {error}", running.name),
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.end();
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// The same command under `setpriv`, which stays the parent of nothing: it replaces itself.
fn dying_with_parent(command: &Command) -> Command {
    let mut wrapped = Command::new("setpriv");
    wrapped
        .args(["--pdeathsig", "TERM", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        wrapped.current_dir::<&OsStr>(directory.as_os_str());
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn port(line: &str) -> Option<u16> {
        line.strip_prefix("ready ")?.parse().ok()
    }

    fn exists(pid: i32) -> bool {
        nix::sys::signal::kill(Pid::from_raw(pid), None).is_ok()
    }

    #[test]
    fn a_child_is_ready_when_it_says_so_and_is_ended_with_its_workers() {
        let mut children = Children::new().unwrap();
        let script = "sleep 1000 & echo worker $!; echo ready 17; wait";
        let worker = children
            .start("server", &shell(script), Output::Kept, LONG, |line| {
                line.strip_prefix("worker ")?.parse().ok()
            })
            .unwrap();
        assert!(exists(worker));
        assert_eq!(children.pause(Duration::ZERO).unwrap(), Pause::Elapsed);
        children.end();
        // A zombie is for whoever adopted it to reap; it does not run.
        let runs = || {
            let state = std::fs::read_to_string(format!("/proc/{worker}/stat")).unwrap_or_default();
            !state.is_empty() && !state.contains(") Z ")
        };
        let until = Instant::now() + LONG;
        while runs() {
            assert!(Instant::now() < until, "the worker {worker} outlived its group");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_child_that_ignores_sigterm_is_killed_on_a_second_request() {
        let mut children = Children::new().unwrap();
        let script = "trap '' TERM; echo ready 1; while :; do sleep 1000; done";
        children
            .start("stubborn", &shell(script), Output::Kept, LONG, port)
            .unwrap();
        children.sender.send(Event::Stop).unwrap();
        let started = Instant::now();
        children.end();
        assert!(started.elapsed() < END_DEADLINE);
    }

    #[test]
    fn a_child_that_fails_is_quoted() {
        let mut children = Children::new().unwrap();
        let error = children
            .start(
                "broken",
                &shell("echo 'no such file' >&2; exit 3"),
                Output::Kept,
                LONG,
                port,
            )
            .unwrap_err()
            .to_string();
        assert_eq!(error, "broken ended before it was ready\n  no such file");
    }

    #[test]
    fn a_child_that_is_never_ready_is_given_up() {
        let mut children = Children::new().unwrap();
        let error = children
            .start(
                "slow",
                &shell("sleep 1000"),
                Output::Kept,
                Duration::from_millis(50),
                port,
            )
            .unwrap_err();
        assert!(
            error.to_string().starts_with("slow was not ready after 0 s"),
            "{error}"
        );
    }
}
