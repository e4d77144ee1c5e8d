//! A chain of codings, fed in aligned blocks.

use super::Coding;
use super::brotli::Brotli;
use super::deflate::Deflate;
use super::gzip::Gzip;
use super::zstd::Zstd;
use crate::Limits;

/// Bytes of the body that are decoded at a time, but for the last.
pub(super) const BLOCK: usize = 1 << 10;
/// Bytes that a stage gives at a time.
const PIECE: usize = 4 << 10;

/// Whether the taker of decoded bytes wants more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    More,
    Enough,
}

/// How far decoding came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// More bytes may follow.
    Running,
    /// The coded data is complete; what stands behind it means nothing.
    Ended,
    /// The taker has enough.
    Enough,
    /// The bytes are not what the coding says.
    Broken,
    /// They grow beyond `Limits::decode_ratio`.
    TooLarge,
    /// They ask for a window larger than allowed.
    WindowTooLarge,
}

/// What one step of a stage did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Bytes taken from the input.
    pub(super) used: usize,
    /// Bytes put into the output.
    pub(super) written: usize,
    pub(super) state: StageState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StageState {
    Running,
    /// Complete; there may be another part of the same coding behind it.
    Complete,
    /// Complete, and what follows is not looked at.
    Ended,
    Broken,
    /// It takes more than what it gives is worth.
    TooLarge,
    WindowTooLarge,
}

#[derive(Debug)]
enum Kind {
    Gzip(Gzip),
    Deflate(Deflate),
    Brotli(Brotli),
    Zstd(Zstd),
}

#[derive(Debug)]
struct Stage {
    kind: Kind,
    produced: u64,
    state: StageState,
}

/// Takes codings off.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// The one to take off first comes first; made when the first byte comes.
    stages: Vec<Stage>,
    codings: Vec<Coding>,
    /// Begin of a block.
    pending: Vec<u8>,
    /// Bytes decoded.
    consumed: u64,
    ratio: u64,
    outcome: Outcome,
    complete: bool,
}

impl Decoder {
    /// Takes off `codings`, which are in the order in which they were applied.
    pub(crate) fn new(codings: Vec<Coding>, limits: &Limits) -> Self {
        Self {
            stages: Vec::new(),
            codings,
            pending: Vec::new(),
            consumed: 0,
            ratio: limits.decode_ratio as u64,
            outcome: Outcome::Running,
            complete: true,
        }
    }

    /// How far it came.
    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Takes the next bytes of the body and gives what they decode to, as far as whole blocks are complete.
    pub(crate) fn data(&mut self, mut data: &[u8], mut take: impl FnMut(&[u8]) -> Flow) {
        while self.outcome == Outcome::Running && !data.is_empty() {
            if self.pending.is_empty()
                && let Some((block, rest)) = data.split_at_checked(BLOCK)
            {
                self.block(block, &mut take);
                data = rest;
                continue;
            }
            let room = BLOCK - self.pending.len();
            let (part, rest) = data.split_at(room.min(data.len()));
            self.pending.extend_from_slice(part);
            data = rest;
            if self.pending.len() == BLOCK {
                self.flush(&mut take);
            }
        }
    }

    /// Decodes what waits for its block to be complete: nothing follows it.
    pub(crate) fn flush(&mut self, mut take: impl FnMut(&[u8]) -> Flow) {
        let mut pending = std::mem::take(&mut self.pending);
        if self.outcome == Outcome::Running && !pending.is_empty() {
            self.block(&pending, &mut take);
        }
        pending.clear();
        self.pending = pending;
    }

    fn block(&mut self, block: &[u8], take: &mut impl FnMut(&[u8]) -> Flow) {
        if self.stages.is_empty() {
            self.stages = self
                .codings
                .iter()
                .rev()
                .map(|&coding| Stage::new(coding))
                .collect();
        }
        self.consumed = self.consumed.saturating_add(block.len() as u64);
        let most = self
            .consumed
            .saturating_mul(self.ratio)
            .saturating_add(Limits::DECODE_FLOOR as u64);
        self.outcome = push(&mut self.stages, block, most, take);
        let complete = |stage: &Stage| matches!(stage.state, StageState::Complete | StageState::Ended);
        self.complete = self.stages.iter().all(complete);
        // Nothing more can come through a stage that ended.
        let ended = |stage: &Stage| stage.state == StageState::Ended;
        if self.outcome == Outcome::Running && self.stages.iter().any(ended) {
            self.outcome = Outcome::Ended;
        }
        if self.outcome != Outcome::Running {
            // Their windows are large.
            self.stages = Vec::new();
        }
    }

