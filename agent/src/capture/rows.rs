//! What the status says of the node, the ways of capturing and the export.

use crate::export::ExportMonitor;
use crate::loader;
use crate::status::{ExportRow, ProviderRow};

/// Ways of capturing that were tried, and what came of it.
#[must_use]
pub fn provider_rows(attempts: &[loader::Attempt]) -> Vec<ProviderRow> {
    attempts
        .iter()
        .map(|attempt| ProviderRow {
            name: attempt.provider.name().to_owned(),
            error: attempt.error.clone().unwrap_or_default(),
            attached: attempt.error.is_none(),
        })
        .collect()
}

/// How the export to the collector stands.
pub(super) fn export_row(url: &str, monitor: &ExportMonitor) -> ExportRow {
    let status = monitor.status();
    ExportRow {
        url: url.to_owned(),
        link: status.link.name().to_owned(),
        last_error: status
            .last_error
            .map(|failure| failure.to_string())
            .unwrap_or_default(),
        batches: status.backlog.batches as u64,
        bytes: status.backlog.bytes,
        spool_trouble: status.spool_trouble.unwrap_or_default(),
        lost: status
            .spool
            .losses()
            .map(|(reason, lost)| (reason.name().to_owned(), lost.batches))
            .collect(),
    }
}

/// Release of the running kernel, as `uname -r` prints it.
#[must_use]
pub fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}
