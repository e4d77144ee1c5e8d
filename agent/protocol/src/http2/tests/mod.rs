//! Tests of the whole engine. `wire` makes frames by hand, `script` plays conversations; `rules`, `losses` and
//! `switches` hold one rule a case; `recorded` are connections of real peers, of which `laws` states properties;
//! `hostile` feeds it anything.

mod hostile;
mod laws;
mod losses;
pub(crate) mod recorded;
mod rules;
pub(crate) mod script;
mod switches;
pub(crate) mod wire;
