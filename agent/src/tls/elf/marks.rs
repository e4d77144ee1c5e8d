//! Texts that TLS libraries leave in the read-only data of what they are linked into: who they are, and which version.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use aho_corasick::BuildError;

use super::ElfError;
use super::layout::Layout;
use super::reader::{Extent, Reader};
use super::search::Texts;
use crate::tls::library::{LibraryName, VERSION_BYTES_MAX};

/// Most read-only data that is searched of a file, bytes. Node has 45 MiB, most of them snapshots and Unicode tables.
pub const SEARCH_BYTES_MAX: u64 = 64 << 20;
/// Instructions of the smallest program that has a TLS library in it, bytes; the read-only data of smaller ones is not searched.
const CODE_BYTES_MIN: u64 = 512 << 10;

/// Places of one text that are looked at.
const PLACES_PER_TEXT_MAX: usize = 64;

/// What a text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// The library itself is here, not only a user of it, and its version follows.
    Here(LibraryName),
    /// The version follows. Users of the library may have such texts as well.
    Version(LibraryName),
    /// The source file of connections that OpenSSL and its kin have, `.c` or `.cc`, as the end of a text: the library itself is here.
    SslLib,
}

const MARKS: [(&str, Mark); 7] = [
    ("ssl_lib.c", Mark::SslLib),
    ("OpenSSL ", Mark::Version(LibraryName::OpenSsl)),
    ("LibreSSL ", Mark::Version(LibraryName::LibreSsl)),
    ("AWS-LC ", Mark::Version(LibraryName::BoringSsl)),
    ("Version: NSS ", Mark::Version(LibraryName::Nss)),
    ("Enabled GnuTLS ", Mark::Here(LibraryName::GnuTls)),
    // Of panics' places, as in `…/rustls-0.23.12/src/conn.rs`; its companion crates go on with a letter.
    ("/rustls-", Mark::Here(LibraryName::Rustls)),
];

static TEXTS: LazyLock<Result<Texts, BuildError>> =
    LazyLock::new(|| Texts::new(MARKS.iter().map(|(text, _)| text)));

/// What the texts say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Libraries that are in the file itself.
    pub(super) here: Vec<LibraryName>,
    versions: Vec<(LibraryName, String)>,
    /// There was more to search than the limit.
    pub(super) cut: bool,
}

impl Marks {
    /// The version that a library's texts say: of several, the most exact one.
    pub(super) fn version(&self, of: LibraryName) -> Option<&str> {
        let mut versions = self.versions.iter();
        versions
            .find(|(name, _)| *name == of)
            .map(|(_, version)| version.as_str())
    }

    fn note_here(&mut self, name: LibraryName) {
        if !self.here.contains(&name) {
            self.here.push(name);
        }
    }

    fn note(&mut self, mark: Mark, following: &[u8]) {
        let name = match mark {
            Mark::SslLib if following.starts_with(b"c\0") => return self.note_here(LibraryName::BoringSsl),
            Mark::SslLib if following.starts_with(b"\0") => return self.note_here(LibraryName::OpenSsl),
            Mark::SslLib => return,
            Mark::Here(name) | Mark::Version(name) => name,
        };
        let Some(version) = version(following) else { return };
        if matches!(mark, Mark::Here(_)) {
            self.note_here(name);
        }
        let points = |version: &str| version.bytes().filter(|byte| *byte == b'.').count();
        match self.versions.iter_mut().find(|(other, _)| *other == name) {
            Some((_, known)) if points(known) < points(&version) => *known = version,
            Some(_) => {}
            None => self.versions.push((name, version)),
        }
    }
}

/// Whether a file has so many instructions that a TLS library may be among them.
pub(super) fn worth_searching(layout: &Layout) -> bool {
    let executable = layout.segments.iter().filter(|segment| segment.executable);
    let code = executable.fold(0_u64, |sum, segment| sum.saturating_add(segment.extent.len));
    code >= CODE_BYTES_MIN
}

