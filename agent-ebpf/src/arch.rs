//! The arguments of the system call that the current thread is in, from its saved registers.

use agent_common::Direction;
use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};

use crate::kernel::direct;

/// A system call in progress.
#[derive(Clone, Copy)]
#[repr(C)]
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
#[repr(u32)]
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
    pub const SENDFILE: u64 = 40;
    pub const SPLICE: u64 = 275;
    pub const RECVMMSG: u64 = 299;
    pub const SENDMMSG: u64 = 307;
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
    pub const SENDFILE: u64 = 71;
    pub const SPLICE: u64 = 76;
    pub const RECVMMSG: u64 = 243;
    pub const SENDMMSG: u64 = 269;
}

impl Syscall {
    /// Which way a call moves bytes of the socket behind its first argument; `None` for those that do not, and for splice.
    #[inline(always)]
    pub fn direction(number: u64) -> Option<Direction> {
        match number {
            numbers::WRITE
            | numbers::SENDTO
            | numbers::WRITEV
            | numbers::SENDMSG
            | numbers::SENDMMSG
            | numbers::SENDFILE => Some(Direction::Out),
            numbers::READ | numbers::RECVFROM | numbers::READV | numbers::RECVMSG | numbers::RECVMMSG => {
                Some(Direction::In)
            }
            _ => None,
        }
    }

    /// Whether its first argument may be a socket that bytes come from, otherwise its third one that they go to.
    #[inline(always)]
    pub fn has_two_ends(number: u64) -> bool {
        number == numbers::SPLICE
    }

    /// Whether its result is a number of messages, whose lengths stand in the array that is its second argument.
    #[inline(always)]
    pub fn is_of_messages(number: u64) -> bool {
        number == numbers::RECVMMSG || number == numbers::SENDMMSG
    }

    /// Flags of a call that receives.
    #[inline(always)]
    pub fn flags(number: u64, third: u64, fourth: u64) -> u32 {
        match number {
            numbers::RECVFROM | numbers::RECVMMSG => fourth as u32,
            numbers::RECVMSG => third as u32,
            _ => 0,
        }
    }

    /// Shape of its buffer; `None` for calls whose bytes do not pass through readable memory.
    #[inline(always)]
    pub fn buffer(&self, direction: Direction) -> Option<Buffer> {
        match shape(self.number, direction as u32) {
            found if found == Buffer::Flat as u32 => Some(Buffer::Flat),
            found if found == Buffer::Vector as u32 => Some(Buffer::Vector),
            found if found == Buffer::Message as u32 => Some(Buffer::Message),
            _ => None,
        }
    }
}

/// See [`Syscall::buffer`]: a [`Buffer`] as a number, or another. Global: verified once, by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn shape(number: u64, direction: u32) -> u32 {
    let flat = [
        [numbers::READ, numbers::RECVFROM],
        [numbers::WRITE, numbers::SENDTO],
    ];
    let vector = [numbers::READV, numbers::WRITEV];
    let message = [numbers::RECVMSG, numbers::SENDMSG];
    let way = if direction == Direction::In as u32 {
        (flat[0], vector[0], message[0])
    } else {
        (flat[1], vector[1], message[1])
    };
    if number == way.0[0] || number == way.0[1] {
        Buffer::Flat as u32
    } else if number == way.1 {
        Buffer::Vector as u32
    } else if number == way.2 {
        Buffer::Message as u32
    } else {
        NO_BUFFER
    }
}

/// In place of a [`Buffer`].
const NO_BUFFER: u32 = 3;
