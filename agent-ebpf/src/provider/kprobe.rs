//! Probes of TCP's functions, for kernels that refuse fexit. Entries only: probes of returns come from a small pool, and what finds it
//! empty is lost.
//!
//! What a call moved is learnt from a later function of the same thread: a send is over, or waits for room, when it gives the socket
//! free (`release_sock`), and its message's iterator tells how far it came; a receive tells `tcp_cleanup_rbuf` how many bytes it has
//! taken so far. Meanwhile the message is remembered by thread. Sequence numbers tell leftovers of earlier calls apart: without progress
//! of the stream there is none of the call.

use agent_common::{Counter, Direction};
use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::kprobe, maps::HashMap, programs::ProbeContext};

use super::flags::Received;
use crate::{
    count::count,
    iter,
    kernel::{OFF_SOCKET_SK, OFF_TCP_COPIED_SEQ, OFF_TCP_WRITE_SEQ, Socket, probed},
    maps::{RECEIVES, SENDS},
    owner,
    place::Place,
    run::Run,
    transfer::{Transfer, transfer},
};

/// A message that a thread sends or receives.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Message {
    /// Its socket.
    socket: u64,
    /// Its `struct msghdr`; 0 for pages that never are in the process's memory.
    message: u64,
    /// Sending: bytes that are still to go. Receiving: bytes taken so far.
    bytes: u64,
    /// Sequence number of the stream when the message was last looked at.
    sequence: u32,
    /// Flags of the call.
    flags: u32,
}

#[inline(always)]
fn argument(ctx: &ProbeContext, index: usize) -> u64 {
    ctx.arg::<u64>(index).unwrap_or(0)
}

#[inline(always)]
fn remember(map: &HashMap<u64, Message>, message: Message) {
    if map.insert(bpf_get_current_pid_tgid(), message, 0).is_err() {
        count(Counter::ThreadsFull, 0);
    }
}

/// `tcp_sendmsg_locked(sk, msg, size)`.
#[kprobe]
pub fn kprobe_tcp_sendmsg_locked(ctx: ProbeContext) -> u32 {
    let (socket, message) = (argument(&ctx, 0), argument(&ctx, 1));
    if let Some(bytes) = iter::left(message) {
        remember(
            &SENDS,
            Message {
                socket,
                message,
                bytes,
                sequence: probed(socket, OFF_TCP_WRITE_SEQ.load()),
                flags: 0,
            },
        );
    }
    0
}

/// `do_tcp_sendpages(sk, page, offset, size, flags)`, before 6.5: how sendfile and splice send. Later they come as messages.
#[kprobe]
pub fn kprobe_do_tcp_sendpages(ctx: ProbeContext) -> u32 {
    let socket = argument(&ctx, 0);
    remember(
        &SENDS,
        Message {
            socket,
            message: 0,
            bytes: argument(&ctx, 3),
            sequence: probed(socket, OFF_TCP_WRITE_SEQ.load()),
            flags: 0,
        },
    );
    0
}

/// `release_sock(sk)`: of every socket, so that most of its runs end at the first look-up.
#[kprobe]
pub fn kprobe_release_sock(ctx: ProbeContext) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    let Some(message) = SENDS.get_ptr_mut(thread) else {
        return 0;
    };
    // SAFETY: a live map value, of this thread alone.
    let message = unsafe { &mut *message };
    let socket = Socket::<false>(argument(&ctx, 0));
    if message.socket != socket.0 {
        return 0;
    }
    let sequence: u32 = probed(socket.0, OFF_TCP_WRITE_SEQ.load());
    let progress = u64::from(sequence.wrapping_sub(message.sequence));
    if progress == 0 {
        return 0;
    }
    let address = message.message;
    let left = if address == 0 {
        message.bytes.wrapping_sub(progress)
    } else {
        let Some(left) = iter::left(address) else {
            return 0;
        };
        left
    };
    let bytes = message.bytes.wrapping_sub(left);
    message.bytes = left;
    message.sequence = sequence;
    // More than the stream went on: not this call's any more.
    let stale = bytes > progress;
    if stale || left == 0 || address == 0 {
        let _ = SENDS.remove(thread);
    }
    if stale || bytes == 0 {
        return 0;
    }
    let bytes = bytes as u32;
    transfer(
        &ctx,
        &Transfer {
            socket,
            bytes,
            direction: Direction::Out,
            run: Run::First,
        },
        || place(address, bytes),
    );
    0
}

