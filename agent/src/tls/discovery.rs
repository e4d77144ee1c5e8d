//! Finds the TLS libraries of all processes, has them probed, and forgets them with their last user.
//!
//! At the start, and whenever something was missed, all processes' mappings are read, one after the other within a budget of time. From
//! then on events tell which files are mapped. A file is looked into once, however many processes have it mapped.

mod looking;
mod processes;
mod report;
mod worker;

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::processes::Processes;
pub use self::report::{LibraryRow, Report};
pub use self::worker::Worker;
use super::counters::Counters;
use super::events::{Event, Events, SETTLED_NS};
use super::findings::Findings;
use super::inodes::{self, Inodes};
use super::library::{Finding, Library, State};
use super::maps::Reader;
use super::opening::{Opener, Wanted};
use crate::clock::monotonic_ns;

/// Files of one process that are followed.
pub const MAPPINGS_MAX: usize = 1024;
/// Mappings and processes that wait to be looked at. More than one process has, so that a process always fits that is read at rest.
pub const QUEUE_MAX: usize = 8192;
/// Least time between two looks at all processes, ns: what makes one necessary may go on.
pub const SCAN_INTERVAL_NS: u64 = 10_000_000_000;
/// How often processors, ends of processes and unused files are looked after, ns.
const CARE_INTERVAL_NS: u64 = 1_000_000_000;

/// Looks into a file.
pub trait Inspect {
    /// The TLS libraries in it; usually there is none. The file may be anything, made by anybody.
    ///
    /// # Errors
    /// It is refused, with the reason.
    fn inspect(&mut self, file: &File) -> Result<Vec<Library>, InspectError>;
}

/// Why a file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InspectError(pub String);

/// Puts probes into a file.
pub trait Attach {
    /// Probes; dropping takes them out.
    type Probes: Send;

    /// Probes the library's functions, in all processes that have the file mapped now or later.
    ///
    /// # Errors
    /// The kernel refuses, with its reason.
    fn attach(&mut self, image: &OpenedImage<'_>, library: &Library) -> Result<Self::Probes, AttachError>;
}

/// Why there are no probes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AttachError(pub String);

/// A file that is to be probed, held open.
#[derive(Clone, Copy, Debug)]
pub struct OpenedImage<'a> {
    file: &'a File,
}

impl OpenedImage<'_> {
    /// Leads to this very file as long as the image is there, whatever its name is now. For this process only.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// It.
    #[must_use]
    pub const fn file(&self) -> &File {
        self.file
    }
}

/// Where discovery looks, and how much it keeps.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The node's procfs.
    pub proc_root: PathBuf,
    /// Processes followed.
    pub processes: usize,
    /// Files, libraries, and how long those without users are kept.
    pub inodes: inodes::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            proc_root: "/proc".into(),
            processes: 65_536,
            inodes: inodes::Limits {
                files: 32_768,
                libraries: 1024,
                linger_ns: 300_000_000_000,
            },
        }
    }
}

/// Something to look at.
#[derive(Debug)]
enum Work {
    /// A mapping of a program that a process has executed as its so-manieth.
    Mapping {
        wanted: Wanted,
        generation: Option<u64>,
        program: u32,
    },
    /// All of a process's mappings.
    Process { pid: u32 },
}

/// A look at all processes in progress.
#[derive(Debug)]
struct Scan {
    pids: std::fs::ReadDir,
    round: u32,
}

/// See the module's description. Used by one thread; [`Worker`] is one.
#[derive(Debug)]
pub struct Discovery<I, A: Attach> {
    inspect: I,
    attach: A,
    limits: Limits,
    own_pid: u32,
    /// The kernel's reason where there are none.
    events: Result<Events, String>,
    opener: Opener,
    reader: Reader,
    inodes: Inodes<A::Probes>,
    processes: Processes,
    queue: VecDeque<Work>,
    scan: Option<Scan>,
    scan_wanted: bool,
    scanned_ns: Option<u64>,
    cared_ns: u64,
    findings: Findings,
    counters: Counters,
}

impl<I: Inspect, A: Attach> Discovery<I, A> {
    /// Listens from now on; nothing is looked at before [`Self::step`]. Where the kernel has no events for it, processes are looked
    /// at every [`SCAN_INTERVAL_NS`] instead.
    pub fn new(inspect: I, attach: A, limits: Limits) -> Self {
        let events = Events::open().map_err(|error| error.to_string());
        if let Err(reason) = &events {
            tracing::warn!(
                reason,
                "the kernel does not tell of mappings: TLS libraries are found by looking at all processes now and then"
            );
        }
        Self {
            inspect,
            attach,
            own_pid: std::process::id(),
            events,
            opener: Opener::new(&limits.proc_root),
            reader: Reader::default(),
            inodes: Inodes::new(limits.inodes),
            processes: Processes::new(limits.processes),
            queue: VecDeque::new(),
            scan: None,
            scan_wanted: true,
            scanned_ns: None,
            cared_ns: monotonic_ns(),
            findings: Findings::default(),
            counters: Counters::default(),
            limits,
        }
    }

    /// What is known of processes; shared, for other threads.
    #[must_use]
    pub fn findings(&self) -> Findings {
        self.findings.clone()
    }

