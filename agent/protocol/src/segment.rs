//! How bytes are handed to a connection, and what it asks for.

/// Whether the connection was seen from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Both streams begin at offset 0.
    Fresh,
    /// Joined after it began: the first segment of each direction may lie anywhere in a message.
    Late,
}

/// Whether the other direction carried bytes since this direction's previous byte. Used only to find the next message
/// after a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// It did: the segment begins a turn.
    TurnStart,
    /// It did not.
    Continued,
}

/// What a direction still has to be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Every byte.
    All,
    /// Nothing before this stream offset; `u64::MAX`: nothing but the end. Bytes up to it are the rest of a body.
    SkipTo(u64),
    /// Nothing: it carries nothing more that is read.
    Nothing,
}
