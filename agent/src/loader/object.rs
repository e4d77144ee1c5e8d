//! The object itself, where a kernel needs it other than it was built.

use super::{btf::Btf, features::Features};

// The ELF header, section headers, symbols and relocations of 64-bit little-endian objects (System V ABI, chapters 4 and 5).
const SECTIONS_OFFSET: usize = 0x28;
const SECTION_BYTES: usize = 0x3a;
const SECTIONS: usize = 0x3c;
const NAMES: usize = 0x3e;
const SYMBOL_BYTES: usize = 24;
const RELOCATION_BYTES: usize = 16;
/// Section type of relocations without addends.
const SHT_REL: u32 = 9;
/// Section flag of instructions.
const SHF_EXECINSTR: u64 = 4;
/// Relocation of an address in an instruction.
const R_BPF_64_64: u32 = 1;
/// Linkage of a function (`Documentation/bpf/btf.rst`, BTF_KIND_FUNC).
const STATIC: u8 = 0;

const CUT: &str = "the object is cut off";

/// The object as a kernel with these features takes it; `None` when that is as it is.
///
/// # Errors
/// What is wrong with the object.
pub fn adapted(object: &[u8], features: Features) -> Result<Option<Vec<u8>>, &'static str> {
    if features.global_pointers() && features.loops() {
        return Ok(None);
    }
    let mut changed = object.to_vec();
    if !features.global_pointers() {
        without_global_pointers(&mut changed)?;
    }
    if !features.loops() {
        without_callbacks(&mut changed)?;
    }
    Ok(Some(changed))
}

/// Makes all functions static that take pointers, where global ones may not (see [`Features::global_pointers`]). The verifier then
/// verifies them again for each caller.
fn without_global_pointers(object: &mut [u8]) -> Result<(), &'static str> {
    let section = Section::all(object)?
        .into_iter()
        .find(|section| section.name == b".BTF")
        .ok_or("the object has no .BTF section")?;
    let types = Btf::parse(section.content(object).ok_or(CUT)?.to_vec())?;
    for function in types.functions_of_pointers() {
        // The low half of the second word.
        *object.get_mut(section.offset + function + 4).ok_or(CUT)? = STATIC;
    }
    Ok(())
}

/// Takes the relocations away that make an instruction load a function's address: only loops with a callback need them, and kernels
/// before 5.13 refuse such an instruction even where it is never reached.
fn without_callbacks(object: &mut [u8]) -> Result<(), &'static str> {
    let sections = Section::all(object)?;
    for relocations in sections.iter().filter(|section| section.kind == SHT_REL) {
        let symbols = sections.get(relocations.link).ok_or(CUT)?;
        for at in (0..relocations.size / RELOCATION_BYTES).map(|i| relocations.offset + RELOCATION_BYTES * i)
        {
            let kind = word(object, at + 8).ok_or(CUT)?;
            let symbol = word(object, at + 12).ok_or(CUT)? as usize;
            let section = half(object, symbols.offset + SYMBOL_BYTES * symbol + 6).ok_or(CUT)?;
            let of_function = sections
                .get(section)
                .is_some_and(|section| section.flags & SHF_EXECINSTR != 0);
            if kind == R_BPF_64_64 && of_function {
                // No instruction lies there.
                object
                    .get_mut(at..at + 8)
                    .ok_or(CUT)?
                    .copy_from_slice(&(u64::MAX - 7).to_le_bytes());
            }
        }
    }
    Ok(())
}

/// A section's header.
struct Section {
    name: Vec<u8>,
    kind: u32,
    flags: u64,
    offset: usize,
    size: usize,
    /// Of relocations: the section of their symbols.
    link: usize,
}

impl Section {
    fn all(elf: &[u8]) -> Result<Vec<Self>, &'static str> {
        Self::read_all(elf).ok_or(CUT)
    }

    fn read_all(elf: &[u8]) -> Option<Vec<Self>> {
        let headers = usize::try_from(long(elf, SECTIONS_OFFSET)?).ok()?;
        let bytes = half(elf, SECTION_BYTES)?;
        let header = |index: usize| headers.checked_add(index.checked_mul(bytes)?);
        let names_header = header(half(elf, NAMES)?)?.checked_add(0x18)?;
        let names = usize::try_from(long(elf, names_header)?).ok()?;
        (0..half(elf, SECTIONS)?)
            .map(|index| {
                let at = header(index)?;
                let field = |offset: usize| at.checked_add(offset);
                let name = names.checked_add(word(elf, at)? as usize)?;
                let section = Self {
                    name: elf.get(name..)?.split(|byte| *byte == 0).next()?.to_vec(),
                    kind: word(elf, field(0x04)?)?,
                    flags: long(elf, field(0x08)?)?,
                    offset: usize::try_from(long(elf, field(0x18)?)?).ok()?,
                    size: usize::try_from(long(elf, field(0x20)?)?).ok()?,
                    link: word(elf, field(0x28)?)? as usize,
                };
                // What lies outside of the file is not worked with; sections without content have no place in it.
                (section.kind == SHT_NOBITS || section.content(elf).is_some()).then_some(section)
            })
            .collect()
    }

    fn content<'a>(&self, elf: &'a [u8]) -> Option<&'a [u8]> {
        elf.get(self.offset..self.offset.checked_add(self.size)?)
    }
}

/// Section type of memory that is not in the file.
const SHT_NOBITS: u32 = 8;

fn half(data: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(*data.get(at..)?.first_chunk()?)))
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*data.get(at..)?.first_chunk()?))
}

fn long(data: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*data.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::OBJECT;

    fn changes(change: fn(&mut [u8]) -> Result<(), &'static str>) -> Vec<usize> {
        let mut changed = OBJECT.to_vec();
        change(&mut changed).unwrap();
        (0..OBJECT.len())
            .filter(|at| OBJECT[*at] != changed[*at])
            .collect()
    }

    #[test]
    fn functions_of_pointers_become_static_and_nothing_else_changes() {
        let section = Section::all(OBJECT)
            .unwrap()
            .into_iter()
            .find(|section| section.name == b".BTF")
            .unwrap();
        let types = Btf::parse(section.content(OBJECT).unwrap().to_vec()).unwrap();
        let global: Vec<usize> = types
            .functions_of_pointers()
            .map(|at| section.offset + at + 4)
            .filter(|at| OBJECT[*at] == 1)
            .collect();
        assert!(!global.is_empty());
        let mut changed = changes(without_global_pointers);
        changed.sort_unstable();
        let mut expected = global;
        expected.sort_unstable();
        assert_eq!(changed, expected);
    }

    #[test]
    fn addresses_of_functions_are_not_relocated() {
        let changed = changes(without_callbacks);
        assert!(!changed.is_empty());
        let sections = Section::all(OBJECT).unwrap();
        assert!(changed.iter().all(|at| {
            sections.iter().any(|section| {
                section.kind == SHT_REL && (section.offset..section.offset + section.size).contains(at)
            })
        }));
    }

    #[test]
    fn damaged_objects_are_errors() {
        for damaged in [&b""[..], &OBJECT[..OBJECT.len() / 2], &[0xff; 4096]] {
            assert!(without_global_pointers(&mut damaged.to_vec()).is_err());
            assert!(without_callbacks(&mut damaged.to_vec()).is_err());
        }
    }
}
