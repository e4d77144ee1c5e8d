//! Where bytes come from. The live kernel is one source; every source gives the same [`Event`]s.

pub mod ebpf;
pub mod file;
pub mod har;
pub mod pcap;

use agent_common::{Counter, Direction, Role, TlsFamily, Tuple};

use crate::attribution::{ExecFacts, ProcessHint};

/// What a source tells the tracker. Times are nanoseconds of the source's clock (live: monotonic).
#[derive(Debug)]
pub enum Event<'a> {
    /// A connection that looks like HTTP.
    Open(Open),
    /// Bytes.
    Chunk(Chunk<'a>),
    /// A TCP connection that carries TLS.
    TlsOpen(Open),
    /// Bytes of a handshake on it, as they went over the socket.
    TlsHello(Chunk<'a>),
    /// A connection's end.
    Close(Close),
    /// Where a connection stands that goes on.
    Report(Close),
    /// A process started a program.
    Exec(ExecFacts),
    /// A process ended.
    Exit {
        /// Process.
        pid: u32,
        /// Its start, boot-time clock.
        start_ns: u64,
    },
}

/// See [`agent_common::OpenRecord`].
#[derive(Clone, Debug)]
pub struct Open {
    /// Connection.
    pub connection: u64,
    /// When.
    pub time_ns: u64,
    /// Which end, if known.
    pub role: Role,
    /// First sequence numbers received and sent; `None` for a connection joined late.
    pub base: Option<[u32; 2]>,
    /// Addresses.
    pub tuple: Tuple,
    /// Of a UNIX connection only.
    pub unix: Option<Unix>,
    /// Of a TLS session only.
    pub session: Option<Session>,
    /// Process.
    pub owner: ProcessHint,
    /// Connections of its process that it stands for, itself included.
    pub weight: u32,
    /// No bytes of it follow: its process is over its budget.
    pub left_out: bool,
}

/// What only UNIX connections have. See [`agent_common::UnixOpenRecord`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unix {
    /// Name that the server is bound to, as in `sun_path`; empty for none.
    pub name: Vec<u8>,
    /// Process of the peer, by the credentials of its socket; 0 where there are none.
    pub peer_pid: u32,
}

/// What only TLS sessions have. See [`agent_common::TlsSessionRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The connection that carries it.
    pub socket: u64,
    /// Whose functions it goes through.
    pub family: TlsFamily,
}

/// See [`agent_common::ChunkHeader`].
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Connection.
    pub connection: u64,
    /// When.
    pub time_ns: u64,
    /// Which way, seen from the socket.
    pub direction: Direction,
    /// [`agent_common::chunk_flags`].
    pub flags: u8,
    /// Why less than `length` was captured; `None`: as the flags say.
    pub reason: Option<Counter>,
    /// Process.
    pub pid: u32,
    /// Not 0 where a turn begins while the connection rests: turns that it stands for, itself included.
    pub stands_for: u32,
    /// Sequence number of the first byte.
    pub offset: u32,
    /// Stream bytes, at least `data.len()`.
    pub length: u32,
    /// The first of them.
    pub data: &'a [u8],
}

/// See [`agent_common::CloseRecord`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Close {
    /// Connection.
    pub connection: u64,
    /// When.
    pub time_ns: u64,
    /// Sequence numbers after the last byte read and written, a FIN not counted.
    pub end: [u32; 2],
    /// Bytes received that the process has not read; it still may.
    pub unread: u32,
    /// About how many bytes were read and written, however many; 0 where nobody counted.
    pub moved: [u64; 2],
    /// Bytes of records that were lost before they came here, received and sent, modulo 2^32.
    pub lost: [u32; 2],
    /// Bytes that went by while the connection rested, received and sent.
    pub rested_bytes: [u64; 2],
    /// Turns that went by while it rested, since the last one that was told or stands for others.
    pub rested: u32,
    /// Nothing was captured of what went by last, because it rested.
    pub rests: bool,
}
