//! The outline of an ELF file: header, segments, sections (gABI, chapters 4 and 5).
//!
//! Segments say what is mapped where and are what the kernel goes by; sections are for tools, and may be missing or lie.

use object::LittleEndian;
use object::elf::{
    self, DT_NULL, DT_RELA, DT_RELASZ, DT_SONAME, DT_STRSZ, DT_STRTAB, DT_SYMTAB, Dyn64, EM_AARCH64,
    EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PF_W, PF_X, ProgramHeader64, SHT_DYNSYM, SHT_STRTAB,
    SHT_SYMTAB, SectionHeader64, Sym64,
};
use object::pod::{Pod, from_bytes};

use super::ElfError;
use super::reader::{Extent, Reader};

/// Most program headers; linkers write some 15.
pub const SEGMENTS_MAX: usize = 1_024;
/// Most section headers; linkers write some 40 for a program, and one per function only for what is not linked yet.
pub const SECTIONS_MAX: usize = 4_096;
/// Longest name of a section that is told from others, bytes.
const SECTION_NAME_BYTES_MAX: usize = 32;
/// Most entries of the dynamic section; linkers write some 30.
const DYNAMIC_ENTRIES_MAX: u64 = 1_024;

const LE: LittleEndian = LittleEndian;

/// What the instructions are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

/// A part of the file that is mapped, `PT_LOAD`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// In the file; what the segment has beyond it is zeros, or nothing where the file ends before.
    pub(super) extent: Extent,
    /// Of its first byte.
    pub(super) address: u64,
    /// To be run.
    pub(super) executable: bool,
    /// To be written to.
    pub(super) writable: bool,
}

/// A section of the file.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// Its name, cut after some bytes.
    pub(super) name: Vec<u8>,
    /// `sh_type`.
    pub(super) kind: u32,
    /// In the file; empty for what only is in memory.
    pub(super) extent: Extent,
    /// Number of the section that it refers to.
    link: u32,
    entry_bytes: u64,
}

/// A symbol table and the texts that its symbols are named in.
#[derive(Clone, Copy, Debug)]
pub(super) struct SymbolTable {
    /// The symbols.
    pub(super) symbols: Extent,
    /// Their names, each ended by a zero.
    pub(super) names: Extent,
}

/// The outline.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) architecture: Architecture,
    pub(super) segments: Vec<Segment>,
    /// Where `PT_NOTE` says notes are.
    pub(super) notes: Vec<Extent>,
    /// `PT_DYNAMIC`.
    dynamic: Option<Extent>,
    pub(super) sections: Vec<Section>,
}

/// Reads a structure.
pub(super) fn structure<T: Pod>(reader: &mut Reader<'_>, offset: u64) -> Result<T, ElfError> {
    let mut bytes = vec![0; size_of::<T>()];
    reader.read(offset, &mut bytes)?;
    let (value, _) = from_bytes::<T>(&bytes).map_err(|()| ElfError::Damaged { what: "structure" })?;
    Ok(*value)
}

