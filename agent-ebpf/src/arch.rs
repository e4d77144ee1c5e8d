//! The arguments of the system call that the current thread is in, from its saved registers.

use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};

use crate::kernel::direct;

/// A system call in progress.
#[derive(Clone, Copy)]
pub struct Syscall {
    /// Number.
    pub number: u64,
    /// First argument.
    pub first: u64,
    /// Second argument.
    pub second: u64,
    /// Third argument.
    pub third: u64,
    /// Fourth argument.
    pub fourth: u64,
}

#[cfg(bpf_target_arch = "x86_64")]
mod offsets {
    // struct pt_regs, arch/x86/include/asm/ptrace.h: part of the kernel's user ABI.
    pub const FIRST: u32 = 112;
    pub const SECOND: u32 = 104;
    pub const THIRD: u32 = 96;
    pub const FOURTH: u32 = 56;
    pub const RETURN: u32 = 80;
    pub const NUMBER: u32 = 120;
}

#[cfg(bpf_target_arch = "aarch64")]
mod offsets {
    // struct pt_regs, arch/arm64/include/asm/ptrace.h. x0 is overwritten by the return value, orig_x0 is not.
    pub const FIRST: u32 = 272;
    pub const SECOND: u32 = 8;
    pub const THIRD: u32 = 16;
    pub const FOURTH: u32 = 24;
    pub const NUMBER: u32 = 64;
}

/// `-ENOSYS`, which entry code puts where the return value will go.
#[cfg(bpf_target_arch = "x86_64")]
const PENDING: u64 = (-38_i64) as u64;

#[inline(always)]
fn registers() -> u64 {
    // SAFETY: no preconditions; the current task always exists.
    unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as u64 }
}

#[inline(always)]
fn read(regs: u64) -> Syscall {
    // SAFETY: `regs` is the task's `struct pt_regs`.
    unsafe {
        Syscall {
            number: direct::<u64>(regs, offsets::NUMBER) & 0xffff_ffff,
            first: direct(regs, offsets::FIRST),
            second: direct(regs, offsets::SECOND),
            third: direct(regs, offsets::THIRD),
            fourth: direct(regs, offsets::FOURTH),
        }
    }
}

/// The system call that is running now, if the thread is inside one. `None` for work done on behalf of an earlier
/// call (io_uring completions, kernel threads).
#[inline(always)]
pub fn running() -> Option<Syscall> {
    let regs = registers();
    #[cfg(bpf_target_arch = "x86_64")]
    {
        // SAFETY: `regs` is the task's `struct pt_regs`.
        let pending: u64 = unsafe { direct(regs, offsets::RETURN) };
        if pending != PENDING {
            return None;
        }
    }
    Some(read(regs))
}

/// The system call that is returning now.
#[inline(always)]
pub fn returning() -> Syscall {
    read(registers())
}

/// Shape of the user buffer of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Buffer {
    /// `second` points to bytes.
    Flat,
    /// `second` points to `third` iovecs.
    Vector,
    /// `second` points to a msghdr.
    Message,
}

#[cfg(bpf_target_arch = "x86_64")]
mod numbers {
    pub const READ: u64 = 0;
    pub const WRITE: u64 = 1;
    pub const READV: u64 = 19;
    pub const WRITEV: u64 = 20;
    pub const SENDTO: u64 = 44;
    pub const RECVFROM: u64 = 45;
    pub const SENDMSG: u64 = 46;
    pub const RECVMSG: u64 = 47;
}

#[cfg(bpf_target_arch = "aarch64")]
mod numbers {
    pub const READ: u64 = 63;
    pub const WRITE: u64 = 64;
    pub const READV: u64 = 65;
    pub const WRITEV: u64 = 66;
    pub const SENDTO: u64 = 206;
    pub const RECVFROM: u64 = 207;
    pub const SENDMSG: u64 = 211;
    pub const RECVMSG: u64 = 212;
}

impl Syscall {
    /// Buffer of a call that receives; `None` for those whose bytes do not pass through readable memory.
    #[inline(always)]
    pub fn receive_buffer(&self) -> Option<Buffer> {
        match self.number {
            numbers::READ | numbers::RECVFROM => Some(Buffer::Flat),
            numbers::READV => Some(Buffer::Vector),
            numbers::RECVMSG => Some(Buffer::Message),
            _ => None,
        }
    }

    /// Buffer of a call that sends.
    #[inline(always)]
    pub fn send_buffer(&self) -> Option<Buffer> {
        match self.number {
            numbers::WRITE | numbers::SENDTO => Some(Buffer::Flat),
            numbers::WRITEV => Some(Buffer::Vector),
            numbers::SENDMSG => Some(Buffer::Message),
            _ => None,
        }
    }
}
