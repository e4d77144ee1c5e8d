//! The TCP connection that carries a session: it is announced, its hellos are sent, the rest of it is counted.

use agent_common::{Counter, Direction, TLS_HELLO_BYTES_MAX};

use super::{cipher, session};
use crate::{
    connection::{Connection, flags, index},
    count::count,
    emit,
    kernel::Socket,
    turn,
    walk::Cursor,
};

/// Whether bytes of a direction may still be of its hello.
#[inline(always)]
fn has_hello(connection: &Connection, direction: Direction) -> bool {
    connection.flags & flags::FRESH != 0
        && u32::from(connection.hello[index(direction)]) < TLS_HELLO_BYTES_MAX as u32
}

/// Whether the bytes of a direction have to be looked at.
#[inline(always)]
pub fn is_looked_at(connection: &Connection, direction: Direction) -> bool {
    has_hello(connection, direction)
        || direction as u8 == Direction::Out as u8 && cipher::is_sought(connection)
}

/// A transfer has shown that its connection carries TLS.
#[inline(always)]
pub fn found(connection: &mut Connection, bytes: u64) {
    count(Counter::TlsConnections, 0);
    count(Counter::Tls, bytes);
    // Whether it is among those of which something is captured, is decided for the session.
    connection.flags &= !flags::LEFT_OUT;
    connection.weight = 0;
}

/// Looks at bytes of the connection, and makes of them the piece that may be of a hello. 0 when there is none.
#[inline(always)]
pub fn look(connection: &mut Connection, cursor: &mut Cursor) -> u32 {
    let direction = cursor.piece.direction();
    if direction as u8 == Direction::Out as u8 && cipher::is_sought(connection) {
        cipher::seek(connection, cursor);
    }
    let piece = &mut cursor.piece;
    if !has_hello(connection, direction) {
        return 0;
    }
    let sent = u32::from(connection.hello[index(direction)]);
    let left = TLS_HELLO_BYTES_MAX as u32 - sent;
    let bytes = if piece.length < left { piece.length } else { left };
    connection.hello[index(direction)] = (sent + bytes) as u16;
    piece.bytes = bytes;
    piece.length = bytes;
    piece.is_hello = 1;
    1
}

/// Bytes went over a connection that carries TLS.
#[inline(always)]
pub fn carried<const TRUSTED: bool>(
    socket: Socket<TRUSTED>,
    connection: &mut Connection,
    direction: Direction,
) {
    let is_announced = connection.flags & flags::ANNOUNCED != 0 || emit::open(socket, connection);
    if is_announced && turn::asked(connection, direction as u64) & turn::REPORT != 0 {
        emit::report(socket, connection);
    }
    session::nested(socket, connection);
}
