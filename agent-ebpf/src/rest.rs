//! A connection that rests: of its exchanges one in so many is captured, by chance, and stands for the others.
//!
//! An exchange is a turn of the direction that carries requests and what answers it: that is true of the connections that user space
//! tells to rest. Of an exchange that is not captured a transfer costs the look at the connection's mode and one counter; where a request
//! begins, a look whether there is an order. What was captured begins with a record that tells how many exchanges it stands for; if that is
//! lost, the next one stands for them too.
//!
//! The gap to the next exchange that is captured is drawn, and not the same each time: traffic may have a period of its own.

use agent_common::{ControlSlot, Direction, REST_EVERY_MAX, chunk_flags, control_slot};
use aya_ebpf::helpers::generated::bpf_get_prandom_u32;

use crate::{
    connection::{Connection, index, mode},
    maps::CONTROL,
    walk::Cursor,
};

/// User space wants one exchange in `every`; requests go this way.
#[inline(always)]
pub fn begin(connection: &mut Connection, direction: Direction, every: u32) {
    let every = if every > REST_EVERY_MAX {
        REST_EVERY_MAX
    } else if every < 2 {
        0
    } else {
        every
    };
    connection.rest_turn = 1 + direction as u8;
    // Not drawn again for an order that says nothing new: the mean would not be what it says.
    if connection.rest_every != every {
        connection.rest_every = every;
        connection.rest_left = draw(every);
    }
}

/// Captured again, all of it. What nothing stands for yet is told at the end.
#[inline(always)]
pub fn end(connection: &mut Connection) {
    connection.rest_every = 0;
    connection.rest_left = 0;
    connection.rest_turn = 0;
    connection.passed = 0;
}

/// Turns until one is captured: with that one 1 … 2·`every` − 1, `every` in the mean.
#[inline(always)]
fn draw(every: u32) -> u32 {
    if every < 2 {
        return 0;
    }
    // SAFETY: a helper without arguments.
    let random = unsafe { bpf_get_prandom_u32() };
    random % (2 * every - 1)
}

/// Whether the turn that begins is the first one captured after others that were not.
#[inline(always)]
pub fn is_over(connection: &Connection) -> bool {
    connection.rest_left == 0 && connection.passed != 0
}

/// A turn begins that carries a request: either it goes by, then the mode says so, or it is captured.
#[inline(always)]
pub fn turn(connection: &mut Connection, cursor: &mut Cursor) {
    if connection.rest_left > 0 {
        connection.mode = mode::RESTING;
        let piece = &cursor.piece;
        return pass(connection, piece.direction(), u64::from(piece.length));
    }
    let rests = connection.rest_every > 1;
    if rests {
        connection.rest_left = draw(connection.rest_every);
    }
    if connection.passed != 0 {
        cursor.piece.flags |= chunk_flags::RESTED;
    }
    if rests || connection.passed != 0 {
        cursor.stands_for = connection.rested.saturating_add(1);
        connection.rested = 0;
        connection.passed = 0;
    }
}

/// A transfer of a connection that rests. False when something is wanted of it: an exchange begins that is captured, or there is an order.
#[inline(always)]
pub fn goes_on(connection: &mut Connection, direction: Direction, bytes: u64) -> bool {
    let turn = 1 + direction as u8;
    if connection.turn == turn {
        rest_bytes(connection, direction, bytes);
        return true;
    }
    if turn != connection.rest_turn {
        connection.turn = turn;
        rest_bytes(connection, direction, bytes);
        return true;
    }
    if connection.rest_left == 0 || is_ordered(connection, direction) {
        connection.mode = mode::CAPTURE;
        return false;
    }
    connection.turn = turn;
    pass(connection, direction, bytes);
    true
}

/// One more turn of which nothing is captured begins with these bytes.
#[inline(always)]
fn pass(connection: &mut Connection, direction: Direction, bytes: u64) {
    connection.rest_left -= 1;
    connection.rested = connection.rested.saturating_add(1);
    connection.passed = 1;
    rest_bytes(connection, direction, bytes);
}

#[inline(always)]
fn rest_bytes(connection: &mut Connection, direction: Direction, bytes: u64) {
    connection.rested_bytes[index(direction)] += bytes;
}

/// Whether there is an order about this direction.
#[inline(always)]
fn is_ordered(connection: &Connection, direction: Direction) -> bool {
    CONTROL
        .get_ptr(control_slot(connection.cookie, direction))
        // SAFETY: a live map value.
        .is_some_and(|slot| unsafe {
            core::ptr::read_volatile(&raw const (*slot).key) == ControlSlot::key(connection.cookie, direction)
        })
}

impl Connection {
    /// What a record that was lost should have stood for, the next one will.
    #[inline(always)]
    pub fn stand_for_later(&mut self, stands_for: u32) {
        if stands_for != 0 {
            self.rested = self.rested.saturating_add(stands_for);
            self.passed = 1;
        }
    }
}
