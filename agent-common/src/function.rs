//! Functions of the kernel that programs call where the kernel has them (kfuncs). Their numbers differ between kernels: the object has
//! these in their places, which are no helper's and no kernel's, and the loader replaces each call.

/// `bpf_preempt_disable()`, kernel 6.10 and later.
pub const PREEMPT_DISABLE: u32 = 0x7ea5_0001;
/// `bpf_preempt_enable()`.
pub const PREEMPT_ENABLE: u32 = 0x7ea5_0002;
