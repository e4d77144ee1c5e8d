//! Records in the ring buffer. The first byte of each is its [`Kind`].

use core::mem::{offset_of, size_of};

/// What a record is; its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// [`ChunkHeader`] and payload.
    Chunk = 1,
    /// [`OpenRecord`].
    Open = 2,
    /// [`CloseRecord`].
    Close = 3,
    /// [`ExecRecord`].
    Exec = 4,
    /// [`ExitRecord`].
    Exit = 5,
    /// [`UnixOpenRecord`].
    UnixOpen = 6,
    /// [`OpenRecord`] of a TCP connection that carries TLS: none of its bytes follow but those of [`Self::TlsHello`].
    TlsOpen = 7,
    /// [`ChunkHeader`] and payload: TLS records of a handshake, as they went over the socket; at most [`TLS_HELLO_BYTES_MAX`] bytes.
    TlsHello = 8,
    /// [`TlsSessionRecord`].
    TlsSession = 9,
}

impl Kind {
    /// The kind with this number.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Chunk,
            2 => Self::Open,
            3 => Self::Close,
            4 => Self::Exec,
            5 => Self::Exit,
            6 => Self::UnixOpen,
            7 => Self::TlsOpen,
            8 => Self::TlsHello,
            9 => Self::TlsSession,
            _ => return None,
        })
    }
}

/// Which way bytes went, seen from the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// Received by the process.
    In = 0,
    /// Sent by the process.
    Out = 1,
}

impl Direction {
    /// The other one.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::In => Self::Out,
            Self::Out => Self::In,
        }
    }
}

/// Which end of the connection the socket is, as far as the kernel knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// Not known (connection older than the agent).
    Unknown = 0,
    /// Connected actively.
    Client = 1,
    /// Accepted.
    Server = 2,
}

/// Bits of [`ChunkHeader::flags`].
pub mod chunk_flags {
    /// The other direction carried bytes since this direction's previous record.
    pub const TURN_START: u8 = 1;
    /// Not all bytes of `length` were captured because the turn's byte limit was reached.
    pub const CAPPED: u8 = 2;
    /// … because the bytes never were in the process's memory, or the way in is one that cannot be read (sendfile, splice).
    pub const OPAQUE: u8 = 4;
    /// … because the process's memory could not be read.
    pub const FAULT: u8 = 8;
    /// … because user space asked to skip them.
    pub const SKIPPED: u8 = 16;
    /// With [`TURN_START`]: since the record before, turns of both directions went by, of which nothing was captured because the connection
    /// rests.
    pub const RESTED: u8 = 32;
}

/// Payload sizes for which the ring buffer is reserved; a chunk takes the smallest that is larger than its payload.
pub const CHUNK_CLASSES: [usize; 6] = [0, 256, 512, 1024, 4096, 16384];
/// Most payload bytes of one chunk. A transfer of more becomes several chunks. One less than the largest class: a length below a
/// power of two is a bound that the verifiers of all kernels understand.
pub const CHUNK_BYTES_MAX: usize = 16383;

/// Bytes that went over one connection in one direction. Followed by `captured` payload bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ChunkHeader {
    /// [`Kind::Chunk`].
    pub kind: u8,
    /// [`Direction`].
    pub direction: u8,
    /// [`chunk_flags`].
    pub flags: u8,
    /// Why not all bytes of `length` were captured: 1 + [`Counter`](crate::Counter). 0: all were, or the flags tell.
    pub reason: u8,
    /// Payload bytes that follow, at most [`CHUNK_BYTES_MAX`].
    pub captured: u32,
    /// Connection: the socket's cookie.
    pub connection: u64,
    /// Monotonic clock, nanoseconds.
    pub time_ns: u64,
    /// Process (thread group) that moved the bytes.
    pub pid: u32,
    /// Low 32 bits of the TCP sequence number of the first byte: the stream offset up to a constant.
    pub offset: u32,
    /// Stream bytes that this record stands for; those after the first `captured` were not captured.
    pub length: u32,
    /// Not 0 where a turn begins on a connection that rests ([`Mode::Rest`](crate::Mode::Rest)): turns of this direction that it stands
    /// for, itself and those since the last one that was captured.
    pub stands_for: u32,
}

/// Addresses of a connection, as the socket sees it. IPv4 as v4-mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Tuple {
    /// Local address.
    pub local: [u8; 16],
    /// Peer's address.
    pub remote: [u8; 16],
    /// Local port, host order.
    pub local_port: u16,
    /// Peer's port, host order.
    pub remote_port: u16,
}

