//! Processes that the program makes, and what they share.

use std::io;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::sys;
use crate::trouble::{Done, Trouble, broken};

/// How long anything may take that has to happen: long for any machine, for only a way that went wrong waits for it.
pub const DEADLINE: Duration = Duration::from_secs(100);
/// After so many seconds a process that hangs is ended.
const ALARM_SECONDS: u32 = 300;

/// A process made by fork(2), ended with this value unless it was waited for.
#[derive(Debug)]
pub struct Child {
    /// Process id.
    pub id: i32,
    over: bool,
}

impl Child {
    /// Runs `work` in a new process, which ends with what it gives, at the latest with this one.
    pub fn run(work: impl FnOnce() -> i32) -> io::Result<Self> {
        // SAFETY: this program has one thread, so the child may do everything.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                // SAFETY: no addresses; `_exit` runs nothing of this program's.
                unsafe {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    libc::alarm(ALARM_SECONDS);
                    libc::_exit(work())
                }
            }
            id => Ok(Self { id, over: false }),
        }
    }

    /// Waits for its end: what it gave; `None` when a signal ended it.
    pub fn wait(mut self) -> io::Result<Option<i32>> {
        self.over = true;
        let mut status = 0;
        // SAFETY: a local.
        while unsafe { libc::waitpid(self.id, &raw mut status, 0) } < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        Ok(libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.over {
            // SAFETY: a child of this process that was not waited for, so the id is still its own.
            unsafe {
                libc::kill(self.id, libc::SIGKILL);
                libc::waitpid(self.id, std::ptr::null_mut(), 0);
            }
        }
    }
}

/// Ends a process that does not end by itself.
pub fn end(child: &Child) {
    // SAFETY: a child that was not waited for; no addresses.
    unsafe { libc::kill(child.id, libc::SIGTERM) };
}

/// What both ends of a way tell each other beside it.
#[derive(Debug)]
#[repr(C)]
pub struct Shared {
    /// 1 + number of the exchange whose request the server is about to receive.
    pub receiving: AtomicU32,
    /// 1 + number of the exchange in whose response the server has found its socket full.
    pub full: AtomicU32,
    /// Signals that the server has handled.
    pub interrupted: AtomicU32,
}

impl Shared {
    /// To be made before the processes.
    pub fn new() -> Done<&'static Self> {
        let memory = sys::map(size_of::<Self>(), libc::MAP_SHARED).map_err(broken("mmap"))?;
        // SAFETY: zeroed, page-aligned memory of that size that stays.
        Ok(unsafe { &*memory.as_ptr().cast::<Self>() })
    }
}

/// Looks again and again until `look` says yes.
pub fn until(what: &str, mut look: impl FnMut() -> bool) -> Done {
    let end = Instant::now() + DEADLINE;
    while !look() {
        if Instant::now() > end {
            return Err(Trouble::Broken(format!("not in time: {what}")));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// Whether a process waits within the system call of this number.
pub fn waits_in(process: i32, number: i64) -> bool {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{process}/{name}")).unwrap_or_default();
    let state = read("stat");
    let asleep = state
        .rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with('S'));
    // Where the kernel does not tell the call, that it sleeps must do.
    let call = read("syscall");
    let here = call
        .split(' ')
        .next()
        .is_none_or(|word| word.is_empty() || word == number.to_string());
    asleep && here
}

/// Where the handler counts.
static COUNTER: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn count(_: libc::c_int) {
    // SAFETY: null, or what `handle_interrupts` was given, which stays.
    if let Some(counter) = unsafe { COUNTER.load(Ordering::Acquire).as_ref() } {
        counter.fetch_add(1, Ordering::AcqRel);
    }
}

/// Counts `SIGUSR1`; a call that it interrupts begins again by itself if `flags` say so (`SA_RESTART`).
pub fn handle_interrupts(shared: &'static Shared, flags: libc::c_int) -> io::Result<()> {
    COUNTER.store((&raw const shared.interrupted).cast_mut(), Ordering::Release);
    let handler: extern "C" fn(libc::c_int) = count;
    // SAFETY: zero is a value of every field; the handler touches an atomic alone.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = flags;
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut())
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sends `SIGUSR1`.
pub fn interrupt(process: i32) -> io::Result<()> {
    // SAFETY: no addresses.
    if unsafe { libc::kill(process, libc::SIGUSR1) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
