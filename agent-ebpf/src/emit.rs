//! Building records in the ring buffer.
//!
//! Reserved in a few size classes and filled in place: no copy, no scratch, no wakeup (the agent drains on a timer).

use core::mem::MaybeUninit;

use agent_common::{
    CHUNK_BYTES_MAX, ChunkHeader, CloseRecord, Counter, Direction, Kind, OpenRecord, SNIFF_BYTES, Sniff,
    chunk_flags, close_flags, open_flags, sniff,
};
use aya_ebpf::helpers::{bpf_ktime_get_ns, generated::bpf_probe_read_user};

use crate::{
    connection::{Connection, flags, mode},
    count::count,
    filter,
    kernel::{OFF_TCP_BYTES_ACKED, OFF_TCP_BYTES_RECEIVED, OFF_TCP_BYTES_SENT, OFF_TCP_WRITE_SEQ, Socket},
    maps::EVENTS,
    owner,
};

/// `BPF_RB_NO_WAKEUP`.
pub const NO_WAKEUP: u64 = 1;

/// A run of bytes in the process's memory.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Piece {
    /// Connection's cookie.
    pub cookie: u64,
    /// Bytes to capture, at most `CHUNK_BYTES_MAX`.
    pub bytes: u32,
    /// Stream bytes that the record stands for, at least `bytes`.
    pub length: u32,
    /// Sequence number of the first.
    pub offset: u32,
    /// `Direction`.
    pub direction: u8,
    /// `chunk_flags`.
    pub flags: u8,
    /// Why less than `length` is captured, as in the record.
    pub reason: u8,
    /// Not 0: bytes of a TLS handshake.
    pub is_hello: u8,
}

/// Writes the header of a record in which nothing is captured yet.
///
/// # Safety
/// `header` must be valid for writes; it may be uninitialised.
#[inline(always)]
unsafe fn describe(header: *mut ChunkHeader, piece: &Piece, stands_for: u32) {
    // SAFETY: by the caller.
    unsafe {
        (*header).kind = if piece.is_hello == 0 {
            Kind::Chunk as u8
        } else {
            Kind::TlsHello as u8
        };
        (*header).direction = piece.direction;
        (*header).flags = piece.flags;
        (*header).reason = piece.reason;
        (*header).captured = 0;
        (*header).connection = piece.cookie;
        (*header).time_ns = bpf_ktime_get_ns();
        (*header).pid = owner::pid();
        (*header).offset = piece.offset;
        (*header).length = piece.length;
        (*header).stands_for = stands_for;
    }
}

/// What became of a piece.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Sent {
    /// It is on its way.
    Yes,
    /// So it is, and it begins like a response that switches protocols.
    Switching,
    /// There was no room.
    No,
}

/// First twelve bytes of a response that switches protocols (RFC 9110, 15.2.2).
const SWITCHING: [u32; 3] = [
    u32::from_le_bytes(*b"HTTP"),
    u32::from_le_bytes(*b"/1.1"),
    u32::from_le_bytes(*b" 101"),
];

#[inline(always)]
fn fill<const N: usize>(piece: &Piece, stands_for: u32, address: u64) -> Sent {
    let Some(mut record) = EVENTS.reserve_bytes(size_of::<ChunkHeader>() + N, 0) else {
        return Sent::No;
    };
    let mut sent = Sent::Yes;
    let start = record.as_mut_ptr();
    let header = start.cast::<ChunkHeader>();
    // SAFETY: the reservation holds a header (ring records are eight-byte aligned) and N bytes.
    unsafe {
        describe(header, piece, stands_for);
        if N > 0 {
            // Clamped, hidden from the optimiser, then masked: the form of a bound that the verifiers of all kernels accept.
            let wanted = u64::from(piece.bytes);
            let most = N as u64 - 1;
            let bytes = core::hint::black_box(if wanted > most { most } else { wanted }) & most;
            let payload = start.add(size_of::<ChunkHeader>());
            if bpf_probe_read_user(payload.cast(), bytes as u32, address as *const _) == 0 {
                (*header).captured = bytes as u32;
                count(Counter::Captured, bytes);
                // Of shorter ones the bytes compared may be those of an older record: then too much is captured, until the agent says so.
                let first = payload.cast::<u32>();
                if *first == SWITCHING[0] && *first.add(1) == SWITCHING[1] && *first.add(2) == SWITCHING[2] {
                    sent = Sent::Switching;
                }
            } else {
                (*header).flags |= chunk_flags::FAULT;
                (*header).reason = Counter::Fault as u8 + 1;
                count(Counter::Fault, bytes);
            }
        }
    }
    record.submit(NO_WAKEUP);
    sent
}

impl Piece {
    /// Which way it goes.
    #[inline(always)]
    pub const fn direction(&self) -> Direction {
        if self.direction == Direction::In as u8 {
            Direction::In
        } else {
            Direction::Out
        }
    }

