//! What all VMs said, as one table in Markdown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::vm_test::kernels::Kernel;
use crate::vm_test::results::{Cell, Run, Verdict};

/// One kernel's run.
#[derive(Debug)]
pub struct Row {
    pub kernel: Kernel,
    /// Version of the package.
    pub version: String,
    pub run: Run,
    pub failures: Vec<String>,
}

/// Kernel × provider.
pub fn providers(rows: &[Row]) -> String {
    let names = distinct(rows.iter().flat_map(|row| row.run.providers()));
    let mut table = heading("kernel", &names);
    for row in rows {
        let cells: Vec<String> = names.iter().map(|name| cell(row, name)).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| {} ({}) | {} |",
            row.kernel.series,
            row.version,
            cells.join(" | ")
        );
    }
    table
}

/// How many checks passed and what the largest program cost the verifier, or why it is not there.
fn cell(row: &Row, provider: &str) -> String {
    let Some(load) = row.run.load(provider) else {
        return "not tried".to_owned();
    };
    if !load.ok {
        return match row.kernel.lack_of(provider) {
            Some(reason) => format!("no: {reason}"),
            None => "**does not load**".to_owned(),
        };
    }
    let (mut passed, mut all) = (0, 0);
    for check in row.run.checks_of(provider) {
        all += 1;
        passed += usize::from(check.ok);
    }
    let largest = load.programs.iter().map(|program| program.verified).max();
    let verified = largest.map_or_else(
        || "verified instructions unknown".to_owned(),
        |largest| {
            format!(
                "{} programs, largest {} instructions",
                load.programs.len(),
                grouped(largest)
            )
        },
    );
    if passed == all {
        format!("{passed} of {all}; {verified}")
    } else {
        format!("**{passed} of {all}**; {verified}")
    }
}

/// Way × provider, with the kernels of each verdict; empty when no way was judged.
pub fn ways(rows: &[Row]) -> String {
    let cells: Vec<(&str, &Cell)> = rows
        .iter()
        .flat_map(|row| row.run.cells.iter().map(|cell| (row.kernel.series, cell)))
        .collect();
    let providers = distinct(cells.iter().map(|(_, cell)| cell.provider.as_str()));
    let ways = distinct(cells.iter().map(|(_, cell)| cell.way.as_str()));
    if ways.is_empty() {
        return String::new();
    }
    let mut table = heading("way", &providers);
    for way in ways {
        let of_way = |provider: &str| {
            let here = cells
                .iter()
                .filter(|(_, cell)| cell.way == way && cell.provider == provider);
            let mut kernels: BTreeMap<String, Vec<&str>> = BTreeMap::new();
            here.for_each(|(kernel, cell)| kernels.entry(verdict(cell)).or_default().push(kernel));
            let alone = kernels.len() == 1;
            let said = kernels.into_iter().map(|(verdict, kernels)| {
                if alone {
                    verdict
                } else {
                    format!("{}: {verdict}", kernels.join(", "))
                }
            });
            said.collect::<Vec<_>>().join("; ")
        };
        let line: Vec<String> = providers.iter().map(|provider| of_way(provider)).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| `{way}` | {} |", line.join(" | "));
    }
    table
}

/// A verdict with what tells one apart from another of the same name: counters, or the reason.
fn verdict(cell: &Cell) -> String {
    let name = cell.verdict.name();
    match cell.verdict {
        Verdict::Captured => name.to_owned(),
        Verdict::Counted => {
            let counters: Vec<&str> = cell
                .counted_bytes
                .keys()
                .map(|counter| counter.rsplit('.').next().unwrap_or(counter))
                .collect();
            format!("{name} ({})", counters.join(", "))
        }
        Verdict::Impossible => format!("{name} ({})", cell.reason),
        Verdict::Unknown => format!("**{name}**"),
    }
}

/// Each once, in the order of its first place.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut known = BTreeSet::new();
    names.filter(|name| known.insert(*name)).collect()
}

/// The first two lines of a table.
fn heading(corner: &str, columns: &[&str]) -> String {
    format!(
        "| {corner} | {} |\n|---|{}\n",
        columns.join(" | "),
        "---|".repeat(columns.len())
    )
}

/// With a comma between thousands.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm_test::kernels;

    #[test]
    fn a_table_has_a_cell_for_every_kernel_and_provider() {
        let rows: Vec<Row> = ["6.1", "6.12"]
            .into_iter()
            .map(|series| {
                let mut run = Run::default();
                for (provider, ok) in [("sock-length", series == "6.12"), ("syscall-exit", true)] {
                    run.heed(&format!(
                        r#"{{"step":"providers","line":{{"provider":"{provider}","check":"load","ok":{ok},"seconds":1,"detail":"","programs":[{{"name":"a","verified":84}},{{"name":"b","verified":158809}}]}}}}"#
                    ));
                }
                run.heed(r#"{"step":"providers","line":{"provider":"syscall-exit","check":"c","ok":false,"seconds":1,"detail":""}}"#);
                Row {
                    kernel: kernels::choose(&[series.to_owned()]).unwrap().remove(0),
                    version: "1".into(),
                    run,
                    failures: Vec::new(),
                }
            })
            .collect();
        assert_eq!(
            providers(&rows),
            "| kernel | sock-length | syscall-exit |\n|---|---|---|\n\
             | 6.1 (1) | no: its tracepoints are of 6.3 | **1 of 2**; 2 programs, largest 158,809 instructions |\n\
             | 6.12 (1) | 1 of 1; 2 programs, largest 158,809 instructions | **1 of 2**; 2 programs, largest 158,809 instructions |\n"
        );
    }

    #[test]
    fn ways_are_told_apart_by_kernel_only_where_they_differ() {
        let row = |series: &str, verdicts: [&str; 2]| {
            let mut run = Run::default();
            for (way, verdict) in ["read", "splice-in"].into_iter().zip(verdicts) {
                run.heed(&format!(
                    r#"{{"step":"ways","line":{{"provider":"fexit","way":"{way}","verdict":"{verdict}","reason":"ENOSYS","counted_bytes":{{"kernel.opaque":7}}}}}}"#
                ));
            }
            Row {
                kernel: kernels::choose(&[series.to_owned()]).unwrap().remove(0),
                version: "1".into(),
                run,
                failures: Vec::new(),
            }
        };
        let rows = [
            row("5.10", ["captured", "impossible"]),
            row("6.1", ["captured", "counted"]),
            row("7.2", ["captured", "counted"]),
        ];
        assert_eq!(
            ways(&rows),
            "| way | fexit |\n|---|---|\n| `read` | captured |\n\
             | `splice-in` | 6.1, 7.2: counted (opaque); 5.10: impossible (ENOSYS) |\n"
        );
        assert_eq!(ways(&[]), "");
    }

    #[test]
    fn thousands_are_grouped() {
        let texts = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
