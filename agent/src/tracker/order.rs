//! What the source is told to do.

use agent_common::Direction as Way;

/// What the source should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Send nothing more of a connection: it speaks something else.
    Ignore {
        /// Connection.
        connection: u64,
    },
    /// Send nothing more of a connection until the policy changes.
    LeaveOut {
        /// Connection.
        connection: u64,
    },
    /// Send all of a connection, whatever the limit of a turn.
    Full {
        /// Connection.
        connection: u64,
    },
    /// Skip up to a sequence number.
    Skip {
        /// Connection.
        connection: u64,
        /// Which way.
        way: Way,
        /// First byte to capture again.
        sequence: u32,
    },
    /// Capture one exchange of a connection in so many from now on, by chance, and nothing of the others; 0 or 1: all again.
    Rest {
        /// Connection.
        connection: u64,
        /// Which way requests go.
        way: Way,
        /// One in so many.
        every: u32,
    },
    /// Say where a connection stands.
    Report {
        /// Connection.
        connection: u64,
        /// Which way bytes last went: they will again.
        way: Way,
    },
    /// Send nothing of any connection of this process, which the policy leaves out.
    Exclude {
        /// Process.
        pid: u32,
    },
    /// Send nothing of any process of this control group, which the policy leaves out.
    ExcludeGroup {
        /// Control group.
        cgroup: u64,
        /// A process of it, where the group itself cannot be left out.
        pid: u32,
    },
    /// The process has ended: whoever gets its pid is another.
    Admit {
        /// Process.
        pid: u32,
    },
    /// The process runs another program from now on: also what was left out of it is judged anew.
    Rejudge {
        /// Process.
        pid: u32,
    },
}
