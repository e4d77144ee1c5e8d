//! Bytes went over a socket: is the connection wanted, how much of it, and where are the bytes.
//!
//! What needs the socket is done here, in each program; what does not is done by global functions, which the verifier walks once by
//! themselves: [`turn::follow`], [`turn::settle`], [`walk::send`].

use agent_common::{Counter, Direction};
use aya_ebpf::EbpfContext;
use aya_log_ebpf::debug;

use crate::{
    account,
    connection::{self, Connection, flags, mode},
    count::count,
    emit,
    filter::{self, Verdict},
    kernel::{HAS_SPARES, Socket},
    owner,
    place::Place,
    rest,
    run::Run,
    turn, unix,
    walk::{self, Cursor},
};

/// One transfer, as the provider saw it.
#[derive(Clone, Copy)]
pub struct Transfer<const TRUSTED: bool> {
    /// Socket.
    pub socket: Socket<TRUSTED>,
    /// Bytes, more than 0.
    pub bytes: u32,
    /// Which way.
    pub direction: Direction,
    /// Of which program.
    pub run: Run,
}

/// Handles one transfer. `place` is asked only if the bytes are wanted.
#[inline(always)]
pub fn transfer<const TRUSTED: bool>(
    ctx: &impl EbpfContext,
    transfer: &Transfer<TRUSTED>,
    place: impl FnOnce() -> Place,
) {
    let bytes = u64::from(transfer.bytes);
    let found = match connection::find(transfer.socket) {
        // SAFETY: a live map value.
        Some(found) if unsafe { (*found).inode } == 0 => {
            // SAFETY: a live map value.
            let known = unsafe { &*found };
            let is_done = match transfer.run {
                Run::First => HAS_SPARES.load() != 0 && is_told(transfer, known),
                Run::Spare | Run::Last => !was_left_out(transfer, known),
                Run::Sole => false,
            };
            if is_done {
                return;
            }
            Some(found)
        }
        _ => other(transfer),
    };
    let Some(connection) = found else {
        return;
    };
    // SAFETY: a live map value; see `Connection` on concurrent changes.
    let connection = unsafe { &mut *connection };
    if !connection::is_in_socket::<TRUSTED>() || connection.inode != 0 {
        connection.touch();
    }
    let begun = account::begin(connection);
    known(ctx, transfer, connection, place);
    account::end(begun, bytes);
}

/// State of a connection that is not a TCP connection with a state. `None` when it is of no kind that is captured, or is counted as one
/// that cannot have a state.
///
/// A function of its own: what it needs of the stack is free again when it is over.
#[inline(never)]
fn other<const TRUSTED: bool>(transfer: &Transfer<TRUSTED>) -> Option<*mut Connection> {
    let Transfer { socket, run, .. } = *transfer;
    let bytes = u64::from(transfer.bytes);
    if socket.is_unix_stream() {
        return unix::moved(socket.number(), transfer.direction, bytes, run);
    }
    // Nobody misses a spare here: what the first program was not told of has no numbers yet that something could follow.
    if matches!(run, Run::Spare | Run::Last) || !socket.is_tcp() {
        return None;
    }
    let found = connection::begin(socket);
    if found.is_none() {
        count(connection::without_state::<TRUSTED>(), bytes);
    }
    found
}

/// Whether a program was told of these bytes already: a spare that ran first.
#[inline(always)]
fn is_told<const TRUSTED: bool>(transfer: &Transfer<TRUSTED>, connection: &Connection) -> bool {
    let direction = transfer.direction;
    transfer
        .socket
        .end(direction)
        .is_some_and(|end| connection.follows(direction, end))
}

/// Whether the kernel left the first program out, so that it is the spare's to handle a transfer: the bytes follow those of which a
/// program was told. Where that is not known, nobody misses the spare.
#[inline(always)]
fn was_left_out<const TRUSTED: bool>(transfer: &Transfer<TRUSTED>, connection: &Connection) -> bool {
    if !matches!(connection.mode, mode::UNDECIDED | mode::CAPTURE | mode::RESTING) {
        return false;
    }
    let direction = transfer.direction;
    let left_out = transfer
        .socket
        .end(direction)
        .is_some_and(|end| connection.follows(direction, end.wrapping_sub(transfer.bytes)));
    if left_out {
        count(Counter::TakenOver, u64::from(transfer.bytes));
    }
    left_out
}

