//! Whether eBPF capture can work on this machine; if not, why, and what to do about it.

use std::fs;

use anyhow::{Result, bail};

/// The first kernel with what the agent's programs need at least.
const KERNEL_MIN: (u32, u32) = (5, 10);

/// Bits of the capability sets in `/proc/self/status` (linux/capability.h).
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;

/// What the decision is made from.
#[derive(Debug, Clone)]
struct Host {
    system: String,
    /// As `uname -r` prints it.
    kernel: String,
    has_kernel_btf: bool,
    is_root: bool,
    /// Effective capabilities.
    capabilities: u64,
}

/// Fails with every reason at once.
pub fn check() -> Result<()> {
    let reasons = obstacles();
    if reasons.is_empty() {
        return Ok(());
    }
    bail!("eBPF cannot run here:\n  {}", reasons.join("\n  "))
}

/// The reasons why eBPF cannot run here, each with its remedy; empty when it can.
pub fn obstacles() -> Vec<String> {
    judge(&Host::detect())
}

impl Host {
    fn detect() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            system: std::env::consts::OS.into(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .into(),
            has_kernel_btf: fs::metadata("/sys/kernel/btf/vmlinux").is_ok(),
            is_root: nix::unistd::geteuid().is_root(),
            capabilities: effective_capabilities(&status).unwrap_or(0),
        }
    }
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

fn judge(host: &Host) -> Vec<String> {
    if host.system != "linux" {
        return vec![format!(
            "this is {}, and eBPF is Linux's: use a Linux machine or VM",
            host.system
        )];
    }
    let mut reasons = Vec::new();
    let (major, minor) = KERNEL_MIN;
    match crate::toolchain::major_minor(&host.kernel) {
        Some(version) if version >= KERNEL_MIN => {}
        Some(_) => reasons.push(format!(
            "kernel {} is too old: {major}.{minor} is the first that works",
            host.kernel
        )),
        None => reasons.push(format!(
            "the kernel's version {:?} cannot be read: is /proc mounted?",
            host.kernel
        )),
    }
    if !host.has_kernel_btf {
        reasons.push(
            "/sys/kernel/btf/vmlinux is missing: boot a kernel built with CONFIG_DEBUG_INFO_BTF=y (every distribution's \
             since 2021 is), or mount /sys into this container"
                .into(),
        );
    }
    let can_load = host.capabilities & CAP_SYS_ADMIN != 0
        || (host.capabilities & CAP_BPF != 0 && host.capabilities & CAP_PERFMON != 0);
    if !host.is_root {
        reasons.push(
            "this user is not root: run it as root, such as by `sudo -E env \"PATH=$PATH\" cargo xtask …`"
                .into(),
        );
    } else if !can_load {
        reasons.push(
            "root here lacks CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN): start the container with them, or privileged".into(),
        );
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Host {
        Host {
            system: "linux".into(),
            kernel: "6.1.0-28-amd64".into(),
            has_kernel_btf: true,
            is_root: true,
            capabilities: CAP_SYS_ADMIN,
        }
    }

    #[test]
    fn accepts_what_suffices() {
        assert_eq!(judge(&good()), Vec::<String>::new());
        assert_eq!(
            judge(&Host {
                kernel: "5.10.0".into(),
                ..good()
            }),
            Vec::<String>::new()
        );
        assert_eq!(
            judge(&Host {
                capabilities: CAP_BPF | CAP_PERFMON,
                ..good()
            }),
            Vec::<String>::new()
        );
    }

    #[test]
    fn names_every_obstacle_and_its_remedy() {
        for (host, words) in [
            (
                Host {
                    system: "macos".into(),
                    ..good()
                },
                "use a Linux machine",
            ),
            (
                Host {
                    kernel: "5.9.16".into(),
                    ..good()
                },
                "5.10 is the first that works",
            ),
            (
                Host {
                    kernel: String::new(),
                    ..good()
                },
                "is /proc mounted?",
            ),
            (
                Host {
                    has_kernel_btf: false,
                    ..good()
                },
                "CONFIG_DEBUG_INFO_BTF",
            ),
            (
                Host {
                    is_root: false,
                    ..good()
                },
                "run it as root",
            ),
            (
                Host {
                    capabilities: CAP_BPF,
                    ..good()
                },
                "CAP_PERFMON",
            ),
        ] {
            let reasons = judge(&host);
            assert_eq!(reasons.len(), 1, "{reasons:?}");
            assert!(reasons[0].contains(words), "{reasons:?}");
        }
        let all = Host {
            kernel: "4.19.0".into(),
            has_kernel_btf: false,
            is_root: false,
            ..good()
        };
        assert_eq!(judge(&all).len(), 3);
    }

    #[test]
    fn reads_the_effective_capabilities() {
        let status = "CapPrm:\t0000000000000000\nCapEff:\t000001ffffffffff\n";
        assert_eq!(effective_capabilities(status), Some(0x1ff_ffff_ffff));
        assert_eq!(effective_capabilities("Name:\tx\n"), None);
    }
}
