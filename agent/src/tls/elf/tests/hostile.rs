//! Files whose authors want the agent to stumble.

use std::fs::File;
use std::io::{self, Write};

use object::elf::{DT_NULL, DT_SONAME, SHT_DYNSYM, SHT_SYMTAB};

use super::build::Build;
use super::{look, refused};
use crate::tls::elf::{
    ElfError, NAME_PLACES_MAX, NAMES_BYTES_MAX, READ_BYTES_MAX, SECTIONS_MAX, SEGMENTS_MAX, SYMBOLS_MAX,
    Source, read, read_source,
};
use crate::tls::library::{Functions, LibraryName, Linkage};

/// Places in the file's header.
const CLASS: usize = 4;
const BYTE_ORDER: usize = 5;
const TYPE: usize = 16;
const MACHINE: usize = 18;
const SEGMENTS_AT: usize = 32;
const SECTIONS_AT: usize = 40;
const SEGMENT_BYTES: usize = 54;
const SEGMENTS: usize = 56;
const SECTION_BYTES: usize = 58;
const SECTIONS: usize = 60;
const NAMES: usize = 62;

fn library() -> Build {
    let mut build = Build::new();
    let text = build.address(0);
    build.text(&[0xc3; 64]);
    build.symbols(SHT_DYNSYM, &[("SSL_read", text), ("SSL_write", text + 16)]);
    build
}

fn set(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn u64_at(file: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(file[at..at + 8].try_into().unwrap())
}

#[test]
fn other_files_are_refused_with_what_they_are() {
    for file in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &[0; 64], &[0xff; 4096]] {
        assert!(matches!(refused(file), ElfError::NotElf));
    }
    for (at, value, expected) in [
        (CLASS, 1, "class"),
        (BYTE_ORDER, 2, "byte order"),
        (TYPE, 1, "type"),
        (TYPE, 4, "type"),
        (MACHINE, 3, "machine"),
    ] {
        let mut file = library().file();
        file[at] = value;
        let error = refused(&file);
        assert!(
            matches!(error, ElfError::Unsupported { what, value: found } if what == expected && found == u16::from(value)),
            "{error}"
        );
    }
}

#[test]
fn every_cut_and_every_changed_byte_gives_an_answer() {
    let file = library().file();
    for len in 0..file.len() {
        let _ = read_source(&&file[..len]);
    }
    let mut refused = 0;
    for at in 0..file.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut file = file.clone();
            file[at] ^= change;
            refused += usize::from(read_source(&file).is_err());
        }
    }
    assert!(refused > 50, "{refused}");
}

#[test]
fn sizes_of_headers_must_be_known_ones() {
    for (at, expected) in [
        (SEGMENT_BYTES, "size of program headers"),
        (SECTION_BYTES, "size of section headers"),
    ] {
        let mut file = library().file();
        file[at] += 1;
        let error = refused(&file);
        assert!(
            matches!(error, ElfError::Damaged { what } if what == expected),
            "{error}"
        );
    }
}

#[test]
fn as_many_segments_as_the_limit_are_read() {
    let mut file = library().file();
    let at = file.len() as u64;
    set(&mut file, SEGMENTS_AT, &at.to_le_bytes());
    file.resize(file.len() + (SEGMENTS_MAX + 1) * 56, 0);
    set(&mut file, SEGMENTS, &(SEGMENTS_MAX as u16).to_le_bytes());
    assert_eq!(look(&file).libraries, [], "nothing is mapped");
    let too_many = |file: &[u8], expected: u64| {
        let error = refused(file);
        assert!(
            matches!(error, ElfError::TooMany { what: "program headers", count, .. } if count == expected),
            "{error}"
        );
    };
    set(&mut file, SEGMENTS, &(SEGMENTS_MAX as u16 + 1).to_le_bytes());
    too_many(&file, SEGMENTS_MAX as u64 + 1);
    // The real number is in the first section header.
    set(&mut file, SEGMENTS, &u16::MAX.to_le_bytes());
    let first = u64_at(&file, SECTIONS_AT) as usize;
    set(&mut file, first + 44, &u32::MAX.to_le_bytes());
    too_many(&file, u32::MAX.into());
    set(&mut file, first + 44, &1_u32.to_le_bytes());
    assert_eq!(look(&file).libraries, []);
}

#[test]
fn as_many_sections_as_the_limit_are_read() {
    let mut file = library().file();
    let first = u64_at(&file, SECTIONS_AT) as usize;
    file.resize(first + SECTIONS_MAX * 64, 0);
    let count = |file: &mut [u8], count: u64| {
        set(file, SECTIONS, &[0, 0]);
        set(file, first + 32, &count.to_le_bytes());
    };
    count(&mut file, SECTIONS_MAX as u64);
    assert_eq!(look(&file).libraries.len(), 1);
    for absurd in [SECTIONS_MAX as u64 + 1, u64::MAX] {
        count(&mut file, absurd);
        let error = refused(&file);
        assert!(
            matches!(error, ElfError::TooMany { what: "section headers", count, .. } if count == absurd),
            "{error}"
        );
    }
    set(&mut file, SECTIONS, &u16::MAX.to_le_bytes());
    assert!(matches!(refused(&file), ElfError::TooMany { .. }));
    // Names that are in no section: none is known by its name, but symbol tables are by their kind.
    let mut file = library().file();
    set(&mut file, NAMES, &u16::MAX.to_le_bytes());
    assert_eq!(look(&file).libraries.len(), 1);
}

