//! Several programs at one hook.
//!
//! The kernel does not run a program on a processor where the same program has been interrupted at work (`recursion_misses` in what it
//! tells of programs). Where programs can be preempted that happens between threads, and what the second one did would go by unseen. So
//! a spare program hangs at the same hook and does what the first was not let to do, and another one what both were not. They know by
//! what each leaves in the state of the connection; their order does not matter.

/// Which of them runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// The one that usually does the work.
    First,
    /// One that does what was left out.
    Spare,
}
