//! The bytes of a transfer, piece by piece into the ring buffer.

use core::ffi::c_void;

use agent_common::{CHUNK_BYTES_MAX, Counter, Direction, PIECES_MAX, PIECES_MAX_UNROLLED, chunk_flags};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_loop};

use crate::{
    connection::{Connection, WHOLE_TURN},
    count::count,
    emit::{Piece, Sent},
    kernel::HAS_LOOP,
    maps::WALKS,
    place::{Array, PART, Place},
};

/// Bits of a length, more than any transfer has.
pub const LENGTH_BITS: u64 = (1 << 31) - 1;

/// Where the bytes of a transfer lie. Walked piece by piece.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Cursor {
    /// iovecs not begun.
    vector: u64,
    /// The part that is being read.
    pub address: u64,
    /// Bytes of it.
    pub available: u64,
    /// Bytes to step over first.
    pub skip: u64,
    /// iovecs not begun: how many, and where they lie, an [`Array`].
    vector_length: u16,
    array: u16,
    /// Turns that the one that begins here stands for, as in the record; 0 once a record has told.
    pub stands_for: u32,
    /// Bytes still to capture.
    left: u32,
    /// Bytes of pieces for which there was no room.
    lost: u32,
    /// What is left of the transfer after `skip`; `bytes` of it are to be captured. While walking, the present piece.
    pub piece: Piece,
}

impl Cursor {
    /// A transfer of which nothing is known yet but what it is.
    #[inline(always)]
    pub const fn new(cookie: u64, bytes: u32, direction: Direction) -> Self {
        Self {
            vector: 0,
            address: 0,
            available: 0,
            skip: 0,
            vector_length: 0,
            array: 0,
            stands_for: 0,
            left: 0,
            lost: 0,
            piece: Piece {
                cookie,
                bytes: 0,
                length: bytes,
                offset: 0,
                direction: direction as u8,
                flags: 0,
                reason: 0,
                is_hello: 0,
            },
        }
    }

    /// Points it to a place. The reason when there is nothing that can be read.
    #[inline(always)]
    pub fn point(&mut self, place: Place) -> Option<Counter> {
        match place {
            Place::Flat { address, room } => {
                self.address = address;
                self.available = room;
                None
            }
            Place::Vector {
                vector,
                length,
                skip,
                array,
            } => {
                if length == 0 {
                    return Some(Counter::OpaqueCall);
                }
                let Some([address, room]) = array.read(vector) else {
                    return Some(Counter::Fault);
                };
                self.address = address.wrapping_add(skip);
                self.available = room.wrapping_sub(skip);
                self.vector = vector.wrapping_add(PART);
                self.vector_length = (length - 1) as u16;
                self.array = array as u16;
                None
            }
            Place::Opaque(reason) => Some(reason),
        }
    }
}

/// Sends what the cursor says, and that the rest of the transfer went by. Always 0.
///
/// Global, as the functions of `turn`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn send(connection: *mut Connection, cursor: *mut Cursor) -> u32 {
    // SAFETY: a live map value and the caller's stack; the verifier checks both.
    let (Some(connection), Some(cursor)) = (unsafe { (connection.as_mut(), cursor.as_mut()) }) else {
        return 0;
    };
    let (left, length, start) = (cursor.piece.bytes, cursor.piece.length, cursor.piece.offset);
    let whole = left == length
        && cursor.skip == 0
        && left <= CHUNK_BYTES_MAX as u32
        && u64::from(left) <= cursor.available;
    if left == 0 || whole {
        // Everything in one record, the common case; or nothing but the news that bytes went by.
        match cursor.piece.send(cursor.address, cursor.stands_for) {
            Sent::Yes => {}
            // What follows may be HTTP/2 or WebSocket: by the time the agent says so, the limit of a turn may have cut it.
            Sent::Switching => connection.turn_bytes_max = WHOLE_TURN,
            Sent::No => {
                connection.lose(cursor.piece.direction(), length);
                connection.stand_for_later(cursor.stands_for);
            }
        }
        return 0;
    }
    cursor.left = left;
    if HAS_LOOP.load() != 0 {
        walk(cursor);
    } else {
        walk_in_map(cursor);
    }
    // What the pieces did not cover: capped bytes, or parts beyond the limit.
    let piece = &mut cursor.piece;
    let covered = piece.offset.wrapping_sub(start);
    if covered < length {
        piece.bytes = 0;
        piece.length = length - covered;
        let (flag, reason) = if cursor.left > 0 {
            (chunk_flags::FAULT, Counter::TooManyParts)
        } else {
            (chunk_flags::CAPPED, Counter::Capped)
        };
        piece.flags = flag;
        piece.reason = reason as u8 + 1;
        count(reason, u64::from(piece.length));
        if piece.send(0, cursor.stands_for) == Sent::No {
            cursor.lost = cursor.lost.wrapping_add(cursor.piece.length);
        } else {
            cursor.stands_for = 0;
        }
    }
    connection.lose(cursor.piece.direction(), cursor.lost);
    connection.stand_for_later(cursor.stands_for);
    0
}

