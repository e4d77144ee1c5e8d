//! Calls of TLS libraries in progress, by thread.
//!
//! A call that another one of the same session makes is the outer one's business. That one is inside shows in the stack: it grows
//! downwards. A call whose end was never seen (a long jump, a probe that was left out) lies deeper than the next one that begins, or as
//! deep, and is forgotten then.

use agent_common::Counter;
use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_user},
    programs::RetProbeContext,
};

use super::session::{self, Moved};
use crate::{arch, count::count, maps::TLS_CALLS};

/// What a call does.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// Nothing with plaintext, or nothing that counts.
    None = 0,
    /// Hands plaintext to the process.
    Read = 1,
    /// Takes plaintext from it.
    Write = 2,
    /// Takes it from a file.
    SendFile = 3,
}

/// A call in progress.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Call {
    /// The session's object.
    pub ssl: u64,
    /// Stack pointer when it began.
    pub stack: u64,
    /// Plaintext.
    pub buffer: u64,
    /// Where the number of bytes will be written, a `size_t`; 0 if the result is that number.
    pub written: u64,
    /// [`Action`].
    pub action: u32,
    /// `TlsFamily`.
    pub family: u32,
}

/// A call begins.
#[inline(always)]
pub fn begins(call: Call) {
    let thread = bpf_get_current_pid_tgid();
    if let Some(outer) = TLS_CALLS.get_ptr(thread) {
        // SAFETY: a live map value, of this thread alone.
        let outer = unsafe { &*outer };
        if outer.stack > call.stack {
            if outer.ssl == call.ssl {
                return;
            }
            // TLS inside of TLS, say: who is outside is not followed to its end.
            count(Counter::TlsNested, 0);
        }
    }
    if TLS_CALLS.insert(thread, call, 0).is_err() {
        count(Counter::ThreadsFull, 0);
    }
}

/// A call ends.
#[inline(always)]
pub fn ends(ctx: &RetProbeContext) {
    let thread = bpf_get_current_pid_tgid();
    let Some(call) = TLS_CALLS.get_ptr(thread) else {
        return;
    };
    // SAFETY: as above.
    let call = unsafe { *call };
    if call.stack.wrapping_add(arch::RETURN_POPS) != arch::stack(ctx.regs) {
        // The end of one inside of it.
        return;
    }
    let _ = TLS_CALLS.remove(thread);
    // An `int`, whose upper half is nobody's.
    let result = ctx.ret::<u64>() as i32;
    if call.action == Action::None as u32 || result <= 0 {
        return;
    }
    let bytes = if call.written == 0 {
        result as u64
    } else {
        // SAFETY: the helper checks the address.
        unsafe { bpf_probe_read_user(call.written as *const u64) }.unwrap_or(0)
    };
    if bytes == 0 {
        return;
    }
    session::moved(
        ctx,
        &Moved {
            ssl: call.ssl,
            buffer: call.buffer,
            bytes,
            is_sent: call.action != Action::Read as u32,
            is_opaque: call.action == Action::SendFile as u32,
        },
    );
}
