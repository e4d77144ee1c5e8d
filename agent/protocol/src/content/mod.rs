//! Content codings (RFC 9110 8.4): taken off as the bytes come, within bounds.
//!
//! The input is decoded in blocks aligned to the begin of the body, so that what comes out, and where decoding is given up,
//! depends on the bytes alone and not on how they were split. Memory is bounded by the windows of the codings, time by the
//! length of the input: no stage may give more than `Limits::decode_ratio` for each byte that came over the wire, beyond
//! `Limits::DECODE_FLOOR`.

mod brotli;
mod decoder;
mod deflate;
mod gzip;
#[cfg(test)]
mod tests;
mod zstd;

pub(crate) use decoder::{Decoder, Flow, Outcome};

use crate::Headers;

/// Codings that are taken off one body, at most: real ones have one, and two where a proxy compresses what is compressed.
const CODINGS_MAX: usize = 3;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950; also RFC 1951 without its header, as some servers send and browsers accept.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, within the window of RFC 9659.
    Zstd,
}

/// What `Content-Encoding` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Codings {
    /// Nothing.
    #[default]
    None,
    /// These, in the order in which they were applied.
    Known(Vec<Coding>),
    /// One that is not known, or too many.
    Unknown,
}

impl Codings {
    /// Those of a message with these header fields.
    pub(crate) fn of(headers: &Headers) -> Self {
        let mut known = Vec::new();
        for value in headers.all(b"content-encoding") {
            for name in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                let coding = match name {
                    b"" => continue,
                    name if name.eq_ignore_ascii_case(b"identity") => continue,
                    name if name.eq_ignore_ascii_case(b"gzip") => Coding::Gzip,
                    name if name.eq_ignore_ascii_case(b"x-gzip") => Coding::Gzip,
                    name if name.eq_ignore_ascii_case(b"deflate") => Coding::Deflate,
                    name if name.eq_ignore_ascii_case(b"br") => Coding::Brotli,
                    name if name.eq_ignore_ascii_case(b"zstd") => Coding::Zstd,
                    _ => return Self::Unknown,
                };
                if known.len() == CODINGS_MAX {
                    return Self::Unknown;
                }
                known.push(coding);
            }
        }
        if known.is_empty() {
            Self::None
        } else {
            Self::Known(known)
        }
    }
}
