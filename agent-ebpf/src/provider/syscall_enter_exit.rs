//! Entries and exits of system calls: the fallback for kernels before 5.15, where a program at the exit cannot see the arguments. They
//! are kept per thread from entry to exit. Each program is attached to the tracepoints of many calls.

use agent_common::Counter;
use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::tracepoint, programs::TracePointContext};

use super::{syscall, syscall_exit::RETURN_VALUE};
use crate::{arch::Syscall, count::count, maps::CALLS};

/// Offsets in every `sys_enter_*` record: the call's number, its first argument.
const NUMBER: usize = 8;
const ARGUMENTS: usize = 16;

/// `sys_enter_*` of calls that may move bytes of sockets.
#[tracepoint]
pub fn call_enter(ctx: TracePointContext) -> u32 {
    // SAFETY: the records of all these tracepoints hold numbers there; those of calls with fewer arguments are as long.
    let argument = |i: usize| unsafe { ctx.read_at::<u64>(ARGUMENTS + 8 * i) }.unwrap_or(0);
    let call = Syscall {
        // SAFETY: as above.
        number: u64::from(unsafe { ctx.read_at::<u32>(NUMBER) }.unwrap_or(u32::MAX)),
        first: argument(0),
        second: argument(1),
        third: argument(2),
        fourth: argument(3),
    };
    if syscall::has_socket(&call) && CALLS.insert(bpf_get_current_pid_tgid(), call, 0).is_err() {
        count(Counter::ThreadsFull, 0);
    }
    0
}

/// `sys_exit_*` of the same.
#[tracepoint]
pub fn call_exit(ctx: TracePointContext) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    let Some(call) = CALLS.get_ptr(thread) else {
        return 0;
    };
    // SAFETY: the record of every sys_exit_* tracepoint holds the return value there.
    let result = unsafe { ctx.read_at::<i64>(RETURN_VALUE) }.unwrap_or(0);
    // SAFETY: a live map value, of this thread alone until it is removed. Not copied: the stack is short.
    syscall::returned(&ctx, unsafe { &*call }, result);
    let _ = CALLS.remove(thread);
    0
}
