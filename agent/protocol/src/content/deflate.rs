//! `deflate` (RFC 9110 8.4.1.2): the zlib format; and DEFLATE alone, which some servers send under that name.

use flate2::{Decompress, FlushDecompress, Status};

use super::decoder::{StageState, Step};

#[derive(Debug)]
pub(super) enum Deflate {
    /// The two bytes that tell the format are not known yet.
    Begin(Option<u8>),
    Inflate(Inflate),
}

impl Deflate {
    pub(super) fn new() -> Self {
        Self::Begin(None)
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        match self {
            Self::Begin(first) => {
                let (begin, used) = match (*first, input) {
                    (None, []) | (Some(_), []) => {
                        return Step {
                            used: 0,
                            written: 0,
                            state: StageState::Running,
                        };
                    }
                    (None, [only]) => {
                        *first = Some(*only);
                        return Step {
                            used: 1,
                            written: 0,
                            state: StageState::Running,
                        };
                    }
                    (None, [a, b, ..]) => ([*a, *b], 2),
                    (Some(a), [b, ..]) => ([a, *b], 1),
                };
                let mut inflate = Inflate::new(zlib(begin));
                // Two bytes give no output: there is room for none.
                let begun = inflate.step(&begin, &mut []);
                *self = Self::Inflate(inflate);
                Step { used, ..begun }
            }
            Self::Inflate(inflate) => inflate.step(input, output),
        }
    }
}

/// Whether these are the first bytes of the zlib format (RFC 1950 2.2): method 8, a window of at most 32 KiB, a check, no
/// dictionary. As a begin of DEFLATE they would be a stored block with padding that nobody sends.
fn zlib([method, flags]: [u8; 2]) -> bool {
    method & 0x0f == 8
        && method >> 4 <= 7
        && flags & 0x20 == 0
        && u16::from_be_bytes([method, flags]).is_multiple_of(31)
}

/// DEFLATE (RFC 1951), with the header and check of zlib or without.
#[derive(Debug)]
pub(super) struct Inflate {
    state: Decompress,
}

impl Inflate {
    pub(super) fn new(zlib: bool) -> Self {
        Self {
            state: Decompress::new(zlib),
        }
    }

    /// Begins again, without header.
    pub(super) fn reset(&mut self) {
        self.state.reset(false);
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
        let status = self.state.decompress(input, output, FlushDecompress::None);
        let moved = |before: u64, now: u64| usize::try_from(now.saturating_sub(before)).unwrap_or(usize::MAX);
        Step {
            used: moved(before_in, self.state.total_in()),
            written: moved(before_out, self.state.total_out()),
            state: match status {
                Ok(Status::Ok | Status::BufError) => StageState::Running,
                Ok(Status::StreamEnd) => StageState::Ended,
                Err(_) => StageState::Broken,
            },
        }
    }
}
