//! What the running kernel offers to programs, as globals that make the rest dead code for its verifier.
//!
//! A helper exists where the function that implements it is in the kernel's types: kernels that took it over from later releases are
//! judged right, which release numbers would not do.

use super::{
    btf::{Btf, BtfError},
    provider::Provider,
};

/// No kind of iterator has this number.
const NO_KIND: u32 = u32::MAX;

/// What programs may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// State in sockets from tracing programs (5.11).
    socket_storage: bool,
    /// Cookies of sockets in tracing programs (5.12).
    socket_cookie: bool,
    /// The current task as a typed pointer (5.11).
    typed_task: bool,
    /// Loops with a callback (5.17).
    loops: bool,
    /// Programs at functions may be preempted: the kernel is built so. Whether it was started so cannot be seen.
    pub(super) preempts_functions: bool,
    /// Programs at tracepoints may be preempted: their guard lets it, with the kind of SRCU that brought that (7.0).
    pub(super) preempts_tracepoints: bool,
}

impl Features {
    /// Those of a kernel.
    #[must_use]
    pub fn of(kernel: &Btf) -> Self {
        Self {
            socket_storage: kernel.has_function("bpf_sk_storage_get_tracing"),
            socket_cookie: kernel.has_function("bpf_get_socket_ptr_cookie"),
            typed_task: kernel.has_function("bpf_get_current_task_btf"),
            loops: kernel.has_function("bpf_loop"),
            preempts_functions: kernel.has_function("preempt_schedule"),
            preempts_tracepoints: kernel.has_function("init_srcu_struct_fast"),
        }
    }

    /// Whether global functions may take pointers. The verifier knows them from the release on that brought the cookies; but what they
    /// point to is no value for a map before 6.2, and programs that walk without loops have to put it into one.
    #[must_use]
    pub(super) const fn global_pointers(self) -> bool {
        self.socket_cookie && self.loops
    }

    /// The same without loops with a callback.
    #[must_use]
    pub(super) const fn without_loops(self) -> Self {
        Self { loops: false, ..self }
    }

    /// Whether there are loops with a callback.
    #[must_use]
    pub(super) const fn loops(self) -> bool {
        self.loops
    }

    /// Values of the programs' globals.
    pub(super) fn globals(self, provider: Provider) -> [(&'static str, u32); 4] {
        [
            (
                "SOCKET_STORAGE",
                u32::from(self.socket_storage && provider.has_trusted_sockets()),
            ),
            ("SOCKET_COOKIE", u32::from(self.socket_cookie)),
            ("TYPED_TASK", u32::from(self.typed_task)),
            ("HAS_LOOP", u32::from(self.loops)),
        ]
    }
}

/// Where this kernel says whether a thread is in a 32-bit call, as a global of the programs; 0 where it does not (not x86).
pub(super) fn thread_status(kernel: &Btf) -> (&'static str, u32) {
    let offset = || {
        let info = kernel.offset("task_struct", "thread_info")?;
        Ok::<_, BtfError>(info + kernel.offset("thread_info", "status")?)
    };
    ("OFF_THREAD_STATUS", offset().unwrap_or(0))
}

/// How this kernel describes where a message's bytes lie (`struct iov_iter`), as globals of the programs.
///
/// # Errors
/// A field that this kernel lacks.
pub(super) fn iterator(kernel: &Btf) -> Result<[(&'static str, u32); 7], BtfError> {
    // Before 5.14 the kind shared its word with two flags.
    let shared = kernel.offset("iov_iter", "iter_type").is_err();
    let parts = kernel
        .offset("iov_iter", "__iov")
        .or_else(|_| kernel.offset("iov_iter", "iov"))?;
    let kind = |name| kernel.constant("iter_type", name).unwrap_or(NO_KIND);
    Ok([
        ("OFF_MSG_ITER", kernel.offset("msghdr", "msg_iter")?),
        ("OFF_ITER_OFFSET", kernel.offset("iov_iter", "iov_offset")?),
        ("OFF_ITER_COUNT", kernel.offset("iov_iter", "count")?),
        ("OFF_ITER_PARTS", parts),
        ("ITER_KIND_BITS", if shared { 0xfc } else { 0xff }),
        ("ITER_KIND_VECTOR", kind("ITER_IOVEC")),
        ("ITER_KIND_FLAT", kind("ITER_UBUF")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_has_iterators() {
        let kernel = Btf::kernel().unwrap();
        let globals = iterator(&kernel).unwrap();
        let value = |name| globals.iter().find(|(global, _)| *global == name).unwrap().1;
        assert_ne!(value("ITER_KIND_VECTOR"), NO_KIND);
        assert_ne!(value("ITER_KIND_VECTOR"), value("ITER_KIND_FLAT"));
    }
}
