//! Bytes went over a socket: is the connection wanted, how much of it, and where are the bytes.

use core::ffi::c_void;

use agent_common::{
    CHUNK_BYTES_MAX, ControlSlot, Counter, Direction, Mode, Role, Sniff, chunk_flags, control_slot,
};
use aya_ebpf::{EbpfContext, helpers::generated::bpf_loop};
use aya_log_ebpf::debug;

use crate::{
    connection::{self, Connection, WHOLE_TURN, flags, index, mode},
    count::count,
    emit::{self, Piece},
    filter::{self, Verdict},
    kernel::{HAS_LOOP, OFF_TCP_WRITE_SEQ, Socket},
    maps::CONTROL,
    owner,
    place::{Array, PART, Place},
};

/// Most bytes captured of one transfer, whatever the settings say: bounds the work inside one system call.
const TRANSFER_BYTES_MAX: u32 = 64 << 10;
/// The same of a connection that is captured whole: what is cut of HTTP/2 costs the frames behind it, and gRPC's core hands the kernel
/// half a megabyte at a time.
const WHOLE_TRANSFER_BYTES_MAX: u32 = 1 << 20;
/// Most pieces (parts of a scattered buffer, or `CHUNK_BYTES_MAX` of one) read of one transfer. Node sends a chunked response of
/// three chunks in eleven parts, gRPC's core each frame of many streams in two or three, up to 260.
const PIECES_MAX: u32 = 264;
/// The same where `bpf_loop` does not exist and the verifier walks each turn.
const PIECES_MAX_UNROLLED: u32 = 8;
/// A connection older than the agent is not HTTP when this many turns began with something else …
const LATE_TURNS_MAX: u32 = 16;
/// … or this many transfers went by without a turn that began like HTTP.
const LATE_TRANSFERS_MAX: u32 = 4096;
/// Weight of a turn in `Connection::tries`.
const TURN_TRIES: u32 = LATE_TRANSFERS_MAX / LATE_TURNS_MAX;

/// One transfer, as the provider saw it.
#[derive(Clone, Copy)]
pub struct Transfer<const TRUSTED: bool> {
    /// Socket.
    pub socket: Socket<TRUSTED>,
    /// Bytes, more than 0.
    pub bytes: u32,
    /// Which way.
    pub direction: Direction,
}

/// Where the bytes of a transfer lie. Walked piece by piece.
#[repr(C)]
struct Cursor {
    /// iovecs not begun, how many, and where they lie: an [`Array`].
    vector: u64,
    vector_length: u64,
    array: u64,
    /// The part that is being read.
    address: u64,
    available: u64,
    /// Bytes to step over first.
    skip: u64,
    /// Bytes still to capture.
    left: u64,
    piece: Piece,
}

/// Handles one transfer. `place` is asked only if the bytes are wanted.
#[inline(always)]
pub fn transfer<const TRUSTED: bool>(
    ctx: &impl EbpfContext,
    transfer: &Transfer<TRUSTED>,
    place: impl FnOnce() -> Place,
) {
    let bytes = u64::from(transfer.bytes);
    let connection = match connection::find(transfer.socket) {
        Some(connection) => connection,
        None => {
            if !transfer.socket.is_tcp() {
                return;
            }
            let fresh = Connection::new(connection::cookie(transfer.socket), Role::Unknown, 0);
            let Some(created) = connection::create(transfer.socket, fresh) else {
                count(Counter::NoState, bytes);
                return;
            };
            created
        }
    };
    // SAFETY: a live map value; see `Connection` on concurrent changes.
    let connection = unsafe { &mut *connection };
    match connection.mode {
        mode::UNDECIDED | mode::CAPTURE => {}
        mode::NOT_HTTP => return count(Counter::NotHttp, bytes),
        mode::OWN => return count(Counter::Own, bytes),
        mode::FILTERED if connection.epoch != filter::settings().epoch => {
            judge_anew(connection);
        }
        mode::FILTERED => return count(Counter::Filtered, bytes),
        _ => return count(Counter::Skipped, bytes),
    }
    wanted(ctx, transfer, connection, place);
}

