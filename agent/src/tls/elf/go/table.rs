//! Go's table of functions, `pclntab`: addresses and names of all of them (Go's `debug/gosym`, `cmd/link/internal/ld/pcln.go`).
//!
//! ```text
//!          header: magic u32, 0 u16, quantum u8, bytes of a pointer u8, then words:
//! Go 1.2   functions; then the pairs at once, offsets are from the table's begin
//! Go 1.16  functions, files, names, …, …, …, pairs (offsets of parts from the table's begin)
//! Go 1.18  functions, files, begin of text, names, …, …, …, pairs
//! pairs    entry, offset of the details from the pairs' begin; after the last one the end of the text
//! details  entry, offset of the name in the names (u32), …
//! ```
//!
//! Entries are addresses of a pointer's size up to Go 1.17, and since 1.18 distances (u32) from the begin of the text.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use agent_common::TlsFamily;
use aho_corasick::BuildError;

use super::super::ElfError;
use super::super::layout::{Architecture, Layout, bounded};
use super::super::reader::{Extent, Reader};
use super::super::search::Texts;
use crate::tls::library::Function;

/// Most functions of a program; the largest known have some 400,000.
pub const GO_FUNCTIONS_MAX: usize = 2 << 20;
/// Bytes of a pointer on the architectures that are looked at.
const POINTER_BYTES: u64 = 8;

const MAGICS: [([u8; 4], Edition); 4] = [
    (0xffff_fffb_u32.to_le_bytes(), Edition::Go1_2),
    (0xffff_fffa_u32.to_le_bytes(), Edition::Go1_16),
    (0xffff_fff0_u32.to_le_bytes(), Edition::Go1_18),
    // Since 1.20; laid out as before.
    (0xffff_fff1_u32.to_le_bytes(), Edition::Go1_18),
];

/// All that is constant of a header.
static HEADERS: LazyLock<Result<Texts, BuildError>> = LazyLock::new(|| {
    let headers = MAGICS.iter().flat_map(|(magic, _)| {
        [1, 4].map(|quantum| {
            let mut header = magic.to_vec();
            header.extend([0, 0, quantum, POINTER_BYTES as u8]);
            header
        })
    });
    Texts::new(headers)
});

/// The functions of `crypto/tls`.
static FUNCTIONS: LazyLock<Vec<Function>> = LazyLock::new(|| {
    let functions = Function::ALL.iter().copied();
    functions
        .filter(|function| function.family() == TlsFamily::Go)
        .collect()
});

static NAMES: LazyLock<Result<Texts, BuildError>> = LazyLock::new(|| {
    Texts::new(
        FUNCTIONS
            .iter()
            .map(|function| format!("{}\0", function.symbol())),
    )
});

/// How a table is laid out; named by the first version of Go that wrote it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edition {
    Go1_2,
    Go1_16,
    Go1_18,
}

/// A function of `crypto/tls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) function: Function,
    /// Of its first instruction: from the begin of the text, or an address ([`Table::relative`]).
    pub(super) entry: u64,
    /// Bytes up to the next function, at least 1.
    pub(super) len: u64,
}

/// A table of functions.
#[derive(Debug)]
pub(super) struct Table {
    edition: Edition,
    /// Where it begins in the file.
    offset: u64,
    /// Number of functions.
    count: u64,
    names: Extent,
    /// Of the pairs, in the file.
    pairs: u64,
    /// Of what the details' offsets are counted from, in the file.
    details: u64,
}

