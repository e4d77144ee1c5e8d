//! Socket tracepoints `sock_send_length` and `sock_recv_length` (kernel 6.3 and later): fire for sockets only, after the call, with the
//! socket and the number of bytes. File I/O pays nothing.

use agent_common::{Counter, Direction};
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use super::flags::Received;
use crate::{
    arch,
    kernel::Socket,
    place::Place,
    transfer::{Transfer, transfer},
    unix,
};

/// `sock_send_length(sk, ret, flags)`.
#[btf_tracepoint(function = "sock_send_length")]
pub fn sock_send_length(ctx: BtfTracePointContext) -> i32 {
    handle(&ctx, Direction::Out, Received::Taken)
}

/// `sock_recv_length(sk, ret, flags)`.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn sock_recv_length(ctx: BtfTracePointContext) -> i32 {
    handle(&ctx, Direction::In, Received::with(ctx.arg(2)))
}

#[inline(always)]
fn handle(ctx: &BtfTracePointContext, direction: Direction, received: Received) -> i32 {
    let bytes: i32 = ctx.arg(1);
    let socket = Socket::<true>(ctx.arg::<*const u8>(0) as u64);
    if unix::is_end(direction, i64::from(bytes)) && socket.is_unix_stream() {
        unix::nothing_moved(socket.number());
    }
    if bytes > 0 && received != Received::Elsewhere {
        transfer(
            ctx,
            &Transfer {
                socket,
                bytes: bytes as u32,
                direction,
            },
            || {
                received.at(|| match arch::running() {
                    Some(call) => Place::of_call(&call, direction),
                    None => Place::Opaque(Counter::OutsideSyscall),
                })
            },
        );
    }
    0
}
