//! Where attribution looks, and how much it keeps.

use std::path::PathBuf;

/// Where things are on this node, and how much may be kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node's procfs.
    pub proc_root: PathBuf,
    /// Where the node's cgroup file systems are mounted.
    pub cgroup_root: PathBuf,
    /// The node's root file system, for the container engines' state.
    pub state_root: PathBuf,
    /// The node's passwd file.
    pub passwd: PathBuf,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds of every table. What does not fit is counted in [`super::Counters`].
#[derive(Clone, Debug)]
pub struct Limits {
    /// Processes described at once.
    pub processes: usize,
    /// Exec events kept for processes that nobody asked for yet.
    pub execs: usize,
    /// Exited processes kept for late records.
    pub exits: usize,
    /// How long they are kept, ns.
    pub exit_grace_ns: u64,
    /// Cgroups.
    pub cgroups: usize,
    /// Containers.
    pub containers: usize,
    /// Workloads.
    pub workloads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            proc_root: "/proc".into(),
            cgroup_root: "/sys/fs/cgroup".into(),
            state_root: "/".into(),
            passwd: "/etc/passwd".into(),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            processes: 16_384,
            execs: 4096,
            exits: 16_384,
            exit_grace_ns: 30_000_000_000,
            cgroups: 4096,
            containers: 4096,
            workloads: 4096,
        }
    }
}