impl Layout {
    /// Reads it.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, ElfError> {
        if reader.len() < size_of::<FileHeader64<LittleEndian>>() as u64 {
            return Err(ElfError::NotElf);
        }
        let header: FileHeader64<LittleEndian> = structure(reader, 0)?;
        let architecture = architecture(&header)?;
        let first = first_section(reader, &header)?;
        let mut layout = Self {
            architecture,
            segments: Vec::new(),
            notes: Vec::new(),
            dynamic: None,
            sections: Vec::new(),
        };
        layout.read_segments(reader, &header, first.as_ref())?;
        layout.read_sections(reader, &header, first.as_ref())?;
        Ok(layout)
    }

    fn read_segments(
        &mut self,
        reader: &mut Reader<'_>,
        header: &FileHeader64<LittleEndian>,
        first: Option<&SectionHeader64<LittleEndian>>,
    ) -> Result<(), ElfError> {
        let count = match (header.e_phnum.get(LE), first) {
            // The real number does not fit.
            (elf::PN_XNUM, Some(first)) => u64::from(first.sh_info.get(LE)),
            (count, _) => u64::from(count),
        };
        bounded("program headers", count, SEGMENTS_MAX)?;
        if count > 0 && usize::from(header.e_phentsize.get(LE)) != size_of::<ProgramHeader64<LittleEndian>>()
        {
            return Err(ElfError::Damaged {
                what: "size of program headers",
            });
        }
        let mut at = header.e_phoff.get(LE);
        for _ in 0..count {
            let segment: ProgramHeader64<LittleEndian> = structure(reader, at)?;
            at = at.saturating_add(size_of::<ProgramHeader64<LittleEndian>>() as u64);
            let extent = Extent {
                offset: segment.p_offset.get(LE),
                len: segment.p_filesz.get(LE),
            };
            match segment.p_type.get(LE) {
                elf::PT_LOAD => self.segments.push(Segment {
                    extent: extent.before(reader.len()),
                    address: segment.p_vaddr.get(LE),
                    executable: segment.p_flags.get(LE) & PF_X != 0,
                    writable: segment.p_flags.get(LE) & PF_W != 0,
                }),
                elf::PT_NOTE => self.notes.push(extent),
                elf::PT_DYNAMIC => self.dynamic = self.dynamic.or(Some(extent)),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_sections(
        &mut self,
        reader: &mut Reader<'_>,
        header: &FileHeader64<LittleEndian>,
        first: Option<&SectionHeader64<LittleEndian>>,
    ) -> Result<(), ElfError> {
        let Some(first) = first else { return Ok(()) };
        let count = match header.e_shnum.get(LE) {
            // The real number does not fit.
            0 => first.sh_size.get(LE),
            count => u64::from(count),
        };
        bounded("section headers", count, SECTIONS_MAX)?;
        let names = match header.e_shstrndx.get(LE) {
            elf::SHN_XINDEX => u64::from(first.sh_link.get(LE)),
            index => u64::from(index),
        };
        let mut at = header.e_shoff.get(LE);
        let mut headers: Vec<SectionHeader64<LittleEndian>> = Vec::new();
        for _ in 0..count {
            headers.push(structure(reader, at)?);
            at = at.saturating_add(size_of::<SectionHeader64<LittleEndian>>() as u64);
        }
        let names = usize::try_from(names).ok().and_then(|names| headers.get(names));
        let names = names.map(extent_of).filter(|names| reader.holds(*names));
        for header in &headers {
            let at = u64::from(header.sh_name.get(LE));
            let mut name = match names {
                Some(names) if at < names.len => {
                    let max = (names.len - at).min(SECTION_NAME_BYTES_MAX as u64) as usize;
                    reader.up_to(names.offset + at, max)?
                }
                _ => Vec::new(),
            };
            let end = name.iter().position(|byte| *byte == 0);
            name.truncate(end.unwrap_or(name.len()));
            self.sections.push(Section {
                name,
                kind: header.sh_type.get(LE),
                extent: extent_of(header),
                link: header.sh_link.get(LE),
                entry_bytes: header.sh_entsize.get(LE),
            });
        }
        Ok(())
    }

    /// The section with one of these names whose bytes are in the file.
    pub(super) fn section(&self, names: &[&str], reader: &Reader<'_>) -> Option<&Section> {
        let there = |section: &&Section| section.extent.len > 0 && reader.holds(section.extent);
        let named = |section: &&Section| names.iter().any(|name| section.name == name.as_bytes());
        self.sections.iter().filter(named).find(there)
    }

    /// Place in the file of what is mapped at an address.
    pub(super) fn offset(&self, address: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| segment.offset(address))
    }

    /// Place in the file of an instruction.
    pub(super) fn code_offset(&self, address: u64) -> Option<u64> {
        let executable = self.segments.iter().filter(|segment| segment.executable);
        executable.into_iter().find_map(|segment| segment.offset(address))
    }

    /// Address at which a place in the file is mapped.
    pub(super) fn address(&self, offset: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let at = offset.checked_sub(segment.extent.offset)?;
            (at < segment.extent.len).then(|| segment.address.checked_add(at))?
        })
    }

    /// The symbols that the file exports and imports: by its sections, or where it has none as the dynamic linker finds them.
    pub(super) fn dynamic_symbols(&self, reader: &mut Reader<'_>) -> Result<Option<SymbolTable>, ElfError> {
        if self.sections.is_empty() {
            return self.linked_symbols(reader);
        }
        self.symbol_table(SHT_DYNSYM)
    }

    /// All symbols, where the file was not stripped of them.
    pub(super) fn all_symbols(&self) -> Result<Option<SymbolTable>, ElfError> {
        self.symbol_table(SHT_SYMTAB)
    }

    fn symbol_table(&self, kind: u32) -> Result<Option<SymbolTable>, ElfError> {
        let Some(table) = self.sections.iter().find(|section| section.kind == kind) else {
            return Ok(None);
        };
        if table.entry_bytes != size_of::<Sym64<LittleEndian>>() as u64 {
            return Err(ElfError::Damaged {
                what: "size of symbols",
            });
        }
        let names = usize::try_from(table.link)
            .ok()
            .and_then(|link| self.sections.get(link));
        match names {
            Some(names) if names.kind == SHT_STRTAB => Ok(Some(SymbolTable {
                symbols: table.extent,
                names: names.extent,
            })),
            _ => Err(ElfError::Damaged {
                what: "names of symbols",
            }),
        }
    }

    /// The table that the dynamic section names. It does not say how long that is: linkers lay the names behind the symbols, sometimes
    /// with other tables between, whose entries have none of the names looked for.
    fn linked_symbols(&self, reader: &mut Reader<'_>) -> Result<Option<SymbolTable>, ElfError> {
        let symbols = self.dynamic_place(reader, DT_SYMTAB)?;
        let names = self.dynamic_place(reader, DT_STRTAB)?;
        let names_len = self.dynamic_value(reader, DT_STRSZ)?;
        let (Some(symbols), Some(names), Some(names_len)) = (symbols, names, names_len) else {
            return Ok(None);
        };
        Ok(names.checked_sub(symbols).map(|len| SymbolTable {
            symbols: Extent { offset: symbols, len },
            names: Extent {
                offset: names,
                len: names_len,
            },
        }))
    }

    /// The relocations that the dynamic linker applies, `DT_RELA`.
    pub(super) fn relocations(&self, reader: &mut Reader<'_>) -> Result<Option<Extent>, ElfError> {
        let offset = self.dynamic_place(reader, DT_RELA)?;
        let len = self.dynamic_value(reader, DT_RELASZ)?;
        Ok(offset.zip(len).map(|(offset, len)| Extent { offset, len }))
    }

    /// Whether it is a library that others link to by name, `DT_SONAME`.
    pub(super) fn has_library_name(&self, reader: &mut Reader<'_>) -> Result<bool, ElfError> {
        Ok(self.dynamic_value(reader, DT_SONAME)?.is_some())
    }

    fn dynamic_place(&self, reader: &mut Reader<'_>, tag: i64) -> Result<Option<u64>, ElfError> {
        let address = self.dynamic_value(reader, tag)?;
        Ok(address.and_then(|address| self.offset(address)))
    }

    /// What the dynamic section says.
    fn dynamic_value(&self, reader: &mut Reader<'_>, tag: i64) -> Result<Option<u64>, ElfError> {
        let Some(dynamic) = self.dynamic else {
            return Ok(None);
        };
        let entry_bytes = size_of::<Dyn64<LittleEndian>>() as u64;
        for index in 0..(dynamic.len / entry_bytes).min(DYNAMIC_ENTRIES_MAX) {
            let entry: Dyn64<LittleEndian> =
                structure(reader, dynamic.offset.saturating_add(index * entry_bytes))?;
            let found = entry.d_tag.get(LE);
            if found == tag {
                return Ok(Some(entry.d_val.get(LE)));
            }
            if found == DT_NULL {
                break;
            }
        }
        Ok(None)
    }
}

