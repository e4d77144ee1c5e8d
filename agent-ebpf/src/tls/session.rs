//! Sessions: which connection lies below, what moved over them, when they are over.

use agent_common::{Counter, Direction, TLS_SESSION, Tuple};
use aya_ebpf::{EbpfContext, helpers::bpf_get_current_pid_tgid, helpers::generated::bpf_ktime_get_ns};

use super::stream::Session;
use crate::{
    account,
    connection::{Connection, flags},
    count::count,
    emit::{self, Totals},
    filter,
    kernel::Socket,
    maps::{BLANK_SESSION, TLS_CALLS, TLS_SESSIONS},
    owner,
    place::Place,
    transfer,
};

/// What names a session to the programs: its object in the memory of its process.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Key {
    /// Address of the object.
    pub ssl: u64,
    /// Process (thread group).
    pub pid: u32,
    pub reserved: u32,
}

/// State of a session.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct State {
    /// Its stream. What it says of sequence numbers are places of the plaintext.
    pub connection: Connection,
    /// Cookie of the connection below.
    pub socket: u64,
    /// Addresses of that.
    pub tuple: Tuple,
    /// `TlsFamily`.
    pub family: u32,
}

/// Sessions' objects lie at multiples of 16 bytes.
const NAME_ADDRESS_SHIFT: u32 = 4;
/// About a microsecond.
const NAME_TIME_SHIFT: u32 = 10;
/// Six days.
const NAME_TIME_BITS: u32 = 39;

/// What names a session to user space: when it began and where, as far as there is room below [`TLS_SESSION`].
#[inline(always)]
fn name(ssl: u64) -> u64 {
    // SAFETY: a helper without arguments.
    let time = (unsafe { bpf_ktime_get_ns() } >> NAME_TIME_SHIFT) & ((1 << NAME_TIME_BITS) - 1);
    let place = ssl >> NAME_ADDRESS_SHIFT << NAME_TIME_BITS & (TLS_SESSION - 1);
    TLS_SESSION | place | time
}

/// Bytes went over a connection that carries TLS: if the thread is inside of a call of a TLS library, that call is about this connection.
#[inline(always)]
pub fn nested<const TRUSTED: bool>(socket: Socket<TRUSTED>, connection: &mut Connection) {
    let thread = bpf_get_current_pid_tgid();
    let is_first = connection.is_used == 0;
    connection.is_used = 1;
    let Some(call) = TLS_CALLS.get_ptr(thread) else {
        let [candidate, how] = core::mem::take(&mut connection.moved);
        if candidate != 0 && connection.ssl == 0 {
            tls_clear(&raw mut *connection, candidate);
            tls_bind(socket.number(), &raw mut *connection, candidate, how);
        }
        return;
    };
    // SAFETY: a live map value, of this thread alone.
    let call = unsafe { &*call };
    if connection.ssl != call.ssl || connection.ssl_pid != (thread >> 32) as u32 {
        let family = u64::from(call.family) << 1 | u64::from(is_first);
        tls_clear(&raw mut *connection, call.ssl);
        tls_bind(socket.number(), &raw mut *connection, call.ssl, family);
    }
}

/// Ends what a session and a connection were joined with before they are joined with each other. Always 0: global, as the functions of
/// `turn`; by itself, for the stack is short.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tls_clear(connection: *mut Connection, ssl: u64) -> u32 {
    // SAFETY: a live map value; the verifier checks that.
    let Some(connection) = (unsafe { connection.as_mut() }) else {
        return 0;
    };
    let pid = owner::pid();
    if connection.ssl != 0 {
        // What was thought to be above this connection is not, or no more.
        count(Counter::TlsRebound, 0);
        tls_over(connection.ssl, connection.ssl_pid.into(), connection.cookie);
    }
    let key = Key {
        ssl,
        pid,
        reserved: 0,
    };
    if let Some(known) = TLS_SESSIONS.get_ptr(key) {
        // SAFETY: a live map value.
        let below = unsafe { (*known).socket };
        if below != connection.cookie {
            // That one is not closed: it would have ended the session.
            count(Counter::TlsRebound, 0);
            tls_over(ssl, pid.into(), 0);
        }
    }
    0
}

