//! Tests of the whole engine. `wire` makes frames by hand, `script` and `talk` play conversations; `rules`, `streams`, `losses`
//! and `switches` hold one rule a case; `recorded` are connections of real peers, of which `laws` states properties;
//! `hostile` feeds it anything.

mod hostile;
mod laws;
mod losses;
pub(crate) mod recorded;
mod rules;
pub(crate) mod script;
mod streams;
mod switches;
mod talk;
pub(crate) mod wire;
