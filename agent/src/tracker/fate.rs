//! What became of a byte that a socket moved: read, left out on purpose, or missed, and why.

use agent_common::{Counter, chunk_flags};

/// What a fate means for the capture rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Read and understood.
    Read,
    /// Nobody wanted it; the rate is not lower for it.
    LeftOut,
    /// It should have been read.
    Missed,
}

macro_rules! fates {
    ($($(#[doc = $doc:literal])* $fate:ident $kind:ident $name:literal,)*) => {
        /// What became of a byte. Each byte of a tracked connection has exactly one fate.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fate {
            $($(#[doc = $doc])* $fate,)*
        }

        impl Fate {
            /// All, in the order of their numbers.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$fate),*];

            /// Name as on the wire and in every output.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$fate => $name,)* }
            }

            /// What it means for the capture rate.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self { $(Self::$fate => Kind::$kind,)* }
            }

            /// One line for people.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$fate => concat!($($doc),*).trim_ascii(),)* }
            }
        }
    };
}

fates! {
    /// Read and understood as HTTP.
    Read Read "read",
    /// Beyond the byte limit of a turn.
    TurnLimit LeftOut "turn_limit",
    /// The rest of a body that need not be read.
    Skipped LeftOut "skipped",
    /// The other end is on this node, and is read there.
    OtherEnd LeftOut "other_end",
    /// The process was over its budget, and less of it is captured.
    Lowered LeftOut "lowered",
    /// Exchanges like many before them: one that was read stands for them.
    Rested LeftOut "rested",
    /// Another protocol: after an upgrade, in a tunnel, or never HTTP.
    OtherProtocol LeftOut "other_protocol",
    /// Received and never read by the process.
    Unread LeftOut "unread",
    /// Thrown away unseen by the process (MSG_TRUNC).
    Discarded LeftOut "discarded",
    /// Moved past the memory of the process: sendfile, splice, zero copy.
    OpaqueCall Missed "opaque_call",
    /// Moved outside a system call of the thread (io_uring), where this provider cannot find the buffer.
    OutsideSyscall Missed "outside_syscall",
    /// The memory of the process could not be read at that moment.
    Fault Missed "fault",
    /// In parts of a scattered buffer beyond the number that is read.
    TooManyParts Missed "too_many_parts",
    /// The ring buffer was full.
    RingFull Missed "ring_full",
    /// No record told of them: a way in that this provider does not see, or a run that the kernel left out.
    Unseen Missed "unseen",
    /// Captured, but what came before is missing, so that nobody can tell what it is.
    NotUnderstood Missed "not_understood",
}

impl Fate {
    /// Of the bytes of a record that were not captured. `reason` is the record's own, `flags` are [`chunk_flags`].
    #[must_use]
    pub const fn of_missing(reason: Option<Counter>, flags: u8) -> Self {
        match reason {
            Some(Counter::Capped) => Self::TurnLimit,
            Some(Counter::Skipped) => Self::Skipped,
            Some(Counter::Discarded) => Self::Discarded,
            Some(Counter::Fault) => Self::Fault,
            Some(Counter::TooManyParts) => Self::TooManyParts,
            Some(Counter::OutsideSyscall) => Self::OutsideSyscall,
            Some(_) => Self::OpaqueCall,
            None if flags & chunk_flags::FAULT != 0 => Self::Fault,
            None if flags & chunk_flags::OPAQUE != 0 => Self::OpaqueCall,
            None if flags & chunk_flags::SKIPPED != 0 => Self::Skipped,
            None if flags & chunk_flags::CAPPED != 0 => Self::TurnLimit,
            None => Self::Unseen,
        }
    }
}

/// Bytes by fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates([u64; Fate::ALL.len()]);

impl Fates {
    /// Adds bytes.
    pub fn add(&mut self, fate: Fate, bytes: u64) {
        if let Some(sum) = self.0.get_mut(fate as usize) {
            *sum = sum.saturating_add(bytes);
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        for (fate, bytes) in other.iter() {
            self.add(fate, bytes);
        }
    }

    /// Bytes of a fate.
    #[must_use]
    pub fn get(&self, fate: Fate) -> u64 {
        self.0.get(fate as usize).copied().unwrap_or_default()
    }

    /// Fates that have bytes.
    pub fn iter(&self) -> impl Iterator<Item = (Fate, u64)> {
        Fate::ALL.into_iter().zip(self.0).filter(|(_, bytes)| *bytes > 0)
    }

    /// Bytes of a kind.
    #[must_use]
    pub fn of_kind(&self, kind: Kind) -> u64 {
        self.iter()
            .filter(|(fate, _)| fate.kind() == kind)
            .fold(0, |sum: u64, (_, bytes)| sum.saturating_add(bytes))
    }

    /// All bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |sum: u64, bytes| sum.saturating_add(*bytes))
    }

    /// Read ÷ (read + missed); `None` where nothing was to be read.
    #[must_use]
    pub fn capture_rate(&self) -> Option<f64> {
        let read = self.of_kind(Kind::Read);
        let wanted = read.saturating_add(self.of_kind(Kind::Missed));
        (wanted > 0).then(|| read as f64 / wanted as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_of_what_should_have_been_read() {
        let mut fates = Fates::default();
        assert_eq!(fates.capture_rate(), None);
        fates.add(Fate::TurnLimit, 1_000_000);
        assert_eq!(fates.capture_rate(), None, "nothing was to be read");
        fates.add(Fate::Read, 750);
        assert_eq!(fates.capture_rate(), Some(1.0));
        fates.add(Fate::RingFull, 150);
        fates.add(Fate::OpaqueCall, 100);
        assert_eq!(fates.capture_rate(), Some(0.75));
        assert_eq!(fates.total(), 1_001_000);
    }

    #[test]
    fn what_is_missing_of_a_record() {
        use chunk_flags::{CAPPED, FAULT, OPAQUE, SKIPPED};
        for (reason, flags, fate) in [
            (Some(Counter::OutsideSyscall), OPAQUE, "outside_syscall"),
            (Some(Counter::OpaqueCall), OPAQUE, "opaque_call"),
            (Some(Counter::Discarded), OPAQUE, "discarded"),
            (Some(Counter::Fault), OPAQUE, "fault"),
            (Some(Counter::Fault), FAULT, "fault"),
            (Some(Counter::TooManyParts), FAULT, "too_many_parts"),
            (Some(Counter::Capped), CAPPED, "turn_limit"),
            (None, OPAQUE, "opaque_call"),
            (None, FAULT, "fault"),
            (None, SKIPPED, "skipped"),
            (None, CAPPED, "turn_limit"),
            (None, 0, "unseen"),
        ] {
            assert_eq!(Fate::of_missing(reason, flags).name(), fate);
        }
    }

    #[test]
    fn names_are_different() {
        let mut names = Fate::ALL.map(Fate::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Fate::ALL.len());
        assert!(Fate::ALL.iter().enumerate().all(|(i, fate)| *fate as usize == i));
    }
}
