//! Runs a program as a process of a given id, as happens by itself when the kernel has given out all ids once.
//!
//! `same-pid ID PROGRAM ARGUMENT…` ends as the program does; with 75 when the id is in use. Needs root, and kernel 5.5.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// `EX_TEMPFAIL`.
const IN_USE: u8 = 75;

/// `EX_SOFTWARE`.
const BROKEN: u8 = 70;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let id = words.next().and_then(|word| word.parse::<libc::pid_t>().ok());
    let (Some(id), Some(program)) = (id, words.next()) else {
        eprintln!("usage: same-pid ID PROGRAM ARGUMENT…");
        return ExitCode::from(BROKEN);
    };
    let mut command = Command::new(program);
    command.args(words);
    match run(id, &mut command) {
        Ok(code) => ExitCode::from(code),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => ExitCode::from(IN_USE),
        Err(error) => {
            eprintln!("same-pid: {error}");
            ExitCode::from(BROKEN)
        }
    }
}

/// Gives the exit code of the program; one that a signal ended is [`BROKEN`].
fn run(id: libc::pid_t, command: &mut Command) -> io::Result<u8> {
    // SAFETY: numbers and addresses of which all zeroes is a value (clone(2)).
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.set_tid = &raw const id as u64;
    arguments.set_tid_size = 1;
    // SAFETY: without flags it is a fork: the child has copies of everything, and as this program has one thread the child may do
    // everything. The arguments live until it returns.
    let child = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<libc::clone_args>(),
        )
    };
    match child {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // Returns only when it failed.
            let error = command.exec();
            eprintln!("same-pid: {error}");
            // SAFETY: no addresses; `_exit` runs nothing of this program's.
            unsafe { libc::_exit(BROKEN.into()) }
        }
        _ => wait(id),
    }
}

fn wait(id: libc::pid_t) -> io::Result<u8> {
    let mut status = 0;
    // SAFETY: a local.
    while unsafe { libc::waitpid(id, &raw mut status, 0) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(BROKEN))
}
