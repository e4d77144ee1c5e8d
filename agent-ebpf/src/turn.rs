//! Turns of a connection: what is to be captured of a transfer, by the orders of user space and the limits.
//!
//! Functions here that have C linkage are global: the verifier walks each once by itself. That is why they take plain memory and
//! numbers, and why null checks that no caller needs are there.

use agent_common::{ControlSlot, Counter, Direction, Mode, Sniff, chunk_flags, control_slot, is_tls_session};

use crate::{
    connection::{Connection, WHOLE_TURN, flags, index, mode},
    count::{count, count_number},
    emit, filter,
    maps::CONTROL,
    rest, tls,
    walk::Cursor,
};

/// Most bytes captured of one transfer, whatever the settings say: bounds the work inside one system call.
const TRANSFER_BYTES_MAX: u32 = 64 << 10;
/// The same of a connection that is captured whole: what is cut of HTTP/2 costs the frames behind it, and gRPC's core hands the kernel
/// half a megabyte at a time.
const WHOLE_TRANSFER_BYTES_MAX: u32 = 1 << 20;
/// A connection older than the agent is not HTTP when this many turns began with something else …
const LATE_TURNS_MAX: u32 = 16;
/// … or this many transfers went by without a turn that began like HTTP.
const LATE_TRANSFERS_MAX: u32 = 4096;
/// Weight of a turn in `Connection::tries`.
const TURN_TRIES: u32 = LATE_TRANSFERS_MAX / LATE_TURNS_MAX;

/// In place of a `Counter`: the bytes can be read.
pub const READABLE: u32 = u32::MAX;

/// The filters have changed, or what may be taken of the process. What went by meanwhile is not known: from here on it is like a
/// connection older than the agent.
#[inline(always)]
pub fn judge_anew(connection: &mut Connection) {
    connection.mode = mode::UNDECIDED;
    connection.flags = 0;
    connection.turn = 0;
    connection.turn_bytes = 0;
    connection.tries = 0;
    connection.turn_bytes_max = 0;
    connection.skipping = [0; 2];
    rest::end(connection);
    connection.seen_ways = 0;
}

/// Bits of what [`follow`] gives: something is left of the transfer …
pub const GOES_ON: u32 = 1;
/// … user space asks where the connection stands.
pub const REPORT: u32 = 2;

/// Follows the connection's turns, takes an order if there is one, steps over what is to be skipped.
///
/// The cursor comes with the whole transfer as its piece.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn follow(connection: *mut Connection, cursor: *mut Cursor) -> u32 {
    // SAFETY: a live map value and the caller's stack; the verifier checks both.
    let (Some(connection), Some(cursor)) = (unsafe { (connection.as_mut(), cursor.as_mut()) }) else {
        return 0;
    };
    let piece = &mut cursor.piece;
    let direction = piece.direction();
    let bytes = u64::from(piece.length);
    let turn = 1 + direction as u8;
    let begins = connection.turn != turn;
    if begins {
        connection.turn = turn;
        connection.turn_bytes = 0;
        piece.flags = chunk_flags::TURN_START;
    }
    let mut asked = obey(connection, direction);
    let rests = begins && turn == connection.rest_turn;
    if rests && rest::is_over(connection) {
        // Orders about the other direction have waited, and what was to be skipped has gone by.
        asked |= obey(connection, direction.opposite());
        connection.skipping = [0; 2];
    }
    if connection.mode == mode::IGNORED {
        count(Counter::Skipped, bytes);
        return asked;
    }
    if connection.mode == mode::FILTERED {
        if connection.epoch == filter::settings().epoch {
            count(Counter::Filtered, bytes);
            return asked;
        }
        // The order is older than the filters: whoever gave it knows nothing of the connection any more.
        judge_anew(connection);
        connection.turn = turn;
        piece.flags = chunk_flags::TURN_START;
    }
    if rests && connection.mode == mode::CAPTURE {
        rest::turn(connection, cursor);
        if connection.mode == mode::RESTING {
            count(Counter::Rested, bytes);
            return asked;
        }
    }
    let piece = &mut cursor.piece;
    if connection.skipping[index(direction)] != 0 {
        let ahead = connection.skip_to[index(direction)].wrapping_sub(piece.offset);
        if (ahead as i32) > 0 && ahead > piece.length {
            count(Counter::Skipped, bytes);
            return asked;
        }
        connection.skipping[index(direction)] = 0;
        if (ahead as i32) > 0 {
            piece.offset = piece.offset.wrapping_add(ahead);
            piece.length -= ahead;
            cursor.skip = u64::from(ahead);
            connection.turn_bytes = 0;
            count(Counter::Skipped, u64::from(ahead));
        }
    }
    asked | GOES_ON
}

/// [`obey`] for connections of whose transfers nothing else is to be decided. Global, as [`follow`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn asked(connection: *mut Connection, direction: u64) -> u32 {
    // SAFETY: as in `follow`.
    let Some(connection) = (unsafe { connection.as_mut() }) else {
        return 0;
    };
    if direction == Direction::In as u64 {
        obey(connection, Direction::In)
    } else {
        obey(connection, Direction::Out)
    }
}

