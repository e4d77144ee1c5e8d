//! Exits of system calls: the fallback where the socket tracepoints do not exist. Descriptor → file → socket is walked for every call
//! that may move bytes, so file I/O pays for the rejection, and every other call for a look at its number.
//!
//! One program for all calls: a tracepoint for each would take the kernel 50 ms each to take away.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use super::syscall;
use crate::{arch, run::Run};

/// `sys_exit(regs, ret)`.
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    exit(&ctx, Run::First)
}

/// The same for what the kernel leaves out.
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit_spare(ctx: BtfTracePointContext) -> i32 {
    exit(&ctx, Run::Spare)
}

/// And once more.
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit_spare_2(ctx: BtfTracePointContext) -> i32 {
    exit(&ctx, Run::Last)
}

#[inline(always)]
fn exit(ctx: &BtfTracePointContext, run: Run) -> i32 {
    let result: i64 = ctx.arg(1);
    if result <= 0 && !syscall::is_end(result) {
        return 0;
    }
    // SAFETY: the argument is a typed pointer to the saved registers of the call that returns.
    if let Some(call) = unsafe { arch::moving(ctx.arg::<*const u8>(0) as u64) } {
        syscall::returned(ctx, &call, result, run);
    }
    0
}