    /// Bytes of memory that it takes, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.pending.capacity() + self.stages.iter().map(Stage::memory_bytes).sum::<usize>()
    }

    /// Decodes no further: it takes more memory than there is for it.
    pub(crate) fn give_up(&mut self) {
        if self.outcome == Outcome::Running {
            self.outcome = Outcome::TooLarge;
            self.stages = Vec::new();
            self.pending = Vec::new();
        }
    }

    /// Whether the coded data may end where the input ended.
    pub(crate) fn complete(&self) -> bool {
        self.complete
    }
}

impl Stage {
    fn new(coding: Coding) -> Self {
        Self {
            kind: match coding {
                Coding::Gzip => Kind::Gzip(Gzip::new()),
                Coding::Deflate => Kind::Deflate(Deflate::new()),
                Coding::Brotli => Kind::Brotli(Brotli::new()),
                Coding::Zstd => Kind::Zstd(Zstd::new()),
            },
            produced: 0,
            state: StageState::Running,
        }
    }

    /// Tables and buffers, and of the window what was written to.
    fn memory_bytes(&self) -> usize {
        let (fixed, window) = match &self.kind {
            Kind::Gzip(_) | Kind::Deflate(_) => (48 << 10, 0),
            Kind::Brotli(brotli) => (brotli.tables_bytes(), 16 << 20),
            Kind::Zstd(_) => (256 << 10, 8 << 20),
        };
        fixed + usize::try_from(self.produced).unwrap_or(usize::MAX).min(window)
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let step = match &mut self.kind {
            Kind::Gzip(gzip) => gzip.step(input, output),
            Kind::Deflate(deflate) => deflate.step(input, output),
            Kind::Brotli(brotli) => brotli.step(input, output),
            Kind::Zstd(zstd) => zstd.step(input, output),
        };
        self.produced = self.produced.saturating_add(step.written as u64);
        self.state = step.state;
        step
    }
}

/// Gives `input` to the first stage, and what it gives to the next, and what the last gives to `take`. No stage gives more
/// than `most` bytes in its life.
fn push(stages: &mut [Stage], mut input: &[u8], most: u64, take: &mut impl FnMut(&[u8]) -> Flow) -> Outcome {
    let Some((stage, rest)) = stages.split_first_mut() else {
        return match take(input) {
            Flow::More => Outcome::Running,
            Flow::Enough => Outcome::Enough,
        };
    };
    let mut piece = [0; PIECE];
    while stage.state != StageState::Ended {
        // One byte more than allowed tells that it is too much.
        let room = most.saturating_sub(stage.produced).saturating_add(1);
        let room = usize::try_from(room).unwrap_or(PIECE).min(PIECE);
        let before = stage.state;
        let Step { used, written, state } = stage.step(input, piece.get_mut(..room).unwrap_or_default());
        input = input.get(used..).unwrap_or_default();
        if stage.produced > most {
            return Outcome::TooLarge;
        }
        if written > 0 {
            let decoded = piece.get(..written).unwrap_or_default();
            let outcome = push(rest, decoded, most, take);
            if outcome != Outcome::Running {
                return outcome;
            }
        }
        match state {
            StageState::Broken => return Outcome::Broken,
            StageState::TooLarge => return Outcome::TooLarge,
            StageState::WindowTooLarge => return Outcome::WindowTooLarge,
            StageState::Running | StageState::Complete | StageState::Ended => {}
        }
        let stuck = used == 0 && written == 0 && state == before;
        if stuck || input.is_empty() && written < room {
            break;
        }
    }
    Outcome::Running
}
