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
    kernel::Socket,
    owner,
    place::Place,
    rest, turn,
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
            let Some(created) = connection::begin(transfer.socket) else {
                count(Counter::NoState, bytes);
                return;
            };
            created
        }
    };
    // SAFETY: a live map value; see `Connection` on concurrent changes.
    let connection = unsafe { &mut *connection };
    let begun = account::begin(connection);
    known(ctx, transfer, connection, place);
    account::end(begun, bytes);
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
                return count(Counter::Rested, bytes);
            }
        }
        mode::KERNEL_TLS => return,
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
    if connection.mode == mode::UNDECIDED && connection.tries == 0 {
        let settings = filter::settings();
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
        account::admit(connection);
        if connection.mode == mode::LOWERED {
            return count(Counter::Lowered, bytes);
        }
    }
    if connection.mode == mode::UNDECIDED && transfer.socket.has_kernel_tls() {
        connection.mode = mode::KERNEL_TLS;
        debug!(ctx, "connection {}: encrypted by the kernel", connection.cookie);
        return;
    }
    let Some(end) = transfer.socket.end(transfer.direction) else {
        return;
    };
    let start = end.wrapping_sub(transfer.bytes);
    let mut cursor = Cursor::new(connection.cookie, start, transfer.bytes, transfer.direction);
    let next = turn::follow(connection, &raw mut cursor);
    if next & turn::REPORT != 0 {
        emit::report(transfer.socket, connection);
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
        let announced = emit::open(transfer.socket, connection);
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
            connection.stand_for_later(&cursor.piece);
            return;
        }
    }
    walk::send(connection, &raw mut cursor);
}
