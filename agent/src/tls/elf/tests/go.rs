//! Go programs, small ones made by hand: every layout of the table of functions, with and without sections.

use object::elf::{DT_NULL, DT_RELA, DT_RELASZ, EM_AARCH64, EM_X86_64, R_X86_64_RELATIVE};

use super::build::Build;
use super::{look, refused};
use crate::tls::elf::{CANDIDATES_MAX, ElfError, GO_FUNCTIONS_MAX, RELOCATIONS_MAX};
use crate::tls::library::{EntryPoint, Function, Functions, Library, LibraryName, Linkage};

const MAGIC_1_2: u32 = 0xffff_fffb;
const MAGIC_1_16: u32 = 0xffff_fffa;
const MAGIC_1_18: u32 = 0xffff_fff0;
const MAGIC_1_20: u32 = 0xffff_fff1;

/// Distance of a function from the next one.
const LEN: u64 = 32;
/// Of its last instruction, which is its only return.
const RETURN: u64 = 28;

/// Where what is read-only lies, counted in sections.
const TABLE: u64 = 1;
const DATA: u64 = 2;

const NAMES: [&str; 5] = [
    "runtime.main",
    "crypto/tls.(*Conn).Readable",
    "crypto/tls.(*Conn).Read",
    "xcrypto/tls.(*Conn).Close",
    "crypto/tls.(*Conn).Write",
];

/// How the begin of the text is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pointers {
    InPlace,
    Relocated,
}

struct Program {
    machine: u16,
    magic: u32,
    pointers: Pointers,
    names: &'static [&'static str],
    bare: bool,
    /// Pointers to the table that belong to something else.
    decoys: usize,
}

impl Program {
    fn new(magic: u32) -> Self {
        Self {
            machine: EM_X86_64,
            magic,
            pointers: Pointers::InPlace,
            names: &NAMES,
            bare: false,
            decoys: 0,
        }
    }

    /// The table: header, pairs, details, names.
    fn table(&self, text: u64) -> Vec<u8> {
        let count = self.names.len() as u64;
        let relative = matches!(self.magic, MAGIC_1_18 | MAGIC_1_20);
        let field: u64 = if relative { 4 } else { 8 };
        let words: u64 = match self.magic {
            MAGIC_1_2 => 1,
            MAGIC_1_16 => 7,
            _ => 8,
        };
        let pairs = 8 + words * 8;
        let details = pairs + (count * 2 + 1) * field;
        let names = details + count * 16;
        let names_len: u64 = self.names.iter().map(|name| name.len() as u64 + 1).sum();
        let quantum = if self.machine == EM_AARCH64 { 4 } else { 1 };
        let mut table = self.magic.to_le_bytes().to_vec();
        table.extend([0, 0, quantum, 8]);
        let header = match self.magic {
            MAGIC_1_2 => vec![count],
            MAGIC_1_16 => vec![count, 0, names, names + names_len, 0, 0, pairs],
            // The begin of the text in the header is not to be believed.
            _ => vec![count, 0, 0, names, names + names_len, 0, 0, pairs],
        };
        table.extend(header.into_iter().flat_map(u64::to_le_bytes));
        let number = |number: u64| number.to_le_bytes()[..field as usize].to_vec();
        let entry = |index: u64| number(if relative { index * LEN } else { text + index * LEN });
        let from = if self.magic == MAGIC_1_2 { 0 } else { pairs };
        for index in 0..count {
            table.extend(entry(index));
            table.extend(number(details + index * 16 - from));
        }
        table.extend(entry(count));
        let mut name = if self.magic == MAGIC_1_2 { names as u32 } else { 0 };
        for (index, text) in (0..).zip(self.names) {
            let mut part = entry(index);
            part.extend(name.to_le_bytes());
            part.resize(16, 0);
            table.extend(part);
            name += text.len() as u32 + 1;
        }
        for name in self.names {
            table.extend(name.as_bytes());
            table.push(0);
        }
        table
    }

