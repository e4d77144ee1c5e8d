//! Makes small ELF files by hand: sections at fixed distances, each mapped by a segment of its own.

use object::elf;

/// From one section to the next, in the file and in memory; only the last one may be longer.
pub(super) const GAP: u64 = 0x400;
/// What is at the begin of the file is mapped here.
pub(super) const BASE: u64 = 0x40_0000;

const HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;

pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) kind: u32,
    pub(super) flags: u64,
    pub(super) link: u32,
    pub(super) entry_bytes: u64,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Build {
    pub(super) machine: u16,
    pub(super) sections: Vec<Section>,
    /// Without section headers, as `sstrip` leaves it.
    pub(super) bare: bool,
}

impl Build {
    pub(super) fn new() -> Self {
        Self {
            machine: elf::EM_X86_64,
            sections: Vec::new(),
            bare: false,
        }
    }

    /// Where the section that is added next, or `later` ones after it, will be in the file.
    pub(super) fn offset(&self, later: u64) -> u64 {
        (self.sections.len() as u64 + 1 + later) * GAP
    }

    /// The same, in memory.
    pub(super) fn address(&self, later: u64) -> u64 {
        BASE + self.offset(later)
    }

    pub(super) fn add(&mut self, name: &'static str, kind: u32, flags: u32, bytes: Vec<u8>) -> &mut Section {
        self.sections.push(Section {
            name,
            kind,
            flags: flags.into(),
            link: 0,
            entry_bytes: 0,
            bytes,
        });
        self.sections.last_mut().unwrap()
    }

    pub(super) fn text(&mut self, bytes: &[u8]) {
        self.add(
            ".text",
            elf::SHT_PROGBITS,
            elf::SHF_ALLOC | elf::SHF_EXECINSTR,
            bytes.to_vec(),
        );
    }

    pub(super) fn read_only(&mut self, name: &'static str, bytes: &[u8]) {
        self.add(name, elf::SHT_PROGBITS, elf::SHF_ALLOC, bytes.to_vec());
    }

    pub(super) fn writable(&mut self, name: &'static str, bytes: &[u8]) {
        self.add(
            name,
            elf::SHT_PROGBITS,
            elf::SHF_ALLOC | elf::SHF_WRITE,
            bytes.to_vec(),
        );
    }

    /// A symbol table of functions and the section of their names; an address of 0 is an import. Names end as linkers merge them.
    pub(super) fn symbols(&mut self, kind: u32, symbols: &[(&str, u64)]) {
        let mut names = vec![0];
        let mut table = vec![0; 24];
        for (name, address) in symbols {
            table.extend((names.len() as u32).to_le_bytes());
            table.push(elf::STB_GLOBAL << 4 | elf::STT_FUNC);
            table.push(0);
            let section: u16 = if *address == 0 { 0 } else { 1 };
            table.extend(section.to_le_bytes());
            table.extend(address.to_le_bytes());
            table.extend(16_u64.to_le_bytes());
            names.extend(name.as_bytes());
            names.push(0);
        }
        let (tables, texts) = match kind {
            elf::SHT_DYNSYM => (".dynsym", ".dynstr"),
            _ => (".symtab", ".strtab"),
        };
        let link = self.sections.len() as u32 + 2;
        let section = self.add(tables, kind, elf::SHF_ALLOC, table);
        section.link = link;
        section.entry_bytes = 24;
        self.add(texts, elf::SHT_STRTAB, elf::SHF_ALLOC, names);
    }

    pub(super) fn dynamic(&mut self, entries: &[(i64, u64)]) {
        let words = entries.iter().flat_map(|(tag, value)| [*tag as u64, *value]);
        let bytes = words.flat_map(u64::to_le_bytes).collect();
        self.add(
            ".dynamic",
            elf::SHT_DYNAMIC,
            elf::SHF_ALLOC | elf::SHF_WRITE,
            bytes,
        );
    }

    pub(super) fn file(&self) -> Vec<u8> {
        let mut names = vec![0];
        let mut headers = vec![0; 64];
        let mut segments = Vec::new();
        let mut file = vec![0; GAP as usize];
        for (index, section) in self.sections.iter().enumerate() {
            let at = (index as u64 + 1) * GAP;
            assert!(
                file.len() as u64 <= at,
                "{} is too long",
                self.sections[index - 1].name
            );
            file.resize(at as usize, 0);
            file.extend(&section.bytes);
            let len = section.bytes.len() as u64;
            headers.extend(header(section, names.len() as u32, at));
            names.extend(section.name.as_bytes());
            names.push(0);
            let flags = match section.flags as u32 & (elf::SHF_EXECINSTR | elf::SHF_WRITE) {
                elf::SHF_EXECINSTR => elf::PF_R | elf::PF_X,
                elf::SHF_WRITE => elf::PF_R | elf::PF_W,
                _ => elf::PF_R,
            };
            segments.push(segment(elf::PT_LOAD, flags, at, len));
            match section.kind {
                elf::SHT_DYNAMIC => segments.push(segment(elf::PT_DYNAMIC, flags, at, len)),
                elf::SHT_NOTE => segments.push(segment(elf::PT_NOTE, flags, at, len)),
                _ => {}
            }
        }
        file.resize(file.len().next_multiple_of(8), 0);
        let (mut sections_at, mut sections) = (0, 0);
        if !self.bare {
            let name = names.len() as u32;
            names.extend(b".shstrtab\0");
            let strings = Section {
                name: ".shstrtab",
                kind: elf::SHT_STRTAB,
                flags: 0,
                link: 0,
                entry_bytes: 0,
                bytes: names,
            };
            headers.extend(header(&strings, name, file.len() as u64));
            file.extend(strings.bytes);
            file.resize(file.len().next_multiple_of(8), 0);
            sections_at = file.len() as u64;
            sections = headers.len() as u16 / 64;
            file.extend(headers);
        }
        let mut front = Vec::new();
        front.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        front.extend(elf::ET_DYN.to_le_bytes());
        front.extend(self.machine.to_le_bytes());
        front.extend(1_u32.to_le_bytes());
        front.extend(0_u64.to_le_bytes());
        front.extend((HEADER_BYTES as u64).to_le_bytes());
        front.extend(sections_at.to_le_bytes());
        front.extend(0_u32.to_le_bytes());
        for half in [
            HEADER_BYTES as u16,
            SEGMENT_BYTES as u16,
            segments.len() as u16,
            64,
            sections,
            sections.saturating_sub(1),
        ] {
            front.extend(half.to_le_bytes());
        }
        front.extend(segments.concat());
        assert!(front.len() <= GAP as usize);
        file[..front.len()].copy_from_slice(&front);
        file
    }
}

fn header(section: &Section, name: u32, offset: u64) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(name.to_le_bytes());
    header.extend(section.kind.to_le_bytes());
    for word in [section.flags, BASE + offset, offset, section.bytes.len() as u64] {
        header.extend(word.to_le_bytes());
    }
    header.extend(section.link.to_le_bytes());
    header.extend(0_u32.to_le_bytes());
    header.extend(8_u64.to_le_bytes());
    header.extend(section.entry_bytes.to_le_bytes());
    header
}

fn segment(kind: u32, flags: u32, offset: u64, len: u64) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(kind.to_le_bytes());
    segment.extend(flags.to_le_bytes());
    for word in [offset, BASE + offset, BASE + offset, len, len, GAP] {
        segment.extend(word.to_le_bytes());
    }
    segment
}
