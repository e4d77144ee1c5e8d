//! What all VMs said, as one table in Markdown.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::vm_test::kernels::Kernel;
use crate::vm_test::results::Run;

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
    let mut names: Vec<&str> = Vec::new();
    let mut known = BTreeSet::new();
    for name in rows.iter().flat_map(|row| row.run.providers()) {
        if known.insert(name) {
            names.push(name);
        }
    }
    let mut table = format!("| kernel | {} |\n|---|", names.join(" | "));
    names.iter().for_each(|_| table.push_str("---|"));
    table.push('\n');
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
    fn thousands_are_grouped() {
        let texts = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
