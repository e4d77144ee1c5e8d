//! Tables without lines or colour, and JSON.

use std::io::Write;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, TableStyle, Width};
use serde::Serialize;

use crate::api::List;

use super::args::Output;
use super::client::CliError;
use super::human::safe;

/// Spaces between columns.
const GAP: usize = 2;

/// Least width of a column of texts that wrap, with the gap after it: below, words fall apart.
const TEXT_WIDTH_MIN: u16 = 10;

/// How an answer is shown.
#[derive(Clone, Copy)]
pub struct View {
    /// Table or JSON.
    pub output: Output,
    /// Width of tables; the terminal's when `None`.
    pub width: Option<u16>,
}

/// Where a column's texts stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Texts; they wrap where the table is too wide.
    Left,
    /// Times; they stay in one line.
    Fixed,
    /// Numbers; they stay in one line.
    Right,
}

/// Columns of a table.
pub struct Columns<const N: usize> {
    /// Their names.
    pub header: [(&'static str, Align); N],
    /// Those that go first where the width does not do, the last named first.
    pub less_needed: &'static [&'static str],
}

impl View {
    /// Prints a list: JSON, or a table and whether there is more.
    ///
    /// # Errors
    /// [`CliError::Print`]
    pub fn list<T: Serialize, const N: usize>(
        &self,
        list: &List<T>,
        columns: &Columns<N>,
        row: impl Fn(&T) -> [String; N],
        out: &mut (dyn Write + Send),
    ) -> Result<(), CliError> {
        if self.output == Output::Json {
            return self.json(list, out);
        }
        let rows: Vec<_> = list.items.iter().map(row).collect();
        self.table(columns, &rows, out)?;
        self.more(list.next.is_some(), out)
    }

    /// Prints one thing: JSON, or as `show` does.
    ///
    /// # Errors
    /// [`CliError::Print`]
    pub fn one<T: Serialize>(
        &self,
        value: &T,
        show: fn(&T, View, &mut (dyn Write + Send)) -> Result<(), CliError>,
        out: &mut (dyn Write + Send),
    ) -> Result<(), CliError> {
        match self.output {
            Output::Json => self.json(value, out),
            Output::Table => show(value, *self, out),
        }
    }

    /// Prints a value as JSON.
    ///
    /// # Errors
    /// [`CliError::Print`]
    pub fn json<T: Serialize>(&self, value: &T, out: &mut (dyn Write + Send)) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from)?;
        Ok(writeln!(out, "{text}")?)
    }

    /// Prints rows below their header. Columns that are empty in every row are left out; where the width does not do, those
    /// less needed.
    ///
    /// # Errors
    /// [`CliError::Print`]
    pub fn table<const N: usize>(
        &self,
        columns: &Columns<N>,
        rows: &[[String; N]],
        out: &mut (dyn Write + Send),
    ) -> Result<(), CliError> {
        let mut table = Table::new();
        table
            .load_style(TableStyle::new())
            .set_content_arrangement(ContentArrangement::Dynamic);
        if let Some(width) = self.width {
            table.set_width(width);
        } else if table.width() == Some(0) {
            // A serial console, which does not know.
            table.set_width(u16::MAX);
        }
        let header = &columns.header;
        let widths = widths(columns, rows, table.width());
        let visible = |index: &usize| widths.get(*index).is_some_and(|width| *width > 0);
        table.set_header(
            header
                .iter()
                .enumerate()
                .filter(|(index, _)| visible(index))
                .map(|(_, (name, _))| (*name).to_owned()),
        );
        for row in rows {
            table.add_row(
                row.iter()
                    .enumerate()
                    .filter(|(index, _)| visible(index))
                    .map(|(_, text)| safe(text)),
            );
        }
        let wide = header.iter().zip(&widths).filter(|(_, width)| **width > 0);
        for (column, ((_, align), width)) in table.column_iter_mut().zip(wide) {
            column.set_padding((0, GAP as u16));
            match align {
                Align::Left => {
                    let least = u16::try_from(*width).unwrap_or(u16::MAX).min(TEXT_WIDTH_MIN);
                    column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
                }
                Align::Fixed => {
                    column.set_constraint(ColumnConstraint::ContentWidth);
                }
                Align::Right => {
                    column
                        .set_constraint(ColumnConstraint::ContentWidth)
                        .set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        Ok(writeln!(out, "{}", table.trim_fmt())?)
    }

    /// Says that there are more rows than were shown, if so.
    ///
    /// # Errors
    /// [`CliError::Print`]
    pub fn more(&self, more: bool, out: &mut (dyn Write + Send)) -> Result<(), CliError> {
        if more {
            writeln!(out, "\nThere are more: raise --limit or filter.")?;
        }
        Ok(())
    }

    /// Prints names and values, one a line.
    ///
    /// # Errors
    /// [`CliError::Print`]
    pub fn record(&self, lines: &[(&str, String)], out: &mut (dyn Write + Send)) -> Result<(), CliError> {
        let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
            writeln!(out, "{name:width$}  {}", safe(value))?;
        }
        Ok(())
    }
}

/// Width of each column with the gap after it; 0 for one that is not shown.
fn widths<const N: usize>(columns: &Columns<N>, rows: &[[String; N]], width: Option<u16>) -> Vec<usize> {
    let mut widths: Vec<usize> = (0..N)
        .map(|at| {
            let texts = rows.iter().filter_map(|row| row.get(at));
            let widest = texts.map(|text| text.chars().count()).max();
            let name = columns.header.get(at).map_or(0, |(name, _)| name.len());
            if widest == Some(0) {
                0
            } else {
                widest.unwrap_or_default().max(name) + GAP
            }
        })
        .collect();
    for name in columns.less_needed.iter().rev() {
        if width.is_none_or(|width| widths.iter().sum::<usize>() <= usize::from(width)) {
            break;
        }
        let widths = columns.header.iter().zip(&mut widths);
        widths
            .filter(|((column, _), _)| column == name)
            .for_each(|(_, width)| *width = 0);
    }
    widths
}
