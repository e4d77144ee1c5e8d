//! What discovery did, and what it could not look at, for metrics and `doctor`.

use protocol::counters;

counters! {
    /// Processes whose mappings were read.
    processes_read,
    /// Looks at all processes: one at the start, and one whenever events were lost.
    scans,
    /// Executable mappings that events told of.
    mappings,
    /// Files opened to learn what they are.
    files_opened,
    /// Files looked into.
    files_inspected,
    /// Libraries probed.
    libraries_attached,
    /// Libraries whose probes were taken out again, nobody using them any more.
    libraries_detached,
    /// Libraries that the kernel refused to probe.
    libraries_failed,
    /// Files refused because they are damaged or beyond a limit of what is read of a file.
    files_rejected,
    /// Mappings in whose place another file was found.
    files_mismatched,
    /// Mapped files on file systems whose server could make the agent wait.
    files_served,
    /// Mappings of devices and the like.
    files_irregular,
    /// Mapped files that could not be opened.
    files_refused,
    /// Mappings that were gone before they could be looked at.
    gone_before_look,
    /// Mappings that were not looked at because too many waited; all processes are looked at again.
    queue_full,
    /// Processes not followed because there are too many. Raise capture.tls.processes_max.
    processes_beyond_limit,
    /// Files of a process not followed because it maps too many.
    mappings_beyond_limit,
    /// Mapped files not looked into because there are too many. Raise capture.tls.files_max.
    files_beyond_limit,
    /// Libraries not probed because there are too many. Raise capture.tls.libraries_max.
    libraries_beyond_limit,
    /// Events that the kernel could not tell because its buffer was full; all processes are looked at again.
    events_lost,
    /// Events of processes outside the agent's pid namespace.
    events_outside,
    /// Processors that events are heard of since the start: all processes are looked at again.
    processors_joined,
    /// Attempts to hear of a processor's events that failed.
    processors_failed,
    /// Lines of mappings that are of no known form.
    maps_malformed,
    /// Lines of mappings that are too long.
    maps_long,
    /// Processes with more mappings than are read of one.
    maps_cut,
    /// Findings of ended processes forgotten early because there were too many.
    departed_cut_short,
}
