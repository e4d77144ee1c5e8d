//! Ways of hooking in. Each finds the socket, the direction, the number of bytes and the place of the bytes of a transfer; one of them is
//! attached at a time, chosen by the loader.

mod empty;
mod fexit;
mod flags;
mod kprobe;
mod sock_length;
mod syscall;
mod syscall_enter_exit;
mod syscall_exit;

pub use kprobe::Message;
