//! Who runs now.

use agent_common::{Owner, ProcessKey};
use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
    generated::{bpf_get_current_cgroup_id, bpf_get_current_task, bpf_get_current_task_btf},
};

use crate::kernel::{
    OFF_NET_INUM, OFF_NSPROXY_NET, OFF_TASK_GROUP_LEADER, OFF_TASK_NSPROXY, OFF_TASK_REAL_PARENT,
    OFF_TASK_START, OFF_TASK_TGID, SELF_PID, TYPED_TASK, load,
};

/// Process (thread group) id.
#[inline(always)]
pub fn pid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// True in the agent itself.
#[inline(always)]
pub fn is_self() -> bool {
    pid() == SELF_PID.load()
}

/// The current process and its start.
#[inline(always)]
pub fn key() -> ProcessKey {
    // SAFETY: the current task is a typed pointer where the kernel says so.
    let start_ns = unsafe {
        if TYPED_TASK.load() != 0 {
            start_ns::<true>(bpf_get_current_task_btf() as u64)
        } else {
            start_ns::<false>(bpf_get_current_task())
        }
    };
    ProcessKey {
        pid: pid(),
        reserved: 0,
        start_ns,
    }
}

/// Start of the process of a task; 0 when nobody knows.
///
/// # Safety
/// `task` must be a typed pointer if `TYPED`.
#[inline(always)]
unsafe fn start_ns<const TYPED: bool>(task: u64) -> u64 {
    // SAFETY: pointers loaded through typed pointers are typed; offsets come from BTF; the rest by the caller.
    unsafe {
        let leader: u64 = load::<TYPED, _>(task, OFF_TASK_GROUP_LEADER.load());
        if leader == 0 {
            0
        } else {
            load::<TYPED, u64>(leader, OFF_TASK_START.load())
        }
    }
}

/// Writes the current process into `owner`.
///
/// # Safety
/// `owner` must be valid for writes; it may be uninitialised.
#[inline(always)]
pub unsafe fn write(owner: *mut Owner) {
    // SAFETY: the current task is a typed pointer where the kernel says so; `owner` by the caller.
    unsafe {
        if TYPED_TASK.load() != 0 {
            describe::<true>(bpf_get_current_task_btf() as u64, owner);
        } else {
            describe::<false>(bpf_get_current_task(), owner);
        }
        (*owner).pid = pid();
        (*owner).cgroup = bpf_get_current_cgroup_id();
        (*owner).uid = bpf_get_current_uid_gid() as u32;
        (*owner).comm = bpf_get_current_comm().unwrap_or([0; 16]);
    }
}

/// What stands in the task.
///
/// # Safety
/// `task` must be a typed pointer if `TYPED`, `owner` valid for writes.
#[inline(always)]
unsafe fn describe<const TYPED: bool>(task: u64, owner: *mut Owner) {
    // SAFETY: pointers loaded through typed pointers are typed; offsets come from BTF; the rest by the caller.
    unsafe {
        let parent: u64 = load::<TYPED, _>(task, OFF_TASK_REAL_PARENT.load());
        (*owner).parent_pid = if parent == 0 {
            0
        } else {
            load::<TYPED, u32>(parent, OFF_TASK_TGID.load())
        };
        (*owner).start_ns = start_ns::<TYPED>(task);
        let nsproxy: u64 = load::<TYPED, _>(task, OFF_TASK_NSPROXY.load());
        let net: u64 = if nsproxy == 0 {
            0
        } else {
            load::<TYPED, _>(nsproxy, OFF_NSPROXY_NET.load())
        };
        (*owner).netns = if net == 0 {
            0
        } else {
            load::<TYPED, u32>(net, OFF_NET_INUM.load())
        };
    }
}
