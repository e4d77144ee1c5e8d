//! What capturing costs each process, and how much of its traffic may be captured for that.

use core::mem::size_of;

/// One transfer in so many is timed and charged to the process it ran in, for all of them. A prime: traffic that repeats itself every
/// two, four or ten transfers is not always met at the same place. Fits the countdown of a connection, one byte.
pub const CHARGE_EVERY: u32 = 61;

/// Processes whose accounts are kept. Those charged least recently make room.
pub const ACCOUNTS_MAX: u32 = 4096;

/// Processes of which less than everything is captured, at a time.
pub const ALLOWANCES_MAX: u32 = 1024;

/// A process: pids are reused, a pid with its start is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ProcessKey {
    /// Thread group id in the host's pid namespace.
    pub pid: u32,
    /// Zero.
    pub reserved: u32,
    /// Start of the thread group's leader on the boot-time clock, nanoseconds.
    pub start_ns: u64,
}

/// What was charged to a process on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Account {
    /// Transfers that were timed; each stands for [`CHARGE_EVERY`].
    pub timed: u64,
    /// Time that they took in the programs from where the connection was found, nanoseconds.
    pub timed_ns: u64,
}

/// How much of a process's traffic is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Level {
    /// Everything that the settings say. Needs no [`Allowance`].
    Full = 0,
    /// Of each turn no more than [`Allowance::turn_bytes_max`].
    Headers = 1,
    /// That, and one connection in [`Allowance::one_in`].
    Sampled = 2,
    /// Nothing.
    Detached = 3,
}

/// What the programs may take of a process of which they took too much before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Allowance {
    /// Another number whenever it changes, never 0: connections that go on are looked at again.
    pub generation: u32,
    /// [`Level`].
    pub level: u32,
    /// Bytes captured of each turn, but for connections that cannot be cut.
    pub turn_bytes_max: u32,
    /// See [`Level::Sampled`]; at most 255.
    pub one_in: u32,
    /// Connections drawn of the present `one_in`. The programs' own.
    pub drawn: u32,
    /// Which of them is captured. The programs' own.
    pub chosen: u32,
}

const _: () = {
    assert!(CHARGE_EVERY <= u8::MAX as u32);
    assert!(size_of::<ProcessKey>() == 16);
    assert!(size_of::<Account>() == 16);
    assert!(size_of::<Allowance>() == 24);
};
