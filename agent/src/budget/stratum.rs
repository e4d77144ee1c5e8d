//! One endpoint's calls: one of every block of calls is picked, at random.
//!
//! A picked call stands for its whole block, so the picked calls' weights add up to the calls, exactly but for the block
//! that is not complete. Which call of a block is picked does not depend on anything about the call, so sums over picked
//! calls, each times its weight, are unbiased.

use super::random::Random;

/// Sampling of one endpoint (or of several that share the place) within one class.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stratum {
    /// Calls in the second that is running.
    pub(super) seen: u32,
    /// Calls in the second before.
    pub(super) demand: u32,
    /// Weight of picked calls that could not be sent; the next one that can takes it over.
    owed: u32,
    block: Block,
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    calls: u32,
    at: u32,
    picked: u32,
}

impl Stratum {
    /// Counts a call, of which about `allowance` a second may be sent. `Some(weight)` when the call is picked: then either
    /// [`Self::sent`] or [`Self::put_off`] follows.
    pub(super) fn offer(&mut self, allowance: f64, random: &mut Random) -> Option<u32> {
        self.seen = self.seen.saturating_add(1);
        if self.block.at >= self.block.calls {
            let calls = one_in(self.seen.max(self.demand), allowance);
            self.block = Block {
                calls,
                at: 0,
                picked: random.below(calls),
            };
        }
        let picked = self.block.at == self.block.picked;
        self.block.at += 1;
        picked.then(|| self.owed.saturating_add(self.block.calls))
    }

    /// The picked call was sent.
    pub(super) fn sent(&mut self) {
        self.owed = 0;
    }

    /// The picked call could not be sent; the next one stands for it too.
    pub(super) fn put_off(&mut self) {
        self.owed = self.owed.saturating_add(self.block.calls);
    }

    /// A new second begins.
    pub(super) fn next_second(&mut self) {
        self.demand = std::mem::take(&mut self.seen);
    }

    /// Gives a block up that is much longer than today's demand asks for: an endpoint that has become quiet would not be
    /// seen for long otherwise. Whether its pick has come is not asked, so the weights stay unbiased.
    pub(super) fn shorten(&mut self, allowance: f64) {
        if self.block.calls / 2 > one_in(self.demand, allowance) {
            self.block = Block::default();
        }
    }
}

/// Of how many calls one is sent.
fn one_in(calls: u32, allowance: f64) -> u32 {
    let ratio = f64::from(calls) / allowance.max(f64::MIN_POSITIVE);
    // `as` saturates, which is what an allowance of nothing asks for.
    (ratio.ceil() as u32).max(1)
}
