//! Building the WHERE clause of a query from its filters; every value is a bound parameter.

use rusqlite::types::Value;

use crate::store::{Cursor, CursorPart, Page, Paging, TextMatch, TimeRange};

/// Conditions and their parameters, joined by AND.
#[derive(Clone, Default)]
pub struct Where {
    conditions: Vec<String>,
    params: Vec<Value>,
}

impl Where {
    /// Adds a condition with one `?`.
    pub fn and(&mut self, condition: &str, value: impl Into<Value>) {
        self.conditions.push(condition.to_owned());
        self.params.push(value.into());
    }

    /// Adds a condition with its own parameters.
    pub fn and_all(&mut self, condition: String, values: impl IntoIterator<Item = Value>) {
        self.conditions.push(condition);
        self.params.extend(values);
    }

    /// The text in one of the columns must match.
    pub fn and_text(&mut self, columns: &[&str], text: Option<&TextMatch>) {
        let Some(text) = text else { return };
        let (operator, value) = match text {
            TextMatch::Exact(text) => ("=", text.clone()),
            TextMatch::Prefix(text) => ("GLOB", escape(text) + "*"),
            TextMatch::Glob(text) => ("GLOB", text.split('*').map(escape).collect::<Vec<_>>().join("*")),
        };
        let any = columns
            .iter()
            .map(|column| format!("{column} {operator} ?"))
            .collect::<Vec<_>>()
            .join(" OR ");
        self.and_all(
            format!("({any})"),
            columns.iter().map(|_| Value::from(value.clone())),
        );
    }

    /// The time in the column must be in the range.
    pub fn and_range(&mut self, column: &str, range: TimeRange) {
        if let Some(from) = range.from {
            self.and(&format!("{column} >= ?"), from.us());
        }
        if let Some(to) = range.to {
            self.and(&format!("{column} < ?"), to.us());
        }
    }

    /// Rows after the cursor, in ascending order of the columns, or descending ones with `<`.
    pub fn and_after(&mut self, columns: &[&str], operator: &str, after: Option<&Cursor>) {
        let Some(Cursor(parts)) = after else { return };
        if parts.len() != columns.len() {
            // A cursor of another list: nothing comes after it.
            self.conditions.push("0".to_owned());
            return;
        }
        let marks = vec!["?"; columns.len()].join(", ");
        let values = parts.iter().map(|part| match part {
            CursorPart::Int(int) => Value::from(*int),
            CursorPart::Text(text) => Value::from(text.clone()),
        });
        self.and_all(format!("({}) {operator} ({marks})", columns.join(", ")), values);
    }

    /// The clause, or an empty text.
    pub fn clause(&self) -> String {
        if self.conditions.is_empty() {
            String::new()
        } else {
            format!("WHERE {}", self.conditions.join(" AND "))
        }
    }

    /// The parameters, in the order of the clause.
    pub fn params(&self) -> impl Iterator<Item = &Value> {
        self.params.iter()
    }
}

/// GLOB's own special characters, taken literally.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '*' | '?' | '[' => escaped.extend(['[', character, ']']),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// Cuts rows that were asked for with one more than the limit into a page.
pub fn page<T>(mut items: Vec<T>, paging: &Paging, key: impl Fn(&T) -> Vec<CursorPart>) -> Page<T> {
    let limit = paging.limit as usize;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more {
        items.last().map(|last| Cursor(key(last)))
    } else {
        None
    };
    Page { items, next }
}

/// How many rows to ask for to know whether there are more.
pub fn fetch_limit(paging: &Paging) -> i64 {
    i64::from(paging.limit) + 1
}

/// As SQLite's signed integer, saturating.
pub fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// From SQLite's signed integer; never negative in our tables.
pub fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}
