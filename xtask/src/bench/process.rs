//! Processes that are measured: started, awaited, looked at in `/proc`, ended.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};
use serde::Serialize;

use crate::command;

/// Time for a process to be ready. Loading eBPF programs takes the kernel's verifier a second or more.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// Between attempts to connect to a server that says nothing.
const CONNECT_INTERVAL: Duration = Duration::from_millis(20);
/// Time for a process to end after SIGTERM.
const END_DEADLINE: Duration = Duration::from_secs(30);
/// Lines that are kept to explain a failure.
const KEPT_LINES_MAX: usize = 30;

type Kept = Arc<Mutex<VecDeque<String>>>;

/// A process that ends with this value, and with this program in whatever way that ends.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    kept: Kept,
    /// Closed when the process has closed its output: when it has ended.
    lines: Receiver<String>,
}

impl Process {
    /// Starts it and waits until `ready` finds what it looks for in a line that it writes.
    pub fn start<T>(name: &str, command: &Command, ready: impl Fn(&str) -> Option<T>) -> Result<(Self, T)> {
        let process = Self::spawn(name, command)?;
        let until = Instant::now() + READY_DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match process.lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some(found) = ready(&line) {
                        return Ok((process, found));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => bail!("{name} ended early:\n{}", process.last_words()),
                Err(RecvTimeoutError::Timeout) => return Err(process.late()),
            }
        }
    }

    /// Starts a server that says nothing, and waits until it accepts connections at `address`.
    pub fn listening(name: &str, command: &Command, address: SocketAddr) -> Result<Self> {
        let process = Self::spawn(name, command)?;
        let until = Instant::now() + READY_DEADLINE;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > until {
                return Err(process.late());
            }
            if let Err(RecvTimeoutError::Disconnected) = process.lines.recv_timeout(CONNECT_INTERVAL) {
                bail!("{name} ended early:\n{}", process.last_words());
            }
        }
        Ok(process)
    }

    fn late(&self) -> anyhow::Error {
        let seconds = READY_DEADLINE.as_secs();
        anyhow!(
            "{} was not ready after {seconds} s:\n{}",
            self.name,
            self.last_words()
        )
    }

    fn spawn(name: &str, command: &Command) -> Result<Self> {
        let mut wrapped = Command::new("setpriv");
        wrapped
            .args(["--pdeathsig", "TERM", "--"])
            .arg(command.get_program())
            .args(command.get_args())
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = wrapped
            .spawn()
            .with_context(|| format!("starting {name}: `{}`", command::display(command)))?;
        let (sender, lines) = mpsc::channel();
        let kept = Kept::default();
        if let Some(stdout) = child.stdout.take() {
            forward(stdout, sender.clone(), Arc::clone(&kept));
        }
        if let Some(stderr) = child.stderr.take() {
            forward(stderr, sender, Arc::clone(&kept));
        }
        Ok(Self {
            name: name.to_owned(),
            child,
            kept,
            lines,
        })
    }

    /// User and system time of the process and of its children that live.
    pub fn cpu(&self) -> Result<Duration> {
        let pid = self.child.id();
        let mut total =
            stat(pid).with_context(|| format!("{} has ended:\n{}", self.name, self.last_words()))?;
        for entry in fs::read_dir("/proc").context("reading /proc")?.flatten() {
            let Some(other) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // A process that ends meanwhile is none of ours: those are looked at while they run.
            if let Some(found) = stat(other).filter(|found| found.parent == pid) {
                total.ticks += found.ticks;
            }
        }
        duration(total.ticks)
    }

    /// Resident memory of the process.
    pub fn memory(&self) -> Result<Memory> {
        Memory::of(self.child.id())
    }

    fn last_words(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|line| format!("  {line}\n")).collect()
    }

    fn signal(&self, signal: Signal) {
        // It is not reaped before this value goes, so the number is still its own; one that has ended needs no signal.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
        let until = Instant::now() + END_DEADLINE;
        loop {
            match self
                .lines
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    eprintln!("warning: {} does not end; it is killed", self.name);
                    self.signal(Signal::SIGKILL);
                    break;
                }
            }
        }
        if let Err(error) = self.child.wait() {
            eprintln!("warning: waiting for {}: {error}", self.name);
        }
    }
}

