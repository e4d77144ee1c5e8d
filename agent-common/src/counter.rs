//! Counters that the programs keep, per CPU: two words each, events and bytes.

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Counter {
    /// Sent to user space.
    Captured,
    /// Records that found the ring buffer full.
    RingFull,
    /// Payload that could not be read from the process's memory.
    Fault,
    /// Beyond the byte limit of a turn.
    Capped,
    /// Skipped because user space asked for it.
    Skipped,
    /// Moved by sendfile, splice, sendmmsg and the like: not in memory that this provider can read.
    OpaqueCall,
    /// Moved outside a system call of the thread (io_uring).
    OutsideSyscall,
    /// Parts of a scattered buffer beyond the number that is read.
    TooManyParts,
    /// Read with MSG_TRUNC: gone from the stream, never in memory.
    Discarded,
    /// Moved on connections decided not to be HTTP.
    NotHttp,
    /// Connections decided not to be HTTP (events only).
    NotHttpConnections,
    /// Moved on connections that a filter leaves out.
    Filtered,
    /// Moved on connections left out because their process is over its budget.
    Lowered,
    /// Moved by the agent itself.
    Own,
    /// Socket state could not be allocated, or the socket was closed meanwhile.
    NoState,
    /// Close records that found the ring buffer full, and those that say where a connection stands.
    CloseLost,
    /// Process records that found the ring buffer full.
    ProcessLost,
    /// Lost records that began like a request, received by a process (events only).
    LostRequestsIn,
    /// Lost records that began like a request, sent by a process (events only).
    LostRequestsOut,
    /// Lost records that began like a response (events only).
    LostResponses,
    /// Moved on connections of which no transfer was seen until they closed; with kprobes, sent over UNIX sockets.
    Unseen,
    /// Calls in progress beyond the number of threads that are remembered.
    ThreadsFull,
    /// Moved on connections that rest: exchanges like many before them, for which another one stands.
    Rested,
    /// Moved on connections that the kernel itself encrypts or decrypts, as on the wire; counted when they close.
    KernelTls,
    /// Runs that the kernel left out of one program, and another did instead.
    TakenOver,
    /// Moved while there was no room for the connection's state, where that is kept by the socket's address.
    StatesFull,
    /// Calls of more messages than are added up: of the others nobody knows how long they were.
    TooManyMessages,
    /// Moved on connections that carry TLS, as on the wire.
    Tls,
    /// Connections found to carry TLS (events only).
    TlsConnections,
    /// Plaintext of TLS sessions of which nobody knows the connection.
    TlsUnbound,
    /// TLS sessions that turned out to lie over another connection than was thought (events only).
    TlsRebound,
    /// Calls of a TLS library inside of which another session was used (events only).
    TlsNested,
    /// TLS sessions for whose state there was no room (events only).
    TlsSessionsFull,
}

