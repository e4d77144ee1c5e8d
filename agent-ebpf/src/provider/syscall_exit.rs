//! Exits of system calls (kernel 5.15 and later): the fallback where the socket tracepoints do not exist. Descriptor → file → socket is
//! walked for every call, so file I/O pays for the rejection.

use agent_common::{Counter, Direction};
use aya_ebpf::{
    helpers::generated::bpf_get_current_task_btf, macros::tracepoint, programs::TracePointContext,
};

use super::flags::Received;
use crate::{
    arch::{self, Syscall},
    kernel::{
        OFF_FDT_FD, OFF_FILE_INODE, OFF_FILE_PRIVATE, OFF_FILES_FDT, OFF_INODE_MODE, OFF_SOCKET_SK,
        OFF_TASK_FILES, Socket, direct, probed,
    },
    place::Place,
    transfer::{Transfer, transfer},
};

/// Offset of the return value in every `sys_exit_*` record.
const RETURN_VALUE: usize = 16;

// include/uapi/linux/stat.h
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// The socket behind a descriptor of the current process.
#[inline(always)]
fn socket_of(descriptor: u64) -> Option<Socket<false>> {
    let descriptor = descriptor as u32;
    if descriptor as i32 >= 0 {
        // SAFETY: trusted pointers from the current task on; each is checked before it is followed.
        let table = unsafe {
            let task = bpf_get_current_task_btf() as u64;
            let files: u64 = direct(task, OFF_TASK_FILES.load());
            if files == 0 {
                return None;
            }
            let table: u64 = direct(files, OFF_FILES_FDT.load());
            if table == 0 {
                return None;
            }
            direct::<u64>(table, OFF_FDT_FD.load())
        };
        let file: u64 = probed(table + u64::from(descriptor) * 8, 0);
        if file == 0 {
            return None;
        }
        let inode: u64 = probed(file, OFF_FILE_INODE.load());
        let mode: u16 = probed(inode, OFF_INODE_MODE.load());
        if mode & S_IFMT != S_IFSOCK {
            return None;
        }
        let socket: u64 = probed(file, OFF_FILE_PRIVATE.load());
        let sk: u64 = probed(socket, OFF_SOCKET_SK.load());
        if sk == 0 {
            return None;
        }
        return Some(Socket(sk));
    }
    None
}

/// Bytes that the call moved; `None` when it moved none.
#[inline(always)]
fn moved(ctx: &TracePointContext) -> Option<u32> {
    // SAFETY: the record of every sys_exit_* tracepoint holds the return value there.
    let bytes = unsafe { ctx.read_at::<i64>(RETURN_VALUE) }.ok()?;
    // One call moves less than 2 GB.
    if bytes > 0 { Some(bytes as u32) } else { None }
}

#[inline(always)]
fn handle(ctx: &TracePointContext, direction: Direction, flags: impl FnOnce(&Syscall) -> u64) -> u32 {
    let Some(bytes) = moved(ctx) else {
        return 0;
    };
    let call = arch::returning();
    let Some(socket) = socket_of(call.first) else {
        return 0;
    };
    let received = Received::with(flags(&call) as u32);
    if received == Received::Elsewhere {
        return 0;
    }
    transfer(
        ctx,
        &Transfer {
            socket,
            bytes,
            direction,
        },
        || received.at(|| Place::of_call(&call, direction)),
    );
    0
}

/// A call that moves bytes past the process's memory: they are announced, so that the stream has no hole that nobody explains.
#[inline(always)]
fn pass(ctx: &TracePointContext, ends: impl FnOnce(&Syscall) -> Option<(Socket<false>, Direction)>) -> u32 {
    let Some(bytes) = moved(ctx) else {
        return 0;
    };
    let call = arch::returning();
    if let Some((socket, direction)) = ends(&call) {
        transfer(
            ctx,
            &Transfer {
                socket,
                bytes,
                direction,
            },
            || Place::Opaque(Counter::OpaqueCall),
        );
    }
    0
}

/// `sendfile(out, in, offset, count)`.
#[tracepoint]
pub fn sys_exit_sendfile64(ctx: TracePointContext) -> u32 {
    pass(&ctx, |call| Some((socket_of(call.first)?, Direction::Out)))
}

/// `splice(in, offset, out, offset, length, flags)`: one end is a pipe, the other may be a socket.
#[tracepoint]
pub fn sys_exit_splice(ctx: TracePointContext) -> u32 {
    pass(&ctx, |call| match socket_of(call.first) {
        Some(socket) => Some((socket, Direction::In)),
        None => Some((socket_of(call.third)?, Direction::Out)),
    })
}

/// Most receiving calls have no flags at hand; those of recvfrom are its fourth argument, of recvmsg the third.
fn none(_: &Syscall) -> u64 {
    0
}

macro_rules! exits {
    ($($name:ident $direction:ident $flags:expr;)*) => { $(
        /// Exit of the system call of this name.
        #[tracepoint]
        pub fn $name(ctx: TracePointContext) -> u32 {
            handle(&ctx, Direction::$direction, $flags)
        }
    )* };
}

exits! {
    sys_exit_write Out none;
    sys_exit_writev Out none;
    sys_exit_sendto Out none;
    sys_exit_sendmsg Out none;
    sys_exit_read In none;
    sys_exit_readv In none;
    sys_exit_recvfrom In |call: &Syscall| call.fourth;
    sys_exit_recvmsg In |call: &Syscall| call.third;
}