/// A transfer on a connection that has a state.
#[inline(always)]
fn known<const TRUSTED: bool>(
    ctx: &impl EbpfContext,
    transfer: &Transfer<TRUSTED>,
    connection: &mut Connection,
    place: impl FnOnce() -> Place,
) {
    let bytes = u64::from(transfer.bytes);
    match connection.mode {
        mode::UNDECIDED | mode::CAPTURE => {}
        mode::NOT_HTTP => return count(Counter::NotHttp, bytes),
        mode::OWN => return count(Counter::Own, bytes),
        mode::FILTERED if connection.epoch != filter::settings().epoch => {
            turn::judge_anew(connection);
        }
        mode::FILTERED => return count(Counter::Filtered, bytes),
        mode::LOWERED => return count(Counter::Lowered, bytes),
        mode::RESTING => {
            if rest::goes_on(connection, transfer.direction, bytes) {
                rest_on(transfer, connection);
                return count(Counter::Rested, bytes);
            }
        }
        mode::KERNEL_TLS => return,
        _ => return count(Counter::Skipped, bytes),
    }
    wanted(ctx, transfer, connection, place);
}

/// What the spare has to know of a transfer that goes by; where there is none nobody asks for it.
#[inline(always)]
fn rest_on<const TRUSTED: bool>(transfer: &Transfer<TRUSTED>, connection: &mut Connection) {
    if HAS_SPARES.load() == 0 {
        connection.seen_ways = 0;
    } else if connection.inode == 0
        && let Some(end) = transfer.socket.end(transfer.direction)
    {
        connection.see(transfer.direction, end);
    }
}

#[inline(always)]
fn wanted<const TRUSTED: bool>(
    ctx: &impl EbpfContext,
    transfer: &Transfer<TRUSTED>,
    connection: &mut Connection,
    place: impl FnOnce() -> Place,
) {
    let bytes = u64::from(transfer.bytes);
    if connection.mode == mode::UNDECIDED && connection.tries == 0 {
        let settings = filter::settings();
        let verdict = if connection.inode == 0 {
            filter::judge(transfer.socket, settings.include_only)
        } else {
            unix::judge(transfer.socket.number(), settings.include_only)
        };
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
        account::admit(connection);
        if connection.mode == mode::LOWERED {
            return count(Counter::Lowered, bytes);
        }
    }
    let is_tcp = connection.inode == 0;
    if is_tcp && connection.mode == mode::UNDECIDED && transfer.socket.has_kernel_tls() {
        connection.mode = mode::KERNEL_TLS;
        debug!(ctx, "connection {}: encrypted by the kernel", connection.cookie);
        return;
    }
    let end = if is_tcp {
        let Some(end) = transfer.socket.end(transfer.direction) else {
            return;
        };
        connection.see(transfer.direction, end);
        end
    } else {
        unix::end(connection, transfer.direction)
    };
    let start = end.wrapping_sub(transfer.bytes);
    let mut cursor = Cursor::new(connection.cookie, start, transfer.bytes, transfer.direction);
    let next = turn::follow(connection, &raw mut cursor);
    if next & turn::REPORT != 0 {
        if connection.inode == 0 {
            emit::report(transfer.socket, connection);
        } else {
            unix::report(transfer.socket.number());
        }
    }
    if next & turn::GOES_ON == 0 {
        return;
    }
    let reason = match cursor.point(place()) {
        Some(reason) => reason as u32,
        None => turn::READABLE,
    };
    let before = connection.mode;
    let wanted = turn::settle(connection, &raw mut cursor, reason);
    if before != connection.mode {
        debug!(
            ctx,
            "connection {} of process {}: mode {}",
            connection.cookie,
            owner::pid(),
            connection.mode
        );
    }
    if wanted == 0 {
        return;
    }
    if connection.flags & flags::ANNOUNCED == 0 {
        let announced = if connection.inode == 0 {
            emit::open(transfer.socket, connection)
        } else {
            unix::open(transfer.socket.number(), connection) != 0
        };
        if connection.flags & flags::LEFT_OUT != 0 {
            if announced {
                connection.mode = mode::LOWERED;
            }
            return count(Counter::Lowered, bytes);
        }
        if !announced {
            // The piece cannot go ahead of the announcement.
            cursor.piece.turn_away(cursor.address);
            connection.lose(transfer.direction, cursor.piece.length);
            connection.stand_for_later(cursor.stands_for);
            return;
        }
    }
    walk::send(connection, &raw mut cursor);
}