#[inline(always)]
fn place(message: u64, bytes: u32) -> Place {
    if message == 0 {
        Place::Opaque(Counter::OpaqueCall)
    } else {
        iter::behind(message, bytes)
    }
}

/// `unix_stream_sendmsg(sock, msg, size)`. No function is called behind every copy of what a UNIX socket receives, so nothing of them is
/// captured; what is sent is counted.
#[kprobe]
pub fn kprobe_unix_stream_sendmsg(ctx: ProbeContext) -> u32 {
    let what = if owner::is_self() {
        Counter::Own
    } else {
        Counter::Unseen
    };
    count(what, argument(&ctx, 2));
    0
}

/// `tcp_recvmsg(sk, msg, len, flags, …)`.
#[kprobe]
pub fn kprobe_tcp_recvmsg(ctx: ProbeContext) -> u32 {
    receive(argument(&ctx, 0), argument(&ctx, 1), argument(&ctx, 3) as u32);
    0
}

/// `tcp_recvmsg(sk, msg, len, nonblock, flags, addr_len)`, before 5.19.
#[kprobe]
pub fn kprobe_tcp_recvmsg_6(ctx: ProbeContext) -> u32 {
    receive(argument(&ctx, 0), argument(&ctx, 1), argument(&ctx, 4) as u32);
    0
}

/// `tcp_splice_read(sock, position, pipe, len, flags)`.
#[kprobe]
pub fn kprobe_tcp_splice_read(ctx: ProbeContext) -> u32 {
    receive(probed(argument(&ctx, 0), OFF_SOCKET_SK.load()), 0, 0);
    0
}

#[inline(always)]
fn receive(socket: u64, message: u64, flags: u32) {
    remember(
        &RECEIVES,
        Message {
            socket,
            message,
            bytes: 0,
            sequence: probed(socket, OFF_TCP_COPIED_SEQ.load()),
            flags,
        },
    );
}

/// `tcp_cleanup_rbuf(sk, copied)`: with all that the call has taken so far.
#[kprobe]
pub fn kprobe_tcp_cleanup_rbuf(ctx: ProbeContext) -> u32 {
    let copied = argument(&ctx, 1) as i32;
    if copied <= 0 {
        return 0;
    }
    let Some(message) = RECEIVES.get_ptr_mut(bpf_get_current_pid_tgid()) else {
        return 0;
    };
    // SAFETY: a live map value, of this thread alone.
    let message = unsafe { &mut *message };
    let socket = Socket::<false>(argument(&ctx, 0));
    let received = Received::with(message.flags);
    if message.socket != socket.0 || received == Received::Elsewhere {
        return 0;
    }
    let sequence: u32 = probed(socket.0, OFF_TCP_COPIED_SEQ.load());
    let progress = u64::from(sequence.wrapping_sub(message.sequence));
    let address = message.message;
    let copied = copied as u64;
    // Pages are told anew each time.
    let bytes = if address == 0 {
        copied
    } else {
        copied.wrapping_sub(message.bytes)
    };
    if bytes == 0 || bytes > progress {
        return 0;
    }
    message.bytes = copied;
    message.sequence = sequence;
    let bytes = bytes as u32;
    transfer(
        &ctx,
        &Transfer {
            socket,
            bytes,
            direction: Direction::In,
            run: Run::First,
        },
        || received.at(|| place(address, bytes)),
    );
    0
}
