//! Returns of the functions that all ways into TCP and UNIX streams go through, with their arguments (fexit, kernel 5.10 and later): plain calls,
//! io_uring, several messages at once, 32-bit programs. File I/O pays nothing, and nothing is remembered between entry and return.
//!
//! The return value follows the arguments, so where their number changed between kernels there is one program for each number; the
//! loader takes the one that fits.

use agent_common::{Counter, Direction};
use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};

use super::flags::Received;
use crate::{
    iter,
    kernel::{OFF_SOCKET_SK, Socket, direct},
    place::Place,
    run::Run,
    transfer::{Transfer, transfer},
    unix,
};

macro_rules! messages {
    ($($(#[doc = $doc:literal])* $function:literal $first:ident $spare:ident $spare_2:ident $socket:ident $direction:ident, $result:literal, $received:expr;)*) => { $(
        $(#[doc = $doc])*
        #[fexit(function = $function)]
        pub fn $first(ctx: FExitContext) -> i32 {
            message(&ctx, $socket(&ctx), Direction::$direction, ctx.arg($result), ($received)(&ctx), Run::First)
        }

        /// The same for what the kernel leaves out.
        #[fexit(function = $function)]
        pub fn $spare(ctx: FExitContext) -> i32 {
            message(&ctx, $socket(&ctx), Direction::$direction, ctx.arg($result), ($received)(&ctx), Run::Spare)
        }

        /// And once more.
        #[fexit(function = $function)]
        pub fn $spare_2(ctx: FExitContext) -> i32 {
            message(&ctx, $socket(&ctx), Direction::$direction, ctx.arg($result), ($received)(&ctx), Run::Last)
        }
    )* };
}

messages! {
    /// `tcp_sendmsg(sk, msg, size)`.
    "tcp_sendmsg" fexit_tcp_sendmsg fexit_tcp_sendmsg_spare fexit_tcp_sendmsg_spare_2 tcp Out, 3, |_: &FExitContext| Received::Taken;
    /// `tcp_recvmsg(sk, msg, len, flags)`.
    "tcp_recvmsg" fexit_tcp_recvmsg_4 fexit_tcp_recvmsg_4_spare fexit_tcp_recvmsg_4_spare_2 tcp In, 4, |ctx: &FExitContext| Received::with(ctx.arg(3));
    /// `tcp_recvmsg(sk, msg, len, flags, addr_len)`, from 5.19 on.
    "tcp_recvmsg" fexit_tcp_recvmsg_5 fexit_tcp_recvmsg_5_spare fexit_tcp_recvmsg_5_spare_2 tcp In, 5, |ctx: &FExitContext| Received::with(ctx.arg(3));
    /// `tcp_recvmsg(sk, msg, len, nonblock, flags, addr_len)`, before 5.19.
    "tcp_recvmsg" fexit_tcp_recvmsg_6 fexit_tcp_recvmsg_6_spare fexit_tcp_recvmsg_6_spare_2 tcp In, 6, |ctx: &FExitContext| Received::with(ctx.arg(4));
    /// `unix_stream_sendmsg(sock, msg, size)`.
    "unix_stream_sendmsg" fexit_unix_stream_sendmsg fexit_unix_stream_sendmsg_spare fexit_unix_stream_sendmsg_spare_2 behind Out, 3, |_: &FExitContext| Received::Taken;
    /// `unix_stream_recvmsg(sock, msg, size, flags)`.
    "unix_stream_recvmsg" fexit_unix_stream_recvmsg fexit_unix_stream_recvmsg_spare fexit_unix_stream_recvmsg_spare_2 behind In, 4, |ctx: &FExitContext| Received::with_unix(ctx.arg(3));
}

/// The first argument.
#[inline(always)]
fn tcp(ctx: &FExitContext) -> Socket<true> {
    Socket(ctx.arg::<*const u8>(0) as u64)
}

/// What the first argument stands for.
#[inline(always)]
fn behind(ctx: &FExitContext) -> Socket<true> {
    // SAFETY: the argument is a pointer to `struct socket`; the offset comes from BTF.
    Socket(unsafe { direct(ctx.arg::<*const u8>(0) as u64, OFF_SOCKET_SK.load()) })
}

#[inline(always)]
fn message(
    ctx: &FExitContext,
    socket: Socket<true>,
    direction: Direction,
    result: i32,
    received: Received,
    run: Run,
) -> i32 {
    if result > 0 && received != Received::Elsewhere {
        let bytes = result as u32;
        let message = ctx.arg::<*const u8>(1) as u64;
        transfer(
            ctx,
            &Transfer {
                socket,
                bytes,
                direction,
                run,
            },
            || received.at(|| iter::behind(message, bytes)),
        );
    }
    0
}

/// `tcp_sendpage(sk, page, offset, size, flags)`, before 6.5: how sendfile and splice send. Later they come as messages.
#[fexit(function = "tcp_sendpage")]
pub fn fexit_tcp_sendpage(ctx: FExitContext) -> i32 {
    pages(&ctx, tcp(&ctx), Direction::Out, i64::from(ctx.arg::<i32>(5)))
}

/// `tcp_splice_read(sock, position, pipe, len, flags)`.
#[fexit(function = "tcp_splice_read")]
pub fn fexit_tcp_splice_read(ctx: FExitContext) -> i32 {
    pages(&ctx, behind(&ctx), Direction::In, ctx.arg(5))
}

/// `unix_stream_sendpage(sock, page, offset, size, flags)`, before 6.5.
#[fexit(function = "unix_stream_sendpage")]
pub fn fexit_unix_stream_sendpage(ctx: FExitContext) -> i32 {
    pages(&ctx, behind(&ctx), Direction::Out, ctx.arg(5))
}

/// `unix_stream_splice_read(sock, position, pipe, size, flags)`.
#[fexit(function = "unix_stream_splice_read")]
pub fn fexit_unix_stream_splice_read(ctx: FExitContext) -> i32 {
    pages(&ctx, behind(&ctx), Direction::In, ctx.arg(5))
}

/// `unix_release(sock)`: on its way in, for then it still is a socket.
#[fentry(function = "unix_release")]
pub fn fentry_unix_release(ctx: FEntryContext) -> i32 {
    // SAFETY: as in `behind`.
    let socket = unsafe { direct(ctx.arg::<*const u8>(0) as u64, OFF_SOCKET_SK.load()) };
    unix::release(Socket::<true>(socket).number());
    0
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
                run: Run::First,
            },
            || Place::Opaque(Counter::OpaqueCall),
        );
    }
    0
}
