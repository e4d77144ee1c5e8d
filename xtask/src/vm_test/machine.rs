//! A VM: one run of QEMU from its kernel's first instruction to its power-off.
//!
//! The kernel's console goes to a file, results to QEMU's standard output by way of a second serial port, so that neither disturbs
//! the other.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command;
use crate::vm_test::results::Run;

const QEMU: &str = "qemu-system-x86_64";

/// Memory of a VM, MB: its file system, the ring buffer of an agent and a collector.
const MEMORY_MB: u32 = 1024;

/// The processor's own way of running VMs.
const DEVICE: &str = "/dev/kvm";

/// In which a VM that the processor runs boots and is off again: it takes a second or two.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(20);

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
    /// KVM where this kernel boots by it and says so in time. That its device is there proves nothing, nor that it answers: within a
    /// VM some make a machine and never run it.
    ///
    /// `initrd` holds a first process that has nothing to do.
    pub fn detect(kernel: &Path, initrd: &[u8], directory: &Path) -> Result<Self> {
        if !Path::new(DEVICE).exists() {
            return Ok(Self::Tcg);
        }
        eprintln!("     trying whether {DEVICE} boots a VM");
        let (image, console) = (directory.join("trial.cpio"), directory.join("trial.console"));
        fs::write(&image, initrd).with_context(|| format!("writing {}", image.display()))?;
        let mut run = Run::default();
        let ended = self::run(Self::Kvm, kernel, &image, &console, TRIAL_TIMEOUT, |line| {
            run.heed(line);
        })?;
        fs::remove_file(&image).with_context(|| format!("removing {}", image.display()))?;
        if run.end == Some(0) {
            return Ok(Self::Kvm);
        }
        let how = match ended {
            Ended::Off => "it ended before that",
            Ended::Silent => "it hangs",
        };
        eprintln!("     {DEVICE} boots no VM: {how}");
        Ok(Self::Tcg)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// As QEMU has it. Emulation is in one thread: with one for each processor, QEMU 7.2 gets two things wrong, `cmpxchg16b` (kernels of
    /// 6.12 then boot in some runs only) and code that is patched while another processor runs it.
    const fn argument(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg,thread=single",
        }
    }

    /// How much longer than on this machine the tests wait in a VM.
    pub const fn patience(self) -> u32 {
        match self {
            Self::Kvm => 1,
            Self::Tcg => 10,
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The VM is off, or has given up.
    Off,
    /// It said nothing for too long and was ended.
    Silent,
}

/// Boots a kernel and gives each line of results to `heed` until the VM is off, or silent for too long.
pub fn run(
    accelerator: Accelerator,
    kernel: &Path,
    initrd: &Path,
    console: &Path,
    silence: Duration,
    mut heed: impl FnMut(&str),
) -> Result<Ended> {
    let mut qemu = command(accelerator, kernel, initrd, console);
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
        match receive.recv_timeout(silence) {
            // The terminal in the VM ends lines as terminals do.
            Ok(line) => heed(line.trim_end_matches('\r')),
            Err(RecvTimeoutError::Disconnected) => break Ended::Off,
            Err(RecvTimeoutError::Timeout) => {
                child.kill().context("ending QEMU")?;
                break Ended::Silent;
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
    qemu.args(["-M", "q35", "-accel", accelerator.argument()])
        // All there is: kernels of 7.2 have no socket storage without `cmpxchg16b`.
        .args(["-cpu", "max"])
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
        assert!(
            shown.contains(ports) && shown.contains("-accel tcg,thread=single -cpu max -smp"),
            "{shown}"
        );
    }
}