/// Takes an order of user space about this direction, if there is one. [`REPORT`] or 0.
#[inline(always)]
fn obey(connection: &mut Connection, direction: Direction) -> u32 {
    let Some(slot) = CONTROL.get_ptr_mut(control_slot(connection.cookie, direction)) else {
        return 0;
    };
    // SAFETY: a live map value; the key is read before the order, which user space writes before the key.
    let order = unsafe {
        if core::ptr::read_volatile(&raw const (*slot).key) != ControlSlot::key(connection.cookie, direction)
        {
            return 0;
        }
        let order = core::ptr::read_volatile(&raw const (*slot).order);
        core::ptr::write_volatile(&raw mut (*slot).key, 0);
        order
    };
    let argument = order as u32;
    match (order >> 32) as u32 {
        kind if kind == Mode::SkipTo as u32 => {
            connection.skip_to[index(direction)] = argument;
            connection.skipping[index(direction)] = 1;
        }
        kind if kind == Mode::Limited as u32 => connection.turn_bytes_max = argument,
        kind if kind == Mode::Full as u32 => connection.turn_bytes_max = WHOLE_TURN,
        kind if kind == Mode::Ignore as u32 => connection.mode = mode::IGNORED,
        kind if kind == Mode::LeaveOut as u32 => {
            connection.mode = mode::FILTERED;
            connection.epoch = argument;
        }
        kind if kind == Mode::Report as u32 => return REPORT,
        kind if kind == Mode::Rest as u32 => rest::begin(connection, direction, argument),
        _ => {}
    }
    0
}

/// Decides what the connection is, if that is open, and how many of the bytes are sent. `reason` is the `Counter` of why they cannot be
/// read, or [`READABLE`]. 0 when nothing is to be sent, not even that bytes went by.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn settle(connection: *mut Connection, cursor: *mut Cursor, reason: u32) -> u32 {
    // SAFETY: as in `follow`.
    let (Some(connection), Some(cursor)) = (unsafe { (connection.as_mut(), cursor.as_mut()) }) else {
        return 0;
    };
    let length = cursor.piece.length;
    let bytes = u64::from(length) + cursor.skip;
    cursor.piece.bytes = 0;
    if connection.mode == mode::TLS {
        return if reason == READABLE {
            tls::below::look(connection, cursor)
        } else {
            0
        };
    }
    if reason != READABLE {
        count_number(reason, bytes);
        cursor.piece.flags |= chunk_flags::OPAQUE;
        cursor.piece.reason = reason as u8 + 1;
        return u32::from(connection.mode == mode::CAPTURE);
    }
    if connection.mode == mode::UNDECIDED {
        decide(connection, cursor);
        if connection.mode == mode::TLS {
            tls::below::found(connection, bytes);
            return tls::below::look(connection, cursor);
        }
        if connection.mode != mode::CAPTURE {
            count(Counter::NotHttp, bytes);
            return 0;
        }
    }
    let most = if connection.turn_bytes_max == 0 {
        filter::settings().turn_bytes_max
    } else {
        connection.turn_bytes_max
    };
    let budget = if most == WHOLE_TURN {
        WHOLE_TRANSFER_BYTES_MAX
    } else {
        let rest = most.saturating_sub(connection.turn_bytes);
        if rest > TRANSFER_BYTES_MAX {
            TRANSFER_BYTES_MAX
        } else {
            rest
        }
    };
    let left = if length < budget { length } else { budget };
    connection.turn_bytes = connection.turn_bytes.saturating_add(left);
    if left == 0 {
        cursor.piece.flags |= chunk_flags::CAPPED;
        cursor.piece.reason = Counter::Capped as u8 + 1;
        count(Counter::Capped, u64::from(length));
    }
    cursor.piece.bytes = left;
    1
}

/// Decides whether the connection is HTTP from the first bytes of a transfer, or leaves it undecided.
#[inline(always)]
fn decide(connection: &mut Connection, cursor: &Cursor) {
    let seen = emit::sniff_at(cursor.address, cursor.available, u64::from(cursor.piece.length));
    let fresh = connection.flags & flags::FRESH != 0;
    if Sniff::is_http(seen, fresh) {
        connection.mode = mode::CAPTURE;
        if Sniff::is_http2(seen) {
            connection.turn_bytes_max = WHOLE_TURN;
        }
        return;
    }
    // Over sockets of the UNIX domain nobody does that, and over TLS itself it would not be found again.
    let is_tcp = connection.inode == 0 && !is_tls_session(connection.cookie);
    if is_tcp && Sniff::is_tls(seen, fresh) {
        connection.mode = mode::TLS;
        return;
    }
    let turn_start = cursor.piece.flags & chunk_flags::TURN_START != 0;
    connection.tries += if turn_start { TURN_TRIES } else { 1 };
    if fresh || connection.tries > LATE_TRANSFERS_MAX {
        connection.mode = mode::NOT_HTTP;
        count(Counter::NotHttpConnections, 0);
    }
}
