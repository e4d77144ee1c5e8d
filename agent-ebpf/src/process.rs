//! Programs from exec to exit, so that a process that is gone before the agent looks has still a name.

use agent_common::{Counter, EXEC_ARGS_BYTES, EXEC_FILE_BYTES, ExecRecord, ExitRecord, Kind};
use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid, bpf_ktime_get_ns,
        generated::{bpf_probe_read_kernel_str, bpf_probe_read_user},
    },
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};

use crate::{
    count::count,
    emit::NO_WAKEUP,
    kernel::{
        OFF_BPRM_FILENAME, OFF_MM_ARG_END, OFF_MM_ARG_START, OFF_TASK_GROUP_LEADER, OFF_TASK_MM,
        OFF_TASK_PID, OFF_TASK_START, OFF_TASK_TGID, direct,
    },
    maps::{CALLS, EVENTS, RECEIVES, SENDS},
    owner,
};

/// `sched_process_exec(task, old_pid, bprm)`: in the process, after the new program's memory is in place.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    let task = ctx.arg::<*const u8>(0) as u64;
    let program = ctx.arg::<*const u8>(2) as u64;
    let Some(mut record) = EVENTS.reserve_bytes(size_of::<ExecRecord>(), 0) else {
        count(Counter::ProcessLost, 0);
        return 0;
    };
    let exec = record.as_mut_ptr().cast::<ExecRecord>();
    // SAFETY: the reservation is as large as the record and eight-byte aligned; task, mm and bprm are trusted pointers.
    unsafe {
        (*exec).kind = Kind::Exec as u8;
        (*exec).reserved = [0; 3];
        (*exec).file_bytes = 0;
        (*exec).args_bytes = 0;
        (*exec).time_ns = bpf_ktime_get_ns();
        owner::write(&raw mut (*exec).owner);
        let file: u64 = direct(program, OFF_BPRM_FILENAME.load());
        let read = bpf_probe_read_kernel_str(
            (&raw mut (*exec).file).cast(),
            EXEC_FILE_BYTES as u32,
            file as *const _,
        );
        if read > 0 {
            // The helper counts the NUL.
            (*exec).file_bytes = read as u16 - 1;
        }
        let memory: u64 = direct(task, OFF_TASK_MM.load());
        if memory != 0 {
            let start: u64 = direct(memory, OFF_MM_ARG_START.load());
            let end: u64 = direct(memory, OFF_MM_ARG_END.load());
            let most = EXEC_ARGS_BYTES as u64 - 1;
            let length = end.wrapping_sub(start);
            let length = core::hint::black_box(if length > most { most } else { length }) & most;
            if bpf_probe_read_user((&raw mut (*exec).args).cast(), length as u32, start as *const _) == 0 {
                (*exec).args_bytes = length as u16;
            }
        }
    }
    record.submit(NO_WAKEUP);
    0
}

/// `sched_process_exit(task)`: once per thread; reported when the thread group's leader ends.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    let thread = bpf_get_current_pid_tgid();
    let _ = CALLS.remove(thread);
    let _ = SENDS.remove(thread);
    let _ = RECEIVES.remove(thread);
    let task = ctx.arg::<*const u8>(0) as u64;
    // SAFETY: a trusted task pointer; offsets come from BTF.
    let (pid, group): (u32, u32) = unsafe {
        (
            direct(task, OFF_TASK_PID.load()),
            direct(task, OFF_TASK_TGID.load()),
        )
    };
    if pid != group {
        return 0;
    }
    let Some(mut record) = EVENTS.reserve_bytes(size_of::<ExitRecord>(), 0) else {
        count(Counter::ProcessLost, 0);
        return 0;
    };
    let exit = record.as_mut_ptr().cast::<ExitRecord>();
    // SAFETY: the reservation is as large as the record and eight-byte aligned; the task as above.
    unsafe {
        let leader: u64 = direct(task, OFF_TASK_GROUP_LEADER.load());
        (*exit).kind = Kind::Exit as u8;
        (*exit).reserved = [0; 3];
        (*exit).pid = group;
        (*exit).start_ns = if leader == 0 {
            0
        } else {
            direct(leader, OFF_TASK_START.load())
        };
        (*exit).time_ns = bpf_ktime_get_ns();
    }
    record.submit(NO_WAKEUP);
    0
}