/// Joins a session and the connection below it; `how` is twice the `TlsFamily`, and 1 more where the connection has just begun. Always 0:
/// global, as the functions of `turn`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tls_bind(socket: u64, connection: *mut Connection, ssl: u64, how: u64) -> u32 {
    // SAFETY: a live map value; the verifier checks that.
    let Some(connection) = (unsafe { connection.as_mut() }) else {
        return 0;
    };
    let pid = owner::pid();
    let key = Key {
        ssl,
        pid,
        reserved: 0,
    };
    connection.ssl = ssl;
    connection.ssl_pid = pid;
    let Some(blank) = BLANK_SESSION.get_ptr(0) else {
        return 0;
    };
    // By reference: a copy would take the stack.
    // SAFETY: a live map value, which nobody writes.
    let blank = unsafe { &*blank };
    if TLS_SESSIONS.insert(key, blank, 0).is_err() {
        count(Counter::TlsSessionsFull, 0);
        return 0;
    }
    let Some(state) = TLS_SESSIONS.get_ptr_mut(key) else {
        return 0;
    };
    // SAFETY: a live map value; whoever else finds it before it is filled sees a stream that has not begun.
    let state = unsafe { &mut *state };
    state.socket = connection.cookie;
    state.family = (how >> 1) as u32;
    state.connection.cookie = name(ssl);
    state.connection.role = connection.role;
    state.connection.flags = if how & 1 != 0 && connection.flags & flags::FRESH != 0 {
        flags::FRESH
    } else {
        0
    };
    state.connection.begin();
    // SAFETY: a field of a live map value.
    unsafe { filter::write_tuple(Socket::<false>(socket), &raw mut state.tuple) };
    0
}

/// What a call moved.
pub struct Moved {
    /// The session's object.
    pub ssl: u64,
    /// Plaintext.
    pub buffer: u64,
    /// Bytes, more than 0.
    pub bytes: u64,
    /// By the process, or to it.
    pub is_sent: bool,
    /// They never were in the process's memory.
    pub is_opaque: bool,
}

/// What the kernel takes to get to the probes of a call, at its entry and at its return, and back, nanoseconds: published figures are 1.3
/// and 1.9 µs. The process pays for it, and no program sees it.
const TRAPS_NS: u64 = 3_200;

/// Most bytes that one call moves: more is a result that nobody understands.
const BYTES_MAX: u64 = 1 << 30;

/// A call ended that moved plaintext.
#[inline(always)]
pub fn moved(ctx: &impl EbpfContext, moved: &Moved) {
    let key = Key {
        ssl: moved.ssl,
        pid: owner::pid(),
        reserved: 0,
    };
    let bytes = moved.bytes;
    let Some(state) = TLS_SESSIONS.get_ptr_mut(key) else {
        return count(Counter::TlsUnbound, bytes);
    };
    if bytes > BYTES_MAX {
        return count(Counter::Fault, bytes);
    }
    let direction = if moved.is_sent {
        Direction::Out
    } else {
        Direction::In
    };
    // SAFETY: a live map value; see `Connection` on concurrent changes.
    let connection = unsafe { &mut (*state).connection };
    connection.touch();
    let sum = &mut connection.moved[crate::connection::index(direction)];
    *sum = sum.wrapping_add(bytes);
    let begun = account::begin(connection);
    let place = || {
        if moved.is_opaque {
            Place::Opaque(Counter::OpaqueCall)
        } else {
            Place::Flat {
                address: moved.buffer,
                room: bytes,
            }
        }
    };
    transfer::capture(ctx, Session(state), bytes as u32, direction, connection, place);
    if begun != 0 {
        account::charge(begun.wrapping_sub(TRAPS_NS), bytes);
    }
}

/// Counts of a session's stream.
#[inline(always)]
pub fn totals(connection: &Connection) -> Totals {
    let [received, sent] = connection.moved;
    Totals {
        end: [received as u32, sent as u32],
        unread: 0,
        bytes_sent: sent,
        bytes_received: received,
        bytes_acked: sent,
    }
}

/// A session is over, if it lies above the connection with this cookie (0: whichever). Always 0: global, as the functions of `turn`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tls_over(ssl: u64, pid: u64, socket: u64) -> u32 {
    let key = Key {
        ssl,
        pid: pid as u32,
        reserved: 0,
    };
    let Some(state) = TLS_SESSIONS.get_ptr(key) else {
        return 0;
    };
    // SAFETY: a live map value.
    let state = unsafe { &*state };
    if socket != 0 && state.socket != socket {
        return 0;
    }
    if state.connection.flags & flags::ANNOUNCED != 0 {
        emit::close(&state.connection, &totals(&state.connection), 0);
    }
    let _ = TLS_SESSIONS.remove(key);
    0
}
