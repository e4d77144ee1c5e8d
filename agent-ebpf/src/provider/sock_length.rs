//! Socket tracepoints `sock_send_length` and `sock_recv_length` (kernel 6.3 and later): fire for sockets only, after the call, with the
//! socket and the number of bytes. File I/O pays nothing.

use agent_common::{Counter, Direction};
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    arch,
    kernel::Socket,
    place::Place,
    transfer::{Transfer, transfer},
};

// include/linux/socket.h
const MSG_PEEK: i32 = 0x02;
const MSG_TRUNC: i32 = 0x20;
const MSG_ERRQUEUE: i32 = 0x2000;

/// `sock_send_length(sk, ret, flags)`.
#[btf_tracepoint(function = "sock_send_length")]
pub fn sock_send_length(ctx: BtfTracePointContext) -> i32 {
    handle(&ctx, Direction::Out, false)
}

/// `sock_recv_length(sk, ret, flags)`.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn sock_recv_length(ctx: BtfTracePointContext) -> i32 {
    let flags: i32 = ctx.arg(2);
    if flags & (MSG_PEEK | MSG_ERRQUEUE) != 0 {
        return 0;
    }
    handle(&ctx, Direction::In, flags & MSG_TRUNC != 0)
}

#[inline(always)]
fn handle(ctx: &BtfTracePointContext, direction: Direction, discarded: bool) -> i32 {
    let bytes: i32 = ctx.arg(1);
    if bytes > 0 {
        let socket = Socket::<true>(ctx.arg::<*const u8>(0) as u64);
        transfer(
            ctx,
            &Transfer {
                socket,
                bytes: bytes as u32,
                direction,
            },
            || match arch::running() {
                Some(_) if discarded => Place::Opaque(Counter::Discarded),
                Some(call) => Place::of_call(&call, direction),
                None => Place::Opaque(Counter::OutsideSyscall),
            },
        );
    }
    0
}
