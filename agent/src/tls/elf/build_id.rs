//! The build id that linkers leave in a note: `NT_GNU_BUILD_ID` of `GNU`.

use object::elf::{NT_GNU_BUILD_ID, SHT_NOTE};

use super::ElfError;
use super::layout::Layout;
use super::reader::Reader;

/// Longest build id, bytes; linkers write 8 to 20.
pub const BUILD_ID_BYTES_MAX: usize = 64;
/// Most that is looked at of the notes in one place, bytes.
pub const NOTES_BYTES_MAX: usize = 16 << 10;

/// Places of notes that are looked at.
const NOTES_MAX: usize = 16;
/// Notes begin at multiples of it.
const ALIGNMENT: usize = 4;

/// Finds it.
pub(super) fn read(reader: &mut Reader<'_>, layout: &Layout) -> Result<Option<Vec<u8>>, ElfError> {
    let sections = layout.sections.iter().filter(|section| section.kind == SHT_NOTE);
    // Go's linker leaves it out of the segment of notes.
    let places = layout
        .notes
        .iter()
        .copied()
        .chain(sections.map(|section| section.extent));
    for notes in places.take(NOTES_MAX) {
        if !reader.holds(notes) {
            continue;
        }
        let len = notes.len.min(NOTES_BYTES_MAX as u64) as usize;
        let bytes = reader.up_to(notes.offset, len)?;
        if let Some(id) = find(&bytes) {
            return Ok(Some(id.to_vec()));
        }
    }
    Ok(None)
}

/// The first of the notes that is a build id: length of the name, length of the content, type, name, content.
fn find(mut notes: &[u8]) -> Option<&[u8]> {
    loop {
        let (name_len, rest) = number(notes)?;
        let (len, rest) = number(rest)?;
        let (kind, rest) = number(rest)?;
        let (name_len, len) = (usize::try_from(name_len).ok()?, usize::try_from(len).ok()?);
        let name = rest.get(..name_len)?;
        let rest = rest.get(name_len.checked_next_multiple_of(ALIGNMENT)?..)?;
        let content = rest.get(..len)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" && (1..=BUILD_ID_BYTES_MAX).contains(&len) {
            return Some(content);
        }
        notes = rest.get(len.checked_next_multiple_of(ALIGNMENT)?..)?;
    }
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(name: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for number in [name.len() as u32, content.len() as u32, kind] {
            note.extend(number.to_le_bytes());
        }
        for part in [name, content] {
            note.extend(part);
            note.resize(note.len().next_multiple_of(ALIGNMENT), 0);
        }
        note
    }

    #[test]
    fn the_build_id_is_found_among_others() {
        let others = [note(b"Go\0\0", 4, b"abc/def"), note(b"GNU\0", 1, &[0; 16])].concat();
        for len in [1, 20, BUILD_ID_BYTES_MAX] {
            let id = vec![7; len];
            let notes = [others.clone(), note(b"GNU\0", NT_GNU_BUILD_ID, &id)].concat();
            assert_eq!(find(&notes), Some(id.as_slice()));
            assert_eq!(find(&notes[..notes.len() - ALIGNMENT]), None, "cut");
        }
        let long = note(b"GNU\0", NT_GNU_BUILD_ID, &[7; BUILD_ID_BYTES_MAX + 1]);
        assert_eq!(find(&long), None);
        assert_eq!(find(&[0xff; 64]), None, "absurd lengths");
        assert_eq!(find(b""), None);
    }
}
