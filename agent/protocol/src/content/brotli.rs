//! `br` (RFC 7932). Its window is at most 16 MiB and grows with what is decoded; the larger windows of a later extension
//! are no part of the coding.

use brotli_decompressor::{
    Allocator, BrotliDecompressStream, BrotliResult, BrotliState, SliceWrapper, StandardAlloc,
};

use super::decoder::{StageState, Step};

/// What a decoder takes before it has read anything, about.
const STATE_BYTES: usize = 48 << 10;

/// Bytes of code tables that a body may have made for each of its own. A block of a dozen bytes, as who flushes after each event sends
/// them, makes 13 KiB; one made for that purpose has as much for each five bytes, and takes more time than anything that it could decode to.
const TABLES_RATIO: u64 = 1 << 10;
/// Bytes of code tables that any body may have made.
const TABLES_FLOOR: u64 = 16 << 20;

pub(super) struct Brotli {
    state: Box<BrotliState<StandardAlloc, StandardAlloc, Metered>>,
    /// Bytes that were taken.
    consumed: u64,
}

/// Counts what was ever allocated.
#[derive(Default)]
struct Metered {
    inner: StandardAlloc,
    bytes: u64,
}

impl<T: Clone + Default> Allocator<T> for Metered {
    type AllocatedMemory = <StandardAlloc as Allocator<T>>::AllocatedMemory;

    fn alloc_cell(&mut self, len: usize) -> Self::AllocatedMemory {
        self.bytes = self.bytes.saturating_add((len * size_of::<T>()) as u64);
        self.inner.alloc_cell(len)
    }

    fn free_cell(&mut self, data: Self::AllocatedMemory) {
        <StandardAlloc as Allocator<T>>::free_cell(&mut self.inner, data);
    }
}

impl std::fmt::Debug for Brotli {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Brotli").finish_non_exhaustive()
    }
}

impl Brotli {
    pub(super) fn new() -> Self {
        Self {
            state: Box::new(BrotliState::new_strict(
                StandardAlloc::default(),
                StandardAlloc::default(),
                Metered::default(),
            )),
            consumed: 0,
        }
    }

    /// Bytes of memory that it takes without the window. A block may define hundreds of codes.
    pub(super) fn tables_bytes(&self) -> usize {
        let state = &*self.state;
        let groups = [
            &state.literal_hgroup,
            &state.insert_copy_hgroup,
            &state.distance_hgroup,
        ];
        let codes = groups.map(|group| size_of_val(group.codes.slice()) + size_of_val(group.htrees.slice()));
        let maps = state.dist_context_map.slice().len() + state.context_map.slice().len();
        STATE_BYTES + codes.iter().sum::<usize>() + maps
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let (mut input_left, mut used) = (input.len(), 0);
        let (mut output_left, mut written, mut total) = (output.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut input_left,
            &mut used,
            input,
            &mut output_left,
            &mut written,
            output,
            &mut total,
            &mut self.state,
        );
        self.consumed = self.consumed.saturating_add(used as u64);
        let most = self
            .consumed
            .saturating_mul(TABLES_RATIO)
            .saturating_add(TABLES_FLOOR);
        Step {
            used,
            written,
            state: match result {
                _ if self.state.alloc_hc.bytes > most => StageState::TooLarge,
                BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => StageState::Running,
                BrotliResult::ResultSuccess => StageState::Ended,
                BrotliResult::ResultFailure => StageState::Broken,
            },
        }
    }
}