    /// The same in four numbers, the only arguments of global functions that the verifiers of all kernels know.
    #[inline(always)]
    fn packed(&self) -> [u64; 4] {
        [
            self.cookie,
            u64::from(self.bytes) << 32 | u64::from(self.length),
            u64::from(self.offset),
            u64::from(self.is_hello) << 24
                | u64::from(self.reason) << 16
                | u64::from(self.flags) << 8
                | u64::from(self.direction),
        ]
    }

    #[inline(always)]
    const fn unpacked([cookie, bytes, offset, kind]: [u64; 4]) -> Self {
        Self {
            cookie,
            bytes: (bytes >> 32) as u32,
            length: bytes as u32,
            offset: offset as u32,
            direction: kind as u8,
            flags: (kind >> 8) as u8,
            reason: (kind >> 16) as u8,
            is_hello: (kind >> 24) as u8,
        }
    }

    /// Sends it, its first byte being at a user address that is not read when `bytes` is 0, or counts it as lost. `stands_for` as in the
    /// record.
    #[inline(always)]
    pub fn send(&self, address: u64, stands_for: u32) -> Sent {
        let [cookie, bytes, offset, kind] = self.packed();
        let offset = u64::from(stands_for) << 32 | offset;
        match send_piece(address, cookie, bytes, offset, kind) {
            sent if sent == Sent::Yes as u32 => Sent::Yes,
            sent if sent == Sent::Switching as u32 => Sent::Switching,
            _ => {
                turn_away(address, bytes, kind);
                Sent::No
            }
        }
    }

    /// Counts it as one for which there is no room.
    #[inline(always)]
    pub fn turn_away(&self, address: u64) {
        let [_, bytes, _, kind] = self.packed();
        turn_away(address, bytes, kind);
    }
}

/// See [`Piece::send`]; a [`Sent`] as a number. A global function: verified once, by itself, instead of again for each state of each
/// caller.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_piece(address: u64, cookie: u64, bytes: u64, offset: u64, kind: u64) -> u32 {
    let piece = &Piece::unpacked([cookie, bytes, offset, kind]);
    let stands_for = (offset >> 32) as u32;
    let sent = match piece.bytes {
        0 => fill::<0>(piece, stands_for, address),
        1..256 => fill::<256>(piece, stands_for, address),
        256..512 => fill::<512>(piece, stands_for, address),
        512..1024 => fill::<1024>(piece, stands_for, address),
        1024..4096 => fill::<4096>(piece, stands_for, address),
        _ => fill::<{ CHUNK_BYTES_MAX + 1 }>(piece, stands_for, address),
    };
    sent as u32
}

/// See [`Piece::turn_away`]; whether a message began with it is counted too. Always 0: global functions return a number. Takes
/// only what it uses: the compiler would not load the registers of other arguments, which the verifier would refuse.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn turn_away(address: u64, bytes: u64, kind: u64) -> u32 {
    let piece = Piece::unpacked([0, bytes, 0, kind]);
    count(Counter::RingFull, u64::from(piece.length));
    if piece.bytes == 0 {
        return 0;
    }
    let seen = sniff_at(address, u64::from(piece.bytes), u64::from(piece.bytes));
    if seen == Sniff::Response as u32 {
        count(Counter::LostResponses, 0);
    } else if seen == Sniff::Request as u32 {
        count(
            match piece.direction() {
                Direction::In => Counter::LostRequestsIn,
                Direction::Out => Counter::LostRequestsOut,
            },
            0,
        );
    }
    0
}

/// What the first bytes at a user address look like: a `Sniff` as a number. There is `room` for more than the `length` bytes
/// of the transfer, or less: a receive buffer, or the first part of a scattered one. Global, as `send_piece`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sniff_at(address: u64, room: u64, length: u64) -> u32 {
    let mut words = MaybeUninit::<[u64; SNIFF_BYTES / size_of::<u64>()]>::uninit();
    let start = words.as_mut_ptr();
    // Word by word: a call that clears them would take 32 bytes more of a stack that some kernels find too long.
    // SAFETY: a local, as long as the bytes.
    let bytes = unsafe {
        (&raw mut (*start)[0]).write_volatile(0);
        (&raw mut (*start)[1]).write_volatile(0);
        &mut *start.cast::<[u8; SNIFF_BYTES]>()
    };
    let most = SNIFF_BYTES as u64 - 1;
    let available = if room < length { room } else { length };
    let length = core::hint::black_box(if available > most { most } else { available }) & most;
    // SAFETY: the helper checks the address; `length` is less than the array's.
    let read = unsafe { bpf_probe_read_user(bytes.as_mut_ptr().cast(), length as u32, address as *const _) };
    if read == 0 {
        sniff(bytes, length as u32) as u32
    } else {
        Sniff::Other as u32
    }
}

