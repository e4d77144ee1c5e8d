//! Access to kernel structures without compile-time headers: the loader looks field offsets up in the running kernel's BTF and
//! puts them into these read-only globals, which the verifier treats as constants.

use core::ffi::c_void;

use agent_common::Direction;
use aya_ebpf::{
    Global,
    helpers::generated::{bpf_probe_read_kernel, bpf_skc_to_tcp_sock},
};

macro_rules! offsets {
    ($($name:ident)*) => { $(
        #[unsafe(no_mangle)]
        pub static $name: Global<u32> = Global::new(0);
    )* };
}

offsets! {
    OFF_SK_FAMILY OFF_SK_NUM OFF_SK_DPORT OFF_SK_DADDR OFF_SK_RCV_SADDR OFF_SK_V6_DADDR OFF_SK_V6_RCV_SADDR OFF_SK_NET OFF_SK_COOKIE
    OFF_SK_PROTOCOL OFF_SK_FLAGS OFF_NET_INUM
    OFF_TCP_WRITE_SEQ OFF_TCP_COPIED_SEQ OFF_TCP_RCV_NXT OFF_TCP_BYTES_SENT OFF_TCP_BYTES_RECEIVED OFF_TCP_BYTES_ACKED OFF_TCP_UPPER
    OFF_TASK_GROUP_LEADER OFF_TASK_REAL_PARENT OFF_TASK_PID OFF_TASK_TGID OFF_TASK_START OFF_TASK_NSPROXY OFF_NSPROXY_NET
    OFF_TASK_MM OFF_MM_ARG_START OFF_MM_ARG_END OFF_BPRM_FILENAME
    OFF_TASK_FILES OFF_FILES_FDT OFF_FDT_FD OFF_FILE_INODE OFF_INODE_MODE OFF_FILE_PRIVATE OFF_SOCKET_SK
    OFF_SK_TYPE OFF_SK_SOCKET OFF_SK_PEER_PID OFF_SK_QUEUE_LENGTH OFF_SOCKET_INODE OFF_PID_NUMBER
    OFF_UNIX_PEER OFF_UNIX_ADDR OFF_UNIX_ADDR_USERS OFF_UNIX_ADDR_LEN OFF_UNIX_ADDR_NAME
    OFF_MSG_ITER OFF_ITER_OFFSET OFF_ITER_COUNT OFF_ITER_PARTS
}

/// The agent's own process.
#[unsafe(no_mangle)]
pub static SELF_PID: Global<u32> = Global::new(0);
/// Not 0 where programs may keep state in the socket (the provider has typed sockets, kernel 5.11 and later). Otherwise state is kept
/// by the socket's address.
#[unsafe(no_mangle)]
pub static SOCKET_STORAGE: Global<u32> = Global::new(1);
/// Not 0 where programs may ask for a socket's cookie (kernel 5.12 and later).
#[unsafe(no_mangle)]
pub static SOCKET_COOKIE: Global<u32> = Global::new(1);
/// Not 0 where the current task comes as a typed pointer (kernel 5.11 and later).
#[unsafe(no_mangle)]
pub static TYPED_TASK: Global<u32> = Global::new(1);
/// Not 0 where programs at work on transfers have spares (see `run`).
#[unsafe(no_mangle)]
pub static HAS_SPARES: Global<u32> = Global::new(1);
/// Where `struct task_struct` says whether the thread is in a 32-bit call; 0 where nothing says it.
#[unsafe(no_mangle)]
pub static OFF_THREAD_STATUS: Global<u32> = Global::new(0);
/// Where `struct unix_sock` says how many bytes wait to be read; 0 where nothing says it (before 6.17).
#[unsafe(no_mangle)]
pub static OFF_UNIX_WAITING: Global<u32> = Global::new(0);
/// Not 0 where the kernel has the helper `bpf_loop` (5.17 and later).
#[unsafe(no_mangle)]
pub static HAS_LOOP: Global<u32> = Global::new(1);

/// Not 0 where all that the programs read of UNIX sockets is where they know it to be.
#[unsafe(no_mangle)]
pub static HAS_UNIX: Global<u32> = Global::new(1);

/// Which bits of the first word of `struct iov_iter` are its kind, and the kinds that lie in the process's memory: an array of iovecs,
/// one run of bytes (no kind has that number before 6.0).
#[unsafe(no_mangle)]
pub static ITER_KIND_BITS: Global<u32> = Global::new(0xff);
#[unsafe(no_mangle)]
pub static ITER_KIND_VECTOR: Global<u32> = Global::new(u32::MAX);
#[unsafe(no_mangle)]
pub static ITER_KIND_FLAT: Global<u32> = Global::new(u32::MAX);

/// `AF_UNIX`.
const AF_UNIX: u16 = 1;
/// `SOCK_STREAM` (include/linux/net.h).
const SOCK_STREAM: u16 = 1;
/// `AF_INET`.
pub const AF_INET: u16 = 2;
/// `AF_INET6`.
pub const AF_INET6: u16 = 10;
/// `IPPROTO_TCP`.
const IPPROTO_TCP: u16 = 6;
/// `SOCK_DONE` of `enum sock_flags`: the peer's FIN has come.
const SOCK_DONE: u64 = 1 << 1;

