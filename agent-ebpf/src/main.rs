//! The eBPF programs. They capture plaintext at the socket layer and send it to the agent; they judge nothing but whether
//! a connection looks like HTTP.
//!
//! Map of the code: `provider` holds one file per way of hooking in, each of which calls `transfer` with the socket, the
//! direction and the [`place::Place`] of the bytes; `transfer` and `turn` decide, `account` charges the process, `walk` goes through the
//! bytes, `emit` builds records in the ring buffer; `run` tells why some programs are there more than once; `lifecycle` follows
//! connections from establishment to close, `unix` those of the UNIX domain, `tls` sessions over them, `process` programs from
//! exec to exit.
//!
//! Invariants: no wakeup per event; no per-CPU scratch (it is shared when BPF is preemptible); every byte not sent is counted.
#![no_std]
#![no_main]

mod account;
mod arch;
mod connection;
mod count;
mod emit;
mod filter;
mod iter;
mod kernel;
mod lifecycle;
mod maps;
mod owner;
mod place;
mod process;
mod provider;
mod rest;
mod run;
mod tls;
mod transfer;
mod turn;
mod unix;
mod walk;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Unreachable: the verifier would reject a program in which it were not.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