fn forward(stream: impl Read + Send + 'static, sender: Sender<String>, kept: Kept) {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == KEPT_LINES_MAX {
                kept.pop_front();
            }
            kept.push_back(line.clone());
            drop(kept);
            if sender.send(line).is_err() {
                break;
            }
        }
    });
}

/// User and system time of a process. `None` when there is none of that number.
pub fn cpu_of(pid: u32) -> Option<Duration> {
    duration(stat(pid)?.ticks).ok()
}

/// User and system time of all children of this program that have ended and were waited for.
pub fn ended_children() -> Result<Duration> {
    let stat = stat(std::process::id()).context("reading /proc/self/stat")?;
    duration(stat.ticks_of_children)
}

fn duration(ticks: u64) -> Result<Duration> {
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("the kernel has no clock tick")?;
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system time.
    ticks: u64,
    /// The same of its children that have ended.
    ticks_of_children: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Parent and times of a line of `/proc/PID/stat` (proc(5)). The name in parentheses may hold anything.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    // state, ppid, pgrp, session, tty, tpgid, flags, four page faults, utime, stime, cutime, cstime.
    let mut fields = rest.split_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let mut times = fields.skip(9).map(|field| field.parse::<u64>().ok());
    let mut user_and_system = || Some(times.next()?? + times.next()??);
    Some(Stat {
        parent,
        ticks: user_and_system()?,
        ticks_of_children: user_and_system()?,
    })
}

/// Resident memory, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// All of it.
    pub resident: u64,
    /// Heap and stacks.
    pub anonymous: u64,
    /// Code, and the ring buffer as far as it was mapped.
    pub file: u64,
    /// Largest value of `resident` so far.
    pub peak: u64,
}

impl Memory {
    /// Of a process that has not ended.
    pub fn of(pid: u32) -> Result<Self> {
        let file = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
        Self::parse(&text).with_context(|| format!("{file} does not say how much memory is resident"))
    }

    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some(kilobytes * 1024)
        };
        Some(Self {
            resident: field("VmRSS:")?,
            anonymous: field("RssAnon:")?,
            file: field("RssFile:")? + field("RssShmem:")?,
            peak: field("VmHWM:")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_behind_any_name() {
        let line = "12 (a) b) c) S 7 12 12 0 -1 4194560 1 2 3 4 150 50 8 9 20 0 1 0 99 1 2\n";
        let expected = Stat {
            parent: 7,
            ticks: 200,
            ticks_of_children: 17,
        };
        assert_eq!(parse_stat(line), Some(expected));
        assert_eq!(parse_stat("12 (a) S 7 1"), None);
    }

    #[test]
    fn reads_resident_memory() {
        let status = "Name:\tx\nVmHWM:\t   20 kB\nVmRSS:\t   10 kB\nRssAnon:\t  4 kB\nRssFile:\t  5 kB\nRssShmem:\t  1 kB\n";
        let expected = Memory {
            resident: 10 * 1024,
            anonymous: 4 * 1024,
            file: 6 * 1024,
            peak: 20 * 1024,
        };
        assert_eq!(Memory::parse(status), Some(expected));
        assert_eq!(Memory::parse("Name:\tx\n"), None);
    }

    #[test]
    fn a_process_is_awaited_measured_and_ended() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready 5; exec sleep 1000"]);
        let (process, number) = Process::start("sleeper", &command, |line| {
            line.strip_prefix("ready ")?.parse::<u32>().ok()
        })
        .unwrap();
        assert_eq!(number, 5);
        assert!(process.cpu().unwrap() < Duration::from_secs(10));
        assert!(process.memory().unwrap().resident > 0);
        let pid = process.child.id();
        drop(process);
        assert_eq!(stat(pid), None);
    }

    #[test]
    fn a_process_that_fails_is_quoted() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'no such file' >&2; exit 3"]);
        let error = Process::start("broken", &command, |_| None::<()>)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("broken ended early") && error.contains("no such file"),
            "{error}"
        );
    }
}
