//! The limits of the programs: reached for real, in the kernel that runs. What is within is captured whole, what is beyond is counted,
//! to the byte where bytes are known.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod joined;
mod messages;
mod parts;
mod states;
mod threads;
mod watch;