#[inline(always)]
fn wanted<const TRUSTED: bool>(
    ctx: &impl EbpfContext,
    transfer: &Transfer<TRUSTED>,
    connection: &mut Connection,
    place: impl FnOnce() -> Place,
) {
    let bytes = u64::from(transfer.bytes);
    let direction = transfer.direction;
    let settings = filter::settings();
    if connection.mode == mode::UNDECIDED && connection.tries == 0 {
        let verdict = filter::judge(transfer.socket, settings.include_only);
        if verdict == Verdict::Own as u32 {
            connection.mode = mode::OWN;
            debug!(ctx, "connection {}: the agent's own", connection.cookie);
            return count(Counter::Own, bytes);
        }
        if verdict == Verdict::Unwanted as u32 {
            connection.mode = mode::FILTERED;
            connection.epoch = settings.epoch;
            debug!(ctx, "connection {}: left out by a filter", connection.cookie);
            return count(Counter::Filtered, bytes);
        }
    }

    let tcp = transfer.socket.as_tcp();
    if tcp == 0 {
        return;
    }
    let end: u32 = match direction {
        Direction::Out => Socket::<TRUSTED>::tcp_field(tcp, OFF_TCP_WRITE_SEQ.load()),
        // The call that reads the last bytes reads the FIN too.
        Direction::In => transfer.socket.received(tcp).0,
    };
    let mut start = end.wrapping_sub(transfer.bytes);

    let turn = 1 + direction as u8;
    let mut chunk_flags = 0;
    if connection.turn != turn {
        connection.turn = turn;
        connection.turn_bytes = 0;
        chunk_flags = chunk_flags::TURN_START;
    }
    obey(transfer.socket, connection, direction);
    if connection.mode == mode::IGNORED {
        return count(Counter::Skipped, bytes);
    }
    if connection.mode == mode::FILTERED {
        if connection.epoch == settings.epoch {
            return count(Counter::Filtered, bytes);
        }
        // The order is older than the filters: whoever gave it knows nothing of the connection any more.
        judge_anew(connection);
        connection.turn = turn;
        chunk_flags = chunk_flags::TURN_START;
    }
    let mut skip = 0_u32;
    if connection.skipping[index(direction)] != 0 {
        let ahead = connection.skip_to[index(direction)].wrapping_sub(start);
        if (ahead as i32) > 0 && ahead > transfer.bytes {
            return count(Counter::Skipped, bytes);
        }
        connection.skipping[index(direction)] = 0;
        if (ahead as i32) > 0 {
            skip = ahead;
            start = start.wrapping_add(ahead);
            connection.turn_bytes = 0;
            count(Counter::Skipped, u64::from(ahead));
        }
    }
    let length = transfer.bytes
        - if skip > transfer.bytes {
            transfer.bytes
        } else {
            skip
        };

    let mut piece = Piece {
        address: 0,
        cookie: connection.cookie,
        bytes: 0,
        length,
        offset: start,
        direction: direction as u8,
        flags: chunk_flags,
        reason: 0,
        reserved: 0,
        lost: 0,
        reserved2: 0,
    };
    let mut cursor = Cursor {
        vector: 0,
        vector_length: 0,
        array: 0,
        address: 0,
        available: 0,
        skip: u64::from(skip),
        left: 0,
        piece,
    };
    let mut left = 0;
    if let Some(reason) = locate(place(), &mut cursor) {
        count(reason, bytes);
        if connection.mode != mode::CAPTURE {
            return;
        }
        piece.flags |= chunk_flags::OPAQUE;
        piece.reason = reason as u8 + 1;
    } else {
        if connection.mode == mode::UNDECIDED {
            decide(connection, &cursor);
            debug!(
                ctx,
                "connection {} of process {}: mode {}",
                connection.cookie,
                owner::pid(),
                connection.mode
            );
            if connection.mode != mode::CAPTURE {
                return count(Counter::NotHttp, bytes);
            }
        }
        let most = if connection.turn_bytes_max == 0 {
            settings.turn_bytes_max
        } else {
            connection.turn_bytes_max
        };
        // What the verifier walks from here on depends much on the form of these lines (in others it exceeds its limit): measure it
        // after each change.
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
        left = if length < budget { length } else { budget };
        connection.turn_bytes = connection.turn_bytes.saturating_add(left);
        if left == 0 {
            piece.flags |= chunk_flags::CAPPED;
            piece.reason = Counter::Capped as u8 + 1;
            count(Counter::Capped, u64::from(length));
        }
    }

    piece.address = cursor.address;
    piece.bytes = left;
    let whole =
        left == length && skip == 0 && left <= CHUNK_BYTES_MAX as u32 && u64::from(left) <= cursor.available;
    if connection.flags & flags::ANNOUNCED == 0 && !emit::open(transfer.socket, connection) {
        // The piece cannot go ahead of the announcement.
        emit::turn_away(&raw mut piece);
        connection.lose(direction, piece.lost);
        return;
    }
    if left == 0 || whole {
        // Everything in one record, the common case; or nothing but the news that bytes went by.
        if emit::send_piece(&raw mut piece) != 0 {
            // What follows may be HTTP/2 or WebSocket: by the time the agent says so, the limit of a turn may have cut it.
            connection.turn_bytes_max = WHOLE_TURN;
        }
        connection.lose(direction, piece.lost);
        return;
    }
    piece.length = 0;
    cursor.piece = piece;
    cursor.left = u64::from(left);
    walk(&mut cursor);
    piece.lost = cursor.piece.lost;
    // What the pieces did not cover: capped bytes, or parts beyond the limit.
    let covered = cursor.piece.offset.wrapping_sub(start);
    if covered < length {
        piece.bytes = 0;
        piece.offset = cursor.piece.offset;
        piece.length = length - covered;
        let (flag, reason) = if cursor.left > 0 {
            (chunk_flags::FAULT, Counter::TooManyParts)
        } else {
            (chunk_flags::CAPPED, Counter::Capped)
        };
        piece.flags = flag;
        piece.reason = reason as u8 + 1;
        count(reason, u64::from(piece.length));
        emit::send_piece(&raw mut piece);
    }
    connection.lose(direction, piece.lost);
}

