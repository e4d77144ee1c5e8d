//! A VM: one run of QEMU from its kernel's first instruction to its power-off.
//!
//! The kernel's console goes to a file, results to QEMU's standard output by way of a second serial port, so that neither disturbs
//! the other.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::command;

const QEMU: &str = "qemu-system-x86_64";

/// Memory of a VM, MB: its file system, the ring buffer of an agent and a collector.
const MEMORY_MB: u32 = 1024;

/// Console lines that a report shows.
const CONSOLE_LINES: usize = 15;

/// What executes the VM's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU, which is ten times slower or more, but works everywhere.
    Tcg,
}

impl Accelerator {
    /// KVM where a machine with it starts. That its device is there proves nothing.
    pub fn detect() -> Self {
        let works = || -> Result<bool> {
            let mut qemu = Command::new(QEMU);
            qemu.args([
                "-M",
                "q35",
                "-cpu",
                "max",
                "-m",
                "64",
                "-nodefaults",
                "-display",
                "none",
            ])
            .args(["-accel", "kvm", "-S", "-monitor", "stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
            let mut child = qemu.spawn()?;
            // A machine that could not be made has ended before it reads this.
            let asked = child
                .stdin
                .take()
                .context("it has an input")?
                .write_all(b"quit\n");
            Ok(child.wait()?.success() && asked.is_ok())
        };
        if Path::new("/dev/kvm").exists() && works().unwrap_or(false) {
            Self::Kvm
        } else {
            Self::Tcg
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The VM is off, or has given up.
    Off,
    /// It took too long and was ended.
    TimedOut,
}

/// Boots a kernel and gives each line of results to `heed` until the VM is off.
pub fn run(
    accelerator: Accelerator,
    kernel: &Path,
    initrd: &Path,
    console: &Path,
    timeout: Duration,
    mut heed: impl FnMut(&str),
) -> Result<Ended> {
    let mut qemu = command(accelerator, kernel, initrd, console);
    let deadline = Instant::now() + timeout;
    let mut child = qemu
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting `{}`", command::display(&qemu)))?;
    let output = child.stdout.take().context("it has an output")?;
    let (send, receive) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    let ended = loop {
        match receive.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            // The terminal in the VM ends lines as terminals do.
            Ok(line) => heed(line.trim_end_matches('\r')),
            Err(RecvTimeoutError::Disconnected) => break Ended::Off,
            Err(RecvTimeoutError::Timeout) => {
                child.kill().context("ending QEMU")?;
                break Ended::TimedOut;
            }
        }
    };
    child.wait().context("waiting for QEMU")?;
    if reader.join().is_err() {
        anyhow::bail!("QEMU's output could not be read");
    }
    Ok(ended)
}

fn command(accelerator: Accelerator, kernel: &Path, initrd: &Path, console: &Path) -> Command {
    let mut qemu = Command::new(QEMU);
    qemu.args(["-M", "q35", "-accel", accelerator.name()])
        // QEMU 7.2 emulates this instruction wrongly: kernels of 6.12 then boot in some runs only.
        .args(["-cpu", "max,cx16=off"])
        .args(["-smp", "2", "-m", &MEMORY_MB.to_string()])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .args(["-serial", "stdio", "-kernel"])
        .arg(kernel)
        .arg("-initrd")
        .arg(initrd)
        .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr"]);
    qemu
}

/// The last lines of a console.
pub fn last_lines(console: &Path) -> String {
    let text = fs::read(console).unwrap_or_default();
    tail(&String::from_utf8_lossy(&text), CONSOLE_LINES)
}

fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines
        .get(lines.len().saturating_sub(count)..)
        .unwrap_or_default()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_is_shown_by_its_last_lines() {
        assert_eq!(tail("a\r\n\n  \nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a\n", 2), "a");
        assert_eq!(tail("", 2), "");
    }

    #[test]
    fn results_and_console_are_ports_of_their_own() {
        let qemu = command(Accelerator::Tcg, "k".as_ref(), "i".as_ref(), "c".as_ref());
        let shown = command::display(&qemu);
        let ports = "-serial file:c -serial stdio -kernel k -initrd i -append";
        assert!(shown.contains(ports) && shown.contains("-accel tcg"), "{shown}");
    }
}
