//! A program that does nothing, attached only by the benchmark: what the kernel's own statistics cost per run.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

/// `sock_send_length`, ignored.
#[btf_tracepoint(function = "sock_send_length")]
pub fn empty_sock_send_length(_: BtfTracePointContext) -> i32 {
    0
}