impl Segment {
    fn offset(&self, address: u64) -> Option<u64> {
        let at = address.checked_sub(self.address)?;
        (at < self.extent.len).then(|| self.extent.offset.checked_add(at))?
    }
}

fn architecture(header: &FileHeader64<LittleEndian>) -> Result<Architecture, ElfError> {
    let ident = &header.e_ident;
    if ident.magic != elf::ELFMAG {
        return Err(ElfError::NotElf);
    }
    let unsupported = |what, value: u16| Err(ElfError::Unsupported { what, value });
    if ident.class != elf::ELFCLASS64 {
        return unsupported("class", ident.class.into());
    }
    if ident.data != elf::ELFDATA2LSB {
        return unsupported("byte order", ident.data.into());
    }
    match header.e_type.get(LE) {
        ET_EXEC | ET_DYN => {}
        other => return unsupported("type", other),
    }
    match header.e_machine.get(LE) {
        EM_X86_64 => Ok(Architecture::Amd64),
        EM_AARCH64 => Ok(Architecture::Arm64),
        other => unsupported("machine", other),
    }
}

/// The first section header, which carries numbers that do not fit into the file's header; `None`: there are no sections.
fn first_section(
    reader: &mut Reader<'_>,
    header: &FileHeader64<LittleEndian>,
) -> Result<Option<SectionHeader64<LittleEndian>>, ElfError> {
    let at = header.e_shoff.get(LE);
    if at == 0 {
        return Ok(None);
    }
    if usize::from(header.e_shentsize.get(LE)) != size_of::<SectionHeader64<LittleEndian>>() {
        return Err(ElfError::Damaged {
            what: "size of section headers",
        });
    }
    structure(reader, at).map(Some)
}

fn extent_of(header: &SectionHeader64<LittleEndian>) -> Extent {
    let len = match header.sh_type.get(LE) {
        elf::SHT_NOBITS | elf::SHT_NULL => 0,
        _ => header.sh_size.get(LE),
    };
    Extent {
        offset: header.sh_offset.get(LE),
        len,
    }
}

/// Checks a number against its limit.
pub(super) fn bounded(what: &'static str, count: u64, max: usize) -> Result<(), ElfError> {
    if count > max as u64 {
        return Err(ElfError::TooMany {
            what,
            count,
            max: max as u64,
        });
    }
    Ok(())
}
