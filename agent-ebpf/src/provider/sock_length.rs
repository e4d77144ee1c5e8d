//! Socket tracepoints `sock_send_length` and `sock_recv_length` (kernel 6.3 and later): fire for sockets only, after the call, with the
//! socket and the number of bytes. File I/O pays nothing.
//!
//! Where the bytes lie is in the registers of the system call. Those of `sendmmsg` and io_uring do not tell it: there a third
//! tracepoint (6.16 and later) sees the message while it is sent, and the state of the connection notes it until the other fires.

use agent_common::{Counter, Direction};
use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::btf_tracepoint, programs::BtfTracePointContext};

use super::flags::Received;
use crate::{
    arch, connection, iter,
    kernel::Socket,
    place::Place,
    run::Run,
    transfer::{Transfer, transfer},
    unix,
};

/// `sock_send_length(sk, ret, flags)`.
#[btf_tracepoint(function = "sock_send_length")]
pub fn sock_send_length(ctx: BtfTracePointContext) -> i32 {
    handle(&ctx, Direction::Out, Received::Taken, Run::First)
}

/// The same for what the kernel leaves out.
#[btf_tracepoint(function = "sock_send_length")]
pub fn sock_send_length_spare(ctx: BtfTracePointContext) -> i32 {
    handle(&ctx, Direction::Out, Received::Taken, Run::Spare)
}

/// And once more.
#[btf_tracepoint(function = "sock_send_length")]
pub fn sock_send_length_spare_2(ctx: BtfTracePointContext) -> i32 {
    handle(&ctx, Direction::Out, Received::Taken, Run::Last)
}

/// `sock_recv_length(sk, ret, flags)`.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn sock_recv_length(ctx: BtfTracePointContext) -> i32 {
    handle(&ctx, Direction::In, Received::with(ctx.arg(2)), Run::First)
}

/// The same for what the kernel leaves out.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn sock_recv_length_spare(ctx: BtfTracePointContext) -> i32 {
    handle(&ctx, Direction::In, Received::with(ctx.arg(2)), Run::Spare)
}

/// And once more.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn sock_recv_length_spare_2(ctx: BtfTracePointContext) -> i32 {
    handle(&ctx, Direction::In, Received::with(ctx.arg(2)), Run::Last)
}

#[inline(always)]
fn handle(ctx: &BtfTracePointContext, direction: Direction, received: Received, run: Run) -> i32 {
    let bytes: i32 = ctx.arg(1);
    let socket = Socket::<true>(ctx.arg::<*const u8>(0) as u64);
    if run == Run::First && unix::is_end(direction, i64::from(bytes)) && socket.is_unix_stream() {
        unix::nothing_moved(socket.number());
    }
    if bytes > 0 && received != Received::Elsewhere {
        transfer(
            ctx,
            &Transfer {
                socket,
                bytes: bytes as u32,
                direction,
                run,
            },
            || received.at(|| place(socket, bytes as u32, direction)),
        );
    }
    0
}

/// Where the bytes of a call lie.
#[inline(always)]
fn place(socket: Socket<true>, bytes: u32, direction: Direction) -> Place {
    let reason = match arch::running() {
        Some(call) => match Place::of_call(&call, direction) {
            Place::Opaque(reason) => reason,
            place => return place,
        },
        None => Counter::OutsideSyscall,
    };
    match noted(socket) {
        Some(message) if direction == Direction::Out => iter::behind(message, bytes),
        _ => Place::Opaque(reason),
    }
}

/// The message that the present thread has just sent, if it was noted.
#[inline(always)]
fn noted(socket: Socket<true>) -> Option<u64> {
    let connection = connection::find(socket)?;
    // SAFETY: a live map value.
    let connection = unsafe { &mut *connection };
    let message = core::mem::take(&mut connection.message);
    (message != 0 && connection.sender == bpf_get_current_pid_tgid() as u32).then_some(message)
}

/// `tcp_sendmsg_locked(sk, msg, skb, size_goal)`: once for each buffer that the kernel fills.
#[btf_tracepoint(function = "tcp_sendmsg_locked")]
pub fn tcp_sendmsg_locked(ctx: BtfTracePointContext) -> i32 {
    sending(&ctx)
}

/// The same for what the kernel leaves out: that both may note the same does no harm.
#[btf_tracepoint(function = "tcp_sendmsg_locked")]
pub fn tcp_sendmsg_locked_spare(ctx: BtfTracePointContext) -> i32 {
    sending(&ctx)
}

#[inline(always)]
fn sending(ctx: &BtfTracePointContext) -> i32 {
    // Nearly all are such calls.
    if arch::running().is_some_and(|call| call.buffer(Direction::Out).is_some()) {
        return 0;
    }
    let socket = Socket::<true>(ctx.arg::<*const u8>(0) as u64);
    if let Some(connection) = connection::find(socket).or_else(|| connection::begin(socket)) {
        // SAFETY: a live map value.
        unsafe {
            (*connection).message = ctx.arg::<*const u8>(1) as u64;
            (*connection).sender = bpf_get_current_pid_tgid() as u32;
        }
    }
    0
}
