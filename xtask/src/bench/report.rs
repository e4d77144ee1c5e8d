//! What was measured, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::thread;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use crate::bench::programs;
use crate::bench::statistics::Spread;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
}

/// Everything that was measured in one run.
#[derive(Debug, Serialize)]
pub struct Report {
    kernel: String,
    processors: usize,
    /// Runnable processes, averaged over the minute before the run.
    load_before: f64,
    /// Tracing programs of others that were loaded before the run: what they cost is in every figure.
    foreign_programs: Vec<String>,
    pub sections: Vec<Section>,
}

/// One measurement.
#[derive(Debug, Serialize)]
pub struct Section {
    pub name: String,
    /// How to read it.
    pub explanation: String,
    pub columns: Vec<&'static str>,
    pub rows: Vec<Vec<Cell>>,
    pub targets: Vec<Target>,
    /// What happened besides.
    pub notes: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Cell {
    Text(String),
    Count(u64),
    Spread(Spread),
    /// Not measured here.
    None(()),
}

/// What was hoped for, and what is.
#[derive(Debug, Serialize)]
pub struct Target {
    pub what: String,
    /// `at most` or `at least`.
    pub bound: Bound,
    pub limit: f64,
    pub measured: f64,
    pub met: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtMost,
    AtLeast,
}

impl Target {
    pub fn new(what: impl Into<String>, bound: Bound, limit: f64, measured: f64) -> Self {
        let met = match bound {
            Bound::AtMost => measured <= limit,
            Bound::AtLeast => measured >= limit,
        };
        Self {
            what: what.into(),
            bound,
            limit,
            measured,
            met,
        }
    }
}

impl From<Option<Spread>> for Cell {
    fn from(spread: Option<Spread>) -> Self {
        spread.map_or(Self::None(()), Self::Spread)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => formatter.write_str(text),
            Self::Count(count) => count.fmt(formatter),
            Self::Spread(spread) => spread.fmt(formatter),
            Self::None(()) => formatter.write_str("-"),
        }
    }
}

impl Report {
    pub fn of_this_machine() -> Result<Self> {
        let read = |file: &str| fs::read_to_string(file).with_context(|| format!("reading {file}"));
        let load = read("/proc/loadavg")?;
        Ok(Self {
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            processors: thread::available_parallelism()?.get(),
            load_before: load
                .split_whitespace()
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or(f64::NAN),
            foreign_programs: programs::loaded_names(),
            sections: Vec::new(),
        })
    }

    /// Where and under what conditions this was measured.
    pub fn conditions(&self) -> String {
        let mut text = format!(
            "kernel {}, {} processors, load {:.2} before the run",
            self.kernel, self.processors, self.load_before
        );
        if !self.foreign_programs.is_empty() {
            let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
            for name in &self.foreign_programs {
                *by_name.entry(name).or_default() += 1;
            }
            let names: Vec<_> = by_name
                .iter()
                .map(|(name, count)| format!("{name} ({count})"))
                .collect();
            text += &format!(
                "\neBPF programs of others were loaded before the run: {}",
                names.join(", ")
            );
        }
        text
    }
}

impl fmt::Display for Section {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "\n{}\n{}", self.name, self.explanation)?;
        let header = self.columns.iter().map(|name| (*name).to_owned()).collect();
        let lines: Vec<Vec<String>> = std::iter::once(header)
            .chain(
                self.rows
                    .iter()
                    .map(|row| row.iter().map(Cell::to_string).collect()),
            )
            .collect();
        let mut widths = vec![0; self.columns.len()];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for line in &lines {
            for (index, (width, cell)) in widths.iter().zip(line).enumerate() {
                match index {
                    0 => write!(formatter, "  {cell:<width$}")?,
                    _ => write!(formatter, "  {cell:>width$}")?,
                }
            }
            writeln!(formatter)?;
        }
        for target in &self.targets {
            let sign = match target.bound {
                Bound::AtMost => '≤',
                Bound::AtLeast => '≥',
            };
            let met = if target.met { "met" } else { "NOT MET" };
            writeln!(
                formatter,
                "  target: {} {sign} {}; measured {:.3}: {met}",
                target.what, target.limit, target.measured
            )?;
        }
        for note in &self.notes {
            writeln!(formatter, "  {note}")?;
        }
        Ok(())
    }
}
