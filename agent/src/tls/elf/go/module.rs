//! Where the text of a Go program begins, which its table of functions counts from: in the runtime's `moduledata`.
//!
//! That is found by its first field, which points to the table. The table's own header had the begin of the text once, but only in
//! programs that no relocation moves, and since Go 1.26 in none. In a position-independent program that an external linker made the
//! pointers are in the relocations, and zeros where they belong.

use std::ops::ControlFlow;

use object::LittleEndian;
use object::elf::Rela64;

use super::super::ElfError;
use super::super::layout::{Layout, bounded, structure};
use super::super::reader::Reader;
use super::super::search::Texts;
use super::table::Table;

/// Most places that are tried for what is known by few bytes only.
pub const CANDIDATES_MAX: usize = 64;
/// Most relocations that are looked through.
pub const RELOCATIONS_MAX: usize = 4 << 20;

/// Places in `moduledata` (`runtime/symtab.go`, the same since Go 1.16): entry of the first function, end of the last, begin of the text.
const FIRST: u64 = 160;
const END: u64 = 168;
const TEXT: u64 = 176;

const LE: LittleEndian = LittleEndian;

/// What entries of the table are counted from: an address, 0 where they are addresses.
pub(super) fn text(reader: &mut Reader<'_>, layout: &Layout, table: &Table) -> Result<u64, ElfError> {
    if !table.relative() {
        return Ok(0);
    }
    let Some(address) = layout.address(table.offset()) else {
        return Err(ElfError::Damaged {
            what: "place of Go's table of functions",
        });
    };
    let bounds = table.bounds(reader)?;
    if let Some(text) = in_place(reader, layout, address, bounds)? {
        return Ok(text);
    }
    if let Some(text) = relocated(reader, layout, address, bounds)? {
        return Ok(text);
    }
    Err(ElfError::Damaged {
        what: "begin of Go's text",
    })
}

/// The begin of the text when all three fields agree with the table.
fn checked(fields: [u64; 3], (first, end): (u64, u64)) -> Option<u64> {
    let [first_address, end_address, text] = fields;
    let agrees = text.checked_add(first) == Some(first_address) && text.checked_add(end) == Some(end_address);
    agrees.then_some(text)
}

/// From pointers that stand where they belong.
fn in_place(
    reader: &mut Reader<'_>,
    layout: &Layout,
    table: u64,
    bounds: (u64, u64),
) -> Result<Option<u64>, ElfError> {
    let Ok(pointer) = Texts::new([table.to_le_bytes()]) else {
        return Err(ElfError::Damaged { what: "pointer" });
    };
    for segment in layout.segments.iter().filter(|segment| segment.writable) {
        let mut places = Vec::new();
        pointer.search(reader, segment.extent, |_, at| {
            places.push(at);
            if places.len() == CANDIDATES_MAX {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        for at in places {
            let mut fields = [0; 3];
            for (field, place) in fields.iter_mut().zip([FIRST, END, TEXT]) {
                *field = match reader.u64(at.saturating_add(place)) {
                    Ok(value) => value,
                    Err(ElfError::BeyondEnd { .. }) => break,
                    Err(error) => return Err(error),
                };
            }
            if let Some(text) = checked(fields, bounds) {
                return Ok(Some(text));
            }
        }
    }
    Ok(None)
}

/// From pointers that the dynamic linker writes.
fn relocated(
    reader: &mut Reader<'_>,
    layout: &Layout,
    table: u64,
    bounds: (u64, u64),
) -> Result<Option<u64>, ElfError> {
    let Some(relocations) = layout.relocations(reader)? else {
        return Ok(None);
    };
    let entry_bytes = size_of::<Rela64<LittleEndian>>() as u64;
    let count = relocations.len / entry_bytes;
    bounded("relocations", count, RELOCATIONS_MAX)?;
    let Ok(pointer) = Texts::new([table.to_le_bytes()]) else {
        return Err(ElfError::Damaged { what: "pointer" });
    };
    let mut places = Vec::new();
    pointer.search(reader, relocations, |_, at| {
        places.push(at);
        if places.len() == CANDIDATES_MAX {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    let mut modules = Vec::new();
    for at in places {
        // The pointer is the last field of its relocation, `r_addend`.
        let begin = at.saturating_sub(entry_bytes - 8);
        if begin >= relocations.offset && (begin - relocations.offset).is_multiple_of(entry_bytes) {
            let relocation: Rela64<LittleEndian> = structure(reader, begin)?;
            modules.push(relocation.r_offset.get(LE));
        }
    }
    for module in modules {
        let mut fields = [None; 3];
        for index in 0..count {
            let at = relocations.offset.saturating_add(index * entry_bytes);
            let place = reader.u64(at)?;
            for (field, wanted) in fields.iter_mut().zip([FIRST, END, TEXT]) {
                if module.checked_add(wanted) == Some(place) {
                    *field = Some(reader.u64(at.saturating_add(entry_bytes - 8))?);
                }
            }
            if let [Some(first), Some(end), Some(text)] = fields {
                if let Some(text) = checked([first, end, text], bounds) {
                    return Ok(Some(text));
                }
                break;
            }
        }
    }
    Ok(None)
}
