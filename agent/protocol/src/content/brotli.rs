//! `br` (RFC 7932). Its window is at most 16 MiB and grows with what is decoded; the larger windows of a later extension
//! are no part of the coding.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, SliceWrapper, StandardAlloc};

use super::decoder::{StageState, Step};

/// What a decoder takes before it has read anything, about.
const STATE_BYTES: usize = 48 << 10;

pub(super) struct Brotli {
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
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
                StandardAlloc::default(),
            )),
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
        Step {
            used,
            written,
            state: match result {
                BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => StageState::Running,
                BrotliResult::ResultSuccess => StageState::Ended,
                BrotliResult::ResultFailure => StageState::Broken,
            },
        }
    }
}
