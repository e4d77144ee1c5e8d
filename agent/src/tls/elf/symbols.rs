//! Looks up a few names in a symbol table: first where the names stand, then which symbols have them.
//!
//! So a table of millions of symbols needs two readings from front to back, and memory only for what was found.

use std::ops::ControlFlow;

use object::LittleEndian;
use object::elf::{SHN_UNDEF, STB_LOCAL, STT_FUNC, Sym64};
use object::pod::slice_from_all_bytes;

use super::ElfError;
use super::layout::{SymbolTable, bounded};
use super::reader::Reader;
use super::search::Texts;

/// Most symbols of a table; unstripped browsers have some 2 million.
pub const SYMBOLS_MAX: usize = 4 << 20;
/// Longest table of names, bytes.
pub const NAMES_BYTES_MAX: usize = 192 << 20;
/// Most places at which the names looked for may stand. A linker writes each name once, and once more within some that end alike.
pub const NAME_PLACES_MAX: usize = 4_096;
/// Symbols read at a time.
const WINDOW_SYMBOLS: u64 = 2_048;

const SYMBOL_BYTES: usize = size_of::<Sym64<LittleEndian>>();
const LE: LittleEndian = LittleEndian;

/// What a table says of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Symbol {
    /// Address of a function with that name; of several, of the first that other files see.
    pub(super) address: Option<u64>,
    /// That function is seen by other files.
    exported: bool,
    /// The name is one that another file must provide.
    pub(super) imported: bool,
}

/// Looks names up; the answer has one symbol per name, in their order.
///
/// `texts` are the names with a zero behind each.
pub(super) fn find(
    reader: &mut Reader<'_>,
    table: SymbolTable,
    texts: &Texts,
    names: usize,
) -> Result<Vec<Symbol>, ElfError> {
    let mut symbols = vec![Symbol::default(); names];
    let places = places(reader, table, texts)?;
    let count = table.symbols.len / SYMBOL_BYTES as u64;
    bounded("symbols", count, SYMBOLS_MAX)?;
    if places.is_empty() {
        return Ok(symbols);
    }
    let mut window = vec![0; WINDOW_SYMBOLS.min(count) as usize * SYMBOL_BYTES];
    let mut at = table.symbols.offset;
    let mut left = count;
    while left > 0 {
        let now = left.min(WINDOW_SYMBOLS);
        let bytes = window.get_mut(..now as usize * SYMBOL_BYTES).unwrap_or_default();
        reader.stream(at, bytes)?;
        at = at.saturating_add(bytes.len() as u64);
        left -= now;
        let raw = slice_from_all_bytes::<Sym64<LittleEndian>>(bytes);
        for raw in raw.map_err(|()| ElfError::Damaged { what: "symbols" })? {
            let place = places.binary_search_by_key(&raw.st_name.get(LE), |(place, _)| *place);
            let name = place.ok().and_then(|index| places.get(index));
            if let Some(symbol) = name.and_then(|(_, name)| symbols.get_mut(*name)) {
                symbol.note(raw);
            }
        }
    }
    Ok(symbols)
}

impl Symbol {
    fn note(&mut self, raw: &Sym64<LittleEndian>) {
        if raw.st_shndx.get(LE) == SHN_UNDEF {
            self.imported = true;
            return;
        }
        if raw.st_type() != STT_FUNC {
            return;
        }
        let exported = raw.st_bind() != STB_LOCAL;
        if self.address.is_none() || (exported && !self.exported) {
            self.address = Some(raw.st_value.get(LE));
            self.exported = exported;
        }
    }
}

/// Where names stand in the table of names, in order, each with its number.
fn places(reader: &mut Reader<'_>, table: SymbolTable, texts: &Texts) -> Result<Vec<(u32, usize)>, ElfError> {
    bounded("bytes of names", table.names.len, NAMES_BYTES_MAX)?;
    let mut places = Vec::new();
    let mut more = false;
    texts.search(reader, table.names, |name, at| {
        if places.len() == NAME_PLACES_MAX {
            more = true;
            return ControlFlow::Break(());
        }
        if let Ok(place) = u32::try_from(at.saturating_sub(table.names.offset)) {
            places.push((place, name));
        }
        ControlFlow::Continue(())
    })?;
    if more {
        bounded("places of names", NAME_PLACES_MAX as u64 + 1, NAME_PLACES_MAX)?;
    }
    Ok(places)
}