impl Counter {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 33] = [
        Self::Captured,
        Self::RingFull,
        Self::Fault,
        Self::Capped,
        Self::Skipped,
        Self::OpaqueCall,
        Self::OutsideSyscall,
        Self::TooManyParts,
        Self::Discarded,
        Self::NotHttp,
        Self::NotHttpConnections,
        Self::Filtered,
        Self::Lowered,
        Self::Own,
        Self::NoState,
        Self::CloseLost,
        Self::ProcessLost,
        Self::LostRequestsIn,
        Self::LostRequestsOut,
        Self::LostResponses,
        Self::Unseen,
        Self::ThreadsFull,
        Self::Rested,
        Self::KernelTls,
        Self::TakenOver,
        Self::StatesFull,
        Self::TooManyMessages,
        Self::Tls,
        Self::TlsConnections,
        Self::TlsUnbound,
        Self::TlsRebound,
        Self::TlsNested,
        Self::TlsSessionsFull,
    ];

    /// Entries of the counter map: events at `2 * n`, bytes at `2 * n + 1`.
    pub const SLOTS: u32 = 2 * Self::ALL.len() as u32;

    /// The counter with this number.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Name as in metrics and `doctor`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::RingFull => "ring_full",
            Self::Fault => "fault",
            Self::Capped => "capped",
            Self::Skipped => "skipped",
            Self::OpaqueCall => "opaque_call",
            Self::OutsideSyscall => "outside_syscall",
            Self::TooManyParts => "too_many_parts",
            Self::Discarded => "discarded",
            Self::NotHttp => "not_http",
            Self::NotHttpConnections => "not_http_connections",
            Self::Filtered => "filtered",
            Self::Lowered => "lowered",
            Self::Own => "own",
            Self::NoState => "no_state",
            Self::CloseLost => "close_lost",
            Self::ProcessLost => "process_lost",
            Self::LostRequestsIn => "lost_requests_in",
            Self::LostRequestsOut => "lost_requests_out",
            Self::LostResponses => "lost_responses",
            Self::Unseen => "unseen",
            Self::ThreadsFull => "threads_full",
            Self::Rested => "rested",
            Self::KernelTls => "kernel_tls",
            Self::TakenOver => "taken_over",
            Self::StatesFull => "states_full",
            Self::TooManyMessages => "too_many_messages",
            Self::Tls => "tls",
            Self::TlsConnections => "tls_connections",
            Self::TlsUnbound => "tls_unbound",
            Self::TlsRebound => "tls_rebound",
            Self::TlsNested => "tls_nested",
            Self::TlsSessionsFull => "tls_sessions_full",
        }
    }

    /// Whether it counts something of an HTTP connection that should have been seen and was not.
    #[must_use]
    pub const fn is_loss(self) -> bool {
        !matches!(
            self,
            Self::Captured
                | Self::Capped
                | Self::Skipped
                | Self::NotHttp
                | Self::NotHttpConnections
                | Self::Filtered
                | Self::Lowered
                | Self::Own
                | Self::Discarded
                | Self::Rested
                | Self::TakenOver
                | Self::Tls
                | Self::TlsConnections
        )
    }

    /// What it means and what to do about it, one line.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Captured => "sent to the agent",
            Self::RingFull => "ring buffer full: raise capture.ring_bytes or give the agent more CPU",
            Self::Fault => "memory of the process not readable at that moment",
            Self::Capped => "beyond capture.turn_bytes of one message: bodies only, on purpose",
            Self::Skipped => "rest of large bodies, left out on purpose",
            Self::OpaqueCall => {
                "sendfile, splice and similar: bodies that never pass through readable memory"
            }
            Self::OutsideSyscall => "io_uring: not visible to this provider",
            Self::TooManyParts => "scattered buffers with more parts than are read",
            Self::Discarded => "read with MSG_TRUNC: thrown away by the process itself",
            Self::NotHttp => "other protocols",
            Self::NotHttpConnections => "connections of other protocols",
            Self::Filtered => "left out by a filter, or read at the other end, which is on this node too",
            Self::Lowered => "left out because the process would lose more time than harm.* allows",
            Self::Own => "the agent's own",
            Self::NoState => {
                "socket state not allocated: the kernel is out of memory, or the socket was closed meanwhile"
            }
            Self::CloseLost => "ends of connections not reported: ring buffer full",
            Self::ProcessLost => "process starts or exits not reported: ring buffer full",
            Self::LostRequestsIn => "requests among the lost records, at the server's end",
            Self::LostRequestsOut => "requests among the lost records, at the client's end",
            Self::LostResponses => "responses among the lost records, both ends",
            Self::Unseen => {
                "connections used in ways only that this provider does not see (io_uring, 32-bit calls, UNIX sockets with kprobe): any protocol"
            }
            Self::ThreadsFull => {
                "calls in progress beyond the number of threads that are remembered: raise capture.threads_max"
            }
            Self::Rested => {
                "exchanges like many before them, left out on purpose: one that is captured stands for them"
            }
            Self::KernelTls => "connections that the kernel itself encrypts (kTLS): any protocol",
            Self::TakenOver => {
                "runs that the kernel left out of one program and its spare did instead: nothing is missing"
            }
            Self::StatesFull => {
                "no room for the state of a connection (UNIX; TCP with kprobe and at system calls), any protocol: raise capture.states_max"
            }
            Self::TooManyMessages => {
                "calls that received more messages than are added up: how many bytes those were is not known"
            }
            Self::Tls => "connections that carry TLS, as on the wire",
            Self::TlsConnections => "connections found to carry TLS",
            Self::TlsUnbound => "plaintext of TLS sessions of which nobody knows the connection",
            Self::TlsRebound => {
                "sessions of TLS that turned out to lie over another connection than was thought"
            }
            Self::TlsNested => "calls of a TLS library inside of which another session was used",
            Self::TlsSessionsFull => "no room for the state of a TLS session: raise capture.tls_sessions_max",
        }
    }
}
