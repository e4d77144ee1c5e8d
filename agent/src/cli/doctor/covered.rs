//! How much of workloads was read, and of their TLS decrypted, as tables.

use std::io::Write;

use anyhow::Result;

use super::table;
use crate::cli::output::bytes;
use crate::coverage::{CoverageRow, TlsRow};

/// Most rows of a table: those of which most is missing.
const ROWS_SHOWN: usize = 30;

/// How much of what was said was read, and why not the rest.
pub(super) fn print_coverage(out: &mut impl Write, coverage: &[CoverageRow]) -> Result<()> {
    if coverage.is_empty() {
        return Ok(());
    }
    let reasons = |reasons: &[(String, u64)]| {
        let each = reasons
            .iter()
            .map(|(name, size)| format!("{name} {}", bytes(*size)));
        each.collect::<Vec<_>>().join(", ")
    };
    let mut rates = table(&["WORKLOAD", "CAPTURE RATE", "READ", "MISSED", "LEFT OUT"]);
    for row in coverage.iter().take(ROWS_SHOWN) {
        rates.add_row([
            row.workload.clone(),
            row.capture_rate.map_or(String::new(), rate),
            bytes(row.read),
            reasons(&row.missed),
            reasons(&row.left_out),
        ]);
    }
    writeln!(out, "\n{rates}")?;
    let more = coverage.len().saturating_sub(ROWS_SHOWN);
    if more > 0 {
        writeln!(out, "and {more} workloads with higher rates")?;
    }
    Ok(())
}

/// How much of TLS is decrypted, by library, and why not the rest.
pub(super) fn print_tls(out: &mut impl Write, rows: &[TlsRow<'_>]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut tls = table(&[
        "TLS OF WORKLOAD",
        "LIBRARY",
        "CONNECTIONS",
        "WIRE BYTES",
        "DECRYPTED",
        "REASON",
    ]);
    for row in rows.iter().take(ROWS_SHOWN) {
        let share = (row.wire_bytes > 0).then(|| row.decrypted_bytes as f64 / row.wire_bytes as f64);
        let reasons = row.reasons.iter();
        let reasons: Vec<_> = reasons
            .map(|(name, size)| format!("{name} {}", bytes(*size)))
            .collect();
        let library = if row.library.is_empty() {
            "unknown"
        } else {
            row.library
        };
        tls.add_row([
            row.workload.to_owned(),
            library.to_owned(),
            row.connections.to_string(),
            bytes(row.wire_bytes),
            share.map_or(String::new(), rate),
            reasons.join(", "),
        ]);
    }
    writeln!(out, "\n{tls}")?;
    let more = rows.len().saturating_sub(ROWS_SHOWN);
    if more > 0 {
        writeln!(out, "and {more} of which less is not decrypted")?;
    }
    Ok(())
}

/// As percent, rounded down: 100 only where nothing is missing.
fn rate(rate: f64) -> String {
    let hundredths = (rate * 10_000.0).floor();
    if hundredths == 10_000.0 {
        "100 %".to_owned()
    } else {
        format!("{:.2} %", hundredths / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(workload: &'static str) -> TlsRow<'static> {
        TlsRow {
            workload,
            library: "",
            connections: 3,
            wire_bytes: 2048,
            decrypted_bytes: 1024,
            reasons: vec![("no_symbols", 1000), ("not_bound", 24)],
        }
    }

    fn text(rows: &[TlsRow<'_>]) -> String {
        let mut out = Vec::new();
        print_tls(&mut out, rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_person_sees_how_much_is_decrypted_and_why_not_the_rest() {
        assert_eq!(text(&[]), "", "no table without TLS");
        let shown = text(&[row("shop")]);
        let line = shown.lines().nth(2).unwrap_or_default();
        let words: Vec<_> = line.split_whitespace().collect();
        let expect = "shop unknown 3 2.0 KiB 50.00 % no_symbols 1000 B, not_bound 24 B";
        assert_eq!(words.join(" "), expect, "{shown}");
    }

    #[test]
    fn of_many_the_first_are_shown_and_the_others_counted() {
        let rows = vec![row("shop"); ROWS_SHOWN + 2];
        let shown = text(&rows);
        assert_eq!(shown.matches("shop").count(), ROWS_SHOWN);
        assert!(
            shown.ends_with("and 2 of which less is not decrypted\n"),
            "{shown}"
        );
    }
}
