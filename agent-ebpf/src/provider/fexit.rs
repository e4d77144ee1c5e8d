//! Returns of the functions that all ways into TCP go through, with their arguments (fexit, kernel 5.10 and later): plain calls,
//! io_uring, several messages at once, 32-bit programs. File I/O pays nothing, and nothing is remembered between entry and return.
//!
//! The return value follows the arguments, so where their number changed between kernels there is one program for each number; the
//! loader takes the one that fits.

use agent_common::{Counter, Direction};
use aya_ebpf::{macros::fexit, programs::FExitContext};

use super::flags::Received;
use crate::{
    iter,
    kernel::{OFF_SOCKET_SK, Socket, direct},
    place::Place,
    transfer::{Transfer, transfer},
};

/// `tcp_sendmsg(sk, msg, size)`.
#[fexit(function = "tcp_sendmsg")]
pub fn fexit_tcp_sendmsg(ctx: FExitContext) -> i32 {
    message(&ctx, Direction::Out, ctx.arg(3), Received::Taken)
}

/// `tcp_recvmsg(sk, msg, len, flags)`.
#[fexit(function = "tcp_recvmsg")]
pub fn fexit_tcp_recvmsg_4(ctx: FExitContext) -> i32 {
    message(&ctx, Direction::In, ctx.arg(4), Received::with(ctx.arg(3)))
}

/// `tcp_recvmsg(sk, msg, len, flags, addr_len)`, from 5.19 on.
#[fexit(function = "tcp_recvmsg")]
pub fn fexit_tcp_recvmsg_5(ctx: FExitContext) -> i32 {
    message(&ctx, Direction::In, ctx.arg(5), Received::with(ctx.arg(3)))
}

/// `tcp_recvmsg(sk, msg, len, nonblock, flags, addr_len)`, before 5.19.
#[fexit(function = "tcp_recvmsg")]
pub fn fexit_tcp_recvmsg_6(ctx: FExitContext) -> i32 {
    message(&ctx, Direction::In, ctx.arg(6), Received::with(ctx.arg(4)))
}

#[inline(always)]
fn message(ctx: &FExitContext, direction: Direction, result: i32, received: Received) -> i32 {
    if result > 0 && received != Received::Elsewhere {
        let bytes = result as u32;
        let message = ctx.arg::<*const u8>(1) as u64;
        transfer(
            ctx,
            &Transfer {
                socket: Socket::<true>(ctx.arg::<*const u8>(0) as u64),
                bytes,
                direction,
            },
            || received.at(|| iter::behind(message, bytes)),
        );
    }
    0
}

/// `tcp_sendpage(sk, page, offset, size, flags)`, before 6.5: how sendfile and splice send. Later they come as messages.
#[fexit(function = "tcp_sendpage")]
pub fn fexit_tcp_sendpage(ctx: FExitContext) -> i32 {
    let socket = Socket::<true>(ctx.arg::<*const u8>(0) as u64);
    pages(&ctx, socket, Direction::Out, i64::from(ctx.arg::<i32>(5)))
}

/// `tcp_splice_read(sock, position, pipe, len, flags)`.
#[fexit(function = "tcp_splice_read")]
pub fn fexit_tcp_splice_read(ctx: FExitContext) -> i32 {
    // SAFETY: the argument is a pointer to `struct socket`; the offset comes from BTF.
    let socket = unsafe { direct(ctx.arg::<*const u8>(0) as u64, OFF_SOCKET_SK.load()) };
    pages(&ctx, Socket::<true>(socket), Direction::In, ctx.arg(5))
}

/// Bytes that never are in the process's memory.
#[inline(always)]
fn pages(ctx: &FExitContext, socket: Socket<true>, direction: Direction, result: i64) -> i32 {
    if result > 0 {
        transfer(
            ctx,
            &Transfer {
                socket,
                bytes: result as u32,
                direction,
            },
            || Place::Opaque(Counter::OpaqueCall),
        );
    }
    0
}
