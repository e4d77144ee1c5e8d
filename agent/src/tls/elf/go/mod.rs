//! Go programs: their version, and the functions of `crypto/tls`, which are found in stripped programs as well, by way of the tables
//! that Go's runtime needs for its stack traces.

mod build_info;
mod module;
mod returns;
mod table;

pub use self::module::{CANDIDATES_MAX, RELOCATIONS_MAX};
pub use self::returns::{FUNCTION_BYTES_MAX, RETURNS_MAX};
pub use self::table::GO_FUNCTIONS_MAX;

use self::table::{Place, Table};
use super::ElfError;
use super::layout::Layout;
use super::reader::Reader;
use crate::tls::library::{EntryPoint, Functions, Library, LibraryName, Linkage};

/// Finds `crypto/tls`. `None`: no Go program, or one that has no TLS.
///
/// A Go program whose tables cannot be made sense of may have it: [`Functions::NoSymbols`].
pub(super) fn find(reader: &mut Reader<'_>, layout: &Layout) -> Result<Option<Library>, ElfError> {
    let version = match build_info::version(reader, layout) {
        Err(ElfError::Damaged { .. } | ElfError::BeyondEnd { .. }) => None,
        other => other?,
    };
    let functions = match functions(reader, layout, version.is_some()) {
        Ok(Some(points)) if points.is_empty() => return Ok(None),
        Ok(Some(points)) => Functions::Found(points),
        Ok(None) if version.is_none() => return Ok(None),
        Ok(None) | Err(ElfError::Damaged { .. } | ElfError::BeyondEnd { .. }) => Functions::NoSymbols,
        Err(error) => return Err(error),
    };
    Ok(Some(Library {
        name: LibraryName::Go,
        version,
        linkage: Linkage::Static,
        functions,
    }))
}

/// The functions of `crypto/tls`; `None`: there is no table of functions.
fn functions(
    reader: &mut Reader<'_>,
    layout: &Layout,
    is_go: bool,
) -> Result<Option<Vec<EntryPoint>>, ElfError> {
    let Some(table) = Table::find(reader, layout, is_go)? else {
        return Ok(None);
    };
    let places = table.functions(reader)?;
    if places.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let text = module::text(reader, layout, &table)?;
    let mut points = Vec::new();
    for place in places {
        points.extend(entry_point(reader, layout, place, text)?);
    }
    if points.is_empty() {
        return Err(ElfError::Damaged {
            what: "places of Go functions",
        });
    }
    Ok(Some(points))
}

/// `None`: the place is none of instructions that can be followed to their returns.
fn entry_point(
    reader: &mut Reader<'_>,
    layout: &Layout,
    place: Place,
    text: u64,
) -> Result<Option<EntryPoint>, ElfError> {
    let begin = text
        .checked_add(place.entry)
        .and_then(|address| layout.code_offset(address));
    let last = text
        .checked_add(place.entry)
        .and_then(|address| address.checked_add(place.len.saturating_sub(1)))
        .and_then(|address| layout.code_offset(address));
    let (Some(offset), Some(last)) = (begin, last) else {
        return Ok(None);
    };
    if last.checked_sub(offset) != place.len.checked_sub(1) {
        return Ok(None);
    }
    let returns = returns::find(reader, layout.architecture, offset, place.len)?;
    // One that returns at once carries nothing, and two probes would be in one place.
    let returns = returns.filter(|returns| returns.first() != Some(&offset));
    Ok(returns.map(|returns| EntryPoint {
        function: place.function,
        offset,
        returns,
    }))
}
