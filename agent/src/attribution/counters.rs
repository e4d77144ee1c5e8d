//! What attribution had to drop or could not know, for metrics and `doctor`.

use protocol::counters;

counters! {
    /// Processes described from `/proc`.
    resolved_proc,
    /// Processes described from their exec event.
    resolved_exec,
    /// Processes described from their parent.
    resolved_parent,
    /// Processes of which only the kernel record is known.
    resolved_kernel_only,
    /// Reads of `/proc` that found another process under the pid: the pid was reused.
    pid_reused,
    /// Live processes evicted because the table was full.
    processes_evicted,
    /// Exec events evicted because the table was full.
    execs_evicted,
    /// Exited processes forgotten before their grace period because the queue was full.
    exits_cut_short,
    /// Cgroups evicted because the table was full.
    cgroups_evicted,
    /// Containers evicted because the table was full.
    containers_evicted,
    /// Workloads evicted because the table was full; they are announced again when seen again.
    workloads_evicted,
    /// Walks of the cgroup file system in search of an id.
    cgroup_walks,
    /// Walks that stopped at their limit of directories.
    cgroup_walks_cut,
    /// Containers whose engine says no name; they are named by their short id.
    containers_unnamed,
}