/// The filters have changed. What went by meanwhile is not known: from here on it is like a connection older than the agent.
#[inline(always)]
fn judge_anew(connection: &mut Connection) {
    connection.mode = mode::UNDECIDED;
    connection.flags = 0;
    connection.turn = 0;
    connection.turn_bytes = 0;
    connection.tries = 0;
    connection.turn_bytes_max = 0;
    connection.skipping = [0; 2];
}

/// Takes an order of user space about this direction, if there is one.
#[inline(always)]
fn obey<const TRUSTED: bool>(socket: Socket<TRUSTED>, connection: &mut Connection, direction: Direction) {
    let Some(slot) = CONTROL.get_ptr_mut(control_slot(connection.cookie, direction)) else {
        return;
    };
    // SAFETY: a live map value; the key is read before the order, which user space writes before the key.
    let order = unsafe {
        if core::ptr::read_volatile(&raw const (*slot).key) != ControlSlot::key(connection.cookie, direction)
        {
            return;
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
        kind if kind == Mode::Report as u32 => emit::report(socket, connection),
        _ => {}
    }
}

/// Points the cursor to a place. The reason when there is nothing that can be read.
#[inline(always)]
fn locate(place: Place, cursor: &mut Cursor) -> Option<Counter> {
    match place {
        Place::Flat { address, room } => {
            cursor.address = address;
            cursor.available = room;
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
            cursor.address = address + skip;
            cursor.available = room - skip;
            cursor.vector = vector + PART;
            cursor.vector_length = length - 1;
            cursor.array = array as u64;
            None
        }
        Place::Opaque(reason) => Some(reason),
    }
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
    let turn_start = cursor.piece.flags & chunk_flags::TURN_START != 0;
    connection.tries += if turn_start { TURN_TRIES } else { 1 };
    if fresh || connection.tries > LATE_TRANSFERS_MAX {
        connection.mode = mode::NOT_HTTP;
        count(Counter::NotHttpConnections, 0);
    }
}

/// Sends piece after piece.
#[inline(always)]
fn walk(cursor: &mut Cursor) {
    let pointer: *mut Cursor = cursor;
    if HAS_LOOP.load() != 0 {
        // SAFETY: the callback matches the helper's contract and gets the stack value passed here.
        unsafe { bpf_loop(PIECES_MAX, step as *const () as *mut c_void, pointer.cast(), 0) };
    } else {
        for i in 0..PIECES_MAX_UNROLLED {
            // SAFETY: as above.
            if unsafe { step(i, pointer.cast()) } != 0 {
                break;
            }
        }
    }
}

/// Bits of a length in a [`Cursor`], more than any transfer has.
const LENGTH_BITS: u64 = (1 << 31) - 1;

/// Loads a length of the cursor so that the verifier knows its upper bound and nothing else. A range that excluded 0 would decide the
/// comparisons below, and the verifier would then walk the loop once for every value instead of once for all.
#[inline(always)]
fn length_of(field: u64) -> u64 {
    core::hint::black_box(field) & LENGTH_BITS
}

/// One piece. Not 0 ends the loop.
#[inline(never)]
unsafe extern "C" fn step(_: u32, cursor: *mut c_void) -> i64 {
    // SAFETY: `walk` passes its own cursor.
    let cursor = unsafe { &mut *cursor.cast::<Cursor>() };
    let left = length_of(cursor.left);
    let mut available = length_of(cursor.available);
    if left == 0 {
        return 1;
    }
    if available == 0 {
        if length_of(cursor.vector_length) == 0 {
            return 1;
        }
        let array = if cursor.array == Array::Kernel as u64 {
            Array::Kernel
        } else {
            Array::User
        };
        let Some([address, room]) = array.read(cursor.vector) else {
            return 1;
        };
        cursor.address = address;
        available = length_of(room);
        cursor.vector += PART;
        cursor.vector_length = length_of(cursor.vector_length) - 1;
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
        return 0;
    }
    cursor.piece.address = cursor.address;
    cursor.piece.bytes = bytes as u32;
    cursor.piece.length = bytes as u32;
    emit::send_piece(&raw mut cursor.piece);
    cursor.piece.flags = 0;
    cursor.piece.offset = cursor.piece.offset.wrapping_add(bytes as u32);
    cursor.address += bytes;
    cursor.left = left - bytes;
    0
}
