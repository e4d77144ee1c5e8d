//! Where the bytes of a `struct msghdr` lie, inside the kernel.
//!
//! The kernel walks a message with its `msg_iter`. It has been advanced by as many bytes as were moved when the call is over, so what was
//! moved lies right behind it: nothing needs to be remembered from the beginning of the call. Layouts: `include/linux/uio.h`.

use core::ffi::c_void;

use agent_common::{Counter, STEPS_BACK_MAX, STEPS_BACK_MAX_UNROLLED};
use aya_ebpf::helpers::{bpf_probe_read_kernel, generated::bpf_loop};

use crate::{
    kernel::{
        HAS_LOOP, ITER_KIND_BITS, ITER_KIND_FLAT, ITER_KIND_VECTOR, OFF_ITER_COUNT, OFF_ITER_OFFSET,
        OFF_ITER_PARTS, OFF_MSG_ITER,
    },
    place::{Array, PART, Place},
    walk::length_of,
};

/// Words read of a message's iterator; all fields lie in them.
const WORDS: usize = 8;

/// A message's iterator.
#[derive(Clone, Copy)]
struct Iter([u64; WORDS]);

impl Iter {
    /// Reads that of the message at a kernel address.
    #[inline(always)]
    fn of(message: u64) -> Option<Self> {
        let address = message + u64::from(OFF_MSG_ITER.load());
        // SAFETY: the helper checks the address.
        unsafe { bpf_probe_read_kernel(address as *const [u64; WORDS]) }
            .ok()
            .map(Self)
    }

    #[inline(always)]
    fn word(&self, offset: u32) -> u64 {
        // Masked: offsets come from the kernel's types, and the compiler must see that they are in bounds.
        self.0[(offset as usize / size_of::<u64>()) & (WORDS - 1)]
    }

    #[inline(always)]
    fn kind(&self) -> u32 {
        self.0[0] as u32 & ITER_KIND_BITS.load()
    }

    /// Bytes into the run, or into the first iovec.
    #[inline(always)]
    fn offset(&self) -> u64 {
        self.word(OFF_ITER_OFFSET.load())
    }

    /// The run, or the first iovec.
    #[inline(always)]
    fn parts(&self) -> u64 {
        self.word(OFF_ITER_PARTS.load())
    }
}

/// Bytes that the message's iterator has not gone over yet.
#[inline(always)]
pub fn left(message: u64) -> Option<u64> {
    Iter::of(message).map(|iter| iter.word(OFF_ITER_COUNT.load()))
}

/// Where the last `bytes` bytes lie that the message's iterator went over.
#[inline(always)]
pub fn behind(message: u64, bytes: u32) -> Place {
    let mut back = Back {
        vector: message,
        offset: 0,
        left: u64::from(bytes),
    };
    let found = go_back(&raw mut back);
    if found == FLAT {
        Place::Flat {
            address: back.vector.wrapping_add(back.offset).wrapping_sub(back.left),
            room: u64::from(bytes),
        }
    } else if found == VECTOR {
        Place::Vector {
            vector: back.vector,
            // As many as it takes: the bytes are known to be there.
            length: u64::from(STEPS_BACK_MAX),
            skip: length_of(back.offset) - length_of(back.left),
            array: Array::Kernel,
        }
    } else if found == PAGES {
        Place::Opaque(Counter::OpaqueCall)
    } else if found == FAR {
        Place::Opaque(Counter::TooManyParts)
    } else {
        Place::Opaque(Counter::Fault)
    }
}

// What `go_back` finds.
/// Nothing: the kernel's memory could not be read.
const NOTHING: u32 = 0;
/// One run of bytes.
const FLAT: u32 = 1;
/// An array of iovecs.
const VECTOR: u32 = 2;
/// Pages, or the kernel's own memory.
const PAGES: u32 = 3;
/// More iovecs than can be stepped over.
const FAR: u32 = 4;

/// A way backwards through an array of iovecs, or through a run of bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Back {
    /// The present iovec, or the run. At first the message: as a number in memory, because a typed pointer cannot be an argument of a
    /// global function.
    vector: u64,
    /// Bytes of it that lie behind.
    offset: u64,
    /// Bytes to go back from there.
    left: u64,
}

/// Goes `left` bytes back from where the message's iterator stands, so far that they lie within one part.
///
/// Global, as the functions of `turn`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn go_back(back: *mut Back) -> u32 {
    // SAFETY: the caller's stack; the verifier checks it.
    let Some(back) = (unsafe { back.as_mut() }) else {
        return NOTHING;
    };
    let Some(iter) = Iter::of(back.vector) else {
        return NOTHING;
    };
    let kind = iter.kind();
    back.vector = iter.parts();
    back.offset = iter.offset();
    if kind == ITER_KIND_FLAT.load() {
        return FLAT;
    }
    if kind != ITER_KIND_VECTOR.load() {
        return PAGES;
    }
    // A copy: loops with a callback want their state on the stack of who starts them.
    let mut steps = *back;
    step_back(&mut steps);
    *back = steps;
    if length_of(back.left) <= length_of(back.offset) {
        VECTOR
    } else {
        FAR
    }
}

/// Steps back iovec by iovec, until the rest of the way lies within one.
#[inline(always)]
fn step_back(back: &mut Back) {
    let pointer: *mut Back = back;
    if HAS_LOOP.load() != 0 {
        // SAFETY: the callback matches the helper's contract and gets the stack value passed here.
        unsafe {
            bpf_loop(
                STEPS_BACK_MAX,
                one_back as *const () as *mut c_void,
                pointer.cast(),
                0,
            )
        };
    } else {
        for i in 0..STEPS_BACK_MAX_UNROLLED {
            // SAFETY: as above.
            if unsafe { one_back(i, pointer.cast()) } != 0 {
                break;
            }
        }
    }
}

/// One step. Not 0 ends the loop.
#[inline(never)]
unsafe extern "C" fn one_back(_: u32, back: *mut c_void) -> i64 {
    // SAFETY: `step_back` passes its own state.
    let back = unsafe { &mut *back.cast::<Back>() };
    let (offset, left) = (length_of(back.offset), length_of(back.left));
    if left <= offset {
        return 1;
    }
    let vector = back.vector.wrapping_sub(PART);
    let Some([_, length]) = Array::Kernel.read(vector) else {
        return 1;
    };
    back.vector = vector;
    back.left = left - offset;
    back.offset = length_of(length);
    0
}