/// Announces a connection. False when the ring buffer is full.
#[inline(never)]
pub fn open<const TRUSTED: bool>(socket: Socket<TRUSTED>, connection: &mut Connection) -> bool {
    let Some(mut record) = EVENTS.reserve_bytes(size_of::<OpenRecord>(), 0) else {
        return false;
    };
    let open = record.as_mut_ptr().cast::<OpenRecord>();
    // SAFETY: the reservation is as large as the record and eight-byte aligned.
    unsafe {
        (*open).kind = if connection.mode == mode::TLS {
            Kind::TlsOpen as u8
        } else {
            Kind::Open as u8
        };
        announce(open, connection);
        filter::write_tuple(socket, &raw mut (*open).tuple);
    }
    record.submit(NO_WAKEUP);
    connection.flags |= flags::ANNOUNCED;
    true
}

/// Writes what does not depend on the kind of the socket: all but kind and tuple.
///
/// # Safety
/// `open` must be valid for writes; it may be uninitialised.
#[inline(always)]
pub unsafe fn announce(open: *mut OpenRecord, connection: &Connection) {
    // SAFETY: by the caller.
    unsafe {
        (*open).role = connection.role;
        (*open).flags = if connection.flags & flags::FRESH != 0 {
            open_flags::FRESH
        } else {
            0
        } | if connection.flags & flags::LEFT_OUT != 0 {
            open_flags::LEFT_OUT
        } else {
            0
        };
        (*open).weight = connection.weight;
        (*open).send_base = connection.base[Direction::Out as usize];
        (*open).connection = connection.cookie;
        (*open).time_ns = bpf_ktime_get_ns();
        (*open).receive_base = connection.base[Direction::In as usize];
        owner::write(&raw mut (*open).owner);
    }
}

/// Byte counts of a connection.
pub struct Totals {
    /// Sequence numbers after the last byte read and written.
    pub end: [u32; 2],
    /// Bytes received and not read.
    pub unread: u32,
    /// `tcp_sock` counters.
    pub bytes_sent: u64,
    /// `tcp_sock` counters.
    pub bytes_received: u64,
    /// `tcp_sock` counters.
    pub bytes_acked: u64,
}

impl Totals {
    /// Of a socket now; `tcp` is what `as_tcp` gave, `fin` the sequence numbers that a FIN sent takes.
    #[inline(always)]
    pub fn of<const TRUSTED: bool>(socket: Socket<TRUSTED>, tcp: u64, fin: u32) -> Self {
        let (read, received) = socket.received(tcp);
        let written: u32 = Socket::<TRUSTED>::tcp_field(tcp, OFF_TCP_WRITE_SEQ.load());
        Self {
            end: [read, written.wrapping_sub(fin)],
            unread: received.wrapping_sub(read),
            bytes_sent: Socket::<TRUSTED>::tcp_field(tcp, OFF_TCP_BYTES_SENT.load()),
            bytes_received: Socket::<TRUSTED>::tcp_field(tcp, OFF_TCP_BYTES_RECEIVED.load()),
            bytes_acked: Socket::<TRUSTED>::tcp_field(tcp, OFF_TCP_BYTES_ACKED.load()),
        }
    }
}

/// Reports the end of a connection; with `close_flags::GOES_ON`, where it stands. False when the ring buffer is full.
#[inline(always)]
pub fn close(connection: &Connection, totals: &Totals, flags: u8) -> bool {
    let Some(mut record) = EVENTS.reserve_bytes(size_of::<CloseRecord>(), 0) else {
        count(Counter::CloseLost, 0);
        return false;
    };
    let close = record.as_mut_ptr().cast::<CloseRecord>();
    // SAFETY: the reservation is as large as the record and eight-byte aligned.
    unsafe {
        (*close).kind = Kind::Close as u8;
        (*close).flags = if connection.passed != 0 {
            flags | close_flags::RESTED
        } else {
            flags
        };
        (*close).reserved = [0; 2];
        (*close).send_end = totals.end[Direction::Out as usize];
        (*close).connection = connection.cookie;
        (*close).time_ns = bpf_ktime_get_ns();
        (*close).bytes_sent = totals.bytes_sent;
        (*close).bytes_received = totals.bytes_received;
        (*close).bytes_acked = totals.bytes_acked;
        (*close).receive_end = totals.end[Direction::In as usize];
        (*close).unread = totals.unread;
        (*close).lost = connection.lost;
        (*close).rested_bytes = connection.rested_bytes;
        (*close).rested = connection.rested;
        (*close).reserved2 = 0;
    }
    record.submit(NO_WAKEUP);
    true
}

/// Says where a connection stands that goes on.
#[inline(never)]
pub fn report<const TRUSTED: bool>(socket: Socket<TRUSTED>, connection: &mut Connection) {
    let tcp = socket.as_tcp();
    if tcp != 0
        && connection.flags & flags::ANNOUNCED != 0
        && close(connection, &Totals::of(socket, tcp, 0), close_flags::GOES_ON)
    {
        connection.rested = 0;
    }
}
