//! TLS libraries in the files that processes have mapped: what they are, where their functions lie, and who uses them.
//!
//! A file is known by its content, never by its name: a name is chosen by whoever may write to the container's disk.

mod counters;
pub mod discovery;
pub mod elf;
pub mod events;
pub mod findings;
pub mod inodes;
pub mod library;
pub mod maps;
pub mod opening;
pub mod slots;

pub use counters::Counters;
pub use discovery::Discovery;
pub use findings::Findings;
