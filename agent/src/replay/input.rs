//! Input files: what they are is told by what they hold, not by their names.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use thiserror::Error;

use crate::source::file::unpacked;
use crate::source::pcap;

/// Bytes looked at to tell what a file is.
const SNIFFED_BYTES: usize = 4096;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// pcap or pcapng.
    Capture,
    /// HTTP archive.
    Har,
}

impl Format {
    /// Name in `summary.json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Capture => "pcap",
            Self::Har => "har",
        }
    }
}

/// Why a file is not read at all.
#[derive(Debug, Error)]
pub enum InputError {
    /// It cannot be opened.
    #[error("cannot be opened: {0}")]
    Open(#[source] io::Error),
    /// It cannot be read, or what it was compressed with is broken.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
    /// It can be read only once.
    #[error("is no file that can be read again; write it to a file first")]
    NotAFile,
    /// There is nothing in it.
    #[error("is empty")]
    Empty,
    /// It is something else.
    #[error("is neither pcap, pcapng nor HAR: it begins with `{0}`; export the traffic as one of them")]
    Unknown(String),
}

/// Tells what a file is.
///
/// # Errors
/// It cannot be read, or is nothing that is known.
pub fn format(path: &Path) -> Result<Format, InputError> {
    let file = File::open(path).map_err(InputError::Open)?;
    let is_file = file.metadata().map_err(InputError::Open)?.is_file();
    if !is_file {
        return Err(InputError::NotAFile);
    }
    let mut begin = Vec::with_capacity(SNIFFED_BYTES);
    unpacked(file)
        .and_then(|reader| reader.take(SNIFFED_BYTES as u64).read_to_end(&mut begin))
        .map_err(InputError::Read)?;
    judge(&begin)
}

fn judge(begin: &[u8]) -> Result<Format, InputError> {
    if pcap::is_capture(begin) {
        return Ok(Format::Capture);
    }
    let text = begin
        .strip_prefix(BYTE_ORDER_MARK)
        .unwrap_or(begin)
        .trim_ascii_start();
    match text.first() {
        Some(b'{') => Ok(Format::Har),
        None if begin.is_empty() => Err(InputError::Empty),
        _ => {
            let shown = begin.get(..16).unwrap_or(begin);
            Err(InputError::Unknown(shown.escape_ascii().to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn of(bytes: &[u8]) -> Result<Format, InputError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        format(file.path())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn formats() {
        for (bytes, expect) in [
            (&b"{\"log\":{}}"[..], Format::Har),
            (b"\xef\xbb\xbf \r\n\t{", Format::Har),
            (b"\xd4\xc3\xb2\xa1\x02\x00", Format::Capture),
            (b"\xa1\xb2\x3c\x4d\x00\x02", Format::Capture),
        ] {
            assert_eq!(of(bytes).unwrap(), expect, "{bytes:?}");
            assert_eq!(of(&gzip(bytes)).unwrap(), expect, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_none() {
        for (bytes, expect) in [
            (&b""[..], "is empty"),
            (b"[]", "begins with `[]`"),
            (
                b"GET / HTTP/1.1\r\nHost: a\r\n",
                "begins with `GET / HTTP/1.1\\r\\n`",
            ),
            (b"\x1f\x8b\x08garbage", "cannot be read"),
            (b"\xef\xbb\xbf", "begins with"),
        ] {
            let error = of(bytes).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        }
        assert!(matches!(
            format(Path::new("/dev/null")),
            Err(InputError::NotAFile)
        ));
        assert!(matches!(
            format(Path::new("/dev/null/x")),
            Err(InputError::Open(_))
        ));
    }
}
