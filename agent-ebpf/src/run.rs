//! Several programs at one hook.
//!
//! The kernel does not run a program on a processor where the same program has been interrupted at work (`recursion_misses` in what it
//! tells of programs). Where programs can be preempted that happens between threads, and what the second one did would go by unseen. So
//! a spare program hangs at the same hook and does what the first was not let to do, and a last one what both were not. They run in this
//! order, and know by what each leaves in the state of the connection.

/// Which of them runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// The one that usually does the work.
    First,
    /// One that does what was left out.
    Spare,
    /// Another such one, behind which there is none.
    Last,
    /// Any of them, where only one gets to see a transfer.
    Sole,
}
