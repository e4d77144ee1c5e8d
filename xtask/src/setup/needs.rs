//! What the verbs need besides the eBPF toolchain: programs and libraries, with the Debian package of each.

use std::process::{Command, Stdio};

use clap::ValueEnum;

use crate::command;

/// A set of programs that one kind of work needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// The servers of `demo`.
    Demo,
    /// Servers, clients and linters of `test`.
    Tests,
    /// What boots other kernels, for `vm-test` and `test`.
    Vm,
}

/// How to see that something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// A program of this name is on `PATH` or in a system directory.
    Program(&'static str),
    /// This very file or directory exists.
    File(&'static str),
    /// `python3` of `PATH`, or the system's, imports this module.
    PythonModule(&'static str),
}

/// One thing that must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    pub probe: Probe,
    pub package: &'static str,
    /// The service that the package would start.
    pub service: Option<&'static str>,
    pub purpose: &'static str,
}

const fn program(name: &'static str, package: &'static str, purpose: &'static str) -> Need {
    Need {
        probe: Probe::Program(name),
        package,
        service: None,
        purpose,
    }
}

const fn file(path: &'static str, package: &'static str, purpose: &'static str) -> Need {
    Need {
        probe: Probe::File(path),
        ..program("", package, purpose)
    }
}

const NGINX: Need = Need {
    probe: Probe::Program("nginx"),
    package: "nginx",
    service: Some("nginx"),
    purpose: "web server and proxy",
};
const PYTHON: Need = program("python3", "python3", "Python service");
const NODE: Need = program("node", "nodejs", "Node service");

const DEMO: &[Need] = &[NGINX, PYTHON, NODE];

const TESTS: &[Need] = &[
    NGINX,
    PYTHON,
    NODE,
    // Without the package `apache2`, which adds a service and a configuration that no test uses.
    program("apache2", "apache2-bin", "web server"),
    program("busybox", "busybox-static", "client and server"),
    program("bpftool", "bpftool", "list of loaded programs"),
    program("curl", "curl", "client"),
    program("ip", "iproute2", "network namespaces"),
    program("go", "golang-go", "Go service"),
    program("javac", "default-jdk-headless", "Java service"),
    program("wget", "wget", "client"),
    program("wrk", "wrk", "load generator"),
    program("openssl", "openssl", "certificates"),
    program("nghttpd", "nghttp2-server", "HTTP/2 server"),
    program("nghttp", "nghttp2-client", "HTTP/2 clients"),
    file(
        "/usr/share/gocode/src/golang.org/x/net/http2",
        "golang-golang-x-net-dev",
        "HTTP/2 for the Go service",
    ),
    file(
        "/usr/share/gocode/src/google.golang.org/grpc",
        "golang-google-grpc-dev",
        "gRPC for the Go service",
    ),
    file(
        "/usr/lib/python3/dist-packages/grpc",
        "python3-grpcio",
        "gRPC for the Python service",
    ),
    file(
        "/usr/share/nodejs/ws",
        "node-ws",
        "WebSocket for the Node service",
    ),
    program("tcpdump", "tcpdump", "recording of traffic"),
    Need {
        probe: Probe::PythonModule("requests"),
        package: "python3-requests",
        service: None,
        purpose: "Python client",
    },
];

const VM: &[Need] = &[
    program("qemu-system-x86_64", "qemu-system-x86", "VMs with other kernels"),
    program("busybox", "busybox-static", "file system of the VMs"),
    program("cpio", "cpio", "test of the file system of the VMs"),
    program("lz4", "lz4", "unpacking of kernels"),
    program("strip", "binutils", "smaller programs in the VMs"),
    program("xz", "xz-utils", "unpacking of kernels"),
    program("zstd", "zstd", "unpacking of kernels"),
];

/// The linter of Debian's compiler: only it can read that compiler's `core` for BPF.
pub const SYSTEM_CLIPPY: Need = Need {
    probe: Probe::File("/usr/bin/clippy-driver"),
    package: "rust-web-clippy",
    service: None,
    purpose: "linter for the eBPF programs",
};

impl Group {
    pub const fn needs(self) -> &'static [Need] {
        match self {
            Self::Demo => DEMO,
            Self::Tests => TESTS,
            Self::Vm => VM,
        }
    }
}

impl Probe {
    pub fn is_satisfied(self) -> bool {
        match self {
            Self::Program(name) => command::find_program(name).is_some(),
            Self::File(path) => std::path::Path::new(path).exists(),
            Self::PythonModule(module) => ["python3", "/usr/bin/python3"].iter().any(|python| {
                let mut python = Command::new(python);
                python
                    .args(["-c", &format!("import {module}")])
                    .stdin(Stdio::null());
                python
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .is_ok_and(|status| status.success())
            }),
        }
    }

    pub fn name(self) -> String {
        match self {
            Self::Program(name) => name.to_owned(),
            Self::File(path) => path.to_owned(),
            Self::PythonModule(module) => format!("Python module {module}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_tell_what_is_there_from_what_is_not() {
        assert!(Probe::Program("sh").is_satisfied());
        assert!(!Probe::Program("no-such-program-here").is_satisfied());
        assert!(Probe::File("/proc/self/exe").is_satisfied());
        assert!(!Probe::File("/proc/self/no-such-file").is_satisfied());
        assert!(!Probe::PythonModule("no_such_module_here").is_satisfied());
    }
}
