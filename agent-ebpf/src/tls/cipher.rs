//! Sessions over memory: the library hands ciphertext to its program, which sends it whenever and by whatever thread it likes.
//!
//! What the library wrote and what went over a socket of the same process is the same ciphertext. It begins with a record's header; of what
//! follows 16 bytes are compared that no other record has: the random of a hello (RFC 8446, 4.1.2), or bytes that are encrypted.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated::bpf_probe_read_user},
    macros::uprobe,
    programs::ProbeContext,
};

use super::session::Key;
use crate::{
    connection::Connection,
    maps::{TLS_CALLS, TLS_SESSIONS, TLS_WRITTEN},
    owner,
    walk::Cursor,
};

/// Where those bytes begin: behind the header (5), a handshake's type and length (4), and a version (2).
const MARK_AT: u64 = 11;
/// Bytes of a record up to their end. Shorter ones tell nothing; no hello is.
const MARKED_BYTES: u64 = MARK_AT + size_of::<[u64; 2]>() as u64;
/// Transfers of a connection that are compared until one fits. Of a library that is not probed none does.
const LOOKS_MAX: u32 = 32;

// RFC 8446, 5.1 and 4.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// What is compared.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Mark {
    bytes: [u64; 2],
    /// Process (thread group) that wrote them.
    pid: u32,
    reserved: u32,
}

/// Who wrote it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Written {
    /// The session's object.
    ssl: u64,
    /// `TlsFamily`.
    family: u32,
    /// Not 0: it is a hello, before which no plaintext can have gone over the session.
    is_hello: u32,
}

/// The mark of a record at a user address.
#[inline(always)]
fn mark_at(address: u64) -> Option<Mark> {
    let mut mark = Mark {
        bytes: [0; 2],
        pid: owner::pid(),
        reserved: 0,
    };
    let from = (address + MARK_AT) as *const _;
    // SAFETY: the helper checks the address and writes the size given.
    let read =
        unsafe { bpf_probe_read_user((&raw mut mark.bytes).cast(), size_of::<[u64; 2]>() as u32, from) };
    (read == 0).then_some(mark)
}

/// `BIO_write(bio, data, length)`.
#[uprobe]
pub fn bio_write(ctx: ProbeContext) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    let Some(call) = TLS_CALLS.get_ptr(thread) else {
        // The program itself writes.
        return 0;
    };
    // SAFETY: a live map value, of this thread alone.
    let call = unsafe { &*call };
    let key = Key {
        ssl: call.ssl,
        pid: (thread >> 32) as u32,
        reserved: 0,
    };
    let data: u64 = ctx.arg(1).unwrap_or(0);
    let length = ctx.arg::<u64>(2).unwrap_or(0) as i32;
    if (length as i64) < MARKED_BYTES as i64 || TLS_SESSIONS.get_ptr(key).is_some() {
        return 0;
    }
    let Some(mark) = mark_at(data) else {
        return 0;
    };
    let mut head = [0_u8; 6];
    // SAFETY: as in `mark_at`.
    unsafe { bpf_probe_read_user(head.as_mut_ptr().cast(), 6, data as *const _) };
    let is_hello = head[0] == HANDSHAKE && (head[5] == CLIENT_HELLO || head[5] == SERVER_HELLO);
    let written = Written {
        ssl: call.ssl,
        family: call.family,
        is_hello: is_hello.into(),
    };
    // The least recently used of others makes room.
    let _ = TLS_WRITTEN.insert(mark, written, 0);
    0
}

/// Whether what a connection sends is to be compared.
#[inline(always)]
pub fn is_sought(connection: &Connection) -> bool {
    connection.ssl == 0 && connection.rest_left < LOOKS_MAX
}

/// Compares what goes over a connection, to whose bytes the cursor points. If a session wrote them the connection knows it from now on.
#[inline(always)]
pub fn seek(connection: &mut Connection, cursor: &Cursor) {
    connection.rest_left += 1;
    if u64::from(cursor.piece.length) < MARKED_BYTES || cursor.available < MARKED_BYTES {
        return;
    }
    let Some(mark) = mark_at(cursor.address) else {
        return;
    };
    if let Some(written) = TLS_WRITTEN.get_ptr(mark) {
        // SAFETY: a live map value.
        let written = unsafe { &*written };
        connection.moved = [written.ssl, u64::from(written.family << 1 | written.is_hello)];
    }
}
