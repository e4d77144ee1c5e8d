//! From a place in a TOML text to its line, column and key.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// Line and column of a byte offset, from 1; columns count characters.
pub(crate) fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = text.get(..offset).unwrap_or_default();
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Dotted key of the innermost entry whose key or value holds `offset`; empty outside all.
pub(crate) fn key_at(table: &DeTable<'_>, offset: usize) -> String {
    let mut path = String::new();
    in_table(table, offset, &mut path);
    path
}

fn in_table(table: &DeTable<'_>, offset: usize, path: &mut String) -> bool {
    let end = path.len();
    for (key, value) in table.iter() {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key.get_ref());
        let inside = in_value(value.get_ref(), offset, path);
        if inside || holds(&key.span(), offset) || holds(&value.span(), offset) {
            return true;
        }
        path.truncate(end);
    }
    false
}

/// Tables may be written in pieces, so their own span says little: children decide first.
fn in_value(value: &DeValue<'_>, offset: usize, path: &mut String) -> bool {
    match value {
        DeValue::Table(table) => in_table(table, offset, path),
        DeValue::Array(entries) => {
            let end = path.len();
            for (index, entry) in entries.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                if in_value(entry.get_ref(), offset, path) || holds(&entry.span(), offset) {
                    return true;
                }
                path.truncate(end);
            }
            false
        }
        _ => false,
    }
}

fn holds(span: &Range<usize>, offset: usize) -> bool {
    span.contains(&offset)
}