    fn build(&self) -> Build {
        let mut build = Build::new();
        build.machine = self.machine;
        build.bare = self.bare;
        let (text, table, data) = (build.address(0), build.address(TABLE), build.address(DATA));
        let count = self.names.len() as u64;
        let mut code = vec![0x90; (count * LEN) as usize];
        for function in code.chunks_mut(LEN as usize) {
            let ret: &[u8] = if self.machine == EM_AARCH64 {
                &[0xc0, 0x03, 0x5f, 0xd6]
            } else {
                &[0xc3]
            };
            function[RETURN as usize..][..ret.len()].copy_from_slice(ret);
        }
        build.text(&code);
        build.read_only(".gopclntab", &self.table(text));
        let mut module = vec![0; 192];
        let fields = [(0, table), (160, text), (168, text + count * LEN), (176, text)];
        let mut decoys = vec![0; self.decoys * 8];
        let mut relocations = Vec::new();
        for decoy in decoys.chunks_mut(8) {
            decoy.copy_from_slice(&table.to_le_bytes());
        }
        for (place, value) in fields {
            if self.pointers == Pointers::InPlace {
                module[place..place + 8].copy_from_slice(&value.to_le_bytes());
            } else {
                let place = data + decoys.len() as u64 + place as u64;
                relocations.extend(
                    [place, R_X86_64_RELATIVE.into(), value]
                        .map(u64::to_le_bytes)
                        .concat(),
                );
            }
        }
        build.writable(".noptrdata", &[decoys, module].concat());
        build.writable(".go.buildinfo", &build_info("go1.22.3"));
        if self.pointers == Pointers::Relocated {
            let (at, len) = (build.address(0), relocations.len() as u64);
            build.read_only(".rela.dyn", &relocations);
            build.dynamic(&[(DT_RELA, at), (DT_RELASZ, len), (DT_NULL, 0)]);
        }
        build
    }
}

fn build_info(version: &str) -> Vec<u8> {
    let mut block = b"\xff Go buildinf:\x08\x02".to_vec();
    block.resize(32, 0);
    let len = version.len() as u8;
    if version.len() < 0x80 {
        block.push(len);
    } else {
        block.extend([len | 0x80, (version.len() >> 7) as u8]);
    }
    block.extend(version.as_bytes());
    block
}

fn expected(version: Option<&str>) -> Library {
    let text = Build::new().offset(0);
    let point = |function, index: u64| EntryPoint {
        function,
        offset: text + index * LEN,
        returns: vec![text + index * LEN + RETURN],
    };
    Library {
        name: LibraryName::Go,
        version: version.map(str::to_owned),
        linkage: Linkage::Static,
        functions: Functions::Found(vec![point(Function::GoRead, 2), point(Function::GoWrite, 4)]),
    }
}

fn without_symbols(file: &[u8]) {
    let libraries = look(file).libraries;
    let found: Vec<_> = libraries
        .iter()
        .map(|library| (library.name, &library.functions))
        .collect();
    assert_eq!(found, [(LibraryName::Go, &Functions::NoSymbols)]);
}

#[test]
fn functions_are_found_in_every_layout_with_and_without_sections() {
    for magic in [MAGIC_1_2, MAGIC_1_16, MAGIC_1_18, MAGIC_1_20] {
        for machine in [EM_X86_64, EM_AARCH64] {
            for pointers in [Pointers::InPlace, Pointers::Relocated] {
                for bare in [false, true] {
                    let program = Program {
                        machine,
                        pointers,
                        bare,
                        ..Program::new(magic)
                    };
                    let libraries = look(&program.build().file()).libraries;
                    assert_eq!(
                        libraries,
                        [expected(Some("go1.22.3"))],
                        "{magic:x} {machine} bare: {bare}"
                    );
                }
            }
        }
    }
}

#[test]
fn programs_without_tls_have_no_library() {
    let program = Program {
        names: &NAMES[..2],
        ..Program::new(MAGIC_1_20)
    };
    assert_eq!(look(&program.build().file()).libraries, []);
}

#[test]
fn both_kinds_of_build_info_are_read() {
    let mut build = Program::new(MAGIC_1_20).build();
    let version = |build: &Build| look(&build.file()).libraries[0].version.clone();
    for (text, expected) in [("go1.24.4 X:arenas", true), ("go1.\n", false)] {
        build.sections[3].bytes = build_info(text);
        assert_eq!(version(&build), expected.then(|| text.to_owned()), "{text:?}");
    }
    // Up to Go 1.17: to a text's place and length.
    let at = Build::new().address(3);
    let mut block = b"\xff Go buildinf:\x08\x00".to_vec();
    block.extend([at + 32, 0, at + 48, 8].map(u64::to_le_bytes).concat());
    block.extend(b"go1.17.5");
    build.sections[3].bytes = block.clone();
    assert_eq!(version(&build).as_deref(), Some("go1.17.5"));
    for (place, damage) in [(14, 4), (15, 1), (40, 0), (32, 0), (16, 0), (0, 0)] {
        let mut damaged = block.clone();
        damaged[place] = damage;
        build.sections[3].bytes = damaged;
        assert_eq!(look(&build.file()).libraries, [expected(None)], "{place}");
    }
    // The longest, and longer ones, which are cut.
    for len in [64, 65, 127, 128, 300] {
        build.sections[3].bytes = build_info(&"1".repeat(len));
        assert_eq!(version(&build), Some("1".repeat(64)), "{len}");
    }
    build.sections[3].bytes[32..35].copy_from_slice(&[0x80, 0x80, 1]);
    assert_eq!(version(&build), None, "no length");
}