/// Sends piece after piece.
#[inline(never)]
fn walk(cursor: &mut Cursor) {
    // A copy: loops with a callback want their state on the stack of who starts them.
    let mut walked = *cursor;
    let pointer: *mut Cursor = &raw mut walked;
    // SAFETY: the callback matches the helper's contract and gets the stack value passed here.
    unsafe { bpf_loop(PIECES_MAX, step as *const () as *mut c_void, pointer.cast(), 0) };
    *cursor = walked;
}

/// The same where `bpf_loop` does not exist. In a map the verifier does not follow values: it walks the loop once for all transfers, not
/// once for each that it can think of.
#[inline(never)]
fn walk_in_map(cursor: &mut Cursor) {
    let thread = bpf_get_current_pid_tgid();
    // By reference: a copy would take the stack.
    let begun: &Cursor = cursor;
    if WALKS.insert(thread, begun, 0).is_err() {
        return;
    }
    walk_stored();
    if let Some(walked) = WALKS.get_ptr(thread) {
        // SAFETY: a live map value.
        *cursor = unsafe { *walked };
    }
    let _ = WALKS.remove(thread);
}

/// Walks the present thread's cursor in [`WALKS`]. Always 0.
///
/// Global, as the functions of `turn`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk_stored() -> u32 {
    if HAS_LOOP.load() != 0 {
        // Never called: nothing for the verifier to walk.
        return 0;
    }
    if let Some(cursor) = WALKS.get_ptr_mut(bpf_get_current_pid_tgid()) {
        // SAFETY: a live map value, of this thread alone.
        let cursor = unsafe { &mut *cursor };
        for _ in 0..PIECES_MAX_UNROLLED {
            if !next_piece(cursor) {
                break;
            }
        }
    }
    0
}

/// Loads a length of the cursor so that the verifier knows its upper bound and nothing else. A range that excluded 0 would decide the
/// comparisons below, and the verifier would then walk the loop once for every value instead of once for all.
#[inline(always)]
pub fn length_of(field: u64) -> u64 {
    core::hint::black_box(field) & LENGTH_BITS
}

/// [`next_piece`] as a callback. Not 0 ends the loop.
#[inline(never)]
unsafe extern "C" fn step(_: u32, cursor: *mut c_void) -> i64 {
    // SAFETY: `walk` passes its own cursor.
    let cursor = unsafe { &mut *cursor.cast::<Cursor>() };
    i64::from(!next_piece(cursor))
}

/// Sends one piece. False when there is no other.
#[inline(always)]
fn next_piece(cursor: &mut Cursor) -> bool {
    let left = length_of(u64::from(cursor.left));
    let mut available = length_of(cursor.available);
    if left == 0 {
        return false;
    }
    if available == 0 {
        if length_of(u64::from(cursor.vector_length)) == 0 {
            return false;
        }
        let array = if cursor.array == Array::Kernel as u16 {
            Array::Kernel
        } else {
            Array::User
        };
        let Some([address, room]) = array.read(cursor.vector) else {
            return false;
        };
        cursor.address = address;
        available = length_of(room);
        cursor.vector += PART;
        cursor.vector_length -= 1;
    }
    let skip = length_of(cursor.skip);
    let over = if skip < available { skip } else { available };
    cursor.skip = skip - over;
    cursor.address += over;
    available -= over;
    let bytes = if available < left { available } else { left };
    let bytes = if bytes > CHUNK_BYTES_MAX as u64 {
        CHUNK_BYTES_MAX as u64
    } else {
        bytes
    };
    cursor.available = available - bytes;
    if bytes == 0 {
        return true;
    }
    cursor.piece.bytes = bytes as u32;
    cursor.piece.length = bytes as u32;
    if cursor.piece.send(cursor.address, cursor.stands_for) == Sent::No {
        cursor.lost = cursor.lost.wrapping_add(bytes as u32);
    } else {
        cursor.stands_for = 0;
    }
    cursor.piece.flags = 0;
    cursor.piece.offset = cursor.piece.offset.wrapping_add(bytes as u32);
    cursor.address += bytes;
    cursor.left = (left - bytes) as u32;
    true
}