/// Sets a word of a section's header.
fn set_section(file: &mut [u8], number: usize, at: usize, value: u64) {
    let first = u64_at(file, SECTIONS_AT) as usize;
    set(file, first + number * 64 + at, &value.to_le_bytes());
}

/// Places in a section's header.
const OFFSET: usize = 24;
const LEN: usize = 32;
const LINK: usize = 40;
const ENTRY_BYTES: usize = 56;
/// Numbers of sections.
const SYMBOLS: usize = 2;
const TEXTS: usize = 3;

#[test]
fn absurd_symbol_tables_are_refused() {
    let with = |number, at, value| {
        let mut file = library().file();
        set_section(&mut file, number, at, value);
        file
    };
    let names_max = NAMES_BYTES_MAX as u64;
    assert!(matches!(
        refused(&with(TEXTS, LEN, names_max)),
        ElfError::BeyondEnd { .. }
    ));
    for len in [names_max + 1, u64::MAX] {
        let error = refused(&with(TEXTS, LEN, len));
        assert!(
            matches!(
                error,
                ElfError::TooMany {
                    what: "bytes of names",
                    ..
                }
            ),
            "{error}"
        );
    }
    let symbols_max = SYMBOLS_MAX as u64 * 24;
    assert!(matches!(
        refused(&with(SYMBOLS, LEN, symbols_max)),
        ElfError::BeyondEnd { .. }
    ));
    for len in [symbols_max + 24, u64::MAX] {
        let error = refused(&with(SYMBOLS, LEN, len));
        assert!(
            matches!(error, ElfError::TooMany { what: "symbols", .. }),
            "{error}"
        );
    }
    for number in [SYMBOLS, TEXTS] {
        let error = refused(&with(number, OFFSET, u64::MAX - 8));
        assert!(matches!(error, ElfError::BeyondEnd { .. }), "{error}");
    }
    // Of names of itself, of nothing, of symbols of another size.
    for (at, value) in [
        (LINK, SYMBOLS as u64),
        (LINK, 0),
        (LINK, u32::MAX.into()),
        (ENTRY_BYTES, 0),
        (ENTRY_BYTES, 16),
    ] {
        let error = refused(&with(SYMBOLS, at, value));
        assert!(matches!(error, ElfError::Damaged { .. }), "{error}");
    }
    // Sections that overlap each other, or all of the file.
    let len = library().file().len() as u64;
    let mut file = with(TEXTS, OFFSET, 0);
    set_section(&mut file, TEXTS, LEN, len);
    assert_eq!(look(&file).libraries, []);
}

#[test]
fn as_many_places_of_names_as_the_limit_are_noted() {
    let with = |places: usize| {
        let mut build = Build::new();
        let text = build.address(0);
        build.text(&[0xc3; 64]);
        build.symbols(SHT_SYMTAB, &[("SSL_write", text), ("SSL_read", text + 16)]);
        let known = build.sections[2].bytes.len();
        build.sections[2].bytes.extend(b"SSL_free\0".repeat(places - 2));
        assert!(known > 0);
        build.file()
    };
    assert_eq!(look(&with(NAME_PLACES_MAX)).libraries.len(), 1);
    let error = refused(&with(NAME_PLACES_MAX + 1));
    assert!(
        matches!(
            error,
            ElfError::TooMany {
                what: "places of names",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_dynamic_section_without_end_is_looked_at_up_to_its_limit() {
    let with = |before: usize| {
        let mut build = library();
        let mut entries = vec![(1, 1); before];
        entries.extend([(DT_SONAME, 1), (DT_NULL, 0)]);
        build.dynamic(&entries);
        look(&build.file()).libraries[0].linkage
    };
    assert_eq!(with(1_023), Linkage::Shared);
    assert_eq!(with(1_024), Linkage::Static);
}

/// A file of zeros as long as it says, with something at its begin.
struct Sparse {
    begin: Vec<u8>,
    len: u64,
}

impl Source for Sparse {
    fn file_len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        into.fill(0);
        let there = self.begin.read_at(into, offset)?;
        Ok(if offset < self.len {
            into.len().min((self.len - offset) as usize)
        } else {
            there
        })
    }
}

#[test]
fn what_is_read_of_a_sparse_file_is_limited() {
    let mut begin = library().file();
    let len = 4 << 30;
    // Symbols whose names are all over the file, as Go's table may be as well.
    let image = read_source(&Sparse {
        begin: begin.clone(),
        len,
    })
    .unwrap();
    assert!(image.bytes_read < 1 << 20, "{}", image.bytes_read);
    set_section(&mut begin, SYMBOLS, LEN, SYMBOLS_MAX as u64 * 24);
    let image = read_source(&Sparse { begin, len }).unwrap();
    assert_eq!(image.libraries.len(), 1);
    assert!(image.bytes_read < READ_BYTES_MAX);
}

#[test]
fn only_regular_files_are_read() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&library().file()).unwrap();
    file.set_len(4 << 30).unwrap();
    let image = read(&file).unwrap();
    assert_eq!(image.libraries[0].name, LibraryName::OpenSsl);
    assert!(matches!(image.libraries[0].functions, Functions::Found(_)));
    for path in ["/dev/zero", "/proc/self", "/proc/self/status"] {
        let error = read(&File::open(path).unwrap()).unwrap_err();
        assert!(matches!(error, ElfError::NotElf), "{path}: {error}");
    }
}
