//! The TCP connection that carries a session: it is announced, its hellos are sent, the rest of it is counted.

use agent_common::{Counter, TLS_HELLO_BYTES_MAX};

use super::session;
use crate::{
    connection::{Connection, flags, index},
    count::count,
    emit,
    kernel::Socket,
    place::Place,
    transfer::Transfer,
    turn,
    walk::{self, Cursor},
};

/// A transfer of a connection that is known to carry TLS.
#[inline(always)]
pub fn carried<const TRUSTED: bool>(
    transfer: &Transfer<TRUSTED>,
    connection: &mut Connection,
    place: impl FnOnce() -> Place,
) {
    if is_hello(connection, transfer)
        && let Some(end) = transfer.socket.end(transfer.direction)
    {
        let start = end.wrapping_sub(transfer.bytes);
        let mut cursor = Cursor::new(connection.cookie, start, transfer.bytes, transfer.direction);
        if cursor.point(place()).is_none() {
            hello(connection, &raw mut cursor);
        }
    }
    goes_on(transfer.socket, connection, transfer);
}

/// A transfer showed that its connection carries TLS; the cursor points to its bytes.
#[inline(always)]
pub fn found<const TRUSTED: bool>(
    transfer: &Transfer<TRUSTED>,
    connection: &mut Connection,
    cursor: &mut Cursor,
) {
    count(Counter::TlsConnections, 0);
    // Whether it is among those of which something is captured, is decided for the session.
    connection.flags &= !flags::LEFT_OUT;
    connection.weight = 0;
    if is_announced(transfer.socket, connection) && is_hello(connection, transfer) {
        hello(connection, &raw mut *cursor);
    }
    goes_on(transfer.socket, connection, transfer);
}

#[inline(always)]
fn is_announced<const TRUSTED: bool>(socket: Socket<TRUSTED>, connection: &mut Connection) -> bool {
    connection.flags & flags::ANNOUNCED != 0 || emit::open(socket, connection)
}

#[inline(always)]
fn goes_on<const TRUSTED: bool>(
    socket: Socket<TRUSTED>,
    connection: &mut Connection,
    transfer: &Transfer<TRUSTED>,
) {
    count(Counter::Tls, u64::from(transfer.bytes));
    if is_announced(socket, connection)
        && turn::asked(connection, transfer.direction as u64) & turn::REPORT != 0
    {
        emit::report(socket, connection);
    }
    session::nested(socket, connection);
}

/// Whether bytes of a direction may still be of its hello.
#[inline(always)]
fn is_hello<const TRUSTED: bool>(connection: &Connection, transfer: &Transfer<TRUSTED>) -> bool {
    connection.flags & flags::FRESH != 0
        && u32::from(connection.hello[index(transfer.direction)]) < TLS_HELLO_BYTES_MAX as u32
}

/// Sends the bytes to which a cursor points, as far as they may be of a hello. Always 0: global, as the functions of `turn`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hello(connection: *mut Connection, cursor: *mut Cursor) -> u32 {
    // SAFETY: a live map value and the caller's stack; the verifier checks both.
    let (Some(connection), Some(cursor)) = (unsafe { (connection.as_mut(), cursor.as_mut()) }) else {
        return 0;
    };
    let direction = cursor.piece.direction();
    let sent = u32::from(connection.hello[index(direction)]);
    let left = (TLS_HELLO_BYTES_MAX as u32).saturating_sub(sent);
    let bytes = if cursor.piece.length < left {
        cursor.piece.length
    } else {
        left
    };
    connection.hello[index(direction)] = (sent + bytes) as u16;
    cursor.piece.bytes = bytes;
    cursor.piece.length = bytes;
    cursor.piece.is_hello = 1;
    walk::send(connection, cursor)
}
