//! Where the bytes of a transfer lie. Each provider tells it in this form; `transfer` reads from there.

use agent_common::{Counter, Direction};
use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user};

use crate::arch::{Buffer, Syscall};

/// Size of `struct iovec`.
pub const PART: u64 = 16;

/// Address and length of a part, as `struct iovec` has them.
pub type Part = [u64; 2];

/// Where an array of iovecs lies. What its entries point to is the process's memory in either case.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Array {
    /// In the process's memory: what it handed to the system call.
    User,
    /// In the kernel's: the copy that the kernel works with.
    Kernel,
}

impl Array {
    /// Reads an entry.
    #[inline(always)]
    pub fn read(self, address: u64) -> Option<Part> {
        let address = address as *const Part;
        match self {
            // SAFETY: the helper checks the address.
            Self::User => unsafe { bpf_probe_read_user(address) }.ok(),
            // SAFETY: the helper checks the address.
            Self::Kernel => unsafe { bpf_probe_read_kernel(address) }.ok(),
        }
    }
}

/// Where the bytes of a transfer lie.
#[derive(Clone, Copy)]
pub enum Place {
    /// One run of the process's memory, with room for so many bytes; there may be fewer.
    Flat {
        /// First byte.
        address: u64,
        /// Bytes.
        room: u64,
    },
    /// Several runs.
    Vector {
        /// First iovec.
        vector: u64,
        /// iovecs.
        length: u64,
        /// Bytes of the first that are not part of the transfer.
        skip: u64,
        /// Where the iovecs themselves lie.
        array: Array,
    },
    /// Nowhere that can be read, for this reason.
    Opaque(Counter),
}

impl Place {
    /// The buffer of a system call.
    #[inline(always)]
    pub fn of_call(call: &Syscall, direction: Direction) -> Self {
        match call.buffer(direction) {
            Some(Buffer::Flat) => Self::Flat {
                address: call.second,
                room: call.third,
            },
            Some(Buffer::Vector) => Self::user_vector(call.second, call.third),
            Some(Buffer::Message) => {
                // struct user_msghdr: name, name length, then iovec and its length.
                match Array::User.read(call.second + 16) {
                    Some([vector, length]) => Self::user_vector(vector, length),
                    None => Self::Opaque(Counter::Fault),
                }
            }
            None => Self::Opaque(Counter::OpaqueCall),
        }
    }

    #[inline(always)]
    const fn user_vector(vector: u64, length: u64) -> Self {
        Self::Vector {
            vector,
            length,
            skip: 0,
            array: Array::User,
        }
    }
}
