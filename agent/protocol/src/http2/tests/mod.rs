//! Tests of the whole engine. `wire` makes frames by hand, `script` plays conversations; `rules` hold one rule a case.

mod hostile;
mod losses;
mod rules;
mod script;
mod switches;
mod wire;
