//! What is wrong with an archive.

use std::fmt;

use thiserror::Error;

/// A place in a file, after decompression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: u64,
    /// In bytes, from 1.
    pub column: u64,
    /// Bytes before it.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, offset } = self;
        write!(f, "line {line}, column {column} (byte {offset})")
    }
}

/// Why the rest of a file cannot be read.
#[derive(Debug, Error)]
pub enum HarError {
    /// It is no JSON.
    #[error("no JSON at {position}: {what}")]
    Syntax {
        /// Where.
        position: Position,
        /// What was expected, or found.
        what: String,
    },
    /// It is JSON, but no archive.
    #[error("no HTTP archive: {what}; export the traffic again as HAR 1.2")]
    NoArchive {
        /// What is missing.
        what: &'static str,
    },
    /// The file cannot be read, or what it was compressed with is broken.
    #[error("cannot be read beyond byte {offset}: {source}")]
    Read {
        /// Bytes before it, after decompression.
        offset: u64,
        /// Why.
        source: std::io::Error,
    },
}

impl HarError {
    /// An entry that begins at `begin` is no JSON.
    pub(super) fn in_entry(index: u64, begin: Position, error: &serde_json::Error) -> Self {
        let line = u64::try_from(error.line()).unwrap_or(1).max(1);
        let column = u64::try_from(error.column()).unwrap_or(0);
        let position = Position {
            line: begin.line + line - 1,
            column: if line == 1 {
                begin.column + column.saturating_sub(1)
            } else {
                column
            },
            offset: begin.offset,
        };
        // Its own place is within the entry: of no use to a reader.
        let text = error.to_string();
        let what = text.split(" at line ").next().unwrap_or_default();
        Self::Syntax {
            position,
            what: format!("{what}, in entry {index}, which begins at byte {}", begin.offset),
        }
    }
}

macro_rules! reasons {
    ($($variant:ident = $name:literal: $doc:literal),+ $(,)?) => {
        /// Why an entry is left out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason { $(#[doc = $doc] $variant),+ }

        impl Reason {
            /// Name in outputs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it means.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $doc),+ }
            }
        }
    };
}

reasons! {
    NoObject = "entry_invalid": "entries that are not as the format says",
    NoRequest = "request_missing": "entries without a request",
    NoMethod = "method_missing": "entries without a method",
    NoUrl = "url_missing": "entries without a URL",
    BadUrl = "url_invalid": "entries whose URL is none",
    NotHttp = "url_not_http": "entries of other schemes than http, https, ws and wss",
    BadStatus = "status_invalid": "entries whose status is none",
    TooLarge = "entry_too_large": "entries of more than 64 MiB",
    TooDeep = "entry_too_deep": "entries nested deeper than 64 levels",
}