impl Table {
    /// Finds it: in its section, or by its first bytes in a file that has none of that name and is a Go program: external linkers put the
    /// table of a position-independent program into the section of all read-only data that is relocated.
    pub(super) fn find(
        reader: &mut Reader<'_>,
        layout: &Layout,
        is_go: bool,
    ) -> Result<Option<Self>, ElfError> {
        if let Some(section) = layout.section(&[".gopclntab", ".data.rel.ro.gopclntab"], reader) {
            return Self::read(reader, layout, section.extent).map(Some);
        }
        if !is_go && !layout.sections.is_empty() {
            return Ok(None);
        }
        let Ok(headers) = LazyLock::force(&HEADERS) else {
            return Err(ElfError::Damaged { what: "magic" });
        };
        for segment in layout.segments.iter().filter(|segment| !segment.executable) {
            let mut places = Vec::new();
            headers.search(reader, segment.extent, |_, at| {
                places.push(at);
                if places.len() == super::CANDIDATES_MAX {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
            for offset in places {
                let extent = Extent {
                    offset,
                    len: segment.extent.end().saturating_sub(offset),
                };
                match Self::read(reader, layout, extent) {
                    Err(ElfError::Damaged { .. } | ElfError::BeyondEnd { .. } | ElfError::TooMany { .. }) => {
                    }
                    table => return table.map(Some),
                }
            }
        }
        Ok(None)
    }

    fn read(reader: &mut Reader<'_>, layout: &Layout, extent: Extent) -> Result<Self, ElfError> {
        let damaged = Err(ElfError::Damaged {
            what: "Go's table of functions",
        });
        let offset = extent.offset;
        let [m0, m1, m2, m3, 0, 0, quantum, pointer_bytes] = reader.array(offset)? else {
            return damaged;
        };
        let edition = MAGICS.iter().find(|(magic, _)| *magic == [m0, m1, m2, m3]);
        let quantum_expected = match layout.architecture {
            Architecture::Amd64 => 1,
            Architecture::Arm64 => 4,
        };
        let (Some((_, edition)), true, true) = (
            edition,
            quantum == quantum_expected,
            u64::from(pointer_bytes) == POINTER_BYTES,
        ) else {
            return damaged;
        };
        let mut word = |number: u64| reader.u64(offset.saturating_add(8 + number * POINTER_BYTES));
        let count = word(0)?;
        let (names, names_end, pairs, details) = match edition {
            Edition::Go1_2 => (0, extent.len, 8 + POINTER_BYTES, 0),
            Edition::Go1_16 => (word(2)?, word(3)?, word(6)?, word(6)?),
            Edition::Go1_18 => (word(3)?, word(4)?, word(7)?, word(7)?),
        };
        bounded("Go functions", count, GO_FUNCTIONS_MAX)?;
        if names > names_end || [names_end, pairs, details].iter().any(|part| *part > extent.len) {
            return damaged;
        }
        let table = Self {
            edition: *edition,
            offset,
            count,
            names: Extent {
                offset: offset.saturating_add(names),
                len: names_end - names,
            },
            pairs: offset.saturating_add(pairs),
            details: offset.saturating_add(details),
        };
        let pairs = Extent {
            offset: table.pairs,
            len: (count * 2 + 1) * table.field_bytes(),
        };
        if pairs.end() > extent.end() {
            return damaged;
        }
        Ok(table)
    }

    /// Where it begins in the file.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Entries are counted from the begin of the text.
    pub(super) fn relative(&self) -> bool {
        self.edition == Edition::Go1_18
    }

    fn field_bytes(&self) -> u64 {
        if self.relative() { 4 } else { POINTER_BYTES }
    }

    /// A field of the pairs.
    fn field(&self, reader: &mut Reader<'_>, number: u64) -> Result<u64, ElfError> {
        let at = self.pairs.saturating_add(number * self.field_bytes());
        if self.relative() {
            reader.u32(at).map(u64::from)
        } else {
            reader.u64(at)
        }
    }

    /// Entry of the first function, and the end of the last one.
    pub(super) fn bounds(&self, reader: &mut Reader<'_>) -> Result<(u64, u64), ElfError> {
        Ok((self.field(reader, 0)?, self.field(reader, self.count * 2)?))
    }

    /// The functions of `crypto/tls`, each at most once.
    pub(super) fn functions(&self, reader: &mut Reader<'_>) -> Result<Vec<Place>, ElfError> {
        let names = self.names(reader)?;
        let mut places: Vec<Place> = Vec::new();
        let mut left = names.len();
        for number in 0..self.count {
            if left == 0 {
                break;
            }
            let entry = self.field(reader, number * 2)?;
            let details = self.details.saturating_add(self.field(reader, number * 2 + 1)?);
            let name = reader.u32(details.saturating_add(self.field_bytes()))?;
            let Some((_, function)) = names.iter().find(|(place, _)| *place == u64::from(name)) else {
                continue;
            };
            let end = self.field(reader, number * 2 + 2)?;
            let Some(len) = end.checked_sub(entry).filter(|len| *len > 0) else {
                return Err(ElfError::Damaged {
                    what: "order of Go functions",
                });
            };
            if !places.iter().any(|place| place.function == *function) {
                places.push(Place {
                    function: *function,
                    entry,
                    len,
                });
                left -= 1;
            }
        }
        Ok(places)
    }

    /// Where the names of `crypto/tls` begin, counted as the details do.
    fn names(&self, reader: &mut Reader<'_>) -> Result<Vec<(u64, Function)>, ElfError> {
        let Ok(texts) = LazyLock::force(&NAMES) else {
            return Err(ElfError::Damaged { what: "names" });
        };
        let mut names: Vec<(u64, Function)> = Vec::new();
        texts.search(reader, self.names, |text, at| {
            if let Some(function) = FUNCTIONS.get(text)
                && !names.iter().any(|(_, other)| other == function)
            {
                names.push((at.saturating_sub(self.names.offset), *function));
            }
            if names.len() == FUNCTIONS.len() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        Ok(names)
    }
}
