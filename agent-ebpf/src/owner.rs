//! Who runs now.

use agent_common::Owner;
use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
    generated::{bpf_get_current_cgroup_id, bpf_get_current_task_btf},
};

use crate::kernel::{
    OFF_NET_INUM, OFF_NSPROXY_NET, OFF_TASK_GROUP_LEADER, OFF_TASK_NSPROXY, OFF_TASK_REAL_PARENT,
    OFF_TASK_START, OFF_TASK_TGID, SELF_PID, direct,
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

/// Writes the current process into `owner`.
///
/// # Safety
/// `owner` must be valid for writes; it may be uninitialised.
#[inline(always)]
pub unsafe fn write(owner: *mut Owner) {
    // SAFETY: task pointers are trusted, offsets come from BTF, `owner` by the caller.
    unsafe {
        let task = bpf_get_current_task_btf() as u64;
        let leader: u64 = direct(task, OFF_TASK_GROUP_LEADER.load());
        let parent: u64 = direct(task, OFF_TASK_REAL_PARENT.load());
        (*owner).pid = pid();
        (*owner).parent_pid = if parent == 0 {
            0
        } else {
            direct::<u32>(parent, OFF_TASK_TGID.load())
        };
        (*owner).start_ns = if leader == 0 {
            0
        } else {
            direct(leader, OFF_TASK_START.load())
        };
        (*owner).cgroup = bpf_get_current_cgroup_id();
        (*owner).uid = bpf_get_current_uid_gid() as u32;
        let nsproxy: u64 = direct(task, OFF_TASK_NSPROXY.load());
        let net: u64 = if nsproxy == 0 {
            0
        } else {
            direct(nsproxy, OFF_NSPROXY_NET.load())
        };
        (*owner).netns = if net == 0 {
            0
        } else {
            direct(net, OFF_NET_INUM.load())
        };
        (*owner).comm = bpf_get_current_comm().unwrap_or([0; 16]);
    }
}