/// Who a process is, as the kernel knows at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Owner {
    /// Process (thread group) id in the host's pid namespace.
    pub pid: u32,
    /// Parent's.
    pub parent_pid: u32,
    /// Start of the process on the boot-time clock, nanoseconds.
    pub start_ns: u64,
    /// cgroup v2 id.
    pub cgroup: u64,
    /// Real user id.
    pub uid: u32,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Command name, NUL-padded.
    pub comm: [u8; 16],
}

/// Bits of [`OpenRecord::flags`].
pub mod open_flags {
    /// The socket was seen from its establishment: stream offsets start at `send_base`, `receive_base`.
    pub const FRESH: u8 = 1;
    /// No bytes of it follow: its process is over its budget.
    pub const LEFT_OUT: u8 = 2;
}

/// A connection that looks like HTTP; comes before its first chunk, and again when its weight changes or it is left out.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct OpenRecord {
    /// [`Kind::Open`].
    pub kind: u8,
    /// [`Role`].
    pub role: u8,
    /// [`open_flags`].
    pub flags: u8,
    /// Connections of its process that it stands for, itself included; 0 is 1.
    pub weight: u8,
    /// Sequence number of the first byte ever sent, when fresh.
    pub send_base: u32,
    /// Connection: the socket's cookie.
    pub connection: u64,
    /// Monotonic clock, nanoseconds.
    pub time_ns: u64,
    /// Sequence number of the first byte ever received, when fresh.
    pub receive_base: u32,
    /// Addresses.
    pub tuple: Tuple,
    /// Process that used the socket when it was first seen.
    pub owner: Owner,
}

/// The bytes that a [`Tuple`] of a UNIX connection begins with, in both addresses: no network uses such (RFC 6666 discards them).
pub const UNIX_ADDRESS: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];

/// Bit of the ids of UNIX connections. Cookies of sockets have neither it nor the one above, and names that stand for a cookie have the one
/// above. The low half is the number of the socket's inode, and between them is when it was joined, if that was late.
pub const UNIX_CONNECTION: u64 = 1 << 62;

/// Room for the name of a UNIX socket. A power of two; names have 108 bytes at most.
pub const UNIX_NAME_ROOM: usize = 128;

/// As [`OpenRecord`], of a UNIX connection.
///
/// Its [`Tuple`] names no addresses: after [`UNIX_ADDRESS`] both hold the number of the connection, the ports which end it is (1 or 2).
/// So the tuples of both ends mirror each other as those of TCP do.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct UnixOpenRecord {
    /// Its kind is [`Kind::UnixOpen`]. Streams begin at 0 when fresh.
    pub open: OpenRecord,
    /// Process (thread group) of the peer, in the host's pid namespace, as the peer's credentials say: who connected, or who called
    /// `listen`. 0 if there is none.
    pub peer_pid: u32,
    /// Bytes used of `name`; 0 for a connection without a name (socketpair).
    pub name_bytes: u32,
    /// `sun_path` of the server's address: a path, or NUL and an abstract name.
    pub name: [u8; UNIX_NAME_ROOM],
}

/// Most bytes of one transfer of a handshake that are sent ([`Kind::TlsHello`]).
pub const TLS_HELLO_BYTES_MAX: usize = 4095;

/// Bit of the ids of TLS sessions. No other id of a connection has it as its highest one.
pub const TLS_SESSION: u64 = 1 << 61;

/// Whether an id is that of a TLS session.
#[inline(always)]
#[must_use]
pub const fn is_tls_session(id: u64) -> bool {
    id / TLS_SESSION == 1
}

/// Whose functions a TLS session goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TlsFamily {
    /// OpenSSL, and what has its interface: BoringSSL, LibreSSL.
    OpenSsl = 1,
    /// GnuTLS.
    GnuTls = 2,
    /// NSS.
    Nss = 3,
    /// `crypto/tls` of Go.
    Go = 4,
}

impl TlsFamily {
    /// The family with this number.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::OpenSsl,
            2 => Self::GnuTls,
            3 => Self::Nss,
            4 => Self::Go,
            _ => return None,
        })
    }
}

/// A TLS session whose plaintext looks like HTTP. To user space it is a connection over a connection: with an id of its own
/// ([`TLS_SESSION`]), whose chunks and close are those of its plaintext, counted from 0 in each direction when it is fresh.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TlsSessionRecord {
    /// Its kind is [`Kind::TlsSession`]; role and addresses are those of the socket below.
    pub open: OpenRecord,
    /// Cookie of the socket below.
    pub socket: u64,
    /// [`TlsFamily`].
    pub family: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

/// Bits of [`CloseRecord::flags`].
pub mod close_flags {
    /// The connection goes on: user space asked where it stands.
    pub const GOES_ON: u8 = 1;
    /// The latest turns went by and nothing was captured of them, because the connection rests.
    pub const RESTED: u8 = 2;
}

