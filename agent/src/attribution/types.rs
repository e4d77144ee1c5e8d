//! What is known of a process, its container and its workload.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Identity of a process for as long as the node is up: pids are reused, (pid, start time) is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProcessKey {
    /// Thread group id in the initial pid namespace.
    pub pid: u32,
    /// `start_boottime` of the thread group leader, ns since boot. `/proc/PID/stat` shows it in clock ticks.
    pub start_ns: u64,
}

/// What every kernel record says of its process, also when the process is long gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessHint {
    /// Thread group id in the initial pid namespace.
    pub pid: u32,
    /// `start_boottime` of the thread group leader, ns since boot.
    pub start_ns: u64,
    /// Thread group id of the parent, 0 when unknown.
    pub ppid: u32,
    /// Real user id in the initial user namespace, as `bpf_get_current_uid_gid` gives it.
    pub uid: u32,
    /// Id of the cgroup in the v2 hierarchy (1 for its root), 0 when unknown.
    pub cgroup_id: u64,
    /// Inode of the network namespace, 0 when unknown.
    pub netns: u32,
    /// Name of the thread, NUL padded.
    pub comm: [u8; 16],
}

impl ProcessHint {
    /// The identity of the process.
    #[must_use]
    pub const fn key(&self) -> ProcessKey {
        ProcessKey {
            pid: self.pid,
            start_ns: self.start_ns,
        }
    }
}

/// What an exec event says: the hint and the new program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecFacts {
    /// The process.
    pub hint: ProcessHint,
    /// Path as given to `execve`, maybe relative, maybe a script.
    pub filename: Vec<u8>,
    /// Arguments, NUL separated, maybe cut.
    pub args: Vec<u8>,
}

/// Where the description of a process comes from, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Read from `/proc` while the process lived.
    Proc,
    /// From its exec event: it was gone before it could be read.
    Exec,
    /// From its parent: it forked without exec and was gone before it could be read.
    Parent,
    /// Only the kernel record is known.
    KernelOnly,
}

impl Source {
    /// Name as in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proc => "proc",
            Self::Exec => "exec",
            Self::Parent => "parent",
            Self::KernelOnly => "kernel",
        }
    }
}

/// Which engine runs a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// Docker Engine.
    Docker,
    /// containerd, through the CRI, nerdctl or ctr.
    Containerd,
    /// CRI-O.
    CriO,
    /// Podman.
    Podman,
    /// The cgroup names the container but not its engine.
    #[default]
    Unknown,
}

impl Runtime {
    /// Name as in every output; empty when unknown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Podman => "podman",
            Self::Unknown => "",
        }
    }
}

/// A container, as its cgroup path and the engine's state on disk describe it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Full id, as the engine knows it.
    pub id: String,
    /// Engine.
    pub runtime: Runtime,
    /// Uid of the Kubernetes pod, with dashes.
    pub pod_uid: Option<String>,
    /// Name of the container within its pod or engine, from the engine's state on disk.
    pub name: Option<String>,
    /// Name of the Kubernetes pod.
    pub pod_name: Option<String>,
    /// Namespace of the Kubernetes pod.
    pub namespace: Option<String>,
}

/// What a [`Workload`] is named after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorkloadKind {
    /// A container.
    Container,
    /// A systemd service or scope.
    Systemd,
    /// An executable, with its script for interpreters.
    Process,
}

impl WorkloadKind {
    /// Name as on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Systemd => "systemd",
            Self::Process => "process",
        }
    }
}

/// Something that runs on the node: all processes that share a name. The process described is the first one seen, until
/// it exits.
#[derive(Debug)]
pub struct Workload {
    /// Name, see the module's documentation. At most [`super::WORKLOAD_NAME_BYTES_MAX`] bytes, no control characters.
    pub name: String,
    /// What the name comes from.
    pub kind: WorkloadKind,
    /// Path of the described process's executable.
    pub executable: String,
    /// Its command line, masked.
    pub command: String,
    /// Its user.
    pub user: String,
    /// Its container.
    pub container: Option<Arc<Container>>,
    /// Its systemd unit.
    pub unit: Option<String>,
    /// Its cgroup.
    pub cgroup_id: u64,
    /// Its network namespace.
    pub netns: u32,
    /// Its pid.
    pub pid: u32,
    /// When the workload was first seen, ns on the caller's clock.
    pub first_seen_ns: u64,
    /// Shared with the earlier and later descriptions of the same workload.
    pub(super) seen_ns: Arc<AtomicU64>,
}

impl Workload {
    /// When a process of it was last asked for, ns on the caller's clock.
    #[must_use]
    pub fn seen_ns(&self) -> u64 {
        self.seen_ns.load(Ordering::Relaxed)
    }

    /// The message for the collector. `boot_epoch_us` is the Unix time, µs, of 0 on the caller's clock.
    #[must_use]
    pub fn to_wire(&self, boot_epoch_us: i64) -> wire::v1::Workload {
        let epoch_us = |ns: u64| boot_epoch_us.saturating_add(i64::try_from(ns / 1000).unwrap_or(i64::MAX));
        let container = self.container.as_deref();
        wire::v1::Workload {
            name: self.name.clone(),
            kind: self.kind.name().to_owned(),
            executable: self.executable.clone(),
            command: self.command.clone(),
            user: self.user.clone(),
            container_id: container.map(|c| c.id.clone()).unwrap_or_default(),
            container_runtime: container.map(|c| c.runtime.name().to_owned()).unwrap_or_default(),
            systemd_unit: self.unit.clone().unwrap_or_default(),
            cgroup_id: self.cgroup_id,
            netns: u64::from(self.netns),
            pid: self.pid,
            first_seen_us: epoch_us(self.first_seen_ns),
            seen_us: epoch_us(self.seen_ns()),
        }
    }
}

/// A process, described as well as it could be.
#[derive(Clone, Debug)]
pub struct Process {
    /// Identity.
    pub key: ProcessKey,
    /// Path of the executable, sanitised; the thread's name when only the kernel record is known.
    pub executable: String,
    /// Command line, masked: see [`super::command`].
    pub command: String,
    /// User name, or the number where it has none or where the name would be another system's (containers).
    pub user: String,
    /// User id.
    pub uid: u32,
    /// Container.
    pub container: Option<Arc<Container>>,
    /// systemd unit, also when it is no workload (a session).
    pub unit: Option<String>,
    /// Path of the cgroup below its hierarchy's root: v2, or v1 where the process is in v2's root; cut to 1024 bytes, empty when
    /// unknown.
    pub cgroup: String,
    /// Cgroup id (v2 hierarchy), 0 when unknown.
    pub cgroup_id: u64,
    /// Inode of the network namespace in the record that it was described for, 0 when unknown. A connection's own counts.
    pub netns: u32,
    /// What it belongs to.
    pub workload: Arc<Workload>,
    /// How well this is known.
    pub source: Source,
}

impl fmt::Display for ProcessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.pid, self.start_ns)
    }
}
