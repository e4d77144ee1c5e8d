//! Whether live tests can run here. Where CI runs they must.

use std::path::Path;

/// False, with the reason printed, where eBPF cannot run.
///
/// # Panics
/// When `CI` is set: there it must run.
#[must_use]
pub fn can_capture() -> bool {
    let mut reasons = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        reasons.push("not root");
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        reasons.push("the kernel has no BTF (/sys/kernel/btf/vmlinux)");
    }
    decide(&reasons)
}

/// False, with the reason printed, where a program is not installed.
///
/// # Panics
/// When `CI` is set: there it must be.
#[must_use]
pub fn has_program(name: &str) -> bool {
    let found = crate::process::program(name).is_some();
    found || decide(&[&format!("{name} is not installed: cargo xtask setup --tests")])
}

/// The same of a file that a package installs.
///
/// # Panics
/// When `CI` is set: there it must be.
#[must_use]
pub fn has_file(path: &str) -> bool {
    Path::new(path).exists() || decide(&[&format!("{path} is not there: cargo xtask setup --tests")])
}

/// Mounts the file system that tells the numbers of tracepoints, which the provider `syscall-exit` attaches by. Tests run beside each
/// other: one that another has mounted meanwhile is as good.
///
/// # Panics
/// When it cannot be mounted.
pub fn mount_tracefs() {
    let is_mounted = || Path::new("/sys/kernel/tracing/events").is_dir();
    if !is_mounted() {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tracefs", "tracefs", "/sys/kernel/tracing"])
            .status()
            .expect("mount is installed");
        assert!(mounted.success() || is_mounted(), "cannot mount tracefs");
    }
}

fn decide(reasons: &[&str]) -> bool {
    if reasons.is_empty() {
        return true;
    }
    let reasons = reasons.join(", ");
    assert!(
        std::env::var_os("CI").is_none(),
        "must run where CI runs: {reasons}"
    );
    println!("skipped: {reasons}");
    false
}
