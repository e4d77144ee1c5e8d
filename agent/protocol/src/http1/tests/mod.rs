//! Tests of the whole engine. `script` builds conversations and plays them, `delivery` varies how they come; `framing`, `losses`,
//! `observed` and `resumes` hold one rule a case; `conversation` makes random ones, of which `laws` states properties; `hostile` feeds it
//! anything.

pub(crate) mod conversation;
pub(crate) mod delivery;
mod framing;
mod hostile;
mod laws;
mod losses;
mod observed;
mod resumes;
pub(crate) mod script;