/// Where a connection that was announced by an [`OpenRecord`] stands: at its end, or when user space asks
/// ([`Mode::Report`](crate::Mode::Report)).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CloseRecord {
    /// [`Kind::Close`].
    pub kind: u8,
    /// [`close_flags`].
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// Sequence number after the last byte written by the process, a FIN not counted.
    pub send_end: u32,
    /// Connection: the socket's cookie.
    pub connection: u64,
    /// Monotonic clock, nanoseconds.
    pub time_ns: u64,
    /// `tcp_sock.bytes_sent`, retransmissions included.
    pub bytes_sent: u64,
    /// `tcp_sock.bytes_received`; a FIN counts one.
    pub bytes_received: u64,
    /// `tcp_sock.bytes_acked`; a FIN and an active opener's SYN count one each.
    pub bytes_acked: u64,
    /// Sequence number after the last byte read by the process, a FIN not counted.
    pub receive_end: u32,
    /// Bytes received that the process has not read yet; it still may.
    pub unread: u32,
    /// Bytes of records that found the ring buffer full since the socket has been known, received and sent, modulo 2^32.
    pub lost: [u32; 2],
    /// Bytes of turns of which nothing was captured because the connection rested, received and sent, since the socket has been known.
    pub rested_bytes: [u64; 2],
    /// Such turns that no record has stood for yet, and no earlier one of these.
    pub rested: u32,
    /// Zero.
    pub reserved2: u32,
}

/// Most bytes of an executable's path in an [`ExecRecord`].
pub const EXEC_FILE_BYTES: usize = 256;
/// Most bytes of arguments in an [`ExecRecord`].
pub const EXEC_ARGS_BYTES: usize = 512;

/// A process started a program.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ExecRecord {
    /// [`Kind::Exec`].
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Bytes used of `file`, without its NUL.
    pub file_bytes: u16,
    /// Bytes used of `args`.
    pub args_bytes: u16,
    /// Monotonic clock, nanoseconds.
    pub time_ns: u64,
    /// The process.
    pub owner: Owner,
    /// Path as given to execve.
    pub file: [u8; EXEC_FILE_BYTES],
    /// Arguments, each ended by NUL.
    pub args: [u8; EXEC_ARGS_BYTES],
}

/// A process ended.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ExitRecord {
    /// [`Kind::Exit`].
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Process id.
    pub pid: u32,
    /// As [`Owner::start_ns`].
    pub start_ns: u64,
    /// Monotonic clock, nanoseconds.
    pub time_ns: u64,
}

const _: () = {
    assert!(size_of::<ChunkHeader>() == 40 && offset_of!(ChunkHeader, connection) == 8);
    assert!(offset_of!(ChunkHeader, pid) == 24 && offset_of!(ChunkHeader, length) == 32);
    assert!(size_of::<Tuple>() == 36 && offset_of!(Tuple, local_port) == 32);
    assert!(size_of::<Owner>() == 48 && offset_of!(Owner, uid) == 24 && offset_of!(Owner, comm) == 32);
    assert!(size_of::<OpenRecord>() == 112 && offset_of!(OpenRecord, tuple) == 28);
    assert!(offset_of!(OpenRecord, owner) == 64);
    assert!(size_of::<UnixOpenRecord>() == 248 && offset_of!(UnixOpenRecord, peer_pid) == 112);
    assert!(offset_of!(UnixOpenRecord, name) == 120);
    assert!(size_of::<TlsSessionRecord>() == 128 && offset_of!(TlsSessionRecord, socket) == 112);
    assert!(size_of::<CloseRecord>() == 88 && offset_of!(CloseRecord, unread) == 52);
    assert!(offset_of!(CloseRecord, rested_bytes) == 64 && offset_of!(CloseRecord, rested) == 80);
    assert!(
        size_of::<ExecRecord>() == 64 + EXEC_FILE_BYTES + EXEC_ARGS_BYTES
            && offset_of!(ExecRecord, file) == 64
    );
    assert!(size_of::<ExitRecord>() == 24);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_apart() {
        assert!(is_tls_session(TLS_SESSION));
        assert!(is_tls_session(TLS_SESSION | (TLS_SESSION - 1)));
        // A cookie, a UNIX connection, a name that stands for a cookie: its lower bits are anybody's.
        for other in [
            0,
            4_711,
            UNIX_CONNECTION,
            UNIX_CONNECTION | TLS_SESSION,
            1 << 63 | TLS_SESSION,
            u64::MAX,
        ] {
            assert!(!is_tls_session(other), "{other:#x}");
        }
    }
}