/// Loads a field through a pointer that the verifier knows to be one of a kernel structure (or of a program's own memory).
///
/// # Safety
/// `base` must be such a pointer and `offset` a field of type `T`; the verifier checks both, and a fault reads as zero.
#[inline(always)]
pub unsafe fn direct<T: Copy>(base: u64, offset: u32) -> T {
    // SAFETY: by the caller. Volatile, so that the compiler neither merges nor narrows the load, which the verifier would refuse.
    unsafe { core::ptr::read_volatile((base as *const u8).add(offset as usize).cast::<T>()) }
}

/// Loads a field through any kernel address. Zero when it cannot be read: then the helper fills the value with zeroes itself, so that
/// there is no branch, whose both sides the verifier would have to walk.
#[inline(always)]
pub fn probed<T: Copy + Default>(base: u64, offset: u32) -> T {
    let mut value = T::default();
    let address = (base + u64::from(offset)) as *const c_void;
    // SAFETY: the helper checks the address and writes a value's size.
    unsafe { bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, address) };
    value
}

/// [`direct`] or [`probed`].
///
/// # Safety
/// As for [`direct`] if `TYPED`.
#[inline(always)]
pub unsafe fn load<const TYPED: bool, T: Copy + Default>(base: u64, offset: u32) -> T {
    if TYPED {
        // SAFETY: by the caller.
        unsafe { direct(base, offset) }
    } else {
        probed(base, offset)
    }
}

/// A socket, trusted (its fields load directly) or a mere address.
#[derive(Clone, Copy)]
pub struct Socket<const TRUSTED: bool>(pub u64);

impl<const TRUSTED: bool> Socket<TRUSTED> {
    /// A field of `struct sock`.
    #[inline(always)]
    pub fn field<T: Copy + Default>(self, offset: u32) -> T {
        // SAFETY: a trusted socket is a pointer to `struct sock`; offsets come from BTF.
        unsafe { load::<TRUSTED, T>(self.0, offset) }
    }

    /// Its address as a mere number: what the verifier knows as a pointer is no argument for a global function.
    #[inline(always)]
    pub fn number(self) -> u64 {
        if TRUSTED {
            let pointer = self.0;
            probed((&raw const pointer) as u64, 0)
        } else {
            self.0
        }
    }

    /// True for TCP over IPv4 or IPv6.
    #[inline(always)]
    pub fn is_tcp(self) -> bool {
        let family: u16 = self.field(OFF_SK_FAMILY.load());
        if family != AF_INET && family != AF_INET6 {
            return false;
        }
        let protocol: u16 = self.field(OFF_SK_PROTOCOL.load());
        protocol == IPPROTO_TCP
    }

    /// True for stream sockets of the UNIX domain.
    #[inline(always)]
    pub fn is_unix_stream(self) -> bool {
        if HAS_UNIX.load() == 0 {
            return false;
        }
        let family: u16 = self.field(OFF_SK_FAMILY.load());
        let kind: u16 = self.field(OFF_SK_TYPE.load());
        family == AF_UNIX && kind == SOCK_STREAM
    }

    /// The same socket as `struct tcp_sock`, for [`Self::tcp_field`]; 0 if it is not a full TCP socket.
    #[inline(always)]
    pub fn as_tcp(self) -> u64 {
        if TRUSTED {
            // SAFETY: the argument is a trusted socket.
            unsafe { bpf_skc_to_tcp_sock(self.0 as *mut core::ffi::c_void) as u64 }
        } else {
            self.0
        }
    }

    /// Whether the kernel itself encrypts or decrypts what goes over it (`TCP_ULP`, Documentation/networking/tls.rst): what processes
    /// move is not what has sequence numbers then, and some of it does not pass the functions that are hooked.
    #[inline(always)]
    pub fn has_kernel_tls(self) -> bool {
        let tcp = if TRUSTED || self.is_tcp() {
            self.as_tcp()
        } else {
            0
        };
        if tcp == 0 {
            return false;
        }
        let upper: u64 = Self::tcp_field(tcp, OFF_TCP_UPPER.load());
        upper != 0
    }

    /// Sequence number after the last byte that the process has read or written. `None` when it is not a full TCP socket.
    #[inline(always)]
    pub fn end(self, direction: Direction) -> Option<u32> {
        let tcp = self.as_tcp();
        if tcp == 0 {
            return None;
        }
        Some(match direction {
            Direction::Out => Self::tcp_field(tcp, OFF_TCP_WRITE_SEQ.load()),
            // The call that reads the last bytes reads the FIN too.
            Direction::In => self.received(tcp).0,
        })
    }

    /// A field of `struct tcp_sock`, `tcp` being what [`Self::as_tcp`] gave.
    #[inline(always)]
    pub fn tcp_field<T: Copy + Default>(tcp: u64, offset: u32) -> T {
        // SAFETY: as above; the caller has checked for 0.
        unsafe { load::<TRUSTED, T>(tcp, offset) }
    }

    /// Sequence numbers after the last byte that the process has read and after the last one that came. A FIN takes a number and is
    /// no byte: where it has been counted it is taken off again.
    #[inline(always)]
    pub fn received(self, tcp: u64) -> (u32, u32) {
        let copied: u32 = Self::tcp_field(tcp, OFF_TCP_COPIED_SEQ.load());
        let next: u32 = Self::tcp_field(tcp, OFF_TCP_RCV_NXT.load());
        let flags: u64 = self.field(OFF_SK_FLAGS.load());
        if flags & SOCK_DONE == 0 {
            return (copied, next);
        }
        let read = u32::from(copied == next);
        (copied.wrapping_sub(read), next.wrapping_sub(1))
    }
}
