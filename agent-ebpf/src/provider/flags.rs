//! Flags of receiving calls (`include/linux/socket.h`).

use agent_common::Counter;

use crate::place::Place;

const MSG_OOB: u32 = 0x01;
const MSG_PEEK: u32 = 0x02;
const MSG_TRUNC: u32 = 0x20;
const MSG_ERRQUEUE: u32 = 0x2000;

/// What became of bytes that a call received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// They left the stream for the process's memory.
    Taken,
    /// They left the stream and went nowhere.
    Discarded,
    /// They stay in the stream, or are not of it.
    Elsewhere,
}

impl Received {
    /// As the flags say.
    #[inline(always)]
    pub const fn with(flags: u32) -> Self {
        if flags & (MSG_OOB | MSG_PEEK | MSG_ERRQUEUE) != 0 {
            Self::Elsewhere
        } else if flags & MSG_TRUNC != 0 {
            Self::Discarded
        } else {
            Self::Taken
        }
    }

    /// The same of a UNIX socket, which copies whatever `MSG_TRUNC` says.
    #[inline(always)]
    pub const fn with_unix(flags: u32) -> Self {
        Self::with(flags & !MSG_TRUNC)
    }

    /// `place`, unless the bytes went nowhere.
    #[inline(always)]
    pub fn at(self, place: impl FnOnce() -> Place) -> Place {
        if matches!(self, Self::Discarded) {
            Place::Opaque(Counter::Discarded)
        } else {
            place()
        }
    }
}
