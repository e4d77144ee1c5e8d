//! Why a text is not a capture policy.

/// The first thing wrong with a policy text: where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}{}{key}: {message}", if key.is_empty() { "" } else { ", " })]
pub struct PolicyError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Dotted key the error belongs to, as `filter.exclude[2].port`; empty when the text is no TOML at that place.
    pub key: String,
    /// Cause and remedy.
    pub message: String,
}
