//! Looks for texts in a part of a file, from front to back, in windows.

use std::ops::ControlFlow;

use aho_corasick::{AhoCorasick, BuildError};

use super::ElfError;
use super::reader::{Extent, Reader};

/// Read at a time, bytes.
const WINDOW_BYTES: usize = 256 << 10;

/// Texts to look for.
#[derive(Debug)]
pub(super) struct Texts {
    automaton: AhoCorasick,
    longest: usize,
}

impl Texts {
    /// Of texts none of which may contain another: of two that overlap, only the one that ends first is found.
    pub(super) fn new(texts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Self, BuildError> {
        let automaton = AhoCorasick::new(texts)?;
        Ok(Self {
            longest: automaton.max_pattern_len(),
            automaton,
        })
    }

    /// Calls `found` with the number of a text and its place in the file, for every one in `within`, until it breaks.
    ///
    /// # Errors
    ///
    /// Those of the reader; what was found until then was told.
    pub(super) fn search(
        &self,
        reader: &mut Reader<'_>,
        within: Extent,
        mut found: impl FnMut(usize, u64) -> ControlFlow<()>,
    ) -> Result<(), ElfError> {
        let carried_max = self.longest.saturating_sub(1);
        let mut window =
            vec![0; WINDOW_BYTES.min(usize::try_from(within.len).unwrap_or(usize::MAX)) + carried_max];
        let mut carried = 0;
        let mut at = within.offset;
        while at < within.end() {
            let fresh = (within.end() - at).min(WINDOW_BYTES as u64) as usize;
            let filled = carried + fresh;
            reader.stream(at, window.get_mut(carried..filled).unwrap_or_default())?;
            let begin = at - carried as u64;
            at += fresh as u64;
            let seen = window.get(..filled).unwrap_or_default();
            for place in self.automaton.find_iter(seen) {
                // What lies in the carried bytes as a whole was found in the window before.
                if place.end() > carried
                    && found(place.pattern().as_usize(), begin + place.start() as u64).is_break()
                {
                    return Ok(());
                }
            }
            carried = carried_max.min(filled);
            window.copy_within(filled - carried..filled, 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_told_once_wherever_the_windows_end() {
        let texts = Texts::new(["needle\0", "pin"]).unwrap();
        for shift in 0..10 {
            let at = WINDOW_BYTES - shift;
            let mut bytes = vec![b'.'; WINDOW_BYTES * 2 + 20];
            bytes[at..at + 7].copy_from_slice(b"needle\0");
            bytes[5..8].copy_from_slice(b"pin");
            let end = bytes.len();
            bytes[end - 3..].copy_from_slice(b"pin");
            let mut reader = Reader::new(&bytes, u64::MAX);
            let mut found = Vec::new();
            let within = Extent {
                offset: 1,
                len: bytes.len() as u64 - 1,
            };
            texts
                .search(&mut reader, within, |text, at| {
                    found.push((text, at));
                    ControlFlow::Continue(())
                })
                .unwrap();
            assert_eq!(
                found,
                [(1, 5), (0, at as u64), (1, end as u64 - 3)],
                "shift {shift}"
            );
        }
    }

    #[test]
    fn a_search_ends_when_told_to_and_where_the_file_does() {
        let texts = Texts::new(["a"]).unwrap();
        let bytes = vec![b'a'; 1000];
        let mut reader = Reader::new(&bytes, u64::MAX);
        let mut found = 0;
        let mut count = |_, _| {
            found += 1;
            if found == 3 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        texts
            .search(&mut reader, Extent { offset: 0, len: 1000 }, &mut count)
            .unwrap();
        assert_eq!(found, 3);
        let beyond = Extent { offset: 0, len: 1001 };
        let error = texts
            .search(&mut reader, beyond, |_, _| ControlFlow::Continue(()))
            .unwrap_err();
        assert!(
            matches!(error, ElfError::BeyondEnd { file_len: 1000, .. }),
            "{error}"
        );
    }
}
