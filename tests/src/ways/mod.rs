//! Whether each way into a socket is seen: the program `ways` goes them, an agent watches, and a judge compares what was sent with what
//! the agent shows and counts.

mod judge;
mod report;
mod session;

pub use judge::{Cell, Growth, Row, UNSEEN, Verdict, judge};
pub use report::{Exchange, Outcome, Way, go, list};
pub use session::{Options, Session};
