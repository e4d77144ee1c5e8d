//! What of calls was cut off or was not as it should be, on their way through redaction.

use detect::{HostCounters, RedactCounters};

use crate::status::{Fate, PipelineDrop};

/// A limit that cut something off.
pub(super) const fn left_out(
    stage: &'static str,
    name: &'static str,
    events: u64,
    meaning: &'static str,
) -> PipelineDrop {
    PipelineDrop {
        stage,
        name,
        events,
        meaning,
        fate: Fate::LeftOut,
    }
}

/// Something odd that is kept.
pub(super) const fn counted(
    stage: &'static str,
    name: &'static str,
    events: u64,
    meaning: &'static str,
) -> PipelineDrop {
    PipelineDrop {
        fate: Fate::Counted,
        ..left_out(stage, name, events, meaning)
    }
}

/// What the redactor and the search for hosts count.
#[must_use]
pub fn redaction_drops(redacted: &RedactCounters, hosts: &HostCounters) -> Vec<PipelineDrop> {
    vec![
        counted(
            "redact",
            "methods_other",
            redacted.methods_other,
            "methods that are none, shown as OTHER",
        ),
        left_out(
            "redact",
            "queries_cut",
            redacted.queries_cut,
            "calls with more query parameters than are kept",
        ),
        left_out(
            "redact",
            "headers_dropped",
            redacted.headers_dropped,
            "allowed header fields beyond the limit",
        ),
        left_out(
            "redact",
            "values_cut",
            redacted.values_cut,
            "values of header fields that were cut",
        ),
        left_out(
            "redact",
            "operations_cut",
            redacted.operations_cut,
            "batches of which operations were left out",
        ),
        counted("host", "missing", hosts.missing, "requests without a host"),
        counted(
            "host",
            "unknown",
            hosts.unknown,
            "requests whose host was said before the connection was joined",
        ),
        counted("host", "invalid", hosts.invalid, "requests whose host is none"),
        counted(
            "host",
            "repeated",
            hosts.repeated,
            "requests with several Host fields",
        ),
    ]
}
