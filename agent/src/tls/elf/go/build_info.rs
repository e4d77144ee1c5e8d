//! The version of Go that built a program, as `go version FILE` finds it (Go's `debug/buildinfo`).
//!
//! A block of 32 bytes: a magic text, size of pointers, flags. Up to Go 1.17 it points to the version; since 1.18 that follows, its
//! length before it.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use aho_corasick::BuildError;

use super::super::ElfError;
use super::super::layout::Layout;
use super::super::reader::Reader;
use super::super::search::Texts;
use crate::tls::library::VERSION_BYTES_MAX;

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// The block begins at a multiple of it.
const ALIGNMENT: u64 = 16;
const HEADER_BYTES: u64 = 32;
/// Flag: the version follows.
const INLINE: u8 = 2;
/// Flag: numbers have their highest byte first.
const BIG_ENDIAN: u8 = 1;
/// Most of a segment that is searched for the block, bytes; linkers put it at the begin.
const SEARCH_BYTES_MAX: u64 = 1 << 20;

static TEXTS: LazyLock<Result<Texts, BuildError>> = LazyLock::new(|| Texts::new([MAGIC]));

/// The version, such as `go1.24.4`; `None`: there is none.
pub(super) fn version(reader: &mut Reader<'_>, layout: &Layout) -> Result<Option<String>, ElfError> {
    let Some(block) = block(reader, layout)? else {
        return Ok(None);
    };
    let header: [u8; HEADER_BYTES as usize] = reader.array(block)?;
    let [.., pointer_bytes, flags] = *header.first_chunk::<16>().unwrap_or(&[0; 16]);
    let (at, len) = if flags & INLINE != 0 {
        let at = block.saturating_add(HEADER_BYTES);
        // A varint; one of more than two bytes is no length of a version.
        match reader.array(at)? {
            [low @ 0..0x80, _] => (Some(at.saturating_add(1)), u64::from(low)),
            [low, high @ 0..0x80] => (
                Some(at.saturating_add(2)),
                u64::from(high) << 7 | u64::from(low & 0x7f),
            ),
            _ => (None, 0),
        }
    } else if pointer_bytes == 8 && flags & BIG_ENDIAN == 0 {
        let text = reader.u64(block.saturating_add(16))?;
        let Some(text) = layout.offset(text) else {
            return Ok(None);
        };
        let address = reader.u64(text)?;
        (layout.offset(address), reader.u64(text.saturating_add(8))?)
    } else {
        (None, 0)
    };
    let (Some(at), 1..) = (at, len) else {
        return Err(ElfError::Damaged {
            what: "Go's build info",
        });
    };
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let bytes = reader.up_to(at, len.min(VERSION_BYTES_MAX))?;
    let printable = bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    Ok(String::from_utf8(bytes)
        .ok()
        .filter(|version| printable && !version.is_empty()))
}

/// Place of the block: in its section, or in a file without sections at the begin of what can be written to.
fn block(reader: &mut Reader<'_>, layout: &Layout) -> Result<Option<u64>, ElfError> {
    if !layout.sections.is_empty() {
        let Some(section) = layout.section(&[".go.buildinfo"], reader) else {
            return Ok(None);
        };
        let at = section.extent.offset;
        let magic: [u8; MAGIC.len()] = reader.array(at)?;
        return Ok((magic == MAGIC).then_some(at));
    }
    let Ok(texts) = LazyLock::force(&TEXTS) else {
        return Err(ElfError::Damaged { what: "magic" });
    };
    for segment in layout.segments.iter().filter(|segment| segment.writable) {
        let mut within = segment.extent;
        within.len = within.len.min(SEARCH_BYTES_MAX);
        let mut found = None;
        texts.search(reader, within, |_, at| {
            if layout.address(at).is_some_and(|address| address % ALIGNMENT == 0) {
                found = Some(at);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
