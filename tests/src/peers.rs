//! Servers and clients of HTTP/2, gRPC and WebSocket. What they do is said in `services/README.md`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::process::{Process, program};
use crate::servers::{Server, free_port, sources, start};

/// Where Debian's packages put the sources of Go libraries.
const GO_PATH: &str = "/usr/share/gocode";
/// Where they put those of Node.
const NODE_PATH: &str = "/usr/share/nodejs";

/// Whether the libraries are there that the peers are built with.
///
/// # Panics
/// When `CI` is set and they are not.
#[must_use]
pub fn are_installed() -> bool {
    ["go", "java", "node", "curl", "nghttpd", "nghttp", "h2load"]
        .into_iter()
        .all(crate::has_program)
        && ["golang.org/x/net/http2", "google.golang.org/grpc"]
            .into_iter()
            .all(|library| crate::has_file(&format!("{GO_PATH}/src/{library}")))
        && crate::has_file(&format!("{NODE_PATH}/ws"))
        && crate::has_file("/usr/lib/python3/dist-packages/grpc")
}

/// Builds a Go program of `services`, unless this test has done so, and gives its path.
///
/// # Panics
/// It cannot be built.
#[must_use]
pub fn go(directory: &Path, source: &str, name: &str) -> PathBuf {
    let binary = directory.join(name);
    if !binary.exists() {
        let built = Command::new("go")
            .args(["build", "-o"])
            .arg(&binary)
            .arg(source)
            .current_dir(sources())
            .env("GO111MODULE", "off")
            .env("GOPATH", GO_PATH)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{error}");
    }
    binary
}

/// A Node program of `services` with the libraries that are installed.
#[must_use]
pub fn node(source: &str) -> Command {
    let mut command = Command::new(program("node").unwrap());
    command.env("NODE_PATH", NODE_PATH).arg(sources().join(source));
    command
}

/// A Java program of `services`, run from its source.
#[must_use]
pub fn java(source: &str) -> Command {
    let mut command = Command::new(program("java").unwrap());
    command
        .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
        .arg(sources().join(source));
    command
}

/// The system's Python, which has the libraries that are installed, with a program of `services`.
#[must_use]
pub fn python(source: &str) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(sources().join(source));
    command
}

/// Starts a server that says where it listens.
#[must_use]
pub fn serve(name: &'static str, workload: &'static str, directory: &Path, command: &Command) -> Server {
    start(name, workload, directory, command, "127.0.0.1")
}

/// nghttpd with a file `echo`, without TLS, on one thread for each core.
///
/// # Panics
/// It does not come up.
#[must_use]
pub fn nghttpd(directory: &Path) -> Server {
    let (root, port) = (directory.join("html"), free_port());
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join("echo"), "echo\n").unwrap();
    let mut command = Command::new(program("nghttpd").unwrap());
    command
        .args(["--no-tls", "-n", "2", "-a", "127.0.0.1", "-d"])
        .arg(&root)
        .arg(port.to_string());
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let process = Process::start("nghttpd", directory, &command);
    crate::until("nghttpd listens", || std::net::TcpStream::connect(address).ok());
    Server {
        name: "nghttpd",
        process,
        address,
        workload: "nghttpd",
    }
}

/// Standard output of a client that did its work.
///
/// # Panics
/// It failed.
pub fn output(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned();
    assert!(
        status.success(),
        "{command:?}: {status}\n{text}\n{}",
        String::from_utf8_lossy(&stderr)
    );
    text
}
