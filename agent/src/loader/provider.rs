//! Ways of capturing, best first.

use serde::{Deserialize, Serialize};

use super::btf::Btf;

/// A way of capturing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
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

impl ProviderChoice {
    /// What to try, in order.
    pub fn candidates(self) -> impl Iterator<Item = Provider> {
        Provider::ALL.into_iter().filter(move |provider| match self {
            Self::Auto => true,
            Self::SockLength => *provider == Provider::SockLength,
            Self::SyscallExit => *provider == Provider::SyscallExit,
        })
    }
}

impl Provider {
    /// Best first.
    pub const ALL: [Self; 2] = [Self::SockLength, Self::SyscallExit];

    /// Name as in configuration and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SockLength => "sock-length",
            Self::SyscallExit => "syscall-exit",
        }
    }

    /// Programs and what they attach to.
    pub(super) const fn programs(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::SockLength => &[
                ("sock_send_length", "sock_send_length"),
                ("sock_recv_length", "sock_recv_length"),
            ],
            Self::SyscallExit => &[
                ("sys_exit_write", "sys_exit_write"),
                ("sys_exit_writev", "sys_exit_writev"),
                ("sys_exit_sendto", "sys_exit_sendto"),
                ("sys_exit_sendmsg", "sys_exit_sendmsg"),
                ("sys_exit_read", "sys_exit_read"),
                ("sys_exit_readv", "sys_exit_readv"),
                ("sys_exit_recvfrom", "sys_exit_recvfrom"),
                ("sys_exit_recvmsg", "sys_exit_recvmsg"),
                ("sys_exit_sendfile64", "sys_exit_sendfile64"),
                ("sys_exit_splice", "sys_exit_splice"),
            ],
        }
    }

    /// Whether its programs get socket pointers that the kernel vouches for.
    pub(super) const fn has_trusted_sockets(self) -> bool {
        matches!(self, Self::SockLength)
    }

    /// A tracepoint that it needs and this kernel lacks.
    pub(super) fn missing(self, kernel: &Btf) -> Option<&'static str> {
        match self {
            Self::SockLength => ["sock_send_length", "sock_recv_length"]
                .into_iter()
                .find(|name| !kernel.has_tracepoint(name)),
            Self::SyscallExit => None,
        }
    }
}
