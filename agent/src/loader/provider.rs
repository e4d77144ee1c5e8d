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
    /// Probes of the kernel's TCP functions, kernel 5.10 and later, where it has them: sees every way in, costs more.
    Kprobe,
    /// Exits of system calls, kernel 5.10 and later.
    SyscallExit,
    /// Entries and exits of system calls, kernel 5.10 and later.
    SyscallEnterExit,
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
    Kprobe,
    /// Only this one.
    SyscallExit,
    /// Only this one.
    SyscallEnterExit,
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

    /// A program and what it attaches to.
    pub const fn new(program: &'static str, target: &'static str) -> Self {
        Self { program, target }
    }
}

/// A program, and those that do what the kernel leaves out of it (see `run` in the programs). All attach to the same.
struct Spared {
    first: &'static str,
    spares: &'static [&'static str],
}

macro_rules! spared {
    ($($first:literal)*) => { [$(Spared { first: $first, spares: &[concat!($first, "_spare"), concat!($first, "_spare_2")] }),*] };
}

/// Programs at work on transfers.
const SPARED: [Spared; 11] = spared! {
    "sock_send_length" "sock_recv_length" "sys_exit" "call_enter" "call_exit"
    "fexit_tcp_sendmsg" "fexit_tcp_recvmsg_4" "fexit_tcp_recvmsg_5" "fexit_tcp_recvmsg_6"
    "fexit_unix_stream_sendmsg" "fexit_unix_stream_recvmsg"
};

/// Programs that are done sooner.
const SPARED_ONCE: [Spared; 2] = [
    Spared {
        first: "inet_sock_set_state",
        spares: &["inet_sock_set_state_spare"],
    },
    Spared {
        first: "tcp_sendmsg_locked",
        spares: &["tcp_sendmsg_locked_spare"],
    },
];

/// The spares of a program.
pub(super) fn spares(program: &str) -> &'static [&'static str] {
    let mut spared = SPARED.iter().chain(&SPARED_ONCE);
    spared
        .find(|spared| spared.first == program)
        .map_or(&[], |spared| spared.spares)
}

/// Whether a program is another one's spare.
pub(super) fn is_spare(program: &str) -> bool {
    let mut spared = SPARED.iter().chain(&SPARED_ONCE);
    spared.any(|spared| spared.spares.contains(&program))
}

impl From<Provider> for ProviderChoice {
    fn from(provider: Provider) -> Self {
        match provider {
            Provider::Fexit => Self::Fexit,
            Provider::SockLength => Self::SockLength,
            Provider::Kprobe => Self::Kprobe,
            Provider::SyscallExit => Self::SyscallExit,
            Provider::SyscallEnterExit => Self::SyscallEnterExit,
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

/// Tells of messages while they are sent (6.16 and later).
const SENDING: &str = "tcp_sendmsg_locked";

impl Provider {
    /// Best first.
    pub const ALL: [Self; 5] = [
        Self::Fexit,
        Self::SockLength,
        Self::Kprobe,
        Self::SyscallExit,
        Self::SyscallEnterExit,
    ];

    /// Name as in configuration and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fexit => "fexit",
            Self::SockLength => "sock-length",
            Self::Kprobe => "kprobe",
            Self::SyscallExit => "syscall-exit",
            Self::SyscallEnterExit => "syscall-enter-exit",
        }
    }

    /// What its hook costs a transfer before anything is known of the connection, nanoseconds. Measured on a quiet
    /// x86-64 machine for `sock-length` and `syscall-exit`, an estimate for those that cannot be attached there.
    #[must_use]
    pub const fn usual_hook_ns(self) -> f64 {
        match self {
            Self::Fexit | Self::SockLength => 100.0,
            Self::SyscallExit => 300.0,
            Self::Kprobe => 500.0,
            Self::SyscallEnterExit => 800.0,
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
                    None => Ok(tracepoints
                        .into_iter()
                        .chain(kernel.has_tracepoint(SENDING).then_some(SENDING))
                        .map(Hook::named)
                        .collect()),
                }
            }
            Self::SyscallExit => Ok(vec![Hook::named("sys_exit")]),
            Self::Kprobe => kprobe_hooks(kernel),
            Self::SyscallEnterExit => Ok(vec![
                Hook::new("call_enter", "sys_enter"),
                Hook::new("call_exit", "sys_exit"),
            ]),
        }
    }

    /// Those of its programs of which the kernel may leave out runs, and their spares do them.
    pub(super) fn spares(self, kernel: Features, hooks: &[Hook]) -> Vec<Hook> {
        let preempted = match self {
            Self::Fexit => kernel.preempts_functions,
            Self::SockLength | Self::SyscallExit | Self::SyscallEnterExit => kernel.preempts_tracepoints,
            // There the kernel does not preempt.
            Self::Kprobe => false,
        };
        let hooks = if preempted { hooks } else { &[] };
        hooks
            .iter()
            .flat_map(|hook| {
                spares(hook.program)
                    .iter()
                    .map(|spare| Hook::new(spare, hook.target))
            })
            .collect()
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
    // UNIX streams: all of these, or none.
    let unix: [(&str, &str, u32); 3] = [
        ("fexit_unix_stream_sendmsg", "unix_stream_sendmsg", 3),
        ("fexit_unix_stream_recvmsg", "unix_stream_recvmsg", 4),
        ("fentry_unix_release", "unix_release", 1),
    ];
    let fits = |(_, function, parameters): &(_, &str, u32)| kernel.parameters(function) == Some(*parameters);
    if unix.iter().all(fits) {
        hooks.extend(unix.map(|(program, function, _)| Hook::new(program, function)));
    }
    // Pages past the process's memory. Since 6.5 sent ones come as messages.
    for (program, function) in [
        ("fexit_tcp_sendpage", "tcp_sendpage"),
        ("fexit_tcp_splice_read", "tcp_splice_read"),
        ("fexit_unix_stream_sendpage", "unix_stream_sendpage"),
        ("fexit_unix_stream_splice_read", "unix_stream_splice_read"),
    ] {
        if kernel.parameters(function) == Some(5) {
            hooks.push(Hook::new(program, function));
        }
    }
    Ok(hooks)
}

/// Functions that are not among the kernel's types, or take other arguments, cannot be probed.
fn kprobe_hooks(kernel: &Btf) -> Result<Vec<Hook>, &'static str> {
    let needed = [
        ("kprobe_tcp_sendmsg_locked", "tcp_sendmsg_locked", 3),
        ("kprobe_release_sock", "release_sock", 1),
        ("kprobe_tcp_cleanup_rbuf", "tcp_cleanup_rbuf", 2),
    ];
    let mut hooks = Vec::new();
    for (program, function, parameters) in needed {
        if kernel.parameters(function) != Some(parameters) {
            return Err(function);
        }
        hooks.push(Hook::new(program, function));
    }
    let receive = match kernel.parameters("tcp_recvmsg") {
        Some(4 | 5) => "kprobe_tcp_recvmsg",
        Some(6) => "kprobe_tcp_recvmsg_6",
        _ => return Err("tcp_recvmsg with four to six arguments"),
    };
    hooks.push(Hook::new(receive, "tcp_recvmsg"));
    if kernel.parameters("unix_stream_sendmsg") == Some(3) {
        hooks.push(Hook::new("kprobe_unix_stream_sendmsg", "unix_stream_sendmsg"));
    }
    for (program, function) in [
        ("kprobe_do_tcp_sendpages", "do_tcp_sendpages"),
        ("kprobe_tcp_splice_read", "tcp_splice_read"),
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
