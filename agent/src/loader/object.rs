//! The object itself, where a kernel needs it other than it was built.

use agent_common::{PREEMPT_DISABLE, PREEMPT_ENABLE};

use super::{
    btf::Btf,
    features::{Features, Holds},
    provider::Provider,
};

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
/// Bytes of an instruction, and the codes of three (RFC 9669): 64 bits into a register, which takes the place of two; a call; a number
/// into a register.
const INSTRUCTION_BYTES: usize = 8;
const LOAD_LONG: u8 = 0x18;
const CALL: u8 = 0x85;
const MOVE: u8 = 0xb7;
/// Source register of a call of a kernel's function (`BPF_PSEUDO_KFUNC_CALL`, include/uapi/linux/bpf.h).
const OF_KERNEL: u8 = 2 << 4;
/// Linkage of a function (`Documentation/bpf/btf.rst`, BTF_KIND_FUNC).
const STATIC: u8 = 0;

const CUT: &str = "the object is cut off";

/// The object as a kernel with these features takes it, for this provider.
///
/// # Errors
/// What is wrong with the object.
pub fn adapted(object: &[u8], features: Features, provider: Provider) -> Result<Vec<u8>, &'static str> {
    let mut changed = object.to_vec();
    with_functions(&mut changed, features.holds(provider))?;
    if !features.global_pointers() {
        without_global_pointers(&mut changed)?;
    }
    if !features.loops() {
        without_callbacks(&mut changed)?;
    }
    Ok(changed)
}

/// Makes the calls of the kernel's functions those of this kernel, or nothing.
fn with_functions(object: &mut [u8], holds: Option<Holds>) -> Result<(), &'static str> {
    let sections = Section::all(object)?;
    for section in sections.iter().filter(|it| it.flags & SHF_EXECINSTR != 0) {
        let code = object
            .get_mut(section.offset..section.offset + section.size)
            .ok_or(CUT)?;
        let mut instructions = code.chunks_exact_mut(INSTRUCTION_BYTES);
        while let Some(instruction) = instructions.next() {
            let [code, registers, _, _, number @ ..] = instruction else {
                continue;
            };
            if *code == LOAD_LONG {
                instructions.next();
                continue;
            }
            let named = u32::from_le_bytes(number.try_into().map_err(|_| CUT)?);
            let function = match named {
                PREEMPT_DISABLE => holds.map(|holds| holds.disable),
                PREEMPT_ENABLE => holds.map(|holds| holds.enable),
                _ => continue,
            };
            if *code != CALL {
                continue;
            }
            match function {
                Some(_) => *registers = OF_KERNEL,
                // What such a call gives, in the register where it would be.
                None => *code = MOVE,
            }
            number.copy_from_slice(&function.unwrap_or(0).to_le_bytes());
        }
    }
    Ok(())
}

/// Makes all functions static that take pointers: before 5.12 the verifier knows no pointers as arguments of global ones. It then
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

    /// Bytes of the instructions that call this function, or number.
    fn calls(object: &[u8], function: u32) -> usize {
        let sections = Section::all(object).unwrap();
        let code = sections.iter().filter(|it| it.flags & SHF_EXECINSTR != 0);
        let instructions =
            code.flat_map(|section| section.content(object).unwrap().chunks(INSTRUCTION_BYTES));
        let number = function.to_le_bytes();
        instructions
            .filter(|instruction| instruction[0] == CALL && instruction[4..] == number)
            .count()
    }

    #[test]
    fn calls_of_kernel_functions_are_those_of_the_kernel_or_nothing() {
        let (disables, enables) = (calls(OBJECT, PREEMPT_DISABLE), calls(OBJECT, PREEMPT_ENABLE));
        assert!(disables > 0 && enables >= disables);
        let mut with = OBJECT.to_vec();
        let (disable, enable) = (123_456, 123_457);
        with_functions(&mut with, Some(Holds { disable, enable })).unwrap();
        assert_eq!((calls(&with, disable), calls(&with, enable)), (disables, enables));
        let mut without = OBJECT.to_vec();
        with_functions(&mut without, None).unwrap();
        for object in [with, without] {
            assert_eq!(
                calls(&object, PREEMPT_DISABLE) + calls(&object, PREEMPT_ENABLE),
                0
            );
            let changed = (0..OBJECT.len()).filter(|at| OBJECT[*at] != object[*at]);
            let mut instructions: Vec<usize> = changed.map(|at| at / INSTRUCTION_BYTES).collect();
            instructions.dedup();
            assert_eq!(instructions.len(), disables + enables, "nothing else changes");
        }
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
            assert!(with_functions(&mut damaged.to_vec(), None).is_err());
        }
    }
}
