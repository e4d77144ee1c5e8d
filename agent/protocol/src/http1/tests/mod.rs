//! Tests of the whole engine. `script` builds conversations and plays them; `framing`, `losses` and `observed` hold one
//! rule a case; `conversation` makes random ones, of which `laws` states properties; `hostile` feeds it anything.

mod conversation;
mod framing;
mod hostile;
mod laws;
mod losses;
mod observed;
mod script;
