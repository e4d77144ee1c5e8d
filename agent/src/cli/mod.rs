//! Commands.

pub mod doctor;
pub mod output;
pub mod replay;
pub mod run;
pub mod tail;
