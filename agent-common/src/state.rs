//! States of connections that are kept by their sockets' addresses, in a table of limited size.
//!
//! Of some sockets nobody says when they are closed, and of those that are open any number may never be used again. So user space takes
//! away what was not used for longest when the table gets full. Programs take nothing away for others: what finds no room is counted.

/// Connections whose state is kept by their sockets' addresses, unless the configuration says otherwise: those of the UNIX domain; the
/// others too where programs get no sockets that the kernel vouches for.
pub const STATES_MAX: u32 = 65_536;

/// Size of a state.
pub const STATE_BYTES: usize = 152;

/// How a state begins, which user space looks at. The rest is the programs' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct StateHead {
    /// Names the connection.
    pub cookie: u64,
    /// When it was last used: the low half of the kernel's ticks, which begin anew after months.
    pub used: u32,
    /// Of a UNIX connection: the number of the socket's inode; else 0.
    pub inode: u32,
}
