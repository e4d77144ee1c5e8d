//! The arguments of the system call that the current thread is in, from its saved registers.

use agent_common::Direction;
use aya_ebpf::{
    bindings::pt_regs,
    helpers::generated::{bpf_get_current_task, bpf_get_current_task_btf, bpf_task_pt_regs},
};

use crate::kernel::{OFF_THREAD_STATUS, TYPED_TASK, direct, probed};

/// A system call in progress.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Syscall {
    /// Number, that of a 64-bit program; or one of [`opaque`].
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

/// In place of a call's number: calls of 32-bit programs whose bytes lie where nobody looks.
pub mod opaque {
    /// One that receives.
    pub const IN: u64 = 1 << 32;
    /// One that sends.
    pub const OUT: u64 = 2 << 32;
}

/// What a return takes off the stack, bytes.
#[cfg(bpf_target_arch = "x86_64")]
pub const RETURN_POPS: u64 = 8;
#[cfg(bpf_target_arch = "aarch64")]
pub const RETURN_POPS: u64 = 0;

/// The stack pointer among the registers that a probe gets.
#[inline(always)]
pub fn stack(registers: *const pt_regs) -> u64 {
    // SAFETY: the context of a probe.
    unsafe {
        #[cfg(bpf_target_arch = "x86_64")]
        {
            (*registers).rsp
        }
        #[cfg(bpf_target_arch = "aarch64")]
        {
            (*registers).sp
        }
    }
}

#[inline(always)]
fn registers() -> u64 {
    // SAFETY: no preconditions; the current task always exists.
    unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as u64 }
}

/// # Safety
/// `regs` must be a typed pointer to the current task's saved registers.
#[inline(always)]
unsafe fn read(regs: u64) -> Syscall {
    // SAFETY: by the caller.
    unsafe {
        Syscall {
            number: number(regs),
            first: direct(regs, offsets::FIRST),
            second: direct(regs, offsets::SECOND),
            third: direct(regs, offsets::THIRD),
            fourth: direct(regs, offsets::FOURTH),
        }
    }
}

/// # Safety
/// As for [`read`].
#[inline(always)]
unsafe fn number(regs: u64) -> u64 {
    // SAFETY: by the caller.
    unsafe { direct::<u64>(regs, offsets::NUMBER) & 0xffff_ffff }
}

/// `TS_COMPAT` (arch/x86/include/asm/thread_info.h).
const STATUS_COMPAT: u32 = 2;

/// Whether the current thread is in a 32-bit call.
#[inline(always)]
fn is_compat() -> bool {
    let offset = OFF_THREAD_STATUS.load();
    if offset == 0 {
        return false;
    }
    // SAFETY: the helper that the kernel has gives a typed pointer, or any.
    let status: u32 = unsafe {
        if TYPED_TASK.load() != 0 {
            direct(bpf_get_current_task_btf() as u64, offset)
        } else {
            probed(bpf_get_current_task(), offset)
        }
    };
    status & STATUS_COMPAT != 0
}

/// The system call that is running now, if the thread is inside one. `None` for work done on behalf of an earlier
/// call (io_uring completions, kernel threads), and for 32-bit calls that move no bytes of sockets.
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
    // SAFETY: as above.
    unsafe {
        if is_compat() {
            compat::read(regs)
        } else {
            Some(read(regs))
        }
    }
}

/// Whether the system call to which saved registers belong has a number of those that may move bytes of a socket.
///
/// # Safety
/// As for [`read`].
#[inline(always)]
pub unsafe fn may_move(regs: u64) -> bool {
    // SAFETY: by the caller.
    let number = unsafe { number(regs) };
    Syscall::moves(number) || compat::moves(number)
}

/// The system call to which saved registers belong, if it is one that may move bytes of a socket.
///
/// # Safety
/// As for [`read`].
#[inline(always)]
pub unsafe fn moving(regs: u64) -> Option<Syscall> {
    // SAFETY: by the caller.
    unsafe {
        let number = number(regs);
        let moves = Syscall::moves(number);
        if !moves && !compat::moves(number) {
            return None;
        }
        if is_compat() {
            compat::read(regs)
        } else if moves {
            Some(read(regs))
        } else {
            None
        }
    }
}

/// Calls of 32-bit programs, and those that 64-bit programs make by `int 0x80`.
#[cfg(bpf_target_arch = "x86_64")]
mod compat {
    use aya_ebpf::helpers::bpf_probe_read_user;

    use super::{Syscall, direct, numbers, opaque};

    // struct pt_regs, as above: such calls have their arguments elsewhere.
    const FIRST: u32 = 40;
    const SECOND: u32 = 88;
    const THIRD: u32 = 96;
    const FOURTH: u32 = 104;

