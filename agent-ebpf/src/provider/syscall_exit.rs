//! Exits of system calls (kernel 5.15 and later): the fallback where the socket tracepoints do not exist. Descriptor → file → socket is
//! walked for every call, so file I/O pays for the rejection.

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};

use super::syscall;
use crate::arch;

/// Offset of the return value in every `sys_exit_*` record.
pub const RETURN_VALUE: usize = 16;

macro_rules! exits {
    ($($name:ident)*) => { $(
        /// Exit of the system call of this name.
        #[tracepoint]
        pub fn $name(ctx: TracePointContext) -> u32 {
            // SAFETY: the record of every sys_exit_* tracepoint holds the return value there.
            let result = unsafe { ctx.read_at::<i64>(RETURN_VALUE) }.unwrap_or(0);
            if result > 0 || syscall::is_end(result) {
                syscall::returned(&ctx, &arch::returning(), result);
            }
            0
        }
    )* };
}

exits! {
    sys_exit_write
    sys_exit_writev
    sys_exit_sendto
    sys_exit_sendmsg
    sys_exit_sendmmsg
    sys_exit_sendfile64
    sys_exit_splice
    sys_exit_read
    sys_exit_readv
    sys_exit_recvfrom
    sys_exit_recvmsg
    sys_exit_recvmmsg
}
