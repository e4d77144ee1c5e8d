//! The steps between capturing everything of a process and nothing.

use agent_common::{Allowance, Level};

/// How much of a process is captured, most first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// What the policy says.
    #[default]
    Full,
    /// No more than the beginning of each message.
    Headers,
    /// That, of one connection in eight.
    Sampled8,
    /// That, of one connection in 64.
    Sampled64,
    /// Nothing. What remains is the hook and one look at the connection's state.
    Detached,
}

impl Rung {
    /// From the top.
    pub const ALL: [Self; 5] = [
        Self::Full,
        Self::Headers,
        Self::Sampled8,
        Self::Sampled64,
        Self::Detached,
    ];

    /// Name in reports and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Headers => "headers",
            Self::Sampled8 => "sampled-8",
            Self::Sampled64 => "sampled-64",
            Self::Detached => "detached",
        }
    }

    /// What it means, for a log line.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Full => "everything is captured",
            Self::Headers => "only the beginning of each message is captured",
            Self::Sampled8 => "one connection in 8 is captured and stands for the others",
            Self::Sampled64 => "one connection in 64 is captured and stands for the others",
            Self::Detached => "nothing is captured",
        }
    }

    /// The next step down.
    #[must_use]
    pub const fn below(self) -> Option<Self> {
        match self {
            Self::Full => Some(Self::Headers),
            Self::Headers => Some(Self::Sampled8),
            Self::Sampled8 => Some(Self::Sampled64),
            Self::Sampled64 => Some(Self::Detached),
            Self::Detached => None,
        }
    }

    /// The next step up.
    #[must_use]
    pub const fn above(self) -> Option<Self> {
        match self {
            Self::Full => None,
            Self::Headers => Some(Self::Full),
            Self::Sampled8 => Some(Self::Headers),
            Self::Sampled64 => Some(Self::Sampled8),
            Self::Detached => Some(Self::Sampled64),
        }
    }

    /// For the programs; `None` where they need not be told. `generation` is not 0 and another one than before.
    #[must_use]
    pub const fn allowance(self, generation: u32, head_bytes: u32) -> Option<Allowance> {
        let (level, one_in) = match self {
            Self::Full => return None,
            Self::Headers => (Level::Headers, 1),
            Self::Sampled8 => (Level::Sampled, 8),
            Self::Sampled64 => (Level::Sampled, 64),
            Self::Detached => (Level::Detached, 1),
        };
        Some(Allowance {
            generation,
            level: level as u32,
            turn_bytes_max: head_bytes,
            one_in,
            drawn: 0,
            chosen: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_are_one_after_the_other() {
        for [upper, lower] in Rung::ALL.array_windows() {
            assert_eq!(upper.below(), Some(*lower));
            assert_eq!(lower.above(), Some(*upper));
            assert!(upper < lower);
        }
        assert_eq!((Rung::Full.above(), Rung::Detached.below()), (None, None));
    }

    #[test]
    fn the_programs_are_told_of_all_but_the_first() {
        let told = Rung::ALL.map(|rung| rung.allowance(7, 100).map(|told| (told.level, told.one_in)));
        assert_eq!(
            told,
            [None, Some((1, 1)), Some((2, 8)), Some((2, 64)), Some((3, 1))]
        );
        let told = Rung::Sampled8.allowance(7, 100).unwrap();
        assert_eq!((told.generation, told.turn_bytes_max, told.drawn), (7, 100, 0));
        // The weight of a connection has one byte.
        assert!(
            Rung::ALL
                .iter()
                .filter_map(|rung| rung.allowance(1, 1))
                .all(|told| told.one_in <= 255)
        );
    }
}
