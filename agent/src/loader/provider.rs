//! Ways of capturing, best first.

use serde::{Deserialize, Serialize};

use super::{btf::Btf, features::Features};

/// A way of capturing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Returns of the kernel's TCP functions, kernel 5.10 and later, unless it is locked down: sees every way in.
    Fexit,
    /// Socket tracepoints, kernel 6.3 and later: no cost for file I/O.
    SockLength,
    /// Exits of system calls, kernel 5.15 and later.
    SyscallExit,
}

/// What the configuration asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderChoice {
    /// The best that works.
    #[default]
    Auto,
    /// Only this one.
    Fexit,
    /// Only this one.
    SockLength,
    /// Only this one.
    SyscallExit,
}

/// A provider that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// Which.
    pub provider: Provider,
    /// Why it does not work; `None` when it does.
    pub error: Option<String>,
}

/// A program and what it attaches to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hook {
    /// Name in the object.
    pub program: &'static str,
    /// Tracepoint or kernel function.
    pub target: &'static str,
}

impl Hook {
    /// A program that has the name of what it attaches to.
    pub const fn named(name: &'static str) -> Self {
        Self {
            program: name,
            target: name,
        }
    }

    const fn new(program: &'static str, target: &'static str) -> Self {
        Self { program, target }
    }
}

impl From<Provider> for ProviderChoice {
    fn from(provider: Provider) -> Self {
        match provider {
            Provider::Fexit => Self::Fexit,
            Provider::SockLength => Self::SockLength,
            Provider::SyscallExit => Self::SyscallExit,
        }
    }
}

impl ProviderChoice {
    /// What to try, in order.
    pub fn candidates(self) -> impl Iterator<Item = Provider> {
        Provider::ALL
            .into_iter()
            .filter(move |provider| self == Self::Auto || self == (*provider).into())
    }
}

/// System calls at whose exit there may be bytes of a socket.
const EXITS: [&str; 10] = [
    "sys_exit_write",
    "sys_exit_writev",
    "sys_exit_sendto",
    "sys_exit_sendmsg",
    "sys_exit_read",
    "sys_exit_readv",
    "sys_exit_recvfrom",
    "sys_exit_recvmsg",
    "sys_exit_sendfile64",
    "sys_exit_splice",
];

impl Provider {
    /// Best first.
    pub const ALL: [Self; 3] = [Self::Fexit, Self::SockLength, Self::SyscallExit];

    /// Name as in configuration and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fexit => "fexit",
            Self::SockLength => "sock-length",
            Self::SyscallExit => "syscall-exit",
        }
    }

    /// What its hook costs a transfer before anything is known of the connection, nanoseconds: measured on a quiet x86-64 machine.
    #[must_use]
    pub const fn usual_hook_ns(self) -> f64 {
        match self {
            Self::Fexit | Self::SockLength => 100.0,
            Self::SyscallExit => 300.0,
        }
    }

    /// Programs and what they attach to, or what this kernel lacks.
    pub(super) fn hooks(self, kernel: &Btf) -> Result<Vec<Hook>, &'static str> {
        match self {
            Self::Fexit => fexit_hooks(kernel),
            Self::SockLength => {
                let tracepoints = ["sock_send_length", "sock_recv_length"];
                match tracepoints.into_iter().find(|name| !kernel.has_tracepoint(name)) {
                    Some(missing) => Err(missing),
                    None => Ok(tracepoints.map(Hook::named).to_vec()),
                }
            }
            Self::SyscallExit => {
                if Features::of(kernel).task_registers {
                    Ok(EXITS.map(Hook::named).to_vec())
                } else {
                    Err("bpf_task_pt_regs")
                }
            }
        }
    }

    /// Whether its programs get socket pointers that the kernel vouches for.
    pub(super) const fn has_trusted_sockets(self) -> bool {
        matches!(self, Self::Fexit | Self::SockLength)
    }
}

/// The return value follows the arguments: the program must be the one for their number.
fn fexit_hooks(kernel: &Btf) -> Result<Vec<Hook>, &'static str> {
    if kernel.parameters("tcp_sendmsg") != Some(3) {
        return Err("tcp_sendmsg with three arguments");
    }
    let receive = match kernel.parameters("tcp_recvmsg") {
        Some(4) => "fexit_tcp_recvmsg_4",
        Some(5) => "fexit_tcp_recvmsg_5",
        Some(6) => "fexit_tcp_recvmsg_6",
        _ => return Err("tcp_recvmsg with four to six arguments"),
    };
    let mut hooks = vec![
        Hook::new("fexit_tcp_sendmsg", "tcp_sendmsg"),
        Hook::new(receive, "tcp_recvmsg"),
    ];
    // Pages past the process's memory. Since 6.5 sent ones come as messages.
    for (program, function) in [
        ("fexit_tcp_sendpage", "tcp_sendpage"),
        ("fexit_tcp_splice_read", "tcp_splice_read"),
    ] {
        if kernel.parameters(function) == Some(5) {
            hooks.push(Hook::new(program, function));
        }
    }
    Ok(hooks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_choice_tries_what_it_names() {
        assert!(ProviderChoice::Auto.candidates().eq(Provider::ALL));
        for provider in Provider::ALL {
            let name = serde_json::to_string(&provider).unwrap();
            assert_eq!(name, format!("\"{}\"", provider.name()));
            let choice: ProviderChoice = serde_json::from_str(&name).unwrap();
            assert!(choice.candidates().eq([provider]));
        }
    }
}
