//! `zstd` (RFC 8878): frames one after the other, with windows of at most 8 MiB (RFC 9659 3.1). Formats from before
//! version 0.8, which the library may know, are no part of the coding.

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::decoder::{StageState, Step};

/// RFC 9659 3.1.
const WINDOW_LOG_MAX: u32 = 23;

const FRAME: u32 = 0xfd2f_b528;
/// Sixteen of them.
const SKIPPABLE: u32 = 0x184d_2a50;
const SKIPPABLE_MASK: u32 = 0xffff_fff0;

pub(super) struct Zstd {
    /// `None`: the library could not make one.
    decoder: Option<Decoder<'static>>,
    magic: [u8; 4],
    /// Bytes of the magic number that were read; 4: inside a frame.
    magic_len: usize,
    /// Frames that were complete.
    frames: u64,
}

impl std::fmt::Debug for Zstd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zstd")
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

impl Zstd {
    pub(super) fn new() -> Self {
        let decoder = Decoder::new().and_then(|mut decoder| {
            decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
            Ok(decoder)
        });
        Self {
            decoder: decoder.ok(),
            magic: [0; 4],
            magic_len: 0,
            frames: 0,
        }
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let mut used = 0;
        if self.magic_len < self.magic.len() {
            for (to, from) in self.magic.iter_mut().skip(self.magic_len).zip(input) {
                *to = *from;
                used += 1;
            }
            self.magic_len += used;
            let state = self.begin();
            if self.magic_len < self.magic.len() || state != StageState::Running {
                return Step {
                    used,
                    written: 0,
                    state,
                };
            }
        }
        let step = self.run(input.get(used..).unwrap_or_default(), output);
        Step {
            used: used + step.used,
            ..step
        }
    }

    /// Judges the magic number and gives it to the decoder.
    fn begin(&mut self) -> StageState {
        if self.magic_len == 0 && self.frames > 0 {
            return StageState::Complete;
        }
        if self.magic_len < self.magic.len() {
            return StageState::Running;
        }
        let magic = u32::from_le_bytes(self.magic);
        if magic != FRAME && magic & SKIPPABLE_MASK != SKIPPABLE {
            // Behind a frame, anything but another one is padding.
            return if self.frames > 0 {
                StageState::Ended
            } else {
                StageState::Broken
            };
        }
        let magic = self.magic;
        self.run(&magic, &mut []).state
    }

    fn run(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let Some(decoder) = &mut self.decoder else {
            return Step {
                used: 0,
                written: 0,
                state: StageState::Broken,
            };
        };
        let mut input = InBuffer::around(input);
        let mut output = OutBuffer::around(output);
        let result = decoder.run(&mut input, &mut output);
        Step {
            used: input.pos(),
            written: output.pos(),
            state: match result {
                Ok(0) => {
                    self.magic_len = 0;
                    self.frames = self.frames.saturating_add(1);
                    StageState::Complete
                }
                Ok(_) => StageState::Running,
                // The library tells by its message alone.
                Err(error) if error.to_string().contains("too much memory") => StageState::WindowTooLarge,
                Err(_) => StageState::Broken,
            },
        }
    }
}