    /// Counters so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            libraries_detached: self.inodes.detached(),
            ..self.counters
        }
    }

    /// Takes what the kernel told since the last time. Opens nothing.
    pub fn poll(&mut self) {
        let now_ns = monotonic_ns();
        // Taken out, so that what it tells can be noted.
        let nothing = Err(String::new());
        let mut events = std::mem::replace(&mut self.events, nothing);
        if let Ok(events) = &mut events {
            events.drain(now_ns.saturating_sub(SETTLED_NS), |event| {
                self.apply(event, now_ns);
            });
        }
        self.events = events;
        if now_ns.saturating_sub(self.cared_ns) >= CARE_INTERVAL_NS {
            self.cared_ns = now_ns;
            self.care(now_ns);
        }
    }

    /// Looks at what waits, for about so long: the last file or process that is begun is finished. At least one is, if any waits.
    /// Gives whether more is left.
    pub fn step(&mut self, budget: Duration) -> bool {
        let begun = Instant::now();
        while self.look_at_next() {
            if begun.elapsed() >= budget {
                return true;
            }
        }
        false
    }

    /// A process ended; events tell it as well.
    pub fn exit(&mut self, pid: u32) {
        self.forget(pid, monotonic_ns());
    }

    fn apply(&mut self, event: &Event<'_>, now_ns: u64) {
        match *event {
            Event::Lost { records } => {
                self.counters.events_lost += records;
                self.scan_wanted = true;
            }
            Event::Mapped(mapped) => {
                if !self.follows(mapped.pid) {
                    return;
                }
                self.counters.mappings += 1;
                if !self.ensure(mapped.pid) {
                    return;
                }
                let name = bounded_name(mapped.name);
                let wanted = Wanted {
                    pid: mapped.pid,
                    start: mapped.start,
                    end: mapped.end,
                    file: mapped.file,
                    name: name.into(),
                    parent: self.processes.parent(mapped.pid),
                };
                self.uses(wanted, Some(mapped.generation));
            }
            Event::Fork { pid, parent } => {
                if self.follows(pid) {
                    self.fork(pid, parent, now_ns);
                }
            }
            Event::Exec { pid } => {
                if self.follows(pid) && self.ensure(pid) {
                    for place in self.processes.exec(pid) {
                        self.inodes.leave(place, now_ns);
                    }
                    self.publish(pid);
                }
            }
            Event::Exit { pid, thread } => {
                if !self.processes.knows(pid) {
                    return;
                }
                if pid == thread || self.processes.lost_leader(pid) {
                    self.ended(pid, now_ns);
                }
            }
        }
    }

    /// Not those of which the number says nothing, and not itself: it has no TLS.
    fn follows(&mut self, pid: u32) -> bool {
        if pid == 0 || pid == u32::MAX {
            self.counters.events_outside += 1;
            return false;
        }
        pid != self.own_pid
    }

    /// A child has what its parent has.
    fn fork(&mut self, pid: u32, parent: u32, now_ns: u64) {
        // Of an earlier process of that number no end was told.
        self.forget(pid, now_ns);
        if !self.ensure(pid) {
            return;
        }
        self.processes.set_parent(pid, parent);
        match self.processes.copy(parent, pid) {
            Some(places) => {
                for place in places {
                    self.inodes.join(place);
                }
                self.publish(pid);
            }
            None if parent == self.own_pid => {}
            None => self.enqueue(Work::Process { pid }),
        }
    }

    /// Its first thread ended: others may go on.
    fn ended(&mut self, pid: u32, now_ns: u64) {
        if self.has_other_threads(pid) {
            self.processes.lose_leader(pid);
        } else {
            self.forget(pid, now_ns);
        }
    }

    fn has_other_threads(&self, pid: u32) -> bool {
        let leader = pid.to_string();
        let tasks = self.limits.proc_root.join(&leader).join("task");
        std::fs::read_dir(tasks)
            .is_ok_and(|tasks| tasks.flatten().any(|task| task.file_name() != leader.as_str()))
    }

    /// The process is gone.
    fn forget(&mut self, pid: u32, now_ns: u64) {
        if let Some(places) = self.processes.remove(pid) {
            for place in places {
                self.inodes.leave(place, now_ns);
            }
            self.counters.departed_cut_short += self.findings.depart(pid, now_ns);
        }
    }

    /// False: there are too many.
    fn ensure(&mut self, pid: u32) -> bool {
        match self.processes.ensure(pid) {
            Some(new) => {
                if new {
                    self.findings.set(pid, Vec::new());
                }
                true
            }
            None => {
                self.counters.processes_beyond_limit += 1;
                false
            }
        }
    }

    fn enqueue(&mut self, work: Work) {
        if self.queue.len() < QUEUE_MAX {
            self.queue.push_back(work);
            return;
        }
        self.counters.queue_full += 1;
        self.scan_wanted = true;
    }

    /// What is said of a process's files changed.
    fn publish(&mut self, pid: u32) {
        let mut list: Vec<Arc<Finding>> = self
            .processes
            .places(pid)
            .iter()
            .flat_map(|place| self.inodes.findings_at(*place).iter().cloned())
            .collect();
        list.extend(self.processes.missed(pid).cloned());
        self.findings.set(pid, list);
    }

    /// A file of the process is not followed.
    fn miss(&mut self, pid: u32, reason: String) {
        let finding = Finding {
            library: None,
            version: None,
            state: State::Rejected(reason),
        };
        if self.processes.miss(pid, Arc::new(finding)) {
            self.publish(pid);
        }
    }

    fn care(&mut self, now_ns: u64) {
        match &mut self.events {
            Ok(events) => {
                let change = events.follow_cpus();
                self.counters.processors_joined += change.joined as u64;
                self.counters.processors_failed += change.failed as u64;
                self.scan_wanted |= change.joined > 0;
            }
            Err(_) => self.scan_wanted = true,
        }
        for pid in self.processes.leaderless() {
            self.ended(pid, now_ns);
        }
        self.inodes.expire(now_ns);
    }
}

/// One that is too long leads nowhere, cut or not.
fn bounded_name(name: &[u8]) -> &[u8] {
    if name.len() <= super::opening::NAME_BYTES_MAX {
        name
    } else {
        &[]
    }
}

#[cfg(test)]
#[path = "discovery_tests.rs"]
mod tests;