    // arch/x86/entry/syscalls/syscall_32.tbl
    const READ: u64 = 3;
    const WRITE: u64 = 4;
    const SOCKETCALL: u64 = 102;
    const READV: u64 = 145;
    const WRITEV: u64 = 146;
    const SENDFILE: u64 = 187;
    const SENDFILE64: u64 = 239;
    const SENDTO: u64 = 369;
    const SENDMSG: u64 = 370;
    const RECVFROM: u64 = 371;
    const RECVMSG: u64 = 372;

    // include/uapi/linux/net.h: first argument of `socketcall`.
    const SYS_SEND: u64 = 9;
    const SYS_RECV: u64 = 10;
    const SYS_SENDTO: u64 = 11;
    const SYS_RECVFROM: u64 = 12;
    const SYS_SENDMSG: u64 = 16;
    const SYS_RECVMSG: u64 = 17;

    /// Whether a call of this number may move bytes of a socket.
    #[inline(always)]
    pub const fn moves(number: u64) -> bool {
        matches!(
            number,
            READ | WRITE
                | SOCKETCALL
                | READV
                | WRITEV
                | SENDFILE
                | SENDFILE64
                | SENDTO
                | SENDMSG
                | RECVFROM
                | RECVMSG
        )
    }

    /// As a 64-bit program would have made it.
    ///
    /// # Safety
    /// As for [`super::read`].
    #[inline(always)]
    pub unsafe fn read(regs: u64) -> Option<Syscall> {
        // SAFETY: by the caller.
        let (number, mut arguments) = unsafe {
            (
                super::number(regs),
                [
                    direct::<u64>(regs, FIRST) as u32,
                    direct::<u64>(regs, SECOND) as u32,
                    direct::<u64>(regs, THIRD) as u32,
                    direct::<u64>(regs, FOURTH) as u32,
                ],
            )
        };
        let number = if number == SOCKETCALL {
            let call = u64::from(arguments[0]);
            let array = u64::from(arguments[1]) as *const [u32; 4];
            // SAFETY: the helper checks the address.
            arguments = unsafe { bpf_probe_read_user(array) }.ok()?;
            match call {
                SYS_SEND | SYS_SENDTO => SENDTO,
                SYS_RECV | SYS_RECVFROM => RECVFROM,
                SYS_SENDMSG => SENDMSG,
                SYS_RECVMSG => RECVMSG,
                _ => return None,
            }
        } else {
            number
        };
        let number = match number {
            READ => numbers::READ,
            WRITE => numbers::WRITE,
            SENDTO => numbers::SENDTO,
            RECVFROM => numbers::RECVFROM,
            // Their arrays have other entries.
            READV => {
                // A number of parts, not flags as with the other.
                arguments[2] = 0;
                opaque::IN
            }
            RECVMSG => opaque::IN,
            WRITEV | SENDMSG | SENDFILE | SENDFILE64 => opaque::OUT,
            _ => return None,
        };
        Some(call_of(number, arguments))
    }

    #[inline(always)]
    fn call_of(number: u64, [first, second, third, fourth]: [u32; 4]) -> Syscall {
        Syscall {
            number,
            first: u64::from(first),
            second: u64::from(second),
            third: u64::from(third),
            fourth: u64::from(fourth),
        }
    }
}

#[cfg(bpf_target_arch = "aarch64")]
mod compat {
    use super::Syscall;

    /// Not decoded: nothing here tells 32-bit calls from others.
    #[inline(always)]
    pub const fn moves(_: u64) -> bool {
        false
    }

    /// None.
    ///
    /// # Safety
    /// Always.
    #[inline(always)]
    pub unsafe fn read(_: u64) -> Option<Syscall> {
        None
    }
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
    /// Whether a call of this number may move bytes of a socket.
    #[inline(always)]
    pub fn moves(number: u64) -> bool {
        Self::has_two_ends(number) || Self::direction(number).is_some()
    }

    /// Which way a call moves bytes of the socket behind its first argument; `None` for those that do not, and for splice.
    #[inline(always)]
    pub fn direction(number: u64) -> Option<Direction> {
        match number {
            numbers::WRITE
            | numbers::SENDTO
            | numbers::WRITEV
            | numbers::SENDMSG
            | numbers::SENDMMSG
            | numbers::SENDFILE
            | opaque::OUT => Some(Direction::Out),
            numbers::READ
            | numbers::RECVFROM
            | numbers::READV
            | numbers::RECVMSG
            | numbers::RECVMMSG
            | opaque::IN => Some(Direction::In),
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
            numbers::RECVMSG | opaque::IN => third as u32,
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
