//! Commands.

pub mod doctor;
pub mod output;
pub mod run;
pub mod tail;