#[test]
fn a_table_that_makes_no_sense_is_a_library_without_symbols() {
    let whole = Program::new(MAGIC_1_20);
    // Magic, quantum, bytes of a pointer, names, their end, pairs.
    for place in [0, 6, 7, 8 + 3 * 8 + 7, 8 + 4 * 8 + 7, 8 + 7 * 8 + 7] {
        let mut build = whole.build();
        build.sections[1].bytes[place] ^= 0x0e;
        without_symbols(&build.file());
    }
    // No module data.
    let mut build = whole.build();
    build.sections[2].bytes.fill(0);
    without_symbols(&build.file());
    // Names, but a text that is not mapped, and functions that cannot be decoded.
    let mut build = whole.build();
    build.sections[0].bytes.truncate(LEN as usize);
    without_symbols(&build.file());
    build.sections[0].bytes = vec![0x06; LEN as usize * NAMES.len()];
    without_symbols(&build.file());
    // Functions that run backwards.
    let mut build = whole.build();
    let pairs = 8 + 8 * 8;
    build.sections[1].bytes[pairs + 8 * 3..][..4].copy_from_slice(&0_u32.to_le_bytes());
    without_symbols(&build.file());
    // No table.
    let mut build = whole.build();
    build.sections[1].name = ".other";
    build.sections[1].bytes[0] = 0;
    without_symbols(&build.file());
    // Nor any sign of Go.
    build.sections[3].name = ".others";
    assert_eq!(look(&build.file()).libraries, []);
}

#[test]
fn the_table_of_a_go_program_is_found_in_any_section() {
    let mut build = Program::new(MAGIC_1_20).build();
    build.sections[1].name = ".data.rel.ro";
    build.sections[1].bytes.splice(0..0, [0; 24]);
    let table = Build::new().address(TABLE) + 24;
    build.sections[2].bytes[..8].copy_from_slice(&table.to_le_bytes());
    assert_eq!(look(&build.file()).libraries, [expected(Some("go1.22.3"))]);
}

#[test]
fn a_function_that_returns_at_once_is_left_out() {
    let mut build = Program::new(MAGIC_1_20).build();
    build.sections[0].bytes[2 * LEN as usize] = 0xc3;
    let library = look(&build.file()).libraries.remove(0);
    let found: Vec<_> = library
        .functions
        .found()
        .iter()
        .map(|point| point.function)
        .collect();
    assert_eq!(found, [Function::GoWrite]);
}

#[test]
fn as_many_functions_as_the_limit_are_gone_through() {
    let mut build = Program::new(MAGIC_1_20).build();
    let mut set = |count: u64| {
        build.sections[1].bytes[8..16].copy_from_slice(&count.to_le_bytes());
        build.file()
    };
    // As many are not in the file.
    without_symbols(&set(GO_FUNCTIONS_MAX as u64));
    for count in [GO_FUNCTIONS_MAX as u64 + 1, u64::MAX] {
        let error = refused(&set(count));
        assert!(
            matches!(error, ElfError::TooMany { what: "Go functions", count: said, .. } if said == count),
            "{error}"
        );
    }
}

#[test]
fn as_many_candidates_as_the_limit_are_tried() {
    let program = |decoys| Program {
        decoys,
        ..Program::new(MAGIC_1_20)
    };
    let libraries = look(&program(CANDIDATES_MAX - 1).build().file()).libraries;
    assert_eq!(libraries, [expected(Some("go1.22.3"))]);
    without_symbols(&program(CANDIDATES_MAX).build().file());
}

#[test]
fn as_many_relocations_as_the_limit_are_looked_through() {
    let program = Program {
        pointers: Pointers::Relocated,
        ..Program::new(MAGIC_1_20)
    };
    let set = |count: u64| {
        let mut build = program.build();
        build.sections[5].bytes[24..32].copy_from_slice(&(count * 24).to_le_bytes());
        build.file()
    };
    // As many are not in the file.
    without_symbols(&set(RELOCATIONS_MAX as u64));
    let error = refused(&set(RELOCATIONS_MAX as u64 + 1));
    assert!(
        matches!(
            error,
            ElfError::TooMany {
                what: "relocations",
                ..
            }
        ),
        "{error}"
    );
}
