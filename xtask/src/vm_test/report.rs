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
    let programs = load.programs.len();
    // Before 5.16 kernels do not tell it.
    let largest = load.programs.iter().map(|program| program.verified).max();
    let verified = match largest.filter(|largest| *largest > 0) {
        Some(largest) => format!("{programs} programs, largest {} instructions", grouped(largest)),
        None => format!("{programs} programs"),
    };
    if passed == all {
        format!("{passed} of {all}; {verified}")
    } else {
        format!("**{passed} of {all}**; {verified}")
    }
}

/// Way × provider, with the kernels where they differ; ways of which the same is true share a line. Empty when no way was judged.
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
    let mut lines: Vec<(Vec<String>, Vec<&str>)> = Vec::new();
    for way in ways {
        let of_provider = |provider: &&str| {
            let here = cells
                .iter()
                .filter(|(_, cell)| cell.way == way && cell.provider == **provider);
            outcome(&here.copied().collect::<Vec<_>>())
        };
        let outcomes: Vec<String> = providers.iter().map(of_provider).collect();
        match lines.iter_mut().find(|(known, _)| *known == outcomes) {
            Some((_, ways)) => ways.push(way),
            None => lines.push((outcomes, vec![way])),
        }
    }
    let mut table = heading("way", &providers);
    for (outcomes, ways) in lines {
        let ways: Vec<String> = ways.iter().map(|way| format!("`{way}`")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {} | {} |", ways.join(", "), outcomes.join(" | "));
    }
    table.push_str(&meanings(&cells));
    table
}

/// What became of a way with one provider on all kernels: `captured`, or `captured; on 5.10 impossible: ENOSYS io_uring_setup`.
fn outcome(cells: &[(&str, &Cell)]) -> String {
    // A kernel that counts by one reason what another counts by two does the same.
    let counters: BTreeSet<&str> = cells
        .iter()
        .filter(|(_, cell)| cell.verdict == Verdict::Counted)
        .flat_map(|(_, cell)| cell.counted_bytes.keys())
        .map(|counter| short(counter))
        .collect();
    let mut kernels: BTreeMap<(Verdict, String), Vec<&str>> = BTreeMap::new();
    for (kernel, cell) in cells {
        let reason = match cell.verdict {
            Verdict::Captured | Verdict::Unknown => String::new(),
            Verdict::Counted => counters
                .iter()
                .map(|counter| format!("`{counter}`"))
                .collect::<Vec<_>>()
                .join(", "),
            Verdict::Impossible => cell.reason.clone(),
        };
        kernels.entry((cell.verdict, reason)).or_default().push(kernel);
    }
    let mut said: Vec<(String, Vec<&str>)> = kernels
        .into_iter()
        .map(|((verdict, reason), kernels)| {
            let name = verdict.name();
            let text = match verdict {
                Verdict::Captured => name.to_owned(),
                Verdict::Counted | Verdict::Impossible => format!("{name}: {reason}"),
                Verdict::Unknown => format!("**{name}**"),
            };
            (text, kernels)
        })
        .collect();
    // What most kernels do needs no names of kernels; of equals the better.
    let most = said.iter().map(|(_, kernels)| kernels.len()).max();
    if let Some(at) = said.iter().position(|(_, kernels)| Some(kernels.len()) == most) {
        let (first, _) = said.remove(at);
        let others = said
            .iter()
            .map(|(text, kernels)| format!("; on {} {text}", kernels.join(", ")));
        return std::iter::once(first).chain(others).collect();
    }
    // No kernel has the provider, or none got so far.
    "not tried".to_owned()
}

/// The counters of the cells and what they mean, one sentence a line.
fn meanings(cells: &[(&str, &Cell)]) -> String {
    let counted = cells.iter().filter(|(_, cell)| cell.verdict == Verdict::Counted);
    let meanings: BTreeMap<&str, &str> = counted
        .flat_map(|(_, cell)| &cell.meanings)
        .map(|(counter, meaning)| (short(counter), meaning.as_str()))
        .collect();
    let mut text = String::new();
    for (counter, meaning) in meanings {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n- `{counter}`: {meaning}");
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// A counter without its stage.
fn short(counter: &str) -> &str {
    counter.rsplit('.').next().unwrap_or(counter)
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

    fn judged(series: &str, cells: &[(&str, &str, &str)]) -> Row {
        let mut run = Run::default();
        for (way, verdict, counter) in cells {
            run.heed(&format!(
                r#"{{"step":"ways","line":{{"provider":"fexit","way":"{way}","verdict":"{verdict}","reason":"ENOSYS","counted_bytes":{{"kernel.{counter}":7}},"meanings":{{"kernel.{counter}":"why {counter}"}}}}}}"#
            ));
        }
        Row {
            kernel: kernels::choose(&[series.to_owned()]).unwrap().remove(0),
            version: "1".into(),
            run,
            failures: Vec::new(),
        }
    }

    #[test]
    fn kernels_are_named_only_where_they_differ_and_ways_share_a_line_where_they_do_not() {
        let row = |series: &str, verdict: &str, counter: &str| {
            judged(
                series,
                &[
                    ("read", "captured", "x"),
                    ("write", "captured", "x"),
                    ("splice-in", verdict, counter),
                ],
            )
        };
        let rows = [
            row("5.10", "impossible", "x"),
            row("6.1", "counted", "b"),
            row("7.2", "counted", "a"),
        ];
        assert_eq!(
            ways(&rows),
            "| way | fexit |\n|---|---|\n| `read`, `write` | captured |\n\
             | `splice-in` | counted: `a`, `b`; on 5.10 impossible: ENOSYS |\n\n- `a`: why a\n- `b`: why b\n"
        );
        assert_eq!(ways(&[]), "");
    }

    #[test]
    fn thousands_are_grouped() {
        let texts = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
