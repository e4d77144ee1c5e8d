//! `criterion`: the benchmarks that crates carry in their `benches` folders.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::bench::Plan;
use crate::bench::report::{Cell, Section};
use crate::bench::statistics::Spread;
use crate::command;

/// Packages with benchmarks.
const PACKAGES: [&str; 2] = ["protocol", "catalog"];

/// A benchmark's `estimates.json`, as far as it is of interest: nanoseconds.
#[derive(Debug, Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Debug, Deserialize)]
struct Estimate {
    confidence_interval: Interval,
    point_estimate: f64,
}

#[derive(Debug, Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

/// A benchmark's `benchmark.json`.
#[derive(Debug, Deserialize)]
struct Description {
    full_id: String,
    throughput: Option<Throughput>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Throughput {
    elements: Option<f64>,
    bytes: Option<f64>,
}

pub fn measure(plan: &Plan<'_>) -> Result<Vec<Section>> {
    let results = plan.workspace.target.join("criterion");
    // Of an earlier run, perhaps of benchmarks that no longer exist.
    if results.exists() {
        fs::remove_dir_all(&results).with_context(|| format!("removing {}", results.display()))?;
    }
    let mut cargo = command::cargo();
    cargo.arg("bench").current_dir(&plan.workspace.root);
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    // Benchmarks of the library's own tests do not exist, and its test harness knows no options of criterion.
    cargo.args(["--benches", "--", "--noplot", "--quiet"]);
    // Not inherited: what this program prints is the report.
    let said = command::output(&mut cargo)?;

    let mut rows = Vec::new();
    collect(&results, &mut rows)?;
    rows.sort_by(|(left, _), (right, _)| left.cmp(right));
    let notes = if rows.is_empty() {
        vec![format!("no results in {}:\n{said}", results.display())]
    } else {
        Vec::new()
    };
    Ok(vec![Section {
        name: "criterion".into(),
        explanation: "Nanoseconds an iteration: median (its 95 % confidence interval), and per element or byte where the benchmark says \
                      how many it handles."
            .into(),
        columns: vec!["benchmark", "ns", "handles", "ns each"],
        rows: rows.into_iter().map(|(_, row)| row).collect(),
        targets: Vec::new(),
        notes,
    }])
}

/// Finds results below a directory: folders `new` with the two files.
fn collect(directory: &Path, rows: &mut Vec<(String, Vec<Cell>)>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        if path.file_name().is_some_and(|name| name == "new") {
            rows.push(result(&path)?);
        } else {
            collect(&path, rows)?;
        }
    }
    Ok(())
}

fn result(directory: &Path) -> Result<(String, Vec<Cell>)> {
    let read = |name: &str| {
        let file = directory.join(name);
        fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))
    };
    let estimates: Estimates = serde_json::from_str(&read("estimates.json")?)?;
    let description: Description = serde_json::from_str(&read("benchmark.json")?)?;
    let median = Spread {
        median: estimates.median.point_estimate,
        min: estimates.median.confidence_interval.lower_bound,
        max: estimates.median.confidence_interval.upper_bound,
        rounds: 1,
    };
    let (handles, each) = match description.throughput {
        Some(Throughput {
            elements: Some(count),
            ..
        }) => (format!("{count} elements"), median.divided(count)),
        Some(Throughput {
            bytes: Some(count), ..
        }) => (format!("{count} bytes"), median.divided(count)),
        _ => (String::from("-"), None),
    };
    let row = vec![
        Cell::Text(description.full_id.clone()),
        Cell::Spread(median),
        Cell::Text(handles),
        each.into(),
    ];
    Ok((description.full_id, row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_criterion_leaves() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("observe/integer/new");
        fs::create_dir_all(&directory).unwrap();
        let interval = r#"{"confidence_level":0.95,"lower_bound":290.0,"upper_bound":330.0}"#;
        let estimate =
            format!(r#"{{"confidence_interval":{interval},"point_estimate":300.0,"standard_error":1.0}}"#);
        fs::write(
            directory.join("estimates.json"),
            format!(r#"{{"mean":{estimate},"median":{estimate},"slope":null}}"#),
        )
        .unwrap();
        fs::write(
            directory.join("benchmark.json"),
            r#"{"group_id":"observe","full_id":"observe/integer","throughput":{"Elements":3},"title":"x"}"#,
        )
        .unwrap();
        let mut rows = Vec::new();
        collect(root.path(), &mut rows).unwrap();
        let [(name, row)] = rows.as_slice() else {
            panic!("one benchmark")
        };
        assert_eq!(name, "observe/integer");
        let text: Vec<_> = row.iter().map(Cell::to_string).collect();
        assert_eq!(
            text,
            [
                "observe/integer",
                "300.0 (290.0 … 330.0)",
                "3 elements",
                "100.0 (96.7 … 110.0)"
            ]
        );
    }
}