/// Searches the read-only data, at most [`SEARCH_BYTES_MAX`] of it.
pub(super) fn search(reader: &mut Reader<'_>, layout: &Layout, max: u64) -> Result<Marks, ElfError> {
    let mut marks = Marks::default();
    let Ok(texts) = LazyLock::force(&TEXTS) else {
        return Err(ElfError::Damaged { what: "texts" });
    };
    let mut left = max;
    for extent in read_only(reader, layout) {
        let within = Extent {
            len: extent.len.min(left),
            ..extent
        };
        marks.cut |= within.len < extent.len;
        left -= within.len;
        let mut places = Vec::new();
        texts.search(reader, within, |text, at| {
            // Each text once is enough, but for those that users of a library have too, of which a few are looked at.
            if places.iter().filter(|(other, _)| *other == text).count() < PLACES_PER_TEXT_MAX {
                places.push((text, at));
            }
            ControlFlow::Continue(())
        })?;
        for (text, at) in places {
            if let Some((text, mark)) = MARKS.get(text) {
                let following = reader.up_to(at.saturating_add(text.len() as u64), VERSION_BYTES_MAX)?;
                marks.note(*mark, &following);
            }
        }
    }
    Ok(marks)
}

/// Where texts are: the section of that name, or else every segment that is neither run nor written.
fn read_only(reader: &Reader<'_>, layout: &Layout) -> Vec<Extent> {
    if let Some(section) = layout.section(&[".rodata"], reader) {
        return vec![section.extent];
    }
    let segments = layout.segments.iter();
    let read_only = segments.filter(|segment| !segment.executable && !segment.writable);
    read_only.map(|segment| segment.extent).collect()
}

/// A version at the begin of a text: digits, a point, and more of what versions have.
fn version(text: &[u8]) -> Option<String> {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
    let end = text.iter().position(|byte| !part(byte)).unwrap_or(text.len());
    let version = std::str::from_utf8(text.get(..end)?).ok()?;
    let (major, rest) = version.split_once('.')?;
    let numeric = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let minor = rest.split('.').next()?;
    (numeric(major) && minor.starts_with(|first: char| first.is_ascii_digit())).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_from_other_texts() {
        for (text, expected) in [
            ("3.0.19 27 Jan 2026", Some("3.0.19")),
            ("1.0.2u  20 Dec 2019", Some("1.0.2u")),
            ("1.1.1w-fips\0", Some("1.1.1w-fips")),
            ("0.23.37/src/conn.rs", Some("0.23.37")),
            ("3.9.2", Some("3.9.2")),
            ("pki-types-1.8.0/src", None),
            ("3", None),
            (".3", None),
            ("3.x", None),
            ("%s", None),
            ("", None),
        ] {
            assert_eq!(version(text.as_bytes()).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_library_is_there_by_its_own_sources_and_not_by_its_name() {
        let mut marks = Marks::default();
        for text in ["3.0 legacy provider", "3.0.19 27 Jan 2026", "1.1.1 again"] {
            marks.note(Mark::Version(LibraryName::OpenSsl), text.as_bytes());
        }
        marks.note(Mark::Here(LibraryName::Rustls), b"webpki-0.102/src");
        // As in a program that looks for it.
        marks.note(Mark::SslLib, b"OpenSSL ");
        assert_eq!(
            (marks.here.as_slice(), marks.version(LibraryName::OpenSsl)),
            (&[][..], Some("3.0.19"))
        );
        marks.note(Mark::SslLib, b"\0");
        marks.note(Mark::SslLib, b"c\0");
        marks.note(Mark::Here(LibraryName::Rustls), b"0.23.37/src");
        assert_eq!(
            marks.here,
            [LibraryName::OpenSsl, LibraryName::BoringSsl, LibraryName::Rustls]
        );
        assert_eq!(marks.version(LibraryName::Rustls), Some("0.23.37"));
    }
}
