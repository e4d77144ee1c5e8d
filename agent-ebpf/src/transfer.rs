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
    place::Place,
    rest,
    run::Run,
    tls, turn, unix,
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
        _ if transfer.socket.is_unix_stream() => {
            unix::moved(transfer.socket.number(), transfer.direction, bytes, transfer.run)
        }
        _ => begin(transfer),
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
    capture(
        ctx,
        transfer.socket,
        transfer.bytes,
        transfer.direction,
        connection,
        place,
    );
    if connection.mode == mode::TLS {
        tls::below::carried(transfer.socket, connection, transfer.direction);
    }
    account::end(begun, bytes);
}

/// Gives a TCP connection older than the agent a state. `None` when it is of no kind that is captured, or is counted as one that cannot
/// have a state.
///
/// A function of its own: what it needs of the stack is free again when it is over.
#[inline(never)]
fn begin<const TRUSTED: bool>(transfer: &Transfer<TRUSTED>) -> Option<*mut Connection> {
    let Transfer { socket, run, .. } = *transfer;
    // Nobody misses a spare here: what the first program was not told of has no numbers yet that something could follow.
    if matches!(run, Run::Spare | Run::Last) || !socket.is_tcp() {
        return None;
    }
    let found = connection::begin(socket);
    if found.is_none() {
        count(connection::without_state::<TRUSTED>(), transfer.bytes.into());
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

/// What bytes go over: a socket, or a TLS session.
pub trait Stream: Copy {
    /// What the filters say of it, in the context of the process that uses it: a [`Verdict`] as a number.
    fn judge(self, connection: &Connection, include_only: u32) -> u32;
    /// Whether the kernel itself encrypts it.
    fn is_tls_of_kernel(self, connection: &Connection) -> bool;
    /// Place of the stream after the last byte that went by, of which a program is told now. `None` when there is nothing any more.
    fn end(self, connection: &mut Connection, direction: Direction) -> Option<u32>;
    /// Notes what spares have to know of a transfer that goes by; where there is none nobody asks for it.
    fn rest_on(self, connection: &mut Connection, direction: Direction);
    /// Tells user space where it stands.
    fn report(self, connection: &mut Connection);
    /// Announces it. False when the ring buffer is full.
    fn open(self, connection: &mut Connection) -> bool;
}

impl<const TRUSTED: bool> Stream for Socket<TRUSTED> {
    #[inline(always)]
    fn judge(self, connection: &Connection, include_only: u32) -> u32 {
        if connection.inode == 0 {
            filter::judge(self, include_only)
        } else {
            unix::judge(self.number(), include_only)
        }
    }

    #[inline(always)]
    fn is_tls_of_kernel(self, connection: &Connection) -> bool {
        connection.inode == 0 && self.has_kernel_tls()
    }

    #[inline(always)]
    fn end(self, connection: &mut Connection, direction: Direction) -> Option<u32> {
        if connection.inode != 0 {
            return Some(unix::end(connection, direction));
        }
        let end = self.end(direction)?;
        connection.see(direction, end);
        Some(end)
    }

    #[inline(always)]
    fn rest_on(self, connection: &mut Connection, direction: Direction) {
        if HAS_SPARES.load() == 0 {
            connection.seen_ways = 0;
        } else if connection.inode == 0
            && let Some(end) = self.end(direction)
        {
            connection.see(direction, end);
        }
    }

    #[inline(always)]
    fn report(self, connection: &mut Connection) {
        if connection.inode == 0 {
            emit::report(self, connection);
        } else {
            unix::report(self.number());
        }
    }

    #[inline(always)]
    fn open(self, connection: &mut Connection) -> bool {
        if connection.inode == 0 {
            emit::open(self, connection)
        } else {
            unix::open(self.number(), connection) != 0
        }
    }
}

/// Handles a transfer over a stream that has a state.
#[inline(always)]
pub fn capture(
    ctx: &impl EbpfContext,
    stream: impl Stream,
    bytes: u32,
    direction: Direction,
    connection: &mut Connection,
    place: impl FnOnce() -> Place,
) {
    let mut cursor = Cursor::new(connection.cookie, bytes, direction);
    if !is_wanted(ctx, stream, connection, &mut cursor) {
        return;
    }
    let reason = match cursor.point(place()) {
        Some(reason) => reason as u32,
        None => turn::READABLE,
    };
    if is_settled(stream, connection, &mut cursor, reason) {
        walk::send(connection, &raw mut cursor);
    }
}

/// Whether the bytes have to be looked at; counts them if not. Then the cursor knows what they are.
#[inline(always)]
fn is_wanted(
    ctx: &impl EbpfContext,
    stream: impl Stream,
    connection: &mut Connection,
    cursor: &mut Cursor,
) -> bool {
    let length = cursor.piece.length;
    let bytes = u64::from(length);
    let direction = cursor.piece.direction();
    let left_out = match connection.mode {
        mode::UNDECIDED | mode::CAPTURE => None,
        mode::NOT_HTTP => Some(Counter::NotHttp),
        mode::OWN => Some(Counter::Own),
        mode::FILTERED if connection.epoch == filter::settings().epoch => Some(Counter::Filtered),
        mode::FILTERED => {
            turn::judge_anew(connection);
            None
        }
        mode::LOWERED => Some(Counter::Lowered),
        mode::RESTING => {
            let goes_on = rest::goes_on(connection, direction, bytes);
            if goes_on {
                stream.rest_on(connection, direction);
            }
            goes_on.then_some(Counter::Rested)
        }
        mode::KERNEL_TLS => return false,
        mode::TLS => {
            count(Counter::Tls, bytes);
            if !tls::below::is_looked_at(connection, direction) {
                return false;
            }
            None
        }
        _ => Some(Counter::Skipped),
    };
    if let Some(counter) = left_out {
        count(counter, bytes);
        return false;
    }
    if connection.mode == mode::UNDECIDED && connection.tries == 0 {
        let settings = filter::settings();
        let verdict = stream.judge(connection, settings.include_only);
        if verdict == Verdict::Own as u32 {
            connection.mode = mode::OWN;
            debug!(ctx, "connection {}: the agent's own", connection.cookie);
            count(Counter::Own, bytes);
            return false;
        }
        if verdict == Verdict::Unwanted as u32 {
            connection.mode = mode::FILTERED;
            connection.epoch = settings.epoch;
            debug!(ctx, "connection {}: left out by a filter", connection.cookie);
            count(Counter::Filtered, bytes);
            return false;
        }
        account::admit(connection);
        if connection.mode == mode::LOWERED {
            count(Counter::Lowered, bytes);
            return false;
        }
    }
    if connection.mode == mode::UNDECIDED && stream.is_tls_of_kernel(connection) {
        connection.mode = mode::KERNEL_TLS;
        debug!(ctx, "connection {}: encrypted by the kernel", connection.cookie);
        return false;
    }
    let Some(end) = stream.end(connection, direction) else {
        return false;
    };
    cursor.piece.offset = end.wrapping_sub(length);
    if connection.mode == mode::TLS {
        return true;
    }
    let next = turn::follow(connection, &raw mut *cursor);
    if next & turn::REPORT != 0 {
        stream.report(connection);
    }
    next & turn::GOES_ON != 0
}

/// Whether something of the bytes is to be sent, and what it belongs to was announced. `reason` as for [`turn::settle`].
#[inline(always)]
fn is_settled(stream: impl Stream, connection: &mut Connection, cursor: &mut Cursor, reason: u32) -> bool {
    let wanted = turn::settle(connection, &raw mut *cursor, reason);
    if wanted == 0 {
        return false;
    }
    if connection.flags & flags::ANNOUNCED == 0 {
        let announced = stream.open(connection);
        if connection.flags & flags::LEFT_OUT != 0 {
            if announced {
                connection.mode = mode::LOWERED;
            }
            count(Counter::Lowered, u64::from(cursor.piece.length) + cursor.skip);
            return false;
        }
        if !announced {
            // The piece cannot go ahead of the announcement.
            cursor.piece.turn_away(cursor.address);
            connection.lose(cursor.piece.direction(), cursor.piece.length);
            connection.stand_for_later(cursor.stands_for);
            return false;
        }
    }
    true
}
