//! What the providers at system calls share: descriptor → file → socket, and what a call moved.

use core::ffi::c_void;

use agent_common::{Counter, Direction, MESSAGES_MAX, MESSAGES_MAX_UNROLLED};
use aya_ebpf::{
    EbpfContext,
    helpers::{
        bpf_probe_read_user,
        generated::{bpf_get_current_task, bpf_get_current_task_btf, bpf_loop},
    },
};

use super::flags::Received;
use crate::{
    arch::Syscall,
    count::count,
    kernel::{
        HAS_LOOP, OFF_FDT_FD, OFF_FILE_INODE, OFF_FILE_PRIVATE, OFF_FILES_FDT, OFF_INODE_MODE, OFF_SOCKET_SK,
        OFF_TASK_FILES, Socket, TYPED_TASK, load, probed,
    },
    place::Place,
    run::Run,
    transfer::{Transfer, transfer},
    unix,
};

// include/uapi/linux/stat.h
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// `struct mmsghdr` (include/linux/socket.h): its size, and where the length of a message stands.
const MMSGHDR_BYTES: u64 = 64;
const MMSGHDR_LENGTH: u64 = 56;

/// The array of files of the current process.
///
/// # Safety
/// `task` must be a typed pointer to the current task if `TYPED`.
#[inline(always)]
unsafe fn files<const TYPED: bool>(task: u64) -> Option<u64> {
    // SAFETY: typed pointers from the task on, if `TYPED`; each is checked before it is followed.
    unsafe {
        let files: u64 = load::<TYPED, _>(task, OFF_TASK_FILES.load());
        if files == 0 {
            return None;
        }
        let table: u64 = load::<TYPED, _>(files, OFF_FILES_FDT.load());
        if table == 0 {
            return None;
        }
        Some(load::<TYPED, u64>(table, OFF_FDT_FD.load()))
    }
}

/// The socket behind a descriptor of the current process.
#[inline(always)]
fn socket_of(descriptor: u64) -> Option<Socket<false>> {
    let descriptor = descriptor as u32;
    if (descriptor as i32) < 0 {
        return None;
    }
    // SAFETY: the helper that the kernel has gives such a pointer, or any.
    let files = unsafe {
        if TYPED_TASK.load() != 0 {
            files::<true>(bpf_get_current_task_btf() as u64)
        } else {
            files::<false>(bpf_get_current_task())
        }
    }?;
    let file: u64 = probed(files + u64::from(descriptor) * 8, 0);
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
    if sk == 0 { None } else { Some(Socket(sk)) }
}

/// The socket that a call is about, with a [`Direction`] in its lowest bit (addresses of sockets are even); 0 if there is none.
///
/// Global, as are the others here with C linkage: verified once, by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn socket_of_call(number: u64, first: u64, third: u64) -> u64 {
    if Syscall::has_two_ends(number) {
        if let Some(socket) = socket_of(first) {
            return socket.0 | Direction::In as u64;
        }
        return socket_of(third).map_or(0, |socket| socket.0 | Direction::Out as u64);
    }
    let Some(direction) = Syscall::direction(number) else {
        return 0;
    };
    socket_of(first).map_or(0, |socket| socket.0 | direction as u64)
}

/// Whether a call is about a socket.
#[inline(always)]
pub fn has_socket(call: &Syscall) -> bool {
    socket_of_call(call.number, call.first, call.third) != 0
}

/// Whether a call that moved nothing may have found that a connection is over.
#[inline(always)]
pub const fn is_end(result: i64) -> bool {
    unix::is_end(Direction::In, result) || unix::is_end(Direction::Out, result)
}

/// A call returned.
#[inline(always)]
pub fn returned(ctx: &impl EbpfContext, call: &Syscall, result: i64, run: Run) {
    if result <= 0 && !is_end(result) {
        return;
    }
    let socket = socket_of_call(call.number, call.first, call.third);
    if socket == 0 {
        return;
    }
    let direction = if socket & 1 == Direction::In as u64 {
        Direction::In
    } else {
        Direction::Out
    };
    let flags = match direction {
        Direction::In => flags_of_call(call.number, call.third, call.fourth),
        Direction::Out => 0,
    };
    let received = Received::with(flags);
    if received == Received::Elsewhere {
        return;
    }
    if result <= 0 {
        if unix::is_end(direction, result) {
            unix::nothing_moved(socket & !1);
        }
        return;
    }
    let bytes = bytes_of_call(call.number, call.second, result as u64);
    if bytes == 0 {
        return;
    }
    transfer(
        ctx,
        &Transfer {
            socket: Socket::<false>(socket & !1),
            bytes,
            direction,
            run,
        },
        // Several messages, and pages, are announced, so that the stream has no hole that nobody explains.
        || received.at(|| Place::of_call(call, direction)),
    );
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn flags_of_call(number: u64, third: u64, fourth: u64) -> u32 {
    Syscall::flags(number, third, fourth)
}

/// Bytes that a call moved whose result is more than 0. One call moves less than 2 GB.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn bytes_of_call(number: u64, second: u64, result: u64) -> u32 {
    if !Syscall::is_of_messages(number) {
        return result as u32;
    }
    let has_loop = HAS_LOOP.load() != 0;
    let most = u64::from(if has_loop {
        MESSAGES_MAX
    } else {
        MESSAGES_MAX_UNROLLED
    });
    let mut lengths = Lengths {
        next: second + MMSGHDR_LENGTH,
        sum: 0,
    };
    let pointer: *mut Lengths = &raw mut lengths;
    let messages = if result > most { most } else { result };
    if has_loop {
        // SAFETY: the callback matches the helper's contract and gets the stack value passed here.
        unsafe {
            bpf_loop(
                messages as u32,
                add_length as *const () as *mut c_void,
                pointer.cast(),
                0,
            )
        };
    } else {
        for i in 0..MESSAGES_MAX_UNROLLED {
            if u64::from(i) >= messages {
                break;
            }
            // SAFETY: as above.
            unsafe { add_length(i, pointer.cast()) };
        }
    }
    if result > most {
        count(Counter::TooManyMessages, 0);
        // At least one each.
        lengths.sum += result - most;
    }
    lengths.sum as u32
}

/// Lengths of messages that are added up.
#[repr(C)]
struct Lengths {
    /// Where the next one stands.
    next: u64,
    sum: u64,
}

/// Adds one. Not 0 would end the loop.
#[inline(never)]
unsafe extern "C" fn add_length(_: u32, lengths: *mut c_void) -> i64 {
    // SAFETY: `bytes_of_call` passes its own.
    let lengths = unsafe { &mut *lengths.cast::<Lengths>() };
    // SAFETY: the helper checks the address.
    lengths.sum += u64::from(unsafe { bpf_probe_read_user(lengths.next as *const u32) }.unwrap_or(0));
    lengths.next += MMSGHDR_BYTES;
    0
}
