//! Entries and exits of system calls: the arguments are kept per thread from one to the other, for whatever may change them meanwhile.

use agent_common::Counter;
use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::btf_tracepoint, programs::BtfTracePointContext};

use super::syscall;
use crate::{arch, count::count, maps::CALLS, run::Run};

/// `sys_enter(regs, id)`.
#[btf_tracepoint(function = "sys_enter")]
pub fn call_enter(ctx: BtfTracePointContext) -> i32 {
    enter(&ctx, Run::First)
}

/// The same for what the kernel leaves out.
#[btf_tracepoint(function = "sys_enter")]
pub fn call_enter_spare(ctx: BtfTracePointContext) -> i32 {
    enter(&ctx, Run::Spare)
}

/// And once more.
#[btf_tracepoint(function = "sys_enter")]
pub fn call_enter_spare_2(ctx: BtfTracePointContext) -> i32 {
    enter(&ctx, Run::Last)
}

#[inline(always)]
fn enter(ctx: &BtfTracePointContext, run: Run) -> i32 {
    // SAFETY: the argument is a typed pointer to the saved registers of the call that begins.
    let Some(call) = (unsafe { arch::moving(ctx.arg::<*const u8>(0) as u64) }) else {
        return 0;
    };
    let thread = bpf_get_current_pid_tgid();
    if run != Run::First && CALLS.get_ptr(thread).is_some() {
        // The first one was here: exits take away what entries have put there.
        return 0;
    }
    // Spares find no room either, and would count the same call again.
    if syscall::has_socket(&call) && CALLS.insert(thread, call, 0).is_err() && run == Run::First {
        count(Counter::ThreadsFull, 0);
    }
    0
}

/// `sys_exit(regs, ret)`.
#[btf_tracepoint(function = "sys_exit")]
pub fn call_exit(ctx: BtfTracePointContext) -> i32 {
    exit(&ctx, Run::First)
}

/// The same for what the kernel leaves out.
#[btf_tracepoint(function = "sys_exit")]
pub fn call_exit_spare(ctx: BtfTracePointContext) -> i32 {
    exit(&ctx, Run::Spare)
}

/// And once more.
#[btf_tracepoint(function = "sys_exit")]
pub fn call_exit_spare_2(ctx: BtfTracePointContext) -> i32 {
    exit(&ctx, Run::Last)
}

#[inline(always)]
fn exit(ctx: &BtfTracePointContext, run: Run) -> i32 {
    // SAFETY: the argument is a typed pointer to the saved registers of the call that returns.
    if unsafe { !arch::may_move(ctx.arg::<*const u8>(0) as u64) } {
        return 0;
    }
    let thread = bpf_get_current_pid_tgid();
    let Some(call) = CALLS.get_ptr(thread) else {
        return 0;
    };
    if run != Run::First {
        count(Counter::TakenOver, 0);
    }
    // SAFETY: a live map value, of this thread alone until it is removed. Not copied: the stack is short.
    syscall::returned(ctx, unsafe { &*call }, ctx.arg(1), Run::Sole);
    let _ = CALLS.remove(thread);
    0
}
