//! Which TLS libraries processes use, and what became of each.

use std::io::Write;

use anyhow::Result;

use super::table;
use crate::status::Status;

/// Most rows: those with the most processes.
const LIBRARIES_SHOWN: usize = 30;

/// TLS libraries of processes.
pub(super) fn print(out: &mut impl Write, agent: &Status) -> Result<()> {
    let tls = &agent.tls;
    if !tls.enabled {
        writeln!(out, "\nTLS libraries are not looked for.")?;
        return Ok(());
    }
    writeln!(
        out,
        "\nTLS libraries: {} probed in {} files of {} processes{}{}",
        tls.probed,
        tls.files,
        tls.processes,
        if tls.scanning { ", still looking" } else { "" },
        if tls.events_error.is_empty() {
            String::new()
        } else {
            format!("; the kernel does not tell of mappings: {}", tls.events_error)
        },
    )?;
    if tls.libraries.is_empty() {
        return Ok(());
    }
    let mut libraries = table(&["TLS LIBRARY", "VERSION", "FILES", "PROCESSES", "", ""]);
    for row in tls.libraries.iter().take(LIBRARIES_SHOWN) {
        libraries.add_row([
            row.library.clone(),
            row.version.clone(),
            row.files.to_string(),
            row.processes.to_string(),
            row.state.clone(),
            row.reason.clone(),
        ]);
    }
    writeln!(out, "\n{libraries}")?;
    let more = tls.more + tls.libraries.len().saturating_sub(LIBRARIES_SHOWN);
    if more > 0 {
        writeln!(out, "and {more} more")?;
    }
    Ok(())
}
