//! The node agent: sources of bytes in, catalog deltas and calls out.

pub mod attribution;
pub mod budget;
pub mod export;
pub mod loader;
pub mod source;
pub mod spool;
pub mod tracker;
