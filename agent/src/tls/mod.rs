//! TLS libraries in the files that processes have mapped: what they are, and where their functions lie.
//!
//! A file is known by its content, never by its name: a name is chosen by whoever may write to the container's disk.

pub mod elf;
pub mod events;
pub mod library;
pub mod maps;
