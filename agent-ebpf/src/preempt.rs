//! Programs that are not preempted, so that the kernel has none to leave out (see `run`).
//!
//! Where kernels let that be asked for: elsewhere the loader makes nothing of the calls. What is left are the few instructions before
//! the first call and after the last, and interrupts.

use agent_common::{PREEMPT_DISABLE, PREEMPT_ENABLE};

/// Until [`allow`] no other thread gets the processor. (Not one function that takes what is to be done: what it would be called with is
/// not always made one with it, and the verifier has to walk it again.)
#[inline(always)]
pub fn forbid() {
    call::<PREEMPT_DISABLE>();
}

/// Ends [`forbid`]; the verifier checks that all ways out of a program do.
#[inline(always)]
pub fn allow() {
    call::<PREEMPT_ENABLE>();
}

#[inline(always)]
fn call<const FUNCTION: u32>() {
    // SAFETY: the loader puts a function without arguments and result in the place of this number, or an instruction that does nothing.
    unsafe {
        let function: unsafe extern "C" fn() = core::mem::transmute(FUNCTION as usize);
        function();
    }
}
